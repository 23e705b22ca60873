"""Which frames of a file are decoded, and the limits of several frames."""

import zlib
from itertools import pairwise

import pytest
from PIL import ExifTags, Image

from nsfw_app.errors import ImageError, ImageErrorKind
from nsfw_app.imaging.decode import DecodedImage, Limits, decode
from nsfw_app.records import Background, WarningCode
from tests.support.fakes import LIMITS
from tests.support.image_files import animated, camera_exif, encoded, grays, level, sample_photo

SEVERAL = ["GIF", "WEBP", "PNG", "TIFF", "AVIF", "HEIF"]


def decoded(data: bytes, limits: Limits = LIMITS) -> DecodedImage:
    """The decoded file, under a name without extension."""
    return decode(data, name="image", limits=limits)


def limited(*, max_pixels: int = LIMITS.max_pixels, max_frames: int = 16) -> Limits:
    """The usual limits with these changed."""
    return Limits(LIMITS.max_bytes, max_pixels, max_frames)


@pytest.mark.parametrize("image_format", SEVERAL)
def test_each_frame_has_its_number(image_format: str) -> None:
    """Of 40 frames 16 are decoded, including first and last, and each has its own content."""
    image = decoded(animated(grays(40), image_format))
    numbers = [frame.number for frame in image.frames]
    assert image.info.frames == 40
    assert (len(numbers), numbers[0], numbers[-1]) == (16, 0, 39)
    for frame in image.frames:
        assert frame.image.getpixel((8, 8)) == pytest.approx((level(frame.number),) * 3, abs=2)


@pytest.mark.parametrize("image_format", SEVERAL)
def test_few_frames_are_all_taken(image_format: str) -> None:
    """All frames of a file with fewer than the limit are decoded."""
    image = decoded(animated(grays(3), image_format))
    assert [frame.number for frame in image.frames] == [0, 1, 2]


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 18, 31, 33, 50])
@pytest.mark.parametrize("most", [2, 3, 16])
def test_frames_are_evenly_spaced(count: int, most: int) -> None:
    """First and last are always taken, never more than the limit, with gaps that differ by one."""
    numbers = [
        f.number for f in decoded(animated(grays(count), "GIF"), limited(max_frames=most)).frames
    ]
    assert len(numbers) == min(count, most)
    assert (numbers[0], numbers[-1]) == (0, count - 1)
    gaps = {after - before for before, after in pairwise(numbers)}
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_a_limit_of_one_frame_takes_the_first() -> None:
    """With a single frame allowed it is the one a still viewer shows."""
    (frame,) = decoded(animated(grays(5), "GIF"), limited(max_frames=1)).frames
    assert frame.number == 0


def test_a_phones_preview_is_not_a_frame() -> None:
    """Of an MPO only the first image is decoded, and its format is JPEG."""
    data = animated([sample_photo(), Image.new("RGB", (64, 48), "red")], "MPO")
    image = decode(data, name="photo.jpg", limits=LIMITS)
    assert (image.info.format, image.info.frames, len(image.frames)) == ("JPEG", 1, 1)
    assert image.frames[0].image.getpixel((2, 2)) != (254, 0, 0)


def test_every_frame_of_a_turned_file_is_turned() -> None:
    """The camera's orientation holds for all frames of an animation."""
    frames = grays(3, size=(24, 16))
    image = decoded(animated(frames, "WEBP", exif=camera_exif(6)))
    assert [frame.image.size for frame in image.frames] == [(16, 24)] * 3


def test_every_page_is_turned_by_its_own_tag() -> None:
    """Pages of a TIFF that were scanned upright and sideways all come out upright."""
    pages = grays(3, size=(24, 16))
    upright, sideways = ({"tiffinfo": {ExifTags.Base.Orientation: tag}} for tag in (1, 6))
    pages[1].encoderinfo, pages[2].encoderinfo = upright, sideways
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:], **sideways)
    sizes = [frame.image.size for frame in decoded(data).frames]
    assert sizes == [(16, 24), (24, 16), (16, 24)]


def test_transparent_frames_are_on_both_backgrounds() -> None:
    """Areas that no frame covers are white in one image of each frame and black in another."""
    frames = [Image.new("RGBA", (24, 16), (0, 0, 0, 0)) for _ in range(3)]
    for number, frame in enumerate(frames):
        frame.paste((0, level(number), 0, 255), (0, 0, 8, 8))
    image = decoded(animated(frames, "PNG"))
    for frame in image.frames:
        color = (255, 255, 255) if frame.background is Background.WHITE else (0, 0, 0)
        assert frame.image.getpixel((20, 12)) == color
        assert frame.image.getpixel((2, 2)) == (0, level(frame.number), 0)
    backgrounds = [(frame.number, frame.background.value) for frame in image.frames]
    assert backgrounds == [(n, color) for n in range(3) for color in ("white", "black")]


def test_frames_share_the_pixels_allowed() -> None:
    """Frames that together exceed the limit are reduced to equal shares in their proportions."""
    image = decoded(animated(grays(4, size=(200, 100)), "TIFF"), limited(max_pixels=20_000))
    assert (image.info.width, image.info.height) == (200, 100)
    for frame in image.frames:
        width, height = frame.image.size
        assert 4_000 < width * height <= 5_000
        assert width / height == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("size", [(200, 100), (2111, 48), (1024, 112), (48, 999), (9000, 1)])
def test_frames_never_exceed_the_pixels_allowed(size: tuple[int, int]) -> None:
    """However long and narrow, reduced frames together keep the limit to the pixel."""
    limits = limited(max_pixels=size[0] * size[1])
    image = decoded(animated(grays(4, size=size), "TIFF"), limits)
    pixels = [frame.image.width * frame.image.height for frame in image.frames]
    assert sum(pixels) <= limits.max_pixels


def test_frames_within_their_share_keep_their_size() -> None:
    """Nothing is reduced as long as all frames together keep the limit."""
    image = decoded(animated(grays(4, size=(200, 100)), "TIFF"), limited(max_pixels=80_000))
    assert {frame.image.size for frame in image.frames} == {(200, 100)}


def test_pixels_of_all_frames_have_a_limit() -> None:
    """Too many frames are refused before any is decoded."""
    data = animated(grays(9), "GIF")
    assert len(decoded(data, limited(max_pixels=24 * 16, max_frames=9)).frames) == 9
    with pytest.raises(ImageError, match=r"3456 pixels; the limit is 3072\.") as caught:
        decoded(data, limited(max_pixels=24 * 16, max_frames=8))
    assert caught.value.kind == ImageErrorKind.TOO_MANY_PIXELS


def test_every_page_keeps_the_limit() -> None:
    """A large second page is refused even if the first page is small."""
    pages = [Image.new("RGB", (10, 10)), Image.new("RGB", (300, 200))]
    with pytest.raises(ImageError, match=r"60000 pixels; the limit is 50000\.") as caught:
        decoded(animated(pages, "TIFF"), limited(max_pixels=50_000))
    assert caught.value.kind == ImageErrorKind.TOO_MANY_PIXELS


def test_damaged_page_is_left_out() -> None:
    """Pages that can be decoded are; the image is incomplete, and the warning counts them."""
    data = animated(grays(3), "TIFF", compression="tiff_adobe_deflate")
    second = zlib.compress(bytes([level(1)]) * (24 * 16 * 3))
    assert data.count(second[:12]) == 1
    damaged = data.replace(second[:12], b"\xff" * 12)
    image = decoded(damaged)
    assert [frame.number for frame in image.frames] == [0, 2]
    assert image.info.incomplete
    assert [(w.code, "2 of the 3 frames" in w.message) for w in image.info.warnings] == [
        (WarningCode.TRUNCATED, True)
    ]
