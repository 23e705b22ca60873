"""The archive of a backup: a tar that is written and read as a stream.

    nsfw-review-backup.json   format and version, first, so that another file is recognized at once
    review.db                 the database
    review.db.key             the key of its secrets, if there are any
    images/ab/<sha256>.jpg    previews
    manifest.json             checksums of all of it, last, so that a truncated archive has none

An archive may come from anywhere. Only regular files of these names are read, each once, with
sizes under a limit; tar's own extensions, links and sparse files are rejected by their type.
"""

import hashlib
import json
import re
import tarfile
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

from nsfw_app import __version__
from nsfw_app.backups.manifest import FORMAT, ArchivedFile, Manifest
from nsfw_app.errors import BackupDamaged, BackupError

HEADER = "nsfw-review-backup.json"
DATABASE = "review.db"
KEY = "review.db.key"
MANIFEST = "manifest.json"
PREVIEW = re.compile(r"images/([0-9a-f]{2})/\1[0-9a-f]{62}\.jpg")
MAX_BYTES = {  # of a file in an archive
    HEADER: 10_000,
    DATABASE: 1 << 40,
    KEY: 1_000,
    MANIFEST: 2_000_000_000,  # about 200 bytes for each preview
}
MAX_PREVIEW_BYTES = 50_000_000
CHUNK_BYTES = 1 << 20
TYPES = (tarfile.REGTYPE, tarfile.AREGTYPE)
NOT_A_BACKUP = "The file is not a backup of NSFW Review."
TRUNCATED = "The backup is truncated or damaged."


def preview_name(image_sha256: str) -> str:
    """The path of a preview in an archive."""
    return f"images/{image_sha256[:2]}/{image_sha256}.jpg"


class ArchiveWriter:
    """Writes an archive in a `with` block; `finish` makes it complete.

    Args:
        out: Where it is written, from its current position.
        created_at: When the copy of the database was made, ISO 8601.
    """

    def __init__(self, out: BinaryIO, *, created_at: str) -> None:
        self._out = _Output(out)
        self._tar = tarfile.open(  # noqa: SIM115  # closed when the block ends
            fileobj=cast(BinaryIO, self._out), mode="w|", format=tarfile.GNU_FORMAT
        )
        self._created_at = created_at
        self.files: list[ArchivedFile] = []
        header = {"format": FORMAT, "version": __version__, "created_at": created_at}
        self._add(HEADER, BytesIO(json.dumps(header).encode()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._out.is_open = kind is None  # the end of an archive that is not complete is lost
        self._tar.close()

    def add_bytes(self, name: str, data: bytes) -> None:
        """Add a file with this content."""
        self._record(name, BytesIO(data))

    def add_file(self, name: str, path: Path) -> None:
        """Add a copy of a file that does not change during it."""
        with path.open("rb") as file:
            self._record(name, file)

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest."""
        self._add(MANIFEST, BytesIO(manifest.to_json()))

    def _record(self, name: str, file: BinaryIO) -> None:
        hashed = _HashedReader(file)
        size_bytes = self._add(name, hashed)
        self.files.append(ArchivedFile(name, size_bytes, hashed.sha256.hexdigest()))

    def _add(self, name: str, file: "BinaryIO | _HashedReader") -> int:
        member = tarfile.TarInfo(name)
        member.size = file.seek(0, 2)
        file.seek(0)
        member.mode = 0o600
        member.mtime = int(time.time())
        self._tar.addfile(member, file)
        return member.size


class _Output:
    """A file that is written to until an error occurs; the tar module flushes its buffer later."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.is_open = True

    def write(self, data: bytes) -> int:
        return self._out.write(data) if self.is_open else len(data)


class _HashedReader:
    """A file that is hashed as it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.sha256.update(data)
        return data


class _RegularMember(tarfile.TarInfo):
    """A member of an archive that is a plain file; others are rejected before they are read."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str | None, errors: str) -> Self:
        member = super().frombuf(buf, encoding or "utf-8", errors)
        if member.type not in TYPES:
            raise BackupDamaged(
                f"The backup has an entry that is not a file, {member.name!r}; nothing of it is "
                "used."
            )
        return member


class ArchivedContent:
    """A file of an archive, read once, in chunks. It knows its hash when all of it was read."""

    def __init__(self, name: str, size_bytes: int, file: Any) -> None:
        self.name = name
        self.size_bytes = size_bytes
        self.sha256 = hashlib.sha256()
        self._file = file

    def chunks(self) -> Iterator[bytes]:
        """Its content.

        Raises:
            BackupDamaged: The archive ends within it.
        """
        try:
            while chunk := self._file.read(CHUNK_BYTES):
                self.sha256.update(chunk)
                yield chunk
        except tarfile.TarError as error:
            raise BackupDamaged(TRUNCATED) from error

    def read(self) -> bytes:
        """All of its content."""
        return b"".join(self.chunks())

    @property
    def file(self) -> ArchivedFile:
        """Name, size and hash, after it was read."""
        return ArchivedFile(self.name, self.size_bytes, self.sha256.hexdigest())


def read_archive(source: BinaryIO) -> Iterator[ArchivedContent]:
    """The files of an archive in their order, without its header.

    The caller reads each before the next.

    Raises:
        BackupDamaged: It is truncated or has what no backup has.
        BackupError: It is another file, or has a format that this version does not know.
    """
    try:
        tar = tarfile.open(fileobj=source, mode="r|", tarinfo=_RegularMember)  # noqa: SIM115
    except tarfile.TarError as error:
        raise BackupError(NOT_A_BACKUP) from error
    with tar:
        contents = _contents(tar)
        header = next(contents, None)
        if header is None or header.name != HEADER:
            raise BackupError(NOT_A_BACKUP)
        _check_format(header.read())
        yield from contents
    while source.read(CHUNK_BYTES):
        pass  # padding: what decrypts the source has checked all of it at its end only


def _contents(tar: tarfile.TarFile) -> Iterator[ArchivedContent]:
    seen = set()
    for member in _members(tar):
        preview = PREVIEW.fullmatch(member.name)
        limit = MAX_PREVIEW_BYTES if preview else MAX_BYTES.get(member.name)
        if limit is None:
            raise BackupDamaged(f"The backup has a file that no backup has, {member.name!r}.")
        if not 0 <= member.size <= limit:
            raise BackupDamaged(
                f"{member.name} of the backup has {member.size} bytes; the limit is {limit}."
            )
        if member.name in seen:
            raise BackupDamaged(f"The backup has {member.name} twice.")
        seen.add(member.name)
        yield ArchivedContent(member.name, member.size, tar.extractfile(member))


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while True:
        try:
            member = tar.next()
        except tarfile.TarError as error:
            raise BackupDamaged(TRUNCATED) from error
        if member is None:
            return
        yield member


def _check_format(header: bytes) -> None:
    try:
        values = json.loads(header)
        number, version = int(values["format"]), str(values["version"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise BackupError(NOT_A_BACKUP) from error
    if number > FORMAT:
        raise BackupError(
            f"Version {version} wrote the backup in a format that version {__version__} cannot "
            f"read. Install version {version} or a later one."
        )
