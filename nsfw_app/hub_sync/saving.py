"""Saves what changed, one commit with one file for each batch, and rolls up files of earlier ones.

- A batch that fails is saved again under the same path, so that it is in the repository once.
- A roll-up deletes its parts and adds their successor in one commit: readers find each row once.
- What a roll-up read must still be there when it commits; otherwise it reads again. Changes are
  saved between its steps, in the same thread, and never while it merges and commits.
- After each save the files are listed: a server that was replaced by another one says so.
"""

import logging
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
        self._is_started = False
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
        - Of several servers of one name, the one that was started last goes on: where another one
          was restored from the same files before, it begins another history.

        Raises:
            PublicRepository: The repository is public.
        """
        self._repository.prepare()
        _retried(self._continue_history)
        self._is_started = True

    def _continue_history(self) -> None:
        snapshot, own = self._repository.snapshot(), self._changes.current_writer()
        files = layout.parse(snapshot.paths)
        latest = layout.latest_history(files, self.instance) or ""
        known = {(each.instance, each.history) for each in files}
        if own.batch > 0 and (self.instance, own.history) not in known:
            reason = "has no files of this database any more"
        elif any(_is_ahead(each, own) for each in files) or (
            own.batch == 0 and latest > own.history
        ):
            reason = "has later files than this database"
        elif not self._is_started and (self._is_replaced(files, own) or _is_cut(files, own)):
            reason = "has files of a server that was restored before this one was started"
        else:
            if own.generation > 1 and not any(each.writer == own.writer for each in files):
                self._claim(own, parent=snapshot.commit)
            return
        log.warning(
            "%s %s ('%s'). All rows are saved again.",
            self._repository.name,
            reason,
            self.instance,
        )
        self._changes.begin_again(after=latest)

    def _claim(self, own: HubWriter, *, parent: str) -> None:
        """Add a file without rows, by which an earlier server learns that it was replaced."""
        batch = own.batch + 1
        self._repository.commit(
            f"{self.instance}: restored",
            added=(self._file(own, batch).path, event_files.encode((), batch, is_complete=True)),
            parent=parent,
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
            _retried(partial(self._repository.commit, message, added=(path, content)))
            self._changes.saved(writer, batch, changes)
            count += len(changes)
        if not self._is_confirmed:
            self._own_chain(self._repository.snapshot())
            self._is_confirmed = True
        return count

    def _next(self) -> ChangeSet:
        return self._changes.next(max_rows=MAX_ROWS, max_preview_bytes=MAX_PREVIEW_BYTES)

    def roll_up(self, *, rewrite: bool, go_on: Callable[[], bool] = lambda: True) -> int:
        """Roll up files; return how many commits that took. Everything was saved before.

        Args:
            rewrite: Also write files again that have previews which were deleted since.
            go_on: Called between steps; may `save`, and returns whether to go on.

        Raises:
            PublicRepository: The repository is public now.
            ServerReplaced: Another server was restored from this one's files.
        """
        commits = 0
        while _retried(lambda: self._roll_up_once(rewrite=rewrite, go_on=go_on)):
            commits += 1
        return commits

    def write_card(self, moment: str) -> None:
        """Bring this server's line of the dataset card up to date."""
        _retried(lambda: self._write_card(moment))

    def squash(self) -> None:
        """Delete the history of commits, and with it content that no file has any more.

        No change may be saved during that: the hub is not known to keep a commit that it gets then.
        """
        self._repository.squash()

    def _own_chain(self, snapshot: Snapshot) -> Chain:
        """The files of this server's history.

        Raises:
            ServerReplaced: Another server was restored from them.
        """
        files, own = layout.parse(snapshot.paths), self._changes.current_writer()
        if self._is_replaced(files, own):
            raise ServerReplaced(
                f"Another server was started as '{self.instance}' and saves in "
                f"{self._repository.name}. What this one saves is kept there, and is not "
                "restored any more. Stop this one; or stop the other one, and start this one again."
            )
        return layout.chain(files, self.instance, own.history)

    def _is_replaced(self, files: Sequence[BatchFile], own: HubWriter) -> bool:
        """Whether another server began a later history, or was restored from this one's files."""
        others = (
            each
            for each in files
            if (each.instance, each.history) == (self.instance, own.history)
            and each.writer != own.writer
        )
        latest = layout.latest_history(files, self.instance) or ""
        return latest > own.history or any(each.generation >= own.generation for each in others)

    def _roll_up_once(self, *, rewrite: bool, go_on: Callable[[], bool]) -> bool:
        snapshot = self._repository.snapshot()
        chain, own = self._own_chain(snapshot), self._changes.current_writer()
        self.diverged = len(chain.diverged)
        files = chain.files
        runs = layout.roll_ups(files)
        if not runs and rewrite:
            obsolete = self._changes.obsolete()
            runs = [
                [each]
                for each in files
                if any(each.first <= batch <= each.last for batch in obsolete)
            ]
        if not runs:
            return False
        parts = runs[0]
        # Of the generation of its last part: the chain is found by generations.
        whole = replace(parts[-1], first=parts[0].first)
        with ExitStack() as stack:
            paths = []
            for part in reversed(parts):
                if not go_on():
                    return False
                downloaded = self._repository.downloaded(part.path, snapshot.commit)
                paths.append(stack.enter_context(downloaded))
            if self._changes.current_writer().writer != own.writer:
                raise HubConflict("Another history began during a roll-up.")
            target = paths[0].with_name("whole.parquet")
            obsolete = self._changes.obsolete()  # those of the same moment as the previews
            previews = self._changes.current_previews(whole.first, whole.last)
            event_files.merge(paths, previews, target)
            _retried(lambda: self._replace(parts, whole, target))
        self._changes.rewritten(own, whole.first, whole.last, obsolete)
        return True

    def _replace(self, parts: Sequence[BatchFile], whole: BatchFile, target: Path) -> None:
        """Replace files that follow each other by one with the last state of each row.

        Raises:
            HubConflict: They are not all there any more, or another commit came first.
            ServerReplaced: Another server was restored from them since.
        """
        snapshot = self._repository.snapshot()  # changes were saved since the files were read
        self._own_chain(snapshot)
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


def _is_cut(files: Sequence[BatchFile], own: HubWriter) -> bool:
    """Whether an earlier server has rolled up batches of before and after the restore."""
    return any(
        (each.instance, each.history) == (own.instance, own.history)
        and each.writer != own.writer
        and each.first <= own.batch < each.last
        for each in files
    )


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
