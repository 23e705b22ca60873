"""Faithfulness and time of explanations, by method, on this machine.

    python -m benchmarks.explain --views 48

Views of the calibration set with the highest nsfw scores are explained by each method. Prints the
mean deletion and insertion AUC over ten steps, relative to the score of each view: deletion is
better when low, insertion when high. `random` is a random order of the same cells, `center` the
distance from the center of the image. Also prints how often a random map passes for one that is
better than random, and the seconds that an explanation takes.
"""

import argparse
import time
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from nsfw_app import settings
from nsfw_app.bootstrap import open_loader, open_policies, open_store
from nsfw_app.models import calibration_set
from nsfw_app.models.classifier import Classifier, nsfw_score
from nsfw_app.models.explain import maps
from nsfw_app.models.explain.cells import Values
from nsfw_app.models.explain.covered_scores import CoveredScores
from nsfw_app.models.explain.explainer import BUDGET_S, SIDE, explain
from nsfw_app.models.explain.explanation import Faithfulness, Method
from nsfw_app.models.explain.faithfulness import auc
from nsfw_app.models.explain.random_versions import RandomVersions

STEPS = 10
RANDOM_MAPS = 5  # of each image, for the means
RANDOM, CENTER = "random", "center"


@dataclass
class Measured:
    """Results of one method."""

    deletion: list[float] = field(default_factory=list)
    insertion: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    shown: list[bool] = field(default_factory=list)
    drops: list[float] = field(default_factory=list)


def highest_views(classifier: Classifier, count: int) -> list[tuple[float, Image.Image]]:
    """The views of the calibration set with the highest scores, with these."""
    views = list(calibration_set.bundled_views())
    scores = [nsfw_score(classifier.predict([view])[0], classifier.roles) for view in views]
    order = sorted(range(len(views)), key=lambda i: -scores[i])[:count]
    return [(scores[i], views[i]) for i in order]


def curves(scores: CoveredScores, values: Values) -> tuple[float, float]:
    """Deletion and insertion AUC of a map, over `STEPS` equal steps."""
    shape = values.shape
    cells = scores.cells(*shape)
    order = maps.order_of(values, cells.visible, np.random.default_rng(0))
    shares = list(np.linspace(0, 1, STEPS + 1))
    deleted = [maps.covered_first(order, share, shape) for share in shares]
    inserted = [~maps.covered_first(order, share, shape) for share in shares]
    return (
        auc(shares, scores.of(cells, deleted).tolist()),
        auc(shares, scores.of(cells, inserted).tolist()),
    )


def center_map(rows: int, columns: int) -> Values:
    """High at the center of the image."""
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    return np.asarray(-np.hypot(y, x))


def measure(
    classifier: Classifier, count: int, budget_s: float, methods: list[Method]
) -> tuple[dict[str, Measured], list[bool], list[float]]:
    """Explain views by each method; also whether random maps passed the test, and the scores."""
    found: dict[str, Measured] = defaultdict(Measured)
    false_alarms: list[bool] = []
    views = highest_views(classifier, count)
    rng = np.random.default_rng(1)
    for score, view in views:
        scores = CoveredScores(view, classifier)
        for method in methods:
            started = time.perf_counter()
            explanation = explain(view, classifier, method=method, budget_s=budget_s)
            found[method].seconds.append(time.perf_counter() - started)
            found[method].shown.append(explanation.informative)
            found[method].drops.append(1 - explanation.score_covered / score)
            values = np.array(
                [[np.nan if v is None else v for v in row] for row in explanation.values]
            )
            add(found[method], curves(scores, np.nan_to_num(values)), score)
        for _ in range(RANDOM_MAPS):
            add(found[RANDOM], curves(scores, rng.random((SIDE, SIDE))), score)
        add(found[CENTER], curves(scores, center_map(SIDE, SIDE)), score)
        false_alarms.append(passes(scores, rng.random((SIDE, SIDE))))
    return found, false_alarms, [score for score, _ in views]


def add(measured: Measured, aucs: tuple[float, float], score: float) -> None:
    """Add the AUCs of one map, relative to the score."""
    measured.deletion.append(aucs[0] / score)
    measured.insertion.append(aucs[1] / score)


def passes(scores: CoveredScores, values: Values) -> bool:
    """Whether a random map passes the test that every map has to pass."""
    cells = scores.cells(*values.shape)
    rng = np.random.default_rng()
    versions = RandomVersions.scored(scores, cells, until=0.0, reserved=0, rng=rng)
    order = maps.order_of(values, cells.visible, rng)
    own = [maps.covered_first(order, share, values.shape) for share in versions.shares]
    return Faithfulness(
        versions.auc(scores.of(cells, own)), versions.mean_auc, 0, versions.p_value(values, rng)
    ).is_better_than_random


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description="Faithfulness and time of explanations.")
    parser.add_argument("--views", type=int, default=48)
    parser.add_argument("--budget", type=float, default=BUDGET_S, help="Seconds; see `explain`.")
    parser.add_argument("--method", action="append", type=Method, choices=list(Method))
    chosen = parser.parse_args()
    configured = settings.load()
    store = open_store(configured)
    classifier = open_loader(configured, open_policies(configured, store).of).wait()
    identity = classifier.identity
    methods = chosen.method or [Method.RISE, Method.OCCLUSION]
    found, false_alarms, scores = measure(classifier, chosen.views, chosen.budget, methods)
    print(
        f"{identity.model}, {identity.backend}: {len(scores)} views, scores {min(scores):.3f} to "
        f"{max(scores):.3f}, mean {np.mean(scores):.3f}"
    )
    print("method       deletion  insertion  shown  drop   p50 s  max s")
    for name, measured in found.items():
        line = f"{name:12} {np.mean(measured.deletion):8.3f} {np.mean(measured.insertion):10.3f}"
        if measured.seconds:
            line += (
                f" {np.mean(measured.shown):6.0%} {np.mean(measured.drops):5.0%}"
                f" {np.median(measured.seconds):7.2f} {max(measured.seconds):6.2f}"
            )
        print(line)
    print(f"random maps that passed: {sum(false_alarms)} of {len(false_alarms)}")


if __name__ == "__main__":
    main()
