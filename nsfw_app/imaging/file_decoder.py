"""Decodes one file: open, check, load, and render its frames as upright sRGB."""

import io
import logging
import math
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
from PIL import Image, ImageFile, JpegImagePlugin

from nsfw_app.errors import ImageError, ImageErrorKind
from nsfw_app.imaging import avif, color, damage, exif, formats, jpeg_segments, memory, png, webp
from nsfw_app.imaging.damage import Part
from nsfw_app.imaging.frames import DecodedImage, Frame, Limits, MinSize
from nsfw_app.imaging.rendering import Renderer
from nsfw_app.imaging.source import Source
from nsfw_app.records import ImageInfo, ImageWarning, WarningCode

log = logging.getLogger(__name__)

SIDEWAYS = range(5, 9)  # orientations whose width is the height of the image when upright
STREAMED = frozenset({"BMP", "DIB", "PNG", "TIFF"})  # decoded as they are read
STREAM_BYTES = 1 << 20

MESSAGES = {
    WarningCode.METADATA: "Damaged or oversized metadata was ignored.",
    WarningCode.COLOR_PROFILE: "The color profile cannot be used for this image and was ignored.",
    WarningCode.TRANSPARENCY: "The image shows something else on black than on white.",
}
ENDS_EARLY = "The file ends early, but all its pixels are there."


class FileDecoder:
    """Decodes one file.

    Args:
        data: The file's bytes.
        name: The file's name in messages.
        limits: Largest input accepted.
        min_size: Smallest sides needed; see `decode.decode`.
        sha256: Of the bytes.
    """

    def __init__(
        self, data: bytes, *, name: str, limits: Limits, min_size: MinSize | None, sha256: str
    ) -> None:
        self._data = data
        self._name = name
        self._limits = limits
        self._min_size = min_size
        self._sha256 = sha256
        self._source = formats.cleaned(data)
        self._warnings: set[WarningCode] = set()
        self._truncated = "" if self._source.ends else ENDS_EARLY
        self._incomplete = False
        self._copied_bytes = 0
        self._orientation = 1
        self._reduced = False

    def decode(self) -> DecodedImage:
        """Decode a file whose pixels are all there.

        Raises:
            ImageError: Too many pixels.
            Exception: Any error of a decoder.
        """
        image = self._opened(self._source)
        try:
            numbers, info = self._examined(image)
            frames: list[Frame] = []
            for number in numbers:
                if info.frames > 1:
                    image.seek(number)
                    self._check_pixels(image, info.frames)
                image.load()
                self._check_complete(image, is_first=number == numbers[0])
                frames += self._rendered(image, number, info, numbers)
        except BaseException:
            image.close()  # or its pixels would live as long as the error
            raise
        return self._decoded(info, frames)

    def recover(self) -> DecodedImage | None:
        """Decode the readable part of a file that `decode` fails on; None if there is none.

        Raises:
            ImageError: Too many pixels.
            Exception: Any error of a decoder.
        """
        self._warnings.clear()
        if self._repair_checksum():
            return self.decode()
        # A frame of AVIF or HEIC cannot be decoded in part.
        with nullcontext() if self._source.data[4:8] == formats.BOX else damage.tolerant():
            found = self._first_frame()
            if found is None:
                return None
            image, numbers, info, part = found
            cuts = part is not None and not part.is_all
            if cuts and not memory.holds_copy(image.size, max_pixels=self._limits.max_pixels):
                return None
            return self._recovered(image, numbers, info, part)

    def _repair_checksum(self) -> bool:
        """Correct the checksum of compressed data, where nothing else is wrong with a PNG."""
        if not self._source.data.startswith(png.SIGNATURE):
            return False
        repaired = png.with_right_checksum(self._source.data)
        if repaired is None:
            return False
        codes = self._source.warnings | {WarningCode.METADATA}
        self._source = replace(self._source, data=repaired, warnings=codes)
        return True

    def _check_complete(self, image: ImageFile.ImageFile, *, is_first: bool) -> None:
        """Raise for pixels that are missing, though the decoder reports nothing.

        Raises:
            EOFError: Some may be missing.
        """
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            is_suspect = jpeg_segments.ends_in_gray(image) or not self._has_all_scans()
        elif image.format == "PNG" and is_first and png.may_lack_rows(image):
            is_suspect = not png.has_all_rows(self._source.data)
        else:
            is_suspect = False
        if is_suspect:
            raise EOFError("Some pixels may be missing.")

    def _has_all_scans(self) -> bool:
        data = self._source.data
        return not data.startswith(jpeg_segments.SIGNATURE) or jpeg_segments.has_all_scans(data)

    def _first_frame(self) -> tuple[ImageFile.ImageFile, list[int], ImageInfo, Part | None] | None:
        """Open a damaged file, load its first frame, and find the part that was decoded."""
        known: damage.Digests | None = None
        for source, filling in self._variants():
            try:
                image = self._opened(source)
                numbers, info = self._examined(image)
            except ImageError:
                raise
            except Exception:
                log.debug("%s cannot be opened.", self._sha256, exc_info=True)
                continue
            grids, blank = damage.grids_of(image), damage.blank_of(image)
            try:
                if filling is not None:
                    damage.fill(image, filling)
                _load_part(image)
                found = damage.digests(image, grids)
            except Exception:
                log.debug("No pixel of %s can be decoded.", self._sha256, exc_info=True)
                if info.frames > 1:
                    return image, numbers, info, None
                continue
            if known is None:
                known = found
                image.close()
                continue
            part = damage.common_part(image, known, found, grids)
            if part is not None and blank is not None:
                part = damage.without_blank_end(image, part, blank)
            return image, numbers, info, part
        return None

    def _variants(self) -> Iterator[tuple[Source, int | None]]:
        """Two versions of a damaged file that fill missing data differently.

        - Pixels equal in both were really decoded.
        - A version has other bytes after the end, or the number of another fill color.
        - AVIF and HEIC, which cannot be decoded in part, are decoded twice as they are.
        """
        data = self._source.data
        if data.startswith(jpeg_segments.SIGNATURE):
            closed, noisy = jpeg_segments.damage_variants(data)
            variants: Iterable[bytes] = (noisy, closed)
        elif data.startswith(b"RIFF"):
            variants = webp.damage_variants(data, max_bytes=self._limits.max_bytes)
        elif data[4:8] == formats.BOX:
            variants = (data, data)
        else:
            yield from ((self._source, filling) for filling in damage.FILLINGS)
            return
        yield from ((replace(self._source, data=variant), None) for variant in variants)

    def _recovered(
        self, image: ImageFile.ImageFile, numbers: list[int], info: ImageInfo, part: Part | None
    ) -> DecodedImage | None:
        frames: list[Frame] = []
        if part is not None:
            frames += self._rendered(image, numbers[0], info, numbers, part)
        for number in numbers[1:]:
            # Frames of an animation may be decoded in part, pages of a document may not.
            pages = damage.strict() if info.format == "TIFF" else nullcontext()
            try:
                with pages:
                    image.seek(number)
                    self._check_pixels(image, info.frames)
                    image.load()
                frames += self._rendered(image, number, info, numbers)
            except ImageError:
                raise
            except Exception:
                log.debug("Frame %d of %s cannot be decoded.", number, self._sha256, exc_info=True)
        if not frames:
            return None
        is_still = len(numbers) == 1 and not webp.is_animation(self._source.data)
        is_whole = part is not None and part.is_whole and self._has_all_scans()
        if is_whole and is_still and info.format != "GIF":
            ended = info.format == "JPEG" and jpeg_segments.has_end(self._source.data)
            self._truncated = "" if ended else ENDS_EARLY
        else:
            self._incomplete = True
            self._truncated = _missing_message(part, {f.number for f in frames}, numbers)
        return self._decoded(info, frames)

    def _opened(self, source: Source) -> ImageFile.ImageFile:
        copies = (source.data is not self._data) + (source is not self._source)
        self._copied_bytes = copies * len(source.data)
        try:
            image = Image.open(io.BytesIO(source.data), formats=formats.OPENED)
        except Exception:
            if source.warnings:
                raise
            if source.data.startswith(jpeg_segments.SIGNATURE):
                self._source = jpeg_segments.without_metadata(source.data)
            elif source.data[4:8] == formats.BOX:
                self._source = avif.without_exif(source.data)
            else:
                raise
            return self._opened(self._source)
        # In one piece: pieces would be copied, except by decoders that read as they decode.
        size_bytes = len(source.data)
        image.decodermaxblock = (
            min(size_bytes, STREAM_BYTES) if image.format in STREAMED else size_bytes
        )
        return image

    def _examined(self, image: ImageFile.ImageFile) -> tuple[list[int], ImageInfo]:
        """Check an opened image, set its decoding size, and select the frames to decode."""
        count = _frame_count(image)
        self._check_pixels(image, count)
        total = count * image.width * image.height
        _refuse_pixels(total, self._name, self._limits.max_frames * self._limits.max_pixels)
        self._orientation = self._read_orientation(image)
        size = image.size if self._orientation not in SIDEWAYS else image.size[::-1]
        whole = image.size
        if self._min_size is not None:
            image.draft(None, self._min_size.of(image.size))
        self._reduced = image.size != whole
        if not self._reduced and color.converts(self._profile_of(image)):
            image.draft(None, MinSize(color.SHORTER, color.LONGER).of(image.size))
        image_format = formats.canonical(image.format)
        info = ImageInfo(self._sha256, image_format, *size, len(self._data), count)
        return _spread(count, self._limits.max_frames), info

    def _profile_of(self, image: ImageFile.ImageFile) -> object:
        """The ICC profile, empty for none; any type but bytes means that it is damaged."""
        found = self._source.icc_profile
        return image.info.get("icc_profile", b"") if found is None else found

    def _read_orientation(self, image: ImageFile.ImageFile) -> int:
        if image.format == "TIFF":  # Pillow rotates pages itself, each by its own tag
            return 1
        found = self._source.exif
        if found is None:
            found = image.info.get("exif") or b""
        try:
            orientation = exif.orientation(found) if found else 1
        except ValueError:
            self._warnings.add(WarningCode.METADATA)
            orientation = 1
        return int(image.info.get("orientation", orientation))

    def _check_pixels(self, image: ImageFile.ImageFile, frames: int) -> None:
        pixels = image.width * image.height
        _refuse_pixels(pixels, self._name, self._limits.max_pixels)
        limit = memory.limit(
            image,
            max_pixels=self._limits.max_pixels,
            frames=frames,
            copied_bytes=self._copied_bytes,
        )
        _refuse_pixels(pixels, self._name, limit, of=memory.kind(image, frames=frames))

    def _rendered(
        self,
        image: ImageFile.ImageFile,
        number: int,
        info: ImageInfo,
        numbers: list[int],
        part: Part | None = None,
    ) -> Iterator[Frame]:
        """Render a loaded frame. The image of a single frame is consumed."""
        profile = self._profile_of(image)
        pixels: Image.Image = image if info.frames == 1 else image.copy()
        if part is not None:
            pixels = part.cut(pixels)
        max_pixels = self._limits.max_pixels
        frames_limit = memory.frames_limit(image, max_pixels=max_pixels, frames=info.frames)
        renderer = Renderer(
            max_pixels, frames_limit // len(numbers), self._orientation, self._warnings
        )
        return renderer.frames(number, pixels, profile)

    def _decoded(self, info: ImageInfo, frames: list[Frame]) -> DecodedImage:
        messages = dict(MESSAGES)
        codes = self._warnings | self._source.warnings
        if self._truncated:
            messages[WarningCode.TRUNCATED] = self._truncated
            codes = codes | {WarningCode.TRUNCATED}
        warnings = tuple(ImageWarning(c, messages[c]) for c in WarningCode if c in codes)
        info = replace(info, warnings=warnings, incomplete=self._incomplete)
        return DecodedImage(info, tuple(frames), self._reduced)


def _frame_count(image: ImageFile.ImageFile) -> int:
    """The number of frames; within `damage.tolerant`, of those before the damage."""
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:
        if not ImageFile.LOAD_TRUNCATED_IMAGES:
            raise
        count = image.tell() + 1
        image.seek(0)
        return count


def _refuse_pixels(pixels: int, name: str, limit: int, *, of: str = "") -> None:
    if pixels > limit:
        subject = f"the limit of {of}" if of else "the limit"
        raise ImageError(
            ImageErrorKind.TOO_MANY_PIXELS, f"{name} has {pixels} pixels; {subject} is {limit}."
        )


def _spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` frame numbers, evenly spaced, first and last included."""
    if count <= most:
        return list(range(count))
    return sorted({round(i) for i in np.linspace(0, count - 1, most)})


def _load_part(image: ImageFile.ImageFile) -> None:
    """Load the pixels that can be decoded; libtiff raises after it has stored them."""
    try:
        image.load()
    except Exception:
        if image.tile:
            raise


def _missing_message(part: Part | None, decoded: set[int], numbers: list[int]) -> str:
    """The message about an incomplete image."""
    subject = "The file is damaged or cut short: "
    if len(decoded) < len(numbers):
        return f"{subject}{len(decoded)} of the {len(numbers)} frames tried could be decoded."
    if len(numbers) > 1:
        return f"{subject}parts of its frames are missing."
    if part is None or part.bottom - part.top == part.height:
        return f"{subject}the image has less detail, or parts of it are wrong."
    return f"{subject}about {max(1, math.floor(100 * part.share))} % of the image could be decoded."
