"""Writes a backup of a store while it is used."""

from dataclasses import replace
from enum import Enum, auto
from typing import BinaryIO

from nsfw_app import __version__
from nsfw_app.backups.archive import DATABASE, KEY, ArchiveWriter, preview_name
from nsfw_app.backups.manifest import Manifest
from nsfw_app.errors import NotFound
from nsfw_app.store.connections import now
from nsfw_app.store.database_copies import DatabaseCopy
from nsfw_app.store.previews import PreviewFiles

MISSING = "The file was deleted while the backup was made, or was missing before."


class Scope(Enum):
    """What an archive contains."""

    EVERYTHING = auto()
    DATABASE = auto()  # and the key of its secrets


def write_backup(
    copy: DatabaseCopy, previews: PreviewFiles, out: BinaryIO, *, scope: Scope = Scope.EVERYTHING
) -> Manifest:
    """Write an archive of a database and the previews that it names.

    A preview that is purged during it is left out, and listed as such.

    Args:
        copy: A copy of the database.
        previews: The files of the previews, which may change.
        out: Where the archive is written.
        scope: Whether previews are in it.

    Returns:
        What is in it.

    Raises:
        StorageError: A preview cannot be read.
        OSError: The archive cannot be written.
    """
    manifest = Manifest(__version__, now(), copy.facts.steps, copy.facts.counts, (), {})
    left_out = {}
    archive = ArchiveWriter(out, created_at=manifest.created_at)
    with archive as writer:
        writer.add_file(DATABASE, copy.path)
        if copy.key is not None:
            writer.add_bytes(KEY, copy.key)
        for image in copy.facts.previews if scope is Scope.EVERYTHING else ():
            try:
                writer.add_bytes(preview_name(image), previews.get(image))
            except NotFound:
                left_out[image] = MISSING
        manifest = replace(manifest, files=tuple(writer.files), left_out=left_out)
        writer.finish(manifest)
    return manifest
