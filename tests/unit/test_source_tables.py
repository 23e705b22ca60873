"""Tables of images: Parquet files with bytes or paths, CSV and JSONL with paths."""

import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nsfw_app.datasets import parquet_files
from nsfw_app.datasets.left_out import LeftOutFiles
from nsfw_app.datasets.reading import Reader
from nsfw_app.errors import ImageError
from tests.support.fakes import image_bytes
from tests.support.scans import CountingClassifier, change, rows, scan
from tests.unit.test_sources import LIMITS, entries, outcome, parts, tarred, zipped

ONE_IMAGE = image_bytes(1)
IMAGES = [bytes([number]) * (100 + number) for number in range(100)]


@pytest.fixture
def reader() -> Iterator[Reader]:
    """A reader of images up to 100 kB."""
    with Reader(LIMITS) as reader:
        yield reader


def written(path: Path, columns: dict[str, object], **options: object) -> Path:
    """A Parquet file."""
    pq.write_table(pa.table(columns), path, **options)
    return path


def table_file(path: Path, columns: dict[str, object]) -> Path:
    """A Parquet or Arrow file, by its name."""
    if path.suffix == ".parquet":
        return written(path, columns)
    table = pa.table(columns)
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    return path


def hugging_face(images: list[bytes | None], paths: list[str | None]) -> pa.Array:
    """A column of images as `datasets` writes it."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"bytes": b, "path": p} for b, p in zip(images, paths, strict=True)]
    return pa.array(rows, kind)


def test_hugging_face_datasets_are_read(tmp_path: Path, reader: Reader) -> None:
    """A directory with its README: each row of each file, with its number."""
    (tmp_path / "README.md").touch()
    (tmp_path / "data").mkdir()
    image = hugging_face(list(IMAGES), [None] * 100)
    path = written(
        tmp_path / "data" / "train-00000-of-00001.parquet",
        {"image": image, "label": pa.array([0] * 100)},
        row_group_size=30,
    )
    found = entries(tmp_path)
    assert [entry.uri for entry in found] == [f"{path}#{row}" for row in range(100)]
    assert [reader.read(entry) for entry in found] == IMAGES


@pytest.mark.parametrize("name", ["jpg", "anything"])
def test_a_column_of_bytes_is_read(tmp_path: Path, reader: Reader, name: str) -> None:
    """By a usual name, or the only one; bytes that are missing are an error of one row."""
    path = written(tmp_path / "x.parquet", {name: [b"one", None, b"", b"four"], "id": [1, 2, 3, 4]})
    found = [outcome(reader, entry) for entry in entries(path)]
    assert found == [b"one", "empty", "empty", b"four"]


@pytest.mark.parametrize("kind", [pa.large_binary(), pa.binary_view(), "dictionary"])
@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_bytes_of_any_layout_are_read(
    tmp_path: Path, reader: Reader, kind: object, suffix: str
) -> None:
    """Also as views, and as a dictionary, as Polars and categories of pandas write them."""
    data = [b"one", None, b"a longer image", b"one"]
    column = pa.array(data).dictionary_encode() if kind == "dictionary" else pa.array(data, kind)
    path = table_file(tmp_path / f"x.{suffix}", {"image": column})
    found = [outcome(reader, entry) for entry in entries(path)]
    assert found == [b"one", "empty", b"a longer image", b"one"]


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), "dictionary"])
@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_paths_of_any_layout_are_read(
    tmp_path: Path, reader: Reader, kind: object, suffix: str
) -> None:
    """As bytes are."""
    (tmp_path / "a.jpg").write_bytes(b"file")
    data = ["a.jpg", None, "a.jpg"]
    column = pa.array(data).dictionary_encode() if kind == "dictionary" else pa.array(data, kind)
    path = table_file(tmp_path / f"x.{suffix}", {"path": column})
    found = [outcome(reader, entry) for entry in entries(path)]
    assert found == [b"file", "unreadable", b"file"]


def test_a_struct_of_categories_is_read(tmp_path: Path, reader: Reader) -> None:
    """Bytes and path of an image may be dictionaries, too."""
    (tmp_path / "a.jpg").write_bytes(b"file")
    fields = [pa.array([b"one", None]), pa.array([None, "a.jpg"])]
    image = pa.StructArray.from_arrays([f.dictionary_encode() for f in fields], ["bytes", "path"])
    path = table_file(tmp_path / "x.arrow", {"image": image})
    assert [outcome(reader, entry) for entry in entries(path)] == [b"one", b"file"]


def test_several_columns_of_images_are_read(tmp_path: Path, reader: Reader) -> None:
    """Each of them; the uri has the column."""
    columns = {"a": hugging_face([b"1"], [None]), "b": hugging_face([b"2"], [None])}
    path = written(tmp_path / "x.parquet", columns)
    found = entries(path)
    assert [entry.uri for entry in found] == [f"{path}#0.a", f"{path}#0.b"]
    assert [reader.read(entry) for entry in found] == [b"1", b"2"]


def test_paths_in_place_of_bytes_are_read(tmp_path: Path, reader: Reader) -> None:
    """Relative to the file, as `datasets` writes images that it did not embed."""
    (tmp_path / "a.jpg").write_bytes(b"file")
    image = hugging_face([None, b"bytes", None], ["a.jpg", "b.jpg", "missing.jpg"])
    path = written(tmp_path / "x.parquet", {"image": image})
    assert [outcome(reader, e) for e in entries(path)] == [b"file", b"bytes", "missing"]


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_paths_of_a_struct_without_any_bytes_are_read(
    tmp_path: Path, reader: Reader, suffix: str
) -> None:
    """Where all are null, pandas writes a column of bytes that has no type."""
    (tmp_path / "a.jpg").write_bytes(b"file")
    kind = pa.struct([("bytes", pa.null()), ("path", pa.string())])
    rows = [{"bytes": None, "path": path} for path in ("a.jpg", None, "b.jpg")]
    path = table_file(tmp_path / f"x.{suffix}", {"image": pa.array([*rows, None], kind)})
    found = [outcome(reader, each) for each in entries(path)]
    assert found == [b"file", "empty", "missing", "empty"]


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
@pytest.mark.parametrize(
    ("columns", "read"),
    [
        ({"path": ["a.jpg"], "embedding": [b"other"]}, b"file"),
        ({"path": ["a.jpg"], "content": [b"bytes"]}, b"bytes"),
        ({"path": ["a.jpg"], "encoded": [ONE_IMAGE]}, ONE_IMAGE),
        ({"path": ["a.jpg"] * 2, "encoded": [None, ONE_IMAGE]}, ONE_IMAGE),
        ({"caption": ["a.jpg"], "anything": [b"bytes"]}, b"bytes"),
    ],
)
def test_one_of_paths_or_bytes_is_read(
    tmp_path: Path, reader: Reader, columns: dict[str, object], read: bytes, suffix: str
) -> None:
    """Bytes by a usual name, else the only ones, unless there are paths and these are no images."""
    (tmp_path / "a.jpg").write_bytes(b"file")
    path = table_file(tmp_path / f"x.{suffix}", columns)
    assert outcome(reader, entries(path)[-1]) == read


def test_rows_are_read_by_threads_and_in_any_order(tmp_path: Path) -> None:
    """Nearly in order as a scan reads them, backward, and with a small window."""
    path = written(tmp_path / "x.parquet", {"image": list(IMAGES)}, row_group_size=40)
    found = entries(path)
    threads_before = threading.active_count()
    with Reader(LIMITS) as reader, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(reader.read, found)) == IMAGES
    with pytest.MonkeyPatch.context() as patch, Reader(LIMITS) as reader:
        patch.setattr(parquet_files, "WINDOW_BYTES", 1_000)
        assert [reader.read(entry) for entry in reversed(found)] == IMAGES[::-1]
    assert threading.active_count() <= threads_before


def test_a_large_row_is_not_returned(tmp_path: Path, reader: Reader) -> None:
    """It is over the limit; its neighbors are read."""
    path = written(tmp_path / "x.parquet", {"image": [b"1", bytes(LIMITS.max_bytes + 1), b"3"]})
    assert [outcome(reader, entry) for entry in entries(path)] == [b"1", "too_large", b"3"]


def test_damaged_rows_lose_their_row_group_at_most(tmp_path: Path, reader: Reader) -> None:
    """Damage in the middle of a file is an error of its rows; others are read."""
    path = written(
        tmp_path / "x.parquet",
        {"image": list(IMAGES)},
        row_group_size=25,
        compression="none",
        use_dictionary=False,
    )
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)
    found = [outcome(reader, entry) for entry in entries(path)]
    assert found[:25] == IMAGES[:25]
    assert found[25:50] == ["corrupt"] * 25
    assert found[50:] == IMAGES[50:]


@pytest.mark.parametrize("size", [0, 3, 100, -20])
def test_a_truncated_file_is_one_error(tmp_path: Path, reader: Reader, size: int) -> None:
    """Its footer is at the end, so that nothing of it can be read."""
    path = written(tmp_path / "x.parquet", {"image": list(IMAGES)})
    path.write_bytes(path.read_bytes()[:size])
    (entry,) = entries(path)
    assert entry.uri == str(path)
    with pytest.raises(ImageError, match="cannot be opened as a Parquet file") as caught:
        reader.read(entry)
    assert caught.value.kind == "unreadable"


def test_a_table_without_images_is_one_error(tmp_path: Path, reader: Reader) -> None:
    """The message has its columns with their types."""
    path = written(tmp_path / "x.parquet", {"id": [1], "caption": ["a"]})
    (entry,) = entries(path)
    with pytest.raises(
        ImageError, match=r"no column of images.*it has: id \(int64\), caption \(string\)\.$"
    ):
        reader.read(entry)


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        (pa.array([b"x"], pa.binary(1)), "image (fixed_size_binary[1])"),
        (pa.array([[b"x"]]), "image (list<element: binary>)"),
    ],
)
def test_a_column_of_another_type_is_one_error(
    tmp_path: Path, reader: Reader, column: pa.Array, shown: str
) -> None:
    """The message has the type and those that are read."""
    (entry,) = entries(written(tmp_path / "x.parquet", {"image": column}))
    with pytest.raises(ImageError) as caught:
        reader.read(entry)
    assert "Images are bytes (binary)" in str(caught.value)
    assert str(caught.value).endswith(f"it has: {shown}.")


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_tables_of_paths_are_read(tmp_path: Path, reader: Reader, suffix: str) -> None:
    """Relative to the table; each entry is that of the file, with its size and version."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ä 1.jpg").write_bytes(b"one")
    (tmp_path / "2.jpg").write_bytes(b"two")
    names = ["in/ä 1.jpg", str(tmp_path / "2.jpg"), "in/../2.jpg", "3.jpg"]
    path = tmp_path / f"x{suffix}"
    if suffix == ".parquet":
        written(path, {"label": ["a"] * 4, "file_name": names})
    elif suffix == ".csv":
        path.write_text("label,file_name\n" + "".join(f"a,{name}\n" for name in names))
    else:
        rows = ({"label": "a", "file_name": name} for name in names)
        path.write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    found = entries(path)
    assert [entry.uri for entry in found] == [
        str(tmp_path / name) for name in ("in/ä 1.jpg", "2.jpg", "2.jpg", "3.jpg")
    ]
    assert found[1].version.startswith("3-")
    assert [outcome(reader, e) for e in found] == [b"one", b"two", b"two", "missing"]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv", ".jsonl"])
def test_tables_of_paths_in_directories_are_left_out(tmp_path: Path, suffix: str) -> None:
    """And counted, so that a filtered table does not double its images. Named ones are read."""
    (tmp_path / "a.jpg").write_bytes(b"x")
    path = tmp_path / f"kept{suffix}"
    table = pa.table({"uri": ["a.jpg"], "nsfw_score": [0.1]})
    if suffix == ".parquet":
        pq.write_table(table, path)
    elif suffix == ".arrow":
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table)
    else:
        path.write_text("uri\na.jpg\n" if suffix == ".csv" else '{"uri": "a.jpg"}\n')
    left_out = LeftOutFiles()
    found = [entry.uri for entry in entries(tmp_path, left_out=left_out)]
    assert found == [f"{tmp_path}/a.jpg"]
    assert left_out.counts.total() == 1
    assert path.name in left_out.summary()
    for named in (path, f"{tmp_path}/*{suffix}"):
        assert [entry.uri for entry in entries(named)] == found


def test_rows_without_a_path_are_errors_of_these_rows(tmp_path: Path, reader: Reader) -> None:
    """Lines that are not JSON, other types, missing keys."""
    (tmp_path / "a.jpg").write_bytes(b"x")
    path = tmp_path / "x.jsonl"
    path.write_text('{"path": "a.jpg"}\n{broken\n[1]\n{"path": 7}\n{"id": 1}\n"a.jpg"\n')
    found = entries(path)
    assert [outcome(reader, e) for e in found] == [b"x", *["unreadable"] * 4, b"x"]
    assert [entry.uri for entry in found[1:3]] == [f"{path}#1", f"{path}#2"]


def test_rows_of_unknown_schemes_are_errors_of_these_rows(tmp_path: Path, reader: Reader) -> None:
    """One URL of a table does not end a scan."""
    (tmp_path / "a.jpg").write_bytes(b"x")
    path = tmp_path / "x.csv"
    path.write_text("path\nno-such-scheme://x.jpg\na.jpg\n")
    assert [outcome(reader, each) for each in entries(path)] == ["unreadable", b"x"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("http://[x/b.jpg", "unreadable"),
        ("file://[x/b.jpg", "missing"),
        ("\ud800.jpg", "unreadable"),
        ("zip://b.jpg::no-such-scheme://x.zip", "unreadable"),
        ("zip://b.jpg::http://[x/x.zip", "missing"),
    ],
)
def test_a_damaged_path_is_an_error_of_its_row(
    tmp_path: Path, reader: Reader, path: str, kind: str
) -> None:
    """Invalid URLs, surrogates, archives of unknown schemes; the other rows are read."""
    (tmp_path / "a.jpg").write_bytes(b"x")
    table = tmp_path / "x.jsonl"
    table.write_text("".join(json.dumps({"path": each}) + "\n" for each in (path, "a.jpg")))
    found = entries(table)
    assert [outcome(reader, each) for each in found] == [kind, b"x"]
    for each in found:
        each.uri.encode()


def test_a_table_with_a_field_without_end_is_one_error(tmp_path: Path, reader: Reader) -> None:
    """After the rows before it."""
    (tmp_path / "a.jpg").write_bytes(b"x")
    path = tmp_path / "x.csv"
    path.write_text("path\na.jpg\n" + 'x"' * 3 + "y" * 2**20 + "\n")
    assert [outcome(reader, entry) for entry in entries(path)] == [b"x", "unreadable"]


def test_a_table_with_two_columns_of_paths_of_one_name_is_one_error(tmp_path: Path) -> None:
    """One of them would be scanned; other columns may be repeated, as they are not read."""
    path = tmp_path / "x.csv"
    path.write_text("path,path\na.jpg,b.jpg\n")
    (found,) = entries(path)
    assert found.problem is not None
    assert "x.csv has several columns 'path'" in found.problem.message
    path.write_text("path,by,by\na.jpg,1,2\n")
    assert [entry.uri for entry in entries(path)] == [str(tmp_path / "a.jpg")]


def test_tables_in_directories_are_not_sources(tmp_path: Path) -> None:
    """They describe the images next to them, which would be listed twice."""
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.jpg"}\n')
    assert [entry.uri for entry in entries(tmp_path)] == [str(tmp_path / "a.jpg")]


def test_files_of_several_sources_share_a_part(tmp_path: Path) -> None:
    """Containers between them are parts of their own."""
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        (tmp_path / name).write_bytes(b"x")
    table = tmp_path / "t.csv"
    table.write_text("path\n3.jpg\n")
    left_out = LeftOutFiles()
    found = parts(tmp_path / "1.jpg", tmp_path / "2.jpg", table, left_out=left_out)
    assert [[Path(e.uri).name for e in part.entries] for part in found] == [
        ["3.jpg"],
        ["1.jpg", "2.jpg"],
    ]


def test_all_kinds_of_sources_together(tmp_path: Path, reader: Reader) -> None:
    """A directory with containers, a list, a table, a pattern: each image once, the same twice."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"a")
    zipped(folder / "b.zip", {"b.jpg": b"b"})
    (folder / "c.tar").write_bytes(tarred([("c.jpg", b"c")]))
    written(folder / "d.parquet", {"image": [b"d"]})
    for name in "efgh":
        (tmp_path / f"{name}.png").write_bytes(name.encode())
    (tmp_path / "list.txt").write_text("e.png\n")
    (tmp_path / "table.csv").write_text("path\nf.png\n")
    specs = (folder, f"@{tmp_path}/list.txt", tmp_path / "table.csv", f"{tmp_path}/{{g,h}}.png")
    found = entries(*specs)
    assert sorted(reader.read(entry) for entry in found) == [b"%c" % c for c in b"abcdefgh"]
    assert [part.key for part in parts(*specs)] == [part.key for part in parts(*specs)]


def test_a_csv_file_may_have_long_values(tmp_path: Path, reader: Reader) -> None:
    """Up to the longest line that is read, 1 MiB: more than Python's default."""
    (tmp_path / "a.jpg").write_bytes(b"a")
    table = tmp_path / "t.csv"
    table.write_text(f"path,caption\na.jpg,{'x' * 1_000_000}\na.jpg,\n")
    assert [outcome(reader, entry) for entry in entries(table)] == [b"a", b"a"]


def test_an_open_quote_does_not_swallow_other_rows(tmp_path: Path) -> None:
    """The rows before it are images; the table has an error in place of the others."""
    table = tmp_path / "t.csv"
    table.write_text('path\na.jpg\n"b.jpg\nc.jpg\nd.jpg\n')
    first, error = entries(table)
    assert first.uri == str(tmp_path / "a.jpg")
    assert error.uri == str(table)
    assert error.problem is not None
    assert "t.csv is damaged" in error.problem.message


IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
TABLES = ["x.parquet", "x.arrow"]


@pytest.mark.parametrize("name", TABLES)
def test_a_named_file_has_a_version_of_its_own(tmp_path: Path, reader: Reader, name: str) -> None:
    """Of rows without bytes; the row stays the image, and the others have that of the table."""
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"one")
    image = hugging_face([None, b"own", None], ["a.jpg", "a.jpg", "later.jpg"])
    path = table_file(tmp_path / name, {"image": image})
    before = entries(path)
    assert [entry.uri for entry in before] == [f"{path}#{row}" for row in range(3)]
    assert [entry.version.partition("-")[0] for entry in before] == ["3", before[1].version[:3], ""]
    change(photo, b"two")
    (tmp_path / "later.jpg").write_bytes(b"late")
    after = entries(path)
    assert [a.version == b.version for a, b in zip(after, before, strict=True)] == [
        False,
        True,
        False,
    ]
    assert [outcome(reader, entry) for entry in after] == [b"two", b"own", b"late"]
    photo.unlink()
    assert [outcome(reader, entry) for entry in entries(path)] == ["missing", b"own", b"late"]


@pytest.mark.parametrize("name", TABLES)
def test_a_row_that_names_another_file_is_another_part(tmp_path: Path, name: str) -> None:
    """Also where both files have the same size and time, as files from an archive may have."""
    path, keys = tmp_path / name, []
    for photo in ("a.bmp", "b.bmp"):
        (tmp_path / photo).write_bytes(photo.encode())
        os.utime(tmp_path / photo, ns=(0, 0))
        table_file(path, {"image": hugging_face([None], [photo])})
        keys += [part.key for part in parts(path)]
    assert len(set(keys)) == 2


def test_row_groups_with_and_without_named_files(tmp_path: Path) -> None:
    """With bytes only, with paths only, with both; a damaged one is errors of its rows."""
    (tmp_path / "a.jpg").write_bytes(b"file")
    held: list[bytes | None] = [bytes([number]) * 5_000 for number in range(30)]
    image = hugging_face([*held, *[None] * 30, *held[:29], None], ["a.jpg"] * 90)
    columns = {"image": image, "id": pa.array(range(90))}
    path = written(
        tmp_path / "x.parquet",
        columns,
        row_group_size=30,
        compression="none",
        use_dictionary=False,
    )
    wanted = [*held, *[b"file"] * 30, *held[:29], b"file"]
    found = entries(path)
    assert [entry.named for entry in found].count(str(tmp_path / "a.jpg")) == 31
    with Reader(LIMITS) as reader:
        assert [reader.read(entry) for entry in found] == wanted
    start = pq.ParquetFile(path).metadata.row_group(2).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)
    with Reader(LIMITS) as reader:
        found = entries(path)
        assert [outcome(reader, entry) for entry in found] == wanted[:60] + ["corrupt"] * 30


@pytest.mark.parametrize("options", [{"write_statistics": False}, {"version": "1.0"}])
def test_named_files_of_any_parquet_file_are_found(
    tmp_path: Path, reader: Reader, options: dict[str, object]
) -> None:
    """Also without statistics, which say whether bytes are missing; damaged rows are errors."""
    (tmp_path / "a.jpg").write_bytes(b"file")
    columns = {
        "a": hugging_face([None, b"1", None], ["a.jpg", None, None]),
        "b": hugging_face([b"2", None, None], ["a.jpg", "a.jpg", "no-such-scheme://a.jpg"]),
        "c": pa.array([None, {"bytes": None, "path": "a.jpg"}, {"bytes": b"3"}], IMAGE),
    }
    path = written(tmp_path / "x.parquet", columns, **options)
    found = entries(path)
    assert [bool(entry.named) for entry in found] == [
        *(True, False, False),
        *(False, True, True),
        *(False, True, False),
    ]
    assert [outcome(reader, entry) for entry in found] == [
        *(b"file", b"2", "empty"),
        *(b"1", b"file", b"file"),
        *("empty", "unreadable", b"3"),
    ]


@pytest.mark.parametrize("name", TABLES)
def test_a_member_of_an_archive_that_a_row_names_is_read(
    tmp_path: Path, reader: Reader, name: str
) -> None:
    """By its URL chain, as `datasets` writes images of archives; it is that member."""
    archive = zipped(tmp_path / "b.zip", {"b.jpg": b"member"})
    chain = ["zip://b.jpg::b.zip", "zip://no.jpg::b.zip"]
    path = table_file(tmp_path / name, {"image": hugging_face([None] * 2, chain)})
    found = entries(path)
    assert found[0].uri == f"zip://b.jpg::{archive}"
    assert [outcome(reader, entry) for entry in found] == [b"member", "unreadable"]


@pytest.mark.parametrize("name", TABLES)
def test_a_list_names_a_row_that_names_a_file(tmp_path: Path, reader: Reader, name: str) -> None:
    """By its number, as `filter` writes it; it has the version of the file."""
    (tmp_path / "a.jpg").write_bytes(b"file")
    path = table_file(tmp_path / name, {"image": hugging_face([b"0", None], [None, "a.jpg"])})
    (tmp_path / "kept.txt").write_text(f"{path}#1\n{path}#0\n")
    found = entries(f"@{tmp_path}/kept.txt")
    assert [entry.uri for entry in found] == [f"{path}#0", f"{path}#1"]
    assert [reader.read(entry) for entry in found] == [b"0", b"file"]
    assert found[1].version.startswith("4-")


@pytest.mark.parametrize("name", TABLES)
def test_a_scan_sees_changes_of_files_that_a_table_names(tmp_path: Path, name: str) -> None:
    """Replaced, deleted, back again: the row is that of the file as it is."""
    photo, output = tmp_path / "photos" / "a.png", tmp_path / "out"
    photo.parent.mkdir()
    photo.write_bytes(image_bytes(10))
    held: list[bytes | None] = [image_bytes(red) for red in range(20, 23)]
    image = hugging_face([None, *held], ["photos/a.png", None, None, None])
    table = table_file(tmp_path / name, {"image": image})
    named = f"{table.name}#0"
    scan(table, output)
    change(photo, image_bytes(200))
    scan(table, output)
    assert rows(output)[named]["nsfw_score"] == pytest.approx(200 / 255)
    assert rows(output)[named]["size_bytes"] == photo.stat().st_size
    photo.unlink()
    scan(table, output)
    assert rows(output)[named]["error_kind"] == "missing"
    photo.write_bytes(image_bytes(30))
    classifier = CountingClassifier()
    scan(table, output, classifier=classifier)
    assert rows(output)[named]["nsfw_score"] == pytest.approx(30 / 255)
    assert classifier.reds == [30]
    assert len(rows(output)) == 4
