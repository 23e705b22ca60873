"""Held-out images: no test image is one that a model was fitted to, nor a copy of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nsfw_app.dataset_errors import TrainingError, TrainingSetError
from nsfw_app.datasets.held_out_images import FITTED, FittedImages
from nsfw_app.datasets.training_set import Split, read_training_set
from nsfw_app.evidence import paired_comparison
from tests.support.tiny_vit import trained
from tests.support.training_sets import corrected, train, trained_again


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few resamples, and one thread."""
    monkeypatch.setattr(paired_comparison, "RESAMPLES", 100)
    monkeypatch.setenv("NSFW_THREADS", "1")


@pytest.fixture
def again(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training set for a second round, with the images of the first."""
    return shutil.copytree(corrected(tmp_path_factory), tmp_path / "again")


def rows_of(directory: Path, split: Split) -> list[dict[str, Any]]:
    """The metadata of a split."""
    lines = (directory / split / "metadata.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def write_rows(directory: Path, split: Split, rows: list[dict[str, Any]]) -> None:
    """Replace the metadata of a split."""
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    (directory / split / "metadata.jsonl").write_text(text)


def move_to_test(directory: Path, count: int) -> list[dict[str, Any]]:
    """Move images of the train split to the test split, and return their metadata."""
    rows = rows_of(directory, Split.TRAIN)
    moved, kept = rows[:count], rows[count:]
    for row in moved:
        (directory / "train" / row["file_name"]).rename(directory / "test" / row["file_name"])
    write_rows(directory, Split.TRAIN, kept)
    write_rows(directory, Split.TEST, rows_of(directory, Split.TEST) + moved)
    return moved


@pytest.mark.parametrize("missing", [0, 1])
def test_too_few_agreements_are_said_before_features_are_computed(
    missing: int, again: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """And the training continues. Near duplicates count once, and so do those of either label.

    The test split has 80 agreements of each label.
    """
    rows = rows_of(again, Split.TEST)
    nsfw = [row for row in rows if row["label"] == "nsfw"]
    for row in nsfw[: 3 + missing]:
        row["agreed"] = False
    for row in nsfw[10:15]:
        row["group"] = nsfw[10]["group"]
    for row in nsfw[15:20]:
        del row["agreed"]
    write_rows(again, Split.TEST, rows)
    said: list[str] = []
    report = train(trained(tmp_path_factory), again, tmp_path / "new", say=said.append)
    assert report.written is not bool(missing)
    if missing:
        sentence = (
            "The new model cannot be shown to be better: the test split has 72 nsfw and 80 normal "
            "groups whose label agreed with the model that was reviewed"
        )
        places = [each.startswith(("The new model cannot", "Computing features")) for each in said]
        assert said[places.index(True)].startswith(sentence)
    else:
        assert not any("cannot be shown" in each for each in said)


def test_images_of_the_first_round_are_left_out(
    again: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With their groups: near duplicates that are new are no held-out images either."""
    model = trained_again(tmp_path_factory)
    moved = move_to_test(again, 10)
    test = rows_of(again, Split.TEST)
    test[0]["group"] = moved[0]["group"]
    write_rows(again, Split.TEST, test)
    said: list[str] = []
    report = train(model, again, tmp_path / "second", force=True, say=said.append)
    assert report.left_out == 11
    assert sum(sum(labels.values()) for labels in report.counts["test"].values()) == len(test) - 11
    assert report.groups["test"] == len(test) - 11
    sentence = (
        "Leaving out 11 images of the test split: corrected-vit was fitted to them or to near"
    )
    assert any(sentence in text for text in said)
    text = (tmp_path / "second" / "README.md").read_text()
    assert "11 further images of the test split were left out, because corrected-vit was" in text


def test_a_model_has_all_images_of_all_rounds(
    again: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Those of the model that it was trained on are among them."""
    model = trained_again(tmp_path_factory)
    first = set((model / FITTED).read_text().split())
    rows = rows_of(corrected(tmp_path_factory), Split.TRAIN)
    assert first == {row["sha256"] for row in rows}
    kept = rows[30:]
    kept[-1]["sha256"] = "0" * 64
    write_rows(again, Split.TRAIN, kept)
    train(model, again, tmp_path / "second", force=True)
    assert set((tmp_path / "second" / FITTED).read_text().split()) == first | {"0" * 64}


def test_too_few_new_images_are_an_error(
    again: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As in a test split that is too small."""
    model = trained_again(tmp_path_factory)
    fitted = {row["sha256"] for row in rows_of(again, Split.TEST)[7:]}
    images = read_training_set(again)
    with pytest.raises(TrainingSetError, match="that 'ours' was not fitted to; at least 10 are"):
        FittedImages("ours", frozenset(fitted)).left_out(images)
    assert FittedImages("ours", frozenset()).left_out(images) == (images, 0)
    assert FittedImages.read("base", trained(tmp_path_factory)).hashes == frozenset()
    assert len(FittedImages.read("ours", model).hashes) == 500


@pytest.mark.parametrize("content", [b"abc\n", b"\xff\xfe", b"0" * 63])
def test_a_list_that_cannot_be_read_is_an_error(content: bytes, tmp_path: Path) -> None:
    """It is not taken for an empty one."""
    (tmp_path / FITTED).write_bytes(content)
    with pytest.raises(TrainingError, match=r"train-images.txt of 'ours' is not a list of SHA-256"):
        FittedImages.read("ours", tmp_path)


def other_name(row: dict[str, Any]) -> dict[str, Any]:
    """The metadata of a copy that nothing in it shows to be one."""
    return row | {"sha256": row["sha256"][::-1], "group": f"x{row['group']}"}


@pytest.mark.parametrize("name", [lambda row: row["file_name"], lambda _: "normal/copy.jpg"])
def test_a_file_in_both_splits_is_an_error(
    name: Callable[[dict[str, Any]], str],
    again: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Also under other hashes, groups and names, as in a training set that was edited by hand."""
    row = rows_of(again, Split.TRAIN)[0]
    copy = other_name(row) | {"file_name": name(row)}
    shutil.copy(again / "train" / row["file_name"], again / "test" / copy["file_name"])
    write_rows(again, Split.TEST, [*rows_of(again, Split.TEST), copy])
    with pytest.raises(TrainingSetError, match=r"1 file of the test split is in the train"):
        train(trained(tmp_path_factory), again, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_copies_in_several_groups_are_an_error(
    again: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One correction in ten groups would be ten observations. In one group it is one."""
    rows = rows_of(again, Split.TEST)
    copy = other_name(rows[0])
    write_rows(again, Split.TEST, [*rows, copy])
    with pytest.raises(TrainingSetError, match=r"is the same as .* give them one group"):
        train(trained(tmp_path_factory), again, tmp_path / "new")
    write_rows(again, Split.TEST, [*rows, copy | {"group": rows[0]["group"]}])
    report = train(trained(tmp_path_factory), again, tmp_path / "new", force=True)
    assert report.groups["test"] == len(rows)
