"""`evaluate`: measure models on a labeled set, with intervals, and compare them."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from nsfw_app import settings
from nsfw_app.bootstrap import open_engine, open_policies, open_store
from nsfw_app.cli.output_file import check_directory, write_file
from nsfw_app.cli.progress import printable, progress_output
from nsfw_app.dataset_errors import LabelSetError
from nsfw_app.datasets.file_search import FileSearch, leads_to_directory
from nsfw_app.datasets.labels import LabeledImage, is_table, labeled_by_folder, read_table
from nsfw_app.datasets.left_out import MAX_NAMED, LeftOut
from nsfw_app.models.cards import display_name
from nsfw_app.models.equivalence import EquivalentBackends
from nsfw_app.records import Label, ModelIdentity, Policy
from nsfw_app.settings import Settings
from nsfw_app.store import Store

EXIT_UNAVAILABLE = 3
WITHOUT_LABEL = "in no directory that is named by a label"
WITHOUT_SCORE = "without a stored score of every model"
REPEATED = "same bytes as an image that is counted"
CONFLICTING = "same bytes with different labels"
CHOSEN_NOTE = (
    "Decisions are not a random sample of the images that arrive. For rates of all "
    "images, see Insights or the report."
)


@dataclass(slots=True)
class _Set:
    """What is evaluated: labels, columns to group by, scores by model, and what is missing."""

    unsafe: NDArray[np.bool_]
    columns: list[Mapping[str, str]]
    scores: list[tuple[ModelIdentity, Policy, NDArray[np.float64]]]
    unavailable: list[dict[str, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    conflicting: list[list[str]] = field(default_factory=list)
    note: str = ""
    provisional: int = 0


def evaluate(
    labels: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Directories with a directory for each label (normal, nsfw, ...), or CSV, "
            "JSONL or Parquet files with the columns path and label."
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Model, repeatable; several are compared. NSFW_MODEL by default."),
    ] = None,
    decisions: Annotated[
        bool,
        typer.Option("--decisions", help="Use this installation's decisions and scores."),
    ] = False,
    at: Annotated[
        list[float] | None,
        typer.Option(min=0, max=1, help="Further threshold to measure at, repeatable."),
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Column by whose values measures are taken, too.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    html: Annotated[
        Path | None, typer.Option(help="File to write with tables and plots, as HTML.")
    ] = None,
) -> None:
    """Evaluate models on labeled images. Exits 3 if some could not be classified.

    Each model is measured at the threshold of its policy, and at those of --at.
    """
    if bool(labels) is decisions:
        raise typer.BadParameter("Name labeled sets, or use --decisions: one of the two.")
    if html is not None:
        check_directory(html)
    chosen = settings.load()
    store = open_store(chosen)
    names = list(dict.fromkeys(model or ()))
    if decisions:
        found = _decided(chosen, store, names)
        _check_group(found.columns, group)
    else:
        images, left_out = _labeled_files(labels or [])
        _check_group([image.columns for image in images], group)
        found = _classified(images, chosen, store, names or [chosen.model])
        found.left_out += left_out
    _print_missing(found)
    report = _report(found, at or (), group)
    if html is not None:
        from nsfw_app.evidence.evaluation_page import evaluation_page

        write_file(html, evaluation_page(report))
    typer.echo(json.dumps(report) if as_json else _text(report).rstrip())
    if found.unavailable:
        raise typer.Exit(EXIT_UNAVAILABLE)


def _report(found: _Set, at: Sequence[float], group: str | None) -> dict[str, Any]:
    from nsfw_app.evidence.evaluation_report import (  # with scikit-learn; slow to import
        ScoredModel,
        evaluation_report,
    )

    usable = np.logical_and.reduce([~np.isnan(scores) for _, _, scores in found.scores])
    if not usable.any():
        raise LabelSetError(f"None of {len(usable):,} images could be classified.")
    groups: dict[str, list[int]] = defaultdict(list)
    if group is not None:
        for number, at_image in enumerate(np.flatnonzero(usable)):
            groups[found.columns[at_image].get(group, "")].append(number)
    report = evaluation_report(
        found.unsafe[usable],
        [
            ScoredModel(identity, policy, scores[usable])
            for identity, policy, scores in found.scores
        ],
        at=at,
        groups={name: np.array(groups[name]) for name in sorted(groups)},
    )
    return report | {
        "group": group,
        "note": found.note,
        "unavailable": found.unavailable,
        "left_out": dict(found.left_out),
        "conflicting": found.conflicting,
        "provisional": found.provisional,
    }


def _check_group(columns: Sequence[Mapping[str, str]], group: str | None) -> None:
    """Check that there is such a column, before models run for hours."""
    known = sorted({name for each in columns for name in each})
    if group is not None and group not in known:
        raise typer.BadParameter(f"There is no column '{group}', only {', '.join(known)}.")


def _classified(
    images: Sequence[LabeledImage], chosen: Settings, store: Store, models: Sequence[str]
) -> _Set:
    """Labeled files, classified by each model; files with the same bytes are one image."""
    found = _Set(
        np.array([image.unsafe for image in images]), [image.columns for image in images], []
    )
    hashes: list[str | None] = [None] * len(images)
    for name in models:
        engine = open_engine(chosen.model_copy(update={"model": name, "detail_model": ""}), store)
        scores = np.full(len(images), np.nan)
        with progress_output(len(images)) as (_, advance):
            reviews = engine.review_files((image.path for image in images), source="command")
            for number, review in enumerate(reviews):
                if review.prediction is not None:
                    scores[number] = review.prediction.nsfw_score
                    hashes[number] = review.prediction.image_sha256
                elif review.problem is not None:
                    found.unavailable.append(
                        {
                            "path": review.name,
                            "model": display_name(name),
                            **asdict(review.problem),
                        }
                    )
                advance()
        status = engine.status
        if status.message:
            typer.echo(status.message, err=True)
        if status.classifier is not None:
            found.scores.append((status.classifier.identity, engine.policy, scores))
    return _counted_once(found, hashes, [printable(str(image.path)) for image in images])


def _counted_once(found: _Set, hashes: Sequence[str | None], names: Sequence[str]) -> _Set:
    """The set with each image once; an image with both labels has none, and is left out."""
    copies: dict[str, list[int]] = defaultdict(list)
    for number, sha256 in enumerate(hashes):
        if sha256 is not None:
            copies[sha256].append(number)
    repeated: list[int] = []
    for numbers in copies.values():
        if len(set(found.unsafe[numbers])) > 1:
            found.conflicting.append([names[number] for number in numbers])
            found.left_out[CONFLICTING] += len(numbers)
            repeated += numbers
        else:
            found.left_out[REPEATED] += len(numbers) - 1
            repeated += numbers[1:]
    found.left_out = +found.left_out
    kept = np.delete(np.arange(len(hashes)), repeated)
    found.unsafe = found.unsafe[kept]
    found.columns = [found.columns[number] for number in kept]
    found.scores = [(identity, policy, scores[kept]) for identity, policy, scores in found.scores]
    return found


def _labeled_files(paths: Sequence[Path]) -> tuple[list[LabeledImage], Counter[str]]:
    images: list[LabeledImage] = []
    unlabeled: list[str] = []
    search = FileSearch()
    for path in paths:
        if is_table(path):
            images += read_table(path)
        elif leads_to_directory(path):
            for file in search.files([path]):
                image = labeled_by_folder(file.path, file.relative, path)
                if image is None:
                    unlabeled.append(str(file.path))
                else:
                    images.append(image)
        else:
            raise typer.BadParameter(
                f"{printable(str(path))} is neither a directory nor a CSV, JSONL or Parquet file."
            )
    if summary := search.left_out.summary():
        typer.echo(printable(summary), err=True)
    if unlabeled:
        typer.echo(f"Left out: {_named(WITHOUT_LABEL, unlabeled)}.", err=True)
    if not images:
        raise LabelSetError("There is no labeled image in what was named.")
    left_out = Counter({str(reason): count for reason, count in search.left_out.counts.items()})
    left_out[WITHOUT_LABEL] += len(unlabeled)
    return images, +left_out


def _decided(chosen: Settings, store: Store, models: Sequence[str]) -> _Set:
    """Images of this installation with a label by reviewers, and the scores that are stored."""
    known = [identity for identity, _ in store.settled_labels.models()]
    if not known:
        raise LabelSetError("No image has a label by decisions yet.")
    policies, equivalents = open_policies(chosen, store), EquivalentBackends(chosen.artifacts_dir)
    scored: list[tuple[ModelIdentity, Policy, dict[str, float]]] = []
    for name in models or [known[0].model]:
        identity = next((each for each in known if each.model == display_name(name)), None)
        if identity is None:
            listed = ", ".join(sorted({each.model for each in known}))
            raise LabelSetError(f"No labeled image has a score of {name}, only of {listed}.")
        policy = policies.of(identity.model)
        scores: dict[str, float] = {}
        for backend in equivalents.of(identity, policy):
            scores |= store.settled_labels.scores(replace(identity, backend=backend))
        scored.append((identity, policy, scores | store.settled_labels.scores(identity)))
    images = store.settled_labels.reviewed()
    complete = [image for image in images if all(image.image_sha256 in each for *_, each in scored)]
    if not complete:
        raise LabelSetError("No labeled image has a stored score of every model.")
    provisional = sum(image.provisional for image in complete)
    note = CHOSEN_NOTE
    if provisional:
        note = (
            f"{provisional:,} of {len(complete):,} images are not settled yet: they count with the "
            "label of most of their decisions, and at a tie with the one that the model does not "
            f"give. {note}"
        )
    return _Set(
        np.array([image.label is Label.NSFW for image in complete]),
        [{"source": image.source, "queue_reason": image.queue_reason} for image in complete],
        [
            (identity, policy, np.array([each[image.image_sha256] for image in complete]))
            for identity, policy, each in scored
        ],
        left_out=+Counter({WITHOUT_SCORE: len(images) - len(complete)}),
        note=note,
        provisional=provisional,
    )


def _print_missing(found: _Set) -> None:
    """What is not in the numbers, by kind, with the first names."""
    if found.note:
        typer.echo(found.note, err=True)
    for reason in (WITHOUT_SCORE, REPEATED):
        if count := found.left_out[reason]:
            typer.echo(f"Left out: {reason}: {count}.", err=True)
    if found.conflicting:
        names = [" = ".join(each) for each in found.conflicting]
        typer.echo(f"Left out: {_named(CONFLICTING, names)}.", err=True)
    if found.left_out[LeftOut.UNREADABLE]:
        found.unavailable.append(
            {"path": "", "model": "", "kind": "directory", "message": LeftOut.UNREADABLE}
        )
    kinds: dict[str, list[str]] = defaultdict(list)
    for each in found.unavailable:
        kinds[each["kind"]].append(each["path"])
    if kinds:
        parts = "; ".join(_named(kind, names) for kind, names in sorted(kinds.items()))
        typer.echo(f"Not classified: {parts}.", err=True)


def _named(reason: str, names: Sequence[str]) -> str:
    """A reason with a count and the first names."""
    unique = list(dict.fromkeys(names))
    shown = ", ".join(map(printable, unique[:MAX_NAMED]))
    return f"{reason}: {len(unique)} ({shown}{', ...' if len(unique) > MAX_NAMED else ''})"


def _text(report: Mapping[str, Any]) -> str:
    models = [_model_text(model, report) for model in report["models"]]
    pairs = [
        f"{pair['second']} minus {pair['first']}: only the first labels "
        f"{pair['only_first']:,} images correctly, only the second {pair['only_second']:,} "
        f"(McNemar's exact p = {pair['p_value']:.3g})\n{_measures_text(pair['measures'], report)}"
        for pair in report["comparisons"]
    ]
    return "\n".join([*models, *pairs])


def _model_text(model: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    policy = model["policy"]
    heading = (
        f"{model['model']}, revision {model['revision'][:12]}, {model['backend']}: "
        f"{report['images']:,} images, {report['unsafe']:,} of them nsfw; policy version "
        f"{policy['version']}, threshold {policy['threshold']:g}\n"
    )
    groups = [
        f"{report['group']} {printable(each['group']) or '(empty)'}: {each['images']:,} images, "
        f"{each['unsafe']:,} of them nsfw\n{_measures_text(each['measures'], each)}"
        for each in model["groups"]
    ]
    claim = [model["claim"]["sentence"] + "\n"] if model["claim"] else []
    return "\n".join([heading + _measures_text(model["measures"], report), *groups, *claim])


def _measures_text(
    measures: Mapping[str, Mapping[str, float | None]], labeled: Mapping[str, Any]
) -> str:
    """A line for each measure.

    Args:
        measures: By name.
        labeled: With the numbers of `images`, and of `unsafe` ones among them.
    """
    from nsfw_app.evidence.evaluation_report import undefined_reason

    undefined = undefined_reason(labeled["images"], labeled["unsafe"])
    lines: Iterable[str] = (
        f"  {name:<28}{undefined if each['value'] is None else _value(each)}\n"
        for name, each in measures.items()
    )
    return "".join(lines)


def _value(measure: Mapping[str, float | None]) -> str:
    if measure["lower"] is None:
        return f"{measure['value']:>8.3f}  too few images for an interval"
    return f"{measure['value']:>8.3f}  {measure['lower']:.3f} to {measure['upper']:.3f}"
