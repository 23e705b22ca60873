"""Progress of a scan: rate, share and time left."""

import pickle
from collections import Counter

import pytest

from nsfw_app.datasets.entries import Entry, Unit
from nsfw_app.datasets.scan_progress import ScanProgress, total_bytes


class Clock:
    """A clock that is set by hand."""

    now_s = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now_s


def test_rate_and_time_left_are_those_of_the_last_minute() -> None:
    """Rows of earlier runs count as done, and not for the rate."""
    clock = Clock()
    progress = ScanProgress(clock, kept=1_000, kept_bytes=1_000_000, total_bytes=3_000_000)
    for second in range(200):
        clock.now_s = second
        progress.sample()
        rate = 5 if second < 100 else 10
        progress.scanned += rate
        progress.scanned_bytes += rate * 1_000
    clock.now_s += 1
    assert progress.images == 2_500
    assert progress.images_per_s == pytest.approx(10, rel=0.02)
    assert progress.share == pytest.approx(2.5 / 3)
    assert progress.seconds_left == pytest.approx(50, rel=0.02)
    assert progress.json() == {
        "images": 2_500,
        "scanned": 1_500,
        "images_per_s": pytest.approx(10, rel=0.02),
        "share": 0.8333,
        "seconds_left": pytest.approx(50, abs=1),
        "errors": {},
    }


def test_what_is_not_known_is_none() -> None:
    """Before the sources are listed, without sizes, and for tables of paths."""
    progress = ScanProgress(Clock())
    progress.sample()
    assert (progress.share, progress.seconds_left, progress.images_per_s) == (None, None, 0)
    progress.total_bytes = 0
    assert progress.share is None
    progress.total_bytes, progress.scanned_bytes = 100, 5_000
    assert progress.share is None


def test_members_of_an_archive_may_be_larger_than_it() -> None:
    """A little more than all is all."""
    progress = ScanProgress(Clock(), scanned_bytes=102, total_bytes=100)
    assert progress.share == 1


def test_the_total_counts_files_and_containers() -> None:
    """A size that is not known counts as none."""
    units = [
        Unit([Entry("a", "a", size=3), Entry("b", "b")]),
        Unit([Entry("c.zip", "c.zip", size=5)], is_container=True),
    ]
    assert total_bytes(units) == 8


def test_counts_of_several_units_are_added() -> None:
    """A snapshot of each is a value that can be sent; a smaller sum is no negative rate."""
    clock = Clock()
    units = [
        ScanProgress(scanned=30, kept=2, scanned_bytes=300, errors=Counter(corrupt=1)),
        ScanProgress(scanned=10, duplicates=4, errors=Counter(corrupt=1, empty=2)),
    ]
    progress = ScanProgress(clock, total_bytes=600)
    progress.sample()
    progress.count(pickle.loads(pickle.dumps([unit.snapshot() for unit in units])))
    clock.now_s = 10
    assert (progress.scanned, progress.kept, progress.duplicates) == (40, 2, 4)
    assert progress.errors == {"corrupt": 2, "empty": 2}
    assert progress.share == 0.5
    assert progress.images_per_s == 4
    clock.now_s = 65
    progress.sample()
    progress.count(units[1:])  # a worker was lost
    assert progress.images_per_s == 0
