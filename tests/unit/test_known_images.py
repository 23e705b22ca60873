"""Known images: one inference for the same bytes, also at the same time, and after errors."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nsfw_app.datasets.entries import Entry
from nsfw_app.datasets.image_table import row
from nsfw_app.datasets.known_images import KnownImages
from nsfw_app.datasets.part_files import PartFiles, Row
from nsfw_app.imaging.decode import sha256
from nsfw_app.review.unstored import review
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes
from tests.support.scans import POLICY


def inferred(data: bytes) -> Row:
    """The row of an image."""
    result = review(data, "a", classifier=FakeClassifier(), policy=POLICY, limits=LIMITS)
    return row(Entry("a", "a"), result, size_bytes=len(data))


def refuse() -> Row:
    """An inference that must not happen."""
    raise AssertionError("inferred again")


GOOD, BAD = inferred(image_bytes(1)), inferred(b"<html>")


def test_threads_share_an_inference() -> None:
    """While one computes, all others with the same hash wait for its row."""
    started, calls = threading.Event(), []

    def infer() -> Row:
        calls.append(1)
        assert started.wait(10)
        return GOOD

    with KnownImages() as known, ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(known.row, GOOD["sha256"], infer) for _ in range(8)]
        started.set()
        results = [future.result() for future in futures]
    assert len(calls) == 1
    assert sorted(is_known for _, is_known in results) == [False] + [True] * 7
    assert all(found is GOOD for found, _ in results)


def test_an_error_is_not_shared() -> None:
    """Each file has its own message, and a passing cause does not reach other files."""
    with KnownImages() as known:
        assert known.row(BAD["sha256"], lambda: BAD) == (BAD, False)
        assert known.row(BAD["sha256"], lambda: BAD) == (BAD, False)

        def fail() -> Row:
            raise RuntimeError

        with pytest.raises(RuntimeError):
            known.row(GOOD["sha256"], fail)
        assert known.row(GOOD["sha256"], lambda: GOOD) == (GOOD, False)


def test_rows_of_files_are_known(tmp_path: Path) -> None:
    """Of files that were loaded and of those just written; rows with an error are not."""
    parts = PartFiles(tmp_path, ["normal", "nsfw"])
    parts.create()
    other = inferred(image_bytes(2))
    parts.write("one", [BAD, GOOD])
    parts.write("two", [other])
    parts.path("damaged").write_bytes(b"PAR1")
    with KnownImages() as known:
        known.load([parts.path("damaged"), parts.path("one")])
        found, is_known = known.row(GOOD["sha256"], refuse)
        assert is_known
        assert found["nsfw_score"] == GOOD["nsfw_score"]
        assert known.row(BAD["sha256"], lambda: BAD) == (BAD, False)
        assert known.row(other["sha256"], lambda: other) == (other, False)
        known.written(parts.path("two"), [other])
        parts.remove(["one"])
        found, is_known = known.row(other["sha256"], refuse)
        assert (found["sha256"], is_known) == (other["sha256"], True)


def test_a_file_that_was_replaced_is_not_trusted(tmp_path: Path) -> None:
    """Its row must have the same hash and no error."""
    parts = PartFiles(tmp_path, ["normal", "nsfw"])
    parts.create()
    parts.write("one", [GOOD])
    with KnownImages() as known:
        known.load([parts.path("one")])
        parts.write("one", [inferred(image_bytes(2))])
        assert known.row(GOOD["sha256"], lambda: GOOD) == (GOOD, False)
    with KnownImages() as known:
        known.load([parts.path("one")])
        parts.remove(["one"])
        assert known.row(sha256(image_bytes(2)), lambda: GOOD) == (GOOD, False)
