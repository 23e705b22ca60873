"""Zip archives: their members, and the bytes of each.

- The central directory is in memory while an archive is listed. For a member
  its own bytes are read, and no others.
- Nothing is unpacked: a name is a name only, and no more than the limit is ever decompressed.
"""

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from nsfw_app.datasets import files
from nsfw_app.datasets.containers import MemberUris, is_image_member
from nsfw_app.datasets.entries import ByteRange, Entry
from nsfw_app.datasets.left_out import LeftOutFiles
from nsfw_app.datasets.locations import name_of
from nsfw_app.errors import ImageError, ImageErrorKind
from nsfw_app.imaging import decode
from nsfw_app.imaging.decode import Limits
from nsfw_app.records import ImageProblem

HEADER = struct.Struct("<4s22xHH")  # signature, lengths of the name and of the extra fields
SIGNATURE = b"PK\x03\x04"
EXTRA_BYTES = 256  # usual fields are shorter; a longer one costs a second read
ENCRYPTED = 0x1  # flags
METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA})
# What zipfile and its decompressors raise on damaged archives.
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # raised by zipfile for an unknown compression method
    OSError,  # of bz2
    OverflowError,
    struct.error,
    ValueError,
)


def entries(container: Entry, left_out: LeftOutFiles) -> Iterator[Entry]:
    """The images of an archive, in the order of its directory.

    Raises:
        ImageError: It cannot be opened.
    """
    with files.opened(container.file) as file:
        try:
            members = zipfile.ZipFile(file).infolist()
        except DAMAGED as error:
            raise _damaged(container, file, error) from error
    uris = MemberUris(container, "zip")
    for member in members:
        if member.is_dir():
            continue
        uri = uris.of(member.filename)
        if is_image_member(member.filename, uri, left_out):
            yield Entry(
                uri,
                container.file,
                member.filename,
                member.file_size,
                container.version,
                ByteRange(
                    member.header_offset, member.compress_size, member.compress_type, member.CRC
                ),
                _problem(member),
            )


def read(entry: Entry, span: ByteRange, limits: Limits) -> bytes:
    """The bytes of a member.

    Raises:
        ImageError: It is damaged, too large, or its archive cannot be read.
    """
    name = name_of(entry.member)
    decode.check_size(span.size, name=name, limits=limits)
    known = HEADER.size + len(entry.member.encode(errors="surrogateescape")) + EXTRA_BYTES
    data = files.read_range(entry.file, span.offset, known + span.size)
    if len(data) < HEADER.size or not data.startswith(SIGNATURE):
        raise _corrupt(name, "its header is missing")
    _, name_bytes, extra_bytes = HEADER.unpack_from(data)
    start = HEADER.size + name_bytes + extra_bytes
    if start > known:
        data += files.read_range(entry.file, span.offset + len(data), start - known)
    info = zipfile.ZipInfo(name or "member")
    info.compress_type, info.CRC = span.method or zipfile.ZIP_STORED, span.crc32
    info.compress_size, info.file_size = span.size, entry.size or 0
    try:
        with zipfile.ZipExtFile(io.BytesIO(data[start : start + span.size]), "r", info) as member:
            content = member.read(limits.max_bytes + 1)
    except DAMAGED as error:
        raise _corrupt(name, files.reason(error)) from error
    if len(content) < info.file_size:
        raise ImageError(
            ImageErrorKind.TRUNCATED,
            f"{name} ends too early: {len(content):,} of {info.file_size:,} bytes are there.",
        )
    return content


def _problem(member: zipfile.ZipInfo) -> ImageProblem | None:
    name = name_of(member.filename)
    if member.flag_bits & ENCRYPTED:
        return ImageProblem(
            ImageErrorKind.ENCRYPTED, f"{name} is encrypted. Extract the archive with its password."
        )
    if member.compress_type not in METHODS:
        return ImageProblem(
            ImageErrorKind.UNSUPPORTED,
            f"{name} is compressed by method {member.compress_type}, which is not supported.",
        )
    return None


def _damaged(container: Entry, file: IO[bytes], error: Exception) -> ImageError:
    name = name_of(container.uri)
    file.seek(0)
    if files.is_pointer(file.read(len(files.POINTER))):
        return files.pointer_error(name)
    return ImageError(
        ImageErrorKind.UNREADABLE,
        f"{name} cannot be opened as a zip archive: {files.reason(error)}.",
    )


def _corrupt(name: str, reason: str) -> ImageError:
    return ImageError(ImageErrorKind.CORRUPT, f"{name} is damaged in its archive: {reason}.")
