"""Sources: the units and parts of directories and archives, and the bytes of their entries."""

import bz2
import gzip
import io
import lzma
import tarfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nsfw_app.dataset_errors import SourceError
from nsfw_app.datasets import files
from nsfw_app.datasets.entries import Entry, Part
from nsfw_app.datasets.left_out import LeftOut, LeftOutFiles
from nsfw_app.datasets.locations import resolved
from nsfw_app.datasets.reading import Reader
from nsfw_app.datasets.units import FILES_PER_CUT, find_units, grouped, parts_of
from nsfw_app.errors import ImageError
from nsfw_app.imaging.decode import Limits

LIMITS = Limits(max_bytes=100_000, max_pixels=1_000_000, max_frames=4)


@pytest.fixture
def reader() -> Iterator[Reader]:
    """A reader of images up to 100 kB."""
    with Reader(LIMITS) as reader:
        yield reader


def parts(*specs: Path | str, left_out: LeftOutFiles | None = None) -> list[Part]:
    """All parts of sources."""
    left_out = left_out or LeftOutFiles()
    return [
        part
        for unit in find_units([str(spec) for spec in specs], left_out=left_out)
        for part in parts_of(unit, left_out=left_out)
    ]


def entries(*specs: Path | str, left_out: LeftOutFiles | None = None) -> list[Entry]:
    """All entries of sources."""
    return [entry for part in parts(*specs, left_out=left_out) for entry in part.entries]


def outcome(reader: Reader, entry: Entry) -> bytes | str:
    """What reading an entry gives: bytes, or the kind of the error."""
    try:
        return reader.read(entry)
    except ImageError as error:
        return error.kind


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip archive."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def tarred(members: list[tuple[str, bytes]]) -> bytes:
    """A tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zstd(data: bytes) -> bytes:
    """Bytes compressed by Zstandard."""
    return pa.Codec("zstd").compress(data, asbytes=True)


def test_directories_are_listed_in_order(tmp_path: Path, reader: Reader) -> None:
    """Files have absolute paths, sizes and versions; other files are counted."""
    for name in ("b.png", "a.jpg", "deep/c.webp", ".hidden.png", "notes.txt", "labels.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    left_out = LeftOutFiles()
    found = entries(tmp_path, left_out=left_out)
    assert [entry.uri for entry in found] == [
        str(tmp_path / name) for name in ("a.jpg", "b.png", "deep/c.webp")
    ]
    assert [reader.read(entry) for entry in found] == [b"a.jpg", b"b.png", b"deep/c.webp"]
    status = (tmp_path / "a.jpg").stat()
    assert (found[0].size, found[0].version) == (5, f"5-{status.st_mtime_ns}")
    assert left_out.counts == {LeftOut.NAME: 2, LeftOut.HIDDEN: 1}


def test_the_output_directory_is_not_searched(tmp_path: Path) -> None:
    """Results within a source are left out and counted."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "part-1.parquet").touch()
    for spec in (tmp_path, tmp_path / "**" / "*"):
        left_out = LeftOutFiles()
        assert not list(find_units([str(spec)], left_out=left_out, excluded=tmp_path / "out"))
        assert left_out.counts == {LeftOut.DESTINATION: 1}


@pytest.mark.parametrize("excluded", ["out", "sub/../out", "link", "link/../out"])
@pytest.mark.parametrize("pattern", ["**", "*/*/*", "link/*/*", "sub/../out/*/*", "out/images/*"])
def test_the_output_is_not_searched_by_any_path(
    tmp_path: Path, excluded: str, pattern: str
) -> None:
    """Through a link or a parent directory; files next to it are found."""
    (tmp_path / "out" / "images").mkdir(parents=True)
    (tmp_path / "out" / "images" / "part-1.parquet").touch()
    (tmp_path / "sub" / "in").mkdir(parents=True)
    (tmp_path / "sub" / "in" / "a.png").touch()
    (tmp_path / "link").symlink_to("out")
    left_out = LeftOutFiles()
    specs = [f"{tmp_path}/{pattern}", f"{tmp_path}/sub/*/*"]
    units = list(find_units(specs, left_out=left_out, excluded=tmp_path / excluded))
    assert {entry.uri for unit in units for entry in unit.entries} == {f"{tmp_path}/sub/in/a.png"}
    assert left_out.counts[LeftOut.DESTINATION] >= 1


def test_a_source_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    """It is raised before anything is listed, so that no results are removed for it."""
    with pytest.raises(SourceError, match=rf"^{tmp_path}/missing does not exist\.$"):
        find_units([str(tmp_path), str(tmp_path / "missing")], left_out=LeftOutFiles())


def test_an_empty_directory_is_a_source_without_images(tmp_path: Path) -> None:
    """All that it had may be gone, which the scan decides."""
    assert entries(tmp_path) == []


def test_a_name_in_braces_that_does_not_exist_is_missing(tmp_path: Path, reader: Reader) -> None:
    """It was named, as a line of a list is; also where none of the names exists."""
    (tmp_path / "a.jpg").write_bytes(b"a")
    found = entries(f"{tmp_path}/{{a.jpg,b.jpg,c.tar}}")
    assert {Path(entry.uri).name: outcome(reader, entry) for entry in found} == {
        "a.jpg": b"a",
        "b.jpg": "missing",
        "c.tar": "missing",
    }
    found = entries(f"{tmp_path}/{{3..4}}.tar")
    assert [outcome(reader, entry) for entry in found] == ["missing", "missing"]


def test_directories_are_listed_when_they_are_needed(tmp_path: Path) -> None:
    """What appears in a later directory before it is reached is found: nothing is listed ahead."""
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.zip").touch()
    units = find_units([str(tmp_path)], left_out=LeftOutFiles())
    next(units)
    (tmp_path / "c" / "y.zip").touch()
    names = [Path(unit.entries[0].file).relative_to(tmp_path) for unit in units]
    assert [str(name) for name in names] == ["b/x.zip", "c/x.zip", "c/y.zip"]


def test_one_file_changes_one_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is added, removed or changed leaves the keys of all other parts as they are."""
    monkeypatch.setattr("nsfw_app.datasets.units.FILES_PER_CUT", FILES_PER_CUT)
    files = [Entry(f"/images/{number:05}.jpg", "", version="1") for number in range(20_000)]
    before = keys(files)
    assert 20 < len(before) < 80
    for number in range(0, 20_000, 6_661):
        added = Entry(f"/images/{number:05}-added.jpg", "", version="1")
        assert len(before - keys([*files[:number], added, *files[number:]])) == 1
        assert len(before - keys(files[:number] + files[number + 1 :])) <= 2  # a cut itself
        changed = Entry(files[number].uri, "", version="2")
        assert len(before - keys([*files[:number], changed, *files[number + 1 :]])) == 1


def keys(entries: list[Entry]) -> set[str]:
    """The keys of the parts of files."""
    units = list(grouped(iter(entries)))
    assert max(len(unit.entries) for unit in units) < 2_000
    return {Part.of(unit.entries).key for unit in units}


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_members_of_zip_archives_are_read(tmp_path: Path, reader: Reader, method: int) -> None:
    """Each compression of the standard library; a path in a name is a name only."""
    members = {"a.jpg": b"one" * 99, "deep/b.png": b"two", "../../etc/c.png": b"three"}
    path = zipped(tmp_path / "x.zip", members | {"t.txt": b"", "in.zip": b"", "d/": b""}, method)
    left_out = LeftOutFiles()
    found = entries(path, left_out=left_out)
    assert [entry.uri for entry in found] == [f"zip://{name}::{path}" for name in members]
    assert [reader.read(entry) for entry in found] == list(members.values())
    assert left_out.counts == {LeftOut.NAME: 1, LeftOut.NESTED: 1}


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        (".tar", bytes),
        (".tar.gz", gzip.compress),
        (".tgz", gzip.compress),
        (".tar.bz2", bz2.compress),
        (".tar.xz", lzma.compress),
        (".tar.zst", zstd),
    ],
)
def test_members_of_tar_archives_are_read(
    tmp_path: Path, reader: Reader, suffix: str, compress: type[bytes]
) -> None:
    """Compressed or not, in any order; links and directories are no members."""
    members = [(f"{number}.jpg", bytes([number]) * 999) for number in range(1, 60)]
    path = tmp_path / f"x{suffix}"
    path.write_bytes(compress(tarred([*members, ("1.txt", b"x"), ("x.tar", b"y")])))
    left_out = LeftOutFiles()
    found = entries(path, left_out=left_out)
    assert [entry.uri for entry in found] == [f"tar://{name}::{path}" for name, _ in members]
    assert [reader.read(entry) for entry in found] == [data for _, data in members]
    assert reader.read(found[3]) == members[3][1]
    assert left_out.counts == {LeftOut.NAME: 1, LeftOut.NESTED: 1}


def test_repeated_members_have_uris_of_their_own(tmp_path: Path, reader: Reader) -> None:
    """Each of them is read where it is."""
    path = tmp_path / "x.tar"
    path.write_bytes(tarred([("a.jpg", b"1"), ("a.jpg", b"2"), ("a.jpg", b"3")]))
    found = entries(path)
    assert [entry.uri.partition("::")[0] for entry in found] == [
        "tar://a.jpg",
        "tar://a.jpg#2",
        "tar://a.jpg#3",
    ]
    assert [reader.read(entry) for entry in found] == [b"1", b"2", b"3"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["a", "a", "a#2"], ["a", "a#2", "a#2#2"]),
        (["a#2", "a", "a"], ["a#2", "a", "a#3"]),
        (["a", "a#2", "a", "a#3", "a"], ["a", "a#2", "a#3", "a#3#2", "a#4"]),
        (["a", "a", "a#2", "a#2", "a"], ["a", "a#2", "a#2#2", "a#2#3", "a#3"]),
    ],
)
def test_no_two_members_have_the_same_uri(
    tmp_path: Path, reader: Reader, kind: str, names: list[str], shown: list[str]
) -> None:
    """Also where a name is that of another member with a number; each has its own bytes."""
    path, data = tmp_path / f"x.{kind}", [name.encode() for name in "123456"[: len(names)]]
    if kind == "tar":
        path.write_bytes(tarred(list(zip(names, data, strict=True))))
    else:
        with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about repeated names
            for name, content in zip(names, data, strict=True):
                archive.writestr(name, content)
    found = entries(path)
    assert [entry.uri for entry in found] == [f"{kind}://{name}::{path}" for name in shown]
    assert [reader.read(entry) for entry in found] == data


def test_webdataset_shards_are_read(tmp_path: Path, reader: Reader) -> None:
    """Samples that are named by key: their images, by a pattern; a missing shard is an error."""
    for shard in (0, 2):
        samples = [(f"{shard}{key}.{kind}", b"x") for key in "ab" for kind in ("jpg", "json")]
        (tmp_path / f"shard-{shard:06}.tar").write_bytes(tarred(samples))
    left_out = LeftOutFiles()
    found = entries(f"{tmp_path}/shard-{{000000..000002}}.tar", left_out=left_out)
    members = [(entry.member, outcome(reader, entry)) for entry in found]
    assert members == [
        ("0a.jpg", b"x"),
        ("0b.jpg", b"x"),
        ("", "missing"),
        ("2a.jpg", b"x"),
        ("2b.jpg", b"x"),
    ]
    assert left_out.counts == {LeftOut.NAME: 4}


def test_containers_are_cut_into_parts(tmp_path: Path) -> None:
    """Of 1,000 entries, in the order of the container; its version is that of its entries."""
    path = zipped(tmp_path / "x.zip", {f"{number}.jpg": b"x" for number in range(2_500)})
    assert [len(part.entries) for part in parts(path)] == [1_000, 1_000, 500]
    assert [part.key for part in parts(path)] == [part.key for part in parts(path)]


def test_files_without_content_are_typed_errors(tmp_path: Path, reader: Reader) -> None:
    """Empty files, missing ones, Git LFS pointers and files over the limit."""
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "large.jpg").write_bytes(bytes(100_001))
    (tmp_path / "link.jpg").symlink_to("nowhere")
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (tmp_path / "pointer.jpg").write_bytes(pointer)
    (tmp_path / "pointer.tar").write_bytes(pointer)
    (tmp_path / "pointer.zip").write_bytes(pointer)
    found = {Path(entry.uri).name: outcome(reader, entry) for entry in entries(tmp_path)}
    assert found == {
        "empty.jpg": "empty",
        "large.jpg": "too_large",
        "link.jpg": "missing",
        "pointer.jpg": "pointer",
        "pointer.tar": "pointer",
        "pointer.zip": "pointer",
    }


@pytest.mark.parametrize("spec", ["", " ", "@"])
def test_an_empty_source_is_an_error(spec: str) -> None:
    """It does not mean the working directory, as an unset variable of a script would."""
    with pytest.raises(SourceError, match="A source is empty"):
        find_units([spec], left_out=LeftOutFiles())


def test_a_list_names_images_within_containers(tmp_path: Path, reader: Reader) -> None:
    """Its uris are those of a scan of the container; paths are relative to the list."""
    (tmp_path / "a.jpg").write_bytes(b"one")
    archive = zipped(tmp_path / "z.zip", {"in/b.jpg": b"two", "c.jpg": b"three", "d.jpg": b"four"})
    table = tmp_path / "x.parquet"
    pq.write_table(pa.table({"image": [b"five", b"six"]}), table)
    lines = [f"zip://in/b.jpg::{archive}", f"{tmp_path}/a.jpg", f"{table}#1", "zip://d.jpg::z.zip"]
    (tmp_path / "kept.txt").write_text("\n".join(lines))
    found = entries(f"@{tmp_path}/kept.txt")
    assert [each.uri for each in found] == [*lines[:3], f"zip://d.jpg::{archive}"]
    assert [outcome(reader, each) for each in found] == [b"two", b"one", b"six", b"four"]
    whole = {each.uri: each for each in entries(archive, table)}
    assert [each for each in found if each.member] == [whole[found[n].uri] for n in (0, 2, 3)]


def test_named_members_come_in_the_order_of_their_archive(tmp_path: Path, reader: Reader) -> None:
    """It may be compressed; what it lacks has an error, what is named twice two entries."""
    archive = tmp_path / "t.tar.gz"
    archive.write_bytes(gzip.compress(tarred([("a.jpg", b"1"), ("b.jpg", b"2")])))
    names = ["b.jpg", "no.jpg", "a.jpg", "b.jpg"]
    (tmp_path / "kept.txt").write_text("\n".join(f"tar://{name}::{archive}" for name in names))
    found = entries(f"@{tmp_path}/kept.txt")
    assert [each.name for each in found[:3]] == ["a.jpg", "b.jpg", "b.jpg"]
    assert [outcome(reader, each) for each in found] == [b"1", b"2", b"2", "unreadable"]


@pytest.mark.parametrize("name", ["no.zip", "damaged.zip"])
def test_named_members_of_a_lost_archive_have_its_error(tmp_path: Path, name: str) -> None:
    """Each of them; the rest of the list is read."""
    (tmp_path / "damaged.zip").write_bytes(b"PK\x03\x04 damaged")
    (tmp_path / "a.jpg").write_bytes(b"one")
    lines = [f"zip://a.jpg::{name}", f"zip://b.jpg::{name}", "a.jpg"]
    (tmp_path / "kept.txt").write_text("\n".join(lines))
    found = entries(f"@{tmp_path}/kept.txt")
    assert [bool(each.problem) for each in found] == [True, True, False]
    assert all(name in each.problem.message for each in found if each.problem)


def test_a_table_that_names_its_own_rows_ends(tmp_path: Path) -> None:
    """Such a row is an error, and not a listing without an end."""
    table = tmp_path / "x.parquet"
    pq.write_table(pa.table({"path": ["x.parquet#0"]}), table)
    (found,) = entries(table)
    assert found.problem
    assert "no image of this name" in found.problem.message


def test_a_member_can_be_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its archive is a path as any other, and must exist."""
    archive = zipped(tmp_path / "z.zip", {"a.jpg": b"one", "b.jpg": b"two"})
    monkeypatch.chdir(tmp_path)
    assert [each.uri for each in entries("zip://b.jpg::z.zip")] == [f"zip://b.jpg::{archive}"]
    with pytest.raises(SourceError, match="does not exist"):
        find_units(["zip://b.jpg::no.zip"], left_out=LeftOutFiles())


@pytest.mark.parametrize(
    "line",
    [
        "http://[x/b.jpg",
        "http://[x/directory/",
        "no-such-scheme://b",
        "no-such-scheme://x.zip",
        "zip://b.jpg::no-such-scheme://x.zip",
    ],
)
def test_a_damaged_line_is_one_error(tmp_path: Path, reader: Reader, line: str) -> None:
    """Invalid URLs and unknown schemes; the other lines are read."""
    (tmp_path / "a.jpg").write_bytes(b"one")
    (tmp_path / "list.txt").write_text(f"{line}\na.jpg\n")
    found = [outcome(reader, each) for each in entries(f"@{tmp_path}/list.txt")]
    assert sorted(found, key=str) == [b"one", "unreadable"]


@pytest.mark.parametrize("line", ["http://[x/", "http://anna:secret@[x?w=1"])
def test_a_line_without_a_file_name_is_named_in_its_error(tmp_path: Path, line: str) -> None:
    """By the whole URL, without credentials."""
    (tmp_path / "list.txt").write_text(f"{line}\n")
    (entry,) = entries(f"@{tmp_path}/list.txt")
    with pytest.raises(ImageError, match=r"^http://\[x") as refused:
        files.status(entry.file)
    assert "secret" not in str(refused.value)


def test_a_server_that_does_not_answer_is_named_once() -> None:
    """In the error about a source that has no file name."""
    url = "http://127.0.0.1:1/"
    with pytest.raises(SourceError, match=rf"^{url} cannot be read") as refused:
        entries(url)
    assert str(refused.value).count(url) == 1


def test_a_line_that_a_list_may_not_have_is_one_error(reader: Reader) -> None:
    """A remote list that names a file of this machine; the other lines are read."""
    memory = fsspec.filesystem("memory")
    memory.pipe({"/lines/a.jpg": b"one", "/lines/l.txt": b"file:///etc/hosts\na.jpg\n"})
    found = entries("@memory://lines/l.txt")
    assert [each.uri for each in found] == ["memory://lines/l.txt#0", "memory://lines/a.jpg"]
    assert [outcome(reader, each) for each in found] == ["unreadable", b"one"]
    memory.rm("/lines", recursive=True)


def test_a_list_from_elsewhere_names_no_archive_of_this_machine(tmp_path: Path) -> None:
    """The archive of a member is resolved as a file is: relative to the list."""
    archive = zipped(tmp_path / "z.zip", {"a.jpg": b"one"})
    chain = f"zip://a.jpg::{archive}"
    assert resolved(chain, table="https://example.org/lists/kept.txt") == (
        f"zip://a.jpg::https://example.org{archive}"
    )
    with pytest.raises(ImageError, match="a file of this machine"):
        resolved(f"zip://a.jpg::file://{archive}", table="https://example.org/lists/kept.txt")
