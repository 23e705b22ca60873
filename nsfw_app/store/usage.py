"""Size of the data directory: database, write-ahead log, previews, free space of the disk.

Previews are counted in a thread, one directory after the other, and only those directories that
changed since the last count: 100,000 files take half a second otherwise.
"""

import os
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from nsfw_app.errors import StorageError
from nsfw_app.private_files import storage_errors
from nsfw_app.store.previews import SUFFIX

COUNT_VALID_S = 60.0
SETTLED_S = 2.0  # a directory that changed since may change again within its time stamp
PAUSE_S = 0.001  # between directories, for other threads


@dataclass(frozen=True, slots=True)
class PreviewCount:
    """Number and bytes of preview files."""

    files: int
    size_bytes: int


class StorageUsage:
    """Reads sizes of files.

    Args:
        database: The SQLite file.
        previews_dir: The directory of previews.

    Raises:
        StorageError: From each method: the file or directory cannot be read.
    """

    def __init__(self, database: Path, previews_dir: Path) -> None:
        self._database = database
        self._previews_dir = previews_dir
        self._lock = threading.Lock()
        self._counting = False
        self._counted_at: float | None = None
        self._latest: PreviewCount | None = None
        self._directories: dict[str, tuple[int, PreviewCount]] = {}  # by time of the last change

    def database_bytes(self) -> int:
        """Size of the database file."""
        with storage_errors():
            return self._database.stat().st_size

    def log_bytes(self) -> int:
        """Size of the write-ahead log; 0 where there is none."""
        with storage_errors():
            try:
                return self._database.with_name(f"{self._database.name}-wal").stat().st_size
            except FileNotFoundError:
                return 0

    def free_bytes(self) -> int:
        """Free space of the disk with the database."""
        with storage_errors():
            return shutil.disk_usage(self._database.parent).free

    def previews(self) -> PreviewCount | None:
        """The latest count of previews; None before the first one.

        A count older than a minute starts a new one in the background.
        """
        with self._lock:
            counted_at = self._counted_at
            outdated = counted_at is None or time.monotonic() - counted_at > COUNT_VALID_S
            starts = outdated and not self._counting
            self._counting = self._counting or starts
        if starts:
            threading.Thread(target=self._run, name="preview-count", daemon=True).start()
        return self._latest

    def count_previews(self) -> PreviewCount:
        """Count the previews now."""
        with storage_errors():
            counts = []
            for directory in sorted(self._previews_dir.iterdir()):
                if directory.is_dir():
                    counts.append(self._count(directory))
                    time.sleep(PAUSE_S)
        return PreviewCount(sum(c.files for c in counts), sum(c.size_bytes for c in counts))

    def _run(self) -> None:
        try:
            self._latest = self.count_previews()
        except StorageError:
            self._latest = None  # reported by /readyz
        finally:
            self._counted_at = time.monotonic()
            self._counting = False

    def _count(self, directory: Path) -> PreviewCount:
        changed_ns = directory.stat().st_mtime_ns
        known = self._directories.get(directory.name)
        if known is not None and known[0] == changed_ns:
            return known[1]
        sizes = []
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX):
                    try:
                        sizes.append(entry.stat().st_size)
                    except FileNotFoundError:
                        continue  # deleted since
        count = PreviewCount(len(sizes), sum(sizes))
        if time.time_ns() - changed_ns > SETTLED_S * 1e9:
            self._directories[directory.name] = changed_ns, count
        return count
