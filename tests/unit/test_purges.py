"""Purges of many previews: interrupted ones, errors, and decisions that are made during them."""

import multiprocessing
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nsfw_app.errors import StorageError, StorageErrorKind
from nsfw_app.records import Label, LogFilter
from nsfw_app.rules.retention import Keep, Retention
from nsfw_app.store import Store, purges
from nsfw_app.store.previews import ASIDE, PreviewFiles
from tests.support.sample_records import add_image, answer, person

IMAGES = [f"{number:064x}" for number in range(12)]
KILLED = 9
ANN = person("ann")


def opened(directory: Path, keep: Keep = Keep.NONE) -> Store:
    """The store in a directory; by default it keeps no previews, and the queue is empty."""
    return Store(
        directory / "review.db",
        previews_dir=directory / "images",
        journal_mode="wal",
        retention=Retention(keep),
    )


def filled(directory: Path) -> None:
    """Images with previews, which `opened` does not keep."""
    store = opened(directory, Keep.ALL)
    for image in IMAGES:
        add_image(store, sha256=image)
    assert left(directory) == (len(IMAGES), len(IMAGES))


def left(directory: Path) -> tuple[int, int]:
    """How many preview files there are, in any state, and how many placeholders."""
    files = [path for path in (directory / "images").rglob("*") if path.is_file()]
    rows = opened(directory)._connections.row(
        "select count(*) from images where placeholder <> x''"
    )
    return len(files), rows[0]


def purge_until_killed(directory: Path, at: str) -> None:
    """Run a purge that ends without notice at a step of its second transaction."""
    purges.DELETED_AT_ONCE = 4
    calls = []

    def end(*_: object) -> None:
        calls.append(1)
        if len(calls) == 2:
            os._exit(KILLED)

    if at == "before the commit":
        forget = purges._forget
        purges._forget = lambda *args: (end(), forget(*args))[1]  # type: ignore[assignment]
    else:
        delete = PreviewFiles.delete_set_aside
        PreviewFiles.delete_set_aside = (  # type: ignore[method-assign]
            lambda *args: (end(), delete(*args))[1]
        )
    opened(directory).purges.run(actor="test")


@pytest.mark.parametrize("at", ["before the commit", "after the commit"])
def test_a_killed_purge_is_finished_by_the_next_one(tmp_path: Path, at: str) -> None:
    """No file and no placeholder is left behind, and none is counted twice."""
    filled(tmp_path)
    process = multiprocessing.get_context("spawn").Process(
        target=purge_until_killed, args=(tmp_path, at)
    )
    process.start()
    process.join(60)
    assert process.exitcode == KILLED
    aside = len(list((tmp_path / "images").rglob(f"*{ASIDE}")))
    files, placeholders = left(tmp_path)
    assert aside == 4
    assert files - aside == len(IMAGES) - 8
    assert placeholders == len(IMAGES) - (4 if at == "before the commit" else 8)
    left_over = 4 if at == "after the commit" else 8
    assert opened(tmp_path).purges.run(actor="test") == left_over
    assert left(tmp_path) == (0, 0)
    assert opened(tmp_path).purges.run(actor="test") == 0


def test_an_image_that_came_again_keeps_its_preview(tmp_path: Path) -> None:
    """Though a killed purge had set the earlier file aside."""
    filled(tmp_path)
    store = opened(tmp_path, Keep.ALL)
    path = store.previews._path(IMAGES[0])
    path.rename(path.with_suffix(ASIDE))
    add_image(store, sha256=IMAGES[0])
    store.purges.run(actor="test")
    assert left(tmp_path) == (len(IMAGES), len(IMAGES))


def test_an_image_that_is_needed_again_keeps_its_preview(tmp_path: Path) -> None:
    """It was set aside by a purge that was killed before its commit."""
    filled(tmp_path)
    store = opened(tmp_path, Keep.ALL)
    for image in IMAGES[:3]:
        path = store.previews._path(image)
        path.rename(path.with_suffix(ASIDE))
    store.purges.run(actor="test")
    assert sorted(store.previews.all()) == IMAGES
    assert left(tmp_path) == (len(IMAGES), len(IMAGES))


def test_a_transaction_that_fails_puts_the_previews_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is deleted."""
    filled(tmp_path)

    def fail(*_: object) -> int:
        raise StorageError(StorageErrorKind.FULL)

    store = opened(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(purges, "_forget", fail)
        with pytest.raises(StorageError):
            store.purges.run(actor="test")
    assert left(tmp_path) == (len(IMAGES), len(IMAGES))
    assert store.purges.run(actor="test") == len(IMAGES)


def test_a_decision_during_a_purge_keeps_its_preview(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that was made after the purge read which decisions are recent."""
    store = opened(tmp_path, Keep.DISAGREEMENTS)
    for image in IMAGES[:2]:
        add_image(store, sha256=image)
    with store._connections.writing() as db:  # so old that nothing else keeps them
        db.execute("update uploads set uploaded_at = '2026-01-01T00:00:00.000Z'")
    monkeypatch.setattr(store.purges, "retention", Retention(Keep.DISAGREEMENTS, days=10_000))

    def listed() -> Iterator[str]:
        store.views.add(IMAGES[0], "ann")
        store.log.add(answer("n", Label.NSFW, image_sha256=IMAGES[0]), ANN)
        yield from IMAGES[:2]

    monkeypatch.setattr(store.previews, "all", listed)
    assert store.purges.run(actor="test") == 1
    assert [store.previews.has(image) for image in IMAGES[:2]] == [True, False]


def test_decisions_go_on_during_a_purge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are recorded while a thread deletes the previews of other images."""
    monkeypatch.setattr(purges, "DELETED_AT_ONCE", 1)
    store = opened(tmp_path, Keep.DISAGREEMENTS)
    for image in IMAGES:
        add_image(store, sha256=image)
    with store._connections.writing() as db:
        db.execute("update uploads set uploaded_at = '2026-01-01T00:00:00.000Z'")
    decided, others = IMAGES[:4], IMAGES[4:]
    for image in decided:
        store.views.add(image, "ann")
    deleted: list[int] = []
    thread = threading.Thread(target=lambda: deleted.append(store.purges.tidy(others)))
    thread.start()
    for number, image in enumerate(decided):
        store.log.add(answer(f"n{number}", Label.NSFW, image_sha256=image), ANN)
    thread.join(30)
    assert deleted == [len(others)]
    assert store.log.size(LogFilter()) == len(decided)
    assert [image for image in IMAGES if store.previews.has(image)] == decided
