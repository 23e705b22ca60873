"""Files that cannot be classified: each is refused with a kind and a message."""

import errno
import io
import os
import re
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile

from nsfw_app.datasets.files import POINTER
from nsfw_app.datasets.reading import Reader
from nsfw_app.errors import ImageError, ImageErrorKind
from nsfw_app.imaging.decode import Limits, check_size, decode, read_file, sha256
from nsfw_app.imaging.previews import thumbnail
from tests.support.fakes import LIMITS
from tests.support.image_files import FILES, encoded, png, sample_photo
from tests.unit.test_sources import entries

HTML = b"<!doctype html><html><head><title>404</title></head><body>Not found</body></html>"
SVG = b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"
PDF = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer << >>\n%%EOF\n"
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n9 9 scale\n%%EOF\n"
pytestmark = [  # Pillow's own, about the files that are refused here
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]
SUPPORTED = ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "AVIF", "HEIC")


def refused(data: bytes, name: str = "image", limits: Limits = LIMITS) -> ImageError:
    """The error for these bytes."""
    with pytest.raises(ImageError) as caught:
        decode(data, name=name, limits=limits)
    return caught.value


def header_only(width: int, height: int) -> bytes:
    """A PNG whose header declares many pixels, with few bytes."""
    rows = zlib.compress(bytes(1000))
    return png((width, height), depth=8, color=2, chunks=[(b"IDAT", rows)])


def garbled(data: bytes) -> bytes:
    """The same file with its middle overwritten."""
    middle = len(data) // 2
    return data[:middle] + b"\xff" * 64 + data[middle + 64 :]


def unread(path: Path) -> ImageError:
    """The error for a path."""
    with pytest.raises(ImageError) as caught:
        read_file(path, LIMITS)
    return caught.value


def few_bytes(limit: int) -> Limits:
    """The usual limits, with fewer bytes."""
    return Limits(limit, LIMITS.max_pixels, LIMITS.max_frames)


def float_color() -> bytes:
    """A TIFF of colors that are floating-point numbers."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((16, 16, 3), np.float32), photometric="rgb")
    return buffer.getvalue()


def refused_without_memory() -> ImageError:
    """The error about a sound file if there is no memory to decode it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image.Image, "load", Mock(side_effect=MemoryError))
        patch.setattr(ImageFile.ImageFile, "load", Mock(side_effect=MemoryError))
        return refused(FILES["png"])


def unread_entry(path: Path, data: bytes) -> ImageError:
    """The error for the only image of a data set, which a file with these bytes is or holds."""
    path.write_bytes(data)
    (entry,) = entries(path)
    with Reader(LIMITS) as reader, pytest.raises(ImageError) as caught:
        reader.read(entry)
    return caught.value


def encrypted_archive() -> bytes:
    """A zip archive whose member is marked as encrypted."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("image.jpg", FILES["jpeg"])
    data = bytearray(buffer.getvalue())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


# A way to provoke each kind, and a text that its message contains.
KINDS: dict[ImageErrorKind, tuple[Callable[[Path], ImageError], str]] = {
    ImageErrorKind.MISSING: (lambda folder: unread(folder / "image"), "No such file"),
    ImageErrorKind.DIRECTORY: (lambda folder: unread(folder), "is a directory"),
    ImageErrorKind.EMPTY: (lambda _: refused(b""), "is empty"),
    ImageErrorKind.TOO_LARGE: (
        lambda _: refused(FILES["bmp"], limits=few_bytes(5_000)),
        "larger than the limit of 0.005 MB",
    ),
    ImageErrorKind.TOO_MANY_PIXELS: (
        lambda _: refused(header_only(2001, 2000)),
        "has 4002000 pixels; the limit is 4000000",
    ),
    ImageErrorKind.NOT_AN_IMAGE: (lambda _: refused(HTML), "is not an image"),
    ImageErrorKind.TRUNCATED: (lambda _: refused(FILES["jpeg"][:200]), "ends too early"),
    ImageErrorKind.CORRUPT: (lambda _: refused(garbled(FILES["webp-lossless"])), "is damaged"),
    ImageErrorKind.UNSUPPORTED: (lambda _: refused(float_color()), "are not supported"),
    ImageErrorKind.UNREADABLE: (
        lambda folder: unread_entry(folder / "image.zip", b"PK"),
        "cannot be opened as a zip archive",
    ),
    ImageErrorKind.ENCRYPTED: (
        lambda folder: unread_entry(folder / "image.zip", encrypted_archive()),
        "is encrypted",
    ),
    ImageErrorKind.POINTER: (
        lambda folder: unread_entry(folder / "image.jpg", POINTER + b"\noid sha256:0\nsize 9\n"),
        "Git LFS",
    ),
    ImageErrorKind.NO_MEMORY: (lambda _: refused_without_memory(), "not enough memory. Try again"),
}


@pytest.mark.parametrize("kind", ImageErrorKind)
def test_every_kind_has_its_message(kind: ImageErrorKind, tmp_path: Path) -> None:
    """Each kind occurs, and its message, one sentence, names the file and the fault."""
    meet, words = KINDS[kind]
    folder = tmp_path / "image-folder"
    folder.mkdir()
    error = meet(folder)
    assert error.kind == kind
    assert str(error).startswith("image")
    assert words in str(error)
    assert re.fullmatch(r"[^\n]+\.", str(error))


@pytest.mark.parametrize("data", [HTML, SVG, PDF, POSTSCRIPT, b"\0", b"\0" * 5000, b"GIF", b"RIFF"])
@pytest.mark.parametrize("name", ["image", "image.jpg", "image.html"])
def test_other_files_are_refused_with_the_supported_formats(data: bytes, name: str) -> None:
    """Pages, drawings, documents and noise are refused with the list of what is accepted."""
    error = refused(data, name)
    assert error.kind == ImageErrorKind.NOT_AN_IMAGE
    assert all(word in str(error) for word in SUPPORTED)


@pytest.mark.parametrize("image_format", ["ICO", "PPM", "TGA", "PCX", "JPEG2000", "EPS"])
def test_other_formats_are_refused(image_format: str) -> None:
    """Formats that Pillow reads but that are not supported are not tried."""
    assert refused(encoded(sample_photo(), image_format)).kind == ImageErrorKind.NOT_AN_IMAGE


@pytest.mark.parametrize("kind", FILES)
def test_nothing_is_made_of_a_header(kind: str) -> None:
    """A file without a single row of its pixels is refused, in every format."""
    assert refused(FILES[kind][:40]).kind in {
        ImageErrorKind.TRUNCATED,
        ImageErrorKind.CORRUPT,
        ImageErrorKind.NOT_AN_IMAGE,
    }


@pytest.mark.parametrize("kind", ["avif", "avif-animated", "heic", "tiff-lzw"])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_formats_that_are_whole_or_nothing(kind: str, share: float) -> None:
    """Of AVIF, HEIC and TIFF with its directory at the end, a cut file is refused."""
    data = FILES[kind]
    assert refused(data[: int(len(data) * share)]).kind in {
        ImageErrorKind.TRUNCATED,
        ImageErrorKind.CORRUPT,
    }


def test_sizes_up_to_the_limit_pass() -> None:
    """A file of exactly the limit is accepted; one byte more, or none, is not."""
    limits = few_bytes(1000)
    check_size(1, name="image", limits=limits)
    check_size(1000, name="image", limits=limits)
    for size in (0, 1001):
        with pytest.raises(ImageError):
            check_size(size, name="image", limits=limits)


def test_pixels_up_to_the_limit_pass() -> None:
    """An image of exactly the limit is accepted; with a limit of one row less it is refused."""
    data = encoded(Image.new("RGB", (100, 50)), "PNG")
    assert decode(data, name="image", limits=Limits(10_000, 5_000, 1)).frames
    error = refused(data, limits=Limits(10_000, 4_999, 1))
    assert error.kind == ImageErrorKind.TOO_MANY_PIXELS


def with_size(kind: str, side: int) -> bytes:
    """A small file whose header declares `side` pixels of width and height."""
    data = bytearray(FILES[kind])
    if kind == "gif":
        struct.pack_into("<HH", data, 6, side, side)
    elif kind == "bmp":
        struct.pack_into("<ii", data, 18, side, side)
    elif kind == "jpeg-progressive":
        struct.pack_into(">HH", data, data.index(b"\xff\xc2") + 5, side, side)
    elif kind == "tiff-lzw":
        entry = struct.unpack_from("<I", data, 4)[0] + 2
        for tag in (256, 257):
            place = data.index(struct.pack("<H", tag), entry)
            struct.pack_into("<HII", data, place + 2, 4, 1, side)
    elif kind == "heic":
        place = data.index(b"ispe") + 8
        struct.pack_into(">II", data, place, side, side)
    else:
        return header_only(side, side)
    return bytes(data)


@pytest.mark.parametrize("side", [5_000, 12_000, 60_000])
@pytest.mark.parametrize("kind", ["png", "gif", "bmp", "jpeg-progressive", "tiff-lzw"])
def test_decompression_bombs_are_refused(kind: str, side: int) -> None:
    """A file whose header declares too many pixels is refused, under and over Pillow's limits."""
    error = refused(with_size(kind, side))
    assert error.kind == ImageErrorKind.TOO_MANY_PIXELS


def test_a_heic_bomb_is_refused() -> None:
    """A HEIC whose container declares more pixels than its stream has is refused."""
    refused(with_size("heic", 60_000))


def test_reading_stops_at_the_limit(tmp_path: Path) -> None:
    """A file of exactly the limit is read whole; a larger one is refused as such."""
    path = tmp_path / "image"
    path.write_bytes(b"x" * 1000)
    assert read_file(path, few_bytes(1000)) == b"x" * 1000
    with pytest.raises(ImageError, match=r"0\.000999 MB") as caught:
        read_file(path, few_bytes(999))
    assert caught.value.kind == ImageErrorKind.TOO_LARGE


@pytest.mark.parametrize("kind", ["device", "pipe", "socket"])
def test_what_is_no_regular_file_is_not_read(kind: str, tmp_path: Path) -> None:
    """A device may never end, and opening a pipe waits for a writer."""
    path = Path("/dev/zero") if kind == "device" else tmp_path / "x.png"
    with socket.socket(socket.AF_UNIX) as listening:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            listening.bind(str(path))
        error = unread(path)
    assert (error.kind, str(error)) == ("unreadable", f"{path.name} is not a regular file.")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_file_that_storage_refuses_is_not_missing(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there, and may be readable later or for another user."""

    def refuse(*_: object) -> object:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "image.png"
    path.write_bytes(FILES["png"])
    monkeypatch.setattr(Path, "open", refuse)
    error = unread(path)
    message = f"image.png cannot be read: {os.strerror(number)}."
    assert (error.kind, str(error)) == ("unreadable", message)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b.png", "\ud800.png", "image/inside"])
def test_paths_that_cannot_be_opened_are_missing(name: str, tmp_path: Path) -> None:
    """Names that no file system accepts are reported like a missing file."""
    (tmp_path / "image").write_bytes(FILES["png"])
    assert unread(tmp_path / name).kind == ImageErrorKind.MISSING


def test_a_damaged_preview_is_an_image_error() -> None:
    """A damaged preview on disk is reported by an `ImageError` too."""
    for data in (b"", HTML, FILES["jpeg"][:200]):
        with pytest.raises(ImageError):
            thumbnail(data)


def test_hashes_name_images() -> None:
    """An image is known by the SHA-256 of its bytes."""
    assert sha256(b"abc").startswith("ba7816bf8f01cfea")
    assert len(sha256(b"")) == 64
