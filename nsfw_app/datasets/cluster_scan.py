"""A scan by the workers of a cluster: assigns units, collects counts, survives lost workers.

- It is used as `Scanner` is, and holds no rows: workers write the part files.
- It knows nothing of how workers are reached: see `Workers`.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nsfw_app.concurrency import read_ahead
from nsfw_app.dataset_errors import ClusterError, SourceError, UnitsFailed
from nsfw_app.datasets import files
from nsfw_app.datasets.cluster_worker import Failure, FailureKind, UnitResult
from nsfw_app.datasets.earlier_parts import EarlierParts, Origin
from nsfw_app.datasets.entries import Entry, Part, Unit
from nsfw_app.datasets.left_out import LeftOutFiles
from nsfw_app.datasets.locations import redacted
from nsfw_app.datasets.part_files import PartFiles
from nsfw_app.datasets.scan import DonePart, Redo
from nsfw_app.datasets.scan_progress import ScanProgress
from nsfw_app.datasets.unit_assignments import Assignments
from nsfw_app.datasets.units import find_units
from nsfw_app.errors import ImageError

TICK_S = 0.2  # between two looks at Ctrl+C and the nodes
UNITS_AHEAD = 16  # listed while others are scanned
WAIT_S = 600.0  # for a node, where none is left
MAX_PROBES = 100  # images by which workers check that they see the same sources
MAX_TRIED = 1_000  # entries of a source, to find one of them
MAX_NAMED = 3  # units that an error names
CONTINUE = "What is written is complete; run the same command again to scan the rest."


@dataclass(frozen=True, slots=True)
class UnitEnded:
    """A worker has ended a unit."""

    worker: str
    number: int
    result: UnitResult | Failure


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker does not run any more."""

    worker: str
    reason: str


Event = UnitEnded | WorkerLost


class Workers(Protocol):
    """The workers of a cluster, by name. A new worker on the same node has another name."""

    def update(self) -> None:
        """Start workers on nodes that have joined. Called often; never waits."""
        ...

    def ready(self) -> Sequence[str]:
        """The workers that scan units."""
        ...

    def send(self, worker: str, number: int, unit: Unit) -> None:
        """Have a worker scan a unit."""
        ...

    def events(self, timeout_s: float) -> Sequence[Event]:
        """What has happened; waits until something has."""
        ...

    def dismiss(self, worker: str, reason: str) -> None:
        """End a worker that cannot scan units. No other is started on its node."""
        ...

    def progress(self) -> Mapping[int, ScanProgress]:
        """Counts of units that are being scanned, by number, as far as they are known."""
        ...

    def stop(self) -> None:
        """Have all workers take no further image."""
        ...

    def problem(self) -> str:
        """Why the last worker failed or was lost, or ''."""
        ...


class ClusterScanner:
    """Scans units with the workers of a cluster. See `Scanner` for attributes and methods.

    Args:
        workers: Each has loaded the model of the scan.
        output: Where they write part files.
        clock: Seconds.
        redo: Which rows of existing part files are made again.
    """

    def __init__(
        self,
        workers: Workers,
        output: PartFiles,
        clock: Callable[[], float] = time.monotonic,
        *,
        redo: frozenset[Redo] = frozenset(),
    ) -> None:
        self.progress = ScanProgress()
        self.left_out = LeftOutFiles()
        self.unopened: list[str] = []
        self._workers = workers
        self._output = output
        self._clock = clock
        self._redo = redo
        self._finished = ScanProgress()  # counts of finished units
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Assign no further unit; `scan` ends when the images in flight are done."""
        self._stopped.set()

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def scan(self, units: Iterable[Unit]) -> Iterator[DonePart]:
        """Scan units; the rows of a part are on disk when it is returned.

        Raises:
            ClusterError: No worker is left, or some units could not be scanned.
            SourceError: While units are listed.
            ImagesLost: Most files of a unit are gone, and `Redo.LOST` is not asked for.
        """
        with closing(read_ahead(self._distinct(units), count=UNITS_AHEAD)) as ahead:
            assignments = Assignments(ahead)
            last_seen, is_stopping = self._clock(), False
            while True:
                self._workers.update()
                if self.is_stopped and not is_stopping:
                    self._workers.stop()
                    is_stopping = True
                elif not self.is_stopped:
                    self._assign(assignments)
                if not assignments.in_flight and (is_stopping or assignments.is_done):
                    break
                if assignments.in_flight or self._workers.ready():
                    last_seen = self._clock()
                elif self._clock() - last_seen > WAIT_S:
                    raise ClusterError(_none_left(self._workers.problem()))
                for event in self._workers.events(TICK_S):
                    yield from self._handle(event, assignments)
                self._count()
        self._count()
        if self.is_stopped:
            return
        if assignments.failed:
            raise UnitsFailed(_failed(assignments))
        self.progress.complete()

    def _distinct(self, units: Iterable[Unit]) -> Iterator[Unit]:
        """Units without those that were named twice.

        The rows that a group of files replaces are moved before it is scanned: the command knows
        the parts of all groups, and a worker does not. They are unfinished ones of the group, which
        a worker and later runs take from there. Those of containers are the workers'.
        """
        earlier, seen = EarlierParts(self._output, Origin.FILES), set[str]()
        for unit in units:
            part = Part.of(unit.entries)
            if part.key in seen:
                continue
            seen.add(part.key)
            if not unit.is_container and self._output.complete(part) is None:
                replaced = earlier.with_same_images(part, seen)
                if Redo.LOST not in self._redo:
                    earlier.check(part, replaced)
                if rows := earlier.rows(part, replaced):
                    self._output.write_unfinished(part.key, rows)
                earlier.drop(part, replaced)
            yield unit

    def _assign(self, assignments: Assignments) -> None:
        """Give each worker a unit, then each a second one."""
        waiting = self._workers.ready()
        while waiting:
            waiting = [worker for worker in waiting if self._send(worker, assignments)]

    def _send(self, worker: str, assignments: Assignments) -> bool:
        assigned = assignments.next(worker)
        if assigned is None:
            return False
        self._workers.send(worker, assigned.number, assigned.unit)
        return True

    def _handle(self, event: Event, assignments: Assignments) -> Iterator[DonePart]:
        """Note an event; the parts that are done by it."""
        if isinstance(event, WorkerLost):
            assignments.lose(event.worker, event.reason)
            return
        result = event.result
        if isinstance(result, Failure):
            if result.kind is FailureKind.UNIT:
                assignments.fail(event.worker, event.number, result.message)
            else:  # another worker may have a disk that is not full
                assignments.withdraw(event.worker)
                self._workers.dismiss(event.worker, result.message)
            return
        if not assignments.finish(event.worker, event.number):
            return
        self._finished.count([self._finished.snapshot(), result.progress])
        self.left_out.merge(result.left_out)
        self.unopened += result.unopened
        yield from result.parts

    def _count(self) -> None:
        self.progress.count([self._finished, *self._workers.progress().values()])


def probes(sources: Sequence[str], *, excluded: Path) -> Sequence[Entry]:
    """The first file of each source that is there, of the first sources if there are many.

    Of images in a container it is the container. A source whose first `MAX_TRIED` entries are
    missing here has none.

    Raises:
        SourceError: See `find_units`.
    """
    found = []
    for source in sources[:MAX_PROBES]:
        units = find_units([source], left_out=LeftOutFiles(), excluded=excluded)
        entries = (entry for unit in units for entry in unit.entries)
        tried = map(_probe, itertools.islice(entries, MAX_TRIED))
        found += list(itertools.islice(filter(None, tried), 1))
    return found


def _probe(entry: Entry) -> Entry | None:
    """The file of an entry; None where it cannot be read here."""
    if entry.problem:
        return None
    try:
        size = files.status(entry.file).size
    except (ImageError, SourceError):
        return None
    return Entry(redacted(entry.file), entry.file, size=size)


def _none_left(problem: str) -> str:
    reason = f" The last problem: {problem}" if problem else ""
    return f"The cluster has had no worker for {WAIT_S / 60:.0f} minutes.{reason} {CONTINUE}"


def _failed(assignments: Assignments) -> str:
    failed = assignments.failed
    named = "; ".join(f"{each.name} ({each.reason})" for each in failed[:MAX_NAMED])
    more = "; ..." if len(failed) > MAX_NAMED else ""
    return (
        f"{len(failed):,} of the scan's units could not be scanned, each tried "
        f"{failed[0].tries} times: {named}{more}. All others are written. Look at the logs of "
        "the cluster; the same command again tries them again."
    )
