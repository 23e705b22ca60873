"""Earlier parts: an image never has rows in two part files, also after a kill."""

import shutil
import threading
import zipfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nsfw_app.dataset_errors import ImagesLost, ScanError
from nsfw_app.datasets import units
from nsfw_app.datasets.earlier_parts import EarlierParts
from nsfw_app.datasets.entries import Part
from nsfw_app.datasets.part_files import PartFiles, PartFooter
from nsfw_app.datasets.scan import Redo, Scanner
from nsfw_app.datasets.scan_record import ScanRecord
from nsfw_app.datasets.scanned_parts import ScannedParts
from nsfw_app.datasets.units import find_units
from tests.support.fakes import LIMITS, image_bytes
from tests.support.scans import POLICY, CountingClassifier, change, read, rows, scan, scan_all

COUNT = 30


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of files have about 5 images, those of containers 4."""
    monkeypatch.setattr(units, "FILES_PER_CUT", 5)
    monkeypatch.setattr(units, "MAX_FILES", 8)
    monkeypatch.setattr(units, "ENTRIES_PER_PART", 4)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with 30 images and an archive of 10."""
    source = tmp_path / "source"
    source.mkdir()
    for red in range(COUNT):
        (source / f"{red:03}.png").write_bytes(image_bytes(red))
    zipped(source / "a.zip", range(100, 110))
    return source


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """The directory of a scan, not created yet."""
    return tmp_path / "out"


def zipped(path: Path, reds: range) -> None:
    """Write an archive of images."""
    with zipfile.ZipFile(path, "w") as archive:
        for red in reds:
            archive.writestr(f"{red}.png", image_bytes(red))


def change_much(source: Path) -> None:
    """Change every third file, remove one, and put an image before those of the archive."""
    for red in range(0, COUNT, 3):
        change(source / f"{red:03}.png", image_bytes(200 - red))
    (source / "001.png").unlink()
    zipped(source / "a.zip", range(99, 110))


def all_rows(output: Path) -> list[dict[str, Any]]:
    """The rows of all part files, by uri."""
    paths = (output / "images").glob("part-*")
    return sorted((row for path in paths for row in read(path)), key=lambda row: row["uri"])


class CheckedFiles(PartFiles):
    """Part files that are read by others after each change: each image must have one row."""

    def drop(self, key: str, uris: Collection[str]) -> Path | None:
        """See `PartFiles.drop`."""
        path = super().drop(key, uris)
        rows(self.directory.parent)
        return path

    def finish(self, key: str) -> None:
        """See `PartFiles.finish`."""
        super().finish(key)
        rows(self.directory.parent)


def scan_parts(source: Path, output: Path) -> None:
    """Scan without the end of it."""
    scanner = Scanner(
        CheckedFiles(output, ("normal", "nsfw")),
        classifier=CountingClassifier(),
        policy=POLICY,
        limits=LIMITS,
    )
    assert list(scanner.scan(find_units([str(source)], left_out=scanner.left_out)))


def test_readers_never_see_two_rows_of_an_image(source: Path, output: Path) -> None:
    """During a scan of changed files; what is gone keeps its row until the end."""
    scan(source, output)
    change_much(source)
    scan_parts(source, output)
    found = rows(output)
    assert set(found) == {f"{red:03}.png" for red in range(COUNT)} | {
        f"{red}.png" for red in range(99, 110)
    }
    assert found["003.png"]["nsfw_score"] == pytest.approx(197 / 255)
    _, _, gone = scan_all([source], output)
    assert gone == [f"1 row of an image that is gone was deleted ({source}: 1)."]
    assert set(found) - set(rows(output)) == {"001.png"}


@pytest.mark.parametrize("step", ["drop", "finish", "write_unfinished"])
@pytest.mark.parametrize("number", [0, 2])
def test_killed_at_any_step(source: Path, output: Path, step: str, number: int) -> None:
    """No image has two rows, and images with a row are not inferred again."""
    scan(source, output)
    change_much(source)
    real, calls = getattr(PartFiles, step), []

    def killed(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) > number:
            raise ScanError("killed")
        return real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PartFiles, step, killed)
        with pytest.raises(ScanError, match="killed"):
            scan_parts(source, output)
    rows(output)
    classifier = CountingClassifier()
    scan(source, output, classifier=classifier)
    assert len(rows(output)) == COUNT - 1 + 11 == ScanRecord.read(output).counts.images
    assert not set(classifier.reds) & {2, 4, 5, 28, *range(100, 110)}
    assert not (output / "unfinished").exists()


def test_an_image_that_is_named_twice_keeps_both_rows(source: Path, output: Path) -> None:
    """By a directory and by its name; also after it has changed."""
    twice = [source, source / "004.png"]
    for red in (4, 50, 60):
        change(source / "004.png", image_bytes(red))
        scan_all(twice, output)
        found = [row for path in output.glob("images/*") for row in read(path)]
        assert len(found) == COUNT + 11
        both = [row["nsfw_score"] for row in found if row["uri"].endswith("/004.png")]
        assert both == [pytest.approx(red / 255)] * 2
        assert not any(part.is_new for part in scan_all(twice, output)[1])


def test_a_part_that_is_listed_while_rows_are_replaced(
    source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not found complete right before it loses the row of an image that is named twice."""
    monkeypatch.setattr(units, "FILES_PER_CUT", 10**9)  # all parts have 8 files
    twice = [str(source), str(source / "004.png")]
    scan_all([source, source / "004.png"], output)
    change(source / "003.png", image_bytes(203))  # in the same part as the image
    for red in range(17, 22):
        change(source / f"{red:03}.png", image_bytes(red + 100))
    keys, is_found, is_listed = set[str](), threading.Event(), threading.Event()
    complete, replaced, drop = PartFiles.complete, EarlierParts.with_same_images, EarlierParts.drop

    def completed(files: PartFiles, part: Part) -> PartFooter | None:
        footer = complete(files, part)
        if any(entry.uri == twice[1] for entry in part.entries):
            keys.add(part.key)
        if len(keys) == 2:
            is_listed.set()
        return footer

    def found(earlier: EarlierParts, part: Part, current: Collection[str]) -> list[str]:
        keys = replaced(earlier, part, current)
        is_found.set()
        return keys

    def dropped(earlier: EarlierParts, part: Part, keys: Iterable[str]) -> list[Path]:
        is_listed.wait(1)
        return drop(earlier, part, keys)

    class Waiting(CountingClassifier):
        def predict_prepared(self, prepared: Sequence[Any]) -> list[dict[str, float]]:
            reds = [image.getpixel((0, 0))[0] for image in prepared]
            assert reds == [203] or is_found.wait(5)
            return super().predict_prepared(prepared)

    monkeypatch.setattr(PartFiles, "complete", completed)
    monkeypatch.setattr(EarlierParts, "with_same_images", found)
    monkeypatch.setattr(EarlierParts, "drop", dropped)
    classifier = Waiting()
    scanner = Scanner(
        PartFiles(output, ("normal", "nsfw")),
        classifier=classifier,
        policy=POLICY,
        limits=LIMITS,
        concurrency=1,
    )
    assert list(scanner.scan(find_units(twice, left_out=scanner.left_out)))
    assert len(all_rows(output)) == COUNT + 11
    assert sorted(classifier.reds) == [*range(117, 122), 203]


def test_rows_that_are_left_have_their_entries(source: Path, output: Path) -> None:
    """Of a part that has lost rows, each row has the entry of its image."""
    scan(source, output)
    before = shutil.copytree(source, source.parent / "before")
    change_much(source)
    replace(ScanRecord.read(output), finished_at=None).write(output)  # the scan is continued
    scan_parts(source, output)
    for path in before.iterdir():
        shutil.copy2(path, source)  # the earlier parts are those of the sources again
    found = [
        (entry.uri, uri)
        for entries, table in ScannedParts(output).with_entries()
        for entry, uri in zip(entries, table["uri"].to_pylist(), strict=True)
    ]
    assert all(entry == uri for entry, uri in found)
    assert len(found) == COUNT + 11


@pytest.mark.parametrize("name", ["list.txt", "table.csv", "members.txt"])
def test_files_that_a_list_names_and_are_gone(
    source: Path, output: Path, tmp_path: Path, name: str
) -> None:
    """Rows are kept where most of a group are gone, such as those on a disk that is not mounted."""
    lines = [str(source / f"{red:03}.png") for red in range(COUNT)]
    if name == "members.txt":
        lines = [f"zip://{red}.png::{source / 'a.zip'}" for red in range(100, 110)]
    (tmp_path / name).write_text("\n".join(["path"] * name.endswith("csv") + lines))
    named = [Path(str(tmp_path / name) if name.endswith("csv") else f"@{tmp_path / name}")]
    scan_all(named, output)
    before = all_rows(output)
    source.rename(tmp_path / "unmounted")
    with pytest.raises(ImagesLost, match="Is a disk not mounted"):
        scan_all(named, output)
    assert all_rows(output) == before
    (tmp_path / "unmounted").rename(source)
    classifier = CountingClassifier()
    scan_all(named, output, classifier=classifier)
    assert not classifier.seen
    shutil.rmtree(source)
    scan_all(named, output, Redo.LOST)
    after = all_rows(output)
    assert {row["error_kind"] for row in after} == {"missing"}
    assert [row["uri"] for row in after] == [row["uri"] for row in before]
