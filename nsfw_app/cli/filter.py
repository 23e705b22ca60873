"""`filter`: choose images of a scan by verdict, score, columns and reviewers' labels."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nsfw_app import settings
from nsfw_app.bootstrap import open_policies, open_store, open_summaries
from nsfw_app.cli.operator import operator
from nsfw_app.cli.output_file import check_directory, check_new, write_new_file
from nsfw_app.cli.progress import printable
from nsfw_app.records import Action, Label, Policy
from nsfw_app.store import Store
from nsfw_app.store.audit import AuditAction

if TYPE_CHECKING:
    from nsfw_app.datasets.filtering import FilterCounts
    from nsfw_app.datasets.review_batch import Queued

EXIT_UNREAD = 3
KEPT = (Action.ALLOW, Action.REVIEW, Action.BLOCK)
REASONS = {
    "restricted": "restricted, or near duplicates of restricted images",
    "differing": "with labels of people that differ",
    "settled_label": "settled by people with another label",
    "action": "by action",
    "max_score": "over --max-score",
    "where": "by --where",
    "duplicate": "duplicates",
    "changed": "changed since the scan",
    "unreadable": "cannot be read any more",
    "repeated": "listed more than once",
    "line_break": "named with a line break, which a list cannot hold",
}
UNREAD = ("changed", "unreadable", "line_break")  # images to keep that the output lacks


def filter_images(
    directory: Annotated[Path, typer.Argument(help="Directory of a scan.")],
    output: Annotated[
        Path | None,
        typer.Option(help="File or directory to write; without it the images are counted."),
    ] = None,
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format", help="list, jsonl, parquet, webdataset, copy, hardlink or symlink."
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            help="Actions to keep, with commas: allow, review, block. By default allow; all with "
            "--review, but not with --sample."
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Allow below, block from it on, in place of the policy."),
    ] = None,
    max_score: Annotated[
        float | None, typer.Option(min=0, max=1, help="Highest nsfw score to keep.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(help='A condition on columns, such as "width >= 256".')
    ] = None,
    unique: Annotated[
        bool, typer.Option("--unique", help="Keep one of the images with the same bytes.")
    ] = False,
    decisions: Annotated[
        bool,
        typer.Option("--decisions", help="Labels that reviewers settled override the model's."),
    ] = False,
    shard_images: Annotated[
        int, typer.Option(min=1, help="Most images in a shard of a WebDataset.")
    ] = 10_000,
    report: Annotated[
        list[Path] | None,
        typer.Option(help="Datasheet to write, .html or .json; may be given more than once."),
    ] = None,
    review: Annotated[
        int | None,
        typer.Option(min=1, help="Put this many images nearest the threshold into the queue."),
    ] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="With --review, a random sample instead.")
    ] = False,
    batch: Annotated[str, typer.Option(help="With --review, the name of the batch.")] = "",
    seed: Annotated[int, typer.Option(help="With --sample, of the draw.")] = 0,
) -> None:
    """Choose images of a scan, without inference, as a list, rows, archives, files or links.

    An image that could not be classified is never kept. Exits 3 if images to keep could not be
    read any more, or cannot be listed, after all the others.
    """
    from nsfw_app.datasets.conditions import Condition
    from nsfw_app.datasets.datasheet import datasheet, datasheet_page
    from nsfw_app.datasets.filter_formats import FilterFormat, format_of
    from nsfw_app.datasets.filtered_images import write_images, write_rows  # with pyarrow
    from nsfw_app.datasets.filtering import Criteria, RowFilter
    from nsfw_app.datasets.image_table import schema
    from nsfw_app.datasets.review_batch import Choice, ReviewBatch
    from nsfw_app.datasets.scanned_parts import ScannedParts
    from nsfw_app.datasets.unsafe_rate import unsafe_rate

    _check_review(review, is_written=bool(output or report), sample=sample, batch=batch)
    is_nearest = review is not None and not sample
    actions = _actions(_default_keep(is_nearest) if keep is None else keep)
    if file_format not in {None, *FilterFormat}:
        raise typer.BadParameter(f"--format is one of {', '.join(FilterFormat)}.")
    _check_outputs(output, report or (), directory)
    parts = ScannedParts(directory)
    chosen = settings.load()
    store = open_store(chosen)
    policies = open_policies(chosen, store)
    policy = policies.of(parts.record.model.model)
    asked_about_all = policy.overrules_allow or parts.record.policy.overrules_allow
    policy = replace(policy, overrules_allow=asked_about_all)
    if threshold is not None:
        policy = Policy(threshold, threshold, threshold)
    columns = schema(tuple(parts.record.roles))
    settled, differing = _labels(store) if decisions else ({}, frozenset())
    draws = store.scan_draws.of(str(directory.resolve()), parts.record.model) if report else []
    criteria = Criteria(
        policy=policy,
        keep=actions,
        max_score=max_score,
        where=None if where is None else Condition(where, columns),
        is_unique=unique or review is not None,
        settled=settled,
        differing=differing,
        restricted=_restricted(store),
        drawn=frozenset(draw.image_sha256 for draw in draws),
    )
    kind = FilterFormat.LIST
    if output is not None:
        kind = FilterFormat(file_format) if file_format else format_of(output)
    if parts.record.finished_at is None:
        typer.echo("The scan is not finished: images without a row are left out.", err=True)
    if decisions and output is not None:  # before the first row: an interrupted export counts
        store.audit.add(
            operator(),
            AuditAction.EXPORT,
            "settled labels of a scan",
            scan=str(directory.resolve()),
        )
    unread = 0
    with RowFilter(criteria) as rows:
        if review is not None:
            to_review = ReviewBatch(
                store,
                name=batch,
                owner=operator(),
                choice=Choice.SAMPLE if sample else Choice.NEAREST,
                limits=parts.record.limits,
            )
            queued = to_review.fill(
                parts, rows, count=review, seed=seed, threshold=policy.threshold
            )
            unread = queued.unreadable
            typer.echo(printable(_queued(queued, batch)), err=True)
        elif output is not None and kind.has_images:
            write_images(
                parts,
                rows,
                output=output,
                kind=kind,
                shard_images=shard_images,
                restricted=lambda: _restricted(store),
            )
        else:
            write_rows(parts, rows, output=output, kind=kind, restricted=lambda: _restricted(store))
    if report:
        arrived = open_summaries(chosen, store, policies).population(parts.record.model)
        sheet = datasheet(
            parts.record,
            criteria,
            rows.counts,
            rate=unsafe_rate(criteria, rows.counts, draws, arrived),
            where=where,
            uses_decisions=decisions,
        )
        _write_reports(report, page=datasheet_page(sheet), text=json.dumps(sheet, indent=2))
    typer.echo(printable(_summary(rows.counts, policy)), err=True)
    if unread or any(rows.counts.dropped[drop] for drop in UNREAD):
        raise typer.Exit(EXIT_UNREAD)


def _check_review(review: int | None, *, is_written: bool, sample: bool, batch: str) -> None:
    """Check that options fit each other.

    Raises:
        BadParameter: They do not.
    """
    if review is None and (sample or batch):
        raise typer.BadParameter("--sample and --batch belong to --review.")
    if review is not None and (not batch or is_written):
        raise typer.BadParameter("--review needs a --batch, and has no --output or --report.")


def _check_outputs(output: Path | None, reports: Sequence[Path], directory: Path) -> None:
    """Check that files can be made where they are to be, and that reports replace nothing.

    Raises:
        BadParameter: One cannot, or a report is named twice or lies in the directory of the scan.
    """
    taken = set[Path]()
    if output is not None:
        check_directory(output)
        taken.add(output.resolve())
    for path in reports:
        check_directory(path)
        check_new(path)
        place = path.resolve()
        if path.suffix.lower() not in {".html", ".json"}:
            raise typer.BadParameter(f"--report {path}: the name ends with .html or .json.")
        if place in taken:
            raise typer.BadParameter(f"--report {path} is also the name of another output.")
        if place.is_relative_to(directory.resolve()):
            raise typer.BadParameter(f"--report {path} lies in {directory}. Choose another place.")
        taken.add(place)


def _write_reports(paths: Iterable[Path], *, page: str, text: str) -> None:
    for path in paths:
        write_new_file(path, page if path.suffix.lower() == ".html" else text)


def _queued(queued: "Queued", batch: str) -> str:
    return (
        f"{queued.queued:,} images are in the review queue as batch {batch}, chosen from "
        f"{queued.candidates:,}; {queued.known:,} wait or are settled already, "
        f"{queued.unreadable:,} have changed or cannot be read."
    )


def _labels(store: Store) -> tuple[dict[str, Label], frozenset[str]]:
    """The labels of images by hash, also of those that only scans have; images with several.

    A label that was confirmed in Relabel comes before a settled one.
    """
    labels, differing = store.label_imports.unstored(), set[str]()
    for image in store.labeled_images.all():
        is_confirmed = image.correction is not None
        if image.corrections_differ if is_confirmed else image.settled_differ:
            differing.add(image.image_sha256)
        elif label := image.correction or image.settled:
            labels[image.image_sha256] = label
    return labels, frozenset(differing)


def _restricted(store: Store) -> dict[str, str | None]:
    """The perceptual hashes of restricted images, None where there is none, by hash."""
    return {**dict.fromkeys(store.restrictions.all()), **store.labeled_images.restricted()}


def _default_keep(is_nearest: bool) -> str:
    return ",".join(KEPT) if is_nearest else Action.ALLOW


def _actions(text: str) -> frozenset[Action]:
    names = {name.strip() for name in text.split(",")}
    if not names <= set(KEPT):
        raise typer.BadParameter(f"--keep '{text}': choose from {', '.join(KEPT)}, with commas.")
    return frozenset(map(Action, names))


def _summary(counts: "FilterCounts", policy: Policy) -> str:
    dropped, unavailable = counts.dropped.total(), counts.unavailable.total()
    reasons = Counter({REASONS[drop]: number for drop, number in counts.dropped.items()})
    sentences = [
        f"{counts.rows:,} images: {counts.kept:,} kept, {dropped:,} dropped{_listed(reasons)}, "
        f"{unavailable:,} could not be judged{_listed(counts.unavailable)}.",
        f"Threshold {policy.threshold:g}, review band {policy.review_from:g} to "
        f"{policy.review_to:g}.",
    ]
    if counts.by_settled_label:
        sentences.append(f"{counts.by_settled_label:,} are kept by a settled label of people.")
    return " ".join(sentences)


def _listed(numbers: Counter[str]) -> str:
    parts = [f"{number:,} {name}" for name, number in numbers.most_common() if number]
    return f" ({', '.join(parts)})" if parts else ""
