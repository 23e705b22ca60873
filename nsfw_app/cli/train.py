"""`train`: a new head for a transformers model from a training set, kept if shown to be better."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from nsfw_app import settings
from nsfw_app.bootstrap import open_policies, open_store
from nsfw_app.cli.output_file import check_local
from nsfw_app.cli.progress import progress_output
from nsfw_app.errors import NSFWReviewError
from nsfw_app.models.selection import BackendConfig

EXIT_NOT_WRITTEN = 1
EXIT_INTERRUPTED = 128 + signal.SIGINT
MAX_SEED = 2**32 - 1  # of NumPy's RandomState, which scikit-learn draws folds with


def train(
    directory: Annotated[
        Path, typer.Argument(help="Training set, with the directories train and test.")
    ],
    output: Annotated[Path, typer.Option(help="Directory to write the new model to.")],
    model: Annotated[
        str | None, typer.Option(help="Hub id or directory; NSFW_MODEL by default.")
    ] = None,
    unfreeze: Annotated[
        int, typer.Option(min=0, help="Encoder blocks to train, too, from the last one.")
    ] = 0,
    seed: Annotated[
        int, typer.Option(min=0, max=MAX_SEED, help="Of folds and of the order of images.")
    ] = 0,
    force: Annotated[
        bool,
        typer.Option("--force", help="Write the model even if it is not shown to be better."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train a model on reviewers' labels, and write it if it is better than the current one.

    Better is measured on the test split. Exits 1 if no model was written, and 130 if it was
    interrupted.
    """
    check_local(output)
    # With torch and scikit-learn; slow to import.
    from nsfw_app.datasets.model_card import summary
    from nsfw_app.datasets.model_output import check_no_policy
    from nsfw_app.datasets.training import Progress, Trainer, TrainingConfig

    chosen = settings.load()
    config = TrainingConfig(
        directory=directory,
        output=output,
        model=model or chosen.model,
        revision=chosen.model_revision,
        unsafe_labels=chosen.unsafe_labels,
        blocks=unfreeze,
        seed=seed,
        force=force,
    )
    store = open_store(chosen)
    check_no_policy(output, store.policies)
    policies = open_policies(chosen, store)
    backends = BackendConfig(chosen.backend, chosen.artifacts_dir, policies.of)
    progress = Progress(lambda text: typer.echo(text, err=True), _track)
    try:
        report = Trainer(config, backends, chosen.threads, progress).train()
    except KeyboardInterrupt:
        typer.echo(f"Interrupted: {output} was not written.", err=True)
        _say_kept(config.features_dir)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except NSFWReviewError:
        _say_kept(config.features_dir)
        raise
    typer.echo(json.dumps(report.to_json()) if as_json else summary(report))
    if not report.written:
        typer.echo(f"{output} was not written. Use --force to write it anyway.", err=True)
        _say_kept(config.features_dir)
        raise typer.Exit(EXIT_NOT_WRITTEN)
    typer.echo(f"Written: {output}", err=True)


def _say_kept(features_dir: Path) -> None:
    from nsfw_app.datasets.file_search import leads_to_directory

    if leads_to_directory(features_dir):
        typer.echo(
            f"Features of the images are kept in {features_dir}: run the same command to continue "
            "with them, or delete it.",
            err=True,
        )


@contextmanager
def _track(total: int) -> Iterator[Callable[[], None]]:
    with progress_output(total) as (_, advance):
        yield advance
