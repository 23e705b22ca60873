"""ICC profiles of RGB color spaces that a file describes by numbers instead of a profile."""

import struct
from dataclasses import dataclass

import numpy as np

HEADER_BYTES = 128  # ICC.1:2022, 7.2
D50 = (0.9642, 1.0, 0.8249)  # XYZ of the profile connection space, ICC.1:2022, 7.2.16
# Bradford cone response, ICC.1:2022, annex E.
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)

Point = tuple[float, float]  # chromaticity x, y


@dataclass(frozen=True, slots=True)
class Primaries:
    """CIE 1931 chromaticities of an RGB color space."""

    red: Point
    green: Point
    blue: Point
    white: Point = (0.3127, 0.3290)  # D65


@dataclass(frozen=True, slots=True)
class Curve:
    """A transfer function from samples to light, ICC.1:2022, 10.18, function type 3.

    The light of a sample x is `(a * x + b) ** gamma` from `d` on, and `c * x` below.
    """

    gamma: float
    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 0.0


SRGB = Primaries((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))  # IEC 61966-2-1
SRGB_CURVE = Curve(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def matrix_profile(primaries: Primaries, curve: Curve) -> bytes:
    """An ICC profile of a color space with three primaries and one transfer function.

    Raises:
        ValueError: The primaries are no colors, or all on one line.
    """
    tags = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), _colorants(primaries), strict=True))
    body = {name: b"XYZ " + bytes(4) + _fixed(*xyz) for name, xyz in tags.items()}
    body[b"wtpt"] = b"XYZ " + bytes(4) + _fixed(*D50)
    light = _fixed(curve.gamma, curve.a, curve.b, curve.c, curve.d)
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        body[name] = b"para" + bytes(4) + struct.pack(">HH", 3, 0) + light
    return _assembled(body)


def _colorants(primaries: Primaries) -> np.ndarray:
    """XYZ of red, green and blue at full light, adapted to D50; shape (3, 3), a row a color."""
    try:
        xyz = np.array(
            [_xyz(point) for point in (primaries.red, primaries.green, primaries.blue)]
        ).T
        white = np.array(_xyz(primaries.white))
        scaled = xyz * np.linalg.solve(xyz, white)
        adapted = np.linalg.solve(
            BRADFORD, np.diag(BRADFORD @ D50 / (BRADFORD @ white)) @ BRADFORD @ scaled
        )
    except (ZeroDivisionError, np.linalg.LinAlgError):
        raise ValueError("The primaries do not span a color space.") from None
    if not np.isfinite(adapted).all() or np.abs(adapted).max() > 2:
        raise ValueError("The primaries are outside of the visible colors.")
    return adapted.T


def _xyz(point: Point) -> tuple[float, float, float]:
    x, y = point
    return x / y, 1.0, (1 - x - y) / y


def _fixed(*values: float) -> bytes:
    """Numbers with 16 bits after the point."""
    return struct.pack(f">{len(values)}i", *(round(value * 65_536) for value in values))


def _assembled(body: dict[bytes, bytes]) -> bytes:
    start = HEADER_BYTES + 4 + 12 * len(body)
    index, data = b"", b""
    for name, value in body.items():
        index += struct.pack(">4sII", name, start + len(data), len(value))
        data += value
    header = bytearray(HEADER_BYTES)
    struct.pack_into(
        ">I4xI4s4s4s", header, 0, start + len(data), 4 << 24, b"mntr", b"RGB ", b"XYZ "
    )
    header[36:40] = b"acsp"
    header[68:80] = _fixed(*D50)
    return bytes(header) + struct.pack(">I", len(body)) + index + data
