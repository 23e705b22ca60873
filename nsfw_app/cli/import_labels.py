"""`import-labels`: labels from elsewhere as decisions of a named source."""

import re
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from nsfw_app import settings
from nsfw_app.bootstrap import open_policies, open_store
from nsfw_app.cli.operator import operator
from nsfw_app.datasets.foreign_labels import read_labels
from nsfw_app.datasets.label_import import ImportEffect, NameMatch, Unused, effect_of, match
from nsfw_app.datasets.training_set import LabelSource

NAME = re.compile(r"\w[\w.@-]{0,47}")


def import_labels(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="CSV, JSONL, JSON of Label Studio, or a directory in the imagefolder layout.",
        ),
    ],
    source: Annotated[str, typer.Option(help="Name of where the labels come from.")],
    control: Annotated[
        str | None,
        typer.Option(
            help="Control of Label Studio whose choices are the labels; 'label' or the only one by "
            "default.",
        ),
    ] = None,
    match_names: Annotated[
        bool,
        typer.Option(
            "--match-names",
            help="Find images also by the last part of a path, where only one path and one image "
            "have it.",
        ),
    ] = False,
) -> None:
    """Record labels from elsewhere as decisions of a named source.

    Images are found by SHA-256, also those that are not stored here, or by their whole path. All
    labels are recorded, or none.
    """
    if not NAME.fullmatch(source) or source in list(LabelSource):
        raise typer.BadParameter(
            f"'{source}' is not the name of a source: up to 48 letters, digits and . @ - _, and "
            f"not {' or '.join(LabelSource)}."
        )
    configured = settings.load()
    store = open_store(configured)
    found = read_labels(path, control=control)
    names_by = NameMatch.LAST_PART if match_names else NameMatch.WHOLE_PATH
    matched = match(found, store.label_imports, names_by=names_by)
    policies = open_policies(configured, store)
    recorded = store.label_imports.record(
        matched.labels,
        source,
        threshold_of=cache(lambda model: policies.of(model).threshold),
        actor=operator(),
    )
    unused = dict(matched.unused)
    if recorded.restricted:
        unused[Unused.RESTRICTED] = recorded.restricted
    for reason, count in unused.items():
        typer.echo(f"Not imported: {count:,} {reason}.", err=True)
    typer.echo(
        f"{len(found):,} labels read: {recorded.added:,} recorded, {recorded.unchanged:,} already "
        f"recorded, {sum(unused.values()):,} not imported."
    )
    typer.echo(_sentences(effect_of(matched.labels, store)))


def _sentences(effect: ImportEffect) -> str:
    sentences = [
        f"{effect.counted:,} of their images have an imported label now, in filters, evaluations "
        "and training sets of settled labels."
    ]
    if effect.waiting:
        sentences.append(
            f"{effect.waiting:,} of these wait in the queue, until a reviewer's decision replaces "
            "the label."
        )
    if effect.unstored:
        sentences.append(
            f"{effect.unstored:,} of these are not stored here: their labels are in filters of "
            "scans only."
        )
    if effect.decided:
        sentences.append(f"{effect.decided:,} have reviewers' decisions, which come first.")
    if effect.doubted:
        sentences.append(
            f"{effect.doubted:,} have none, until an unanswered request for a second opinion is "
            "settled."
        )
    if effect.differing:
        sentences.append(f"{effect.differing:,} have none, because labels of sources differ.")
    return " ".join(sentences)
