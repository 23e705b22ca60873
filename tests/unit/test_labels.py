"""Labeled sets: tables and directories, what they need, and what is wrong with them."""

from pathlib import Path

import pytest

from nsfw_app.datasets.labels import labeled_by_folder, read_table
from nsfw_app.errors import LabelSetError


def test_a_csv_has_paths_labels_and_columns(tmp_path: Path) -> None:
    """Paths are relative to the table; a byte order mark and other columns are accepted."""
    table = tmp_path / "set.csv"
    table.write_text("\ufeffpath,label,kind\na.png,nsfw,art\nb/c.png,Neutral,\n", encoding="utf-8")
    first, second = read_table(table)
    assert (first.path, first.unsafe, first.columns["kind"]) == (tmp_path / "a.png", True, "art")
    assert (second.path, second.unsafe) == (tmp_path / "b" / "c.png", False)


def test_jsonl_is_the_same(tmp_path: Path) -> None:
    """One object per line; empty lines are skipped, other values become texts."""
    table = tmp_path / "set.jsonl"
    table.write_text('{"path": "a.png", "label": "sfw", "year": 2020}\n\n', encoding="utf-8")
    (image,) = read_table(table)
    assert (image.unsafe, image.columns["year"]) == (False, "2020")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "path,kind\na.png,x\n", "line 2: the column 'label' is missing or empty"),
        ("a.csv", "path,label\na.png,unsure\n", "label 'unsure' is not known. Use normal or nsfw"),
        ("a.csv", "path,label\n,nsfw\n", "the column 'path' is missing"),
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
