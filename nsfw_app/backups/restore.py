"""Restores a backup into a data directory that has no database.

    restore-<random>/   next to the data, with the same layout: everything is verified there
    images/, review.db.key, review.db   moved into place in this order, so that a database is there
                                        only when all else is

- A restore that is killed leaves no database, and can be repeated.
"""

import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from nsfw_app import __version__, private_files
from nsfw_app.backups.archive import (
    DATABASE,
    KEY,
    MANIFEST,
    ArchivedContent,
    preview_name,
    read_archive,
)
from nsfw_app.backups.manifest import ArchivedFile, Manifest
from nsfw_app.errors import BackupDamaged, BackupError, StorageError
from nsfw_app.private_files import Sync, storage_errors
from nsfw_app.store.connections import COMPANIONS
from nsfw_app.store.database_files import (
    damages,
    foreign_code,
    read_facts,
    schema_differences,
    upgrade_copy,
)

STAGING = "restore-"
NAMED = 3  # files or lines in a message


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored: the manifest, migrations that were added, and previews that are missing.

    `previews` is their number; `missing` are the SHA-256 of images whose preview the database
    names and that is not there.
    """

    manifest: Manifest
    added_steps: tuple[str, ...]
    previews: int
    missing: tuple[str, ...]


def require_no_database(data_dir: Path) -> None:
    """Check that a data directory has no database.

    Raises:
        BackupError: It has one, or a part of one.
    """
    names = [DATABASE + suffix for suffix in ("", *COMPANIONS)]
    if found := [name for name in names if (data_dir / name).exists()]:
        raise BackupError(
            f"{data_dir} is in use: it has {', '.join(found)}. Nothing was restored. Stop its "
            "server and move these files away, or name another directory."
        )


def restore(
    source: BinaryIO, data_dir: Path, *, previews_elsewhere: Path | None = None
) -> Restored:
    """Verify a backup and put it into a data directory. All users must sign in again.

    Args:
        source: The archive, decrypted.
        data_dir: Created if it is missing.
        previews_elsewhere: A directory of previews, of a backup without them.

    Returns:
        What was restored.

    Raises:
        BackupDamaged: The content is not what was written.
        BackupError: It is not a backup, a newer version wrote it, or there is a database.
        StorageError: The data directory cannot be written.
    """
    require_no_database(data_dir)
    with storage_errors(), _staging(data_dir) as staging:
        manifest = unpack(source, staging)
        added = verify_database(staging / DATABASE, manifest)
        wanted = read_facts(staging / DATABASE).previews
        if previews_elsewhere is not None:
            _copy_previews(wanted, previews_elsewhere, staging)
        missing = [image for image in wanted if not (staging / preview_name(image)).exists()]
        os.sync()  # all files at once; thousands of previews one by one take minutes
        previews = _put_in_place(staging, data_dir)
    return Restored(manifest, added, previews, tuple(missing))


def verify(source: BinaryIO) -> Manifest:
    """Compare the files of an archive with its manifest, without writing them.

    Raises:
        BackupDamaged, BackupError: See `restore`.
    """
    return _compared(source, _hashed)


def unpack(source: BinaryIO, directory: Path) -> Manifest:
    """Write the files of an archive into a directory, and compare them with its manifest.

    Raises:
        BackupDamaged, BackupError: See `restore`.
        OSError: They cannot be written.
    """
    return _compared(source, partial(_write, directory=directory))


def _compared(source: BinaryIO, handle: Callable[[ArchivedContent], ArchivedFile]) -> Manifest:
    manifest: Manifest | None = None
    found: list[ArchivedFile] = []
    for content in read_archive(source):
        if content.name == MANIFEST:
            manifest = Manifest.from_json(content.read())
        else:
            found.append(handle(content))
    if manifest is None:
        raise BackupDamaged("The backup is truncated: its end is missing.")
    if sorted(found, key=_by_name) != sorted(manifest.files, key=_by_name):
        wrong = sorted({file.name for file in set(found) ^ set(manifest.files)})
        raise BackupDamaged(
            f"The backup is damaged: {len(wrong)} files differ from its manifest, first "
            f"{', '.join(wrong[:NAMED])}."
        )
    if DATABASE not in (file.name for file in found):
        raise BackupDamaged("The backup is damaged: it has no database.")
    return manifest


def verify_database(database: Path, manifest: Manifest) -> tuple[str, ...]:
    """Check the database of a backup, upgrade it to this version, and end its sessions.

    Returns:
        The migrations that were added.

    Raises:
        BackupDamaged: It is damaged, or does not have the rows that the manifest counts.
        BackupError: A newer version wrote it.
    """
    try:
        if found := damages(database):
            raise BackupDamaged(
                f"The database of the backup is damaged: {'; '.join(found[:NAMED])}."
            )
        facts = read_facts(database)
    except StorageError as error:
        raise BackupDamaged("The database of the backup cannot be read.") from error
    if facts.unknown_steps:
        raise BackupError(
            f"Version {manifest.version} wrote the backup, and version {__version__} does not "
            f"know its database ({', '.join(facts.unknown_steps)}). Install version "
            f"{manifest.version} or a later one. Nothing was restored."
        )
    if (facts.steps, facts.counts) != (manifest.steps, manifest.counts):
        raise BackupDamaged("The database of the backup has other rows than its manifest counts.")
    if foreign := foreign_code(database):
        raise BackupDamaged(
            f"The database of the backup has code of another program: {', '.join(foreign[:NAMED])}."
        )
    upgrade_copy(database)
    if other := schema_differences(database):
        raise BackupDamaged(
            f"The database of the backup has a schema of another program: "
            f"{', '.join(other[:NAMED])}."
        )
    return tuple(step for step in read_facts(database).steps if step not in facts.steps)


@contextmanager
def _staging(data_dir: Path) -> Iterator[Path]:
    private_files.make_directory(data_dir)
    for abandoned in data_dir.glob(STAGING + "[0-9a-f]" * 32):  # of killed processes
        shutil.rmtree(abandoned, ignore_errors=True)
    staging = data_dir / f"{STAGING}{uuid.uuid4().hex}"
    staging.mkdir(mode=private_files.DIRECTORY_MODE)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _hashed(content: ArchivedContent) -> ArchivedFile:
    for _ in content.chunks():
        pass
    return content.file


def _write(content: ArchivedContent, directory: Path) -> ArchivedFile:
    free_bytes = shutil.disk_usage(directory).free
    if content.size_bytes > free_bytes:
        raise BackupError(
            f"{content.name} of the backup needs {content.size_bytes} bytes; {free_bytes} are "
            "free. Free space on the disk, or name a directory on another one."
        )
    path = directory / content.name
    private_files.make_directory(path.parent)
    with private_files.staged_file(path, sync=Sync.LATER) as file:
        for chunk in content.chunks():
            file.write(chunk)
    return content.file


def _copy_previews(images: Iterable[str], source: Path, staging: Path) -> None:
    for image in images:
        name = preview_name(image)
        path = source / Path(name).relative_to("images")
        if path.is_file():
            private_files.make_directory((staging / name).parent)
            with private_files.staged_file(staging / name, sync=Sync.LATER) as file:
                file.write(path.read_bytes())


def _put_in_place(staging: Path, data_dir: Path) -> int:
    """Move the files; the database last, and only if there is none. Returns the previews."""
    previews = 0
    for path in staging.glob("images/??/*.jpg"):
        target = data_dir / path.relative_to(staging)
        private_files.make_directory(target.parent)
        path.replace(target)
        previews += 1
    require_no_database(data_dir)
    if (staging / KEY).exists():
        _put_key_in_place(staging / KEY, data_dir / KEY)
    try:
        (data_dir / DATABASE).hardlink_to(staging / DATABASE)  # which fails if there is one
    except FileExistsError:
        require_no_database(data_dir)
    except OSError:  # a file system without links
        (staging / DATABASE).replace(data_dir / DATABASE)
    os.sync()
    return previews


def _put_key_in_place(source: Path, target: Path) -> None:
    if target.exists() and target.read_bytes() != source.read_bytes():
        raise BackupError(
            f"{target} is the key of another database. Move it away, then restore again."
        )
    source.replace(target)


def _by_name(file: ArchivedFile) -> str:
    return file.name
