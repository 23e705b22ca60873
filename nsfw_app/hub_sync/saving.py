"""Saves what changed, one commit with one file for each batch, and rolls up files of earlier ones.

- A batch is committed after the commit that was listed last, and listed before its changes are
  forgotten. Where the response to a commit was lost, the next batch has the same rows again: of a
  row that is in several files the last one counts.
- A roll-up deletes its parts and adds their successor in one commit: readers find each row once.
- What a roll-up read must still be there when it commits; otherwise it reads again. Changes are
  saved between its steps, in the same thread, and never while it merges and commits.
- A server that was replaced by another one learns it from the same list.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from nsfw_app.dataset_errors import HubConflict, RollUpInterrupted, ServerReplaced
from nsfw_app.hub_sync import card, event_files, layout
from nsfw_app.hub_sync.layout import BatchFile, Chain
from nsfw_app.hub_sync.repository import CARD, HubRepository, Snapshot
from nsfw_app.store import Store
from nsfw_app.store.hub_changes import ChangeSet, HubWriter

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_ROWS = 20_000  # of a file that one commit adds
MAX_PREVIEW_BYTES = 100_000_000
MAX_COMMITS = 30  # at once: the hub allows about two a minute, and saves need some
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
        self._listed: Snapshot | None = None  # what was listed last; None where it may be outdated
        self._changes.start(repository.name, instance, previews=previews)

    @property
    def pending(self) -> int:
        """How many rows are not saved yet."""
        return self._changes.pending()

    def prepare(self) -> None:
        """Create the repository if it is missing, and see that its files continue this database.

        - A database that went back to an earlier state, such as one that Litestream restored,
          begins another history: the files that it saved after that state have other rows. So does
          one of which files are missing: the others alone cannot be restored.
        - One that was restored from the repository adds a file without rows, by which an earlier
          server learns that it was replaced.
        - Of several servers of one name, the one that was started last goes on: where another one
          was restored from the same files before, it begins another history.

        Raises:
            PublicRepository: The repository is public.
            ServerReplaced: Another server was started since this one first tried.
        """
        is_first, self._is_started = not self._is_started, True  # the start counts, not its success
        self._repository.prepare()
        _retried(partial(self._continue_history, is_first=is_first))

    def _continue_history(self, *, is_first: bool) -> None:
        snapshot, own = self._repository.snapshot(), self._changes.current_writer()
        files = layout.parse(snapshot.paths)
        is_replaced = self._is_replaced(files, own)
        if is_replaced and not is_first:
            raise self._replaced()
        if is_replaced or any(_is_ahead(each, own) for each in files):
            reason = "has later files than this database"
        elif not layout.covers(files, self.instance, own.history, own.batch):
            reason = "lacks files of this database"
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
        self._begin_again(files)

    def _begin_again(self, files: Sequence[BatchFile]) -> None:
        """Save all rows again, in a history that is later than those of these files."""
        self._changes.begin_again(after=layout.latest_history(files, self.instance) or "")

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
        count = conflicts = 0
        while (noted := self._next()).changes:
            writer = noted.writer or self._changes.current_writer()
            file = self._file(writer, writer.batch + 1)
            snapshot = self._latest()
            self._listed = None
            if file.path in snapshot.paths:
                self._go_on_after(file, writer, snapshot)
                continue
            content = event_files.encode(noted.changes, file.first, is_complete=noted.is_complete)
            message = f"{self.instance}: {len(noted.changes)} rows"
            try:
                self._repository.commit(message, added=(file.path, content), parent=snapshot.commit)
            except HubConflict:  # of another server, or of one of ours whose response was lost
                conflicts += 1
                if conflicts == ATTEMPTS:
                    raise
                continue
            listed = self._repository.snapshot()
            if file.path not in listed.paths:
                raise HubConflict(f"{self._repository.name} lost a commit. It is made again.")
            self._changes.saved(writer, file.first, noted.changes)
            self._listed = listed
            count += len(noted.changes)
            if noted.is_complete:
                break
        if self._listed is not None:
            self._own_chain(self._listed)
        return count

    def _latest(self) -> Snapshot:
        """The latest commit; the one that was listed last, where no other server commits."""
        listed = self._listed
        if listed is None or any(
            each.instance != self.instance for each in layout.parse(listed.paths)
        ):
            return self._repository.snapshot()
        return listed

    def _go_on_after(self, file: BatchFile, writer: HubWriter, snapshot: Snapshot) -> None:
        """Use up the number of a batch whose file is there: the response to its commit was lost.

        All of its rows are still noted then. If not, the database went back to the state before
        that save, and begins another history.
        """
        with self._repository.downloaded(file.path, snapshot.commit) as path:
            is_noted = self._changes.are_noted(event_files.keys(path))
        if is_noted:
            self._changes.skip_batch(writer)
        else:
            log.warning("%s has a later save of this database.", self._repository.name)
            self._begin_again(layout.parse(snapshot.paths))

    def _next(self) -> ChangeSet:
        return self._changes.next(max_rows=MAX_ROWS, max_preview_bytes=MAX_PREVIEW_BYTES)

    def roll_up(self, *, rewrite: bool, go_on: Callable[[], bool] = lambda: True) -> bool:
        """Roll up files. Everything was saved before.

        Args:
            rewrite: Also write files again that have previews which were deleted since.
            go_on: Called between steps; may `save`, and returns whether to go on.

        Returns:
            Whether nothing is left to do; not more than `MAX_COMMITS` are made at once.

        Raises:
            PublicRepository: The repository is public now.
            ServerReplaced: Another server was restored from this one's files.
        """
        commits = 0
        try:
            while _retried(partial(self._roll_up_next, go_on)):
                commits += 1
                if commits == MAX_COMMITS:
                    return False
            for batch in self._changes.obsolete() if rewrite else ():
                if commits == MAX_COMMITS or not go_on():
                    return False
                commits += _retried(partial(self._rewrite, batch, go_on))
        except RollUpInterrupted:
            return False
        return True

    def write_card(self, moment: str) -> None:
        """Bring this server's line of the dataset card up to date."""
        _retried(lambda: self._write_card(moment))

    def squash(self) -> None:
        """Delete the history of commits, and with it content that no file has any more.

        No change may be saved during that: the hub is not known to keep a commit that it gets then.
        """
        self._listed = None
        self._repository.squash()

    def _own_chain(self, snapshot: Snapshot) -> Chain:
        """The files of this server's history.

        Raises:
            ServerReplaced: Another server was restored from them.
        """
        files, own = layout.parse(snapshot.paths), self._changes.current_writer()
        if self._is_replaced(files, own):
            raise self._replaced()
        return layout.chain(files, self.instance, own.history)

    def _replaced(self) -> ServerReplaced:
        return ServerReplaced(
            f"Another server was started as '{self.instance}' and saves in "
            f"{self._repository.name}. What this one saves is not restored any more. Stop this "
            "one; or stop the other one, and start this one again."
        )

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

    def _roll_up_next(self, go_on: Callable[[], bool]) -> bool:
        """Roll up the first run of files that is due; whether there was one."""
        snapshot = self._repository.snapshot()
        chain = self._own_chain(snapshot)
        self.diverged = len(chain.diverged)
        runs = layout.roll_ups(chain.files)
        if runs:
            self._merge(runs[0], snapshot, go_on)
        return bool(runs)

    def _rewrite(self, batch: int, go_on: Callable[[], bool]) -> bool:
        """Write the file with an obsolete batch again, unless that was done with another one."""
        if batch not in self._changes.obsolete():
            return False
        snapshot = self._repository.snapshot()
        found = [f for f in self._own_chain(snapshot).files if f.first <= batch <= f.last]
        if found:
            self._merge(found, snapshot, go_on)
        return bool(found)

    def _merge(
        self, parts: Sequence[BatchFile], snapshot: Snapshot, go_on: Callable[[], bool]
    ) -> None:
        """Replace files that follow each other by one, without previews that were deleted.

        Raises:
            RollUpInterrupted: Not all files were read.
        """
        own = self._changes.current_writer()
        # Of the generation of its last part: the chain is found by generations.
        whole = replace(parts[-1], first=parts[0].first)
        with ExitStack() as stack:
            paths = []
            for part in reversed(parts):
                if not go_on():
                    raise RollUpInterrupted
                downloaded = self._repository.downloaded(part.path, snapshot.commit)
                paths.append(stack.enter_context(downloaded))
            if self._changes.current_writer().writer != own.writer:
                raise HubConflict("Another history began during a roll-up.")
            target = paths[0].with_name("whole.parquet")
            obsolete = self._changes.obsolete()  # those of the same moment as the previews
            previews = self._changes.current_previews(whole.first, whole.last)
            event_files.merge(paths, previews, target)
            _retried(partial(self._replace, parts, whole, target))
        self._changes.rewritten(own, whole.first, whole.last, obsolete)

    def _replace(self, parts: Sequence[BatchFile], whole: BatchFile, target: Path) -> None:
        """Replace files that follow each other by one with the last state of each row.

        Raises:
            HubConflict: They are not all there any more, or another commit came first.
            ServerReplaced: Another server was restored from them since.
        """
        snapshot = self._repository.snapshot()  # changes were saved since the files were read
        self._own_chain(snapshot)
        self._listed = None
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
            self._listed = None
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
