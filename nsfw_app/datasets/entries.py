"""Images of a source, and the parts in which they are scanned."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from nsfw_app.datasets.locations import name_of
from nsfw_app.records import ImageProblem


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Where the bytes of a member are in its container.

    Attributes:
        offset: Of the first byte; in a zip that of the member's own header.
        size: Bytes there, as the container has them: of a zip compressed.
        method: Compression method of a zip; None where the bytes are the member's own.
        crc32: Checksum of the member in a zip.
    """

    offset: int
    size: int
    method: int | None = None
    crc32: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a source.

    Attributes:
        uri: Names it, the same in each scan: the path or URL of a file; for a member of an archive
            the URL chain of fsspec, such as `zip://a/b.jpg::/data/x.zip`; for an image in a table
            the file's path with `#` and the number of the row, from 0. It has no credentials.
        file: Path or URL of the file that holds it, with credentials where the source has them.
        member: Its name in an archive, or its row; empty where it is the file itself.
        size: Bytes; None where that is not known before it is read.
        version: Changes when the file changes: size and time of modification, or an ETag. Empty
            where it is not known.
        byte_range: Where a member of an archive is in its file.
        problem: Why it cannot be read, where that is known when it is listed.
        is_found: Whether its file lies in a directory that was named, and was not named itself.
        weight: About its part of the bytes of its file, for progress, where `size` is not known.
        named: Of a row of a table that has no bytes but the path of a file: that file, without
            credentials. `file` is it, too; another table may have another one in this row.
        is_lost: Whether it was not found when it was listed, or its server or archive not reached.
    """

    uri: str
    file: str
    member: str = ""
    size: int | None = None
    version: str = ""
    byte_range: ByteRange | None = None
    problem: ImageProblem | None = None
    weight: int = 0
    is_found: bool = False
    named: str = ""
    is_lost: bool = False

    @property
    def progress_bytes(self) -> int:
        """What it adds to the bytes that are done."""
        return self.weight if self.size is None else self.size

    @property
    def name(self) -> str:
        """What results and messages call it: the name of a member of an archive, else the URI."""
        is_row = self.uri.endswith(f"#{self.member}")
        return self.member if self.member and not is_row else self.uri

    @property
    def file_name(self) -> str:
        """The last part of its name."""
        return name_of(self.member if self.byte_range else self.uri)


@dataclass(frozen=True, slots=True)
class Part:
    """Images that are scanned and written together.

    `key` depends on the entries and on nothing else: when one of them changes, the part is another
    one. `container` is the uri of the container that holds or names them; empty for files.
    """

    key: str
    entries: Sequence[Entry]
    container: str = ""

    @classmethod
    def of(cls, entries: Sequence[Entry], container: str = "") -> "Part":
        """The part of these entries."""
        digest = hashlib.sha256()
        for entry in entries:
            named = f"\0{entry.named}" if entry.named else ""
            line = f"{entry.uri}\0{entry.version}{named}\n"
            digest.update(line.encode(errors="surrogatepass"))
        return cls(digest.hexdigest()[:24], entries, container)


@dataclass(frozen=True, slots=True)
class Unit:
    """What is listed together: a group of files, or one container that holds images.

    - Of a container `entries` has one: the file itself.
    - It is small, so that it can be sent to another machine, which then finds the parts.
    """

    entries: Sequence[Entry]
    is_container: bool = False
