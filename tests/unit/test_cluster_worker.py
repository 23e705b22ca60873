"""The worker of a cluster: what it checks before it scans, and what it reports."""

import functools
import pickle
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nsfw_app.dataset_errors import SourceError
from nsfw_app.datasets.cluster_worker import Failure, FailureKind, UnitResult, WorkerModel
from nsfw_app.datasets.entries import Entry, Unit
from nsfw_app.datasets.left_out import LeftOutFiles
from nsfw_app.datasets.part_files import PartFiles
from nsfw_app.datasets.units import find_units
from nsfw_app.errors import ImageError, ImageErrorKind, ModelNotFound
from tests.support.fake_workers import job, started, worker
from tests.support.fakes import image_bytes
from tests.support.scans import CountingClassifier, record, rows, scan


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with 20 images."""
    source = tmp_path / "source"
    source.mkdir()
    for red in range(20):
        (source / f"{red:03}.png").write_bytes(image_bytes(red))
    return source


def unit_of(source: Path) -> Unit:
    """The only unit of a directory."""
    (unit,) = find_units([str(source)], left_out=LeftOutFiles())
    return unit


def test_it_reports_model_and_versions() -> None:
    """By which the workers are compared, as a value that can be sent."""
    found = worker().load()
    assert isinstance(found, WorkerModel)
    assert found.identity == CountingClassifier.identity
    assert found.roles == dict(CountingClassifier.roles)
    assert {"nsfw-review", "python", "pillow", "torch"} <= found.versions.keys()
    assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize("error", [ModelNotFound("no model"), RuntimeError("no model")])
def test_a_model_that_cannot_be_loaded(error: Exception) -> None:
    """Is a result with a sentence, not an error of the cluster."""
    broken = worker()

    def fail(threads: int) -> Any:
        raise error

    broken._open_model = fail
    failure = broken.load()
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.MODEL
    assert "no model" in failure.message or "RuntimeError" in failure.message


def test_another_output_is_refused(tmp_path: Path) -> None:
    """A directory that lacks the marker, or has another one, is not that of the command."""
    new = worker()
    new.load()
    scan_job = job(tmp_path / "out")
    assert new.begin(scan_job) is None
    (tmp_path / "out" / scan_job.marker).write_text("another")
    (tmp_path / "empty").mkdir()
    for other in (scan_job, replace(scan_job, output=tmp_path / "empty")):
        failure = new.begin(other)
        assert failure is not None
        assert failure.kind is FailureKind.NOT_SHARED
        assert "same path" in failure.message
    assert not list((tmp_path / "empty").iterdir())


def test_an_output_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is found before the first image."""

    def refuse(descriptor: int) -> None:
        raise PermissionError(30, "Read-only file system")

    scan_job = job(tmp_path / "out")
    monkeypatch.setattr("nsfw_app.datasets.output_file.os.fsync", refuse)
    failure = worker().begin(scan_job)
    assert failure is not None
    assert "Read-only file system" in failure.message


def test_sources_that_differ_are_refused(source: Path, tmp_path: Path) -> None:
    """An image that is missing or has another size, or whose URL needs a package."""
    scan_job = job(tmp_path / "out")
    path = str(source / "001.png")
    here = Entry(path, path, size=Path(path).stat().st_size)
    assert worker().begin(replace(scan_job, probes=[here])) is None
    for probe, words in (
        (replace(here, file=f"{path}x"), "cannot be read there"),
        (replace(here, size=1), "another file there"),
        (replace(here, file="nofs://host/a.png"), "nofs"),
    ):
        failure = worker().begin(replace(scan_job, probes=[probe]))
        assert failure is not None
        assert words in failure.message
        assert failure.kind is FailureKind.NOT_SHARED


def test_a_unit_is_scanned_and_written(source: Path, tmp_path: Path) -> None:
    """The result has counts and no rows, and is small."""
    result = started(job(tmp_path / "out")).scan(0, unit_of(source))
    assert isinstance(result, UnitResult)
    assert result.progress.scanned == len(rows(tmp_path / "out")) == 20
    assert len(pickle.dumps(result)) < 2_000
    assert not list((tmp_path / "out").rglob(".partial-*[!r]"))  # but the marker


@pytest.mark.parametrize(
    "error", [SourceError, functools.partial(ImageError, ImageErrorKind.EMPTY)]
)
def test_an_error_of_listing_is_of_the_unit(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Callable[[str], Exception],
) -> None:
    """The worker is not dismissed: another one would have the same error."""

    def fail(*_: object, **__: object) -> None:
        raise error("not listed")

    running = started(job(tmp_path / "out"))
    monkeypatch.setattr("nsfw_app.datasets.scan.parts_of", fail)
    assert running.scan(0, unit_of(source)) == Failure(FailureKind.UNIT, "not listed")


def test_a_table_with_a_damaged_row_is_scanned(source: Path, tmp_path: Path) -> None:
    """The row has an error; the worker scans what follows."""
    table = tmp_path / "x.csv"
    table.write_text(f"path\nzip://a.jpg::no-such-scheme://x.zip\n{source}/001.png\n")
    result = started(job(tmp_path / "out")).scan(0, unit_of(table))
    assert isinstance(result, UnitResult)
    kinds = [row["error_kind"] for row in rows(tmp_path / "out").values()]
    assert sorted(kinds, key=str) == [None, "unreadable"]


def test_progress_and_stop_while_it_scans(source: Path, tmp_path: Path) -> None:
    """Counts of running units are there; after `stop` what is done is kept, and used next time."""
    reached, go_on = threading.Event(), threading.Event()

    class Slow(CountingClassifier):
        def predict_prepared(self, prepared: Any) -> Any:
            if self.seen >= 5:
                reached.set()
                assert go_on.wait(20)
            return super().predict_prepared(prepared)

    scan_job, results = job(tmp_path / "out"), list[Any]()
    running = started(scan_job, Slow())
    thread = threading.Thread(target=lambda: results.append(running.scan(7, unit_of(source))))
    thread.start()
    assert reached.wait(20)
    assert list(running.progress()) == [7]
    running.stop()
    go_on.set()
    thread.join()
    assert running.progress() == {}
    (result,) = results
    assert result.parts == []
    done = result.progress.scanned
    assert 0 < done < 20
    assert len(PartFiles(tmp_path / "out", ("normal", "nsfw")).unfinished_paths()) == 1
    next_one = CountingClassifier()
    started(scan_job, next_one).scan(0, unit_of(source))
    assert next_one.seen == 20 - done
    assert len(rows(tmp_path / "out")) == 20


def test_its_parts_are_those_of_one_machine(source: Path, tmp_path: Path) -> None:
    """A scan without a cluster continues them, and infers nothing again."""
    started(job(tmp_path / "out")).scan(0, unit_of(source))
    record(source).write(tmp_path / "out")
    classifier = CountingClassifier()
    scan(source, tmp_path / "out", classifier=classifier)
    assert classifier.seen == 0


def test_a_worker_without_a_scan() -> None:
    """Returns a failure."""
    failure = worker().scan(0, Unit([Entry("a", "a")]))
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.WORKER
