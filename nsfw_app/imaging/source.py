"""The input of a decoder."""

from dataclasses import dataclass

from nsfw_app.records import WarningCode


@dataclass(frozen=True, slots=True)
class Source:
    """The bytes to decode, and metadata that was taken out of them.

    Attributes:
        data: The bytes that the decoder gets.
        exif: EXIF found in the file; None to use what the decoder finds.
        icc_profile: Color profile found in the file; None to use what the decoder finds.
        warnings: Codes of what was damaged and dropped.
        ends: Whether the end of the file is there.
    """

    data: bytes
    exif: bytes | None = None
    icc_profile: bytes | None = None
    warnings: frozenset[WarningCode] = frozenset()
    ends: bool = True
