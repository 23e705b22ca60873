"""Options of `filter` that fit each other, and outputs that replace nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from nsfw_app.cli.output_file import check_directory, check_new
from nsfw_app.records import Action

if TYPE_CHECKING:
    from nsfw_app.datasets.filter_formats import FilterFormat

KEPT = (Action.ALLOW, Action.REVIEW, Action.BLOCK)


def check_review(
    review: int | None, *, is_written: bool, is_sample: bool, batch: str, seed: int | None
) -> None:
    """Check that options of a review fit each other.

    Raises:
        BadParameter: They do not.
    """
    if review is None and (is_sample or batch):
        raise typer.BadParameter("--sample and --batch belong to --review.")
    if review is not None and (not batch or is_written):
        raise typer.BadParameter("--review needs a --batch, and has no --output or --report.")
    if seed is not None and not is_sample:
        raise typer.BadParameter("--seed belongs to --sample.")


def check_outputs(output: Path | None, reports: Sequence[Path], directory: Path) -> None:
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


def output_format(
    output: Path | None, file_format: str | None, shard_images: int | None
) -> "FilterFormat":
    """The format of an output; that of a list without one.

    Raises:
        BadParameter: There is no such format, or an option does not belong to the output.
        ScanFilterError: Neither name nor option says a format.
    """
    from nsfw_app.datasets.filter_formats import FilterFormat, format_of
    from nsfw_app.datasets.shards import has_number

    if file_format not in {None, *FilterFormat}:
        raise typer.BadParameter(f"--format is one of {', '.join(FilterFormat)}.")
    if output is None and file_format is not None:
        raise typer.BadParameter("--format belongs to --output.")
    found = FilterFormat(file_format or FilterFormat.LIST)
    if output is not None and file_format is None:
        found = format_of(output)
    is_sharded = output is not None and has_number(output.name)
    if shard_images is not None and not (is_sharded and found is FilterFormat.WEBDATASET):
        raise typer.BadParameter(
            "--shard-images belongs to an --output that is a WebDataset with a number in its name, "
            "such as train-%06d.tar."
        )
    return found


def kept_actions(text: str | None, *, is_nearest: bool) -> frozenset[Action]:
    """The actions that an option names, by default all for the images nearest the threshold.

    Raises:
        BadParameter: There is no such action, or it is not one that can be kept.
    """
    if text is None:
        return frozenset(KEPT if is_nearest else {Action.ALLOW})
    names = {name.strip() for name in text.split(",")}
    if not names <= set(KEPT):
        raise typer.BadParameter(f"--keep '{text}': choose from {', '.join(KEPT)}, with commas.")
    return frozenset(map(Action, names))
