"""`optimize`: make an optimized model of a model."""

from pathlib import Path
from typing import Annotated

import typer

from nsfw_app import settings
from nsfw_app.bootstrap import open_engine, open_store
from nsfw_app.models.cards import FALCONSAI, OPEN_NSFW
from nsfw_app.models.formats import FILES, Format
from nsfw_app.models.optimize.optimizer import OptimizationConfig, measure_embedded
from nsfw_app.models.optimize.optimizer import optimize as make
from nsfw_app.models.selection import BackendConfig


def optimize(
    model: Annotated[
        str | None, typer.Option(help="Hub id or directory; the setting's without it.")
    ] = None,
    kind: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help=f"One of {', '.join(FILES)}. Without it they are tried from the fastest on, until "
            "one is near enough to the original.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="Your own images to calibrate and compare with."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Keep it although too many labels change.")
    ] = False,
) -> None:
    """Make an optimized model, compare it with torch, and keep it when it is as good and faster.

    Exits with 0 also when nothing was kept. Of the embedded model the speed in half precision is
    measured again.
    """
    chosen = settings.load()
    name = model or chosen.model
    if kind is not None and kind not in FILES:
        raise typer.BadParameter(f"{kind} has no files to make; choose of {', '.join(FILES)}.")
    if name == OPEN_NSFW and (kind is not None or images is not None or force):
        raise typer.BadParameter(f"{OPEN_NSFW} has no formats; run it without other options.")
    engine = open_engine(chosen, open_store(chosen))
    backends = BackendConfig(chosen.backend, chosen.engines_dir, engine.policy_of)
    if name == OPEN_NSFW:
        measure_embedded(backends, threads=chosen.threads, progress=_tell)
        return
    wish = OptimizationConfig(
        model=FALCONSAI if name == "auto" else name,
        revision=chosen.model_revision,
        unsafe_labels=chosen.unsafe_labels,
        format=kind,
        images=images,
        force=force,
    )
    kept = make(wish, backends, threads=chosen.threads, progress=_tell)
    if kept is not None:
        typer.echo(kept.directory)


def _tell(text: str) -> None:
    typer.echo(text, err=True)
