"""The directory that a trained model is written to: its name, its card and its report."""

import json
import os
from pathlib import Path

from nsfw_app.dataset_errors import TrainingError
from nsfw_app.datasets.file_search import leads_to_directory
from nsfw_app.datasets.model_card import model_card
from nsfw_app.datasets.partial_output import publish
from nsfw_app.datasets.training_report import TrainingReport
from nsfw_app.models.cards import display_name
from nsfw_app.models.loader import PACKAGED
from nsfw_app.models.selection import AUTO
from nsfw_app.store.policies import Policies

CARD, REPORT = "README.md", "training.json"


def checked_output(output: Path, *, current: str) -> Path:
    """The absolute path to write to, whose name is not that of the current model.

    Raises:
        TrainingError: It exists, the directory that it is to be in does not, or its name is taken.
    """
    path = output.expanduser().absolute()
    if path.name in {AUTO, *PACKAGED}:
        raise TrainingError(
            f"A model cannot be named {path.name}, which means another one in NSFW_MODEL and in "
            "policies. Choose another name for --output."
        )
    if path.name == display_name(current):
        raise TrainingError(
            f"The current model is named {path.name}, too, and policies are saved by name. Choose "
            "another name for --output."
        )
    if os.path.lexists(path):
        raise TrainingError(f"{output} exists already. Name a directory that does not exist.")
    if not leads_to_directory(path.parent):
        raise TrainingError(f"{output} cannot be written: {path.parent} is not a directory.")
    if not os.access(path.parent, os.W_OK):
        raise TrainingError(f"{output} cannot be written: {path.parent} is not writable.")
    return path


def check_no_policy(output: Path, policies: Policies) -> None:
    """Check that no policy is saved under the name of an output, for a model with other scores.

    Raises:
        TrainingError: One is.
    """
    name = output.expanduser().absolute().name
    if policies.latest(name) is not None:
        raise TrainingError(
            f"A policy is saved for an earlier model named {name}, and would decide about images "
            "that the new one scores. Choose another name for --output."
        )


def keep(partial: Path, output: Path, report: TrainingReport) -> None:
    """Add card and report to a written model, and give it its name.

    Raises:
        OSError: Something has that name by now, or it cannot be written.
    """
    text = json.dumps(report.to_json(), indent=2) + "\n"
    (partial / REPORT).write_text(text, encoding="utf-8")
    (partial / CARD).write_text(model_card(report), encoding="utf-8")
    publish(partial, output)
