"""Labeled sets: tables and directories, what they need, and what is wrong with them."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from nsfw_app.dataset_errors import LabelSetError
from nsfw_app.datasets import labels
from nsfw_app.datasets.labels import labeled_by_folder, read_table

MORE = "".join(f"{number}.png,nsfw\n" for number in range(100))


def test_a_csv_has_paths_labels_and_columns(tmp_path: Path) -> None:
    """Paths are relative to the table; a byte order mark and other columns are accepted."""
    table = tmp_path / "set.csv"
    table.write_text(
        '\ufeffpath,label,kind\na.png,nsfw,art\n"b/c.png",Neutral,,\n', encoding="utf-8"
    )
    first, second = read_table(table)
    assert (first.path, first.unsafe, first.columns["kind"]) == (tmp_path / "a.png", True, "art")
    assert (second.path, second.unsafe) == (tmp_path / "b" / "c.png", False)


def test_a_csv_may_have_long_values(tmp_path: Path) -> None:
    """Longer ones than Python's default, 131,072 characters."""
    table = tmp_path / "set.csv"
    table.write_text(f"path,label,caption\na.png,nsfw,{'x' * 1_000_000}\n", encoding="utf-8")
    (image,) = read_table(table)
    assert len(image.columns["caption"]) == 1_000_000


def test_jsonl_is_the_same(tmp_path: Path) -> None:
    """One object per line; empty lines are skipped, other values become texts."""
    table = tmp_path / "set.jsonl"
    table.write_text('{"path": "a.png", "label": "sfw", "year": 2020}\n\n', encoding="utf-8")
    (image,) = read_table(table)
    assert (image.unsafe, image.columns["year"]) == (False, "2020")


def test_parquet_is_the_same(tmp_path: Path) -> None:
    """Other plain columns become texts; bytes, lists and structures are left out."""
    table = tmp_path / "set.parquet"
    columns = {
        "path": pa.array(["a.png", "b/c.png"], pa.large_string()),
        "label": pa.array(["nsfw", "neutral"]).dictionary_encode(),
        "kind": pa.array(["art", None]).dictionary_encode(),
        "year": [2020, None],
        "graded": [True, False],
        "taken": pa.array([datetime(2026, 1, 2, tzinfo=UTC), None], pa.timestamp("ns", "UTC")),
        "image": [{"bytes": b"\xff"}, None],
        "tags": [["a"], []],
        "bytes": [b"\xff", None],
    }
    parquet.write_table(pa.table(columns), table)
    first, second = read_table(table)
    assert (first.path, first.unsafe) == (tmp_path / "a.png", True)
    assert (second.path, second.unsafe) == (tmp_path / "b" / "c.png", False)
    taken = first.columns["taken"]
    assert taken.startswith("2026-01-02 00:00:00")
    assert first.columns == {
        "path": "a.png",
        "label": "nsfw",
        "kind": "art",
        "year": "2020",
        "graded": "True",
        "taken": taken,
    }
    assert [second.columns[name] for name in ("kind", "year", "taken")] == ["", "", ""]


def test_parquet_is_read_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of every batch are read, in order, and counted through."""
    monkeypatch.setattr(labels, "BATCH_ROWS", 2)
    table = tmp_path / "set.parquet"
    names = [f"{number}.png" for number in range(5)]
    parquet.write_table(pa.table({"path": names, "label": ["sfw"] * 5}), table)
    assert [image.path.name for image in read_table(table)] == names
    parquet.write_table(pa.table({"path": names, "label": ["sfw"] * 4 + ["?"]}), table)
    with pytest.raises(LabelSetError, match="row 5: the label '\\?' is not known"):
        read_table(table)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"path": ["a.png"]}, "the column 'label' is missing or repeated"),
        ({"path": ["a.png"], "label": [1]}, "the column 'label' has the type int64. Use text"),
        ({"path": [["a"]], "label": ["nsfw"]}, "the column 'path' has the type list"),
        ({"path": ["a", None], "label": ["nsfw", "nsfw"]}, "row 2: the column 'path' is missing"),
        ({"path": ["a"], "label": ["unsure"]}, "row 1: the label 'unsure' is not known"),
    ],
)
def test_faults_of_parquet_have_their_row(
    tmp_path: Path, columns: dict[str, list[object]], words: str
) -> None:
    """Columns that are missing or of another type are an error before any row is read."""
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(LabelSetError, match=words):
        read_table(tmp_path / "a.parquet")


def test_repeated_columns_of_parquet_are_an_error(tmp_path: Path) -> None:
    """Also those by which images are grouped: one of them would be read."""
    names = ["path", "label", "by", "by"]
    table = pa.Table.from_arrays([pa.array(["a"]), *[pa.array(["nsfw"])] * 3], names=names)
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(LabelSetError, match="the column 'by' is repeated"):
        read_table(tmp_path / "a.parquet")


def test_columns_without_a_name_may_be_several(tmp_path: Path) -> None:
    """A spreadsheet writes them after the last column."""
    (tmp_path / "a.csv").write_text("path,label,,\na.png,nsfw,,\n")
    assert len(read_table(tmp_path / "a.csv")) == 1


def test_damaged_parquet_is_an_error(tmp_path: Path) -> None:
    """At each length and with each byte changed, a file is read or is a typed error."""
    table = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"path": ["a.png"] * 9, "label": ["nsfw"] * 9}), table)
    content = table.read_bytes()
    damaged = [content[:length] for length in range(0, len(content), 7)]
    damaged += [
        content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]
        for at in range(0, len(content), 3)
    ]
    faults = 0
    for each in damaged:
        table.write_bytes(each)
        try:
            read_table(table)
        except LabelSetError:
            faults += 1
    assert faults > len(damaged) / 2
    table.write_bytes(b"path,label\na.png,nsfw\n")
    with pytest.raises(LabelSetError, match="it is damaged, or not a Parquet file"):
        read_table(table)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "path,kind\na.png,x\n", "line 2: the column 'label' is missing or empty"),
        ("a.csv", "path,label\na.png,unsure\n", "label 'unsure' is not known. Use normal or nsfw"),
        ("a.csv", "path,label\n,nsfw\n", "the column 'path' is missing"),
        (
            "a.csv",
            f'path,label\na,nsfw\n"b,nsfw\n{MORE}',
            "line 3: this is not CSV: unexpected end",
        ),
        (
            "a.csv",
            f'path,label\n"b,nsfw\n{MORE}"c",nsfw\n',
            "line 2: this is not CSV: ',' expected",
        ),
        ("a.csv", f'"path,label\n{MORE}', "line 1: this is not CSV"),
        ("a.csv", "path,label\na,nsfw\na,b.png,nsfw\n", "line 3: it has more values than the"),
        ("a.csv", "path,label,label\na,nsfw,normal\n", "line 1: the column 'label' is repeated"),
        ("a.csv", "path,label,by,by\na,nsfw,1,2\n", "line 1: the column 'by' is repeated"),
        ("a.jsonl", '{"path": "a"}\n', "the column 'label' is missing"),
        ("a.jsonl", '{"path": "a", "label": "nsfw"}\n[1]\n', "line 2: this is not a JSON object"),
        ("a.jsonl", "no json\n", "line 1: this is not a JSON object"),
    ],
)
def test_faults_have_their_line(tmp_path: Path, name: str, text: str, words: str) -> None:
    """The message names file, line and what is wrong."""
    (tmp_path / name).write_text(text)
    with pytest.raises(LabelSetError, match=words):
        read_table(tmp_path / name)


def test_unreadable_tables_are_an_error(tmp_path: Path) -> None:
    """A missing file, and one that is not UTF-8."""
    with pytest.raises(LabelSetError, match="No such file"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("path,label\né.png,nsfw\n".encode("latin-1"))
    with pytest.raises(LabelSetError, match="not UTF-8"):
        read_table(tmp_path / "latin.csv")


def test_directories_are_named_by_label(tmp_path: Path) -> None:
    """The first directory below the named one counts, or that one itself; else there is none."""
    root = tmp_path / "set"

    def label(relative: str, top: Path = root) -> bool | None:
        found = labeled_by_folder(top / relative, Path(relative), top)
        return None if found is None else found.unsafe

    assert label("porn/deep/a.jpg") is True
    assert label("drawings/a.jpg") is False
    assert label("others/nsfw/a.jpg") is None
    assert label("a.jpg", tmp_path / "normal") is False
