"""Compares the files of optimized models with the hashes of those that were verified."""

from collections.abc import Iterator
from pathlib import Path

from nsfw_app.checks.finding import Finding, fault
from nsfw_app.errors import ModelUnsupported
from nsfw_app.models.build_files import all_builds

NAME = "optimized models"


def check_optimized_models(artifacts_dir: Path) -> Iterator[Finding]:
    """A fault for each that was changed: it is not used, so that the server is slower."""
    for directory, model in all_builds(artifacts_dir):
        if model is None:
            yield fault(NAME, f"The description in {directory} cannot be read or was changed.")
            continue
        try:
            model.check()
        except ModelUnsupported as error:
            yield fault(NAME, str(error))
