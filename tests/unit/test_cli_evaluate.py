"""`evaluate`: labeled sets, settled decisions, several models, claims, and what is missing."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from nsfw_app.evidence import evaluation
from nsfw_app.evidence.evaluation import Measured
from nsfw_app.evidence.evaluation_report import claim_sentence
from nsfw_app.models import cards
from nsfw_app.records import Label
from nsfw_app.rules.audit_plan import AuditPlan
from nsfw_app.rules.queue import QueueReason, QueueRules
from nsfw_app.store import Store
from tests.support.arrivals import REVIEW, add_reviewed, arrive, decide
from tests.support.commands import Run, run
from tests.support.sample_records import FAKE, OTHER
from tests.support.tiny_vit import tinted_image, trained

__all__ = ["run"]  # a fixture
IMAGES = 12


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Intervals are tested elsewhere."""
    monkeypatch.setattr(evaluation, "RESAMPLES", 20)
    return


@pytest.fixture
def labeled(tmp_path: Path) -> Path:
    """A directory with blue images in `normal` and orange ones in `nsfw`."""
    folder = tmp_path / "set"
    for label, start in (("normal", 0.0), ("nsfw", 0.6)):
        (folder / label).mkdir(parents=True)
        for number in range(IMAGES // 2):
            image = tinted_image(start + number * 0.06, seed=number)
            image.save(folder / label / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model whose score rises from blue to orange."""
    return trained(tmp_path_factory)


def test_class_folders_are_evaluated(run: Run, labeled: Path, tiny: Path) -> None:
    """Measures have values and intervals, at the policy and at other thresholds, and by group."""
    ended = run("evaluate", labeled, "--model", tiny, "--at", "0.9", "--group", "label", "--json")
    found = json.loads(ended.out)
    (model,) = found["models"]
    assert (ended.code, found["images"], found["unsafe"]) == (0, IMAGES, IMAGES // 2)
    assert (model["model"], model["claim"]) == ("tiny-vit", None)
    assert model["measures"]["auroc"]["value"] == 1
    assert model["measures"]["accuracy"]["lower"] <= model["measures"]["accuracy"]["value"]
    names = "recall@0.5 false_positive_rate@0.5 recall@0.9 false_positive_rate@0.9".split()
    assert set(names) <= set(model["measures"])
    groups = {group["group"]: group for group in model["groups"]}
    assert {name: group["unsafe"] for name, group in groups.items()} == {"normal": 0, "nsfw": 6}
    assert groups["nsfw"]["measures"]["auroc"]["value"] is None
    text = run("evaluate", labeled, "--model", tiny).out
    assert re.search(r"auroc +1\.000  0\.\d{3} to 1\.000\n", text)
    assert re.search(r"brier +0\.\d{3}  too few images for an interval\n", text)


def test_models_are_compared_on_the_same_images(
    run: Run, labeled: Path, tiny: Path, tmp_path: Path
) -> None:
    """Files that cannot be classified are counted by kind and named, and exit 3 follows."""
    (labeled / "nsfw" / "bad.png").write_bytes(b"no image")
    (labeled / "notes.png").write_bytes(b"without label")
    page = tmp_path / "page.html"
    arguments = ("evaluate", labeled, "--model", "open-nsfw", "--model", tiny)
    ended = run(*arguments, "--json", "--html", page)
    found = json.loads(ended.out)
    assert (ended.code, found["images"]) == (3, IMAGES)
    assert [model["model"] for model in found["models"]] == ["open-nsfw", "tiny-vit"]
    (pair,) = found["comparisons"]
    assert (pair["first"], pair["second"]) == ("open-nsfw", "tiny-vit")
    assert pair["only_second"] - pair["only_first"] == pytest.approx(
        IMAGES * pair["measures"]["accuracy"]["value"]
    )
    assert [each["kind"] for each in found["unavailable"]] == ["not_an_image"] * 2
    assert f"Not classified: not_an_image: 1 ({labeled}/nsfw/bad.png).\n" in ended.err
    assert f"named by a label: 1 ({labeled}/notes.png).\n" in ended.err
    check_page(page.read_text())


def check_page(text: str) -> None:
    """It stands alone, has plots with names and tables with captions, and is well-formed."""
    assert "<script" not in text
    assert "<img" not in text
    assert not re.search(r"(src|href)=|url\(", text)
    assert "prefers-color-scheme: dark" in text
    assert text.count('role="img"') == 8
    assert text.count("<table>") == text.count("<caption>") > 0
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        assert ET.fromstring(svg).find("polyline") is not None


def test_an_image_counts_once(run: Run, labeled: Path, tiny: Path, tmp_path: Path) -> None:
    """Copies of a file are counted and left out; with both labels, all of them are, and named."""
    one, both = labeled / "nsfw" / "0.png", labeled / "normal" / "0.png"
    shutil.copy(one, labeled / "nsfw" / "again.png")
    shutil.copy(one, labeled / "nsfw" / "and again.png")
    shutil.copy(both, labeled / "nsfw" / "other.png")
    page = tmp_path / "page.html"
    ended = run("evaluate", labeled, "--model", tiny, "--json", "--html", page)
    found = json.loads(ended.out)
    assert (ended.code, found["images"], found["unsafe"]) == (0, IMAGES - 1, IMAGES // 2)
    assert found["left_out"] == {
        "same bytes as an image that is counted": 2,
        "same bytes with different labels": 2,
    }
    assert found["conflicting"] == [[str(both), f"{labeled}/nsfw/other.png"]]
    assert "Left out: same bytes as an image that is counted: 2.\n" in ended.err
    assert (
        f"Left out: same bytes with different labels: 1 ({both} = {labeled}/nsfw/other.png).\n"
    ) in ended.err
    assert "same bytes with different labels" in page.read_text()


def test_one_label_defines_few_measures(
    run: Run, labeled: Path, tiny: Path, tmp_path: Path
) -> None:
    """The table says which label is missing, in the place of a number."""
    page = tmp_path / "page.html"
    text = run("evaluate", labeled / "normal", "--model", tiny, "--html", page).out
    reason = "not defined: no nsfw image among the labels"
    assert re.search(rf"auroc +{reason}\n", text)
    assert re.search(rf"recall@0\.5 +{reason}\n", text)
    assert re.search(r"false_positive_rate@0\.5 +0\.\d{3}  0\.\d{3} to 0\.\d{3}\n", text)
    assert page.read_text().count(reason) == 4
    text = run("evaluate", labeled / "nsfw", "--model", tiny).out
    assert re.search(r"auroc +not defined: no normal image among the labels\n", text)


@pytest.mark.parametrize("name", ["set.csv", "set.parquet"])
def test_tables_have_columns_to_group_by(run: Run, labeled: Path, name: str) -> None:
    """A missing file is unavailable; an unknown column is wrong usage before anything runs."""
    table = labeled / name
    rows = ["normal/0.png,normal,a", "nsfw/5.png,nsfw,b", "no.png,nsfw,b"]
    if table.suffix == ".csv":
        table.write_text("\n".join(["path,label,kind", *rows]))
    else:
        paths, words, kinds = zip(*(row.split(",") for row in rows), strict=True)
        parquet.write_table(pa.table({"path": paths, "label": words, "kind": kinds}), table)
    ended = run("evaluate", table, "--group", "kind", "--json")
    found = json.loads(ended.out)
    assert (ended.code, found["images"]) == (3, 2)
    assert [each["kind"] for each in found["unavailable"]] == ["missing"]
    assert [group["group"] for group in found["models"][0]["groups"]] == ["a", "b"]
    wrong = run("evaluate", table, "--group", "size")
    assert wrong.code == 2
    assert "kind, label, path" in wrong.err


def test_settled_decisions_are_evaluated_with_stored_scores(run: Run, store: Store) -> None:
    """No image is needed, nor a model; the text says that it is no random sample."""
    add_reviewed(store, 60)
    add_reviewed(store, 10, identity=OTHER)
    ended = run("evaluate", "--decisions", "--group", "queue_reason", "--json")
    found = json.loads(ended.out)
    scores = store.settled_labels.scores(FAKE)
    labels = {image.image_sha256: image.label for image in store.settled_labels.all()}
    right = [(scores[image] >= 0.5) == (labels[image] == "nsfw") for image in scores]
    accuracy = found["models"][0]["measures"]["accuracy"]["value"]
    assert (ended.code, found["models"][0]["model"]) == (0, FAKE.model)
    assert accuracy == pytest.approx(np.mean(right))
    assert {group["group"] for group in found["models"][0]["groups"]} == {"audit", "review"}
    assert "not a random sample" in ended.err
    assert f"Left out: without a stored score of every model: {len(labels) - len(scores)}." in (
        ended.err
    )
    missing = run("evaluate", "--decisions", "--model", "none")
    assert (missing.code, missing.err) == (
        1,
        "Error: No labeled image has a score of none, only of fake, other.\n",
    )


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        (
            Measured(0.941, 0.931, 0.950),
            "The card claims 0.9804 accuracy: on your 2,310 images it is 0.941 (0.931 to 0.950); "
            "the claim does not hold here.",
        ),
        (Measured(0.975, 0.96, 0.99), "(0.960 to 0.990); the claim is within that interval."),
        (Measured(0.99, 0.985, 0.995), "it is exceeded here."),
    ],
)
def test_a_claim_is_checked_in_a_sentence(measured: Measured, words: str) -> None:
    """It fails only where the whole interval is below it."""
    assert claim_sentence(0.9804, measured, 2310).endswith(words)


def test_the_claim_of_a_model_card_is_checked(
    run: Run, labeled: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not hold where the labels are others, and is not excluded by 12 right ones."""
    monkeypatch.setattr(cards, "CARDS", {"tiny-vit": cards.CARDS[cards.FALCONSAI]})
    sentence = "The card claims 0.9804 accuracy: on your 12 images it is "

    def evaluated(*, swapped: bool) -> str:
        rows = ["path,label"]
        for file in labeled.glob("*/*.png"):
            is_nsfw = (file.parent.name == "nsfw") != swapped
            rows.append(f"{file},{'nsfw' if is_nsfw else 'normal'}")
        table = tmp_path / "labels.csv"
        table.write_text("\n".join(rows))
        return run("evaluate", table, "--model", tiny).out

    right = re.escape(f"{sentence}1.000 (") + r"0\.\d{3} to 1\.000\); "
    assert re.search(f"{right}the claim is within that interval\\.\n", evaluated(swapped=False))
    wrong = re.escape(f"{sentence}0.000 (0.000 to ") + r"0\.\d{3}\); "
    assert re.search(f"{wrong}the claim does not hold here\\.\n", evaluated(swapped=True))


def test_verified_backends_of_the_same_weights_are_one_model(run: Run, store: Store) -> None:
    """In evaluations, reports and audit plans; a backend without a verified parity is another."""
    torch, runtime, forced = (
        replace(OTHER, backend=name) for name in ("torch", "onnxruntime", "openvino-int8-forced")
    )
    for identity, images in ((torch, 40), (runtime, 30), (forced, 20)):
        add_reviewed(store, images, identity=identity)
    scores = [len(store.settled_labels.scores(each)) for each in (torch, runtime, forced)]
    assert min(scores) > 5
    evaluated = json.loads(run("evaluate", "--decisions", "--model", OTHER.model, "--json").out)
    assert evaluated["images"] == scores[0] + scores[1]
    assert evaluated["left_out"] == {"without a stored score of every model": scores[2]}
    reported = json.loads(
        run("report", "--since", "2020-01-01", "--until", "2100-01-01", "--json").out
    )
    groups = {tuple(sorted(each["backends"])): each["evidence"] for each in reported["models"]}
    assert {name: each["images"] for name, each in groups.items()} == {
        ("onnxruntime", "torch"): 70,
        ("openvino-int8-forced",): 20,
    }
    assert groups["onnxruntime", "torch"]["certificate"]["reviews"] == scores[0] + scores[1]
    planned = json.loads(run("audit-plan", "--model", OTHER.model, "--json").out)
    assert planned["images"] == 70


def test_wrong_usage(run: Run, labeled: Path, tmp_path: Path) -> None:
    """What cannot be evaluated is said in a sentence."""
    assert run("evaluate").code == 2
    assert run("evaluate", labeled, "--decisions").code == 2
    assert run("evaluate", labeled, "--at", "1.5").code == 2
    assert run("evaluate", labeled / "normal" / "0.png").code == 2
    assert run("evaluate", labeled, "--html", tmp_path / "none" / "page.html").code == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run("evaluate", empty).err.endswith("no labeled image in what was named.\n")
    assert run("evaluate", "--decisions").err == "Error: No image has a label by decisions yet.\n"
    Image.new("RGB", (4, 4)).save(empty / "a.png")
    (labeled / "bad.csv").write_text("path,label\nnone.png,nsfw\n")
    failed = run("evaluate", labeled / "bad.csv")
    assert failed.code == 1
    assert failed.err.endswith("Error: None of 1 images could be classified.\n")
    assert "Not classified: missing: 1" in failed.err


def test_decisions_that_wait_are_evaluated(run: Run, store: Store) -> None:
    """A first decision against the model counts, and how many do is said."""
    store.queue.rules = QueueRules(frozenset(QueueReason), AuditPlan(0.1))
    for score, label in ((0.3, "normal"), (0.4, "nsfw"), (0.7, "nsfw"), (0.6, "normal")):
        decide(store, arrive(store, score, REVIEW), Label(label))
    tied = arrive(store, 0.75, REVIEW)
    decide(store, tied, Label.NSFW)
    decide(store, tied, Label.NORMAL, "bob")
    decide(store, arrive(store, 0.5, REVIEW), Label.UNSURE)
    ended = run("evaluate", "--decisions", "--json")
    found = json.loads(ended.out)
    assert (found["images"], found["provisional"]) == (5, 3)
    assert found["models"][0]["measures"]["accuracy"]["value"] == pytest.approx(2 / 5)
    assert ended.err.startswith("3 of 5 images are not settled yet: they count with the label of")
    assert [image.provisional for image in store.settled_labels.reviewed()].count(True) == 3
    assert len(store.settled_labels.all()) == 2
