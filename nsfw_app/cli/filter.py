"""`filter`: choose images of a scan by verdict, score, columns and reviewers' labels."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nsfw_app import settings
from nsfw_app.bootstrap import open_policies, open_store, open_summaries
from nsfw_app.cli.filter_options import check_outputs, check_review, kept_actions, output_format
from nsfw_app.cli.filter_summary import counts_sentences, labels_sentence, queued_sentence
from nsfw_app.cli.operator import operator
from nsfw_app.cli.output_file import write_new_file
from nsfw_app.cli.progress import printable
from nsfw_app.records import Policy
from nsfw_app.store import Store
from nsfw_app.store.audit import AuditAction

if TYPE_CHECKING:
    from nsfw_app.datasets.filter_formats import FilterFormat
    from nsfw_app.datasets.filtering import Criteria, FilterCounts
    from nsfw_app.datasets.scanned_parts import ScannedParts

EXIT_UNREAD = 3
SHARD_IMAGES = 10_000
# Images to keep that the output lacks.
UNREAD = ("changed", "unreadable", "line_break", "ambiguous", "credentials")


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
        int | None,
        typer.Option(min=1, help="Most images in a shard of a WebDataset; 10,000 by default."),
    ] = None,
    report: Annotated[
        list[Path] | None,
        typer.Option(help="Datasheet to write, .html or .json; may be given more than once."),
    ] = None,
    review: Annotated[
        int | None,
        typer.Option(
            min=1, help="Fill a batch of the queue with this many images nearest the threshold."
        ),
    ] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="With --review, a random sample instead.")
    ] = False,
    batch: Annotated[str, typer.Option(help="With --review, the name of the batch.")] = "",
    seed: Annotated[
        int | None, typer.Option(help="With --sample, of the draw; 0 by default.")
    ] = None,
) -> None:
    """Choose images of a scan, without inference, as a list, rows, archives, files or links.

    An image that could not be classified is never kept. Exits 3 if images to keep could not be
    read any more, or cannot be listed, after all the others.
    """
    from nsfw_app.datasets.conditions import Condition
    from nsfw_app.datasets.datasheet import datasheet, datasheet_page
    from nsfw_app.datasets.filtering import Criteria  # with pyarrow
    from nsfw_app.datasets.human_labels import HumanLabels, human_labels
    from nsfw_app.datasets.image_table import schema
    from nsfw_app.datasets.review_batch import Choice, ReviewBatch
    from nsfw_app.datasets.scanned_parts import ScannedParts
    from nsfw_app.datasets.unsafe_rate import unsafe_rate

    is_written = output is not None or report is not None
    check_review(review, is_written=is_written, is_sample=sample, batch=batch, seed=seed)
    actions = kept_actions(keep, is_nearest=review is not None and not sample)
    check_outputs(output, report or (), directory)
    kind = output_format(output, file_format, shard_images)
    parts = ScannedParts(directory)
    chosen = settings.load()
    store = open_store(chosen)
    policies = open_policies(chosen, store)
    scan, model = str(directory.resolve()), parts.record.model
    policy = _policy(policies.of(model.model), parts.record.policy, threshold)
    labels = human_labels(store) if decisions or report else HumanLabels()
    drawn = store.scan_draws.of(scan, model) if report else []
    draws = [draw for draw in drawn if not draw.labeled_apart]
    criteria = Criteria(
        policy=policy,
        keep=actions,
        max_score=max_score,
        where=None if where is None else Condition(where, schema(tuple(parts.record.roles))),
        is_unique=unique or review is not None,
        settled=labels.settled,
        differing=labels.differing,
        doubted=labels.doubted,
        uses_labels=decisions,
        restricted=_restricted(store),
        drawn=frozenset(draw.image_sha256 for draw in draws),
    )
    if parts.record.finished_at is None:
        typer.echo("The scan is not finished: images without a row are left out.", err=True)
    if decisions and output is not None:  # before the first row: an interrupted export counts
        store.audit.add(operator(), AuditAction.EXPORT, "settled labels of a scan", scan=scan)
    if review is not None:
        choice = Choice.SAMPLE if sample else Choice.NEAREST
        limits = parts.record.limits
        to_fill = ReviewBatch(store, name=batch, owner=operator(), choice=choice, limits=limits)
        queued = to_fill.fill(parts, criteria, count=review, seed=seed or 0)
        counts, unread = queued.counts, queued.unreadable
        _say(queued_sentence(queued, batch))
        if not queued.missing:
            return
    else:
        counts, unread = _write(parts, criteria, store, output, kind, shard_images), 0
    for lost in parts.lost:
        _say(f"{lost} Its images cannot be read.")
    if report:
        arrived = open_summaries(chosen, store, policies).population(model)
        rate = unsafe_rate(criteria, counts, draws, arrived)
        sheet = datasheet(parts.record, criteria, counts, rate=rate, where=where)
        _write_reports(report, page=datasheet_page(sheet), text=json.dumps(sheet, indent=2))
    if decisions:
        _say(labels_sentence(len(labels), chosen.data_dir.resolve(), counts))
    _say(counts_sentences(counts, criteria))
    if unread or any(number for drop, number in counts.dropped.items() if drop in UNREAD):
        raise typer.Exit(EXIT_UNREAD)


def _write(
    parts: "ScannedParts",
    criteria: "Criteria",
    store: Store,
    output: Path | None,
    kind: "FilterFormat",
    shard_images: int | None,
) -> "FilterCounts":
    """Write the images or rows that are kept, or count them only; what became of all."""
    from nsfw_app.datasets.filtered_images import write_images, write_rows
    from nsfw_app.datasets.filtering import RowFilter

    def restricted() -> dict[str, str | None]:
        return _restricted(store)

    with RowFilter(criteria) as rows:
        if output is not None and kind.has_images:
            write_images(
                parts,
                rows,
                output=output,
                kind=kind,
                shard_images=shard_images or SHARD_IMAGES,
                restricted=restricted,
            )
        else:
            write_rows(parts, rows, output=output, kind=kind, restricted=restricted)
        return rows.counts


def _say(sentence: str) -> None:
    typer.echo(printable(sentence), err=True)


def _policy(in_force: Policy, scanned: Policy, threshold: float | None) -> Policy:
    """The policy by which images are kept; rules apply to all images where the scan asked so."""
    if threshold is not None:
        return Policy(threshold, threshold, threshold)
    asked_about_all = in_force.overrules_allow or scanned.overrules_allow
    return replace(in_force, overrules_allow=asked_about_all)


def _write_reports(paths: Iterable[Path], *, page: str, text: str) -> None:
    for path in paths:
        write_new_file(path, page if path.suffix.lower() == ".html" else text)


def _restricted(store: Store) -> dict[str, str | None]:
    """The perceptual hashes of restricted images, None where there is none, by hash."""
    return {**dict.fromkeys(store.restrictions.all()), **store.labeled_images.restricted()}
