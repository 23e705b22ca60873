"""`backup` and `restore`: write the data to one file, and read it back."""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from io import BufferedReader
from pathlib import Path
from typing import Annotated, BinaryIO, cast

import typer

from nsfw_app import private_files, settings
from nsfw_app.backups import encryption
from nsfw_app.backups.backup import write_backup
from nsfw_app.backups.manifest import Manifest
from nsfw_app.backups.restore import Restored, require_no_database
from nsfw_app.backups.restore import restore as restore_archive
from nsfw_app.bootstrap import open_existing_store, open_store
from nsfw_app.cli.operator import operator
from nsfw_app.cli.output_file import check_directory
from nsfw_app.errors import BackupError
from nsfw_app.store.audit import AuditAction

STANDARD = Path("-")  # standard output or input


def backup(
    file: Annotated[Path, typer.Argument(help="File to write; - for standard output.")],
    recipients: Annotated[
        list[str] | None,
        typer.Option("--recipient", help="Encrypt for this public key of age (age1...)."),
    ] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="Encrypt with the passphrase in this file.")
    ] = None,
) -> None:
    """Write database and previews to one file, also while the server runs."""
    if recipients and passphrase_file:
        raise typer.BadParameter("--recipient and --passphrase-file exclude each other.")
    passphrase = passphrase_file and encryption.secret_of(passphrase_file, noun="passphrase")
    store = open_existing_store(settings.load())
    with _written(file) as out:
        content: AbstractContextManager[BinaryIO]
        if recipients:
            content = encryption.encrypted_for(recipients, out)
        elif passphrase:
            content = encryption.encrypted_with(passphrase, out)
        else:
            content = nullcontext(out)
        with content as target, store.copies.copied() as copy:
            manifest = write_backup(copy, store.previews, target)
    encrypted = bool(recipients or passphrase)
    where = "standard output" if file == STANDARD else file.name
    store.audit.add(operator(), AuditAction.BACKUP, where, encrypted=encrypted)
    typer.echo(f"{_sentence(manifest)} {'Encrypted.' if encrypted else 'Not encrypted.'}", err=True)


def restore(
    file: Annotated[Path, typer.Argument(help="File to read; - for standard input.")],
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Directory to restore into; NSFW_DATA_DIR without it."),
    ] = None,
    identity_file: Annotated[
        Path | None, typer.Option(help="Secret keys of age that can decrypt the file.")
    ] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="The passphrase that can decrypt the file.")
    ] = None,
    stop_webhooks: Annotated[
        bool,
        typer.Option("--stop-webhooks", help="Send no webhook messages from the restored data."),
    ] = False,
) -> None:
    """Verify a backup and restore it into a directory without a database.

    Older backups are upgraded. All users must sign in again.
    """
    chosen = settings.load(**({"data_dir": data_dir} if data_dir else {}))
    require_no_database(chosen.data_dir)
    with _read(file) as source, _decrypted(source, identity_file, passphrase_file) as content:
        restored = restore_archive(content, chosen.data_dir)
    store = open_store(chosen)
    stopped = store.keys.stop_webhooks(actor=operator()) if stop_webhooks else 0
    details = {"version": restored.manifest.version, "created_at": restored.manifest.created_at}
    store.audit.add(operator(), AuditAction.RESTORE, file.name, **details)
    typer.echo(_restored_sentence(restored, chosen.data_dir))
    if stop_webhooks:
        typer.echo(f"{stopped} webhooks are stopped.")


@contextmanager
def _written(file: Path) -> Iterator[BinaryIO]:
    """The output; a file appears when it is complete, and replaces no other."""
    if file == STANDARD:
        if sys.stdout.isatty():
            raise typer.BadParameter("A backup is not text. Redirect standard output to a file.")
        yield sys.stdout.buffer
        return
    check_directory(file)
    if os.path.lexists(file):
        raise BackupError(f"{file} exists already. Nothing was written. Choose another name.")
    try:
        with private_files.staged_file(file) as out:
            yield out
    except OSError as error:
        raise BackupError(f"{file} cannot be written: {error.strerror or error}.") from error


@contextmanager
def _read(file: Path) -> Iterator[BufferedReader]:
    if file == STANDARD:
        yield cast(BufferedReader, sys.stdin.buffer)
        return
    try:
        source = file.open("rb")
    except OSError as error:
        raise BackupError(f"{file} cannot be read: {error.strerror}.") from error
    with source:
        yield source


@contextmanager
def _decrypted(
    source: BufferedReader, identity_file: Path | None, passphrase_file: Path | None
) -> Iterator[BinaryIO]:
    if not encryption.is_encrypted(source):
        if identity_file is not None or passphrase_file is not None:
            raise BackupError(
                "The backup is not encrypted: it may not be the one that you expect. Name no key "
                "to restore it."
            )
        yield source
        return
    if identity_file is not None:
        identities = encryption.secret_of(identity_file, noun="identity")
        content = encryption.decrypted_by(identities, source)
    elif passphrase_file is not None:
        passphrase = encryption.secret_of(passphrase_file, noun="passphrase")
        content = encryption.decrypted_with(passphrase, source)
    else:
        raise BackupError(
            "The backup is encrypted. Name its key with --identity-file, or --passphrase-file."
        )
    with content as decrypted:
        yield decrypted


def _sentence(manifest: Manifest) -> str:
    counts, previews = manifest.counts, sum(f.name.startswith("images/") for f in manifest.files)
    sentence = (
        f"Backup of {counts['images']} images, {counts['decisions']} decisions and "
        f"{previews} previews."
    )
    if manifest.left_out:
        sentence += (
            f" {len(manifest.left_out)} previews are left out: they were deleted during the "
            "backup, or missing before."
        )
    return sentence


def _restored_sentence(restored: Restored, data_dir: Path) -> str:
    manifest = restored.manifest
    sentences = [
        f"Restored {manifest.counts['images']} images, {manifest.counts['decisions']} decisions "
        f"and {restored.previews} previews of {manifest.created_at} into {data_dir}.",
    ]
    if restored.added_steps:
        sentences.append(f"The database was upgraded from version {manifest.version}.")
    if restored.missing:
        sentences.append(
            f"{len(restored.missing)} previews are missing, because the backup did not have them."
        )
    sentences.append("All users must sign in again.")
    return "\n".join(sentences)
