"""Compressed tar archives as streams, which can be read forward only."""

import bz2
import gzip
import io
import lzma
import zlib
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Lock
from typing import IO, Any, cast

from nsfw_app.datasets import files
from nsfw_app.datasets.locations import name_of
from nsfw_app.errors import ImageError, ImageErrorKind

CHUNK_BYTES = 2**20
WINDOW_BYTES = 64 * 2**20  # kept behind the furthest read, for threads that come a little later
# Images hardly shrink when they are compressed; a stream that grows by more is a bomb.
MAX_RATIO = 200
FREE_BYTES = 64 * 2**20  # that a stream may have beyond the ratio, for blank bitmaps
# What decompressors raise on damaged files.
DAMAGED = (zlib.error, lzma.LZMAError, EOFError, OSError, OverflowError, ValueError)


def _zstd(file: IO[bytes]) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")


DECOMPRESSORS: dict[str, Callable[[IO[bytes]], Any]] = {
    "gz": lambda file: gzip.GzipFile(fileobj=file),
    "bz2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
    "zst": _zstd,
}
SUFFIXES = {"tgz": "gz", "tbz2": "bz2", "txz": "xz"}


def compression_of(location: str) -> str | None:
    """How a file is compressed, by its name; None where it is not."""
    suffix = name_of(location).lower().rpartition(".")[2]
    suffix = SUFFIXES.get(suffix, suffix)
    return suffix if suffix in DECOMPRESSORS else None


class ForwardStream(io.RawIOBase):
    """A decompressed file that moves forward only, within the ratio.

    Args:
        file: The compressed file.
        compression: A key of `DECOMPRESSORS`.
        name: Of the file, in messages.
    """

    def __init__(self, file: IO[bytes], compression: str, *, name: str) -> None:
        super().__init__()
        self._file = file
        self._name = name
        self._inner = DECOMPRESSORS[compression](file)
        self._position = 0
        self._damage: Exception | None = None

    def readable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Bytes from the start."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Read as far as an offset, which lies ahead."""
        if whence != io.SEEK_SET or offset < self._position:
            raise io.UnsupportedOperation("This stream can be read forward only.")
        while self._position < offset:
            if not self.read(min(CHUNK_BYTES, offset - self._position)):
                break
        return self._position

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most `CHUNK_BYTES` of them.

        Raises:
            ImageError: The file is a bomb.
            OSError, ValueError, EOFError, zlib.error, LZMAError: It is damaged here, and all bytes
                before were read.
        """
        size = min(size, CHUNK_BYTES) if size >= 0 else CHUNK_BYTES
        data = bytearray()
        while len(data) < size and self._damage is None:
            try:
                piece = self._inner.read1(size - len(data))
            except DAMAGED as error:
                self._damage = error
            else:
                if not piece:
                    break
                data += piece
        if self._damage is not None and not data:
            raise self._damage
        self._position += len(data)
        if self._position > FREE_BYTES + MAX_RATIO * self._file.tell():
            raise ImageError(
                ImageErrorKind.UNREADABLE,
                f"{self._name} is not read further: it grows more than {MAX_RATIO} times when it "
                "is decompressed.",
            )
        return bytes(data)


class StreamCursor:
    """Reads members of a compressed archive, in nearly their order, from several threads.

    - What was decompressed last is kept, so that a thread may come a little later than another.
    - One that comes too late starts the stream again.

    Args:
        location: The archive.
        compression: A key of `DECOMPRESSORS`.
    """

    def __init__(self, location: str, compression: str) -> None:
        self._location = location
        self._compression = compression
        self._lock = Lock()
        self._open: AbstractContextManager[IO[bytes]] | None = None
        self._stream: ForwardStream | None = None
        self._chunks: deque[bytes] = deque()
        self._start = 0  # offset of the first chunk

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the decompressed archive, fewer at its end."""
        with self._lock:
            if self._stream is None or offset < self._start:
                self._restart()
            stream = cast("ForwardStream", self._stream)
            while stream.tell() < offset + size and (chunk := stream.read(CHUNK_BYTES)):
                self._chunks.append(chunk)
                while stream.tell() - self._start - len(self._chunks[0]) > WINDOW_BYTES + size:
                    self._start += len(self._chunks.popleft())
            return self._kept(offset, size)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._close()

    def _kept(self, offset: int, size: int) -> bytes:
        found, position = bytearray(), self._start
        for chunk in self._chunks:
            if position + len(chunk) > offset and position < offset + size:
                found += chunk[max(0, offset - position) : offset + size - position]
            position += len(chunk)
        return bytes(found)

    def _restart(self) -> None:
        self._close()
        self._open = files.opened(self._location)
        file = self._open.__enter__()
        self._stream = ForwardStream(file, self._compression, name=name_of(self._location))

    def _close(self) -> None:
        self._chunks.clear()
        self._start, self._stream = 0, None
        if self._open is not None:
            self._open.__exit__(None, None, None)
            self._open = None
