"""Scores of covered versions of an image, computed in small batches that give way to requests."""

import time
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from nsfw_app.concurrency import Priority
from nsfw_app.explain_errors import ExplanationCancelled
from nsfw_app.models.classifier import Classifier, nsfw_score
from nsfw_app.models.explain.cells import Cells, Covered, Values, blurred

# Images computed at once. A request that arrives waits for them at most: a quarter of a second with
# an 8-bit ViT-base on two cores.
CHUNK = 4
MAX_PROGRESS = 0.99  # before the explanation is complete

Progress = Callable[[float], bool]  # takes the part that is done; returns whether to go on


def go_on(_: float) -> bool:
    """A `Progress` that ignores progress and never cancels."""
    return True


class CoveredScores:
    """Computes the nsfw score of an image with cells covered.

    Args:
        image: RGB, upright.
        classifier: The model.
        progress: Called after each chunk with the part of the expected versions that is computed.
    """

    def __init__(
        self, image: Image.Image, classifier: Classifier, *, progress: Progress = go_on
    ) -> None:
        self._classifier = classifier
        self._progress = progress
        self._box = classifier.visible_box(image.size)
        with classifier.cpu_slots.acquire(Priority.BACKGROUND):
            self.prepared = classifier.prepare(image)
            self._cover = classifier.prepare(blurred(image))
        self.computed = 0
        self.expected = 0  # versions that are computed in all, for the progress
        self.seconds = 0.0  # in which `computed` versions were computed, without the first chunk
        self._timed = 0

    @property
    def images_per_s(self) -> float:
        """The model's speed now; 0 before two chunks are computed."""
        return self._timed / self.seconds if self.seconds else 0.0

    def cells(self, rows: int, columns: int) -> Cells:
        """A grid over the image."""
        return Cells.over(self.prepared, self._box, rows=rows, columns=columns)

    def of(self, cells: Cells, versions: Sequence[Covered]) -> Values:
        """The nsfw score of each version, shape (n,).

        Args:
            cells: The grid.
            versions: Which cells are covered in each.

        Raises:
            ExplanationCancelled: `progress` returned False.
            PredictionFailed: The model failed.
        """
        scores: list[float] = []
        for start in range(0, len(versions), CHUNK):
            scores += self._chunk(cells, versions[start : start + CHUNK])
        return np.array(scores, dtype=np.float64)

    def _chunk(self, cells: Cells, versions: Sequence[Covered]) -> list[float]:
        started = time.perf_counter()
        prepared = [cells.cover(self.prepared, self._cover, covered) for covered in versions]
        rows = self._classifier.predict_prepared(prepared, priority=Priority.BACKGROUND)
        if self.computed:  # the first chunk may be slower: runtimes allocate then
            self.seconds += time.perf_counter() - started
            self._timed += len(versions)
        self.computed += len(versions)
        done = self.computed / max(self.expected, self.computed)
        if not self._progress(min(done, MAX_PROGRESS)):
            raise ExplanationCancelled
        return [nsfw_score(row, self._classifier.roles) for row in rows]
