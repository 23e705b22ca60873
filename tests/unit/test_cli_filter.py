"""`filter` as a command: criteria, people's labels, messages and exit codes."""

import json
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nsfw_app import settings
from nsfw_app.bootstrap import open_policies, open_store
from nsfw_app.datasets import filtering
from nsfw_app.datasets.scan_record import ScanRecord
from nsfw_app.imaging import decode
from nsfw_app.records import Action, Category, CategoryRule, Label, Policy, Reason
from nsfw_app.rules.decisions import DecisionRules
from nsfw_app.rules.queue import Admission
from nsfw_app.store import Store
from tests.support.arrivals import arrive, decide
from tests.support.commands import Run, run
from tests.support.fakes import FakeClassifier, image_bytes
from tests.support.labeled_store import pattern
from tests.support.sample_records import answer, person
from tests.support.scans import scan, scan_all

__all__ = ["run"]  # a fixture

SCORES = range(0, 250, 25)  # reds: 3 below 0.2, 2 more below 0.5


@pytest.fixture
def scanned(tmp_path: Path) -> Path:
    """A scan of 10 images, one copy, and one file that is no image."""
    source = tmp_path / "source"
    source.mkdir()
    for red in SCORES:
        (source / f"{red:03}.png").write_bytes(image_bytes(red, size=(100 + red, 50)))
    (source / "copy.png").write_bytes((source / "000.png").read_bytes())
    (source / "bad.png").write_bytes(b"<html>")
    scan(source, tmp_path / "scanned")
    return tmp_path / "scanned"


@pytest.fixture
def store(run: Run) -> Store:
    """The store of the commands."""
    return open_store(settings.load())


def kept(path: Path) -> set[str]:
    """The names in a list."""
    return {Path(line).stem for line in path.read_text().splitlines()}


def reviewed(store: Store, red: int, *labels: Label) -> str:
    """An image of the scan that arrived, with decisions of different reviewers; its hash."""
    sha256 = decode.sha256(image_bytes(red, size=(100 + red, 50)))
    identity = FakeClassifier.identity
    arrive(store, red / 255, Admission(None, 0.0), identity=identity, sha256=sha256)
    for number, label in enumerate(labels):
        decide(store, sha256, label, f"reviewer {number}", identity=identity)
    return sha256


def mark(store: Store, sha256: str) -> None:
    """Mark an image as minor present."""
    made = answer("n", Label.NORMAL, image_sha256=sha256, reasons=(Reason.MINOR_PRESENT,))
    model = FakeClassifier.identity
    made = replace(made, model=model.model, revision=model.revision, backend=model.backend)
    store.log.add(made, person("ann", owner="local"))


def test_it_counts_without_an_output(run: Run, scanned: Path) -> None:
    """What is kept, dropped and could not be judged, by reason, on standard error."""
    before = sorted(scanned.rglob("*"))
    ended = run("filter", scanned)
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == (
        "12 images: 4 kept, 7 dropped (7 by action), 1 could not be judged (1 not_an_image). "
        "Threshold 0.5, review band 0.2 to 0.8.\n"
    )
    assert sorted(scanned.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ((), {"000", "copy", "025", "050"}),
        (
            ("--keep", "allow,review", "--max-score", "0.5"),
            {*"000 copy 025 050 075 100 125".split()},
        ),
        (("--keep", "review,block", "--where", "width >= 325"), {"225"}),
        (("--threshold", "0.1"), {"000", "copy", "025"}),
        (("--threshold", "0.9", "--keep", "block"), set()),
        (("--where", "format == 'PNG' and width > 100 and width < 140"), {"025"}),
    ],
)
def test_criteria(
    run: Run, scanned: Path, tmp_path: Path, options: tuple[str, ...], names: set[str]
) -> None:
    """Each option selects what it says."""
    ended = run("filter", scanned, "--output", tmp_path / "kept.txt", *options)
    assert ended.code == 0
    assert kept(tmp_path / "kept.txt") == names


def test_the_policy_is_the_one_in_force(
    run: Run, scanned: Path, store: Store, tmp_path: Path
) -> None:
    """Not the one that the scan was made with, and no image is inferred again."""
    policies = open_policies(settings.load(), store)
    policies.save("fake", Policy(0.05, 0.05, 0.9), author="ann", reason="Strict.")
    run("filter", scanned, "--output", tmp_path / "kept.txt")
    assert kept(tmp_path / "kept.txt") == {"000", "copy"}


@pytest.mark.parametrize("asked_about_all", [False, True])
def test_rules_overrule_the_score_as_in_the_scan(
    run: Run, scanned: Path, store: Store, tmp_path: Path, *, asked_about_all: bool
) -> None:
    """Of an allowed image, where the scan asked the detail model about all of them.

    Also where the shell's settings do not.
    """
    judged = {"000.png": 0.9, "025.png": 0.1, "100.png": 0.9}
    for path in (scanned / "images").iterdir():
        table = pq.read_table(path)
        columns = [
            {category: judged.get(Path(uri).name) for category in Category}
            for uri in table["uri"].to_pylist()
        ]
        number = table.schema.get_field_index("categories")
        values = pa.array(columns, table.schema.field(number).type)
        pq.write_table(table.set_column(number, table.schema.field(number), values), path)
    record = ScanRecord.read(scanned)
    policy = replace(record.policy, overrules_allow=asked_about_all)
    replace(record, policy=policy).write(scanned)
    rules = (CategoryRule(Category.GORE_OR_VIOLENCE, 0.5, Action.BLOCK),)
    policy = Policy(0.5, 0.2, 0.8, category_rules=rules)
    open_policies(settings.load(), store).save("fake", policy, author="ann", reason="Rules.")
    run("filter", scanned, "--output", tmp_path / "kept.txt")
    assert kept(tmp_path / "kept.txt") == {
        "copy",
        "025",
        "050",
        *(() if asked_about_all else ("000",)),
    }
    run("filter", scanned, "--keep", "review", "--output", tmp_path / "review.txt")
    assert "100" not in kept(tmp_path / "review.txt")
    assert "125" in kept(tmp_path / "review.txt")


def test_copies_are_left_out(run: Run, scanned: Path) -> None:
    """`--unique` keeps one image of each hash."""
    assert "3 kept, 8 dropped (7 by action, 1 duplicates)" in run("filter", scanned, "--unique").err


def test_settled_labels_override_the_model(
    run: Run, scanned: Path, store: Store, tmp_path: Path
) -> None:
    """With `--decisions` only."""
    reviewed(store, 225, Label.NORMAL, Label.NORMAL)
    reviewed(store, 25, Label.NSFW, Label.NSFW)
    run("filter", scanned, "--output", tmp_path / "model.txt")
    assert kept(tmp_path / "model.txt") == {"000", "copy", "025", "050"}
    ended = run("filter", scanned, "--output", tmp_path / "people.txt", "--decisions")
    assert kept(tmp_path / "people.txt") == {"000", "copy", "050", "225"}
    assert "1 with a human label that is not kept" in ended.err
    assert "1 are kept by a human label." in ended.err
    assert "2 images have human labels or a requested second opinion in" in ended.err
    assert f"{tmp_path}; 2 images of the scan are among them" in ended.err


def test_no_image_that_people_doubt_is_kept_as_allowed(
    run: Run, scanned: Path, store: Store, tmp_path: Path
) -> None:
    """Waiting or settled as unsure, or with a second opinion requested that is not complete."""
    reviewed(store, 0, Label.NSFW)  # with its copy
    waiting = reviewed(store, 25, Label.NSFW, Label.NORMAL)
    reviewed(store, 50, Label.UNSURE, Label.UNSURE)
    reviewed(store, 75, Label.UNSURE)
    reviewed(store, 100, Label.NORMAL)  # a decision that agrees with the model is no doubt
    asked, agreed = reviewed(store, 125), reviewed(store, 150)
    for sha256, label in ((waiting, None), (asked, None), (agreed, Label.NORMAL)):
        stored = store.catalog.find(sha256, FakeClassifier.identity)
        assert stored is not None
        store.queue.escalate(stored.prediction_id, "ann")
        if label is not None:
            decide(store, sha256, label, "bob", identity=FakeClassifier.identity)
    wide = ("--threshold", "0.6")
    run("filter", scanned, "--output", tmp_path / "model.txt", *wide)
    assert kept(tmp_path / "model.txt") == {"000", "copy", "025", "050", "075", "100", "125", "150"}
    report = tmp_path / "sheet.json"
    ended = run(
        "filter", scanned, "--decisions", "--output", tmp_path / "d.txt", "--report", report, *wide
    )
    assert kept(tmp_path / "d.txt") == {"100"}
    assert "5 allowed by the model, with a label of nsfw or unsure that is not settled" in ended.err
    assert "2 settled as unsure" in ended.err
    counts = json.loads(report.read_text())["counts"]
    assert counts["dropped"] == {"action": 3, "doubted": 5, "unsure": 2}
    assert counts["with_human_label"] == 8
    rows = tmp_path / "r.jsonl"
    run("filter", scanned, "--decisions", "--output", rows, "--keep", "allow,review", *wide)
    found = [json.loads(line) for line in rows.read_text().splitlines()]
    assert {Path(row["uri"]).stem: (row["action"], row["settled_label"]) for row in found} == {
        "000": ("review", None),
        "copy": ("review", None),
        "025": ("review", None),
        "050": ("review", "unsure"),
        "075": ("review", "unsure"),
        "100": ("allow", "normal"),
        "125": ("review", None),
        "150": ("review", None),
    }
    imported = run("import-labels", rows, "--source", "again")
    assert "2 with a label that is neither normal nor nsfw" in imported.err + imported.out


@pytest.mark.parametrize("is_stored", [True, False])
def test_sources_that_differ_leave_no_image_to_the_model(
    run: Run, scanned: Path, store: Store, tmp_path: Path, is_stored: bool
) -> None:
    """One of them says nsfw, also of an image that only the scan has."""
    sha256 = decode.sha256(image_bytes(25, size=(125, 50)))
    if is_stored:
        assert reviewed(store, 25) == sha256
    for source, label in (("lab", "normal"), ("vendor", "nsfw")):
        (tmp_path / "l.csv").write_text(f"sha256,label\n{sha256},{label}\n")
        assert run("import-labels", tmp_path / "l.csv", "--source", source).code == 0
    ended = run("filter", scanned, "--output", tmp_path / "kept.txt", "--decisions")
    assert "025" not in kept(tmp_path / "kept.txt")
    assert "1 allowed by the model, with a label of nsfw or unsure" in ended.err


def test_an_image_about_which_only_a_second_opinion_is_requested(
    run: Run, scanned: Path, store: Store
) -> None:
    """It counts as one about which people said something; withdrawn, it is the model's again."""
    stored = store.catalog.find(reviewed(store, 25), FakeClassifier.identity)
    assert stored is not None
    store.queue.escalate(stored.prediction_id, "ann")
    ended = run("filter", scanned, "--decisions")
    assert "3 kept" in ended.err
    assert "1 images of the scan are among them" in ended.err
    store.queue.withdraw_escalation(stored.prediction_id, "ann")
    ended = run("filter", scanned, "--decisions")
    assert "4 kept" in ended.err
    assert "No image of the scan has a human label" in ended.err


def test_a_data_directory_without_labels_of_the_scan(
    run: Run, scanned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command says where it looked; the filter keeps what the model allows."""
    monkeypatch.setenv("NSFW_DATA_DIR", str(tmp_path / "wrong"))
    ended = run("filter", scanned, "--decisions")
    assert f"No image of the scan has a human label in {tmp_path / 'wrong'}" in ended.err
    assert "check NSFW_DATA_DIR" in ended.err
    assert "NSFW_DATA_DIR" not in run("filter", scanned).err


def test_restricted_images_are_left_out(
    run: Run, scanned: Path, store: Store, tmp_path: Path
) -> None:
    """An image marked minor present is never kept, even where people settled normal."""
    sha256 = reviewed(store, 25)
    mark(store, sha256)
    ended = run("filter", scanned, "--output", tmp_path / "kept.txt", "--decisions")
    assert "025" not in kept(tmp_path / "kept.txt")
    assert "1 restricted" in ended.err


@pytest.mark.parametrize("name", ["kept.txt", "kept.tar"])
def test_an_image_is_restricted_while_the_output_is_written(
    run: Run,
    scanned: Path,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """Nothing is written, and the next run leaves the image out."""
    sha256 = reviewed(store, 25)
    marked = filtering.RowFilter.kept

    def kept_and_marked(rows: filtering.RowFilter, table: pa.Table) -> Any:
        found = marked(rows, table)
        if not store.restrictions.all():
            mark(store, sha256)
        return found

    monkeypatch.setattr(filtering.RowFilter, "kept", kept_and_marked)
    ended = run("filter", scanned, "--output", tmp_path / name)
    assert ended.code == 1
    assert "marked as showing a minor while the output was written" in ended.err
    assert not (tmp_path / name).exists()
    ended = run("filter", scanned, "--output", tmp_path / name)
    assert ended.code == 0
    assert "1 restricted" in ended.err


def test_near_duplicates_of_restricted_images_are_left_out(
    run: Run, scanned: Path, store: Store, tmp_path: Path
) -> None:
    """A marked image is known by its perceptual hash, too."""
    shutil.rmtree(tmp_path / "source")
    (tmp_path / "source").mkdir()
    dark = pattern(3).point(lambda level: level // 10)
    for side in (64, 120):
        dark.resize((side, side)).save(tmp_path / "source" / f"{side}.png")
    scan(tmp_path / "source", tmp_path / "new")
    ended = run("filter", tmp_path / "new", "--review", "1", "--batch", "b")
    assert "1 images are in the review queue" in ended.err
    (waiting,) = store.queue.entered(FakeClassifier.identity)
    mark(store, waiting)
    ended = run("filter", tmp_path / "new", "--output", tmp_path / "kept", "--format", "copy")
    assert "2 restricted, or near duplicates of restricted images" in ended.err
    assert list((tmp_path / "kept").glob("*/*")) == []


def test_confirmed_labels_come_before_settled_ones(
    run: Run, scanned: Path, store: Store, tmp_path: Path
) -> None:
    """As in a training set; an image whose confirmed labels differ between models is left out."""
    store.training._rules = DecisionRules(frozenset())
    other = replace(FakeClassifier.identity, model="other")
    sha256 = reviewed(store, 200, Label.NORMAL, Label.NORMAL)
    differing = reviewed(store, 225, Label.NORMAL, Label.NORMAL)
    arrive(store, 0.9, Admission(None, 0.0), identity=other, sha256=differing)
    for name in ("ann", "bob"):
        decide(store, differing, Label.NORMAL, name, identity=other)
    corrected = {(sha256, "fake"): Label.NSFW, (differing, "fake"): Label.NSFW}
    for found in store.training.misclassifications(limit=9):
        label = corrected.get((found.image_sha256, found.model), Label.NORMAL)
        store.training.decide(found.prediction_id, label, reviewer="ann", seen=True)
    ended = run("filter", scanned, "--output", tmp_path / "kept.txt", "--decisions")
    assert kept(tmp_path / "kept.txt") == {"000", "copy", "025", "050"}
    assert "1 with a human label that is not kept" in ended.err
    assert "1 with human labels that differ" in ended.err


def test_images_that_cannot_be_read_any_more(run: Run, scanned: Path, tmp_path: Path) -> None:
    """All others are copied, and the command exits with 3."""
    (tmp_path / "source" / "025.png").unlink()
    ended = run("filter", scanned, "--output", tmp_path / "kept", "--format", "copy")
    assert ended.code == 3
    assert "3 kept, 8 dropped (7 by action, 1 cannot be read any more)" in ended.err
    assert len(list((tmp_path / "kept").glob("*/*.png"))) == 3


def test_images_that_a_list_cannot_name(run: Run, tmp_path: Path) -> None:
    """They are counted with the reason, and the command says by its exit code that some lack."""
    with zipfile.ZipFile(tmp_path / "a::b.zip", "w") as archive:
        archive.writestr("x.png", image_bytes(0))
    scan(tmp_path / "a::b.zip", tmp_path / "scanned")
    ended = run("filter", tmp_path / "scanned", "--output", tmp_path / "kept.txt")
    assert ended.code == 3
    assert "1 in archives with :: in their path, or shown by the name of another" in ended.err
    assert (tmp_path / "kept.txt").read_text() == ""


def test_a_source_that_does_not_exist_any_more(run: Run, scanned: Path, tmp_path: Path) -> None:
    """Images of the others are copied; without any source it is an error that says what to do."""
    second = tmp_path / "second"
    second.mkdir()
    (second / "010.png").write_bytes(image_bytes(10))
    scan_all([tmp_path / "source", second], tmp_path / "both")
    shutil.rmtree(second)
    ended = run("filter", tmp_path / "both", "--output", tmp_path / "kept", "--format", "copy")
    assert ended.code == 3
    assert f"{second} does not exist. Its images cannot be read." in ended.err
    assert "4 kept, 8 dropped (7 by action, 1 cannot be read any more)" in ended.err
    shutil.rmtree(tmp_path / "source")
    ended = run("filter", tmp_path / "both", "--output", tmp_path / "kept.tar")
    assert ended.code == 1
    assert "Make the sources of the scan available." in ended.err


@pytest.mark.parametrize("damage", ["one", "all", "directory", "rows", "more", "unreadable"])
def test_a_finished_scan_without_some_part_files(
    run: Run, scanned: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an error, before anything is written."""
    monkeypatch.chdir(scanned.parent)
    archive = scanned.parent / "archive.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.png", image_bytes(1))
    scan_all([scanned.parent / "source", archive], scanned)
    images = scanned / "images"
    parts = sorted(images.iterdir(), key=lambda path: pq.read_metadata(path).num_rows)
    assert [pq.read_metadata(path).num_rows for path in parts] == [1, 12]
    if damage in {"one", "all"}:
        for path in parts[: 1 if damage == "one" else 2]:
            path.unlink()
    elif damage == "directory":
        shutil.rmtree(images)
    elif damage == "rows":
        pq.write_table(pq.read_table(parts[1])[:5], parts[1])
    elif damage == "more":
        shutil.copy(parts[0], images / f"part-{24 * '0'}.parquet")
    else:
        scandir = os.scandir

        def refuse(path: Path) -> object:
            if Path(path) == images:
                raise PermissionError(13, "Permission denied")
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refuse)
    ended = run("filter", scanned, "--output", "kept.txt", "--report", "sheet.json")
    words = {
        "one": "12 images (part files: 1), and the scan was finished with 13 (part files: 2)",
        "all": "0 images (part files: 0)",
        "directory": "images cannot be read: No such file or directory",
        "rows": "6 images (part files: 2)",
        "more": "14 images (part files: 3)",
        "unreadable": "images cannot be read: Permission denied",
    }
    assert ended.code == 1
    assert words[damage] in ended.err
    assert not {"kept.txt", "sheet.json"} & {path.name for path in scanned.parent.iterdir()}


def test_missing_part_files_are_scanned_again(run: Run, scanned: Path) -> None:
    """As the error says."""
    next((scanned / "images").iterdir()).unlink()
    assert "Run the same scan again: it scans what is missing." in run("filter", scanned).err
    scan(scanned.parent / "source", scanned)
    assert "12 images" in run("filter", scanned).err


def test_a_scan_that_is_not_finished(run: Run, scanned: Path) -> None:
    """The command says that rows are missing."""
    replace(ScanRecord.read(scanned), finished_at=None).write(scanned)
    assert "The scan is not finished" in run("filter", scanned).err


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--keep", "allow,unavailable"), 2, "choose from allow, review, block"),
        (("--keep", ""), 2, "choose from allow, review, block"),
        (("--format", "zip"), 2, "--format is one of"),
        (("--threshold", "1.5"), 2, "less than or equal to 1"),
        (("--where", "wide > 5"), 1, "there is no column 'wide'"),
        (("--output", "kept"), 1, "does not say a format"),
        (("--format", "copy"), 2, "--format belongs to --output"),
        (("--seed", "5"), 2, "--seed belongs to --sample"),
        (("--shard-images", "2"), 2, "--shard-images belongs to"),
        (("--output", "one.tar", "--shard-images", "2"), 2, "--shard-images belongs to"),
        (("--output", "a-%d.txt", "--shard-images", "2"), 2, "--shard-images belongs to"),
        (("--output", "missing/kept.txt"), 2, "missing is not a directory"),
    ],
)
def test_wrong_usage(
    run: Run, scanned: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    """A sentence that says what is wrong."""
    ended = run("filter", scanned, *options)
    assert ended.code == code
    assert words in " ".join(ended.err.replace("│", " ").split())


def test_a_directory_without_a_scan(run: Run, tmp_path: Path) -> None:
    """It is an error, and no database is made."""
    ended = run("filter", tmp_path)
    assert ended.code == 1
    assert "it is not the output of a scan" in ended.err
    assert not settings.load().database.exists()


@pytest.mark.parametrize("is_stored", [True, False])
def test_imported_labels_override_the_model(
    run: Run, scanned: Path, store: Store, tmp_path: Path, is_stored: bool
) -> None:
    """Where no reviewer decided, also of images that only the scan has."""
    sha256 = decode.sha256(image_bytes(225, size=(325, 50)))
    if is_stored:
        assert reviewed(store, 225) == sha256
    (tmp_path / "labels.csv").write_text(f"sha256,label\n{sha256},normal\n")
    imported = run("import-labels", tmp_path / "labels.csv", "--source", "vendor")
    assert imported.code == 0, imported.err
    run("filter", scanned, "--output", tmp_path / "kept.txt", "--decisions")
    assert "225" in kept(tmp_path / "kept.txt")
