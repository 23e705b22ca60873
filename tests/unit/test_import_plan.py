"""An import of many labels leaves the database to others, and takes what they add into account."""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from nsfw_app.errors import NotFound
from nsfw_app.records import Label, LogFilter, Reason
from nsfw_app.store import Store, import_plan
from nsfw_app.store.label_imports import Recorded
from tests.support.image_files import encoded
from tests.support.labeled_store import add_labeled, open_labeled_store, pattern
from tests.support.sample_records import answer, person

HASHES = [f"{'f' * 60}{number:04x}" for number in range(100)]  # after those of images


class Watched(Mapping[str, Label]):
    """Labels that call a function when the one at a position is read."""

    def __init__(self, labels: Mapping[str, Label], at: int, call: Callable[[], object]) -> None:
        self._labels, self._at, self._call = labels, at, call
        self.read = 0

    def __getitem__(self, image: str) -> Label:
        self.read += 1
        if self.read == self._at:
            self._call()
        return self._labels[image]

    def __iter__(self) -> Iterator[str]:
        return iter(self._labels)

    def __len__(self) -> int:
        return len(self._labels)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store whose imports look up a few labels at once."""
    monkeypatch.setattr(import_plan, "AT_ONCE", 10)
    return open_labeled_store(tmp_path)


@pytest.fixture
def other(tmp_path: Path, store: Store) -> Store:
    """The store of another process."""
    assert store
    return open_labeled_store(tmp_path)


def record(store: Store, labels: Mapping[str, Label], source: str = "lab") -> Recorded:
    """Record the labels of a source."""
    return store.label_imports.record(labels, source, threshold_of=lambda _: 0.5, actor="operator")


def write_at_once(path: Path) -> None:
    """Write to the database without waiting for a lock."""
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as db:
        db.execute("begin immediate")
        db.execute(
            "insert into audit (at, actor, action, subject, details) "
            "values ('2026-01-01T00:00:00.000Z', 'ann', 'queue', 'x', '{}')"
        )
        db.execute("commit")


def test_others_write_while_labels_are_read(store: Store, tmp_path: Path) -> None:
    """At its beginning, in its middle, at its end: no one waits for an import."""
    for source, at in (("a", 1), ("b", 55), ("c", 100)):
        labels = Watched(
            dict.fromkeys(HASHES, Label.NSFW), at, partial(write_at_once, tmp_path / "review.db")
        )
        assert record(store, labels, source) == Recorded(added=100)
        assert labels.read >= at
    subjects = [(entry.actor, entry.action) for entry in store.audit.entries()]
    assert subjects == [("ann", "queue"), ("operator", "import")] * 3
    assert store.label_imports.unstored() == dict.fromkeys(HASHES, Label.NSFW)


def test_an_interrupted_import_records_nothing(store: Store) -> None:
    """Wherever it stops; the next one is complete."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    for at in (1, 55, 100):
        with pytest.raises(KeyboardInterrupt):
            record(store, Watched(dict.fromkeys(HASHES, Label.NSFW), at, interrupt))
        assert store.label_imports.unstored() == {}
    assert list(store.audit.entries()) == []
    assert record(store, dict.fromkeys(HASHES, Label.NSFW)) == Recorded(added=100)


def test_an_image_that_is_stored_during_an_import_is_decided_on(store: Store, other: Store) -> None:
    """Its label is no longer that of an image that is not stored."""
    image = hashlib.sha256(encoded(pattern(1), "JPEG", quality=95)).hexdigest()
    given = {image: Label.NORMAL} | dict.fromkeys(HASHES, Label.NSFW)
    labels = Watched(given, 101, lambda: add_labeled(other, pattern(1), None))
    assert record(store, labels) == Recorded(added=101)
    (decision,) = store.log.rows(LogFilter())
    assert (decision.image_sha256, decision.reviewer_label) == (image, "normal")
    assert image not in store.label_imports.unstored()
    assert store.consistency.check() == []


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_label_that_the_source_gets_during_an_import_is_replaced(
    is_stored: bool, store: Store, other: Store
) -> None:
    """The import that ends last counts, also where its label stood when it began."""
    image = add_labeled(store, pattern(1), None) if is_stored else HASHES[0]
    given = dict.fromkeys([image, *HASHES], Label.NSFW)
    record(store, given)
    labels = Watched(given, len(given), lambda: record(other, {image: Label.NORMAL}))
    assert record(store, labels) == Recorded(added=1, unchanged=len(given) - 1)
    if is_stored:
        assert [each.label for each in store.settled_labels.all()] == ["nsfw"]
    else:
        assert store.label_imports.unstored()[image] is Label.NSFW
    assert store.consistency.check() == []


def test_an_image_that_is_restricted_during_an_import_has_no_label(
    store: Store, other: Store
) -> None:
    """Of an image that shows a minor nothing is recorded, until the restriction is lifted."""
    image = add_labeled(store, pattern(1), None)
    made = answer("minor", Label.NSFW, image_sha256=image, reasons=(Reason.MINOR_PRESENT,))
    labels = Watched(
        {image: Label.NSFW} | dict.fromkeys(HASHES, Label.NSFW),
        101,
        lambda: other.log.add(made, person("cid", owner="ann")),
    )
    assert record(store, labels) == Recorded(added=100, restricted=1)
    assert [each.reviewer for each in store.log.rows(LogFilter())] == ["cid"]
    labels = Watched(dict(labels), 101, lambda: other.restrictions.lift(image, actor="ann"))
    assert record(store, labels) == Recorded(added=1, unchanged=100)


def test_a_failed_transaction_leaves_room_for_the_next_import(store: Store) -> None:
    """The plan of the one that failed is deleted then."""
    image = add_labeled(store, pattern(1), None)

    def failing(_: str) -> float:
        raise NotFound("There is no policy.")

    labels = {image: Label.NORMAL} | dict.fromkeys(HASHES, Label.NSFW)
    with pytest.raises(NotFound):
        store.label_imports.record(labels, "lab", threshold_of=failing, actor="operator")
    assert store.label_imports.unstored() == {}
    assert record(store, labels) == Recorded(added=101)
