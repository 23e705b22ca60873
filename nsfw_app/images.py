"""Bytes become pictures here, and every limit on untrusted input is kept here.

What always holds: whatever the bytes, only `ImageError` leaves this module; content, not its
name, says what a file is; a decoded frame is RGB, turned upright, flattened on white, and carries
no metadata of the upload.
"""

import hashlib
import io
import math
import mimetypes
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from nsfw_app import heif
from nsfw_app.errors import ImageError, ImageErrorKind
from nsfw_app.records import ImageInfo

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "HEIF")
SPOKEN_FORMATS = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC"
SAME_FORMAT = {"MPO": "JPEG", "DIB": "BMP"}  # a phone's JPEG with a preview; a BMP without header
SIDEWAYS = range(5, 9)  # orientations whose width is the height of the picture when upright
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*")
HEIF_SIGNATURES = (b"ftypavif", b"ftypavis", b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1")

Image.init()
heif.register()
SUFFIXES = frozenset(s for s, f in Image.registered_extensions().items() if f in FORMATS)
# The limit below is ours and smaller or equal; Pillow's warning would only repeat it.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest input accepted: bytes of a file, pixels of a frame, frames looked at."""

    max_bytes: int
    max_pixels: int
    max_frames: int


@dataclass(frozen=True, slots=True)
class Enough:
    """How many pixels a picture needs, for whoever looks at it: of its shorter and longer side.

    A JPEG with more may be decoded at half, a quarter or an eighth of its size.
    """

    shorter: int = 0
    longer: int = 0

    def of(self, size: tuple[int, int]) -> tuple[int, int]:
        """The smallest size with these sides, in the shape of the one given."""
        share = max(self.shorter / min(size), self.longer / max(size))
        return math.ceil(size[0] * share), math.ceil(size[1] * share)


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a file. `number` counts from 0; `image` is RGB."""

    number: int
    image: Image.Image


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A file's facts and the frames to look at, in the file's order, at least one.

    `reduced` says that the frames have fewer pixels than the file, as `Enough` allowed.
    """

    info: ImageInfo
    frames: tuple[Frame, ...]
    reduced: bool = False


def sha256(data: bytes) -> str:
    """The name under which an image is known: 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def read_file(path: Path, limits: Limits) -> bytes:
    """The bytes of a file, never more than the limit.

    Raises:
        ImageError: No such file, a directory, not readable, or too large.
    """
    try:
        if path.is_fifo():  # opening it would wait for a writer
            raise ImageError(ImageErrorKind.MISSING, f"{path.name} is a pipe, not a file.")
        with path.open("rb") as file:
            data = file.read(limits.max_bytes + 1)
    except IsADirectoryError:
        raise ImageError(
            ImageErrorKind.DIRECTORY, f"{path.name} is a directory, not an image."
        ) from None
    except OSError as error:
        raise ImageError(
            ImageErrorKind.MISSING, f"{path.name} cannot be read: {error.strerror}."
        ) from None
    except ValueError:
        raise ImageError(
            ImageErrorKind.MISSING, f"{path.name!r} cannot be read: no file is called so."
        ) from None
    check_size(len(data), name=path.name, limits=limits)
    return data


def check_size(size_bytes: int, *, name: str, limits: Limits) -> None:
    """Refuse a file by its size alone.

    Raises:
        ImageError: Empty, or over `limits.max_bytes`.
    """
    if size_bytes == 0:
        raise ImageError(ImageErrorKind.EMPTY, f"{name} is empty.")
    if size_bytes > limits.max_bytes:
        raise ImageError(
            ImageErrorKind.TOO_LARGE,
            f"{name} is larger than the limit of {limits.max_bytes / 1e6:g} MB.",
        )


def check_extension(name: str, image_format: str) -> None:
    """Refuse a file whose name says it is something else than its content.

    A name without an extension, or with one that means nothing, says nothing and passes.

    Raises:
        ImageError: The extension belongs to another format or to no image at all.
    """
    suffix = Path(name).suffix.lower()
    expected = Image.registered_extensions().get(suffix)
    if expected is None:
        kind = mimetypes.guess_type(f"file{suffix}")[0]
        if kind in {None, "application/octet-stream"}:
            return
    elif SAME_FORMAT.get(expected, expected) == image_format:
        return
    raise ImageError(
        ImageErrorKind.WRONG_EXTENSION,
        f"{name} holds a {image_format} image, which its extension {suffix} does not say. "
        "Rename it and add it again.",
    )


def decode(
    data: bytes,
    *,
    name: str,
    limits: Limits,
    enough: Enough | None = None,
    known_as: str | None = None,
) -> DecodedImage:
    """Decode an image, or say why not.

    Of a file with several frames at most `limits.max_frames` are taken, evenly spaced and always
    with the first and the last. Should all of them together exceed `limits.max_pixels`, each is
    reduced to its share.

    Args:
        data: The file's bytes.
        name: The file's name; its extension must fit the content.
        limits: What is accepted.
        enough: The sides that are needed; None for all that there is.
        known_as: The bytes' hash, where it is known already.

    Returns:
        The frames, and facts that are the file's own however small its frames were decoded.

    Raises:
        ImageError: The bytes are not one complete image within the limits.
    """
    check_size(len(data), name=name, limits=limits)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.decodermaxblock = len(data)  # all at once: piece by piece it would be copied
            return _decode(image, data, name, limits, enough, known_as or sha256(data))
    except ImageError:
        raise
    except Exception as error:  # decoders are foreign code and may raise anything
        raise _translated(error, data, name) from error


def _decode(
    image: Image.Image, data: bytes, name: str, limits: Limits, enough: Enough | None, digest: str
) -> DecodedImage:
    image_format = SAME_FORMAT.get(image.format or "", image.format or "")
    check_extension(name, image_format)
    _check_pixels(image.width * image.height, name, limits.max_pixels)
    # The second picture of an MPO is a preview or a depth map of the first.
    count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    total = count * image.width * image.height
    _check_pixels(total, name, limits.max_frames * limits.max_pixels)
    # Pillow turns the pages of a TIFF itself, each by its own tag.
    exif = {} if image.format == "TIFF" else image.getexif()
    orientation = exif.get(ExifTags.Base.Orientation, 1)
    width, height = image.size if orientation not in SIDEWAYS else image.size[::-1]
    whole = image.size
    if enough is not None:
        image.draft(None, enough.of(image.size))
    reduced = image.size != whole
    numbers = _spread(count, limits.max_frames)
    frames = []
    for number in numbers:
        if count > 1:
            image.seek(number)
            _check_pixels(image.width * image.height, name, limits.max_pixels)
        upright = _upright(_flattened(image), orientation)
        frames.append(Frame(number, _within(upright, limits.max_pixels // len(numbers))))
    info = ImageInfo(digest, image_format, width, height, len(data), count)
    return DecodedImage(info, tuple(frames), reduced)


def _check_pixels(pixels: int, name: str, max_pixels: int) -> None:
    if pixels > max_pixels:
        raise ImageError(
            ImageErrorKind.TOO_MANY_PIXELS,
            f"{name} has {pixels} pixels; the limit is {max_pixels}.",
        )


def _spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` frame numbers, evenly spaced, both ends included."""
    return sorted({round(i) for i in np.linspace(0, count - 1, most)})


def _flattened(image: Image.Image) -> Image.Image:
    """RGB, with what is transparent shown on white and deep greys scaled, not clipped."""
    if image.mode.startswith(("I", "F")):
        image = _eight_bit(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    if image.mode == "RGB" and not getattr(image, "is_animated", False):
        image.load()
        return image  # a copy of all its pixels would take longer than reading some files
    return image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Greys deeper than 8 bits, by the smallest usual range that holds the values."""
    with np.errstate(invalid="ignore"):  # not every 32 bits are a number
        values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0, neginf=0)
    top = max(float(values.max()), 0.0)
    usual = next((most for most in (1.0, 255.0, 65_535.0) if top <= most), top)
    white = 65_535.0 if image.mode.startswith("I;16") else usual
    if isinstance(transparent := image.info.get("transparency"), int):
        values = np.where(values == transparent, white, values)
    return Image.fromarray((values.clip(0, white) / white * 255).round().astype(np.uint8))


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turned as the camera was held. Only that one tag is read, so broken others do no harm."""
    image.info.clear()
    exif = image.getexif()
    exif.clear()
    if orientation not in range(2, 9):
        return image
    exif[ExifTags.Base.Orientation] = orientation
    upright = ImageOps.exif_transpose(image)
    upright.info.clear()
    return upright


def _within(image: Image.Image, max_pixels: int) -> Image.Image:
    if image.width * image.height <= max_pixels:
        return image
    scale = (max_pixels / (image.width * image.height)) ** 0.5
    height = max(1, int(image.height * scale))
    width = max(1, min(int(image.width * scale), max_pixels // height))
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)


def _translated(error: Exception, data: bytes, name: str) -> ImageError:
    if isinstance(error, MemoryError) or "out of memory" in str(error):
        message = f"{name} cannot be decoded now: there is not enough memory. Try again later."
        return ImageError(ImageErrorKind.NO_MEMORY, message)
    begins_well = data.startswith(SIGNATURES) or data[4:12] in HEIF_SIGNATURES
    if isinstance(error, UnidentifiedImageError) and not begins_well:
        return ImageError(
            ImageErrorKind.NOT_AN_IMAGE,
            f"{name} is not an image. Supported are {SPOKEN_FORMATS}.",
        )
    if isinstance(error, Image.DecompressionBombError):
        return ImageError(
            ImageErrorKind.TOO_MANY_PIXELS, f"{name} has more pixels than any limit allows."
        )
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return ImageError(
            ImageErrorKind.TRUNCATED, f"{name} ends too early; part of it is missing."
        )
    return ImageError(ImageErrorKind.CORRUPT, f"{name} is damaged and cannot be decoded.")
