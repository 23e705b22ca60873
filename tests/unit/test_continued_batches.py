"""Review batches that were interrupted, are complete, or are filled by two commands at once."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest

from nsfw_app.datasets.review_batch import ReviewBatch
from nsfw_app.imaging import decode
from nsfw_app.records import Label
from nsfw_app.store import Store
from tests.support.arrivals import decide
from tests.support.commands import Run, run
from tests.support.fakes import image_bytes
from tests.unit.test_review_batch import MODEL, entries, scanned, source, store

__all__ = ["run", "scanned", "source", "store"]  # fixtures

ALLOWED = 6  # images that are kept for their score
SAMPLE = ("--sample", "--batch", "c", "--review")


@contextmanager
def killed_after(count: int) -> Iterator[None]:
    """The process ends in place of adding one more image, as nothing of that one is stored."""
    add, left = ReviewBatch._add, iter(range(count))

    def limited(self: ReviewBatch, *arguments: object) -> bool:
        if next(left, None) is None:
            raise SystemExit(137)
        return add(self, *arguments)  # type: ignore[arg-type]

    with patch.object(ReviewBatch, "_add", limited):
        yield


def uploads(store: Store) -> int:
    """How many images were put into batches, each time counted."""
    return int(store.log._connections.row("select count(*) as n from uploads")["n"])


def settle(store: Store, name: str, label: Label) -> None:
    """Let reviewers decide on the image with a name of `entries`: two where they contradict it."""
    red = int(name)
    is_nsfw = red / 255 >= 0.5
    for reviewer in ("ann", "bob")[: 1 + (is_nsfw is not (label is Label.NSFW))]:
        decide(store, decode.sha256(image_bytes(red)), label, reviewer, identity=MODEL)


@pytest.mark.parametrize("is_answered", [False, True])
def test_an_interrupted_batch_is_continued(
    run: Run, scanned: Path, store: Store, is_answered: bool
) -> None:
    """It ends with as many images as it was to have, waiting or settled; the sentence says it."""
    command = ("filter", scanned, "--batch", "c", "--review", "5")
    run("filter", scanned, "--batch", "other", "--review", "2")
    others = set(entries(store))
    with killed_after(3):
        assert run(*command).code == 137
    first = set(entries(store)) - others
    assert len(first) == 3
    if is_answered:
        settle(store, min(first), Label.NORMAL)
        assert len(entries(store)) == 4
    ended = run(*command)
    assert ended.code == 0
    assert (
        "5 images are in the review queue as batch c, 3 of them since an earlier command, chosen "
        "from 20; 2 others wait or are settled already" in ended.err
    )
    assert len(store.scan_batches.images("c")) == 5
    assert len(entries(store)) == 7 - is_answered
    assert uploads(store) == 7


@pytest.mark.parametrize("options", [(), ("--sample",)])
def test_a_complete_batch_stays_as_it_is(
    run: Run, scanned: Path, store: Store, options: tuple[str, ...]
) -> None:
    """Also asked for fewer images, and after answers; another name has more."""
    command = ("filter", scanned, "--batch", "c", *options, "--review")
    run(*command, "3")
    found, audited = entries(store), list(store.audit.entries())
    settle(store, min(found), Label.NORMAL)
    for size in ("3", "2"):
        ended = run(*command, size, "--decisions")
        assert ended.code == 0
        assert "Batch c has 3 images already" in ended.err
        assert "name another --batch" in ended.err
        assert "0 images:" not in ended.err
    assert uploads(store) == 3
    assert list(store.audit.entries()) == audited
    assert entries(store).items() < found.items()


def test_a_batch_is_enlarged(run: Run, scanned: Path, store: Store) -> None:
    """To the number that is asked for, by the next images."""
    for size in ("2", "4"):
        assert run("filter", scanned, "--batch", "c", "--review", size).code == 0
    names = {name.replace("copy", "130") for name in entries(store)}
    assert names == {"110", "120", "130", "140"}


def test_images_whose_entry_was_withdrawn_do_not_count(
    run: Run, scanned: Path, store: Store
) -> None:
    """A purge deleted their previews: they enter again."""
    command = ("filter", scanned, "--batch", "c", "--review", "3")
    run(*command)
    found = entries(store)
    (lease,) = store.leases.claim("ann", count=1)
    store.previews.remove(store.catalog.get(lease.prediction_id).info.sha256)
    assert store.queue.withdraw_unreviewable([lease.prediction_id]) == 1
    assert len(store.scan_batches.images("c")) == 2
    assert "3 images are in the review queue as batch c, 2 of them since" in run(*command).err
    assert entries(store) == found


@pytest.mark.parametrize("seed", ["0", "7"])
@pytest.mark.parametrize("is_labeled", [False, True])
def test_a_continued_draw_is_a_sample_of_the_whole_size(
    run: Run, scanned: Path, store: Store, seed: str, is_labeled: bool
) -> None:
    """All have its probability, also if a label drops some of them by now, and with another seed.

    With the same seed they are the images of a draw that was not interrupted.
    """
    with killed_after(2):
        assert run("filter", scanned, *SAMPLE, "4").code == 137
    first = entries(store)
    assert len(first) == 2
    if is_labeled:
        settle(store, min(first), Label.NSFW)
    assert run("filter", scanned, *SAMPLE, "4", "--seed", seed, "--decisions").code == 0
    batch = store.scan_batches.images("c")
    assert len(batch) == uploads(store) == 4
    draws = store.scan_draws.of(str(scanned), MODEL)
    assert {each.image_sha256: each.probability for each in draws} == dict.fromkeys(
        batch, 4 / ALLOWED
    )
    if seed == "0":
        ended = run("filter", scanned, "--sample", "--batch", "whole", "--review", "4")
        assert "0 images are in the review queue as batch whole" in ended.err


def test_images_of_another_choice_are_no_part_of_a_sample(
    run: Run, scanned: Path, store: Store
) -> None:
    """They take places of the batch only: fewer are drawn, with the probability of that."""
    run("filter", scanned, *SAMPLE, "3", "--keep", "block")
    run("filter", scanned, *SAMPLE, "5")
    draws = store.scan_draws.of(str(scanned), MODEL)
    assert len(draws) == 5
    drawn = [each.probability for each in draws if each.nsfw_score < 0.2]
    assert drawn == [2 / ALLOWED] * 2


def test_one_command_fills_a_batch_at_a_time(run: Run, scanned: Path, store: Store) -> None:
    """Of two at once one does nothing, and says what to do."""
    with store.scan_batches.filling() as is_alone:
        assert is_alone
        ended = run("filter", scanned, "--batch", "c", "--review", "3")
    assert ended.code == 1
    assert "Another command puts images of a scan into the review queue" in ended.err
    assert uploads(store) == 0
    assert run("filter", scanned, "--batch", "c", "--review", "3").code == 0


def test_without_locks_no_batch_is_filled(
    run: Run, scanned: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network file system that has none: one error, and nothing is queued."""

    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr("nsfw_app.store.process_lock.fcntl.flock", unsupported)
    code, out, err = run("filter", scanned, "--batch", "c", "--review", "5")
    assert (code, out) == (1, "")
    assert err.startswith("Error: The disk of the data directory")
    assert entries(store) == {}
