"""Sound files of every format and mode are decoded to one upright RGB image."""

import hashlib
import zlib

import numpy as np
import pytest
from PIL import Image

from nsfw_app.imaging.decode import decode
from nsfw_app.records import Background
from tests.support.fakes import LIMITS
from tests.support.image_files import FILES, camera_exif, encoded, png, sample_photo

FORMATS = {
    "jpeg": "JPEG",
    "mpo": "JPEG",
    "png": "PNG",
    "apng": "PNG",
    "webp": "WEBP",
    "gif": "GIF",
    "bmp": "BMP",
    "dib": "BMP",
    "tiff": "TIFF",
    "avif": "AVIF",
    "heic": "HEIF",
}
WITH_EXIF = ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"]
QUADRANTS = np.array([[(220, 30, 30), (30, 200, 30)], [(30, 30, 220), (240, 240, 240)]])

# Order of stored rows and columns for each value of the tag (Exif 2.32, 4.6.4 A).
AS_STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


def only_frame(data: bytes) -> Image.Image:
    """The image on white of a file with one frame."""
    frames = decode(data, name="image", limits=LIMITS).frames
    (frame,) = [frame for frame in frames if frame.background is Background.WHITE]
    return frame.image


def far_apart(one: Image.Image, other: Image.Image) -> float:
    """Mean difference in gray levels; 255 if the sizes differ."""
    if one.size != other.size:
        return 255.0
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).mean())


@pytest.mark.parametrize("kind", FILES)
def test_every_format_becomes_rgb_without_metadata(kind: str) -> None:
    """Every accepted file decodes to RGB frames that carry nothing else of the upload."""
    decoded = decode(FILES[kind], name="image", limits=LIMITS)
    assert decoded.info.format == FORMATS[kind.partition("-")[0]]
    for frame in decoded.frames:
        assert frame.image.mode == "RGB"
        assert frame.image.info == {}
        assert dict(frame.image.getexif()) == {}


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "AVIF", "HEIF"])
def test_decoded_image_is_the_original(image_format: str) -> None:
    """Decoding returns what was encoded, except what compression loses."""
    photo = sample_photo()
    assert far_apart(only_frame(encoded(photo, image_format)), photo) < 8


def test_facts_are_those_of_the_file() -> None:
    """Hash and size are those of the uploaded bytes, width and height of the upright image."""
    data = encoded(sample_photo((60, 40)), "JPEG", exif=camera_exif(6))
    info = decode(data, name="image.jpg", limits=LIMITS).info
    assert info.sha256 == hashlib.sha256(data).hexdigest()
    assert (info.size_bytes, info.width, info.height) == (len(data), 40, 60)
    assert (info.format, info.frames) == ("JPEG", 1)


@pytest.mark.parametrize("orientation", AS_STORED)
@pytest.mark.parametrize("image_format", WITH_EXIF)
def test_images_are_rotated_upright(image_format: str, orientation: int) -> None:
    """All eight orientations are decoded upright, in every format that has them."""
    upright = QUADRANTS.repeat(16, axis=0).repeat(24, axis=1).astype(np.uint8)
    stored = Image.fromarray(np.ascontiguousarray(AS_STORED[orientation](upright)))
    data = encoded(stored, image_format, exif=camera_exif(orientation).tobytes())
    assert far_apart(only_frame(data), Image.fromarray(upright)) < 12


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_orientation_that_means_nothing_is_ignored(orientation: int) -> None:
    """A tag outside 1 to 8 is ignored."""
    data = encoded(sample_photo((60, 40)), "PNG", exif=camera_exif(orientation))
    assert only_frame(data).size == (60, 40)


@pytest.mark.parametrize(
    ("mode", "stored", "image_format", "seen"),
    [
        ("RGB", (200, 40, 80), "PNG", (200, 40, 80)),
        ("RGBA", (200, 40, 80, 255), "PNG", (200, 40, 80)),
        ("RGBA", (200, 40, 80, 255), "WEBP", (200, 40, 80)),
        ("RGBA", (200, 40, 80, 255), "TIFF", (200, 40, 80)),
        ("RGBA", (200, 40, 80, 255), "AVIF", (200, 40, 80)),
        ("RGBA", (200, 40, 80, 255), "HEIF", (200, 40, 80)),
        ("RGBX", (200, 40, 80, 0), "TIFF", (200, 40, 80)),
        ("LA", (90, 255), "PNG", (90, 90, 90)),
        ("LA", (90, 255), "TIFF", (90, 90, 90)),
        ("L", 90, "PNG", (90, 90, 90)),
        ("L", 90, "JPEG", (90, 90, 90)),
        ("L", 90, "GIF", (90, 90, 90)),
        ("L", 90, "HEIF", (90, 90, 90)),
        ("1", 1, "PNG", (255, 255, 255)),
        ("1", 1, "BMP", (255, 255, 255)),
        ("1", 1, "TIFF", (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), "JPEG", (255, 0, 0)),
        ("CMYK", (0, 255, 255, 0), "TIFF", (255, 0, 0)),
        ("CMYK", (0, 0, 0, 0), "JPEG", (255, 255, 255)),
        ("YCbCr", (128, 128, 128), "JPEG", (128, 128, 128)),
        ("LAB", (255, 128, 128), "TIFF", (255, 255, 255)),
        ("I;16", 0x8080, "PNG", (128, 128, 128)),
        ("I;16", 0x8080, "TIFF", (128, 128, 128)),
        ("I;16B", 0x8080, "TIFF", (128, 128, 128)),
        ("I", 255, "TIFF", (255, 255, 255)),
        ("F", 1.0, "TIFF", (255, 255, 255)),
        ("F", 0.0, "TIFF", (0, 0, 0)),
    ],
)
def test_every_mode_shows_its_color(
    mode: str, stored: object, image_format: str, seen: tuple[int, int, int]
) -> None:
    """A plain image of any mode keeps its color."""
    data = encoded(Image.new(mode, (16, 16), stored), image_format)
    assert only_frame(data).getpixel((8, 8)) == pytest.approx(seen, abs=8)


@pytest.mark.parametrize("image_format", ["PNG", "GIF", "BMP", "TIFF"])
def test_palettes_are_looked_up(image_format: str) -> None:
    """A palette's colors are shown, not its indices."""
    image = Image.new("P", (16, 16), 1)
    image.putpalette([0, 0, 0, 200, 40, 80])
    assert only_frame(encoded(image, image_format)).getpixel((8, 8)) == (200, 40, 80)


@pytest.mark.parametrize(
    "values",
    [
        np.array([[0, 0x8080, 0xFFFF]], np.uint16),
        np.array([[0, 0x8080, 0xFFFF]], np.int32),
        np.array([[0, 128, 255]], np.int32),
        np.array([[0, 500_000, 1_000_000]], np.int32),
        np.array([[0, 0.5, 1]], np.float32),
        np.array([[-3, 127.5, 255]], np.float32),
        np.array([[np.nan, 0.5, 1]], np.float32),
        np.array([[-np.inf, 0.5, 1]], np.float32),
    ],
    ids=str,
)
def test_deep_grays_are_scaled(values: np.ndarray) -> None:
    """Grays of more than 8 bits are scaled, not clipped: their order and middle stay."""
    row = np.asarray(only_frame(encoded(Image.fromarray(values), "TIFF")))[0, :, 0]
    assert row.tolist() == pytest.approx([0, 128, 255], abs=1)


@pytest.mark.parametrize(("color", "samples"), [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bit_color_is_read(color: int, samples: int) -> None:
    """PNG with 16 bits a sample, in RGB, gray with alpha and RGBA, shows its colors."""
    row = b"\0" + (b"\x80\x80" * (samples - 1) + b"\xff\xff") * 8
    data = png((8, 8), depth=16, color=color, chunks=[(b"IDAT", zlib.compress(row * 8))])
    assert only_frame(data).getpixel((4, 4))[:2] == pytest.approx((128, 128), abs=1)


def transparent(mode: str, image_format: str) -> bytes:
    """A file of which every pixel is black and wholly transparent."""
    if mode in {"RGBA", "LA", "PA"}:
        return encoded(Image.new("RGBA", (16, 16), (0, 0, 0, 0)).convert(mode), image_format)
    key = (0, 0, 0) if mode == "RGB" else 0
    return encoded(Image.new(mode, (16, 16), 0), image_format, transparency=key)


@pytest.mark.parametrize(
    ("mode", "image_format"),
    [
        ("RGBA", "PNG"),
        ("RGBA", "WEBP"),
        ("RGBA", "TIFF"),
        ("RGBA", "AVIF"),
        ("RGBA", "HEIF"),
        ("RGBA", "GIF"),
        ("LA", "PNG"),
        ("LA", "TIFF"),
        ("P", "PNG"),
        ("P", "GIF"),
        ("1", "PNG"),
        ("L", "PNG"),
        ("I;16", "PNG"),
        ("RGB", "PNG"),
    ],
)
def test_what_is_transparent_is_white(mode: str, image_format: str) -> None:
    """Transparency of every kind is shown on white, never as the color stored under it."""
    seen = only_frame(transparent(mode, image_format)).getpixel((8, 8))
    assert seen == pytest.approx((255, 255, 255), abs=4)


def test_half_transparent_black_is_gray() -> None:
    """Alpha between its ends mixes with white."""
    image = Image.new("RGBA", (16, 16), (0, 0, 0, 128))
    assert only_frame(encoded(image, "PNG")).getpixel((8, 8)) == pytest.approx((127,) * 3, abs=1)
