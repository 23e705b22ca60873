"""`import-labels`: labels from elsewhere become decisions of a source, and no evidence."""

import csv
import hashlib
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from nsfw_app.datasets.training_rows import Labels, Omission, read_rows
from nsfw_app.datasets.training_set import Split
from nsfw_app.decision import Decision
from nsfw_app.errors import NotFound
from nsfw_app.evidence.agreement import Insights
from nsfw_app.imaging import decode
from nsfw_app.models.equivalence import EquivalentBackends
from nsfw_app.records import Label, LogFilter, Reason
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.queue import QueueReason
from nsfw_app.store import Store
from nsfw_app.store.label_imports import Recorded
from nsfw_app.store.period_counts import Period
from tests.support.commands import Run, run
from tests.support.fakes import image_bytes
from tests.support.image_files import encoded
from tests.support.labeled_store import add_labeled, fill_labeled, open_labeled_store, pattern
from tests.support.sample_records import FAKE, OTHER, admitted, answer, person
from tests.support.scans import scan

__all__ = ["run"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The store of the command's data directory."""
    return open_labeled_store(tmp_path)


def imported(store: Store) -> list[Decision]:
    """The decisions of sources, the oldest first."""
    found = [each for each in store.log.rows(LogFilter()) if each.reviewer.startswith("import:")]
    return found[::-1]


def write_rows(path: Path, rows: list[dict[str, str]]) -> Path:
    """Write a CSV table."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_labels_become_decisions_of_the_source_once(store: Store, tmp_path: Path, run: Run) -> None:
    """The same file again records nothing, a changed label replaces the one before."""
    first, second = (add_labeled(store, pattern(seed), None) for seed in range(2))
    rows = [{"sha256": first, "label": "porn"}, {"sha256": second, "label": "neutral"}]
    path = write_rows(tmp_path / "labels.csv", rows)
    for added, unchanged in ((2, 0), (0, 2)):
        done = run("import-labels", path, "--source", "lab")
        assert done.code == 0
        assert done.out.startswith(
            f"2 labels read: {added} recorded, {unchanged} already recorded, 0 not imported.\n"
        )
    decisions = imported(store)
    assert [(d.reviewer, d.image_sha256, d.reviewer_label, d.model_label) for d in decisions] == [
        ("import:lab", first, "nsfw", "nsfw"),
        ("import:lab", second, "normal", "nsfw"),
    ]
    for label in ("normal", "nsfw"):
        write_rows(path, [{"sha256": first, "label": label}])
        assert "1 recorded" in run("import-labels", path, "--source", "lab").out
    assert [(d.reviewer_label, d.undone) for d in imported(store) if d.image_sha256 == first] == [
        ("nsfw", True),
        ("normal", True),
        ("nsfw", False),
    ]
    assert store.consistency.check() == []


def test_what_is_not_imported_is_counted(store: Store, tmp_path: Path, run: Run) -> None:
    """Labels that are missing, unknown, of no image, of several, contradictory, restricted."""
    image = add_labeled(store, pattern(1), None, name="cats/one.png")
    for seed in (2, 3):
        add_labeled(store, pattern(seed), None, name="same.png")
    several = add_labeled(store, pattern(4), None, name="four.png")
    minor = add_labeled(store, pattern(5), Label.NSFW, name="five.png")
    made = answer("minor", Label.NSFW, image_sha256=minor, reasons=(Reason.MINOR_PRESENT,))
    store.log.add(made, person("cid", owner="ann"))
    add_labeled(store, pattern(6), None, name="eight.png")
    paths = {
        "cats/one.png": "normal",
        "same.png": "normal",
        f"{several}.jpg": "normal",
        "four.png": "nsfw",
        "five.png": "nsfw",
        "elsewhere.png": "nsfw",
        "six.png": "",
        "seven.png": "banana",
        "folder/eight.png": "nsfw",
    }
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps({"path": p, "label": v}) + "\n" for p, v in paths.items()))
    done = run("import-labels", path, "--source", "lab")
    assert done.out.startswith("9 labels read: 1 recorded, 0 already recorded, 8 not imported.\n")
    assert done.err.splitlines() == [
        "Not imported: 1 without a label.",
        "Not imported: 1 with a label that is neither normal nor nsfw.",
        "Not imported: 1 of images that are not stored here.",
        "Not imported: 1 of paths of which only the last part is known (see --match-names).",
        "Not imported: 1 of a name that several images have.",
        "Not imported: 2 of images with several labels.",
        "Not imported: 1 of restricted images.",
    ]
    assert [d.image_sha256 for d in imported(store)] == [image]


def test_counts_of_an_import_add_up(store: Store, tmp_path: Path, run: Run) -> None:
    """Each label that is read is recorded, already recorded, or not imported for one reason."""
    one, two, three, minor = (add_labeled(store, pattern(seed), None) for seed in range(4))
    made = answer("minor", Label.NSFW, image_sha256=minor, reasons=(Reason.MINOR_PRESENT,))
    store.log.add(made, person("cid", owner="ann"))
    given = [
        *[(one, "nsfw"), (one, "normal"), (one, "nsfw")],
        *[(f" {two} ", "nsfw"), (f"SHA256:{two.upper()}", "nsfw"), (two, "nsfw")],
        *[(three, "normal"), (minor, "nsfw"), (minor, "nsfw"), (f"{three[:63]}z", "normal")],
        *[("  ", "normal"), (one, ""), (one, "banana")],
    ]
    rows = [{"sha256": sha256, "label": label, "path": "no.png"} for sha256, label in given]
    path = write_rows(tmp_path / "labels.csv", rows)
    for counts in ("2 recorded, 0 already recorded", "0 recorded, 2 already recorded"):
        done = run("import-labels", path, "--source", "lab")
        assert done.out.startswith(f"13 labels read: {counts}, 11 not imported.\n")
        assert done.err.splitlines() == [
            "Not imported: 1 without a label.",
            "Not imported: 1 with a SHA-256 that is not 64 hexadecimal digits.",
            "Not imported: 1 with a label that is neither normal nor nsfw.",
            "Not imported: 1 of images that are not stored here.",
            "Not imported: 3 of images with several labels.",
            "Not imported: 3 that repeat another one.",
            "Not imported: 1 of restricted images.",
        ]
    assert {d.image_sha256: d.reviewer_label for d in imported(store)} == {
        two: "nsfw",
        three: "normal",
    }


@pytest.mark.parametrize("set_format", ["imagefolder", "csv", "label-studio"])
def test_training_sets_are_read_again(
    set_format: str, store: Store, tmp_path: Path, run: Run
) -> None:
    """Each format that `training-set` writes comes back as the same labels."""
    fill_labeled(store, 5)
    output = tmp_path / "set"
    run("training-set", "--settled", "--output", output, "--format", set_format)
    path = {"csv": output / "labels.csv", "label-studio": output / "tasks.json"}
    done = run("import-labels", path.get(set_format, output), "--source", "lab")
    assert done.out.startswith("15 labels read: 15 recorded, 0 already recorded, 0 not imported.\n")
    rows = {row.sha256: row.label for row in read_rows(store, labels=Labels.ALL).rows}
    assert {d.image_sha256: d.reviewer_label for d in imported(store)} == rows


def test_tasks_of_label_studio_are_read(store: Store, tmp_path: Path, run: Run) -> None:
    """Uploaded files lose their prefix; predictions and cancelled annotations are no labels."""
    one, two = (add_labeled(store, pattern(seed), None, name=f"{seed}.png") for seed in (1, 2))
    add_labeled(store, pattern(3), None, name="3.png")

    def choice(label: str) -> dict[str, object]:
        return {"result": [{"type": "choices", "value": {"choices": [label]}}]}

    tasks = [
        {"data": {"image": "/data/upload/7/0a1b2c3d-1.png"}, "annotations": [choice("nsfw")] * 2},
        {"data": {"image": "/data/local-files/?d=set/2.png"}, "annotations": [choice("normal")]},
        {
            "data": {"image": "https://images.example/3.png"},
            "annotations": [{"was_cancelled": True, **choice("nsfw")}],
            "predictions": [choice("nsfw")],
        },
    ]
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps(tasks))
    done = run("import-labels", path, "--source", "lab", "--match-names")
    assert done.err == "Not imported: 1 without a label.\n"
    assert {d.image_sha256: d.reviewer_label for d in imported(store)} == {
        one: "nsfw",
        two: "normal",
    }


@pytest.mark.parametrize("url", ["http://[x/a.jpg", "https://cdn.example/a.jpg?d=200"])
def test_addresses_of_tasks_are_taken_as_they_are(
    url: str, store: Store, tmp_path: Path, run: Run
) -> None:
    """An invalid URL is a path, and only local files of Label Studio have theirs in the query."""
    image = add_labeled(store, pattern(1), None, name="a.jpg")
    add_labeled(store, pattern(2), None, name="200")
    choices = {"annotations": [{"result": [{"value": {"choices": ["nsfw"]}}]}]}
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps([{"data": {"image": url}, **choices}]))
    done = run("import-labels", path, "--source", "lab", "--match-names")
    assert "1 labels read: 1 recorded" in done.out
    assert [decision.image_sha256 for decision in imported(store)] == [image]


def test_directories_named_by_label_are_read(store: Store, tmp_path: Path, run: Run) -> None:
    """Without metadata, the directory of a file is its label."""
    image = add_labeled(store, pattern(1), None, name="1.png")
    folder = tmp_path / "labeled" / "train" / "neutral"
    folder.mkdir(parents=True)
    (folder / "1.png").write_bytes(b"any")
    done = run("import-labels", tmp_path / "labeled", "--source", "lab", "--match-names")
    assert "1 recorded" in done.out
    (decision,) = imported(store)
    assert (decision.image_sha256, decision.reviewer_label) == (image, "normal")


def test_files_in_directories_are_known_by_their_bytes(
    store: Store, tmp_path: Path, run: Run
) -> None:
    """By any name; a file that is not stored is an image of a scan, by the same hash."""
    first, second = (encoded(pattern(seed), "JPEG", quality=95) for seed in (1, 2))
    image = add_labeled(store, pattern(1), None, name="other.png")
    folder = tmp_path / "labeled" / "nsfw"
    folder.mkdir(parents=True)
    names = {"x.jpg": first, "y.jpg": second, ".DS_Store": b"z", "z.txt": b"z"}
    for name, content in names.items():
        (folder / name).write_bytes(content)
    done = run("import-labels", tmp_path / "labeled", "--source", "lab")
    assert "4 labels read: 2 recorded" in done.out
    assert done.err == "Not imported: 2 of files that are hidden or no images.\n"
    assert [(d.image_sha256, d.reviewer_label) for d in imported(store)] == [(image, "nsfw")]
    assert store.label_imports.unstored() == {hashlib.sha256(second).hexdigest(): Label.NSFW}


def test_files_at_the_top_have_the_name_of_the_directory(
    store: Store, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is called where its links lead, also where it is named as the working directory."""
    folder = tmp_path / "labeled" / "nsfw"
    folder.mkdir(parents=True)
    for seed in range(5):
        (folder / f"{seed}.png").write_bytes(encoded(pattern(seed), "PNG"))
    (tmp_path / "link").symlink_to(folder)
    for named in (folder, tmp_path / "link", Path()):
        monkeypatch.chdir(folder)
        done = run("import-labels", named, "--source", named.name or "here")
        assert done.out.startswith("5 labels read: 5 recorded")
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()]
    assert store.label_imports.unstored() == dict.fromkeys(hashes, Label.NSFW)


def test_files_that_are_no_images_have_no_label(store: Store, tmp_path: Path, run: Run) -> None:
    """Without a suffix the first bytes say what is one; hidden directories have none."""
    folder = tmp_path / "labeled" / "nsfw"
    (folder / ".cache").mkdir(parents=True)
    formats = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
    images = {name: encoded(pattern(seed), name) for seed, name in enumerate(formats)}
    others = {"LICENSE": b"Apache License", "EMPTY": b"", "a.txt": b"a", ".cache/a.png": b"a"}
    for name, content in (images | others).items():
        (folder / name).write_bytes(content)
    done = run("import-labels", tmp_path / "labeled", "--source", "lab")
    assert done.err == "Not imported: 4 of files that are hidden or no images.\n"
    hashes = [hashlib.sha256(content).hexdigest() for content in images.values()]
    assert store.label_imports.unstored() == dict.fromkeys(hashes, Label.NSFW)


def test_nothing_outside_of_a_directory_is_read(store: Store, tmp_path: Path, run: Run) -> None:
    """Neither through paths of its tables nor through links; what lies in it is, by any path."""
    folder, outside = tmp_path / "labeled" / "nsfw", tmp_path / "outside"
    folder.mkdir(parents=True)
    outside.mkdir()
    (outside / "secret").write_bytes(encoded(pattern(1), "PNG"))
    (folder / "inside.png").write_bytes(encoded(pattern(2), "PNG"))
    (folder / "link.png").symlink_to(outside / "secret")
    (folder / "linked").symlink_to(outside)
    (folder / "again.png").symlink_to(folder / "inside.png")
    recorded = {hashlib.sha256((folder / "inside.png").read_bytes()).hexdigest(): Label.NSFW}
    done = run("import-labels", tmp_path / "labeled", "--source", "lab")
    assert "4 labels read: 1 recorded, 0 already recorded, 3 not imported." in done.out
    assert "Not imported: 1 that repeat another one.\n" in done.err
    assert "1 with a label that is neither normal nor nsfw.\n" in done.err  # linked/
    assert "1 of paths that lead out of the directory, where nothing is read.\n" in done.err
    assert store.label_imports.unstored() == recorded

    stored = add_labeled(store, pattern(3), None, name="/photos/3.png")
    names = ["../../outside/secret", str(outside / "secret"), "link.png", "linked/secret"]
    names += ["/etc/hostname", "/photos/3.png", "../nsfw/inside.png", str(folder / "again.png")]
    rows = [{"file_name": name, "label": "nsfw"} for name in names]
    write_rows(folder / "metadata.csv", rows)
    done = run("import-labels", tmp_path / "labeled", "--source", "lab")
    assert "8 labels read: 1 recorded, 1 already recorded, 6 not imported." in done.out
    assert "5 of paths that lead out of the directory, where nothing is read.\n" in done.err
    assert store.label_imports.unstored() == recorded
    assert [decision.image_sha256 for decision in imported(store)] == [stored]

    (folder / "metadata.csv").rename(outside / "metadata.csv")
    (folder / "metadata.csv").symlink_to(outside / "metadata.csv")
    done = run("import-labels", tmp_path / "labeled", "--source", "lab")
    assert done.code == 1
    assert "metadata.csv is not read: it is a link that leads out of" in done.err


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json"])
def test_files_of_labels_open_no_other_file(
    name: str, store: Store, tmp_path: Path, run: Run
) -> None:
    """Their paths are compared with those that are recorded here."""
    image = add_labeled(store, pattern(1), None, name="/photos/1.png")
    (tmp_path / "2.png").write_bytes(encoded(pattern(2), "PNG"))
    paths = ("/photos/1.png", str(tmp_path / "2.png"), "2.png")
    rows = [{"path": path, "label": "nsfw"} for path in paths]
    if name == "a.csv":
        write_rows(tmp_path / name, rows)
    elif name == "a.jsonl":
        (tmp_path / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    else:
        choices = {"annotations": [{"result": [{"value": {"choices": ["nsfw"]}}]}]}
        tasks = [{"data": {"image": path}, **choices} for path in paths]
        (tmp_path / name).write_text(json.dumps(tasks))
    done = run("import-labels", tmp_path / name, "--source", "lab")
    assert done.err == "Not imported: 2 of images that are not stored here.\n"
    assert [decision.image_sha256 for decision in imported(store)] == [image]
    assert store.label_imports.unstored() == {}


@pytest.mark.parametrize("name", ["a.csv", "header.csv", "a.jsonl", "a.json", "empty", "others"])
def test_a_file_without_labels_is_an_error(name: str, tmp_path: Path, run: Run) -> None:
    """Also a directory without images: a wrong path is not taken for an import."""
    path = tmp_path / name
    if path.suffix:
        path.write_text({"a.json": "[]", "header.csv": "sha256,label\n"}.get(name, ""))
    else:
        path.mkdir()
        if name == "others":
            (path / "LICENSE").write_text("Apache License")
    done = run("import-labels", path, "--source", "lab")
    assert done.code == 1
    assert f"{name} has no labels" in done.err


def test_metadata_of_image_folders_is_read(store: Store, tmp_path: Path, run: Run) -> None:
    """As JSON Lines or CSV, for the files next to it, by their bytes; Parquet is refused."""
    images = [add_labeled(store, pattern(seed), None) for seed in range(2)]
    for seed, split in enumerate(("train", "test")):
        folder = tmp_path / "labeled" / split
        folder.mkdir(parents=True)
        (folder / "a.jpg").write_bytes(encoded(pattern(seed), "JPEG", quality=95))
    write_rows(tmp_path / "labeled/train/metadata.csv", [{"file_name": "a.jpg", "label": "normal"}])
    (tmp_path / "labeled/test/metadata.jsonl").write_text('{"file_name": "a.jpg", "label": "nsfw"}')
    assert "2 recorded" in run("import-labels", tmp_path / "labeled", "--source", "lab").out
    found = {d.image_sha256: d.reviewer_label for d in imported(store)}
    assert found == {images[0]: "normal", images[1]: "nsfw"}
    (tmp_path / "labeled/test/metadata.parquet").touch()
    done = run("import-labels", tmp_path / "labeled", "--source", "lab")
    assert done.code == 1
    assert "metadata.parquet is not read: write it as metadata.jsonl or metadata.csv." in done.err


@pytest.mark.parametrize("name", ["0001.jpg", "train/0001.jpg"])
@pytest.mark.parametrize("tables", ["with tables", "without tables"])
def test_other_files_of_the_same_name_are_other_images(
    tables: str, name: str, store: Store, tmp_path: Path, run: Run
) -> None:
    """Bytes that are known, and of no stored image, are an image that is not stored."""
    add_labeled(store, pattern(1), None, name=name if tables == "with tables" else f"nsfw/{name}")
    hashes = []
    for seed, split in enumerate(("train", "test"), start=10):
        content = encoded(pattern(seed), "JPEG", quality=95)
        hashes.append(hashlib.sha256(content).hexdigest())
        folder = tmp_path / "set" / (split if tables == "with tables" else f"nsfw/{split}/nsfw")
        folder.mkdir(parents=True)
        (folder / "0001.jpg").write_bytes(content)
        if tables == "with tables":
            write_rows(folder / "metadata.csv", [{"file_name": "0001.jpg", "label": "nsfw"}])
    done = run("import-labels", tmp_path / "set", "--source", "lab")
    assert "2 labels read: 2 recorded, 0 already recorded, 0 not imported." in done.out
    assert imported(store) == []
    assert store.label_imports.unstored() == dict.fromkeys(hashes, Label.NSFW)


def test_files_in_two_directories_are_never_one_image(
    store: Store, tmp_path: Path, run: Run
) -> None:
    """Also where names are asked for: both tables have the same name for their file."""
    add_labeled(store, pattern(1), None, name="0001.jpg")
    for split in ("train", "test"):
        folder = tmp_path / "set" / split
        folder.mkdir(parents=True)
        (folder / "0001.jpg").write_bytes(split.encode())
        write_rows(folder / "metadata.csv", [{"file_name": "0001.jpg", "label": "nsfw"}])
    done = run("import-labels", tmp_path / "set", "--source", "lab", "--match-names")
    assert done.err == "Not imported: 2 of different paths with the same last part.\n"
    assert imported(store) == []


@pytest.mark.parametrize("names", [(), ("--match-names",)])
def test_a_preview_is_known_by_the_hash_in_its_name(
    names: tuple[str, ...], store: Store, tmp_path: Path, run: Run
) -> None:
    """Where the image of that hash is stored; else a file is the image that its bytes are."""
    image = add_labeled(store, pattern(1), None, name="other.png")
    folder = tmp_path / "set" / "nsfw"
    folder.mkdir(parents=True)
    (folder / f"{image}.jpg").write_bytes(b"preview")
    (folder / f"{'0' * 64}.jpg").write_bytes(b"other")
    done = run("import-labels", tmp_path / "set", "--source", "lab", *names)
    assert "2 labels read: 2 recorded" in done.out
    assert [decision.image_sha256 for decision in imported(store)] == [image]
    assert list(store.label_imports.unstored()) == [hashlib.sha256(b"other").hexdigest()]


def test_paths_in_a_directory_are_relative_to_it(store: Store, tmp_path: Path, run: Run) -> None:
    """Also those of a table in a directory below it, whose files may be missing, or impossible."""
    add_labeled(store, pattern(1), None, name="0001.jpg")
    image = add_labeled(store, pattern(2), None, name="images/0001.jpg")
    folder = tmp_path / "set" / "train"
    folder.mkdir(parents=True)
    names = ("0001.jpg", "../images/0001.jpg", f"{'x' * 300}.jpg")
    write_rows(folder / "metadata.csv", [{"file_name": name, "label": "nsfw"} for name in names])
    done = run("import-labels", tmp_path / "set", "--source", "lab")
    assert "3 labels read: 1 recorded" in done.out
    assert "Not imported: 1 of paths of which only the last part is known" in done.err
    assert [decision.image_sha256 for decision in imported(store)] == [image]


@pytest.mark.parametrize("output", ["kept.jsonl", "copied"])
def test_labels_of_a_model_are_not_imported(
    output: str, store: Store, tmp_path: Path, run: Run
) -> None:
    """Of what `filter` writes, people's labels are read, and the others counted."""
    source = tmp_path / "source"
    source.mkdir()
    for red in (0, 10):
        (source / f"{red}.png").write_bytes(image_bytes(red))
    scan(source, tmp_path / "scanned")
    labeled = decode.sha256(image_bytes(10))
    path = write_rows(tmp_path / "labels.csv", [{"sha256": labeled, "label": "normal"}])
    run("import-labels", path, "--source", "lab")
    file_format = ("--format", "copy") if output == "copied" else ()
    options = ("--decisions", "--output", tmp_path / output, *file_format)
    assert run("filter", tmp_path / "scanned", *options).code == 0
    done = run("import-labels", tmp_path / output, "--source", "again")
    assert "2 labels read: 1 recorded" in done.out
    assert done.err == "Not imported: 1 without a label.\n"
    assert store.label_imports.unstored() == {labeled: Label.NORMAL}


def test_a_stored_path_comes_before_a_hash_in_it(store: Store, tmp_path: Path, run: Run) -> None:
    """An image may have been uploaded under the name of a hash that is not its own."""
    other, name = hashlib.sha256(b"other").hexdigest(), hashlib.sha256(b"url").hexdigest()
    image = add_labeled(store, pattern(1), None, name=f"{name}.jpg")
    copied = add_labeled(store, pattern(2), None)
    add_labeled(store, pattern(3), None, name=f"{copied}.jpg")
    paths = (f"{name}.jpg", f"a/{name}.jpg", f"{copied}.jpg", f"a/{copied}.jpg", f"{other}.jpg")
    path = write_rows(tmp_path / "labels.csv", [{"path": p, "label": "nsfw"} for p in paths])
    done = run("import-labels", path, "--source", "lab")
    assert "5 labels read: 3 recorded" in done.out
    assert done.err.splitlines() == [
        "Not imported: 1 of paths of which only the last part is known (see --match-names).",
        "Not imported: 1 of a name that several images have.",
    ]
    assert {d.image_sha256 for d in imported(store)} == {image, copied}
    assert store.label_imports.unstored() == {other: Label.NSFW}


def test_two_paths_are_never_one_image(store: Store, tmp_path: Path, run: Run) -> None:
    """The last part of a path finds an image on request only, and where no other path has it."""
    add_labeled(store, pattern(1), None, name="one.png")
    two = add_labeled(store, pattern(2), None, name="two.png")
    paths = ("/other/a/one.png", "/other/b/one.png", "/other/a/two.png")
    path = write_rows(tmp_path / "labels.csv", [{"path": p, "label": "nsfw"} for p in paths])
    done = run("import-labels", path, "--source", "lab")
    assert "3 labels read: 0 recorded" in done.out
    assert "3 of paths of which only the last part is known (see --match-names)" in done.err
    done = run("import-labels", path, "--source", "lab", "--match-names")
    assert "3 labels read: 1 recorded" in done.out
    assert done.err == "Not imported: 2 of different paths with the same last part.\n"
    assert [d.image_sha256 for d in imported(store)] == [two]


def test_imported_labels_enter_training_sets_under_their_source(store: Store) -> None:
    """A label that no reviewer gave has the name of its source, and is no vote of a reviewer."""
    image = add_labeled(store, pattern(1), None)
    both = add_labeled(store, pattern(2), Label.NSFW)
    labels = {image: Label.NORMAL, both: Label.NSFW}
    store.label_imports.record(labels, "lab", threshold_of=lambda _: 0.5, actor="operator")
    found = {row.sha256: row for row in read_rows(store, labels=Labels.ALL).rows}
    assert found[image].label_source == "lab"
    assert (found[image].image.votes.normal, found[image].split) == (0, Split.TRAIN)
    assert found[both].label_source == "decision"
    assert found[both].image.votes.nsfw == 2


@pytest.mark.parametrize("withdrawn", [False, True])
def test_imported_labels_are_no_evidence(withdrawn: bool, store: Store) -> None:
    """An image that was drawn keeps its open entry, and has no label before a reviewer decides."""
    image = add_labeled(store, pattern(1), None, arrival=admitted(QueueReason.REVIEW))
    prediction = store.catalog.find(image, FAKE)
    assert prediction is not None
    assert prediction.prediction_id is not None
    if withdrawn:
        store.previews.remove(image)
        store.queue.withdraw_unreviewable([prediction.prediction_id])
    labels = {image: Label.NORMAL}
    store.label_imports.record(labels, "lab", threshold_of=lambda _: 0.5, actor="operator")
    after = {"after_decision": 0, "after_arrival": 0}
    assert store.arrivals.labels(**after) == [(prediction.prediction_id, None, None)]
    assert store.queue.size() == (0 if withdrawn else 1)
    changed = {image: Label.NSFW}
    store.label_imports.record(changed, "lab", threshold_of=lambda _: 0.5, actor="operator")
    store.label_imports.record(labels, "lab", threshold_of=lambda _: 0.5, actor="operator")
    assert list(store.decision_rows.after(0)) == []
    assert store.decision_rows.left_out() == ([], [])
    if not withdrawn:
        made = replace(answer("n", Label.NSFW), image_sha256=image)
        store.log.add(made, person("ann"))
        assert store.arrivals.labels(**after) == [(prediction.prediction_id, "nsfw", None)]
        assert store.queue.size() == 0
    assert store.consistency.check() == []


def test_a_source_is_no_reviewer(store: Store) -> None:
    """No misclassification, agreement, workload, and no sight of others' images, is from imports.

    A reviewer's decision about the same image makes it one, with the reviewer's label.
    """
    image = add_labeled(store, pattern(1), None)  # the model says nsfw
    record = partial(store.label_imports.record, threshold_of=lambda _: 0.5, actor="operator")
    record({image: Label.NORMAL}, "lab")
    record({image: Label.NORMAL}, "vendor")
    period = Period("2000", "3000")
    counts, insights = (
        store.period_counts,
        Insights(store, PolicyBook(store.policies), EquivalentBackends(None)),
    )
    assert (counts.decisions(period), counts.shared(period)) == ({}, [])
    assert counts.imported(period) == 2
    assert (insights.models(), store.training.size()) == ([], 0)
    prediction = store.catalog.find(image, FAKE)
    assert prediction is not None
    with pytest.raises(NotFound):
        store.training.decide(prediction.prediction_id, None, reviewer="ann")
    with pytest.raises(NotFound):
        store.training.withdraw(prediction.prediction_id, reviewer="ann")
    assert not store.visibility.is_visible(image, person("cid", owner="cid"))
    assert [each.label for each in store.settled_labels.all()] == ["normal"]
    store.log.add(answer("n", Label.NSFW, image_sha256=image), person("ann"))
    assert [each.label for each in store.settled_labels.all()] == ["nsfw"]
    assert [each.settled for each in store.labeled_images.all()] == ["nsfw"]
    assert list(counts.decisions(period)) == ["ann"]
    (model,) = insights.models()
    assert (model.confusion.true_positives, model.undecided) == (1, 0)
    assert store.consistency.check() == []


def test_labels_count_while_images_wait(store: Store, tmp_path: Path, run: Run) -> None:
    """An image keeps its place in the queue, and the label until a reviewer decides on it."""
    wait, disputed, ours, both = (
        add_labeled(store, pattern(seed), None, arrival=admitted(QueueReason.REVIEW))
        for seed in range(4)
    )
    store.log.add(answer("n", Label.NSFW, image_sha256=ours), person("ann"))
    store.label_imports.record(
        {both: Label.NSFW}, "other", threshold_of=lambda _: 0.5, actor="operator"
    )
    rows = [{"sha256": each, "label": "normal"} for each in (wait, disputed, ours, both)]
    done = run("import-labels", write_rows(tmp_path / "a.csv", rows), "--source", "lab")
    assert done.out.splitlines() == [
        "4 labels read: 4 recorded, 0 already recorded, 0 not imported.",
        "2 of their images have an imported label now, in filters, evaluations and training sets "
        "of settled labels. 2 of these wait in the queue, until a reviewer's decision replaces "
        "the label. 1 have reviewers' decisions, which come first. 1 have none, because labels of "
        "sources differ.",
    ]
    assert store.queue.size() == 3
    labels = {each.image_sha256: each.label for each in store.settled_labels.all()}
    assert labels == {wait: "normal", disputed: "normal", ours: "nsfw"}
    trained = {row.sha256: row.label for row in read_rows(store, labels=Labels.ALL).rows}
    assert trained == labels
    store.log.add(answer("u", Label.UNSURE, image_sha256=disputed), person("ann"))
    assert store.queue.size() == 3
    assert {each.image_sha256 for each in store.settled_labels.all()} == {wait, ours}
    assert disputed not in {row.sha256 for row in read_rows(store, labels=Labels.ALL).rows}
    assert store.consistency.check() == []


def test_a_reviewer_overrules_a_source_for_another_model(store: Store) -> None:
    """The label was imported for the latest prediction of the image, and decided for another."""
    image = add_labeled(store, pattern(1), Label.NSFW)
    add_labeled(store, pattern(1), None, identity=OTHER)
    labels = {image: Label.NORMAL}
    store.label_imports.record(labels, "lab", threshold_of=lambda _: 0.5, actor="operator")
    assert [each.label for each in store.settled_labels.all()] == ["nsfw"]
    (row,) = store.labeled_images.all()
    assert (row.settled, row.settled_differ) == ("nsfw", False)


def test_a_label_is_replaced_where_it_stands(store: Store, tmp_path: Path) -> None:
    """A model that saw the image since neither doubles a label nor makes it differ from itself.

    Labels for both models, as earlier versions recorded them, are replaced for both.
    """
    record = partial(store.label_imports.record, threshold_of=lambda _: 0.5, actor="operator")
    image = add_labeled(store, pattern(1), None)
    record({image: Label.NORMAL}, "lab")
    add_labeled(store, pattern(1), None, identity=OTHER)
    assert record({image: Label.NORMAL}, "lab") == Recorded(unchanged=1)
    assert record({image: Label.NSFW}, "lab") == Recorded(added=1)
    assert [each.label for each in store.settled_labels.all()] == ["nsfw"]
    assert [row.label for row in read_rows(store, labels=Labels.ALL).rows] == ["nsfw"]
    assert [(d.model, d.reviewer_label, d.undone) for d in imported(store)] == [
        (FAKE.model, "normal", True),
        (FAKE.model, "nsfw", False),
    ]
    latest = store.catalog.find(image, OTHER)
    assert latest is not None
    with closing(sqlite3.connect(tmp_path / "review.db")) as db, db:
        db.execute(
            """
            insert into decisions (nonce, decided_at, reviewer, prediction_id, name, source,
              threshold, model_label, label, reasons, note, batch_id)
            select 'earlier', decided_at, reviewer, ?, name, source, threshold, model_label,
              'normal', reasons, note, batch_id
            from decisions where reviewer = 'import:lab' limit 1
            """,
            (latest.prediction_id,),
        )
    assert store.settled_labels.all() == []
    assert record({image: Label.NSFW}, "lab") == Recorded(added=1)
    assert [each.label for each in store.settled_labels.all()] == ["nsfw"]
    assert store.consistency.check() == []


def test_labels_are_recorded_all_or_none(store: Store) -> None:
    """An error stops the import, and nothing stays of it."""
    image = add_labeled(store, pattern(1), None)

    def failing(_: str) -> float:
        raise NotFound("There is no policy.")

    labels = {"0" * 64: Label.NORMAL, image: Label.NORMAL}
    with pytest.raises(NotFound):
        store.label_imports.record(labels, "lab", threshold_of=failing, actor="operator")
    assert imported(store) == []
    assert store.label_imports.unstored() == {}


def test_labels_of_images_that_are_not_stored(store: Store, tmp_path: Path, run: Run) -> None:
    """They are recorded by hash, once; the latest of a source counts until there is a decision."""
    hashes = [f"{number:064x}" for number in range(3)]
    rows = [{"sha256": each, "label": "nsfw"} for each in hashes]
    path = write_rows(tmp_path / "labels.csv", rows)
    for added, unchanged in ((3, 0), (0, 3)):
        done = run("import-labels", path, "--source", "lab")
        assert f"3 labels read: {added} recorded, {unchanged} already recorded," in done.out
        assert "3 of these are not stored here: their labels are in filters of scans" in done.out
    rows = [{"sha256": hashes[0], "label": "normal"}]
    run("import-labels", write_rows(path, rows), "--source", "lab")
    rows = [{"sha256": hashes[1], "label": "normal"}]
    done = run("import-labels", write_rows(path, rows), "--source", "vendor")
    assert "1 have none, because labels of sources differ." in done.out
    labels = {hashes[0]: Label.NORMAL, hashes[2]: Label.NSFW}
    assert store.label_imports.unstored() == labels
    found = read_rows(store, labels=Labels.ALL)
    assert (found.rows, found.omitted) == ([], {Omission.UNSTORED: 2})


def test_a_label_of_an_image_with_a_requested_second_opinion(
    store: Store, tmp_path: Path, run: Run
) -> None:
    """It is recorded, and counts once reviewers have settled the image."""
    image = add_labeled(store, pattern(1), None)
    stored = store.catalog.find(image, FAKE)
    assert stored is not None
    assert store.queue.escalate(stored.prediction_id, "ann")
    path = write_rows(tmp_path / "labels.csv", [{"sha256": image, "label": "normal"}])
    done = run("import-labels", path, "--source", "lab")
    assert "1 labels read: 1 recorded," in done.out
    assert "1 have none, until an unanswered request for a second opinion is settled." in done.out
    assert "labels of sources differ" not in done.out


def test_a_decision_replaces_a_label_of_an_image_that_was_not_stored(store: Store) -> None:
    """Stored later, it has the label of the import until a reviewer or an import decides on it."""
    record = partial(store.label_imports.record, threshold_of=lambda _: 0.5, actor="operator")
    image = hashlib.sha256(encoded(pattern(1), "JPEG", quality=95)).hexdigest()
    record({image: Label.NORMAL}, "lab")
    assert add_labeled(store, pattern(1), None) == image
    assert store.label_imports.unstored() == {image: Label.NORMAL}
    assert record({image: Label.NORMAL}, "lab").added == 1
    assert store.label_imports.unstored() == {}
    assert [each.label for each in store.settled_labels.all()] == ["normal"]
    store.log.add(answer("n", Label.NSFW, image_sha256=image), person("ann"))
    assert [each.label for each in store.settled_labels.all()] == ["nsfw"]


def test_a_label_from_before_an_image_was_stored_still_differs(store: Store) -> None:
    """The label of another source does not replace it: the image has none, until both agree."""
    record = partial(store.label_imports.record, threshold_of=lambda _: 0.5, actor="operator")
    image = hashlib.sha256(encoded(pattern(1), "JPEG", quality=95)).hexdigest()
    record({image: Label.NORMAL}, "lab")
    record({image: Label.NSFW}, "lab")
    assert add_labeled(store, pattern(1), None) == image
    assert record({image: Label.NORMAL}, "vendor").added == 1
    assert store.label_imports.unstored() == {}
    assert store.settled_labels.all() == []
    assert {each.reviewer: each.reviewer_label for each in imported(store)} == {
        "import:lab": "nsfw",
        "import:vendor": "normal",
    }
    assert record({image: Label.NSFW}, "vendor").added == 1
    assert [each.label for each in store.settled_labels.all()] == ["nsfw"]
    assert len(imported(store)) == 3


@pytest.mark.parametrize("source", ["relabel", "decision", "a:b", "", "x" * 49])
def test_names_of_sources_are_checked(source: str, tmp_path: Path, run: Run) -> None:
    """A source is not named as a source of reviewers' labels, and has no colon."""
    path = write_rows(tmp_path / "labels.csv", [{"sha256": "0" * 64, "label": "nsfw"}])
    assert run("import-labels", path, "--source", source).code == 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{}", "is not an export of Label Studio"),
        ("a.csv", "sha256\nabc\n", "the column 'label' is missing"),
        ("a.csv", "label\nnsfw\n", "the column 'sha256 or image_sha256 or path or file_name'"),
        ("a.csv", "sha256,label,nsfw_score,action\na,nsfw,0.9,block\n", "the labels are a model's"),
        ("a.csv", 'path,label\n"a,normal\nb,nsfw\nc,nsfw\n', "a.csv, line 2: this is not CSV"),
        ("a.jsonl", "[]\n", "line 1"),
        ("a.txt", "", "does not end with .csv, .jsonl or .json"),
    ],
)
def test_unreadable_files_are_named(
    name: str, text: str, message: str, tmp_path: Path, run: Run
) -> None:
    """An error says what is wrong with the file."""
    (tmp_path / name).write_text(text)
    done = run("import-labels", tmp_path / name, "--source", "lab")
    assert done.code == 1
    assert message in done.err
