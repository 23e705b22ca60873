"""Warnings about an image: a wrong file extension, and damage tolerated during decoding."""

import mimetypes
from dataclasses import replace
from pathlib import Path

from PIL import Image

from nsfw_app.imaging import formats
from nsfw_app.records import Background, ImageInfo, ImageWarning, WarningCode


def warnings_of(name: str, image: ImageInfo, background: Background) -> tuple[ImageWarning, ...]:
    """All warnings about a file, in the order of `WarningCode`.

    Args:
        name: The uploaded file's name.
        image: Image facts, including warnings found while decoding.
        background: The background of the frame that the prediction is for.
    """
    extension = extension_warning(name, image.format)
    return tuple(
        replace(warning, message=f"{warning.message} {_background_sentence(background)}")
        if warning.code is WarningCode.TRANSPARENCY
        else warning
        for warning in ((extension,) if extension else ()) + image.warnings
    )


def without_background(warning: ImageWarning) -> tuple[ImageWarning, Background]:
    """One of `warnings_of` as it was about the bytes, and the background that it names."""
    for background in Background:
        message = warning.message.removesuffix(f" {_background_sentence(background)}")
        if message != warning.message:
            return replace(warning, message=message), background
    return warning, Background.WHITE


def extension_warning(name: str, image_format: str) -> ImageWarning | None:
    """A warning if the file extension does not match the content; None if it does.

    A missing or unknown extension matches any content.

    Args:
        name: Of the file.
        image_format: Format of the content, as in `ImageInfo`.
    """
    suffix = Path(name).suffix.lower()
    expected = Image.registered_extensions().get(suffix)
    if expected is None:
        kind = mimetypes.guess_type(f"file{suffix}")[0]
        if kind in {None, "application/octet-stream"}:
            return None
    elif formats.canonical(expected) == image_format:
        return None
    format_name = formats.NAMES.get(image_format, image_format)
    return ImageWarning(
        WarningCode.EXTENSION, f"The file is a {format_name} image, but its name ends in {suffix}."
    )


def _background_sentence(background: Background) -> str:
    return f"Both renderings were classified; score and preview use the {background} background."
