"""Calibration of downscaling: at which size and score a JPEG decoded at reduced scale is enough.

Photographs are encoded as JPEGs of a camera's size, and each is scored in full and at reduced
scale. The shift of its score is measured in log-odds, which hardly depend on the score itself. So
the shifts of photographs that score low also hold for images that score higher.
"""

import io
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsfw_app.imaging import decode
from nsfw_app.imaging.decode import Limits, MinSize
from nsfw_app.models.classifier import Backend, DownscaleRule
from nsfw_app.models.selection import nsfw_scores

MIN_SIDES = (2, 4)  # rules to try, in multiples of the side that a model resizes images to
SCALES = (2, 8 / 3, 4)  # full size of the files, in multiples of the reduced size
QUALITIES = (50, 90)
SAMPLE = 16  # images
MAX_SCORES = (0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)
ANY_SCORE = 1.01
MAX_SHIFT = 0.005  # of a score: half of what the documentation promises
GRAIN = 6  # gray levels, standard deviation, as of a camera
CERTAIN = 1e-6  # nearer to 0 or 1, a model's floats are too coarse
LIMITS = Limits(max_bytes=10**9, max_pixels=10**9, max_frames=1)


def calibrate(
    backend: Backend, side: int, images: Sequence[Image.Image]
) -> tuple[DownscaleRule, ...]:
    """Measure when reduced scale is enough for a model; empty where it never is.

    Args:
        backend: Computes the model.
        side: The side that the model resizes images to, in pixels.
        images: Photographs, RGB; a sample of them is used.
    """
    sample = images[:: max(1, len(images) // SAMPLE)]
    rules: list[DownscaleRule] = []
    for min_side in (times * side for times in MIN_SIDES):
        shifts = list(_shifts(backend, min_side, sample))
        known = [shift for shift in shifts if not math.isnan(shift)]
        max_score = limit(max(known)) if 2 * len(known) >= len(shifts) else 0.0
        if max_score > (rules[-1].max_score if rules else 0.0):
            rules.append(DownscaleRule(min_side, max_score))
    return tuple(rules)


def limit(shift: float) -> float:
    """The score below which a shift of the log-odds moves no score by more than `MAX_SHIFT`.

    Returns:
        One of `MAX_SCORES`; `ANY_SCORE` where it moves no score that far, and 0 where it moves
        all of them further.
    """
    scores = np.array([0.5, *MAX_SCORES])
    moved = 1 / (1 + np.exp(-_log_odds(scores) - shift)) - scores
    within = moved <= MAX_SHIFT
    return float(np.array([ANY_SCORE, *MAX_SCORES, 0.0])[np.argmax([*within, True])])


def _shifts(backend: Backend, min_side: int, images: Sequence[Image.Image]) -> Iterator[float]:
    """How far the log-odds move when files are decoded to just this size.

    NaN where both scores are so near to 0, or to 1, that their shift is not known.
    """
    for number, image in enumerate(images):
        quality = QUALITIES[number % len(QUALITIES)]
        for scale in SCALES:
            data = _jpeg(image, scale * min_side, quality)
            frames = (
                decode.decode(data, name="a.jpg", limits=LIMITS, min_size=min_size).frames[0].image
                for min_size in (None, MinSize(min_side))
            )
            scores = np.array(list(nsfw_scores(backend, list(frames))))
            full, reduced = _log_odds(scores)
            known = scores.max() > CERTAIN and scores.min() < 1 - CERTAIN
            yield float(abs(full - reduced)) if known else math.nan


def _jpeg(image: Image.Image, shorter_side: float, quality: int) -> bytes:
    """An image encoded as by a camera, with a shorter side of this many pixels."""
    factor = shorter_side / min(image.size)
    size = (round(image.width * factor), round(image.height * factor))
    pixels = np.asarray(image.resize(size, Image.Resampling.BICUBIC), dtype=np.int16)
    grain = np.random.default_rng(0).normal(0, GRAIN, pixels.shape[:2]).astype(np.int16)
    buffer = io.BytesIO()
    grainy = (pixels + grain[..., None]).clip(0, 255).astype(np.uint8)
    Image.fromarray(grainy).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _log_odds(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = scores.clip(CERTAIN, 1 - CERTAIN)
    odds: NDArray[np.float64] = clipped / (1 - clipped)
    return np.log(odds)
