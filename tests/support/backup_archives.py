"""Backups of a store in memory, and archives with other content than a backup has."""

import io
import json
import tarfile
from collections.abc import Callable
from hashlib import sha256

from nsfw_app.backups.backup import write_backup
from nsfw_app.backups.manifest import Manifest
from nsfw_app.store import Store

Members = list[tuple[tarfile.TarInfo, bytes]]


def backup_of(store: Store) -> bytes:
    """The archive of a store."""
    out = io.BytesIO()
    with store.copies.copied() as copy:
        write_backup(copy, store.previews, out)
    return out.getvalue()


def manifest_of(archive: bytes) -> Manifest:
    """The manifest in an archive."""
    return Manifest.from_json(dict(_named(members(archive)))["manifest.json"])


def members(archive: bytes) -> Members:
    """Every member of an archive with its content."""
    found = []
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            found.append((member, file.read()))
    return found


def names(archive: bytes) -> list[str]:
    """The names of the members, in order."""
    return [member.name for member, _ in members(archive)]


def written(content: Members, *, tar_format: int = tarfile.GNU_FORMAT) -> bytes:
    """An archive with these members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tar_format) as tar:
        for member, data in content:
            if member.isreg():
                member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def changed(archive: bytes, change: Callable[[Members], None]) -> bytes:
    """The archive with members that a function changed in place."""
    content = members(archive)
    change(content)
    return written(content)


def with_database(archive: bytes, database: bytes, **values: object) -> bytes:
    """The archive with another database, and a manifest that has its checksum and these values."""
    content = members(archive)
    for number, (member, data) in enumerate(content):
        if member.name == "review.db":
            content[number] = (member, database)
        elif member.name == "manifest.json":
            manifest = json.loads(data) | values
            for file in manifest["files"]:
                if file["name"] == "review.db":
                    file["sha256"] = sha256(database).hexdigest()
                    file["size_bytes"] = len(database)
            content[number] = (member, json.dumps(manifest).encode())
    return written(content)


def database_of(archive: bytes) -> bytes:
    """The database in an archive."""
    return dict(_named(members(archive)))["review.db"]


def _named(content: Members) -> list[tuple[str, bytes]]:
    return [(member.name, data) for member, data in content]
