"""`training-set`: complete directories that others read, with a card of what is in them."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from huggingface_hub import DatasetCard

from nsfw_app.datasets import parquet_set, training_set_export
from nsfw_app.datasets.card_text import markdown_text, yaml_text
from nsfw_app.datasets.label_files import COLUMNS
from nsfw_app.datasets.labels import read_table
from nsfw_app.datasets.training_rows import Labels, read_rows
from nsfw_app.datasets.training_set import KEYS, Split, read_training_set
from nsfw_app.datasets.training_set_export import SetFormat
from nsfw_app.records import Label, Reason
from nsfw_app.store import Store
from tests.support.commands import Run, run
from tests.support.disks import no_space, small_disk
from tests.support.labeled_store import add_labeled, fill_labeled, open_labeled_store, pattern
from tests.support.sample_records import answer, person

__all__ = ["run"]

METADATA_KEYS = (*KEYS, "categories", "weight", "agreed")
# Prints the splits, columns and the content of the first image of a data set.
LOAD = """
import json, sys
from datasets import Image, load_dataset
loaded = load_dataset(sys.argv[1], data_dir=sys.argv[2])
print(json.dumps({
    name: [{**row, "image": list(row["image"].size)} for row in split]
    for name, split in loaded.items()
}))
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The store of the command's data directory."""
    return open_labeled_store(tmp_path)


def load(builder: str, directory: Path, cache: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of each split, as Hugging Face datasets reads them without a network."""
    environment = {**os.environ, "HF_HOME": str(cache), "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, builder, str(directory)],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return dict(json.loads(done.stdout))


def test_the_image_folder_is_what_train_reads(store: Store, tmp_path: Path, run: Run) -> None:
    """Splits, labels and groups come back from the reader, with exactly the documented keys."""
    fill_labeled(store, 50)
    output = tmp_path / "set"
    done = run("training-set", "--settled", "--output", output)
    assert (done.code, done.out) == (
        0,
        "train: 80 normal, 40 nsfw, 120 groups\ntest: 20 normal, 10 nsfw, 30 groups\n",
    )
    assert "Too small" not in done.err
    read = read_training_set(output)
    assert read.counts(Split.TEST) == {
        "decision": {"normal": 10, "nsfw": 10},
        "relabel": {"normal": 10, "nsfw": 0},
    }
    image = read.splits[Split.TRAIN][0]
    assert image.path.read_bytes() == store.previews.get(image.sha256)
    lines = (output / "train" / "metadata.jsonl").read_text().splitlines()
    assert all(tuple(json.loads(line)) == METADATA_KEYS for line in lines)
    assert stat.S_IMODE(output.stat().st_mode) == 0o700
    (entry,) = [each for each in store.audit.entries() if each.action == "export"]
    assert entry.details == {"images": 150, "labels": "all", "format": "imagefolder"}


@pytest.mark.parametrize("builder", ["imagefolder", "parquet"])
def test_hugging_face_datasets_loads(
    builder: str, store: Store, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both splits, the images and the columns are found, also in several files."""
    monkeypatch.setattr(parquet_set, "FILE_ROWS", 5)
    fill_labeled(store, 5)
    output = tmp_path / "set"
    assert run("training-set", "--settled", "--output", output, "--format", builder).code == 0
    loaded = load(builder, output, tmp_path / "cache")
    assert {name: len(rows) for name, rows in loaded.items()} == {"train": 12, "test": 3}
    row = loaded["train"][0]
    assert set(row) == {"image", *METADATA_KEYS} - {"file_name"}
    assert row["image"] == [64, 64]
    assert {each["label"] for each in loaded["train"]} == {"normal", "nsfw"}
    assert {each["weight"] for each in loaded["train"]} == {1.0}


def test_csv_is_what_evaluate_reads(store: Store, tmp_path: Path, run: Run) -> None:
    """The table has a row for each image, whose path is relative to the table."""
    fill_labeled(store, 5)
    output = tmp_path / "set"
    assert run("training-set", "--settled", "--output", output, "--format", "csv").code == 0
    images = read_table(output / "labels.csv")
    assert len(images) == 15
    assert sum(image.unsafe for image in images) == 5
    first = images[0]
    assert first.path.read_bytes() == store.previews.get(first.columns["sha256"])
    assert tuple(first.columns) == COLUMNS
    agreed = {
        row.sha256: str(row.agreed).lower() for row in read_rows(store, labels=Labels.ALL).rows
    }
    assert {each.columns["sha256"]: each.columns["agreed"] for each in images} == agreed
    assert set(agreed.values()) == {"true", "false"}


def test_tasks_have_annotations_and_predictions(store: Store, tmp_path: Path, run: Run) -> None:
    """Each task is an image with the label, and with what the model said, as Label Studio has it.

    Names in the results are those of the labeling configuration.
    """
    fill_labeled(store, 5)
    output = tmp_path / "set"
    options = ("--settled", "--format", "label-studio")
    assert run("training-set", *options, "--output", output).code == 0
    tasks = json.loads((output / "tasks.json").read_text())
    assert len(tasks) == 15
    assert {task["annotations"][0]["result"][0]["value"]["choices"][0] for task in tasks} == {
        "normal",
        "nsfw",
    }
    task = tasks[0]
    agreed = {row.sha256: row.agreed for row in read_rows(store, labels=Labels.ALL).rows}
    assert {each["data"]["sha256"]: each["data"]["agreed"] for each in tasks} == agreed
    sha256 = task["data"]["sha256"]
    assert task["data"]["image"] == f"/data/local-files/?d=set/images/{sha256}.jpg"
    assert (output / "images" / f"{sha256}.jpg").read_bytes() == store.previews.get(sha256)
    (prediction,) = task["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("fake r1 test", 0.9)
    view = ElementTree.parse(output / "labeling.xml").getroot()
    choices, image = view.find("Choices"), view.find("Image")
    assert choices is not None
    assert image is not None
    names = {"from_name": choices.get("name"), "to_name": image.get("name"), "type": "choices"}
    assert choices.get("toName") == image.get("name")
    for each in tasks:
        for part in (*each["annotations"], *each["predictions"]):
            (result,) = part["result"]
            assert result == names | {"value": result["value"]}
            assert result["value"]["choices"] in (["normal"], ["nsfw"])
    assert prediction["result"][0]["value"]["choices"] == ["nsfw"]
    assert [each.get("value") for each in choices] == ["normal", "nsfw"]
    assert image.get("value") == "$image"


@pytest.mark.parametrize("purged", [8, 9])
def test_uneven_weights_are_said(purged: int, store: Store, tmp_path: Path, run: Run) -> None:
    """Where an image has more than 10 times the median weight; with how much of the total."""
    fill_labeled(store, 5)
    for seed in range(purged + 2):
        image = add_labeled(store, pattern(9_000 + seed), Label.NORMAL, threshold=0.95)
        if seed >= 1:
            store.previews.remove(image)
    done = run("training-set", "--settled", "--output", tmp_path / "set")
    said = (
        "Sampling weights are uneven: 1 of 16 images have more than 10 times the median weight, up "
        "to 11.00, and 42.3% of the total. "
    )
    assert done.code == 0
    assert (said in done.err) == (purged == 9)


def test_the_card_counts_what_is_written(store: Store, tmp_path: Path, run: Run) -> None:
    """Counts, agreement, versions and what is left out; no names of reviewers or files."""
    fill_labeled(store, 5)
    add_labeled(store, pattern(9_001), Label.UNSURE, name="holiday.png")
    differing = add_labeled(store, pattern(9_002), Label.NSFW)
    foreign = {add_labeled(store, pattern(9_003), None): Label.NORMAL}
    store.label_imports.record(foreign, "lab", threshold_of=lambda _: 0.5, actor="operator")
    made = answer("third", Label.NORMAL, image_sha256=differing)
    store.log.add(made, person("cid", owner="ann"))
    output = tmp_path / "set"
    done = run("training-set", "--settled", "--output", output)
    assert "Left out: 2 without a settled label of normal or nsfw.\n" in done.err
    assert "Too small for `nsfw-review train`: the train split has" in done.err
    card = (output / "README.md").read_text()
    for line in (
        "# set",
        "| train | decision | 4 | 4 |",
        "| train | relabel | 4 | 0 |",
        "| train | lab | 1 | 0 |",
        "| test | decision | 1 | 1 |",
        "- lab: imported under this name.",
        "- relabel: confirmed in Relabel against the model.",
        "- 2 without a settled label of normal or nsfw",
        "- Images that two or more reviewers decided on: 15 of 16.",
        "- All of them gave the same label: 15 (100.0%).",
        "- Krippendorff's alpha, for normal, nsfw and unsure: 1.00.",
        "| gallery | 16 |",
        "| fake, r1, test | 16 |",
        "| fake | 1 | 15 |",
        "| fake | unknown | 1 |",
        "- In force for fake when this was written: version 1, threshold 0.5, review from 0.2 to "
        "0.8.",
    ):
        assert f"\n{line}\n" in card
    assert "each for at most 30 days" in card
    assert [word for word in ("ann", "ben", "photo.png") if f"{word} " in card] == []


@pytest.mark.parametrize(
    "name",
    ["v2: set", "yes", "2024", "a #b", "- x", "@a", "[x]", "it's", '"q"\\', "gr\u00fcn \U0001f600"],
)
def test_the_card_is_yaml_for_each_name(name: str, store: Store, tmp_path: Path, run: Run) -> None:
    """The name stays a text, also one that unquoted YAML reads as something else or not at all."""
    fill_labeled(store, 5)
    options = ("--settled", "--format", "parquet")
    assert run("training-set", *options, "--output", tmp_path / name).code == 0
    card = DatasetCard.load(tmp_path / name / "README.md")
    assert card.data.to_dict()["pretty_name"] == name
    assert card.data.to_dict()["task_categories"] == ["image-classification"]
    assert "\n## Intended use\n\nTo train and to measure models" in card.text
    assert "\n## Limits\n" in card.text


def test_names_in_cards_are_text() -> None:
    """Control characters and bytes that are not UTF-8 are spaces, and Markdown is escaped."""
    name = "a\nb\x7f\udcff\u2028*c*"
    card = DatasetCard(f"---\npretty_name: {yaml_text(name)}\n---\n")
    assert card.data.to_dict()["pretty_name"] == "a b   *c*"
    assert markdown_text(name) == r"a b   \*c\*"


def test_nothing_is_written_that_is_not_complete(
    store: Store, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too few labels, a name that exists, and an error while writing leave no directory."""
    before = sorted(tmp_path.iterdir())
    output = tmp_path / "set"
    done = run("training-set", "--output", output)
    assert done.code == 1
    assert "The train split would be empty: 0 labeled images" in done.err
    fill_labeled(store, 5)
    assert "exists already" in run("training-set", "--settled", "--output", store_dir(tmp_path)).err
    assert "is not a directory" in run("training-set", "--output", tmp_path / "no" / "set").err

    def fails(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(training_set_export, "dataset_card", fails)
    done = run("training-set", "--settled", "--output", output)
    assert done.code == 1
    assert done.err.endswith(f"Error: {output} cannot be written: No space left on device.\n")
    assert sorted(tmp_path.iterdir()) == before

    def appears(*_: object) -> str:
        output.mkdir()
        return ""

    monkeypatch.setattr(training_set_export, "dataset_card", appears)
    done = run("training-set", "--settled", "--output", output)
    assert done.code == 1
    assert f"Error: {output} exists by now, and is not overwritten." in done.err
    assert list(output.iterdir()) == []


@pytest.mark.parametrize("set_format", SetFormat)
def test_a_full_disk_is_named(
    set_format: SetFormat,
    store: Store,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That of the output, not that of the data directory."""
    fill_labeled(store, 5)
    with small_disk(tmp_path / "disk") as disk:
        if disk.is_mounted:
            disk.fill()
        else:
            monkeypatch.setattr(training_set_export, "_write", no_space)
        output = disk.path / "set"
        done = run("training-set", "--settled", "--format", set_format, "--output", output)
        assert done.code == 1
        assert f"Error: {output} cannot be written: " in done.err
        assert "No space left" in done.err


def store_dir(directory: Path) -> Path:
    """A directory that exists: that of the previews."""
    return directory / "images"


@pytest.mark.parametrize("change", ["restricted", "near", "purged"])
def test_changes_while_it_is_written_are_noticed(
    change: str, store: Store, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that is restricted, or loses its preview, after the rows were read is an error.

    So is a near duplicate of one that is restricted, which has no label itself.
    """
    fill_labeled(store, 5)
    sha256 = add_labeled(store, pattern(9_001), Label.NSFW)
    if change == "near":
        sha256 = add_labeled(store, pattern(9_001).resize((60, 60)), None)
    read = training_set_export.write_training_set

    def write(*arguments: Any, **options: Any) -> None:
        if change == "purged":
            store.previews.remove(sha256)
        else:
            reasons = (Reason.MINOR_PRESENT,)
            made = answer("minor", Label.NSFW, image_sha256=sha256, reasons=reasons)
            store.log.add(made, person("cid", owner="ann"))
        read(*arguments, **options)

    monkeypatch.setattr(sys.modules["nsfw_app.cli.training_set"], "write_training_set", write)
    done = run("training-set", "--settled", "--output", tmp_path / "set")
    assert done.code == 1
    assert "Run the command again" in done.err
    assert not (tmp_path / "set").exists()
