"""Sampled images whose settled label differs from the model's, the worst first."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nsfw_app.evidence.population import Population
from nsfw_app.evidence.sample import UNSAFE
from nsfw_app.records import Policy


@dataclass(frozen=True, slots=True)
class Disagreements:
    """Predictions by id, the farthest from the threshold first.

    - `missed` are unsafe images that the model labels normal; the first `allowed` of them are
      allowed without a person.
    - `false_alarms` are safe images that the model labels nsfw.
    """

    missed: list[int]
    allowed: int
    false_alarms: list[int]


def disagreements(
    population: Population, policy: Policy, *, among: NDArray[np.int64] | None = None
) -> Disagreements:
    """The disagreements among sampled images.

    Args:
        population: The images that arrived.
        policy: Whose threshold decides the model's label, and whose `review_from` what is allowed.
        among: Ids of predictions to which they are limited; None for all.
    """
    sample = population.sample
    unsafe, flagged = sample.labels == UNSAFE, sample.scores >= policy.threshold
    differ = sample.reviewed & (unsafe != flagged)
    if among is not None:
        differ &= np.isin(population.prediction_ids, among)
    missed, false_alarms = differ & unsafe, differ & flagged

    def worst_first(chosen: NDArray[np.bool_]) -> list[int]:
        order = np.argsort(-np.abs(sample.scores[chosen] - policy.threshold), kind="stable")
        return [int(each) for each in population.prediction_ids[chosen][order]]

    # What is allowed has the lowest scores, so it is the farthest from the threshold.
    allowed = int(np.count_nonzero(missed & (sample.scores < policy.review_from)))
    return Disagreements(worst_first(missed), allowed, worst_first(false_alarms))
