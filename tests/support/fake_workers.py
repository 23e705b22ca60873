"""Workers of a cluster in this process, which end units when they are asked for events."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from nsfw_app.datasets.cluster_scan import Event, UnitEnded, WorkerLost
from nsfw_app.datasets.cluster_worker import ScanJob, ScanWorker
from nsfw_app.datasets.entries import Unit
from nsfw_app.datasets.part_files import PartFiles
from nsfw_app.datasets.scan_progress import ScanProgress
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.review.detail import Models
from tests.support.fakes import LIMITS, FakeClassifier
from tests.support.scans import POLICY, CountingClassifier

TOKEN = "0123"


def job(output: Path) -> ScanJob:
    """The job of a scan into a directory, with the file by which workers know it."""
    (output / "images").mkdir(parents=True, exist_ok=True)
    (output / ".partial-marker").write_text(TOKEN)
    return ScanJob(
        output=output,
        marker=".partial-marker",
        token=TOKEN,
        probes=[],
        labels=("normal", "nsfw"),
        policy=POLICY,
        limits=LIMITS,
        visible_s=0,
    )


def worker(classifier: FakeClassifier | None = None) -> ScanWorker:
    """A worker with the fake classifier."""
    loaded = Loaded(classifier or CountingClassifier())
    return ScanWorker(lambda threads: Models(ModelLoader("fake", lambda: loaded)), 1)


def started(scan: ScanJob, classifier: FakeClassifier | None = None) -> ScanWorker:
    """A worker that is ready for units."""
    new = worker(classifier)
    new.load()
    assert new.begin(scan) is None
    return new


class FakeWorkers:
    """See `Workers`. A unit is scanned when events are asked for.

    Attributes:
        loses: Names of workers that are lost with their next unit.
        joins: Names of workers that join when a worker was lost.
        dismissed: Reasons by worker.
        calls: Workers and numbers, in the order in which they were sent.
        parts: Where they write.

    Args:
        scan: The job of all workers.
        names: Of the workers at the start.
        before: Called with each worker and number before a unit is scanned.
        classifier: Of the workers at the start; None for one of their own.
    """

    def __init__(
        self,
        scan: ScanJob,
        names: Sequence[str],
        before: Callable[[str, int], None] = lambda worker, number: None,
        classifier: FakeClassifier | None = None,
    ) -> None:
        self.loses: list[str] = []
        self.joins: list[str] = []
        self.dismissed: dict[str, str] = {}
        self.calls: list[tuple[str, int]] = []
        self.parts = PartFiles(scan.output, scan.labels)
        self._scan = scan
        self._before = before
        self._workers = {name: started(scan, classifier) for name in names}
        self._sent: list[tuple[str, int, Unit]] = []

    def update(self) -> None:
        """A worker joins if one was lost."""
        if self.joins and not self._workers:
            name = self.joins.pop()
            self._workers[name] = started(self._scan)

    def ready(self) -> Sequence[str]:
        """See `Workers.ready`."""
        return list(self._workers)

    def send(self, worker: str, number: int, unit: Unit) -> None:
        """See `Workers.send`."""
        self.calls.append((worker, number))
        self._sent.append((worker, number, unit))

    def events(self, timeout_s: float) -> Sequence[Event]:
        """The end of one unit, or the loss of its worker."""
        return list(self._next())

    def dismiss(self, worker: str, reason: str) -> None:
        """See `Workers.dismiss`."""
        self.dismissed[worker] = reason
        self._remove(worker)

    def progress(self) -> Mapping[int, ScanProgress]:
        """None: a unit ends within a call."""
        return {}

    def stop(self) -> None:
        """See `Workers.stop`."""
        for each in self._workers.values():
            each.stop()

    def problem(self) -> str:
        """See `Workers.problem`."""
        return "The power failed."

    def _next(self) -> Iterator[Event]:
        if not self._sent:
            return
        name, number, unit = self._sent.pop(0)
        if name in self.loses:
            self._remove(name)
            yield WorkerLost(name, "It ended.")
            return
        self._before(name, number)
        yield UnitEnded(name, number, self._workers[name].scan(number, unit))

    def _remove(self, name: str) -> None:
        del self._workers[name]
        self._sent = [sent for sent in self._sent if sent[0] != name]
