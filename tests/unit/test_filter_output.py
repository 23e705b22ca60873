"""What `filter` writes: formats, names, sources that changed, and nothing half-written."""

import io
import json
import os
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from nsfw_app.dataset_errors import ScanError, ScanFilterError
from nsfw_app.datasets import units
from nsfw_app.datasets.filter_formats import FilterFormat, format_of
from nsfw_app.datasets.filtered_images import write_images, write_rows
from nsfw_app.datasets.filtering import Criteria, Drop, FilterCounts, RowFilter
from nsfw_app.datasets.scan import Scanner
from nsfw_app.datasets.scan_directory import ScanDirectory, source_name
from nsfw_app.datasets.scanned_parts import ScannedParts
from nsfw_app.datasets.units import find_units
from nsfw_app.imaging.decode import sha256
from nsfw_app.records import Action
from tests.support.fakes import LIMITS, image_bytes
from tests.support.range_server import range_server
from tests.support.scans import POLICY, CountingClassifier, change, read, record, scan, scan_all

DOCS = Path(__file__).parents[2] / "docs" / "datasets.md"
ALLOWED = range(0, 60, 10)  # their scores are below 0.2

Write = Callable[..., FilterCounts]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts have 4 images at most."""
    monkeypatch.setattr(units, "FILES_PER_CUT", 3)
    monkeypatch.setattr(units, "MAX_FILES", 4)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with 25 images, of which 6 are allowed, and one file that is none."""
    source = tmp_path / "source"
    source.mkdir()
    for red in range(0, 250, 10):
        (source / f"{red:03}.png").write_bytes(image_bytes(red))
    (source / "bad.png").write_bytes(b"<html>")
    return source


@pytest.fixture
def scanned(source: Path, tmp_path: Path) -> Path:
    """The directory of its scan."""
    scan(source, tmp_path / "scanned")
    return tmp_path / "scanned"


@pytest.fixture
def write(scanned: Path) -> Write:
    """Writes the allowed images; the counts."""

    def write(output: Path, kind: FilterFormat, *, shard_images: int = 1_000) -> FilterCounts:
        parts = ScannedParts(scanned)
        with RowFilter(Criteria(policy=POLICY)) as rows:
            if kind.has_images:
                write_images(parts, rows, output=output, kind=kind, shard_images=shard_images)
            else:
                write_rows(parts, rows, output=output, kind=kind)
        return rows.counts

    return write


def files_in(directory: Path) -> list[Path]:
    """The image files in a directory that was written."""
    return sorted(path for path in directory.glob("*/*"))


def snapshot(directory: Path) -> dict[Path, tuple[bytes, int]]:
    """Bytes and times of all files."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.rglob("*.*")}


def read_tar(path: Path) -> dict[str, bytes]:
    """The members of an archive."""
    with tarfile.open(path) as tar:
        return {each.name: tar.extractfile(each).read() for each in tar}  # type: ignore[union-attr]


def assert_nothing_left(directory: Path) -> None:
    """No temporary file or directory."""
    assert [path for path in directory.iterdir() if path.name.startswith(".")] == []


def test_a_list_is_a_source_of_scans(source: Path, write: Write, tmp_path: Path) -> None:
    """A URI on each line."""
    counts = write(tmp_path / "kept.txt", FilterFormat.LIST)
    lines = (tmp_path / "kept.txt").read_text().splitlines()
    assert sorted(lines) == [str(source / f"{red:03}.png") for red in ALLOWED]
    assert (counts.rows, counts.kept) == (26, 6)
    assert counts.dropped == {Drop.ACTION: 19}
    assert counts.unavailable == {"not_an_image": 1}


def test_rows_as_jsonl_and_parquet(write: Write, tmp_path: Path) -> None:
    """Both have the same rows, with the columns of the scan and the settled label."""
    write(tmp_path / "kept.jsonl", FilterFormat.JSONL)
    write(tmp_path / "kept.parquet", FilterFormat.PARQUET)
    lines = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    rows: list[dict[str, Any]] = pq.read_table(tmp_path / "kept.parquet").to_pylist()
    for row in rows:
        time = row["scanned_at"].isoformat(timespec="milliseconds")
        row["scanned_at"] = time.replace("+00:00", "Z")
    assert lines == rows
    assert len(rows) == len(ALLOWED)
    assert list(rows[0])[-2:] == ["uri_redacted", "settled_label"]
    assert pq.read_metadata(tmp_path / "kept.parquet").num_row_groups == 1


def test_no_row_is_kept(source: Path, write: Write, tmp_path: Path) -> None:
    """The files are there, empty."""
    parts = ScannedParts(tmp_path / "scanned")
    for name, kind in (("a.parquet", FilterFormat.PARQUET), ("a.txt", FilterFormat.LIST)):
        with RowFilter(Criteria(policy=POLICY, max_score=0.0, keep=frozenset())) as rows:
            write_rows(parts, rows, output=tmp_path / name, kind=kind)
    assert pq.read_table(tmp_path / "a.parquet").num_rows == 0
    assert (tmp_path / "a.txt").read_text() == ""


def test_a_webdataset(source: Path, write: Write, tmp_path: Path) -> None:
    """Of each image its bytes and its row, with one key and the suffix of its format."""
    write(tmp_path / "kept.tar", FilterFormat.WEBDATASET)
    members = read_tar(tmp_path / "kept.tar")
    assert list(members) == [f"{i:09}.{s}" for i in range(6) for s in ("png", "json")]
    for number in range(6):
        row = json.loads(members[f"{number:09}.json"])
        assert members[f"{number:09}.png"] == Path(row["uri"]).read_bytes()


def test_a_webdataset_of_several_formats_is_read_with_named_features(tmp_path: Path) -> None:
    """As the docs say: without them datasets takes formats and columns from the first images."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(8):
        image = Image.open(io.BytesIO(image_bytes(number))).convert("RGB")
        image.save(source / f"{number}.{'jpg' if number in (1, 6) else 'png'}")
    (source / "7.png").rename(source / "7.gif")  # its row has a warning
    scan(source, tmp_path / "scanned")
    with RowFilter(Criteria(policy=POLICY)) as rows:
        write_images(
            ScannedParts(tmp_path / "scanned"),
            rows,
            output=tmp_path / "train-%06d.tar",
            kind=FilterFormat.WEBDATASET,
            shard_images=5,
        )
    files = str(tmp_path / "train-*.tar")
    with pytest.raises(ValueError, match="same types"):
        datasets.load_dataset("webdataset", data_files=files, cache_dir=str(tmp_path / "one"))
    (snippet,) = (
        part for part in DOCS.read_text().split("```") if 'load_dataset("webdataset"' in part
    )
    code = snippet.removeprefix("python\n").replace('"train-*.tar"', "files, cache_dir=cache")
    names: dict[str, Any] = {"files": files, "cache": str(tmp_path / "two")}
    exec(code, names)  # it is the docs'
    loaded = names["filtered"]
    assert [row["json"]["format"] for row in loaded] == [
        "JPEG" if number in (1, 6) else "PNG" for number in range(8)
    ]
    assert [row["jpg"] is not None for row in loaded] == [number in (1, 6) for number in range(8)]
    assert all((row["jpg"] or row["png"]).size == (40, 30) for row in loaded)
    assert [len(row["json"]["warnings"]) for row in loaded] == [0] * 7 + [1]


def test_shards(write: Write, tmp_path: Path) -> None:
    """A name with a number is that of shards; keys go on across them."""
    write(tmp_path / "kept-%04d.tar", FilterFormat.WEBDATASET, shard_images=2)
    shards = sorted(tmp_path.glob("kept-*"))
    assert [shard.name for shard in shards] == [f"kept-{n:04}.tar" for n in range(3)]
    keys = [name for shard in shards for name in read_tar(shard)]
    assert keys == [f"{i:09}.{s}" for i in range(6) for s in ("png", "json")]
    with pytest.raises(ScanFilterError, match=r"kept-0000\.tar exists"):
        write(tmp_path / "kept-%04d.tar", FilterFormat.WEBDATASET)


def test_names_of_shards_have_one_number(write: Write, tmp_path: Path) -> None:
    """Several numbers are an error; another % is a character of the name."""
    with pytest.raises(ScanFilterError, match=r"has 2 numbers of shards \(%06d, %d\)"):
        write(tmp_path / "a%06d-%d.tar", FilterFormat.WEBDATASET)
    write(tmp_path / "50%-%02d.tar", FilterFormat.WEBDATASET)
    assert (tmp_path / "50%-00.tar").exists()
    (tmp_path / "k[1]-01.tar").write_text("mine")
    with pytest.raises(ScanFilterError, match=r"k\[1\]-01\.tar exists"):
        write(tmp_path / "k[1]-%02d.tar", FilterFormat.WEBDATASET, shard_images=2)
    assert [path.name for path in tmp_path.glob("k*")] == ["k[1]-01.tar"]


@pytest.mark.parametrize("kind", [FilterFormat.COPY, FilterFormat.HARDLINK, FilterFormat.SYMLINK])
def test_a_directory_of_files(
    source: Path, write: Write, tmp_path: Path, kind: FilterFormat
) -> None:
    """Copies or links, which Hugging Face's datasets reads with their rows; sources stay."""
    before = snapshot(source)
    write(tmp_path / "kept", kind)
    found = files_in(tmp_path / "kept")
    assert [path.name.split("-")[1] for path in sorted(found, key=lambda p: p.name[-7:])] == [
        f"{red:03}.png" for red in ALLOWED
    ]
    for path in found:
        original = source / path.name.split("-")[1]
        assert path.read_bytes() == original.read_bytes()
        assert path.is_symlink() == (kind is FilterFormat.SYMLINK)
        assert path.samefile(original) == (kind is not FilterFormat.COPY)
    assert snapshot(source) == before
    assert_nothing_left(tmp_path)
    if kind is FilterFormat.COPY:
        loaded = datasets.load_dataset(
            "imagefolder", data_dir=str(tmp_path / "kept"), cache_dir=str(tmp_path / "cache")
        )["train"]
        assert sorted(loaded["nsfw_score"]) == pytest.approx([red / 255 for red in ALLOWED])


def test_members_of_archives_are_copied(tmp_path: Path) -> None:
    """With safe names inside the output, for members of any name; links are refused."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("../../evil.png", "/etc/a b.png", "x/same.png", "y/same.png"):
            archive.writestr(name, image_bytes(1 + len(name)))
    scan(tmp_path / "a.zip", tmp_path / "scanned")
    parts = ScannedParts(tmp_path / "scanned")
    with RowFilter(Criteria(policy=POLICY)) as rows:
        write_images(parts, rows, output=tmp_path / "kept", kind=FilterFormat.COPY, shard_images=1)
    names = sorted(path.name.split("-", 1)[1] for path in files_in(tmp_path / "kept"))
    assert names == ["a_b.png", "evil.png", "same.png", "same.png"]
    assert not list(tmp_path.glob("evil*"))
    for kind in (FilterFormat.SYMLINK, FilterFormat.HARDLINK):
        with (
            RowFilter(Criteria(policy=POLICY)) as rows,
            pytest.raises(
                ScanFilterError, match=r"^evil\.png in a\.zip cannot be linked: it is not"
            ),
        ):
            write_images(parts, rows, output=tmp_path / "links", kind=kind, shard_images=1)
    assert not (tmp_path / "links").exists()
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("kind", [FilterFormat.COPY, FilterFormat.HARDLINK, FilterFormat.SYMLINK])
@pytest.mark.parametrize(("other", "written"), [(1, 1), (2, 2)])
def test_rows_of_one_uri(tmp_path: Path, kind: FilterFormat, other: int, written: int) -> None:
    """The same bytes are one file, counted as listed more than once; other bytes are another."""
    source = tmp_path / "source"
    source.mkdir()
    Path(os.fsdecode(bytes(source) + b"/a\xff.png")).write_bytes(image_bytes(1))
    (source / "a\\xff.png").write_bytes(image_bytes(other))
    scan(source, tmp_path / "scanned")
    parts = ScannedParts(tmp_path / "scanned")
    with RowFilter(Criteria(policy=POLICY)) as rows:
        write_images(parts, rows, output=tmp_path / "kept", kind=kind, shard_images=1)
    assert rows.counts.kept == written
    assert rows.counts.dropped == ({Drop.REPEATED: 1} if written == 1 else {})
    found = {path.read_bytes() for path in files_in(tmp_path / "kept")}
    assert found == {image_bytes(1), image_bytes(other)}
    lines = (tmp_path / "kept" / "metadata.jsonl").read_text().splitlines()
    names = [json.loads(line)["file_name"] for line in lines]
    assert sorted(names) == [f"{p.parent.name}/{p.name}" for p in files_in(tmp_path / "kept")]


def written(path: Path, kind: FilterFormat) -> list[str]:
    """The uri of each image of an output."""
    if kind is FilterFormat.LIST:
        return path.read_text().splitlines()
    if kind is FilterFormat.PARQUET:
        uris: list[str] = pq.read_table(path)["uri"].to_pylist()
        return uris
    if kind is FilterFormat.JSONL:
        lines = path.read_text().splitlines()
    elif kind is FilterFormat.WEBDATASET:
        lines = [data.decode() for name, data in read_tar(path).items() if name.endswith("json")]
    else:
        lines = (path / "metadata.jsonl").read_text().splitlines()
    return [json.loads(line)["uri"] for line in lines]


@pytest.mark.parametrize("is_unique", [False, True])
@pytest.mark.parametrize("kind", [*FilterFormat, None])
def test_images_of_overlapping_sources_are_written_once(
    tmp_path: Path, kind: FilterFormat | None, is_unique: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each format, and where they are counted only; one that is there twice is written twice."""
    monkeypatch.setattr(units, "FILES_PER_CUT", 10**9)  # one part
    monkeypatch.setattr(units, "MAX_FILES", 100)
    source = tmp_path / "a"
    (source / "sub").mkdir(parents=True)
    for red in range(3):
        (source / "sub" / f"{red}.png").write_bytes(image_bytes(red))
    (source / "0.png").write_bytes(image_bytes(0))
    sources = [source, source / "sub", Path(f"{source}/sub/*.png")]
    scan_all(sources, tmp_path / "scanned")
    parts, output = ScannedParts(tmp_path / "scanned"), tmp_path / "kept"
    with RowFilter(Criteria(policy=POLICY, is_unique=is_unique)) as rows:
        if kind is not None and kind.has_images:
            write_images(parts, rows, output=output, kind=kind, shard_images=99)
        else:
            write_rows(parts, rows, output=kind and output, kind=kind or FilterFormat.LIST)
    images = 3 if is_unique else 4
    if kind is not None:
        uris = written(output, kind)
        assert len(uris) == len(set(uris)) == images
    assert rows.counts.kept == sum(rows.counts.kept_scores) == images
    assert rows.counts.rows == 7
    dropped = rows.counts.dropped
    assert dropped[Drop.REPEATED] + dropped[Drop.DUPLICATE] == 7 - images
    assert dropped[Drop.REPEATED] == 3 or is_unique


@pytest.mark.parametrize("kind", [FilterFormat.COPY, FilterFormat.SYMLINK])
def test_only_the_bytes_that_were_scanned_are_written(
    source: Path, write: Write, tmp_path: Path, kind: FilterFormat
) -> None:
    """Changed and removed files are counted, and do not cost the others of their part."""
    change(source / "010.png", image_bytes(255))
    (source / "020.png").unlink()
    counts = write(tmp_path / "kept", kind)
    names = sorted(path.name.split("-")[1] for path in files_in(tmp_path / "kept"))
    assert names == ["000.png", "030.png", "040.png", "050.png"]
    assert counts.kept == 4
    assert counts.dropped == {Drop.ACTION: 19, Drop.CHANGED: 1, Drop.UNREADABLE: 1}


def test_bytes_that_changed_unnoticed_are_not_copied(
    source: Path, write: Write, tmp_path: Path
) -> None:
    """Size and time are the same, and the hash is not."""
    data = bytearray((source / "010.png").read_bytes())
    data[-1] ^= 1
    change(source / "010.png", bytes(data), unnoticed=True)
    assert write(tmp_path / "kept", FilterFormat.COPY).dropped[Drop.CHANGED] == 1
    assert len(files_in(tmp_path / "kept")) == 5


@pytest.mark.parametrize("kind", FilterFormat)
def test_nothing_is_overwritten(write: Write, tmp_path: Path, kind: FilterFormat) -> None:
    """A file, a directory or a broken link at the place of the output is an error."""
    places = [tmp_path / "file", tmp_path / "directory", tmp_path / "link"]
    places[0].write_text("mine")
    places[1].mkdir()
    places[2].symlink_to(tmp_path / "nowhere")
    for place in places:
        with pytest.raises(ScanFilterError, match="exists and is not overwritten"):
            write(place, kind)
    assert places[0].read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("kind", FilterFormat)
def test_an_error_leaves_nothing(
    scanned: Path, write: Write, tmp_path: Path, kind: FilterFormat
) -> None:
    """A damaged part file ends it; neither the output nor a temporary file is there."""
    max((scanned / "images").iterdir()).write_bytes(b"damaged")
    with pytest.raises(ScanError, match="is damaged or missing"):
        write(tmp_path / "kept", kind)
    assert not (tmp_path / "kept").exists()
    assert_nothing_left(tmp_path)


def test_outputs_stay_out_of_the_scan_and_of_sources(
    source: Path, scanned: Path, write: Write
) -> None:
    """Rows must not become part files, and images not images of the next scan."""
    for place in (scanned / "images" / "part-x.parquet", scanned / "kept.txt"):
        with pytest.raises(ScanFilterError, match="lies in"):
            write(place, FilterFormat.PARQUET)
    with pytest.raises(ScanFilterError, match=r"next scan of .*source finds it"):
        write(source / "kept", FilterFormat.COPY)


def test_images_are_not_written_where_patterns_find_them(tmp_path: Path) -> None:
    """The next scan would find them again."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "1.png").write_bytes(image_bytes(1))
    scan(Path(f"{tmp_path}/source/**/*.png"), tmp_path / "scan")
    parts = ScannedParts(tmp_path / "scan")
    (tmp_path / "link").symlink_to(source)
    for output in (source / "kept", tmp_path / "link" / "kept"):
        with (
            RowFilter(Criteria(policy=POLICY)) as kept,
            pytest.raises(ScanFilterError, match="finds"),
        ):
            write_images(parts, kept, output=output, kind=FilterFormat.COPY, shard_images=10)
    with RowFilter(Criteria(policy=POLICY)) as kept:
        output = tmp_path / "kept"
        write_images(parts, kept, output=output, kind=FilterFormat.COPY, shard_images=10)
    assert len(files_in(output)) == 1


def test_members_that_a_list_names_next_to_a_file_that_changed(tmp_path: Path) -> None:
    """They are looked up, although the part is no longer listed; only the changed file is not."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for red in range(2):
            archive.writestr(f"{red}.png", image_bytes(red))
    (tmp_path / "2.png").write_bytes(image_bytes(2))
    lines = ["2.png", *(f"zip://{red}.png::{tmp_path / 'a.zip'}" for red in range(2))]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    scan(Path(f"@{tmp_path}/list.txt"), tmp_path / "scanned")
    change(tmp_path / "2.png", image_bytes(3))
    with RowFilter(Criteria(policy=POLICY)) as kept:
        write_images(
            ScannedParts(tmp_path / "scanned"),
            kept,
            output=tmp_path / "kept",
            kind=FilterFormat.COPY,
            shard_images=10,
        )
    assert (kept.counts.kept, kept.counts.dropped) == (2, {Drop.CHANGED: 1})
    assert len(files_in(tmp_path / "kept")) == 2


def test_a_list_has_names_that_are_not_utf8(tmp_path: Path) -> None:
    """Files and containers of such names are found again by a scan of the list."""
    source = tmp_path / "source"
    source.mkdir()
    (source / os.fsdecode(b"\xe9.png")).write_bytes(image_bytes(1))
    (source / r"\xe8.png").write_bytes(image_bytes(2))
    with zipfile.ZipFile(source / os.fsdecode(b"\xe9.zip"), "w") as archive:
        archive.writestr("1.png", image_bytes(3))
    scan(source, tmp_path / "scanned")
    with RowFilter(Criteria(policy=POLICY)) as kept:
        write_rows(ScannedParts(tmp_path / "scanned"), kept, output=tmp_path / "kept.txt")
    scan(Path(f"@{tmp_path}/kept.txt"), tmp_path / "again")
    first, second = (
        sorted(
            (row["uri"], row["sha256"], row["error_kind"])
            for path in (tmp_path / name / "images").iterdir()
            for row in pq.read_table(path).to_pylist()
        )
        for name in ("scanned", "again")
    )
    assert first == second
    assert len(first) == 3


def test_a_list_leaves_out_names_with_line_breaks(tmp_path: Path) -> None:
    """They would be two names; they are counted, while the others are written."""
    source = tmp_path / "source"
    source.mkdir()
    for number, name in enumerate(["a\nb.png", "c\rd.png", "e.png"]):
        (source / name).write_bytes(image_bytes(number))
    scan(source, tmp_path / "scanned")
    with RowFilter(Criteria(policy=POLICY, keep=frozenset(Action))) as rows:
        write_rows(ScannedParts(tmp_path / "scanned"), rows, output=tmp_path / "kept.txt")
    assert (tmp_path / "kept.txt").read_text() == f"{source}/e.png\n"
    assert (rows.counts.kept, rows.counts.dropped) == (1, {Drop.LINE_BREAK: 2})


def test_a_list_leaves_out_images_of_an_archive_with_the_mark_of_chains(tmp_path: Path) -> None:
    """They would be members of another archive; those whose own name has it are listed."""
    source = tmp_path / "source"
    folder = source / "::"  # what follows it is an absolute path
    folder.mkdir(parents=True)
    names = ("x.png", "a::b.png", "c::/d.png", "zip://e::f.png")
    for number, path in enumerate((source / "a.zip", source / "a#b::c.zip", folder / "d.zip")):
        with zipfile.ZipFile(path, "w") as archive:
            for place, name in enumerate((*names, "x.png")):  # a name that is there twice
                with warnings.catch_warnings(action="ignore"):
                    archive.writestr(name, image_bytes(10 * number + place))
    (source / "g::h.png").write_bytes(image_bytes(30))
    scan(source, tmp_path / "scanned")
    with RowFilter(Criteria(policy=POLICY)) as rows:
        write_rows(ScannedParts(tmp_path / "scanned"), rows, output=tmp_path / "kept.txt")
    assert (rows.counts.kept, rows.counts.dropped) == (6, {Drop.AMBIGUOUS: 10})
    scan(Path(f"@{tmp_path}/kept.txt"), tmp_path / "again")
    again = [row for path in (tmp_path / "again/images").iterdir() for row in read(path)]
    assert [row["error_kind"] for row in again] == [None] * 6
    lines = (tmp_path / "kept.txt").read_text().splitlines()
    assert sorted(row["uri"] for row in again) == sorted(lines)


def test_a_list_leaves_out_two_files_that_are_shown_the_same(tmp_path: Path) -> None:
    """One of a name that is not UTF-8, and one of its escapes; one of them alone is listed."""
    source = tmp_path / "source"
    (source / "d\udcff").mkdir(parents=True)
    for number, name in enumerate(["a\udcff.png", "a\\xff.png", "b\\xff.png", "d\udcff/c.png"]):
        (source / name).write_bytes(image_bytes(number))
    scan(source, tmp_path / "scanned")
    with RowFilter(Criteria(policy=POLICY)) as rows:
        write_rows(ScannedParts(tmp_path / "scanned"), rows, output=tmp_path / "kept.txt")
    lines = (tmp_path / "kept.txt").read_text().splitlines()
    assert sorted(lines) == [f"{source}/b\\xff.png", f"{source}/d\\xff/c.png"]
    assert (rows.counts.kept, rows.counts.dropped) == (2, {Drop.AMBIGUOUS: 2})


def test_a_list_leaves_out_urls_without_their_credentials(tmp_path: Path) -> None:
    """They would name nothing, or another image; they are counted, and rows say which they are."""
    with range_server() as server:
        server.files["/photo"] = image_bytes(1)  # for any query
        urls = [f"{server.url}/photo?{query}" for query in ("key=1", "sig=1", "w=1")]
        (tmp_path / "list.txt").write_text("\n".join(urls))
        scan(Path(f"@{tmp_path}/list.txt"), tmp_path / "scanned")
    parts = ScannedParts(tmp_path / "scanned")
    with RowFilter(Criteria(policy=POLICY, keep=frozenset(Action))) as rows:
        write_rows(parts, rows, output=tmp_path / "kept.txt")
    assert (tmp_path / "kept.txt").read_text() == f"{urls[2]}\n"
    assert (rows.counts.kept, rows.counts.dropped) == (1, {Drop.CREDENTIALS: 2})
    with RowFilter(Criteria(policy=POLICY, keep=frozenset(Action))) as rows:
        write_rows(parts, rows, output=tmp_path / "kept.jsonl", kind=FilterFormat.JSONL)
    kept = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    assert {row["uri"]: row["uri_redacted"] for row in kept} == {
        f"{server.url}/photo?key=~6b86b273ff34fce1": True,
        f"{server.url}/photo": True,
        urls[2]: False,
    }


@pytest.mark.parametrize("kind", FilterFormat)
@pytest.mark.parametrize(("red", "is_kept"), [(20, True), (200, False)])
def test_nothing_appears_that_was_restricted_since(
    scanned: Path, tmp_path: Path, kind: FilterFormat, red: int, is_kept: bool
) -> None:
    """Restrictions are read again at the end; one of an image that is not kept changes nothing."""
    parts, new = ScannedParts(scanned), {sha256(image_bytes(red)): None}
    with RowFilter(Criteria(policy=POLICY)) as rows:
        if kind.has_images:
            write = partial(write_images, shard_images=1, restricted=lambda: new)
        else:
            write = partial(write_rows, restricted=lambda: new)
        if is_kept:
            with pytest.raises(ScanFilterError, match=r"nothing was written\.$"):
                write(parts, rows, output=tmp_path / "kept", kind=kind)
        else:
            write(parts, rows, output=tmp_path / "kept", kind=kind)
    assert (tmp_path / "kept").exists() is not is_kept
    assert_nothing_left(tmp_path)


def test_a_restriction_during_the_last_check_counts(scanned: Path, tmp_path: Path) -> None:
    """The check is repeated until there is no new one."""
    marks = [{"f" * 64: None}, {"f" * 64: None, sha256(image_bytes(20)): None}]
    with (
        RowFilter(Criteria(policy=POLICY)) as rows,
        pytest.raises(ScanFilterError, match="marked as showing a minor"),
    ):
        write_rows(
            ScannedParts(scanned),
            rows,
            output=tmp_path / "kept.txt",
            restricted=lambda: marks.pop(0),
        )


@pytest.mark.parametrize(
    "kind", [FilterFormat.COPY, FilterFormat.SYMLINK, FilterFormat.WEBDATASET, FilterFormat.LIST]
)
def test_a_copy_is_written_where_another_cannot_be(
    source: Path, tmp_path: Path, kind: FilterFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the images with the same bytes one is kept: the first that can be written."""
    monkeypatch.setattr(units, "FILES_PER_CUT", 10**9)  # one part, in the order of the names
    monkeypatch.setattr(units, "MAX_FILES", 100)
    for name in ("a\nb.png", "zz.png"):
        (source / name).write_bytes(image_bytes(20))
    scan(source, tmp_path / "scanned")
    if kind is not FilterFormat.LIST:
        for name in ("020.png", "a\nb.png"):
            change(source / name, image_bytes(1))
    else:
        (source / "020.png").unlink()
        scan(source, tmp_path / "scanned")
    with RowFilter(Criteria(policy=POLICY, is_unique=True)) as rows:
        parts, output = ScannedParts(tmp_path / "scanned"), tmp_path / "kept"
        if kind.has_images:
            write_images(parts, rows, output=output, kind=kind, shard_images=99)
        else:
            write_rows(parts, rows, output=output, kind=kind)
    lost = Drop.LINE_BREAK if kind is FilterFormat.LIST else Drop.CHANGED
    assert rows.counts.kept == len(ALLOWED)
    assert rows.counts.dropped[lost] == (1 if kind is FilterFormat.LIST else 2)
    assert Drop.DUPLICATE not in rows.counts.dropped


@pytest.mark.parametrize("kind", FilterFormat)
def test_duplicates_are_written_once(source: Path, tmp_path: Path, kind: FilterFormat) -> None:
    """Also those that are read at the same time."""
    for number in range(5):
        (source / f"0201{number}.png").write_bytes(image_bytes(20))
    scan(source, tmp_path / "scanned")
    with RowFilter(Criteria(policy=POLICY, is_unique=True)) as rows:
        parts, output = ScannedParts(tmp_path / "scanned"), tmp_path / "kept"
        if kind.has_images:
            write_images(parts, rows, output=output, kind=kind, shard_images=99)
        else:
            write_rows(parts, rows, output=output, kind=kind)
    assert rows.counts.kept == len(ALLOWED)
    assert rows.counts.dropped[Drop.DUPLICATE] == 5


def test_formats_have_names() -> None:
    """The suffix says the format; other names are an error that lists the suffixes."""
    assert format_of(Path("a.TXT")) is FilterFormat.LIST
    assert format_of(Path("a-%06d.tar")) is FilterFormat.WEBDATASET
    with pytest.raises(ScanFilterError, match=r"\.txt, \.jsonl, \.parquet, \.tar"):
        format_of(Path("kept"))


@pytest.mark.parametrize("named", ["{}", "{}/*.png", "@{}/list.txt"])
def test_images_of_a_source_that_is_not_utf_8_are_found(
    source: Path, tmp_path: Path, named: str
) -> None:
    """The record of a scan has its name with escapes; the output may not lie in it."""
    source = source.rename(os.fsdecode(bytes(tmp_path) + b"/s\xff"))
    (source / "list.txt").write_text("000.png\n010.png\n")
    spec = named.format(source)
    output = tmp_path / "scanned"
    with ScanDirectory.opened(output, record(Path(source_name(spec)))) as directory:
        scanner = Scanner(
            directory.parts, classifier=CountingClassifier(), policy=POLICY, limits=LIMITS
        )
        list(scanner.scan(find_units([spec], left_out=scanner.left_out)))
    parts = ScannedParts(output)
    assert parts.record.sources == (named.format(f"{tmp_path}/s\\xff"),)
    found = [entry for entries, _ in parts.with_entries() for entry in entries]
    assert {Path(entry.file).parent for entry in found} == {source}
    if named != "{}":
        return
    with (
        RowFilter(Criteria(policy=POLICY)) as rows,
        pytest.raises(ScanFilterError, match="Choose another --output"),
    ):
        write_images(parts, rows, output=source / "x", kind=FilterFormat.COPY, shard_images=1)


@pytest.mark.parametrize("kind", [FilterFormat.COPY, FilterFormat.HARDLINK, FilterFormat.SYMLINK])
def test_a_file_that_a_table_names_can_be_linked(tmp_path: Path, kind: FilterFormat) -> None:
    """It is a file of its own; one that has changed since the scan is not written."""
    photo, output = tmp_path / "a.png", tmp_path / "kept"
    photo.write_bytes(image_bytes(10))
    image = pa.array([{"bytes": None, "path": "a.png"}])
    image = image.cast(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    pq.write_table(pa.table({"image": image}), tmp_path / "x.parquet")
    scan(tmp_path / "x.parquet", tmp_path / "scanned")
    parts = ScannedParts(tmp_path / "scanned")
    with RowFilter(Criteria(policy=POLICY)) as rows:
        write_images(parts, rows, output=output, kind=kind, shard_images=1)
    (path,) = (each for each in files_in(output) if each.name != "metadata.jsonl")
    assert path.read_bytes() == photo.read_bytes()
    assert path.is_symlink() == (kind is FilterFormat.SYMLINK)
    change(photo, image_bytes(20))
    with RowFilter(Criteria(policy=POLICY)) as rows:
        write_images(parts, rows, output=tmp_path / "later", kind=kind, shard_images=1)
    assert not rows.counts.kept
