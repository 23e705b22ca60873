"""Training sets: what is read, and each fault that makes one unusable."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nsfw_app.dataset_errors import TrainingSetError
from nsfw_app.datasets import training_set
from nsfw_app.datasets.training_set import Split, read_training_set
from nsfw_app.records import Label
from tests.support.tiny_vit import tinted_image
from tests.support.training_sets import Example, corrections, decisions, write_training_set

Row = dict[str, Any]
Edit = Callable[[list[Row]], None]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A training set that is just large enough."""
    examples = [
        *decisions(Split.TRAIN, 20),
        *corrections(Split.TRAIN, 3),
        *decisions(Split.TEST, 10, seed=5000),
    ]
    return write_training_set(tmp_path / "our-set", examples)


def edit(directory: Path, change: Edit, split: Split = Split.TRAIN) -> None:
    """Change the metadata of a split."""
    path = directory / split / "metadata.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    change(rows)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def test_a_training_set_is_read(directory: Path) -> None:
    """Labels, groups, sources and counts are those that were written."""
    found = read_training_set(directory)
    assert found.name == "our-set"
    assert found.counts(Split.TRAIN) == {
        "decision": {"normal": 20, "nsfw": 20},
        "relabel": {"normal": 3, "nsfw": 0},
    }
    train = found.labeled(Split.TRAIN)
    assert train.corrections.sum() == 3
    assert not train.unsafe[train.corrections].any()
    assert len(set(train.groups.tolist())) == len(train.paths) == 43
    assert train.weights.tolist() == [1] * 43
    for path, unsafe in zip(train.paths, train.unsafe, strict=True):
        assert path.parent.name == ("nsfw" if unsafe else "normal")


def test_weights_are_read(directory: Path) -> None:
    """As whole numbers, too; an image without the key has the weight 1."""
    edit(directory, lambda rows: (rows[0].update(weight=3), rows[1].update(weight=0.5)))
    assert read_training_set(directory).labeled(Split.TRAIN).weights[:3].tolist() == [3, 0.5, 1]


def test_agreements_are_read(directory: Path) -> None:
    """An image without the key counts as one, which is assumed."""
    edit(directory, lambda rows: (rows[0].update(agreed=False), rows[1].pop("agreed")))
    train = read_training_set(directory).labeled(Split.TRAIN)
    assert train.agreed[:3].tolist() == [False, True, True]
    assert train.assumed[:3].tolist() == [False, True, False]
    assert (train.agreed == ~train.corrections)[1:].all()


def test_its_hash_is_that_of_its_labels(directory: Path) -> None:
    """The order of rows does not change the hash; another image does."""
    before = read_training_set(directory).sha256
    edit(directory, list.reverse)
    assert read_training_set(directory).sha256 == before
    edit(directory, lambda rows: rows[0].update(sha256="0" * 64))
    assert read_training_set(directory).sha256 != before


def test_hashes_are_read_in_any_case(directory: Path) -> None:
    """They are compared, and written for later trainings, in lower case."""
    before = read_training_set(directory)
    edit(directory, lambda rows: [row.update(sha256=row["sha256"].upper()) for row in rows])
    assert read_training_set(directory) == before


def test_near_duplicates_share_a_group(tmp_path: Path) -> None:
    """Rows with the same group get the same number."""
    copies = [
        Example(tinted_image(0.1, seed=9_000 + i), Label.NORMAL, Split.TEST, group="same")
        for i in range(3)
    ]
    examples = [*decisions(Split.TRAIN, 20), *decisions(Split.TEST, 10, seed=5000), *copies]
    test = read_training_set(write_training_set(tmp_path, examples)).labeled(Split.TEST)
    assert len(set(test.groups[-3:].tolist())) == 1
    assert len(set(test.groups.tolist())) == 21


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(
            (
                lambda rows, weight=weight: rows[0].update(weight=weight),
                f"train/metadata.jsonl, line 1: the weight {str(weight)[:20]} is not a number from",
            )
            for weight in (0, -1.5, "2", None, True, float("inf"), float("nan"), 9e-7, 10**400)
        ),
        *(
            (
                lambda rows, agreed=agreed: rows[0].update(agreed=agreed),
                f"line 1: 'agreed' is {agreed!r} and not true or false",
            )
            for agreed in (1, "true", None)
        ),
        (lambda rows: rows[0].pop("group"), "train/metadata.jsonl, line 1: 'group' is missing"),
        (lambda rows: rows[1].update(label="sexy"), "line 2: the label 'sexy' is not normal or"),
        (lambda rows: rows[0].update(sha256=7), "'sha256' is missing or not a text"),
        *(
            (
                lambda rows, sha256=sha256: rows[1].update(sha256=sha256),
                f"train/metadata.jsonl, line 2: '{sha256}' is not a SHA-256 of 64 hexadecimal digi",
            )
            for sha256 in ("img 5", "\u00e91", "0" * 63, "0" * 65, "g" * 64, "\u0663" * 64)
        ),
        *(
            (
                lambda rows, key=key: rows[1].update({key: "a\ud800"}),
                f"train/metadata.jsonl, line 2: '{key}' has an unpaired surrogate",
            )
            for key in ("file_name", "label", "sha256", "group", "label_source")
        ),
        (lambda rows: rows[0].update(file_name="../x.jpg"), "not below the directory of its split"),
        (lambda rows: rows[0].update(file_name="/x.jpg"), "not below the directory of its split"),
        (lambda rows: rows[0].update(file_name="nsfw/x.jpg"), "1 of 43 images of the train split"),
        (
            lambda rows: [row.update(label="normal") for row in rows],
            "The train split has 0 groups of images labeled nsfw; at least 20 are needed",
        ),
        (
            lambda rows: [row.update(group="same") for row in rows if row["label"] == "nsfw"],
            "The train split has 1 groups of images labeled nsfw",
        ),
        (
            lambda rows: rows.append(rows[0] | {"label": "nsfw"}),
            "is labeled both normal and nsfw",
        ),
        (
            lambda rows: rows.append(rows[0] | {"group": "other"}),
            "is in the groups .* and other. Copies of an image count as several images then",
        ),
    ],
)
def test_a_fault_of_the_metadata_is_an_error(directory: Path, change: Edit, message: str) -> None:
    """Each message names the row, the number or the image, and what is wrong."""
    edit(directory, change)
    with pytest.raises(TrainingSetError, match=message):
        read_training_set(directory)


def test_a_group_in_both_splits_is_an_error(directory: Path) -> None:
    """Near duplicates of test images in train would make any model look better."""
    edit(directory, lambda rows: rows[0].update(group="shared"))
    edit(directory, lambda rows: rows[0].update(group="shared"), Split.TEST)
    with pytest.raises(TrainingSetError, match="1 group is in both splits, the first is shared"):
        read_training_set(directory)


def test_an_image_in_both_splits_is_an_error(directory: Path) -> None:
    """Also if its rows name different groups."""
    row = json.loads((directory / "train/metadata.jsonl").read_text().splitlines()[0])
    copied = directory / "test" / row["file_name"]
    copied.write_bytes((directory / "train" / row["file_name"]).read_bytes())
    edit(directory, lambda rows: rows.append(row | {"group": "other"}), Split.TEST)
    with pytest.raises(TrainingSetError, match=f"1 image is in both splits.*{row['sha256']}"):
        read_training_set(directory)


def test_another_directory_is_an_error(tmp_path: Path) -> None:
    """The message says what a training set has."""
    with pytest.raises(TrainingSetError, match="is not a training set: train/metadata"):
        read_training_set(tmp_path)


def test_a_line_that_is_no_json_is_an_error(directory: Path) -> None:
    """The message has its number."""
    path = directory / "test/metadata.jsonl"
    path.write_text(path.read_text() + "\n[1]\n")
    with pytest.raises(TrainingSetError, match="line 22: this is not a JSON object"):
        read_training_set(directory)


def test_a_test_split_needs_fewer_images() -> None:
    """Ten groups of each label in test, twenty in train."""
    assert training_set.MIN_GROUPS == {"train": 20, "test": 10}
