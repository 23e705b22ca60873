"""The evaluation of several models on one labeled set: measures, groups, comparisons, claims."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsfw_app.evidence.evaluation import Evaluation, Measured, compare, curve_points, evaluate
from nsfw_app.models.cards import card
from nsfw_app.records import ModelIdentity, Policy

CLAIM_THRESHOLD = 0.5  # where the label with the higher probability wins, as cards count
MAX_CURVE_POINTS = 200
BINS = 20
RELIABILITY_BINS = 10


@dataclass(frozen=True, slots=True)
class ScoredModel:
    """A model, its policy, and its scores of the set's images, shape (n,)."""

    identity: ModelIdentity
    policy: Policy
    scores: NDArray[np.float64]


def evaluation_report(
    unsafe: NDArray[np.bool_],
    models: Sequence[ScoredModel],
    *,
    at: Sequence[float] = (),
    groups: Mapping[str, NDArray[np.int64]] | None = None,
) -> dict[str, Any]:
    """Evaluate models on the same images.

    Args:
        unsafe: Shape (n,), whether the label is nsfw.
        models: At least one.
        at: Further thresholds at which recall and false positive rate are measured.
        groups: Indices of the images of each group, by its name.

    Returns:
        JSON: numbers are not rounded; a measure is value, lower, upper, or null where the set
        does not define it.
    """
    return {
        "images": len(unsafe),
        "unsafe": int(unsafe.sum()),
        "models": [_model_json(unsafe, model, at, groups or {}) for model in models],
        "comparisons": [
            _comparison_json(unsafe, first, second, at)
            for number, first in enumerate(models)
            for second in models[number + 1 :]
        ],
    }


def undefined_reason(images: int, unsafe: int) -> str:
    """Why labels do not define a measure, which is then null."""
    missing = "nsfw" if not unsafe else "normal" if unsafe == images else ""
    return "not defined" + (f": no {missing} image among the labels" if missing else "")


def claim_sentence(claimed: float, accuracy: Measured, images: int) -> str:
    """Whether the accuracy that a model card claims is found on a set."""
    if accuracy.value is None or accuracy.lower is None or accuracy.upper is None:
        return f"The card claims {claimed:g} accuracy: there is no image to check that on."
    found = (
        f"The card claims {claimed:g} accuracy: on your {images:,} images it is "
        f"{accuracy.value:.3f} ({accuracy.lower:.3f} to {accuracy.upper:.3f}); "
    )
    if accuracy.upper < claimed:
        return f"{found}the claim does not hold here."
    if accuracy.lower > claimed:
        return f"{found}it is exceeded here."
    return f"{found}the claim is within that interval."


def _thresholds(policy: Policy, at: Sequence[float]) -> list[float]:
    return [policy.threshold, *(value for value in at if value != policy.threshold)]


def _model_json(
    unsafe: NDArray[np.bool_],
    model: ScoredModel,
    at: Sequence[float],
    groups: Mapping[str, NDArray[np.int64]],
) -> dict[str, Any]:
    thresholds = _thresholds(model.policy, at)
    return {
        **asdict(model.identity),
        "policy": asdict(model.policy),
        "thresholds": thresholds,
        "measures": _measures_json(evaluate(model.scores, unsafe, thresholds=thresholds)),
        "claim": _claim_json(unsafe, model),
        "groups": [
            {
                "group": name,
                "images": len(chosen),
                "unsafe": int(unsafe[chosen].sum()),
                "measures": _measures_json(
                    evaluate(model.scores[chosen], unsafe[chosen], thresholds=thresholds)
                ),
            }
            for name, chosen in groups.items()
        ],
        "histogram": _histogram(unsafe, model.scores),
        "reliability": _reliability(unsafe, model.scores),
        "curve": _curve(unsafe, model.scores),
    }


def _comparison_json(
    unsafe: NDArray[np.bool_], first: ScoredModel, second: ScoredModel, at: Sequence[float]
) -> dict[str, Any]:
    # A threshold that is one model's policy is measured for both.
    own = [[model.policy.threshold, *at] for model in (first, second)]
    found = compare(
        first.scores, second.scores, unsafe, thresholds=own[0], second_thresholds=own[1]
    )
    return {
        "first": first.identity.model,
        "second": second.identity.model,
        "measures": {name: asdict(value) for name, value in found.measures.items()},
        "only_first": found.only_first,
        "only_second": found.only_second,
        "p_value": found.p_value,
    }


def _claim_json(unsafe: NDArray[np.bool_], model: ScoredModel) -> dict[str, Any] | None:
    claimed = card(model.identity.model).accuracy_claim
    if claimed is None:
        return None
    found = evaluate(model.scores, unsafe, thresholds=[CLAIM_THRESHOLD])
    accuracy = found.measures["accuracy"]
    return {
        "claimed": claimed,
        "threshold": CLAIM_THRESHOLD,
        "accuracy": asdict(accuracy),
        "sentence": claim_sentence(claimed, accuracy, len(unsafe)),
    }


def _measures_json(evaluation: Evaluation) -> dict[str, Any]:
    return {name: asdict(value) for name, value in evaluation.measures.items()}


def _histogram(unsafe: NDArray[np.bool_], scores: NDArray[np.float64]) -> dict[str, list[int]]:
    """Counts of images by bins of the score."""
    cells = np.minimum((scores * BINS).astype(int), BINS - 1)
    return {
        name: np.bincount(cells[label], minlength=BINS).tolist()
        for name, label in (("unsafe", unsafe), ("safe", ~unsafe))
    }


def _reliability(
    unsafe: NDArray[np.bool_], scores: NDArray[np.float64]
) -> list[dict[str, float | int]]:
    """Mean score and share of unsafe images, by tenths of the score."""
    cells = np.minimum((scores * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    return [
        {
            "score": float(scores[cells == cell].mean()),
            "unsafe": float(unsafe[cells == cell].mean()),
            "images": int((cells == cell).sum()),
        }
        for cell in np.unique(cells)
    ]


def _curve(unsafe: NDArray[np.bool_], scores: NDArray[np.float64]) -> list[dict[str, float | None]]:
    """Recall, false positive rate and precision at thresholds that occur, at most 200 of them."""
    thresholds, caught, flagged_safe = curve_points(scores, unsafe)
    count = len(thresholds)
    chosen = np.unique(np.linspace(0, count - 1, min(count, MAX_CURVE_POINTS)).astype(int))
    positives, negatives = int(unsafe.sum()), int((~unsafe).sum())
    return [
        {
            "threshold": float(thresholds[i]),
            "recall": float(caught[i] / positives) if positives else None,
            "false_positive_rate": float(flagged_safe[i] / negatives) if negatives else None,
            "precision": float(caught[i] / (caught[i] + flagged_safe[i])),
        }
        for i in chosen
    ]
