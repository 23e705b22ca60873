"""What `import-labels` reads as a label: controls, images of tasks, files without a row."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from nsfw_app.dataset_errors import LabelSetError
from nsfw_app.datasets.foreign_labels import read_labels
from nsfw_app.records import Label
from nsfw_app.store import Store
from tests.support.commands import Run, run
from tests.support.image_files import encoded
from tests.support.labeled_store import open_labeled_store, pattern

__all__ = ["run"]

HASHES = [f"{number:064x}" for number in range(9)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The store of the command's data directory."""
    return open_labeled_store(tmp_path)


def task(number: int, **choices: str | list[str]) -> dict[str, Any]:
    """A task with the choices of each control."""
    results = [
        {
            "from_name": control,
            "type": "choices",
            "value": {"choices": [given] if isinstance(given, str) else given},
        }
        for control, given in choices.items()
    ]
    return {"data": {"sha256": HASHES[number]}, "annotations": [{"result": results}]}


def write_tasks(path: Path, *tasks: dict[str, Any]) -> Path:
    """Write an export of Label Studio."""
    path.write_text(json.dumps(tasks))
    return path


def test_one_control_is_read(store: Store, tmp_path: Path, run: Run) -> None:
    """That of `training-set` by default: the others say something else of the image."""
    path = write_tasks(
        tmp_path / "tasks.json",
        task(0, label="nsfw", quality="clean", style=["drawing", "sketch"]),
        task(1, style="drawing"),
        task(2, context="violence"),
        task(3, label="normal", context="violence"),
    )
    done = run("import-labels", path, "--source", "lab")
    assert done.out.startswith("4 labels read: 2 recorded, 0 already recorded, 2 not imported.\n")
    assert done.err == "Not imported: 2 without a label.\n"
    assert store.label_imports.unstored() == {HASHES[0]: Label.NSFW, HASHES[3]: Label.NORMAL}


def test_of_several_controls_one_is_named(store: Store, tmp_path: Path, run: Run) -> None:
    """Where none is named as in `training-set`, the error lists them; a single one is read."""
    path = write_tasks(tmp_path / "tasks.json", task(0, safety="nsfw", style="drawing"))
    done = run("import-labels", path, "--source", "lab")
    assert (done.code, done.out) == (1, "")
    assert "choices of several controls: 'safety', 'style'." in done.err
    assert "--control" in done.err
    done = run("import-labels", path, "--source", "lab", "--control", "safe")
    assert done.code == 1
    assert "no choices of a control 'safe'. It has those of 'safety', 'style'." in done.err
    assert store.label_imports.unstored() == {}
    done = run("import-labels", path, "--source", "lab", "--control", "safety")
    assert done.out.startswith("1 labels read: 1 recorded")
    assert store.label_imports.unstored() == {HASHES[0]: Label.NSFW}
    only = write_tasks(tmp_path / "only.json", task(1, safety="normal"))
    assert [each.label for each in read_labels(only)] == ["normal"]


def test_predictions_and_cancelled_annotations_have_no_control(tmp_path: Path) -> None:
    """A control that only they have is not one of several."""
    cancelled = {"was_cancelled": True, **task(0, style="drawing")["annotations"][0]}
    made = task(0, safety="nsfw")
    made["annotations"].append(cancelled)
    made["predictions"] = [{"result": task(0, quality="clean")["annotations"][0]["result"]}]
    path = write_tasks(tmp_path / "tasks.json", made)
    assert [each.label for each in read_labels(path)] == ["nsfw"]


@pytest.mark.parametrize("name", ["a.csv", "directory"])
def test_a_control_is_one_of_label_studio(name: str, tmp_path: Path) -> None:
    """For other formats the option is an error: it would have no effect."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "a.csv").write_text("sha256,label\n")
    with pytest.raises(LabelSetError, match="is not a JSON export of Label Studio"):
        read_labels(tmp_path / name, control="label")


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"img": "/data/upload/7/a.png", "title": "A cat"}, "/data/upload/7/a.png"),
        ({"photo": "https://images.example/b.JPG?w=9", "id": 7}, "/b.JPG"),
        ({"url": "s3://bucket/c.webp", "page": "https://example.org/c"}, "/c.webp"),
        ({"local": "/data/local-files/?d=set/d.png"}, "set/d.png"),
        ({"image": "e", "img": "f.png"}, "e"),
        ({"file_name": "g", "img": "f.png"}, "g"),
        ({"before": "1.png", "after": "2.png"}, ""),
        ({"title": "A cat", "list": ["a.png"]}, ""),
    ],
)
def test_the_image_of_a_task_may_have_any_name(
    data: dict[str, Any], path: str, tmp_path: Path
) -> None:
    """Where none is `image`, it is the only path or URL with the suffix of one."""
    tasks = write_tasks(tmp_path / "tasks.json", task(0, label="nsfw") | {"data": data})
    (found,) = read_labels(tasks)
    assert found.path == path


def test_labels_without_a_path_are_counted(store: Store, tmp_path: Path, run: Run) -> None:
    """Not as those of images that are not stored; a hash is enough."""
    tasks = [task(0, label="nsfw"), task(1, label="nsfw") | {"data": {"text": "A cat"}}]
    done = run("import-labels", write_tasks(tmp_path / "a.json", *tasks), "--source", "lab")
    assert done.err == "Not imported: 1 without the path of an image, or its SHA-256.\n"
    assert list(store.label_imports.unstored()) == [HASHES[0]]


def test_images_that_no_table_lists_are_counted(store: Store, tmp_path: Path, run: Run) -> None:
    """Next to a table or in other directories, whose names are no labels where there are tables."""
    root = tmp_path / "set"
    for folder in ("train", "test/nsfw", "images"):
        (root / folder).mkdir(parents=True)
    names = ["train/listed.jpg", "train/forgotten.jpg", "test/nsfw/a.png", "images/far.jpg"]
    names += ["images/by-hash.jpg", "images/bare", "images/again.jpg"]
    for seed, name in enumerate(names):
        (root / name).write_bytes(encoded(pattern(seed), "JPEG"))
    (root / "images/link.jpg").symlink_to(root / "train/listed.jpg")
    for name in ("README.md", "LICENSE", "train/.hidden.jpg"):
        (root / name).write_text("no image")
    content = [hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names]
    rows = [{"file_name": "listed.jpg"}, {"file_name": "../images/far.jpg"}]
    rows += [{"sha256": content[4].upper()}, {"file_name": str(root / "images/again.jpg")}]
    (root / "train/metadata.jsonl").write_text(
        "".join(json.dumps({"label": "normal"} | row) + "\n" for row in rows)
    )
    done = run("import-labels", root, "--source", "lab")
    assert done.out.startswith("7 labels read: 4 recorded, 0 already recorded, 3 not imported.\n")
    assert done.err == "Not imported: 3 of images that no table in the directory lists.\n"
    assert store.label_imports.unstored() == {content[at]: Label.NORMAL for at in (0, 3, 4, 6)}


def test_tables_without_rows_are_an_error(tmp_path: Path) -> None:
    """Images that no table lists are no labels."""
    (tmp_path / "a.jpg").write_bytes(encoded(pattern(1), "JPEG"))
    (tmp_path / "metadata.csv").write_text("file_name,label\n")
    with pytest.raises(LabelSetError, match="has no labels: its tables have no rows"):
        read_labels(tmp_path)
