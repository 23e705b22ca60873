"""The report of a training: what was trained from what, and whether the result is better."""

from dataclasses import asdict, dataclass
from typing import Any

from nsfw_app.evidence.replacement import Replacement
from nsfw_app.models.artifacts import ModelVersion
from nsfw_app.models.training.fine_tuning import FineTuning
from nsfw_app.models.training.regression import FittedHead


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What was trained from what, and whether the result is better.

    - `model` is the model that was trained on, and `backend` what computed features and scores.
    - `counts` are numbers of images by split, label source and label, `groups` those of near
      duplicates by split. Both are without the `left_out` images of the test split, which the
      model, or a model that it was trained on, was fitted to.
    - `written` is whether the new model was.
    """

    name: str
    model: ModelVersion
    backend: str
    training_set: str
    training_set_sha256: str
    counts: dict[str, dict[str, dict[str, int]]]
    groups: dict[str, int]
    left_out: int
    head: FittedHead
    fine_tuning: FineTuning | None
    replacement: Replacement
    seed: int
    versions: dict[str, str]
    written: bool

    def to_json(self) -> dict[str, Any]:
        """Everything but the weights of the head, for a file; numbers are not rounded."""
        values = asdict(self)
        del values["head"]["update"]
        return values
