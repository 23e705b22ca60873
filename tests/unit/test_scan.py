"""The scan loop: each image one row, the same bytes inferred once, and what is done again."""

import threading
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nsfw_app.datasets import scan as scan_module
from nsfw_app.datasets import units
from nsfw_app.datasets.entries import Entry
from nsfw_app.datasets.reading import Reader
from nsfw_app.datasets.scan import Redo, Scanner
from nsfw_app.datasets.scan_directory import ScanDirectory
from nsfw_app.datasets.scan_record import ScanRecord
from nsfw_app.datasets.units import find_units
from nsfw_app.errors import OutOfMemory, Overloaded
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes
from tests.support.image_files import sample_photo
from tests.support.scans import (
    POLICY,
    CountingClassifier,
    change,
    read,
    record,
    rows,
    scan,
    scan_all,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with 30 images, in parts of at most 8."""
    source = tmp_path / "source"
    source.mkdir()
    for red in range(30):
        (source / f"{red:03}.png").write_bytes(image_bytes(red))
    return source


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """The directory of a scan, not created yet."""
    return tmp_path / "out"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts have 8 images at most, and about 5 on average."""
    monkeypatch.setattr(units, "FILES_PER_CUT", 5)
    monkeypatch.setattr(units, "MAX_FILES", 8)


def test_each_image_has_one_row(source: Path, output: Path) -> None:
    """With everything of its JSON, in several part files, each counted in its footer."""
    (source / "bad.png").write_bytes(b"<html>")
    scanner, parts = scan(source, output)
    found = rows(output)
    assert set(found) == {f"{red:03}.png" for red in range(30)} | {"bad.png"}
    for red in range(30):
        row = found[f"{red:03}.png"]
        assert row["nsfw_score"] == pytest.approx(red / 255)
        assert row["probabilities"]["nsfw"] == row["nsfw_score"]
        assert (row["width"], row["height"], row["format"]) == (40, 30, "PNG")
        assert row["uri"] == row["name"] == str(source / f"{red:03}.png")
        assert row["action"] == "allow"
        assert len(row["perceptual_hash"]) > 16
    assert found["bad.png"]["error_kind"] == "not_an_image"
    assert found["bad.png"]["sha256"] is not None
    assert len(parts) >= 4
    assert sum(part.footer.rows for part in parts) == 31
    assert sum(part.footer.errors.get("not_an_image", 0) for part in parts) == 1
    assert scanner.progress.scanned == 31
    assert scanner.progress.errors == {"not_an_image": 1}


def test_the_same_command_again_does_nothing(source: Path, output: Path) -> None:
    """No file is read or written again; the counts are those of the part files."""
    scan(source, output)
    before = {path: path.stat().st_mtime_ns for path in (output / "images").iterdir()}
    classifier = CountingClassifier()
    scanner, parts = scan(source, output, classifier=classifier)
    assert classifier.seen == 0
    assert (scanner.progress.scanned, scanner.progress.kept) == (0, 30)
    assert not any(part.is_new for part in parts)
    assert before == {path: path.stat().st_mtime_ns for path in (output / "images").iterdir()}
    assert ScanRecord.read(output).counts.images == 30


def test_changed_added_and_removed_files(source: Path, output: Path) -> None:
    """Only the changed and the added file are inferred; what was removed has no row any more."""
    scan(source, output)
    change(source / "004.png", image_bytes(104))
    (source / "0045.png").write_bytes(image_bytes(204))
    (source / "020.png").unlink()
    classifier = CountingClassifier()
    scan(source, output, classifier=classifier)
    assert sorted(classifier.reds) == [104, 204]
    found = rows(output)
    assert len(found) == 30
    assert found["004.png"]["nsfw_score"] == pytest.approx(104 / 255)
    assert "020.png" not in found
    assert ScanRecord.read(output).counts.images == 30


def test_the_same_bytes_are_inferred_once(source: Path, output: Path) -> None:
    """Within a part, in parts before and after, and in a later run; each copy has its own name."""
    for number in range(30):
        (source / f"copy{number}.jpg").write_bytes(image_bytes(7))
    classifier = CountingClassifier()
    scanner, _ = scan(source, output, classifier=classifier)
    assert sorted(classifier.reds) == list(range(30))
    assert scanner.progress.duplicates == 30
    found = rows(output)
    assert len(found) == 60
    for number in range(30):
        row = found[f"copy{number}.jpg"]
        assert row["nsfw_score"] == pytest.approx(7 / 255)
        assert row["uri"] == row["name"] == str(source / f"copy{number}.jpg")
        assert [warning["code"] for warning in row["warnings"]] == ["extension"]
    assert found["007.png"]["warnings"] == []
    (source / "later.png").write_bytes(image_bytes(7))
    later = CountingClassifier()
    scan(source, output, classifier=later)
    assert later.seen == 0
    assert rows(output)["later.png"]["perceptual_hash"] == found["007.png"]["perceptual_hash"]


def test_a_copy_has_the_row_that_it_would_have_alone(tmp_path: Path, output: Path) -> None:
    """Its columns equal those of the same file scanned in another directory."""
    both, alone = tmp_path / "both", tmp_path / "alone"
    for directory, names in ((both, ["a.png", "b.jpg", "c"]), (alone, ["b.jpg", "c"])):
        directory.mkdir()
        for name in names:
            (directory / name).write_bytes(image_bytes(50))
    for name in ("b.jpg", "c.webp"):
        (alone / name).write_bytes(image_bytes(50))
        (both / name).write_bytes(image_bytes(50))
        for other in alone.iterdir():
            if other.name != name:
                other.unlink()
        scan(alone, tmp_path / f"out-{name}")
        (expected,) = rows(tmp_path / f"out-{name}").values()
        scan(both, output)
        found = rows(output)[name]
        names = set(found) - {"uri", "name", "version", "scanned_at"}
        assert {n: found[n] for n in names} == {n: expected[n] for n in names}


def test_members_of_containers_are_scanned(source: Path, output: Path) -> None:
    """Their names are their own, and a damaged container is one row among the others'."""
    with zipfile.ZipFile(source / "a.zip", "w") as archive:
        archive.writestr("inner/b.jpg", image_bytes(90))
        archive.writestr("inner/c.png", b"<html>")
        archive.writestr("notes.txt", "no image")
    table = pa.table({"image": [image_bytes(91), image_bytes(3)]})
    pq.write_table(table, source / "t.parquet")
    (source / "bad.tar").write_bytes(b"no archive")
    classifier = CountingClassifier()
    scanner, _ = scan(source, output, classifier=classifier)
    assert sorted(classifier.reds) == [*range(30), 90, 91]
    found = rows(output)
    assert len(found) == 35
    assert found["b.jpg"]["uri"] == f"zip://inner/b.jpg::{source}/a.zip"
    assert [warning["code"] for warning in found["b.jpg"]["warnings"]] == ["extension"]
    assert found["c.png"]["error_message"].startswith("c.png is not an image")
    assert found["t.parquet#0"]["nsfw_score"] == pytest.approx(91 / 255)
    assert found["t.parquet#1"]["warnings"] == []
    assert found["bad.tar"]["error_kind"] == "unreadable"
    assert "notes.txt" in scanner.left_out.summary()
    again = CountingClassifier()
    scan(source, output, Redo.CHANGED, Redo.ERRORS, classifier=again)
    assert again.seen == 0
    assert len(rows(output)) == 35


def test_images_with_an_error_are_retried(
    source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only those: with the same result, or classified when the cause is gone."""
    (source / "bad.png").write_bytes(b"<html>")

    def fail(self: Any, prepared: Any) -> Any:
        if prepared[0].getpixel((0, 0))[0] in {3, 4}:
            raise OutOfMemory
        return CountingClassifier.predict_prepared(self, prepared)

    failing = type("Failing", (CountingClassifier,), {"predict_prepared": fail})
    scan(source, output, classifier=failing())
    assert ScanRecord.read(output).counts.errors == {"not_an_image": 1, "no_memory": 2}
    again = CountingClassifier()
    scan(source, output, classifier=again)
    assert again.seen == 0
    scanner, _ = scan(source, output, Redo.ERRORS, classifier=again)
    assert sorted(again.reds) == [3, 4]
    assert scanner.progress.scanned == 3
    assert ScanRecord.read(output).counts.errors == {"not_an_image": 1}
    found = rows(output)
    assert len(found) == 31
    assert found["003.png"]["nsfw_score"] == pytest.approx(3 / 255)
    assert found["bad.png"]["error_kind"] == "not_an_image"


def test_verify_finds_changes_that_size_and_time_hide(source: Path, output: Path) -> None:
    """All files are read; those with other bytes are inferred, and the others are not."""
    path = source / "image.bmp"  # whose size does not depend on its pixels
    path.write_bytes(image_bytes(100, image_format="BMP"))
    scan(source, output)
    change(path, image_bytes(208, image_format="BMP"), unnoticed=True)
    plain = CountingClassifier()
    scan(source, output, classifier=plain)
    assert plain.seen == 0
    classifier = CountingClassifier()
    scanner, parts = scan(source, output, Redo.CHANGED, classifier=classifier)
    assert classifier.reds == [208]
    assert scanner.progress.changed == 1
    assert sum(part.is_new for part in parts) == 1
    assert len(rows(output)) == 31
    assert rows(output)["image.bmp"]["nsfw_score"] == pytest.approx(208 / 255)


def test_a_damaged_part_file_is_scanned_again(source: Path, output: Path) -> None:
    """Its rows are made again, and nothing else."""
    scan(source, output)
    damaged = max((output / "images").iterdir(), key=lambda path: len(read(path)))
    count = len(read(damaged))
    damaged.write_bytes(damaged.read_bytes()[:-20])
    classifier = CountingClassifier()
    scan(source, output, classifier=classifier)
    assert classifier.seen == count
    assert len(rows(output)) == 30


def test_a_part_file_with_damaged_rows_is_replaced(source: Path, output: Path) -> None:
    """Where its footer is whole: by `--verify`, and when one of its images changes."""
    for redo in ([Redo.CHANGED], []):
        scan(source, output)
        damaged = max((output / "images").iterdir(), key=lambda path: len(read(path)))
        names = [Path(row["name"]) for row in read(damaged)]
        data = bytearray(damaged.read_bytes())
        for at in range(4, len(data) // 3):
            data[at] ^= 0xFF
        damaged.write_bytes(data)
        if not redo:
            change(names[0], image_bytes(250))
        classifier = CountingClassifier()
        scan(source, output, *redo, classifier=classifier)
        assert classifier.seen == len(names)
        assert len(rows(output)) == 30


def test_a_damaged_part_file_of_no_source_is_deleted(source: Path, output: Path) -> None:
    """It has no row that can be read; the scan ends, and says so."""
    scan(source, output)
    part = output / "images" / f"part-{'a' * 24}.parquet"
    part.touch()
    _, _, sentences = scan_all([source], output)
    assert sentences == ["1 damaged part file of images that no source has was deleted."]
    assert not part.exists()
    assert scan_all([source], output)[2] == []


def test_a_stopped_scan_keeps_images_that_are_scanned_again(
    source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `--retry-errors`: those that are done are not inferred a third time."""
    monkeypatch.setattr(units, "FILES_PER_CUT", 10**9)
    monkeypatch.setattr(units, "MAX_FILES", 100)

    class Failing(CountingClassifier):
        def predict_prepared(self, prepared: Any) -> Any:
            raise OutOfMemory

    class Stopping(CountingClassifier):
        def predict_prepared(self, prepared: Any) -> Any:
            if self.seen == 10:
                scanner.stop()
            return super().predict_prepared(prepared)

    scan(source, output, classifier=Failing())
    first, second = Stopping(), CountingClassifier()
    with ScanDirectory.opened(output, record(source)) as directory:
        scanner = Scanner(
            directory.parts,
            classifier=first,
            policy=POLICY,
            limits=LIMITS,
            redo=frozenset([Redo.ERRORS]),
            concurrency=1,
        )
        list(scanner.scan(find_units([str(source)], left_out=scanner.left_out)))
    classified = sum(row["error_kind"] is None for row in rows(output).values())
    assert classified == first.seen > 10
    assert len(rows(output)) == 30
    scan(source, output, Redo.ERRORS, classifier=second)
    assert sorted(first.reds + second.reds) == list(range(30))
    assert not ScanRecord.read(output).counts.errors


def test_a_stopped_scan_keeps_what_is_done(source: Path, output: Path) -> None:
    """Complete parts are there, and the rest of the next run infers no image again."""

    class Stopping(CountingClassifier):
        def predict_prepared(self, prepared: Any) -> Any:
            if self.seen == 13:
                scanner.stop()
            return super().predict_prepared(prepared)

    first = Stopping()
    with ScanDirectory.opened(output, record(source)) as directory:
        scanner = Scanner(directory.parts, classifier=first, policy=POLICY, limits=LIMITS)
        done = list(scanner.scan(find_units([str(source)], left_out=scanner.left_out)))
    assert scanner.is_stopped
    assert first.seen < 30
    assert ScanRecord.read(output).finished_at is None
    assert sum(part.footer.rows for part in done) == len(rows(output))
    second = CountingClassifier()
    scan(source, output, classifier=second)
    assert sorted(first.reds + second.reds) == list(range(30))
    assert len(rows(output)) == 30
    assert ScanRecord.read(output).finished_at is not None
    assert not (output / "unfinished").exists()


def test_a_scan_that_is_stopped_again_keeps_earlier_rows(
    source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped early in the second run, the rows of the same part that the first one kept stay."""
    monkeypatch.setattr(units, "FILES_PER_CUT", 10**9)
    monkeypatch.setattr(units, "MAX_FILES", 100)
    read = Reader.read
    classifiers = [CountingClassifier() for _ in range(3)]
    for classifier, last in zip(classifiers, ("012.png", "002.png"), strict=False):
        with ScanDirectory.opened(output, record(source)) as directory:
            scanner = Scanner(
                directory.parts, classifier=classifier, policy=POLICY, limits=LIMITS, concurrency=1
            )

            def stopping(
                reader: Reader, entry: Entry, scanner: Scanner = scanner, last: str = last
            ) -> bytes:
                if entry.uri.endswith(last):
                    scanner.stop()
                return read(reader, entry)

            monkeypatch.setattr(Reader, "read", stopping)
            list(scanner.scan(find_units([str(source)], left_out=scanner.left_out)))
    monkeypatch.setattr(Reader, "read", read)
    scan(source, output, classifier=classifiers[-1])
    assert len(rows(output)) == 30
    assert len(classifiers[0].reds) >= 12
    assert sorted(red for each in classifiers for red in each.reds) == list(range(30))


def test_one_image_that_makes_the_program_fail(
    source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a row with an error, and all others are scanned."""
    original = scan_module.review

    def review(data: bytes, name: str, **options: Any) -> Any:
        if name.endswith("005.png"):
            raise RuntimeError("a bug")
        return original(data, name, **options)

    monkeypatch.setattr(scan_module, "review", review)
    scan(source, output)
    found = rows(output)
    assert len(found) == 30
    assert found["005.png"]["error_kind"] == "failed"
    assert "RuntimeError" in found["005.png"]["error_message"]
    assert sum(row["error_kind"] is not None for row in found.values()) == 1


def test_a_full_queue_of_the_model_is_waited_for(source: Path, output: Path) -> None:
    """The image is tried again, and has a prediction."""
    lock, refused = threading.Lock(), set[int]()

    class Full(CountingClassifier):
        def predict_prepared(self, prepared: Any) -> Any:
            red = prepared[0].getpixel((0, 0))[0]
            with lock:
                is_first = red == 5 and red not in refused
                refused.add(red)
            if is_first:
                raise Overloaded("full", retry_after_s=0)
            return super().predict_prepared(prepared)

    scan(source, output, classifier=Full())
    assert all(row["error_kind"] is None for row in rows(output).values())


def test_a_name_that_is_not_text(source: Path, output: Path) -> None:
    """A file whose name is not UTF-8 is scanned as any other."""
    (source / "x\udcff.png").write_bytes(image_bytes(77))
    scan(source, output)
    assert rows(output)["x\\xff.png"]["nsfw_score"] == pytest.approx(77 / 255)


def test_photographs_have_the_scores_of_the_model(tmp_path: Path, output: Path) -> None:
    """A JPEG with more pixels than the model needs is scanned, too."""
    source = tmp_path / "photos"
    source.mkdir()
    sample_photo((640, 480)).save(source / "a.jpg")
    scan(source, output, classifier=FakeClassifier())
    (row,) = rows(output).values()
    assert (row["width"], row["height"], row["format"]) == (640, 480, "JPEG")
