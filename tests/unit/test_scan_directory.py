"""The directory of a scan: one process at a time, and only rows that are consistent."""

import errno
import fcntl
import os
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nsfw_app.dataset_errors import ScanDiffers, ScanError, ScanRunning, SourceError
from nsfw_app.datasets import units
from nsfw_app.datasets.left_out import LeftOutFiles
from nsfw_app.datasets.output_file import PARTIAL
from nsfw_app.datasets.scan_directory import Emptied, ScanDirectory, named_sources, source_name
from nsfw_app.datasets.scan_record import ScanRecord
from nsfw_app.imaging.decode import Limits
from nsfw_app.records import LabelRole, ModelIdentity, Policy
from tests.support.fakes import LIMITS, image_bytes
from tests.support.scans import CountingClassifier, change, record, rows, scan, scan_all

WANTED = record(Path("photos"))


def opened(path: Path, wanted: ScanRecord = WANTED) -> ScanRecord:
    """The record of the scan after it was opened and closed."""
    with ScanDirectory.opened(path, wanted) as directory:
        return directory.record


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second one is refused with what to do; the lock ends with the first."""
    with ScanDirectory.opened(tmp_path, WANTED), pytest.raises(ScanRunning, match="Wait for it"):
        opened(tmp_path)
    opened(tmp_path)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"model": ModelIdentity("other", "r1", "f" * 64, "test")}, ["fake", "other"]),
        ({"model": ModelIdentity("fake", "r2", "f" * 64, "test")}, ["revision r1", "r2"]),
        ({"model": ModelIdentity("fake", "r1", "e" * 64, "test")}, ["weights", "eee"]),
        ({"model": ModelIdentity("fake", "r1", "f" * 64, "int8")}, ["backend test", "int8"]),
        ({"limits": replace(LIMITS, max_pixels=5)}, ["4,000,000 pixels (NSFW_MAX_PIXELS)", "5"]),
        ({"limits": Limits(1, 2, 3)}, ["NSFW_MAX_FILE_MB", "NSFW_MAX_FRAMES"]),
        (
            {"roles": {"normal": LabelRole.SAFE, "nsfw": LabelRole.SAFE}},
            ["nsfw (unsafe) in place of normal (safe), nsfw (safe)"],
        ),
    ],
)
def test_another_model_or_limit_is_refused(
    tmp_path: Path, changed: Mapping[str, Any], words: list[str]
) -> None:
    """The message says what differs and what to do; the record stays as it is."""
    earlier = opened(tmp_path)
    with pytest.raises(ScanDiffers) as refused:
        opened(tmp_path, replace(WANTED, **changed))
    for word in (*words, "choose another --output"):
        assert word in str(refused.value)
    assert ScanRecord.read(tmp_path) == earlier


def test_the_policy_of_the_scan_is_kept(tmp_path: Path) -> None:
    """So that its rows are consistent."""
    opened(tmp_path)
    other = replace(WANTED, policy=Policy(0.9, 0.1, 0.95, version=7))
    assert opened(tmp_path, other).policy == WANTED.policy


def test_part_files_that_disappear_are_noticed(tmp_path: Path) -> None:
    """The scan is not finished without the rows of its images."""
    source, output = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    (source / "a.png").write_bytes(image_bytes(1))
    _, (part,) = scan(source, output)
    with ScanDirectory.opened(output, record(source)) as directory:
        directory.parts.path(part.key).unlink()
        with pytest.raises(ScanError, match="were deleted during the scan"):
            directory.finish({part.key}, left_out=LeftOutFiles(), unopened=[], finished_at="2026")
    assert ScanRecord.read(output).finished_at is None
    scan(source, output)
    assert set(rows(output)) == {"a.png"}


@pytest.mark.parametrize("name", ["read_metadata", "ParquetFile"])
def test_part_files_that_cannot_be_read_now_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """An error of a disk or server ends the scan, and is not taken for damage."""
    source, output = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    (source / "a.png").write_bytes(image_bytes(1))
    scan(source, output)
    (source / "a.png").rename(tmp_path / "a.png")

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(pq, name, fail)
        with pytest.raises(ScanError, match="cannot be read: Stale file handle"):
            scan_all([source], output, emptied=Emptied.DELETE)
    assert set(rows(output)) == {"a.png"}


def test_sources_can_be_added_and_not_left_out(tmp_path: Path) -> None:
    """Without a source, the rows of its images would be deleted."""
    opened(tmp_path)
    both = replace(WANTED, sources=("more", "photos"))
    assert opened(tmp_path, both).sources == ("photos", "more")
    with pytest.raises(ScanDiffers, match="also the scan of more"):
        opened(tmp_path)


def test_a_source_that_is_gone_can_be_left_out(tmp_path: Path) -> None:
    """With `--delete-gone`, as the refusal says. Rows of the others are kept, shared ones, too."""
    a, b, output = tmp_path / "a", tmp_path / "a" / "b", tmp_path / "out"
    photos(a, 3), photos(b, 2, first=50), photos(tmp_path / "c", 4, first=100)
    zipped(tmp_path / "d.zip", "x.png", "y.png", "z.png")
    scan_all([a, b, tmp_path / "c", tmp_path / "d.zip"], output)
    for name in ("c", "d.zip"):
        (tmp_path / name).rename(tmp_path / f"{name}.gone")
    unnamed = f"{tmp_path}/c, {tmp_path}/d.zip"
    with pytest.raises(ScanDiffers, match=f"also the scan of {b}, ") as refused:
        scan_all([a], output)
    assert "--delete-gone deletes their rows" in str(refused.value)
    assert len(rows(output)) == 12
    classifier = CountingClassifier()
    _, _, gone = scan_all([b, a], output, emptied=Emptied.DELETE, classifier=classifier)
    assert classifier.seen == 0
    assert gone == [
        f"2 sources are not part of the scan any more: {unnamed}.",
        f"7 rows of images that are gone were deleted ({tmp_path}/c: 4, {tmp_path}/d.zip: 3).",
    ]
    assert len(rows(output)) == 5
    assert ScanRecord.read(output).sources == (str(a), str(b))
    assert scan_all([a, b], output)[2] == []
    _, _, gone = scan_all([a], output, emptied=Emptied.DELETE)
    assert gone == [f"1 source is not part of the scan any more: {b}."]
    assert len(rows(output)) == 5


def test_a_source_that_is_left_out_stays_until_the_scan_is_finished(tmp_path: Path) -> None:
    """A run that was killed deletes nothing, and the next one without the option is refused."""
    a, b, output = photos(tmp_path / "a", 3), photos(tmp_path / "b", 2, first=50), tmp_path / "out"
    scan_all([a, b], output)
    with ScanDirectory.opened(output, record(a), emptied=Emptied.DELETE) as directory:
        assert directory.sources == [str(a)]
    assert len(rows(output)) == 5
    with pytest.raises(ScanDiffers, match=f"also the scan of {b}"):
        scan_all([a], output)


def test_another_scan_is_never_deleted(tmp_path: Path) -> None:
    """Where no source of it is named, `--delete-gone` neither works nor is recommended."""
    a, b, output = photos(tmp_path / "a", 3), photos(tmp_path / "b", 2, first=50), tmp_path / "out"
    scan(a, output)
    for emptied in Emptied:
        with pytest.raises(ScanDiffers, match="choose another --output") as refused:
            scan_all([b], output, emptied=emptied)
        assert "--delete-gone" not in str(refused.value)
    assert len(rows(output)) == 3


def test_files_of_killed_processes_are_deleted(tmp_path: Path) -> None:
    """Temporary files that were not given their names yet."""
    opened(tmp_path)
    for directory in (tmp_path, tmp_path / "images"):
        (directory / f"{PARTIAL}{32 * '1'}").touch()
    opened(tmp_path)
    assert list(tmp_path.rglob(f"{PARTIAL}*")) == []


@pytest.mark.parametrize(
    "name",
    [
        "photo.jpg",
        "images/part-00000-1f2e.snappy.parquet",
        "images/a.png",
        "unfinished/001.jpg",
        "unfinished/",
    ],
)
def test_a_directory_with_other_files_is_refused(tmp_path: Path, name: str) -> None:
    """Nothing is changed in it, and it does not become the directory of a scan."""
    other = tmp_path / name
    other.mkdir() if name.endswith("/") else photo(other)
    before = sorted(tmp_path.rglob("*"))
    first = name.partition("/")[0]
    with pytest.raises(ScanError, match=f"has {first} and no scan.json") as refused:
        opened(tmp_path)
    assert "Choose a new or an empty directory as --output" in str(refused.value)
    assert sorted(tmp_path.rglob("*")) == before


def photo(path: Path) -> None:
    """Write an image, and its directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(image_bytes(1))


def test_a_scan_that_was_killed_while_it_started_continues(tmp_path: Path) -> None:
    """Before it wrote its record. Of hidden files only its own are deleted."""
    own = tmp_path / f"{PARTIAL}{32 * '0'}"
    own.touch()
    (tmp_path / ".lock").write_text("a lock of another program")
    others = [tmp_path / f"{PARTIAL}{16 * '0'}-{32 * '0'}", tmp_path / "lost+found"]
    for path in others:
        path.mkdir()
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "images").mkdir()
    opened(tmp_path)
    opened(tmp_path)
    assert not own.exists()
    assert (tmp_path / ".lock").read_text() == "a lock of another program"
    assert all(path.exists() for path in others)


@pytest.mark.parametrize("folder", ["images", "unfinished"])
def test_part_files_without_a_record_are_refused(tmp_path: Path, folder: str) -> None:
    """Which model and policy they are of is not known."""
    source, output = photos(tmp_path / "source", 2), tmp_path / "out"
    scan(source, output)
    (output / "images").rename(output / folder)
    (output / "scan.json").rename(tmp_path / "scan.json")
    with pytest.raises(ScanError, match=r"part files of a scan but no scan\.json.* Put it back"):
        scan(source, output)
    assert len(rows(output, folder)) == 2
    (tmp_path / "scan.json").rename(output / "scan.json")
    classifier = CountingClassifier()
    scan(source, output, classifier=classifier)
    assert (classifier.seen, len(rows(output))) == (0, 2)


def test_files_of_other_programs_among_part_files_are_kept(tmp_path: Path) -> None:
    """They are no rows of the scan. One that has the name of a part ends it with an error."""
    source, output = photos(tmp_path / "source", 2), tmp_path / "out"
    scan(source, output)
    table = pa.table({"uri": ["a"], "pixels": [1]})
    other = output / "images" / "part-00000-1f2e.snappy.parquet"
    pq.write_table(table, other)
    photos(source, 1, first=100)
    assert scan_all([source], output)[2] == []
    assert ScanRecord.read(output).counts.images == 3
    same_name = output / "images" / f"part-{24 * 'a'}.parquet"
    pq.write_table(table, same_name)
    photos(source, 1, first=200)
    with pytest.raises(ScanError, match="was written by another program"):
        scan_all([source], output, emptied=Emptied.DELETE)
    assert other.exists()
    assert same_name.exists()
    assert ScanRecord.read(output).finished_at is None
    same_name.unlink()
    scan(source, output)
    assert ScanRecord.read(output).counts.images == 4


def test_a_file_system_without_locks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two scans at once would delete each other's rows."""

    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with pytest.raises(ScanError, match="cannot be locked: Function not implemented") as refused:
        opened(tmp_path / "out")
    assert "flock (Lustre: -o flock)" in str(refused.value)
    assert not (tmp_path / "out" / "scan.json").exists()


def photos(directory: Path, count: int, *, first: int = 0) -> Path:
    """A directory with this many images."""
    directory.mkdir(parents=True, exist_ok=True)
    for red in range(first, first + count):
        (directory / f"{red:03}.png").write_bytes(image_bytes(red))
    return directory


def empty(directory: Path) -> None:
    """Delete the files in a directory."""
    for path in directory.iterdir():
        path.unlink()


def test_a_source_without_images_deletes_nothing(tmp_path: Path) -> None:
    """As when its disk is not mounted; the error says how to delete them."""
    source, output = photos(tmp_path / "source", 1), tmp_path / "out"
    scan(source, output)
    empty(source)
    with pytest.raises(ScanError, match=r"1 of its 1 images\. Is a disk not mounted") as kept:
        scan(source, output)
    assert len(rows(output)) == 1
    assert "--delete-gone" in str(kept.value)
    _, _, gone = scan_all([source], output, emptied=Emptied.DELETE)
    assert gone == [f"1 row of an image that is gone was deleted ({source}: 1)."]
    assert ScanRecord.read(output).counts.images == len(rows(output)) == 0


@pytest.mark.parametrize("count", [3, 40])
def test_one_of_several_sources_without_images(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are kept, it is named, and the others are scanned; a later run goes on."""
    monkeypatch.setattr(units, "FILES_PER_CUT", 10)
    a, b = photos(tmp_path / "a", count), photos(tmp_path / "b", count + 1, first=100)
    output = tmp_path / "out"
    scan_all([a, b], output)
    empty(a)
    photos(b, 1, first=200)
    for _ in range(2):
        with pytest.raises(ScanError, match=f"{a} has lost {count} of its {count} images"):
            scan_all([a, b], output)
        assert len(rows(output)) == 2 * count + 2
        assert ScanRecord.read(output).finished_at is None
    photos(a, count)
    classifier = CountingClassifier()
    _, _, gone = scan_all([a, b], output, classifier=classifier)
    assert (classifier.seen, gone) == (0, [])
    assert len(rows(output)) == 2 * count + 2


def test_rows_of_images_that_are_gone_are_counted(tmp_path: Path) -> None:
    """Where a source has lost the smaller part, by the directories below it."""
    source, output = tmp_path / "source", tmp_path / "out"
    a, b = photos(source / "a" / "x", 3), photos(source / "b", 5, first=100)
    scan(source, output)
    empty(a)
    (b / "100.png").unlink()
    _, _, gone = scan_all([source], output)
    assert gone == [f"4 rows of images that are gone were deleted ({source}/a: 3, {source}/b: 1)."]
    assert len(rows(output)) == ScanRecord.read(output).counts.images == 4
    assert scan_all([source], output)[2] == []


def test_an_unreadable_directory_deletes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its images may be there; the scan is finished when it can be read again."""
    source, output = tmp_path / "source", tmp_path / "out"
    for name in ("a", "b"):
        (source / name).mkdir(parents=True)
        (source / name / f"{name}.png").write_bytes(image_bytes(ord(name)))
    scan(source, output)
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ScanError, match="b cannot be read, so the scan is not finished"):
        scan(source, output)
    assert ScanRecord.read(output).finished_at is None
    monkeypatch.setattr(os, "scandir", scandir)
    scan(source, output)
    assert len(rows(output)) == 2


def zipped(path: Path, *names: str) -> None:
    """Write an archive of images."""
    with zipfile.ZipFile(path, "w") as file:
        for number, name in enumerate(names):
            file.writestr(name, image_bytes(number))


def test_a_container_that_cannot_be_opened_keeps_its_rows(tmp_path: Path) -> None:
    """Until it can be opened again, or is removed; everything else is finished."""
    source, output = photos(tmp_path / "source", 3, first=100), tmp_path / "out"
    archive = source / "a.zip"
    zipped(archive, "x.png", "y.png")
    scan(source, output)
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-30])
    (source / "100.png").unlink()
    change(source / "101.png", image_bytes(5))
    for gone_count in (1, 0):
        _, _, gone = scan_all([source], output)
        assert len(gone) == 1 + gone_count
        assert f"2 earlier rows of containers that cannot be read now are kept ({archive}: 2)." in (
            gone
        )
        assert set(rows(output)) == {"101.png", "102.png", "x.png", "y.png", "a.zip"}
        record = ScanRecord.read(output)
        assert record.finished_at is not None
        assert (record.counts.images, record.counts.errors) == (5, {"unreadable": 1})
    archive.write_bytes(whole)
    assert scan_all([source], output)[2] == []
    assert set(rows(output)) == {"101.png", "102.png", "x.png", "y.png"}
    archive.unlink()
    scan(source, output)
    assert set(rows(output)) == {"101.png", "102.png"}


def test_a_container_that_was_always_damaged(tmp_path: Path) -> None:
    """Later runs accept it as the first one did, and other files are kept up to date."""
    source, output = photos(tmp_path / "source", 3), tmp_path / "out"
    (source / "bad.zip").write_bytes(b"no archive")
    for red in (50, 60):
        _, _, gone = scan_all([source], output)
        assert gone == []
        assert len(rows(output)) == 4
        change(source / "001.png", image_bytes(red))


def test_a_container_that_is_damaged_after_its_first_images(tmp_path: Path) -> None:
    """These are scanned again; the rows of the others are kept, and no image has two."""
    source, output = photos(tmp_path / "source", 1, first=100), tmp_path / "out"
    archive = source / "a.tar"
    with tarfile.open(archive, "w") as file:
        for red in range(6):
            image = tmp_path / f"{red}.png"
            image.write_bytes(image_bytes(red))
            file.add(image, f"{red}.png")
    scan(source, output)
    with tarfile.open(archive) as file:
        sound = file.getmembers()[3].offset
    archive.write_bytes(archive.read_bytes()[:sound] + bytes([255]) * 4_096)
    _, _, (kept,) = scan_all([source], output)
    assert kept.startswith("3 earlier rows")
    assert set(rows(output)) == {"100.png", "a.tar", *(f"{red}.png" for red in range(6))}


def test_a_row_without_a_path_is_no_damaged_table(tmp_path: Path) -> None:
    """It has its row with an error, in later runs, too."""
    images, output = photos(tmp_path / "images", 3), tmp_path / "out"
    table = tmp_path / "paths.jsonl"
    table.write_text(f'"{images}/000.png"\nnull\n"{images}/001.png"\n"{images}/002.png"\n')
    scan(table, output)
    change(images / "001.png", image_bytes(9))
    assert scan_all([table], output)[2] == []
    assert len(rows(output)) == 4


def test_sources_are_named_by_absolute_paths_without_secrets() -> None:
    """So that another working directory is another source, and no key is written."""
    here = str(Path.cwd())
    assert source_name(".") == here
    assert source_name("@list.txt") == f"@{here}/list.txt"
    assert source_name("s3://key:secret@bucket/a") == "s3://bucket/a"


def test_a_directory_whose_name_begins_with_an_at_sign_is_no_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is recorded as the directory that it is, so that `filter` finds its images."""
    photos(tmp_path / "@photos", 2)
    monkeypatch.chdir(tmp_path)
    assert list(named_sources(["@photos", "./@photos"])) == [f"{tmp_path}/@photos"]
    assert source_name("@photos.txt") == f"@{tmp_path}/photos.txt"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("zip://a@b.jpg::https://u:p@h/x.zip?sig=1&w=2", "zip://a@b.jpg::https://h/x.zip?w=2"),
        ("https://u:p@h/x.parquet?sig=1#3", "https://h/x.parquet#3"),
        ("zip://\udcff.jpg::/d/x.zip", "zip://\\xff.jpg::/d/x.zip"),
    ],
)
def test_images_in_containers_are_named_without_secrets(source: str, name: str) -> None:
    """Those of their container; two images of one container are two sources."""
    assert source_name(source) == name


def test_sources_that_differ_in_credentials_only_are_refused() -> None:
    """None is left out silently; the same source may be named twice."""
    url = "http://h/get.png"
    assert list(named_sources([f"{url}?key=a", f"{url}?key=b"])) == [
        f"{url}?key=~ca978112ca1bbdca",
        f"{url}?key=~3e23e8160039594a",
    ]
    containers = ["abfs://c1@a.dfs.core.windows.net/d", "abfs://c2@a.dfs.core.windows.net/d"]
    assert list(named_sources(containers)) == containers
    assert named_sources(["photos", "photos/"]).keys() == {str(Path("photos").absolute())}
    with pytest.raises(SourceError, match=r"^http://h/get\.png is named twice") as refused:
        named_sources([f"{url}?token=secret", f"{url}?token=secret2"])
    assert "secret" not in str(refused.value)


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """A typed error with its path."""
    (tmp_path / "file").touch()
    with pytest.raises(ScanError, match="file"):
        opened(tmp_path / "file" / "out")
