"""Tar archives, WebDataset shards among them: their members, and the bytes of each.

- Headers are read one after the other. A hash of each name is in memory until the list ends.
- A member of an archive that is not compressed is read where it is. A compressed archive is read
  from its start, once for the list and once for the images.
- Nothing is unpacked: a name is a name only.
"""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

from nsfw_app.datasets import files, streams
from nsfw_app.datasets.containers import MemberUris, is_image_member
from nsfw_app.datasets.entries import ByteRange, Entry
from nsfw_app.datasets.left_out import LeftOut, LeftOutFiles
from nsfw_app.datasets.locations import name_of
from nsfw_app.datasets.streams import ForwardStream, StreamCursor
from nsfw_app.errors import ImageError, ImageErrorKind
from nsfw_app.imaging import decode
from nsfw_app.imaging.decode import Limits
from nsfw_app.records import ImageProblem

# Of zeros after the last member. Archives are filled up to a record: usually 10,240 bytes, for
# tapes 1 MB and more. A file of which the rest was never written ends with more of them.
MAX_PADDING_BYTES = 4 * 2**20
CHUNK_BYTES = 2**16
MAX_HEADER_BYTES = 2**20  # of attributes and long names; tarfile would read any size
DAMAGED = (tarfile.TarError, *streams.DAMAGED)  # what tarfile raises


def entries(container: Entry, left_out: LeftOutFiles) -> Iterator[Entry]:
    """The images of an archive, in its order.

    Raises:
        ImageError: It cannot be opened, or is damaged after the images that were listed.
    """
    uris = MemberUris(container, "tar")
    listed = 0
    with _content(container.file) as file:
        try:
            for member in _members(file, name_of(container.file)):
                listed += 1
                if entry := _entry(member, container, uris, left_out):
                    yield entry
        except DAMAGED as error:
            raise _damaged(container, error, listed=listed) from error


def read(entry: Entry, span: ByteRange, limits: Limits, cursor: StreamCursor | None) -> bytes:
    """The bytes of a member.

    Args:
        entry: The member.
        span: Where it is.
        limits: Largest file that is read.
        cursor: Of a compressed archive.

    Raises:
        ImageError: It is too large, incomplete, or its archive cannot be read.
    """
    name = name_of(entry.member)
    decode.check_size(span.size, name=name, limits=limits)
    try:
        data = (
            cursor.read(span.offset, span.size)
            if cursor
            else files.read_range(entry.file, span.offset, span.size)
        )
    except DAMAGED as error:
        raise ImageError(
            ImageErrorKind.UNREADABLE, f"{name} cannot be read: its archive is damaged there."
        ) from error
    if len(data) < span.size:
        raise ImageError(
            ImageErrorKind.TRUNCATED,
            f"{name} ends too early: {len(data):,} of {span.size:,} bytes are in the archive.",
        )
    return data


@contextmanager
def _content(location: str) -> Iterator[IO[bytes]]:
    with files.opened(location) as file:
        if compression := streams.compression_of(location):
            yield cast("IO[bytes]", ForwardStream(file, compression, name=name_of(location)))
        else:
            yield file


def _members(file: IO[bytes], name: str) -> Iterator[tarfile.TarInfo]:
    headers = _Headers(file)
    tar = _ForgetfulTar(name, fileobj=cast("IO[bytes]", headers))
    position = -1
    while (member := tar.next()) is not None:
        tar.members.clear()
        if member.size < 0 or member.offset_data <= position:
            raise tarfile.ReadError("a header has a negative size")
        position = member.offset_data
        yield member
    headers.check_end()


class _ForgetfulTar(tarfile.TarFile):
    """Has the list of members that tarfile fills, so that it can be emptied."""

    members: list[tarfile.TarInfo]


class _Headers:
    """The file as tarfile reads it, a header at a time.

    Args:
        file: The archive, decompressed.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._last = b""
        self.tell = file.tell
        self.seek = file.seek

    def read(self, size: int) -> bytes:
        """The next bytes.

        Raises:
            ReadError: There are more than any real header has.
        """
        if size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes is too large")
        self._last = files.read_up_to(self._file, size)
        return self._last

    def check_end(self) -> None:
        """Check that the archive ends with zeros or with the file where the last header would be.

        tarfile takes a damaged header for the end, and so it does one of zeros.

        Raises:
            ReadError: It does not.
        """
        if any(self._last):
            raise tarfile.ReadError("a header is damaged")
        count = 0
        while chunk := self._file.read(CHUNK_BYTES):
            count += len(chunk)
            if any(chunk):
                raise tarfile.ReadError("zeros where a header should be, and data after them")
            if count > MAX_PADDING_BYTES:
                raise tarfile.ReadError(
                    f"more than {MAX_PADDING_BYTES:,} zeros where a header should be"
                )


def _entry(
    member: tarfile.TarInfo, container: Entry, uris: MemberUris, left_out: LeftOutFiles
) -> Entry | None:
    if member.isdir():
        return None
    uri = uris.of(member.name)
    if not is_image_member(member.name, uri, left_out):
        return None
    if not member.isreg():
        left_out.add(LeftOut.LINK, uri)
        return None
    problem = (
        ImageProblem(
            ImageErrorKind.UNSUPPORTED,
            f"{name_of(member.name)} is stored as a sparse file, which is not supported.",
        )
        if member.issparse()
        else None
    )
    span = ByteRange(member.offset_data, member.size)
    return Entry(uri, container.file, member.name, member.size, container.version, span, problem)


def _damaged(container: Entry, error: Exception, *, listed: int) -> ImageError:
    name = name_of(container.file)
    if not listed and files.is_pointer(files.read_range(container.file, 0, len(files.POINTER))):
        return files.pointer_error(name)
    reason = str(error).rstrip(".")
    where = (
        f"is damaged after {listed:,} members" if listed else "cannot be opened as a tar archive"
    )
    return ImageError(ImageErrorKind.UNREADABLE, f"{name} {where}: {reason}.")
