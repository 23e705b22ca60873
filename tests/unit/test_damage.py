"""Files with damaged or missing pixels: the readable part is decoded, and is incomplete."""

import threading
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from nsfw_app.errors import ImageError, ImageErrorKind
from nsfw_app.imaging import damage
from nsfw_app.imaging.decode import DecodedImage, Limits, decode
from nsfw_app.imaging.frames import MinSize
from nsfw_app.records import WarningCode
from tests.support.fakes import LIMITS
from tests.support.flawed_files import (
    PHOTO,
    chunk,
    frames_of,
    interlaced_png,
    with_chunk,
    without_end,
)
from tests.support.image_files import FILES, animated, camera_exif, encoded, png

WHOLE_ROWS = {  # formats whose rows are decoded exactly or not at all
    "jpeg": encoded(PHOTO, "JPEG", subsampling=0),
    "jpeg with restarts": encoded(PHOTO, "JPEG", subsampling=0, restart_marker_rows=1),
    "jpeg gray": encoded(PHOTO.convert("L"), "JPEG"),
    "png": encoded(PHOTO, "PNG"),
    "png palette": encoded(PHOTO.quantize(32), "PNG"),
    "png 16 bit": FILES["png-16-bit"],
    "gif": encoded(PHOTO.quantize(32), "GIF", interlace=0),
    "webp": encoded(PHOTO, "WEBP"),
    "webp lossless": encoded(PHOTO, "WEBP", lossless=True),
    "tiff": encoded(PHOTO, "TIFF"),
}


def decoded(
    data: bytes, *, limits: Limits = LIMITS, min_size: MinSize | None = None
) -> DecodedImage:
    """The decoded file, under a name without extension."""
    return decode(data, name="image", limits=limits, min_size=min_size)


def codes(image: DecodedImage) -> list[WarningCode]:
    """The codes of its warnings."""
    return [warning.code for warning in image.info.warnings]


def shown(data: bytes) -> np.ndarray:
    """The only frame of a file."""
    (frame,) = decoded(data).frames
    return np.asarray(frame.image)


def cut(data: bytes, share: float) -> bytes:
    """The beginning of a file."""
    return data[: int(len(data) * share)]


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
@pytest.mark.parametrize("kind", WHOLE_ROWS)
def test_rows_that_are_there_are_decoded(kind: str, share: float) -> None:
    """Of a file cut short the frame has about that share of the rows, each as in the whole file."""
    data = WHOLE_ROWS[kind]
    whole = shown(data)
    image = decoded(cut(data, share))
    part = np.asarray(image.frames[0].image)
    assert image.info.incomplete
    assert codes(image) == [WarningCode.TRUNCATED]
    assert (image.info.width, image.info.height) == (whole.shape[1], whole.shape[0])
    assert 0.1 * len(whole) < len(part) < len(whole)
    assert part.shape[1] == whole.shape[1]
    trusted = len(part) - 2 if kind.startswith("webp") else len(part)  # filters reach over rows
    assert np.array_equal(part[:trusted], whole[:trusted])


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_bitmap_keeps_its_last_rows(share: float) -> None:
    """A BMP begins with its last row, and that part is shown."""
    data = encoded(PHOTO, "BMP")
    whole, part = shown(data), shown(cut(data, share))
    assert np.array_equal(part, whole[len(whole) - len(part) :])
    assert 0 < len(part) < len(whole)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}], ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_without_its_end_marker_is_whole(mode: str, options: dict[str, object]) -> None:
    """All rows are there, so the pixels are those of the whole file, and nothing is incomplete."""
    data = encoded(PHOTO.convert(mode), "JPEG", **options)
    image = decoded(without_end(data))
    assert codes(image) == [WarningCode.TRUNCATED]
    assert not image.info.incomplete
    assert np.array_equal(np.asarray(image.frames[0].image), shown(data))


def test_png_without_its_end_chunk_is_whole() -> None:
    """The same of a PNG."""
    data = encoded(PHOTO, "PNG")
    image = decoded(data[:-12])
    assert (codes(image), image.info.incomplete) == ([WarningCode.TRUNCATED], False)
    assert np.array_equal(np.asarray(image.frames[0].image), shown(data))


def test_webp_cut_within_its_metadata_is_whole() -> None:
    """Metadata at the end of a WebP may be missing."""
    data = encoded(PHOTO, "WEBP", exif=camera_exif(1, "x" * 200))
    image = decoded(data[:-100])
    assert (codes(image), image.info.incomplete) == ([WarningCode.TRUNCATED], False)
    assert np.array_equal(np.asarray(image.frames[0].image), shown(data))


@pytest.mark.parametrize("missing", [1, 2, 8, 30])
def test_no_missing_pixel_is_overlooked(missing: int) -> None:
    """A JPEG that lacks its very last pixels is incomplete, with or without an end marker."""
    data = encoded(PHOTO, "JPEG", quality=95, subsampling=0)
    beginning = without_end(data)[: -8 * missing]
    assert decoded(beginning).info.incomplete


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_cut_jpeg_that_was_closed_again_is_incomplete(share: float) -> None:
    """An end marker does not hide missing rows: libjpeg's gray is noticed and left out."""
    data = encoded(PHOTO, "JPEG", subsampling=0)
    image = decoded(cut(data, share) + b"\xff\xd9")
    part, whole = np.asarray(image.frames[0].image), shown(data)
    assert image.info.incomplete
    assert np.array_equal(part, whole[: len(part)])


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=str)
def test_gray_image_is_whole(options: dict[str, object]) -> None:
    """An image that ends in the gray of missing blocks, but is all there, warns of nothing."""
    half_gray = PHOTO.copy()
    half_gray.paste((128, 128, 128), (0, 60, 128, 96))
    for whole in (half_gray, half_gray.convert("L"), Image.new("RGB", (64, 64), (128, 128, 128))):
        image = decoded(encoded(whole, "JPEG", **options))
        assert (codes(image), image.info.incomplete) == ([], False)
        assert image.frames[0].image.size == whole.size


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6])
@pytest.mark.parametrize("size", [None, MinSize(12)], ids=["whole", "reduced"])
def test_missing_scans_are_noticed(share: float, size: MinSize | None) -> None:
    """A progressive JPEG cut short and closed again is incomplete, at every scale of decoding."""
    data = encoded(PHOTO, "JPEG", progressive=True)
    image = decoded(cut(data, share) + b"\xff\xd9", min_size=size)
    assert (codes(image), image.info.incomplete) == ([WarningCode.TRUNCATED], True)


def test_scan_between_others_that_is_missing_is_noticed() -> None:
    """Each coefficient of each component has to be there to its last bit."""
    data = encoded(PHOTO, "JPEG", progressive=True)
    starts = [at for at in range(len(data)) if data.startswith(b"\xff\xda", at)]
    assert len(starts) == 10
    for start, end in zip(starts, [*starts[1:], len(data) - 2], strict=True):
        tables = data.find(b"\xff\xc4", start, end)  # of the next scan
        end = end if tables < 0 else tables
        assert decoded(data[:start] + data[end:]).info.incomplete


@pytest.mark.parametrize("hole", [200, 2000])
def test_missing_restart_markers_are_noticed(hole: int) -> None:
    """Where a JPEG has restart markers, a part that is missing makes it incomplete."""
    data = encoded(PHOTO, "JPEG", quality=95, restart_marker_blocks=2)
    middle = len(data) // 2
    assert codes(decoded(data)) == []
    assert decoded(data[:middle] + data[middle + hole :]).info.incomplete
    assert decoded(data[:middle] + bytes(hole) + data[middle + hole :]).info.incomplete


def png_with(rows: bytes, *, depth: int, color: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """A PNG whose compressed data end in order, with as many rows as given."""
    chunks = [(b"PLTE", bytes(range(48)))] if color == 3 else []
    return png(size, depth=depth, color=color, chunks=[*chunks, (b"IDAT", zlib.compress(rows))])


@pytest.mark.parametrize("share", [0.1, 0.6, 0.99])
@pytest.mark.parametrize(
    ("depth", "color", "row_bytes"),
    [
        *((1, 0, 8), (2, 0, 16), (4, 3, 32), (8, 0, 64), (8, 2, 192), (8, 4, 128), (8, 6, 256)),
        *((16, 0, 128), (16, 2, 384), (16, 4, 256), (16, 6, 512)),
    ],
)
def test_image_data_that_end_early_are_noticed(
    depth: int, color: int, row_bytes: int, share: float
) -> None:
    """A PNG whose rows are not all there is cut to them, though it has its end and checksums."""
    rows = (b"\0" + b"\x55" * row_bytes) * 48
    count = len(rows)
    assert codes(decoded(png_with(rows, depth=depth, color=color))) == []
    image = decoded(png_with(rows[: int(count * share)], depth=depth, color=color))
    assert (codes(image), image.info.incomplete) == ([WarningCode.TRUNCATED], True)
    assert image.frames[0].image.height == int(48 * share)


def test_black_end_of_an_image_is_whole() -> None:
    """Rows of zeros are not missing rows."""
    for mode, color in (("RGB", 0), ("L", 0), ("RGBA", (0, 0, 0, 0)), ("1", 0)):
        data = encoded(Image.new(mode, (64, 48), color), "PNG")
        assert codes(decoded(data)) == []
    image = PHOTO.copy()
    image.paste("black", (0, 60, 128, 96))
    for data in (encoded(image, "PNG"), interlaced_png(image)):
        assert codes(decoded(data)) == []


@pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
def test_interlaced_image_data_that_end_early_are_noticed(share: float) -> None:
    """The same of an interlaced PNG, whose last passes are missing."""
    data = interlaced_png(PHOTO)
    at = data.index(b"IDAT") - 4
    rows = zlib.decompress(data[at + 8 : -16])
    short = chunk(b"IDAT", zlib.compress(rows[: int(len(rows) * share)]))
    image = decoded(data[:at] + short + data[-12:])
    assert (codes(image), image.info.incomplete) == ([WarningCode.TRUNCATED], True)


def test_short_data_of_a_later_frame_are_noticed() -> None:
    """An animated PNG with rows missing in its second frame is incomplete."""
    data = animated(frames_of(PHOTO, 2), "PNG")
    assert codes(decoded(data)) == []
    at = data.index(b"fdAT") - 4
    length = int.from_bytes(data[at : at + 4])
    rows = zlib.decompress(data[at + 12 : at + 8 + length])
    body = data[at + 8 : at + 12] + zlib.compress(rows[: len(rows) // 2])
    image = decoded(data[:at] + chunk(b"fdAT", body) + data[at + 12 + length :])
    assert (codes(image), image.info.incomplete) == ([WarningCode.TRUNCATED], True)
    assert "parts of its frames are missing" in image.info.warnings[0].message


@pytest.mark.parametrize("share", [0.6, 0.75, 0.9, 0.99])
@pytest.mark.parametrize("options", [{}, {"lossless": True}], ids=["lossy", "lossless"])
@pytest.mark.parametrize("kind", ["photo", "palette", "transparent", "small"])
def test_every_cut_webp_shows_its_rows(kind: str, options: dict[str, object], share: float) -> None:
    """Some bytes after the end let a decoder fail; others are tried until two decode."""
    original = PHOTO.convert("RGBA") if kind == "transparent" else PHOTO
    if kind == "transparent":
        original.putalpha(Image.linear_gradient("L").resize(original.size))
    original = {"palette": PHOTO.quantize(32), "small": PHOTO.resize((60, 45))}.get(kind, original)
    data = encoded(original, "WEBP", **options)
    start = max(data.find(b"VP8 "), data.find(b"VP8L"))
    image = decoded(data[: start + 8 + int((len(data) - start - 8) * share)])
    assert image.info.incomplete or share > 0.9
    assert WarningCode.TRUNCATED in codes(image)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_progressive_jpeg_shows_less_detail(share: float) -> None:
    """Each scan covers the whole image, so all rows are shown, as in browsers."""
    data = encoded(PHOTO, "JPEG", progressive=True)
    image = decoded(cut(data, share))
    part = np.asarray(image.frames[0].image).astype(int)
    assert image.info.incomplete
    assert part.shape == (96, 128, 3)
    assert np.abs(part - shown(data)).mean() < 20


@pytest.mark.parametrize(("share", "most"), [(0.06, 60), (0.3, 30), (0.7, 15)])
def test_interlaced_png_shows_less_detail(share: float, most: float) -> None:
    """Complete passes give the whole image with fewer pixels, in its proportions."""
    data = interlaced_png(PHOTO)
    image = decoded(cut(data, share))
    part = image.frames[0].image
    assert image.info.incomplete
    assert part.width / part.height == pytest.approx(128 / 96, rel=0.1)
    enlarged = np.asarray(part.resize((128, 96))).astype(int)
    assert np.abs(enlarged - shown(data)).mean() < most


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_interlaced_gif_shows_less_detail(share: float) -> None:
    """The same of a GIF, whose passes are rows."""
    data = encoded(PHOTO.quantize(64), "GIF", interlace=1)
    part = shown(cut(data, share)).astype(int)
    assert part.shape == (96, 128, 3)
    assert np.abs(part - shown(data)).mean() < 20


@pytest.mark.parametrize("share", [0.5, 0.8])
@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animation_cut_short_keeps_its_first_frames(image_format: str, share: float) -> None:
    """Frames that can be decoded are; the image is incomplete."""
    data = animated(frames_of(PHOTO), image_format)
    whole = decoded(data)
    image = decoded(cut(data, share))
    assert image.info.incomplete
    assert codes(image) == [WarningCode.TRUNCATED]
    assert 1 <= len(image.frames) <= 5
    first, expected = (np.asarray(i.frames[0].image).astype(int) for i in (image, whole))
    assert np.abs(first - expected).mean() < 1


@pytest.mark.parametrize("image_format", ["GIF", "PNG"])
def test_frames_after_a_broken_one_are_decoded(image_format: str) -> None:
    """Damage in the middle of an animation hides nothing that comes after it."""
    frames = [Image.new("RGB", (64, 48), "black") for _ in range(4)]
    for number, frame in enumerate(frames):
        frame.paste(PHOTO.resize((64, 48)).rotate(20 * number), (0, 0))
    last = Image.new("RGB", (64, 48), (250, 10, 10))
    data = bytearray(animated([*frames, last], image_format))
    second = len(data) * 2 // 5
    data[second : second + 8] = bytes(8)
    image = decoded(bytes(data))
    assert image.info.incomplete
    assert image.frames[-1].number == 4
    red = np.asarray(image.frames[-1].image).reshape(-1, 3).mean(axis=0)
    assert red == pytest.approx((250, 10, 10), abs=20)


def test_cut_file_is_rotated() -> None:
    """The remaining part of a rotated image is upright."""
    data = encoded(PHOTO, "JPEG", subsampling=0, exif=camera_exif(6))
    whole, part = shown(data), shown(cut(data, 0.7))
    assert whole.shape == (128, 96, 3)
    assert np.array_equal(part, whole[:, whole.shape[1] - part.shape[1] :])


def test_large_cut_file_is_reduced() -> None:
    """A damaged JPEG is decoded with fewer pixels if the minimum size allows it."""
    data = encoded(PHOTO.resize((1600, 1200)), "JPEG")
    image = decoded(cut(data, 0.6), min_size=MinSize(128))
    assert image.reduced
    assert image.info.incomplete
    assert image.frames[0].image.width == 200


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "gif"])
def test_without_any_row_nothing_is_decoded(kind: str) -> None:
    """A file that ends before its first row is refused as before."""
    data = {"jpeg": 0.15, "png": 0.004, "webp": 0.05, "gif": 0.04}
    with pytest.raises(ImageError) as caught:
        decoded(cut(WHOLE_ROWS[kind], data[kind]))
    assert caught.value.kind in {ImageErrorKind.TRUNCATED, ImageErrorKind.CORRUPT}


def test_tolerance_is_of_one_thread() -> None:
    """While one thread accepts truncated files, another one does not."""
    entered, leave = threading.Event(), threading.Event()

    def tolerate() -> None:
        with damage.tolerant():
            entered.set()
            assert leave.wait(10)

    thread = threading.Thread(target=tolerate)
    thread.start()
    assert entered.wait(10)
    try:
        assert not ImageFile.LOAD_TRUNCATED_IMAGES
        with damage.tolerant():
            assert ImageFile.LOAD_TRUNCATED_IMAGES
        assert not ImageFile.LOAD_TRUNCATED_IMAGES
    finally:
        leave.set()
        thread.join()


def test_damage_is_only_looked_for_where_there_is_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files in order are decoded once."""

    def fail(*_: object) -> None:
        pytest.fail("A second decoding.")

    monkeypatch.setattr(damage, "digests", fail)
    for kind, data in FILES.items():
        assert decoded(data).frames, kind
    assert decoded(with_chunk(FILES["png"], chunk(b"eXIf", b"?"))).frames


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", FILES)
def test_every_way_to_damage_a_file_is_an_image_or_an_error(kind: str) -> None:
    """Cut or flipped at 50 places, each file gives frames within the limits or an `ImageError`."""
    data = FILES[kind]
    small = Limits(LIMITS.max_bytes, 250_000, 4)
    for at in np.linspace(1, len(data) - 1, 50).astype(int):
        flipped = data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :]
        for damaged in (data[:at], flipped):
            try:
                image = decoded(damaged, limits=small)
            except ImageError:
                continue
            assert all(frame.image.mode == "RGB" for frame in image.frames)
            assert all(len(warning.message) > 10 for warning in image.info.warnings)
