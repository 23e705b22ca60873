"""Disks that tests fill up or make read-only."""

import errno
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

DISK_KB = 2_000


class Disk:
    """A tmpfs.

    Where mounting is not permitted, the process's limit of file sizes replaces the full disk: each
    write that makes a file larger fails, in the same calls.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={DISK_KB}k,mode=700"]
        command = ["mount", *options, "tmpfs", str(path)]
        self.is_mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
        self._ballast = path / "ballast"
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self, *, free_bytes: int = 0) -> None:
        """Fill the disk up to this many free bytes."""
        if not self.is_mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, self._limits[1]))
            return
        volume = os.statvfs(self.path)
        available = volume.f_bavail * volume.f_frsize
        self._ballast.write_bytes(bytes(max(0, available - free_bytes)))

    def clear(self) -> None:
        """Free the space again."""
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)
        self._ballast.unlink(missing_ok=True)

    def remount(self, mode: str) -> None:
        """Mount it `ro` or `rw`; no file on it may be open for writing."""
        subprocess.run(["mount", "-o", f"remount,{mode}", str(self.path)], check=True)

    def close(self) -> None:
        """Unmount it."""
        self.clear()
        if self.is_mounted:  # lazily: connections of ended threads may still be open
            subprocess.run(["umount", "--lazy", str(self.path)], check=True)


@contextmanager
def small_disk(path: Path) -> Iterator[Disk]:
    """A disk of 2 MB at a path, for the length of a `with` block."""
    disk = Disk(path)
    try:
        yield disk
    finally:
        disk.close()


def no_space(*_: object, **__: object) -> NoReturn:
    """Fail as a write to a full disk, in place of one, where mounting is not permitted.

    The limit of file sizes is no replacement where the database must be written, too.
    """
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
