"""Previews, thumbnails and placeholders: small, without metadata of the upload."""

import io
import struct

import pytest
from PIL import Image, PngImagePlugin

from nsfw_app.imaging.decode import decode
from nsfw_app.imaging.previews import are_near_duplicates, placeholder, preview, thumbnail
from tests.support.fakes import LIMITS
from tests.support.image_files import camera_exif, encoded, sample_photo, srgb_profile

BALANCED = "00000000ffffffff"  # half of the bits are set
SECRET = "Taken by Ada at home"
XMP = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'><creator>{SECRET}</creator></x:xmpmeta>".encode()


def telling_png() -> bytes:
    """A PNG with the secret in text chunks and EXIF."""
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", SECRET)
    texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
    profile = srgb_profile()
    exif = camera_exif(6, SECRET)
    return encoded(sample_photo(), "PNG", pnginfo=texts, exif=exif, icc_profile=profile)


def telling(image_format: str) -> bytes:
    """A file with the secret in every kind of metadata of its format."""
    if image_format == "PNG":
        return telling_png()
    if image_format == "GIF":
        return encoded(sample_photo(), "GIF", comment=SECRET.encode(), xmp=XMP)
    options = {
        "exif": camera_exif(6, SECRET).tobytes(),
        "icc_profile": srgb_profile(),
        "xmp": XMP,
    }
    if image_format == "JPEG":
        options |= {"comment": SECRET.encode(), "dpi": (301, 301)}
    return encoded(sample_photo(), image_format, **options)


def given_out(data: bytes) -> dict[str, bytes]:
    """Preview, thumbnail and placeholder of a file."""
    image = decode(data, name="image", limits=LIMITS).frames[0].image
    kept = preview(image)
    return {"preview": kept, "thumbnail": thumbnail(kept), "placeholder": placeholder(image)}


def jpeg_markers(data: bytes) -> set[int]:
    """The second bytes of the markers ahead of the first scan."""
    markers, position = set(), 2
    while data[position + 1] != 0xDA:
        markers.add(data[position + 1])
        position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    return markers


def webp_chunks(data: bytes) -> set[bytes]:
    """The names of a WebP's chunks."""
    names, position = set(), 12
    while position < len(data):
        names.add(data[position : position + 4])
        size = struct.unpack_from("<I", data, position + 4)[0]
        position += 8 + size + size % 2
    return names


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "HEIF"])
def test_metadata_of_the_upload_is_dropped(image_format: str) -> None:
    """No EXIF, place, comment, XMP or profile is in a preview, thumbnail or placeholder."""
    data = telling(image_format)
    assert SECRET.encode() in data
    for shown in given_out(data).values():
        for word in (SECRET.encode(), b"Exif", b"xmpmeta", b"ICC_PROFILE", b"acsp"):
            assert word not in shown
        with Image.open(io.BytesIO(shown)) as image:
            assert dict(image.getexif()) == {}
            assert not {"exif", "icc_profile", "comment", "xmp"} & set(image.info)


def test_previews_have_no_metadata_segments() -> None:
    """Of application and comment segments a preview and a thumbnail have JFIF's only."""
    shown = given_out(telling("JPEG"))
    assert {0xE1, 0xE2, 0xFE} <= jpeg_markers(telling("JPEG"))
    for name in ("preview", "thumbnail"):
        segments = {m for m in jpeg_markers(shown[name]) if 0xE0 <= m <= 0xEF or m == 0xFE}
        assert segments == {0xE0}
        with Image.open(io.BytesIO(shown[name])) as image:
            assert image.info.get("dpi") != (301, 301)


def test_placeholders_hold_only_the_pixels() -> None:
    """A placeholder is one WebP chunk: no room for metadata."""
    assert webp_chunks(given_out(telling("JPEG"))["placeholder"]) == {b"VP8 "}


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((2400, 1200), {"preview": (1600, 800), "thumbnail": (320, 160), "placeholder": (24, 12)}),
        ((400, 800), {"preview": (400, 800), "thumbnail": (160, 320), "placeholder": (12, 24)}),
        ((20, 10), {"preview": (20, 10), "thumbnail": (20, 10), "placeholder": (20, 10)}),
        ((3000, 1), {"preview": (1600, 1), "thumbnail": (320, 1), "placeholder": (24, 1)}),
    ],
)
def test_sizes_are_fitted(size: tuple[int, int], expected: dict[str, tuple[int, int]]) -> None:
    """Proportions hold, nothing is enlarged, nothing is larger than its purpose needs."""
    data = encoded(Image.new("RGB", size, "teal"), "PNG")
    sizes = {}
    for name, shown in given_out(data).items():
        with Image.open(io.BytesIO(shown)) as image:
            sizes[name] = image.size
            image_format = image.format
        assert image_format == ("WEBP" if name == "placeholder" else "JPEG")
    assert sizes == expected


def test_previews_look_like_the_upload() -> None:
    """A preview shows the same colors as the file."""
    shown = given_out(encoded(Image.new("RGB", (64, 48), (30, 140, 90)), "PNG"))
    for data in shown.values():
        with Image.open(io.BytesIO(data)) as image:
            seen = image.convert("RGB").getpixel((5, 5))
        assert seen == pytest.approx((30, 140, 90), abs=4)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("00000000ffffffff", True),
        ("0000000fffffffff", True),  # 4 bits
        ("80000007ffffffff", True),
        ("0000001fffffffff", False),  # 5 bits
        ("ffffff0000ffffff", False),  # 32 bits
        (None, False),
    ],
)
def test_hashes_are_alike_up_to_four_bits(other: str | None, same: bool) -> None:
    """Hashes that differ in more bits, and unknown ones, are not near duplicates."""
    assert are_near_duplicates(BALANCED, other) is same
    assert are_near_duplicates(other, BALANCED) is same
