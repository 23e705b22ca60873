"""The scan of a cluster, with workers in this process: counts, lost workers, what ends it."""

import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from nsfw_app.dataset_errors import ClusterError, ImagesLost, ScanError, UnitsFailed
from nsfw_app.datasets import cluster_scan, units
from nsfw_app.datasets.cluster_scan import ClusterScanner, probes
from nsfw_app.datasets.left_out import LeftOutFiles
from nsfw_app.datasets.scan import DonePart, Redo
from nsfw_app.datasets.scan_record import ScanRecord
from nsfw_app.datasets.units import find_units
from tests.support.fake_workers import FakeWorkers, job, worker
from tests.support.fakes import image_bytes
from tests.support.scans import CountingClassifier, change, record, rows, scan

COUNT = 40


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units have 4 images at most."""
    monkeypatch.setattr(units, "FILES_PER_CUT", 3)
    monkeypatch.setattr(units, "MAX_FILES", 4)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Images, a file that is none, and an archive with a further image and a text."""
    source = tmp_path / "source"
    source.mkdir()
    for red in range(COUNT):
        (source / f"{red:03}.png").write_bytes(image_bytes(red))
    (source / "bad.png").write_bytes(b"<html>")
    with zipfile.ZipFile(source / "a.zip", "w") as archive:
        archive.writestr("member.png", image_bytes(200))
        archive.writestr("notes.txt", "")
    (source / "broken.tar").write_bytes(b"no archive")
    return source


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """The directory of a scan."""
    return tmp_path / "out"


def run(
    workers: FakeWorkers, source: Path, *, clock: Callable[[], float] | None = None
) -> tuple[ClusterScanner, list[DonePart]]:
    """Scan a directory with these workers."""
    scanner = ClusterScanner(workers, workers.parts, clock or time.monotonic)
    return scanner, list(scanner.scan(find_units([str(source)], left_out=scanner.left_out)))


def test_it_counts_as_a_scan_on_one_machine(source: Path, output: Path, tmp_path: Path) -> None:
    """The same parts, rows, counts, and files left out; the next run keeps all."""
    one, expected = scan(source, tmp_path / "one")
    scanner, parts = run(FakeWorkers(job(output), ["a", "b"]), source)
    assert sorted(part.key for part in parts) == sorted(part.key for part in expected)
    found, wanted = rows(output), rows(tmp_path / "one")
    for row in (*found.values(), *wanted.values()):
        row.pop("scanned_at")
    assert found == wanted
    assert scanner.progress.json() | {"images_per_s": 0} == one.progress.json() | {
        "images_per_s": 0
    }
    assert scanner.progress.scanned_bytes == one.progress.scanned_bytes
    assert scanner.left_out.summary() == one.left_out.summary()
    assert scanner.unopened == one.unopened == [f"{source}/broken.tar"]
    again, parts = run(FakeWorkers(job(output), ["a"]), source)
    assert (again.progress.scanned, again.progress.kept) == (0, COUNT + 3)
    assert not any(part.is_new for part in parts)


def test_changed_images_have_one_row(source: Path, output: Path) -> None:
    """Before the scan is finished: in groups of files with other borders, and in archives."""
    run(FakeWorkers(job(output), ["a", "b"]), source)
    for number in range(0, COUNT, 3):
        change(source / f"{number:03}.png", image_bytes(200 + number))
    (source / "000.png").unlink()
    with zipfile.ZipFile(source / "a.zip", "w") as archive:
        archive.writestr("first.png", image_bytes(255))
        archive.writestr("x.png", image_bytes(99))
    workers = FakeWorkers(job(output), ["a", "b"])
    scanner = ClusterScanner(workers, workers.parts)
    list(scanner.scan(find_units([str(source)], left_out=scanner.left_out)))
    assert rows(output)["003.png"]["nsfw_score"] == pytest.approx(203 / 255)
    assert {"first.png", "x.png"} <= set(rows(output))


def test_changed_images_are_inferred_alone(source: Path, output: Path) -> None:
    """Others of their group keep their rows; also where the command is killed after it listed."""
    run(FakeWorkers(job(output), ["a"]), source)
    for killed in (False, True):
        change(source / "003.png", image_bytes(250 + killed))
        if killed:
            workers = FakeWorkers(job(output), ["a"])
            scanner = ClusterScanner(workers, workers.parts)
            listed = scanner._distinct(find_units([str(source)], left_out=scanner.left_out))
            assert sum(not unit.is_container for unit in listed) > 1
        classifier = CountingClassifier()
        run(FakeWorkers(job(output), ["a"], classifier=classifier), source)
        assert classifier.reds == [250 + killed]
        assert len(rows(output)) == COUNT + 3


def test_rows_of_a_list_are_kept_where_its_disk_is_not_mounted(
    source: Path, output: Path, tmp_path: Path
) -> None:
    """The command ends before it deletes rows of the group, unless that is asked for."""
    names = "".join(f"{source}/{red:03}.png\n" for red in range(COUNT))
    (tmp_path / "list.txt").write_text(names)
    named = [f"@{tmp_path}/list.txt"]
    workers = FakeWorkers(job(output), ["a", "b"])
    list(ClusterScanner(workers, workers.parts).scan(find_units(named, left_out=LeftOutFiles())))
    before = rows(output)
    source.rename(tmp_path / "unmounted")
    for redo in (frozenset[Redo](), frozenset({Redo.LOST})):
        workers = FakeWorkers(job(output), ["a", "b"])
        scanner = ClusterScanner(workers, workers.parts, redo=redo)
        units = find_units(named, left_out=LeftOutFiles())
        with pytest.raises(ImagesLost) if not redo else nullcontext():
            list(scanner.scan(units))
        found = {row["error_kind"] for row in rows(output).values()}
        assert found == ({"missing"} if redo else {None})
        assert rows(output).keys() == before.keys()


@pytest.mark.parametrize("is_cluster", [False, True])
def test_rows_that_wait_for_their_group_are_kept_where_a_disk_is_not_mounted(
    source: Path, output: Path, tmp_path: Path, is_cluster: bool
) -> None:
    """After the command was killed, their rows are in no part file; they still count."""
    names = tmp_path / "list.txt"
    names.write_text("\n".join(str(source / f"{number:03}.png") for number in range(4)))
    named = Path(f"@{names}")
    run(FakeWorkers(job(output), ["a"]), named)
    record(named).write(output)
    change(source / "000.png", image_bytes(99))
    workers = FakeWorkers(job(output), ["a"])
    scanner = ClusterScanner(workers, workers.parts)
    assert list(scanner._distinct(find_units([str(named)], left_out=scanner.left_out)))
    source.rename(tmp_path / "unmounted")
    with pytest.raises(ImagesLost, match="Is a disk not mounted"):
        run(FakeWorkers(job(output), ["a"]), named) if is_cluster else scan(named, output)
    (tmp_path / "unmounted").rename(source)
    classifier = CountingClassifier()
    run(FakeWorkers(job(output), ["a"], classifier=classifier), named)
    assert classifier.reds == [99]


def test_units_are_shared(source: Path, output: Path) -> None:
    """Each worker has two at first; a source that was named twice is scanned once."""
    workers = FakeWorkers(job(output), ["a", "b"])
    scanner = ClusterScanner(workers, workers.parts)
    sources = [str(source), str(source / "a.zip")]
    list(scanner.scan(find_units(sources, left_out=scanner.left_out)))
    assert workers.calls[:4] == [("a", 0), ("b", 1), ("a", 2), ("b", 3)]
    assert len(rows(output)) == COUNT + 3


def test_units_of_lost_workers_are_scanned_by_others(source: Path, output: Path) -> None:
    """Also by one that joins when none is left. Each image has one row and counts once."""
    workers = FakeWorkers(job(output), ["a", "b", "c"])
    workers.loses, workers.joins = ["a", "b", "c"], ["d"]
    scanner, parts = run(workers, source)
    assert len(rows(output)) == sum(part.footer.rows for part in parts) == COUNT + 3
    assert scanner.progress.scanned == COUNT + 3
    assert {worker for worker, _ in workers.calls} == {"a", "b", "c", "d"}


def test_a_unit_that_fails_everywhere_is_named(
    source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All others are scanned; the error names it, the reason, and how to go on."""

    def fail(worker: str, number: int) -> None:
        if number == 2:
            monkeypatch.setattr("nsfw_app.datasets.cluster_worker.Scanner.scan", broken)
        else:
            monkeypatch.undo()

    def broken(scanner: object, units: object) -> None:
        raise MemoryError

    workers = FakeWorkers(job(output), ["a", "b"], before=fail)
    scanner = ClusterScanner(workers, workers.parts)
    all_units = list(find_units([str(source)], left_out=scanner.left_out))
    with pytest.raises(UnitsFailed, match=r"1 of the .* \(MemoryError.*again") as failed:
        list(scanner.scan(all_units))
    assert all_units[2].entries[0].uri in str(failed.value)
    missing = {Path(entry.uri).name for entry in all_units[2].entries}
    assert len(rows(output)) == COUNT + 3 - len(missing)
    assert not missing & set(rows(output))


def test_a_worker_that_cannot_write_is_dismissed(
    source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its units go to others, and it gets no more."""

    def fail(worker: str, number: int) -> None:
        monkeypatch.undo()
        if worker == "a":
            monkeypatch.setattr("nsfw_app.datasets.cluster_worker.Scanner.scan", broken)

    def broken(scanner: object, units: object) -> None:
        raise ScanError("The disk is full.")

    workers = FakeWorkers(job(output), ["a", "b"], before=fail)
    scanner, _ = run(workers, source)
    assert workers.dismissed == {"a": "The disk is full."}
    assert scanner.progress.scanned == len(rows(output)) == COUNT + 3


def test_without_workers_it_ends(source: Path, output: Path) -> None:
    """After a while, with the last problem and what to do."""
    workers = FakeWorkers(job(output), ["a"])
    workers.loses = ["a"]
    seconds = iter(range(0, 10**6, 60))
    with pytest.raises(ClusterError, match=r"no worker for 10 minutes.*power.*run the same"):
        run(workers, source, clock=lambda: next(seconds))


def test_it_stops(source: Path, output: Path, tmp_path: Path) -> None:
    """No further unit is sent; the rows that are done are kept for the next run."""
    sent: list[int] = []

    def stop(worker: str, number: int) -> None:
        sent.append(number)
        if number == 1:
            scanner.stop()

    workers = FakeWorkers(job(output), ["a"], before=stop)
    scanner = ClusterScanner(workers, workers.parts)
    list(scanner.scan(find_units([str(source)], left_out=scanner.left_out)))
    assert scanner.is_stopped
    assert max(sent) <= 3
    assert 0 < len(rows(output)) < COUNT
    record(source).write(output)
    scan(source, output)
    assert len(rows(output)) == COUNT + 3
    assert ScanRecord.read(output).finished_at is not None


def test_workers_are_probed_with_an_image_of_each_source(source: Path, output: Path) -> None:
    """The first that is listed; of many sources, of the first ones."""
    found = probes([str(source), str(source / "a.zip")], excluded=output)
    assert [entry.uri for entry in found] == [f"{source}/000.png", f"{source}/a.zip"]
    many = [str(source / "a.zip")] * (cluster_scan.MAX_PROBES + 1)
    assert len(probes(many, excluded=output)) == cluster_scan.MAX_PROBES


def test_probes_are_files_that_are_here(source: Path, output: Path, tmp_path: Path) -> None:
    """Not a broken link or a missing file of a list; of a member its archive."""
    (source / "-.png").symlink_to("nowhere")
    names = tmp_path / "names.txt"
    names.write_text(f"gone.png\nno-such-scheme://x.png\n{source}/002.png\n")
    members = tmp_path / "members.txt"
    members.write_text(f"zip://member.png::{source}/a.zip\n")
    gone = tmp_path / "gone.txt"
    gone.write_text("gone.png\n")
    sources = [str(source), f"@{names}", f"@{members}", f"@{gone}"]
    found = probes(sources, excluded=output)
    wanted = [f"{source}/000.png", f"{source}/002.png", f"{source}/a.zip"]
    assert [entry.uri for entry in found] == wanted
    assert [entry.size for entry in found] == [Path(path).stat().st_size for path in wanted]
    assert worker().begin(replace(job(output), probes=found)) is None


def test_listing_errors_end_the_scan(source: Path, output: Path) -> None:
    """No thread is left that lists."""
    before = threading.active_count()
    workers = FakeWorkers(job(output), ["a"])
    scanner = ClusterScanner(workers, workers.parts)
    with pytest.raises(Exception, match="matches nothing"):
        list(scanner.scan(find_units([f"{source}/*.xyz"], left_out=scanner.left_out)))
    assert threading.active_count() <= before
