"""Paths of the files in the repository, and which of them make up the state to restore.

    data/INSTANCE/HISTORY/FIRST-LAST-GENERATION-WRITER.parquet

- A file has the batches FIRST to LAST of a history. Each save is one batch.
- A history begins with a database that was not restored, and goes on in those restored from it. Its
  name begins with the time, so that the latest one is the last by name.
- WRITER is another one for each database file: two that save as the same instance never write the
  same path. GENERATION is one more in each database that was restored: where a server goes on
  saving after another one was restored from its files, the one that was restored counts.
- The first file of a database that was restored has no rows: it says that it goes on from here.
- In a file each row of the database occurs once.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

LAYOUT = 1  # raised when older versions could not read the files
PATH = re.compile(
    r"data/(?P<instance>[^/]+)/(?P<history>[^/]+)/"
    r"(?P<first>\d{10})-(?P<last>\d{10})-(?P<generation>\d{6})-(?P<writer>[0-9a-f]{8})\.parquet"
)
# Batches from which a file is of the next level, and how many of a level are rolled up into one:
# minutes into hours, hours into days, days into months.
LEVELS = ((60, 60), (60 * 24, 24), (60 * 24 * 30, 30))


@dataclass(frozen=True, slots=True, order=True)
class BatchFile:
    """A file of batches, by its path."""

    instance: str
    history: str
    first: int
    last: int
    generation: int
    writer: str

    @property
    def path(self) -> str:
        """Its path in the repository."""
        name = f"{self.first:010}-{self.last:010}-{self.generation:06}-{self.writer}.parquet"
        return f"data/{self.instance}/{self.history}/{name}"

    @property
    def level(self) -> int:
        """0 for a file of minutes, 1 of hours, 2 of days, 3 of months."""
        batches = self.last - self.first + 1
        return sum(batches >= size for size, _ in LEVELS)


@dataclass(frozen=True, slots=True)
class Chain:
    """The files of a history that follow each other, and those that are left out.

    - `diverged` are files of a server that went on saving after another one had been restored.
    - `incomplete` are the last files, if a server ended before it had saved all of its changes.
    """

    files: tuple[BatchFile, ...] = ()
    diverged: tuple[BatchFile, ...] = ()
    incomplete: tuple[BatchFile, ...] = ()

    @property
    def last(self) -> int:
        """The last batch."""
        return self.files[-1].last if self.files else 0

    @property
    def generation(self) -> int:
        """The latest generation."""
        return max((each.generation for each in (*self.files, *self.incomplete)), default=0)


def parse(paths: Iterable[str]) -> list[BatchFile]:
    """The files of batches among these paths."""
    found = []
    for path in paths:
        if match := PATH.fullmatch(path):
            first, last, generation = (int(match[name]) for name in ("first", "last", "generation"))
            found.append(
                BatchFile(
                    match["instance"], match["history"], first, last, generation, match["writer"]
                )
            )
    return found


def histories(files: Iterable[BatchFile], instance: str) -> list[str]:
    """The histories of an instance, the one that began last first."""
    return sorted({each.history for each in files if each.instance == instance}, reverse=True)


def latest_history(files: Iterable[BatchFile], instance: str) -> str | None:
    """The history of an instance that began last; None without any."""
    return next(iter(histories(files, instance)), None)


def chain(files: Iterable[BatchFile], instance: str, history: str) -> Chain:
    """The files of a history, in order.

    From the last one backwards: of the latest generation, and of the writer of the next file.
    """
    known = [each for each in files if (each.instance, each.history) == (instance, history)]
    chosen: list[BatchFile] = []
    remaining = known
    while remaining:
        writer = chosen[-1].writer if chosen else ""
        found = max(
            remaining,
            key=lambda each: (each.generation, each.last, each.writer == writer, -each.first),
        )
        chosen.append(found)
        remaining = [each for each in remaining if each.last < found.first]
    ordered = tuple(reversed(chosen))
    return Chain(ordered, tuple(sorted(set(known) - set(ordered))))


def covers(files: Iterable[BatchFile], instance: str, history: str, last: int) -> bool:
    """Whether files of a history have its batches up to one, and no later ones with them."""
    upto = [each for each in files if each.last <= last]
    expected = 1
    for file in chain(upto, instance, history).files:
        if file.first != expected:
            return False
        expected = file.last + 1
    return expected == last + 1


def roll_ups(files: Sequence[BatchFile]) -> list[list[BatchFile]]:
    """Runs of files in a chain that are rolled up into one each; the first level that has some."""
    for level, (_, count) in enumerate(LEVELS):
        groups = groupby(files, key=lambda each: each.level <= level)
        runs = [list(run) for small, run in groups if small]
        found = [run for run in runs if sum(each.level == level for each in run) >= count]
        if found:
            return found
    return []
