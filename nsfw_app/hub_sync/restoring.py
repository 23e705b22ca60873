"""Restores an empty data directory from the repository.

- The database is filled under another name, and appears whole or not at all.
- A hub that fails is asked again for some minutes: a server that began with an empty database would
  begin another history.
- Nothing is classified again: scores are restored as well.
"""

import logging
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nsfw_app.dataset_errors import HubConflict, HubDataError, HubFailed
from nsfw_app.hub_sync import event_files, layout
from nsfw_app.hub_sync.layout import BatchFile, Chain
from nsfw_app.hub_sync.repository import HubRepository, Snapshot
from nsfw_app.store import Store
from nsfw_app.store.hub_changes import HubWriter
from nsfw_app.store.hub_restore import SavedRow

log = logging.getLogger(__name__)

WAITS_S = (2, 5, 10, 20, 40, 60, 60, 60)  # between attempts, about four minutes
STAGED_DIR = "restoring"  # in the data directory


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored.

    - `rows` is the number of rows of each table, `previews` that of preview files.
    - `without_preview` is the number of open queue entries whose image has no preview.
    - `without_password` are names of users who cannot sign in until they get a new password.
    - `diverged` is the number of files that were left out: another server saved them under the same
      name after this history had been restored elsewhere.
    - `incomplete` is the number of files that were left out because the server ended before it had
      saved all of the changes that they are of.
    """

    history: str
    rows: dict[str, int]
    previews: int
    without_preview: int
    without_password: list[str]
    diverged: int
    incomplete: int


def restore(
    database: Path,
    repository: HubRepository,
    *,
    instance: str,
    open_store: Callable[[Path], Store],
    sleep: Callable[[float], None] = time.sleep,
) -> Restored | None:
    """Restore the database and its previews; None where the repository has nothing of this server.

    Args:
        database: The file to restore; it does not exist.
        repository: Where from; created where it is missing.
        instance: The name of this server there.
        open_store: Opens the store of a database file, which has the previews of this server.
        sleep: Waits for seconds.

    Raises:
        PushError: The repository cannot be read, or what it has cannot be restored.
        StorageError: The data directory cannot be written.
    """
    waits = iter(WAITS_S)
    while True:
        try:
            return _restore(database, repository, instance, open_store)
        except HubFailed as error:
            wait = next(waits, None)
            if wait is None:
                raise
            wait = 0 if isinstance(error, HubConflict) else max(wait, error.retry_after_s or 0)
            log.warning("Restoring from %s: %s Next attempt in %d s.", repository.name, error, wait)
            sleep(wait)


def _restore(
    database: Path,
    repository: HubRepository,
    instance: str,
    open_store: Callable[[Path], Store],
) -> Restored | None:
    snapshot = repository.prepare()
    files = layout.parse(snapshot.paths)
    histories = layout.histories(files, instance)
    if not histories:
        return None
    history, chain = _complete_chain(repository, snapshot, instance, histories)
    staged_dir = database.parent / STAGED_DIR
    shutil.rmtree(staged_dir, ignore_errors=True)
    staged = staged_dir / database.name
    store = open_store(staged)
    try:
        source = _Source(repository, snapshot.commit, chain)
        restored = source.fill(store, history)
        writer = HubWriter(
            repository.name,
            instance,
            history,
            chain.generation + 1,
            uuid.uuid4().hex[:8],
            chain.last,
            previews=bool(source.saved),
        )
        if history == histories[0]:
            store.hub_changes.resume(writer, source.saved, source.obsolete)
        # Else another history begins, which is later than the one that was not saved completely.
        store.close()
        staged.replace(database)
    finally:
        shutil.rmtree(staged_dir, ignore_errors=True)
    return restored


def _complete_chain(
    repository: HubRepository, snapshot: Snapshot, instance: str, histories: Sequence[str]
) -> tuple[str, Chain]:
    """The latest history of which rows that fit together were saved, and the files of these.

    Raises:
        HubDataError: There is none.
    """
    files = layout.parse(snapshot.paths)
    incomplete: tuple[BatchFile, ...] = ()
    for history in histories:
        chain = layout.chain(files, instance, history)
        for count in range(len(chain.files), 0, -1):
            with repository.downloaded(chain.files[count - 1].path, snapshot.commit) as path:
                if event_files.is_complete(path):
                    incomplete = (*chain.files[count:], *incomplete)
                    return history, replace(chain, files=chain.files[:count], incomplete=incomplete)
        incomplete = (*chain.files, *incomplete)
    raise HubDataError(
        f"'{instance}' ended before it had saved everything in {repository.name} for the first "
        "time, so nothing can be restored. To begin with an empty database, delete "
        f"data/{instance} there, or set another NSFW_HUB_INSTANCE."
    )


class _Source:
    """Reads the files of a chain, the last one first, into a store.

    `saved` and `obsolete` are where previews are, and where others are than the current ones.
    """

    def __init__(self, repository: HubRepository, commit: str, chain: Chain) -> None:
        self._repository = repository
        self._commit = commit
        self._chain = chain
        self.saved: dict[str, int] = {}
        self.obsolete: set[int] = set()

    def fill(self, store: Store, history: str) -> Restored:
        """Stage and insert all rows; see `Restored`."""
        store.hub_restore.begin()
        for file in reversed(self._chain.files):
            for events in self._events(file):
                self._stage(store, events)
        rows = store.hub_restore.finish()
        return Restored(
            history,
            rows,
            previews=len(self.saved),
            without_preview=store.hub_restore.waiting_without_preview(),
            without_password=store.hub_restore.users_without_password(),
            diverged=len(self._chain.diverged),
            incomplete=len(self._chain.incomplete),
        )

    def _events(self, file: BatchFile) -> Iterator[list[dict[str, Any]]]:
        with self._repository.downloaded(file.path, self._commit) as path:
            yield from event_files.read(path)

    def _stage(self, store: Store, events: Sequence[Mapping[str, Any]]) -> None:
        in_force = store.hub_restore.stage([_saved(event) for event in events])
        for event, is_current in zip(events, in_force, strict=True):
            jpeg = event_files.preview_of(event)
            if jpeg is not None and is_current:
                store.hub_restore.add_preview(event["image_sha256"], jpeg)
                self.saved[event["image_sha256"]] = event["batch"]
            elif jpeg is not None:
                self.obsolete.add(event["batch"])


def _saved(event: Mapping[str, Any]) -> SavedRow:
    table = event_files.TABLES.get(event["kind"], event["kind"])
    return SavedRow(table, event["key"], None if event["deleted"] else event["row"])
