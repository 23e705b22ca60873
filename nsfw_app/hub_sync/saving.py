"""Saves what changed, one commit with one file for each batch, and rolls up files of earlier ones.

- A batch that fails is saved again under the same path, so that it is in the repository once.
- A roll-up deletes its parts and adds their successor in one commit: readers find each row once.
- What a roll-up read must still be there when it commits; otherwise it reads again. Files that are
  saved during that do not matter.
- After each save the files are listed: a server that was replaced by another one says so.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from nsfw_app.dataset_errors import HubConflict, ServerReplaced
from nsfw_app.hub_sync import card, event_files, layout
from nsfw_app.hub_sync.layout import BatchFile, Chain
from nsfw_app.hub_sync.repository import CARD, HubRepository, Snapshot
from nsfw_app.store import Store
from nsfw_app.store.hub_changes import ChangeSet, HubWriter

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_ROWS = 20_000  # of a file that one commit adds
MAX_PREVIEW_BYTES = 100_000_000
ATTEMPTS = 5  # of several servers that commit at the same time, one succeeds each time


class Saver:
    """Saves changes of a store in a repository.

    Args:
        store: Where changes are noted.
        repository: Where to.
        instance: The name of this server there.
        previews: Whether previews are saved.
    """

    def __init__(
        self, store: Store, repository: HubRepository, *, instance: str, previews: bool
    ) -> None:
        self._changes = store.hub_changes
        self._repository = repository
        self.instance = instance
        self.diverged = 0  # files that an earlier server saved after this one was restored
        self._committing = threading.Lock()
        self._is_confirmed = False  # whether what was saved last is restored
        self._changes.start(repository.name, instance, previews=previews)

    @property
    def pending(self) -> int:
        """How many rows are not saved yet."""
        return self._changes.pending()

    def prepare(self) -> None:
        """Create the repository if it is missing, and see that its files continue this database.

        - A database that went back to an earlier state, such as one that Litestream restored,
          begins another history: the files that it saved after that state have other rows. So does
          one whose files were deleted: later ones alone cannot be restored.
        - One that was restored from the repository adds a file without rows, by which an earlier
          server learns that it was replaced.

        Raises:
            PublicRepository: The repository is public.
            ServerReplaced: Another server was restored from the same files, and was first.
        """
        files = layout.parse(self._repository.prepare().paths)
        own = self._changes.current_writer()
        latest = layout.latest_history(files, self.instance) or ""
        is_behind = any(_is_ahead(each, own) for each in files)
        is_later = own.batch == 0 and latest > own.history
        history = self.instance, own.history
        is_gone = own.batch > 0 and history not in {(each.instance, each.history) for each in files}
        if is_behind or is_later or is_gone:
            log.warning(
                "%s has %s of '%s' than this database. All rows are saved again.",
                self._repository.name,
                "fewer files" if is_gone else "later files",
                self.instance,
            )
            self._changes.begin_again(after=latest)
        elif own.generation > 1 and not any(
            each.writer == own.writer and each.last <= own.batch for each in files
        ):
            _retried(self._claim)

    def _claim(self) -> None:
        """Add a file without rows, unless another server did."""
        snapshot, own = self._repository.snapshot(), self._changes.current_writer()
        try:
            self._own_chain(snapshot)
        except ServerReplaced as error:
            raise ServerReplaced(
                f"Another server was restored as '{self.instance}' at about the same time, and "
                f"saves in {self._repository.name}. This one saves nothing there. Stop one of "
                "them, or give it another NSFW_HUB_INSTANCE."
            ) from error
        batch = own.batch + 1
        content = event_files.encode((), batch, is_complete=True)
        self._repository.commit(
            f"{self.instance}: restored",
            added=(self._file(own, batch).path, content),
            parent=snapshot.commit,
        )
        self._changes.saved(own, batch, ())

    def _file(self, writer: HubWriter, batch: int) -> BatchFile:
        return BatchFile(
            self.instance, writer.history, batch, batch, writer.generation, writer.writer
        )

    def save(self) -> int:
        """Save everything that changed; return the number of rows.

        Raises:
            PublicRepository: The repository is public now.
            ServerReplaced: Another server was restored from this one's files. Changes are saved,
                and are not restored.
        """
        count = 0
        while changes := (noted := self._next()).changes:
            writer = noted.writer or self._changes.current_writer()
            batch = writer.batch + 1
            path = self._file(writer, batch).path
            content = event_files.encode(changes, batch, is_complete=noted.is_complete)
            message = f"{self.instance}: {len(changes)} rows"
            self._is_confirmed = False
            with self._committing:
                _retried(partial(self._repository.commit, message, added=(path, content)))
            self._changes.saved(writer, batch, changes)
            count += len(changes)
        if not self._is_confirmed:
            self._own_chain(self._repository.snapshot())
            self._is_confirmed = True
        return count

    def _next(self) -> ChangeSet:
        return self._changes.next(max_rows=MAX_ROWS, max_preview_bytes=MAX_PREVIEW_BYTES)

    def roll_up(self, *, rewrite: bool, stopped: Callable[[], bool] = lambda: False) -> int:
        """Roll up files; return how many commits that took. Changes may be saved concurrently.

        Args:
            rewrite: Also write files again that have previews which were deleted since.
            stopped: Whether to end before the next file.

        Raises:
            PublicRepository: The repository is public now.
            ServerReplaced: Another server was restored from this one's files.
        """
        commits = 0
        while _retried(lambda: self._roll_up_once(rewrite=rewrite, stopped=stopped)):
            commits += 1
        return commits

    def write_card(self, moment: str) -> None:
        """Bring this server's line of the dataset card up to date."""
        _retried(lambda: self._write_card(moment))

    def squash(self) -> None:
        """Delete the history of commits, and with it content that no file has any more.

        No change is saved during that: the hub is not known to keep a commit that it gets then.
        """
        with self._committing:
            self._repository.squash()

    def _own_chain(self, snapshot: Snapshot) -> Chain:
        """The files of this server's history.

        Raises:
            ServerReplaced: Another server was restored from them.
        """
        files, own = layout.parse(snapshot.paths), self._changes.current_writer()
        chain = layout.chain(files, self.instance, own.history)
        others = (each for each in (*chain.files, *chain.diverged) if each.writer != own.writer)
        latest = layout.latest_history(files, self.instance) or ""
        if latest > own.history or any(each.generation >= own.generation for each in others):
            raise ServerReplaced(
                f"Another server was restored as '{self.instance}' and saves in "
                f"{self._repository.name}. What this one saves is kept there, and is not "
                "restored any more. Stop one of them, or give it another NSFW_HUB_INSTANCE."
            )
        return chain

    def _roll_up_once(self, *, rewrite: bool, stopped: Callable[[], bool]) -> bool:
        snapshot = self._repository.snapshot()
        chain, own = self._own_chain(snapshot), self._changes.current_writer()
        self.diverged = len(chain.diverged)
        files = chain.files
        obsolete = self._changes.obsolete()
        runs = layout.roll_ups(files)
        if not runs and rewrite:
            runs = [
                [each]
                for each in files
                if any(each.first <= batch <= each.last for batch in obsolete)
            ]
        if not runs or stopped():
            return False
        parts = runs[0]
        # Of the generation of its last part: the chain is found by generations.
        whole = replace(parts[-1], first=parts[0].first)
        with ExitStack() as stack:
            paths = []
            for part in reversed(parts):
                downloaded = self._repository.downloaded(part.path, snapshot.commit)
                paths.append(stack.enter_context(downloaded))
                if stopped():
                    return False
            target = paths[0].with_name("whole.parquet")
            previews = self._changes.current_previews(whole.first, whole.last)
            event_files.merge(paths, previews, target)
            if stopped():
                return False
            _retried(lambda: self._replace(parts, whole, target))
        self._changes.rewritten(own, whole.first, whole.last, obsolete)
        return True

    def _replace(self, parts: Sequence[BatchFile], whole: BatchFile, target: Path) -> None:
        """Replace files that follow each other by one with the last state of each row.

        Raises:
            HubConflict: They are not all there any more, or another commit came first.
        """
        snapshot = self._repository.snapshot()  # changes were saved since the files were read
        if not {part.path for part in parts} <= set(snapshot.paths):
            raise HubConflict(f"{self._repository.name} was changed during a roll-up. Try again.")
        self._repository.commit(
            f"{self.instance}: batches {whole.first} to {whole.last} in one file",
            added=(whole.path, target),
            deleted=[part.path for part in parts if part.path != whole.path],
            parent=snapshot.commit,
        )

    def _write_card(self, moment: str) -> None:
        snapshot = self._repository.snapshot()
        before = self._repository.text(CARD, snapshot)
        after = card.updated(
            before,
            repository=self._repository.name,
            instance=self.instance,
            counts=self._changes.counts(),
            moment=moment,
        )
        if after != before:
            self._repository.commit(
                f"{self.instance}: dataset card",
                added=(CARD, after.encode()),
                parent=snapshot.commit,
            )


def _is_ahead(file: BatchFile, own: HubWriter) -> bool:
    """Whether a writer has saved a file after the state that its database has now.

    A save that was interrupted is one batch ahead; files are rolled up only after they were saved.
    """
    interrupted = file.first == file.last == own.batch + 1
    return file.writer == own.writer and file.last > own.batch and not interrupted


def _retried(attempt: Callable[[], T]) -> T:
    """The result of an attempt, repeated where the repository was changed since.

    Raises:
        HubConflict: Each of several attempts met another change.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return attempt()
        except HubConflict:
            continue
    return attempt()
