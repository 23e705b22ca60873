"""Untrusted bytes to pixels, with every limit on untrusted input.

- For any bytes, only `ImageError` leaves this module.
- Content, not its name, says what a file is.
- A decoded frame is RGB in sRGB, upright, without transparency, and without metadata.
- Damage that does not touch the pixels is tolerated with a warning; where pixels are missing, what
  can be decoded is returned and the image is `incomplete`.
"""

import hashlib
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from nsfw_app.errors import ImageError, ImageErrorKind, NSFWReviewError, lacks_memory
from nsfw_app.imaging import formats
from nsfw_app.imaging.file_decoder import FileDecoder
from nsfw_app.imaging.frames import DecodedImage, Frame, Limits, MinSize
from nsfw_app.imaging.source import TooManyParts, UnsupportedSamples

__all__ = ["DecodedImage", "Frame", "Limits", "MinSize"]  # and all that is defined here

# The limit below is ours and smaller or equal; Pillow's warning would only repeat it.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


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
        with memory_for(path.name), path.open("rb") as file:
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


def decode(
    data: bytes,
    *,
    name: str,
    limits: Limits,
    min_size: MinSize | None = None,
    sha256: str | None = None,
) -> DecodedImage:
    """Decode an image, or say why not.

    Of a file with several frames at most `limits.max_frames` are taken, evenly spaced and always
    with the first and the last. Should all of them together exceed `limits.max_pixels`, each is
    reduced to its share.

    Args:
        data: The file's bytes.
        name: What messages call the file.
        limits: What is accepted.
        min_size: The sides that are needed; None for all that there is.
        sha256: Of the bytes; computed if None.

    Returns:
        The frames, and facts that are the file's own however small its frames were decoded.

    Raises:
        ImageError: Nothing of the bytes can be decoded within the limits.
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
        raise _translated(error, data, name) from error


def _decoded(decoding: FileDecoder) -> DecodedImage:
    try:
        return decoding.intact()
    except ImageError:
        raise
    except Exception as error:
        traceback.clear_frames(error.__traceback__)  # decoders in them hold the pixels
        if not lacks_memory(error) and (recovered := decoding.damaged()):
            return recovered
        raise


@contextmanager
def memory_for(name: str) -> Iterator[None]:
    """Turn a failed allocation within the block into the error of one file.

    Args:
        name: What the message calls the file.

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
    """The error of a file that there is not enough memory for."""
    message = f"{name} cannot be processed now: there is not enough memory. Try again later."
    return ImageError(ImageErrorKind.NO_MEMORY, message)


def _translated(error: Exception, data: bytes, name: str) -> ImageError:
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
