"""Progress of a scan: counts, rate, share, time left.

- One thread updates it, others read it: it is shown while an image takes minutes, too.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from nsfw_app.datasets.entries import Unit

WINDOW_S = 60.0  # the rate is that of the last minute
SAMPLES = 120  # in this time
COUNTS = ("scanned", "kept", "duplicates", "changed", "scanned_bytes", "kept_bytes")
MAX_SURPLUS = 1.05  # of the bytes of archives: those of their members, which are compressed


@dataclass(slots=True)
class ScanProgress:
    """Counts of one run of a scan.

    Attributes:
        scanned: Images that got a row in this run.
        kept: Images whose row is of an earlier run.
        duplicates: Of `scanned`, those whose bytes were known.
        changed: Images whose bytes are not those of their earlier row; found with `--verify`.
        errors: Rows with an error by kind, of earlier runs too.
        scanned_bytes, kept_bytes: Sizes of these images, as far as they are known.
        total_bytes: Of all sources; None until they have been listed.
    """

    clock: Callable[[], float] = time.monotonic
    scanned: int = 0
    kept: int = 0
    duplicates: int = 0
    changed: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    scanned_bytes: int = 0
    kept_bytes: int = 0
    total_bytes: int | None = None
    _samples: deque[tuple[float, int, int]] = field(default_factory=deque)

    @property
    def images(self) -> int:
        """Images that have a row."""
        return self.scanned + self.kept

    @property
    def share(self) -> float | None:
        """Share of the bytes that are done, in [0, 1]; None where it is not known.

        It is unknown until the sources have been listed, and for tables of paths, whose size says
        nothing about that of the images.
        """
        done = self.scanned_bytes + self.kept_bytes
        if not self.total_bytes or done > MAX_SURPLUS * self.total_bytes:
            return None
        return min(1.0, done / self.total_bytes)

    def complete(self) -> None:
        """All images have a row: what is done is the total, which is an estimate until then."""
        self.total_bytes = self.scanned_bytes + self.kept_bytes

    def sample(self) -> None:
        """Note counts and time for the rate. Call it regularly, in one thread."""
        now = self.clock()
        if not self._samples or now - self._samples[-1][0] >= WINDOW_S / SAMPLES:
            self._samples.append((now, self.scanned, self.scanned_bytes))
            while now - self._samples[0][0] > WINDOW_S:
                self._samples.popleft()

    @property
    def images_per_s(self) -> float:
        """Images scanned a second."""
        return self._rate(1, self.scanned)

    @property
    def seconds_left(self) -> float | None:
        """Time until all is done at the present rate; None where it is not known."""
        bytes_per_s = self._rate(2, self.scanned_bytes)
        if self.share is None or self.total_bytes is None or not bytes_per_s:
            return None
        return max(0, self.total_bytes - self.scanned_bytes - self.kept_bytes) / bytes_per_s

    def snapshot(self) -> "ScanProgress":
        """The counts as they are now, for another process. Other threads may go on counting."""
        # Copying a dict is one step, iterating over it is not.
        return replace(self, errors=Counter(dict(self.errors)), _samples=deque())

    def count(self, runs: Iterable["ScanProgress"]) -> None:
        """Set the counts to the sums of those of other runs: of the units of a cluster."""
        runs = list(runs)
        for name in COUNTS:
            setattr(self, name, sum(getattr(run, name) for run in runs))
        self.errors = sum((run.errors for run in runs), Counter())

    def json(self) -> dict[str, Any]:
        """The numbers as one JSON object."""
        left = self.seconds_left
        share = self.share
        return {
            "images": self.images,
            "scanned": self.scanned,
            "images_per_s": round(self.images_per_s, 2),
            "share": None if share is None else round(share, 4),
            "seconds_left": None if left is None else round(left),
            "errors": dict(self.errors),
        }

    def _rate(self, column: int, now: int) -> float:
        if not self._samples:
            return 0.0
        first = self._samples[0]
        elapsed = self.clock() - first[0]
        # Of a worker that was lost, images count that must be scanned again.
        return max(0, now - first[column]) / elapsed if elapsed > 0 else 0.0


def total_bytes(units: Iterable[Unit]) -> int:
    """The size of all units, as far as it is known."""
    return sum(entry.size or 0 for unit in units for entry in unit.entries)
