"""Decoding stays within 8 bytes of memory for each pixel of the limit, for every kind of file.

A child process decodes each file at the smallest limit that accepts it, and reports by how much its
memory grew.
"""

import io
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nsfw_app.errors import ImageError
from nsfw_app.imaging import avif, memory
from nsfw_app.imaging.decode import Limits, decode
from tests.support.flawed_files import DISPLAY_P3, cmyk_profile, profile_with, tiff_gray
from tests.support.image_files import FILES, animated, camera_exif, encoded, png

ROOT = Path(__file__).parents[2]
SIZE = (2000, 1500)
FIXED_BYTES = 3_500_000  # buffers whose size does not depend on the image
MEASURE = """
import io, json, os, sys
from pathlib import Path
from PIL import Image
from nsfw_app.errors import ImageError
from nsfw_app.imaging.decode import Limits, decode
from nsfw_app.imaging import memory

PIXELS = 2000 * 1500
Image.MAX_IMAGE_PIXELS = None

def kilobytes(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(key))

def share(data):
    # Of the limit, that images of this kind may have; for damaged files, found by trial.
    try:
        with Image.open(io.BytesIO(data)) as image:
            frames = getattr(image, "n_frames", 1)
            return memory.limit(image, max_pixels=10**9, frames=frames) / 10**9
    except OSError:
        return 1.0

def measured(path):
    data = path.read_bytes()
    limit = int(PIXELS / share(data)) + 1
    while True:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak is now what is there
        before, code = kilobytes("VmRSS"), kilobytes("RssFile")
        try:
            found = decode(data, name="image", limits=Limits(10**9, limit, 16))
        except ImageError:
            assert limit < 8 * PIXELS, path
            limit = int(limit * 1.03)
        else:
            break
    # Library code that the child was the first to use is no memory of the image.
    peak = kilobytes("VmHWM") - before - (kilobytes("RssFile") - code)
    return {"peak": 1024 * peak, "limit": limit, "bytes": len(data), "frames": len(found.frames)}

# Each file in a process of its own, with nothing freed before that could be used again, but with
# all code in memory that small files need.
small, *large = map(Path, sys.argv[1:])
for path in sorted(small.iterdir()):
    decode(path.read_bytes(), name="small", limits=Limits(10**9, 10**8, 16))
for path in large:
    child = os.fork()
    if child == 0:
        print(json.dumps({"path": str(path), **measured(path)}), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, path
"""


def colorful_image() -> Image.Image:
    """A colorful image that compresses well enough to be encoded quickly."""
    small = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(SIZE, Image.Resampling.BILINEAR)


def deep_png(image: Image.Image, chunks: list[tuple[bytes, bytes]]) -> bytes:
    """An RGBA PNG of 16 bits a channel whose low bytes are noise, larger than its pixels."""
    high = np.asarray(image).astype(">u2") << 8
    samples = high | np.random.default_rng(1).integers(0, 256, high.shape).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    data = [*chunks, (b"IDAT", zlib.compress(rows, 1))]
    return png(image.size, depth=16, color=6, chunks=data)


def files() -> Iterator[tuple[str, bytes]]:
    """A file of each format in each mode that is decoded in another way."""
    color = colorful_image()
    gray = color.convert("L")
    alpha = color.copy()
    alpha.putalpha(gray)
    deep = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    floats = gray.convert("F")
    p3 = profile_with(primaries=DISPLAY_P3)
    frames = [color, color.rotate(20), color.rotate(40)]
    palettes = [frame.quantize(32) for frame in frames]
    shapes = []
    for number in range(3):
        shapes.append(Image.new("RGBA", SIZE))
        shapes[-1].paste(frames[number].crop((0, 0, 1200, 2000)), (100 * number, 0))
    fast = {"PNG": {"compress_level": 1}, "WEBP": {"method": 0}, "AVIF": {"speed": 10}}
    one_strip = {"compression": "tiff_adobe_deflate", "strip_size": 10**9}
    for name, image, image_format, options in [
        ("baseline", color, "JPEG", {}),
        ("with a profile", color, "JPEG", {"icc_profile": p3}),
        ("rotated", color, "JPEG", {"exif": camera_exif(6)}),
        ("progressive", color, "JPEG", {"progressive": True}),
        ("progressive 4:4:4", color, "JPEG", {"progressive": True, "subsampling": 0}),
        ("progressive CMYK", color.convert("CMYK"), "JPEG", {"progressive": True}),
        ("CMYK with a profile", color.convert("CMYK"), "JPEG", {"icc_profile": cmyk_profile()}),
        ("transparent", alpha, "PNG", {"icc_profile": p3}),
        ("gray and transparent", alpha.convert("LA"), "PNG", {}),
        ("16 bits", deep, "PNG", {}),
        ("one color transparent", color, "PNG", {"transparency": (1, 2, 3)}),
        ("palette", palettes[0], "PNG", {"transparency": bytes(range(0, 256, 8))}),
        ("lossy", alpha, "WEBP", {}),
        ("lossless", alpha, "WEBP", {"lossless": True, "quality": 0}),
        ("4:4:4", alpha, "AVIF", {"subsampling": "4:4:4"}),
        ("usual", color, "HEIF", {}),
        ("4:4:4", alpha, "HEIF", {"chroma": 444}),
        ("usual", palettes[0], "GIF", {}),
        ("usual", color, "BMP", {}),
        ("floats", floats, "TIFF", {}),
        ("floats in one strip", floats, "TIFF", one_strip),
        ("integers in one strip", gray.convert("I"), "TIFF", one_strip),
        ("transparent in one strip", alpha, "TIFF", one_strip),
        ("rotated", color, "TIFF", {"tiffinfo": {274: 6}}),
        ("upside down", color, "TIFF", {"tiffinfo": {274: 3}, "compression": "tiff_lzw"}),
        ("rotated in one strip", color, "TIFF", {"tiffinfo": {274: 6}, **one_strip}),
        ("upside down in one strip", alpha, "TIFF", {"tiffinfo": {274: 3}, **one_strip}),
        ("floats rotated in one strip", floats, "TIFF", {"tiffinfo": {274: 6}, **one_strip}),
        ("LAB", Image.new("LAB", SIZE, (90, 120, 130)), "TIFF", {}),
    ]:
        yield (
            f"{image_format} {name}",
            encoded(image, image_format, **fast.get(image_format, {}), **options),
        )
    yield "TIFF 10 bits", tiff_gray((np.asarray(gray).astype("<u2") * 4), bits=10)
    yield "JPEG cut short", encoded(color, "JPEG")[:-2]
    yield "PNG 16 bits with text", deep_png(alpha, [(b"tEXt", b"a\0b")])
    for name, data in [
        ("PNG transparent", encoded(alpha, "PNG", compress_level=1)),
        ("PNG 16 bits", deep_png(alpha, [])),
        ("TIFF floats", encoded(floats, "TIFF")),
        ("WEBP lossless", encoded(alpha, "WEBP", lossless=True, quality=0)),
        ("BMP", encoded(color, "BMP")),
        ("GIF", encoded(palettes[0], "GIF")),
    ]:
        yield f"{name} with rows missing", data[: len(data) * 9 // 10]
    yield "GIF several", animated(shapes, "GIF", disposal=2)
    yield "GIF opaque", animated(palettes, "GIF")
    yield "PNG several", animated(shapes, "PNG", disposal=2, compress_level=1)
    yield "WEBP several", animated(shapes, "WEBP", method=0)
    yield "AVIF several", animated(shapes, "AVIF", speed=10)
    yield "HEIF several", animated(frames, "HEIF")
    yield "TIFF several", animated(frames, "TIFF", compression="tiff_adobe_deflate")


def measured(program: str, paths: list[Path], folder: Path) -> list[dict[str, Any]]:
    """The results of the program for each file."""
    small = folder / "small"
    small.mkdir()
    for kind, data in FILES.items():
        (small / kind).write_bytes(data)
    result = subprocess.run(
        [sys.executable, "-c", program, small, *paths],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def test_every_decoder_keeps_its_budget(tmp_path: Path) -> None:
    """At the smallest limit that accepts a file, memory grows by 8 bytes a pixel of it at most."""
    paths = []
    for name, data in files():
        paths.append(tmp_path / name.replace(":", "-"))
        paths[-1].write_bytes(data)
    found = measured(MEASURE, paths, tmp_path)
    assert len(found) == len(paths)
    over = {
        Path(row["path"]).name: row["peak"] / row["limit"]
        for row in found
        if row["peak"] > 8 * row["limit"] + FIXED_BYTES + row["bytes"]
    }
    assert over == {}


def test_float_bomb_keeps_the_budget_of_the_default_limit(tmp_path: Path) -> None:
    """A float TIFF of 9000 x 9000 pixels in half a megabyte is decoded within 8 bytes a pixel."""
    path = tmp_path / "bomb.tif"
    floats = Image.new("F", (9000, 9000), 0.5)
    path.write_bytes(encoded(floats, "TIFF", compression="tiff_adobe_deflate"))
    assert path.stat().st_size < 1_000_000
    program = MEASURE.replace("int(PIXELS / share(data)) + 1", "89_478_485")
    [found] = measured(program, [path], tmp_path)
    assert found["peak"] < 8 * 89_478_485


@pytest.mark.parametrize(
    ("data", "limit", "kind"),
    [
        (encoded(Image.new("RGB", (2000, 1000)), "WEBP"), 14.5, "WebP images"),
        (encoded(Image.new("RGB", (2000, 1000)), "AVIF", speed=10), 14.5, "AVIF images"),
        (
            encoded(Image.new("RGB", (2000, 1000)), "JPEG", progressive=True, subsampling=0),
            10.0,
            "progressive JPEG images",
        ),
    ],
    ids=["webp", "avif", "jpeg"],
)
def test_message_has_the_limit_of_the_format(data: bytes, limit: float, kind: str) -> None:
    """Where a format has a lower limit the message names it, and below it the file is accepted."""
    most = int(2_000_000 * memory.BUDGET / limit)
    with pytest.raises(
        ImageError, match=rf"2000000 pixels; the limit of {kind} is {most}\."
    ) as caught:
        decode(data, name="image", limits=Limits(10**7, 2_000_000, 4))
    assert caught.value.kind == "too_many_pixels"
    assert decode(data, name="image", limits=Limits(10**7, 4_000_000, 4)).frames


def test_ordinary_images_keep_the_whole_limit() -> None:
    """Baseline JPEG, PNG, GIF and BMP of exactly the limit are accepted."""
    for image_format in ("JPEG", "PNG", "GIF", "BMP"):
        data = encoded(Image.new("RGB", (1000, 1000), "teal"), image_format)
        image = decode(data, name="image", limits=Limits(10**7, 1_000_000, 4))
        assert image.frames[0].image.size == (1000, 1000)


def test_more_bits_take_more_memory() -> None:
    """AVIF and HEIC with more than 8 bits a channel have a lower limit."""
    for image_format in ("AVIF", "HEIF"):
        with Image.open(io.BytesIO(encoded(Image.new("RGB", (64, 64)), image_format))) as image:
            usual = memory.limit(image, max_pixels=10**8, frames=1)
            image.info["deep"] = True
            assert memory.limit(image, max_pixels=10**8, frames=1) < 0.8 * usual


def test_depth_of_an_avif_is_found() -> None:
    """It is a bit of the configuration of each coded item."""
    data = encoded(Image.new("RGB", (64, 64)), "AVIF")
    at = data.index(b"av1C") + 4 + 2
    assert not avif.is_deep(data)
    assert avif.is_deep(data[:at] + bytes([data[at] | 0x40]) + data[at + 1 :])


def test_settings_page_has_each_formats_share_of_the_pixel_limit() -> None:
    """The shares in the table of settings are those that are in force."""
    table = (ROOT / "docs" / "settings.md").read_text()
    [row] = [line for line in table.splitlines() if line.startswith("| `NSFW_MAX_PIXELS`")]
    still = {name: round(100 * memory.BUDGET / need) for name, need in memory.STILL.items()}
    several = [
        round(100 * (memory.BUDGET - memory.FRAMES_SHARE) / need)
        for need in memory.ANIMATED.values()
    ]
    assert f"WebP and AVIF {still['WEBP']} %, HEIC {still['HEIF']} %" in row
    assert still["WEBP"] == still["AVIF"]
    assert f"between {min(several)} % and {max(several)} %" in row
