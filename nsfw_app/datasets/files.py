"""Files at locations: what is there, and bytes of them.

- Paths are read by the operating system, URLs through fsspec, which is imported on first use.
- Credentials are those of the environment, as fsspec reads them; no message has them.
- Each failure is an `ImageError` about the file.
"""

import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from nsfw_app.dataset_errors import SourceError
from nsfw_app.datasets.locations import WEB, is_url, name_of, redacted, scheme, shown_name
from nsfw_app.errors import ImageError, ImageErrorKind, lacks_memory
from nsfw_app.imaging import decode
from nsfw_app.imaging.decode import Limits

INSTALL = "Install it with: pip install 'nsfw-review[remote]'."
# Where file systems keep what changes with the content.
TAGS = ("ETag", "etag", "blob_id", "sha", "md5Hash", "Content-MD5", "Digest")
TIMES = """LastModified last_modified mtime updated Last-Modified modify modificationTime modified
created""".split()
BLOCK_BYTES = 2**20  # fetched at once while the headers of an archive are listed
MAX_LINE = 2**20
MAX_REASON = 200  # characters of a message that a file system gives
URL = re.compile(r"[a-z][a-z0-9+.-]{0,30}://[^\s'\"<>]+", re.IGNORECASE)
POINTER = b"version https://git-lfs.github.com/spec/v1"  # first line of a Git LFS pointer file


@dataclass(frozen=True, slots=True)
class FileStatus:
    """What is at a location.

    Attributes:
        location: The path or URL.
        is_directory: Whether it holds files.
        size: Bytes; None where the server does not say.
        version: Changes when the file changes, or only its size where the server states nothing
            else; empty where it does not state that either.
        is_found: Whether it lies in a directory that was named, and was not named itself.
        row: The uri of the row of a table that names it, if that is the image's.
    """

    location: str
    is_directory: bool = False
    size: int | None = None
    version: str = ""
    is_found: bool = False
    row: str = ""


def status(location: str) -> FileStatus:
    """What is at a location.

    Raises:
        ImageError: Nothing, or it cannot be read.
    """
    with _failures(location):
        if is_url(location):
            system, path = _remote(location)
            return _status(location, system.info(path))
        return _local_status(location, os.stat(location))  # noqa: PTH116


def listing(url: str) -> list[FileStatus]:
    """What is in a remote directory, by name; the names of this one directory are in memory.

    Raises:
        ImageError: It cannot be read.
    """
    with _failures(url):
        system, path = _remote(url)
        found = []
        for info in system.ls(path, detail=True):
            name = str(info["name"])
            if scheme(url) in WEB:
                if "?" in name or "#" in name:  # links that sort the page
                    continue
                location = name
            else:
                location = f"{url.rstrip('/')}{name.rstrip('/')[len(path.rstrip('/')) :]}"
            if location.rstrip("/") != url.rstrip("/"):  # of the directory itself
                found.append(_status(location, info))
        return sorted(found, key=lambda each: each.location)


def read(location: str, limits: Limits, *, size: int | None = None) -> bytes:
    """The bytes of a file.

    Args:
        location: The path or URL.
        limits: Largest file that is read.
        size: Of a remote file, if known; spares a request.

    Raises:
        ImageError: It is missing, empty, too large or cannot be read.
    """
    if not is_url(location):
        return decode.read_file(Path(location), limits)
    if size is not None:
        decode.check_size(size, name=shown_name(location), limits=limits)
    with _failures(location):
        system, path = _remote(location)
        if scheme(location) in WEB:  # a server may ignore the range, and send without end
            with system.open(path, "rb", block_size=0, size=1) as file:
                data = read_up_to(file, limits.max_bytes + 1)
        elif system.async_impl:
            data = system.cat_file(path, start=0, end=limits.max_bytes + 1)
        else:
            with system.open(path, "rb", cache_type="none") as file:
                data = file.read(limits.max_bytes + 1)
    decode.check_size(len(data), name=shown_name(location), limits=limits)
    return data


def read_range(location: str, offset: int, size: int) -> bytes:
    """Bytes of a file, fewer where it ends before; of a remote file no others are fetched.

    Raises:
        ImageError: It is missing or cannot be read.
    """
    with _failures(location):
        if not is_url(location):
            with Path(location).open("rb") as local:
                local.seek(offset)
                return local.read(size)
        system, path = _remote(location)
        if system.async_impl:
            data: bytes = system.cat_file(path, start=offset, end=offset + size)
        else:
            with system.open(path, "rb", cache_type="none") as file:
                file.seek(offset)
                data = file.read(size)
        if len(data) > size:
            raise _no_ranges(location)
        return data


@contextmanager
def opened(location: str, *, block_bytes: int = BLOCK_BYTES) -> Iterator[IO[bytes]]:
    """A container, to read at any position; of a remote one, blocks are fetched.

    Raises:
        ImageError: It is missing, not a regular file, or cannot be read; also from within.
    """
    with _failures(location):
        if is_url(location):
            system, path = _remote(location)
            options = {}
            if scheme(location) in WEB:
                info = system.info(path)
                if not info.get("size") or not info.get("partial", True):
                    raise _no_ranges(location)
                options["size"] = info["size"]
            file: IO[bytes] = system.open(
                path, "rb", block_size=block_bytes, cache_type="readahead", **options
            )
        else:
            if not stat.S_ISREG(os.stat(location).st_mode):  # noqa: PTH116  opening a pipe waits
                raise ImageError(
                    ImageErrorKind.UNREADABLE, f"{name_of(location)} is not a regular file."
                )
            file = Path(location).open("rb")  # noqa: SIM115  closed below
        with file:
            yield file


def lines(location: str) -> Iterator[str]:
    """The lines of a text, without their ends; bytes that are not UTF-8 are kept as surrogates.

    Raises:
        ImageError: It is missing or cannot be read, or a line is longer than any real one.
    """
    with _failures(location), _streamed(location) as file:
        raw = io.BufferedReader(_Chunks(file))
        with io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape") as text:
            while line := text.readline(MAX_LINE):
                if len(line) == MAX_LINE:
                    raise ImageError(
                        ImageErrorKind.UNREADABLE,
                        f"{name_of(location)} has a line of more than {MAX_LINE:,} characters.",
                    )
                yield line.rstrip("\r\n")


def read_up_to(file: IO[bytes], size: int) -> bytes:
    """Bytes from where a stream is, fewer than `size` only at its end."""
    data = bytearray()
    while len(data) < size and (chunk := file.read(size - len(data))):
        data += chunk
    return bytes(data)


def check_installed(location: str) -> None:
    """Check that the package for the scheme of a URL is installed.

    Raises:
        SourceError: It is not, or the scheme is not known.
    """
    if is_url(location):
        _remote_class(location)


def reason(error: Exception) -> str:
    """What an error of another library says, in one line and without credentials."""
    text = getattr(error, "strerror", None) or str(error).partition("\n")[0]
    text = URL.sub(lambda match: redacted(match[0]), str(text)).strip(" .")
    return text[:MAX_REASON] or type(error).__name__


def is_pointer(data: bytes) -> bool:
    """Whether these are the bytes of a file that Git LFS has not downloaded."""
    return data.startswith(POINTER)


def pointer_error(name: str) -> ImageError:
    """The error about a file that Git LFS has not downloaded."""
    return ImageError(
        ImageErrorKind.POINTER,
        f"{name} is a Git LFS pointer; the file itself is not here. Run 'git lfs pull'.",
    )


@contextmanager
def _streamed(location: str) -> Iterator[IO[bytes]]:
    """A file that is read once, from its start; a web server needs no range requests for it."""
    if scheme(location) in WEB:
        system, path = _remote(location)
        with system.open(path, "rb", block_size=0, size=1) as file:
            yield file
    else:
        with opened(location) as file:
            yield file


class _Chunks(io.RawIOBase):
    """A file of fsspec, of which `read` is all that is used."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _local_status(location: str, found: os.stat_result) -> FileStatus:
    is_directory = stat.S_ISDIR(found.st_mode)
    size = found.st_size if stat.S_ISREG(found.st_mode) else None  # a pipe or device states none
    return FileStatus(location, is_directory, size, f"{found.st_size}-{found.st_mtime_ns}")


def _status(location: str, info: dict[str, Any]) -> FileStatus:
    size = None if info.get("size") is None else int(info["size"])
    tag = next((info[key] for key in TAGS if info.get(key)), None)
    time = next((info[key] for key in TIMES if info.get(key)), None)
    if tag:
        version = str(tag).strip('"')
    elif time:
        version = f"{size}-{time}"
    else:
        version = "" if size is None else str(size)
    return FileStatus(location, info.get("type") == "directory", size, version)


def _remote_class(url: str) -> Any:
    import fsspec

    try:
        return fsspec.get_filesystem_class(scheme(url))
    except ImportError as error:
        raise SourceError(
            f"{scheme(url)}:// needs a package that is not installed. {INSTALL}"
        ) from error
    except ValueError as error:
        raise SourceError(f"{scheme(url)}:// is not a scheme that can be read.") from error


def _remote(url: str) -> tuple[Any, str]:
    """The file system of a URL, which fsspec keeps, and the path in it."""
    kind = _remote_class(url)
    options = {} if scheme(url) == "hf" else {"use_listings_cache": False}
    system = kind(**options, **kind._get_kwargs_from_urls(url))
    return system, kind._strip_protocol(url)


@contextmanager
def _failures(location: str) -> Iterator[None]:
    """Translate what file systems raise within the block."""
    name = shown_name(location)
    try:
        yield
    except (ImageError, SourceError):
        raise
    except FileNotFoundError as error:
        if _is_unreachable(error):  # of which fsspec says the same as of a missing file
            raise ImageError(
                ImageErrorKind.UNREADABLE, f"{name} cannot be read: its server cannot be reached."
            ) from None
        raise ImageError(ImageErrorKind.MISSING, f"{name} does not exist.") from None
    except Exception as error:  # file systems may raise anything
        if lacks_memory(error):
            raise ImageError(
                ImageErrorKind.NO_MEMORY, f"{name} needs more memory than there is."
            ) from error
        raise ImageError(
            ImageErrorKind.UNREADABLE, f"{name} cannot be read: {reason(error)}."
        ) from None


def _is_unreachable(error: BaseException) -> bool:
    """Whether there was no connection to a server."""
    cause = error.__cause__ or error.__context__
    return cause is not None and (
        isinstance(cause, ConnectionError | TimeoutError)
        # Of aiohttp, which need not be installed.
        or any(each.__name__ == "ClientConnectionError" for each in type(cause).__mro__)
        or _is_unreachable(cause)
    )


def _no_ranges(location: str) -> ImageError:
    return ImageError(
        ImageErrorKind.UNREADABLE,
        f"{name_of(location)} cannot be read in parts: the server does not support range "
        "requests. Download the file first.",
    )
