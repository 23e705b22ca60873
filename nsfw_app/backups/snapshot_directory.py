"""A directory of snapshots, such as a mounted bucket or a network share.

    snapshots/20261129T013000.123Z-<random>.tar   a backup without previews, each written whole
    images/ab/<sha256>.jpg                        previews of the latest snapshot

- A database is never open in it: mounted storage lacks the locks that SQLite needs.
- A preview is copied once, and deleted from it once it was purged.
- An earlier version kept its database there: it becomes the first snapshot, and its file is
  renamed to `review.db.before-snapshots`.
"""

import logging
import shutil
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nsfw_app import private_files
from nsfw_app.backups.archive import DATABASE, KEY
from nsfw_app.backups.backup import Scope, write_backup
from nsfw_app.backups.restore import Restored, require_no_database, restore
from nsfw_app.errors import BackupError, NotFound, StorageError
from nsfw_app.private_files import storage_errors
from nsfw_app.store.database_copies import DatabaseCopy, copied_file
from nsfw_app.store.previews import PreviewFiles

log = logging.getLogger(__name__)

KEPT = 3  # snapshots of this server
STAMP = "%Y%m%dT%H%M%S.%f"
OLD_NAME = f"{DATABASE}.before-snapshots"
OLD_KEY_NAME = f"{KEY}.before-snapshots"
UPLOADS = "uploads"  # temporary files of an earlier version, which it emptied at its start


class SnapshotDirectory:
    """Writes and restores snapshots.

    Args:
        directory: An existing directory.
        clock: The time in UTC.

    Raises:
        StorageError: It does not exist or cannot be used.
    """

    def __init__(
        self, directory: Path, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.directory = directory
        self._clock = clock
        self._archives = directory / "snapshots"
        with storage_errors():
            directory.stat()
            private_files.make_directory(self._archives)
        self._previews = PreviewFiles(directory / "images")
        self._mirrored: set[str] | None = None
        self._own: list[Path] = []
        self._seen = frozenset(self.archives())

    def archives(self) -> list[Path]:
        """The snapshots, the newest first."""
        with storage_errors():
            return sorted(self._archives.glob("*.tar"), reverse=True)

    def has_data(self) -> bool:
        """Whether an empty data directory would be restored from it."""
        with storage_errors():
            names = (DATABASE, OLD_NAME)
            return bool(self.archives()) or any((self.directory / n).exists() for n in names)

    def write(self, copy: DatabaseCopy, previews: PreviewFiles) -> Path:
        """Write a snapshot, and delete those that are no longer kept.

        Raises:
            BackupError: It cannot be written, and earlier ones stay; or it was written, and another
                server wrote one since this one started.
        """
        try:
            return self._write(copy, previews)
        except StorageError as error:
            reason = getattr(error.__cause__, "strerror", None) or str(error).rstrip(".")
            raise BackupError(
                f"The snapshot cannot be written to {self.directory}: {reason}."
            ) from error

    def _write(self, copy: DatabaseCopy, previews: PreviewFiles) -> Path:
        path = self._archives / f"{self._stamp()}Z-{uuid.uuid4().hex[:8]}.tar"
        self._add_previews(copy, previews)
        with storage_errors(), private_files.staged_file(path) as out:
            write_backup(copy, previews, out, scope=Scope.DATABASE)
        self._own.append(path)
        others = [each for each in self.archives() if each not in (*self._seen, *self._own)]
        if others:
            self._delete(self._own[:-KEPT])
            raise BackupError(
                f"After this server started, another one wrote {others[0].name} to the same "
                "directory: its decisions are not in this database. Run one server for each."
            )
        self._remove_purged(copy)
        self._delete(self.archives()[KEPT:])
        return path

    def _stamp(self) -> str:
        """The time, later than in the name of the newest snapshot: a clock may be set back."""
        time = self._clock()
        for newest in self.archives()[:1]:
            with suppress(ValueError, OverflowError):  # a file that people named
                earlier = datetime.strptime(newest.name.partition("Z")[0] + "+0000", STAMP + "%z")
                time = max(time, earlier + timedelta(microseconds=1))
        return f"{time:{STAMP}}"

    def _delete(self, archives: Iterable[Path]) -> None:
        for old in archives:
            with storage_errors(), suppress(FileNotFoundError):
                old.unlink()

    def restore_newest(self, data_dir: Path) -> Restored | None:
        """Restore the newest sound snapshot into a data directory without a database.

        A snapshot that is damaged is skipped, with a warning in the log.

        Returns:
            What was restored; None if there is nothing to restore.

        Raises:
            BackupError: There are snapshots, and none can be restored: to start with an empty
                database would lose its users, too.
        """
        require_no_database(data_dir)
        self._adopt_old_database()
        archives = self.archives()
        for path in archives:
            try:
                with storage_errors(), path.open("rb") as source:
                    return restore(source, data_dir, previews_elsewhere=self.directory / "images")
            except (BackupError, StorageError) as error:
                log.warning("Snapshot %s cannot be restored: %s", path.name, error)
        if not archives:
            return None
        raise BackupError(
            f"None of the {len(archives)} snapshots in {self._archives} can be restored; the log "
            "says why. Move them away to begin with an empty database."
        )

    def _adopt_old_database(self) -> None:
        old, key = self.directory / OLD_NAME, self.directory / OLD_KEY_NAME
        database = self.directory / DATABASE
        if self.archives():
            if database.exists():
                raise BackupError(
                    f"{self.directory} has snapshots and {DATABASE}, which an earlier version "
                    "wrote. Move away what is not wanted: the file, or the directory snapshots."
                )
            return
        if database.exists():
            with copied_file(database, self.directory / KEY):
                pass  # which also finishes what a killed server left in its journal
            with storage_errors():
                if (self.directory / KEY).exists():
                    (self.directory / KEY).replace(key)
                database.replace(old)
            shutil.rmtree(self.directory / UPLOADS, ignore_errors=True)
        if old.exists():
            log.warning("%s of an earlier version becomes the first snapshot.", database)
            with copied_file(old, key) as copy:
                self._own.append(self.write(copy, self._previews))

    def _add_previews(self, copy: DatabaseCopy, previews: PreviewFiles) -> None:
        if self._mirrored is None:
            with storage_errors():
                self._mirrored = set(self._previews.all())
        for image in copy.facts.previews:
            if image not in self._mirrored:
                with suppress(NotFound):  # purged since, or missing: `check` reports it
                    self._previews.add(image, previews.get(image))
                    self._mirrored.add(image)

    def _remove_purged(self, copy: DatabaseCopy) -> None:
        mirrored = self._mirrored or set()
        for image in mirrored - set(copy.facts.previews):
            self._previews.remove(image)
            mirrored.discard(image)
