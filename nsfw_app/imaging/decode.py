"""Decodes untrusted image files within limits; the entry point of this package.

- For any input, `ImageError` is the only exception.
- The content determines the format, not the file name.
- A decoded frame is RGB in sRGB, upright, without transparency, and without metadata.
- A large JPEG may be decoded at a smaller scale. `review/pipeline.py` decides whether, by the
  `DownscaleRule` of the model, and passes `min_size`; `file_decoder` chooses the scale.
- Damage outside of the pixel data is tolerated with a warning. If pixels are missing, the part that
  can be decoded is returned and the image is `incomplete`.
"""

import errno
import hashlib
import stat
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from nsfw_app.errors import (
    ImageError,
    ImageErrorKind,
    NSFWReviewError,
    TooManyParts,
    UnsupportedSamples,
    lacks_memory,
)
from nsfw_app.imaging import formats
from nsfw_app.imaging.file_decoder import FileDecoder
from nsfw_app.imaging.frames import DecodedImage, Frame, Limits, MinSize

__all__ = ["DecodedImage", "Frame", "Limits", "MinSize"]  # and the functions below

ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})  # there is no such file

# The limit below is ours and smaller or equal; Pillow's warning would only repeat it.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def sha256(data: bytes) -> str:
    """The hash that identifies an image: 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def read_file(path: Path, limits: Limits) -> bytes:
    """Read a file, but never more bytes than the limit.

    Raises:
        ImageError: No such file, not a regular file, not readable, or too large.
    """
    try:
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # opening a pipe would wait for a writer
            raise ImageError(ImageErrorKind.UNREADABLE, f"{path.name} is not a regular file.")
        with memory_for(path.name), path.open("rb") as file:
            data = file.read(limits.max_bytes + 1)
    except IsADirectoryError:
        raise ImageError(
            ImageErrorKind.DIRECTORY, f"{path.name} is a directory, not an image."
        ) from None
    except OSError as error:
        kind = ImageErrorKind.MISSING if error.errno in ABSENT else ImageErrorKind.UNREADABLE
        raise ImageError(kind, f"{path.name} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise ImageError(
            ImageErrorKind.MISSING, f"{path.name!r} cannot be read: a file cannot have this name."
        ) from None
    check_size(len(data), name=path.name, limits=limits)
    return data


def check_size(size_bytes: int, *, name: str, limits: Limits) -> None:
    """Check the size of a file.

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


def decode(
    data: bytes,
    *,
    name: str,
    limits: Limits,
    min_size: MinSize | None = None,
    sha256: str | None = None,
) -> DecodedImage:
    """Decode an image file.

    - Of several frames at most `limits.max_frames` are decoded, evenly spaced, including the first
      and the last.
    - If together they exceed `limits.max_pixels`, each is reduced to its share.

    Args:
        data: The file's bytes.
        name: The file's name in messages.
        limits: Largest input accepted.
        min_size: Smallest sides needed; a larger JPEG may be decoded at 1/2, 3/8, 1/4 or 1/8 scale
            (libjpeg DCT scaling, Pillow `draft`). None for full size.
        sha256: Of the bytes; computed if None.

    Returns:
        The frames, and facts about the file, which do not depend on `min_size`.

    Raises:
        ImageError: No part of the file can be decoded within the limits.
    """
    check_size(len(data), name=name, limits=limits)
    try:
        return _decoded(
            FileDecoder(
                data,
                name=name,
                limits=limits,
                min_size=min_size,
                sha256=sha256 or hashlib.sha256(data).hexdigest(),
            )
        )
    except ImageError:
        raise
    except Exception as error:  # decoders are foreign code and may raise anything
        raise _as_image_error(error, data, name) from error


def _decoded(decoding: FileDecoder) -> DecodedImage:
    try:
        return decoding.decode()
    except ImageError:
        raise
    except Exception as error:
        traceback.clear_frames(error.__traceback__)  # decoders in them hold the pixels
        if not lacks_memory(error) and (recovered := decoding.recover()):
            return recovered
        raise


@contextmanager
def memory_for(name: str) -> Iterator[None]:
    """Translate a failed allocation within the block into an error about one file.

    Args:
        name: The file's name in the message.

    Raises:
        ImageError: There was not enough memory.
    """
    try:
        yield
    except NSFWReviewError:
        raise
    except Exception as error:
        if lacks_memory(error):
            raise no_memory(name) from error
        raise


def no_memory(name: str) -> ImageError:
    """An error about a file that needs more memory than there is."""
    message = f"{name} cannot be processed now: there is not enough memory. Try again later."
    return ImageError(ImageErrorKind.NO_MEMORY, message)


def _as_image_error(error: Exception, data: bytes, name: str) -> ImageError:
    if lacks_memory(error):
        return no_memory(name)
    if isinstance(error, TooManyParts):
        return ImageError(ImageErrorKind.CORRUPT, f"{name} cannot be decoded: it has {error}.")
    if isinstance(error, UnsupportedSamples):
        return ImageError(
            ImageErrorKind.UNSUPPORTED,
            f"{name} cannot be decoded: {error} are not supported. Save it with 8 bits a channel.",
        )
    if isinstance(error, UnidentifiedImageError) and not formats.has_signature(data):
        return ImageError(
            ImageErrorKind.NOT_AN_IMAGE,
            f"{name} is not an image. Supported are {formats.SUPPORTED}.",
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
