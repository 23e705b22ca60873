"""Sampled images whose settled label differs from the model's, the worst first."""

from dataclasses import dataclass

import numpy as np

from nsfw_app.evidence.population import Population
from nsfw_app.evidence.sample import UNSAFE
from nsfw_app.records import Policy


@dataclass(frozen=True, slots=True)
class Disagreements:
    """Predictions by id; the first `allowed` of them are unsafe and allowed without a person."""

    prediction_ids: list[int]
    allowed: int


def disagreements(population: Population, policy: Policy) -> Disagreements:
    """The disagreements among sampled images: allowed unsafe ones, then by distance of the score.

    Args:
        population: The images that arrived.
        policy: Whose threshold decides the model's label, and whose `review_from` what is allowed.
    """
    sample = population.sample
    unsafe = sample.labels == UNSAFE
    differ = np.flatnonzero(sample.reviewed & (unsafe != (sample.scores >= policy.threshold)))
    scores = sample.scores[differ]
    allowed = unsafe[differ] & (scores < policy.review_from)
    order = np.lexsort((-np.abs(scores - policy.threshold), ~allowed))
    ids = population.prediction_ids[differ][order]
    return Disagreements([int(each) for each in ids], int(np.count_nonzero(allowed)))
