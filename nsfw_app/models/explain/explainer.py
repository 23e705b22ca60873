"""Explains a score: chooses a method for the model, computes its map and tests it.

A ViT in PyTorch is explained by `attribution`, every other model by `rise`, unless a method is
named.
"""

import time

import numpy as np
from PIL import Image

from nsfw_app.explain_errors import MethodUnavailable
from nsfw_app.models.classifier import Classifier
from nsfw_app.models.explain import maps
from nsfw_app.models.explain.cells import Cells, Covered, Values
from nsfw_app.models.explain.covered_scores import CoveredScores, Progress, go_on
from nsfw_app.models.explain.explanation import (
    MIN_DROP,
    Explanation,
    Faithfulness,
    Method,
    sentence,
)
from nsfw_app.models.explain.random_versions import SHARES, RandomVersions

SIDE = 7  # rows and columns of cells, 32 pixels each of 224; of attribution one for each patch
BUDGET_S = 1.2  # for scoring versions, where the model is slow; the fewest may take longer
MARKED_PART = 0.5  # of the sum of the values, in the marked cells
SEED = 0  # of the random orders, so that an image always has the same map
ATTRIBUTED = frozenset({None, Method.ATTRIBUTION})  # methods for which attribution is computed


def explain(
    image: Image.Image,
    classifier: Classifier,
    *,
    method: Method | None = None,
    frame: int = 0,
    budget_s: float = BUDGET_S,
    progress: Progress = go_on,
) -> Explanation:
    """Explain the nsfw score of an image.

    Args:
        image: RGB, upright: the frame that the prediction is of.
        classifier: The model.
        method: None for the best one that this model has.
        frame: The frame's number, for the record.
        budget_s: Seconds for scoring versions. Those that the test needs are always scored.
        progress: Called with the part that is done; the explanation ends when it returns False.

    Raises:
        MethodUnavailable: The model does not have this method.
        ExplanationCancelled: `progress` returned False.
        PredictionFailed: The model failed.
    """
    started = time.perf_counter()
    rng = np.random.default_rng(SEED)
    scores = CoveredScores(image, classifier, progress=progress)
    patches = classifier.attribution(scores.prepared) if method in ATTRIBUTED else None
    if method is Method.ATTRIBUTION and patches is None:
        raise MethodUnavailable(
            f"The backend {classifier.identity.backend} of '{classifier.identity.model}' has no "
            "attribution: it needs a ViT in PyTorch. Use rise or occlusion."
        )
    method = method or (Method.RISE if patches is None else Method.ATTRIBUTION)
    cells = scores.cells(*((SIDE, SIDE) if patches is None else patches.shape))
    singles = maps.single_cells(cells.visible) if method is Method.OCCLUSION else []
    versions = RandomVersions.scored(
        scores,
        cells,
        until=started + budget_s,
        reserved=len(singles) + len(SHARES) + 1,
        rng=rng,
    )
    if patches is not None:
        values = cells.average(patches)
        values = values - values[cells.visible].min()
    elif singles:
        values = maps.occlusion(cells.visible, versions.score, scores.of(cells, singles))
    else:
        values = versions.rise()
    values = _normalized(values, cells.visible)
    marked = marked_cells(values)
    order = maps.order_of(values, cells.visible, rng)
    shape = cells.rows, cells.columns
    own = [maps.covered_first(order, share, shape) for share in versions.shares]
    *deletion, score_covered = scores.of(cells, [*own, marked])
    faithfulness = Faithfulness(
        deletion_auc=versions.auc(np.array(deletion)),
        random_deletion_auc=versions.mean_auc,
        random_maps=len(versions.scores),
        p_value=versions.p_value(None if method is Method.RISE else values, rng),
    )
    better = faithfulness.is_better_than_random
    return Explanation(
        method=method,
        rows=cells.rows,
        columns=cells.columns,
        values=_rows_of(values, cells),
        informative=better and versions.score - float(score_covered) >= MIN_DROP,
        sentence=sentence(versions.score, float(score_covered), better=better),
        score=versions.score,
        score_covered=float(score_covered),
        marked=tuple(tuple(map(bool, row)) for row in marked),
        faithfulness=faithfulness,
        model=classifier.identity.model,
        revision=classifier.identity.revision,
        backend=classifier.identity.backend,
        frame=frame,
        seconds=round(time.perf_counter() - started, 3),
        scored=scores.computed,
    )


def marked_cells(values: Values) -> Covered:
    """The fewest cells with `MARKED_PART` of the sum of the values; none where all are 0."""
    order = np.argsort(-values, axis=None, kind="stable")
    total = np.cumsum(values.ravel()[order])
    count = int(np.searchsorted(total, MARKED_PART * total[-1])) + 1 if total[-1] > 0 else 0
    marked = np.zeros(values.shape, dtype=np.bool_)
    marked.flat[order[:count]] = True
    return marked


def _normalized(values: Values, visible: Covered) -> Values:
    """Values in [0, 1]: 0 for those below 0 and for cropped cells, 1 for the highest."""
    positive = np.where(visible, np.maximum(values, 0), 0.0)
    highest = positive.max()
    return positive / highest if highest > 0 else positive


def _rows_of(values: Values, cells: Cells) -> tuple[tuple[float | None, ...], ...]:
    """Rows of values, None for cropped cells."""
    return tuple(
        tuple(float(v) if seen else None for v, seen in zip(row, row_seen, strict=True))
        for row, row_seen in zip(values, cells.visible, strict=True)
    )
