"""How many pixels of a JPEG are enough for a network: measured on photographs, not assumed.

Photographs are made into files of a camera's size, and each is judged whole and at reduced scale.
How far its score moves is taken as log-odds, which hardly depend on the score itself: so what
photographs that score low say also holds for pictures that score higher.
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

STEPS = (2, 4)  # times the side that a network shrinks pictures to
SCALES = (2, 4)  # how much smaller the files are decoded
QUALITIES = (50, 90)
PICTURES = 16
BELOW = (0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)
ALWAYS = 1.01
MOST_MOVED = 0.005  # of a score: half of what people are promised
GRAIN = 6  # grey levels, standard deviation, as of a camera
LEAST = 1e-6  # closer to 0 or 1, the numbers of a network are too coarse
LIMITS = Limits(max_bytes=10**9, max_pixels=10**9, max_frames=1)


def calibrate(
    network: Backend, side: int, pictures: Sequence[Image.Image]
) -> tuple[DownscaleRule, ...]:
    """When reduced scale is enough for a network; nothing where it never is.

    Args:
        network: What will judge.
        side: The side that it shrinks pictures to, in pixels.
        pictures: Photographs, RGB; some of them are looked at.
    """
    chosen = pictures[:: max(1, len(pictures) // PICTURES)]
    found: list[DownscaleRule] = []
    for pixels in (times * side for times in STEPS):
        shifts = list(_shifts(network, pixels, chosen))
        told = [shift for shift in shifts if not math.isnan(shift)]
        below = limit(max(told)) if 2 * len(told) >= len(shifts) else 0.0
        if below > (found[-1].max_score if found else 0.0):
            found.append(DownscaleRule(pixels, below))
    return tuple(found)


def limit(shift: float) -> float:
    """Below which score a shift of the log-odds moves no score by more than `MOST_MOVED`.

    Returns:
        One of `BELOW`; `ALWAYS` where it moves none that far, and 0 where it moves all further.
    """
    scores = np.array([0.5, *BELOW])
    moved = 1 / (1 + np.exp(-_log_odds(scores) - shift)) - scores
    within = moved <= MOST_MOVED
    return float(np.array([ALWAYS, *BELOW, 0.0])[np.argmax([*within, True])])


def _shifts(network: Backend, pixels: int, pictures: Sequence[Image.Image]) -> Iterator[float]:
    """How far the log-odds move when files are decoded to just so many pixels.

    Not a number where both scores are so close to 0, or to 1, that they do not tell.
    """
    for number, picture in enumerate(pictures):
        quality = QUALITIES[number % len(QUALITIES)]
        for scale in SCALES:
            data = _jpeg(picture, scale * pixels, quality)
            frames = (
                decode.decode(data, name="a.jpg", limits=LIMITS, min_size=min_size).frames[0].image
                for min_size in (None, MinSize(pixels))
            )
            scores = np.array(list(nsfw_scores(network, list(frames))))
            whole, reduced = _log_odds(scores)
            told = scores.max() > LEAST and scores.min() < 1 - LEAST
            yield float(abs(whole - reduced)) if told else math.nan


def _jpeg(picture: Image.Image, shorter: int, quality: int) -> bytes:
    """A photograph as a camera would have saved it, with so many pixels on its shorter side."""
    share = shorter / min(picture.size)
    size = (round(picture.width * share), round(picture.height * share))
    pixels = np.asarray(picture.resize(size, Image.Resampling.BICUBIC), dtype=np.int16)
    grain = np.random.default_rng(0).normal(0, GRAIN, pixels.shape[:2]).astype(np.int16)
    buffer = io.BytesIO()
    grainy = (pixels + grain[..., None]).clip(0, 255).astype(np.uint8)
    Image.fromarray(grainy).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _log_odds(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    kept = scores.clip(LEAST, 1 - LEAST)
    odds: NDArray[np.float64] = kept / (1 - kept)
    return np.log(odds)
