"""`optimize`: make a faster network of a model."""

from pathlib import Path
from typing import Annotated

import typer

from nsfw_app import machine, settings
from nsfw_app.assembly import open_engine, open_store
from nsfw_app.classifiers.artefacts import FILES, Format
from nsfw_app.classifiers.backends import Backends
from nsfw_app.models import FALCONSAI, OPEN_NSFW
from nsfw_app.optimizing import Wish, best_format
from nsfw_app.optimizing import optimize as make


def optimize(
    model: Annotated[
        str | None, typer.Option(help="Hub id or directory; the setting's without it.")
    ] = None,
    kind: Annotated[
        Format | None,
        typer.Option("--format", help=f"One of {', '.join(FILES)}; the fastest here without it."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="Your own photographs to calibrate and compare with."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Keep it although too many labels change.")
    ] = False,
) -> None:
    """Make a faster network of a model, compare it with torch, and keep it when it is as good."""
    chosen = settings.load()
    name = model or chosen.model
    if name == OPEN_NSFW:
        raise typer.BadParameter("The embedded model is as fast as it gets; name another.")
    if kind is not None and kind not in FILES:
        raise typer.BadParameter(f"{kind} has no files to make; choose of {', '.join(FILES)}.")
    wish = Wish(
        model=FALCONSAI if name == "auto" else name,
        revision=chosen.model_revision,
        unsafe_labels=chosen.unsafe_labels,
        format=kind or best_format(machine.cpu()),
        images=images,
        force=force,
    )
    engine = open_engine(chosen, open_store(chosen))
    backends = Backends(chosen.backend, chosen.engines_dir, engine.policy_of)
    kept = make(wish, backends, threads=chosen.threads, tell=_tell)
    typer.echo(kept.directory)


def _tell(text: str) -> None:
    typer.echo(text, err=True)
