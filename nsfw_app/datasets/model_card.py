"""The card of a trained model, and the same result as text for a terminal."""

from collections.abc import Iterator, Mapping

from nsfw_app.datasets.card_text import markdown_text, yaml_text
from nsfw_app.datasets.training_report import TrainingReport
from nsfw_app.datasets.training_set import Split
from nsfw_app.evidence.evaluation import Measured
from nsfw_app.evidence.paired_comparison import Comparison, PairedMeasure
from nsfw_app.evidence.replacement import CONDITIONS, Outcome, Part
from nsfw_app.models.cards import card
from nsfw_app.models.training.fine_tuning import FineTuning, blocks_text

MEASURES: Mapping[str, str] = {
    "auroc": "AUROC",
    "log_loss": "log loss",
    "accuracy": "accuracy",
    "recall": "recall",
    "false_positive_rate": "false positive rate",
}
LICENSES = ("Apache-2.0", "MIT", "CC-BY-NC-ND-4.0")  # of cards, which the hub has in lower case
PARTS: Mapping[Part, str] = {
    Part.ALL: "All test images",
    Part.CORRECTIONS: "Corrections",
}


def model_card(report: TrainingReport) -> str:
    """README.md of a trained model: result, data, training, measures, limits."""
    model, name = report.model, markdown_text(report.model.model)
    license_text = card(model.model).license
    license_id = license_text.partition(":")[0]
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: image-classification",
        *([f"base_model: {yaml_text(model.model)}"] if "/" in model.model else []),
        *([f"license: {license_id.lower()}"] if license_id in LICENSES else []),
        "tags:",
        "  - image-classification",
        "  - content-moderation",
        "---",
        "",
        f"# {markdown_text(report.name)}",
        "",
        f"{name} with {_new_parts(report)}, trained by NSFW Review from labels of reviewers. It "
        "takes the same images and has the same labels.",
        "",
        "## Result",
        "",
        *_result(report),
        "",
        "Better is said if all of this is shown on the test split:",
        "",
        *(f"- {condition}" for condition in CONDITIONS),
        "",
        "## Data",
        "",
        f"Training set {markdown_text(report.training_set)}, SHA-256 of its labels "
        f"{report.training_set_sha256}.",
        "",
        "| split | label source | normal | nsfw |",
        "|---|---|---|---|",
        *_counts(report),
        "",
        f"Groups of near duplicates: {report.groups[Split.TRAIN]:,} in train, "
        f"{report.groups[Split.TEST]:,} in test; none is in both.",
        "",
        *_left_out(report),
        "## Training",
        "",
        *_training(report),
        "",
        "## Evaluation",
        "",
        "Both models on the same images of the test split, weighted, with 95 % intervals that "
        "count groups of near duplicates. Accuracy, recall and false positive rate: at threshold "
        f"{report.replacement.threshold:g}.",
        *_tables(report),
        "",
        "## Use",
        "",
        "Set `NSFW_MODEL` to this directory, or pass it to `nsfw-review optimize --model`. A "
        "policy belongs to the name of the directory: one that is saved for that name applies, and "
        "where none is, the policy starts from the settings. Save the threshold above for it in "
        "the Model tab.",
        "",
        "## Limits",
        "",
        "- Measured on images that reviewers of one installation labeled. With weights, they "
        "represent all labeled images of its store, which are those that arrive only if reviewers "
        "do not choose images by whether the model is right.",
        "- Scores are not calibrated.",
        "- A test split that is used to choose among several trained models favors the chosen one.",
        f"- Limits of {name}: {card(model.model).limits}",
        f"- License of {name}, which applies to this model, too: {license_text}",
    ]
    return "\n".join(lines) + "\n"


def summary(report: TrainingReport) -> str:
    """The result with every measure, for a terminal."""
    lines = [f"{report.name}: {report.replacement.outcome}.", *_result(report)[1:]]
    for part, found in report.replacement.parts.items():
        lines += [f"{PARTS[part]}: {_images(found)}"]
        lines += [f"  {MEASURES[name]:<20}{_change(each)}" for name, each in found.measures.items()]
        lines.append(f"  {_mcnemar(found)}")
    return "\n".join(lines)


def _result(report: TrainingReport) -> list[str]:
    found = report.replacement
    forced = found.outcome is not Outcome.BETTER and report.written
    return [
        f"Compared with {report.model.model} on held-out images, it is **{found.outcome}**."
        + (" It was written because that was forced." if forced else ""),
        "",
        *(f"- {reason}" for reason in found.reasons),
    ]


def _counts(report: TrainingReport) -> Iterator[str]:
    for split, sources in report.counts.items():
        for source, labels in sources.items():
            cells = (split, markdown_text(source), f"{labels['normal']:,}", f"{labels['nsfw']:,}")
            yield f"| {' | '.join(cells)} |"


def _left_out(report: TrainingReport) -> list[str]:
    if not report.left_out:
        return []
    return [
        f"{report.left_out:,} further images of the test split were left out, because "
        f"{markdown_text(report.model.model)} was fitted to them or to near duplicates of them.",
        "",
    ]


def _new_parts(report: TrainingReport) -> str:
    tuning = report.fine_tuning
    if tuning is None or not tuning.best_epoch:
        return "a new head"
    return f"a new head and its last {blocks_text(tuning.blocks)} fine-tuned"


def _training(report: TrainingReport) -> list[str]:
    head, model, tuning = report.head, report.model, report.fine_tuning
    fitted = "the train split"
    if tuning is not None and tuning.best_epoch:
        fitted += f" without {tuning.validation_images:,} validation images, then fine-tuned"
    versions = ", ".join(f"{name} {number}" for name, number in report.versions.items())
    return [
        f"- Trained on: {markdown_text(model.model)}, revision {model.revision}, SHA-256 of its "
        f"weights {model.weights_sha256}.",
        "- Head: logistic regression over the features, regularized toward the current head, "
        f"fitted to {fitted}.",
        f"- Penalty of the head: {head.penalty:g}, chosen by cross-validation within the train "
        "split, with near duplicates in one fold. Mean log loss of the heads that were fitted for "
        f"it {head.losses[head.penalty]:.4f}, of the current model {head.current_loss:.4f}.",
        *([] if tuning is None else [_fine_tuning(tuning)]),
        f"- Features and scores were computed by {report.backend}.",
        f"- Seed {report.seed}; {versions}.",
    ]


def _fine_tuning(tuning: FineTuning) -> str:
    epochs = len(tuning.losses) - 1
    result = (
        f"{tuning.losses[tuning.best_epoch]:.4f} after epoch {tuning.best_epoch} of {epochs}."
        if tuning.best_epoch
        else f"not lower after any of {epochs} epochs, so only the head is new."
    )
    return (
        f"- Fine-tuning of the last {blocks_text(tuning.blocks)} together with a head that was "
        f"fitted without {tuning.validation_images:,} validation images: their log loss is "
        f"{tuning.losses[0]:.4f} before, {result}"
    )


def _tables(report: TrainingReport) -> Iterator[str]:
    for part, found in report.replacement.parts.items():
        yield from ("", f"### {PARTS[part]}", "", _images(found), "")
        yield from ("| measure | current | new | difference |", "|---|---|---|---|")
        for name, paired in found.measures.items():
            cells = map(_with_interval, (paired.current, paired.candidate, paired.difference))
            yield f"| {MEASURES[name]} | {' | '.join(cells)} |"
        yield from ("", _mcnemar(found))


def _images(found: Comparison) -> str:
    return (
        f"{found.images:,} images, {found.unsafe:,} of them nsfw, in {found.groups:,} groups of "
        "near duplicates."
    )


def _mcnemar(found: Comparison) -> str:
    return (
        f"Groups in which the current model has more images right: {found.only_current:,}; the new "
        f"one: {found.only_candidate:,} (McNemar's exact p = {found.p_value:.3g})."
    )


def _change(paired: PairedMeasure) -> str:
    """A measure of both models in one line; undefined as recall is without unsafe images."""
    if paired.difference.value is None:
        return "not defined"
    return (
        f"{_value(paired.current)} -> {_value(paired.candidate)}, "
        f"difference {_with_interval(paired.difference)}"
    )


def _value(measure: Measured) -> str:
    return "not defined" if measure.value is None else f"{measure.value:.3f}"


def _with_interval(measure: Measured) -> str:
    if measure.lower is None or measure.upper is None:
        return _value(measure)
    return f"{_value(measure)} ({measure.lower:.3f} to {measure.upper:.3f})"
