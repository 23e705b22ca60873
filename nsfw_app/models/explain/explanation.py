"""Explanations: the record of a map over an image, and its JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Self

from nsfw_app.models.explain.faithfulness import EQUAL, ERROR_RATE

# Of the methods below: a stored explanation of another version is computed again.
VERSION = 1
DECIMALS = 3  # of the values in JSON
MIN_DROP = 0.001  # of the score with the marked cells covered; a smaller one is not visible


class Method(StrEnum):
    """How a map is computed."""

    ATTRIBUTION = "attribution"
    OCCLUSION = "occlusion"
    RISE = "rise"


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """How a map compares with random ones of the same image.

    - `deletion_auc` is the area under the score while cells are covered in the map's order, in
      [0, 1]; `random_deletion_auc` the mean of random orders.
    - `random_maps` counts these orders.
    - `p_value` is how often a map that is no better than random explains the scores as well.
    """

    deletion_auc: float
    random_deletion_auc: float
    random_maps: int
    p_value: float

    @property
    def is_better_than_random(self) -> bool:
        """Whether the map is better than random ones; if it is not, this is true in 5 % at most."""
        return self.p_value <= ERROR_RATE and self.deletion_auc < self.random_deletion_auc - EQUAL


@dataclass(frozen=True, slots=True)
class Explanation:
    """A map of how much each cell of an image adds to the nsfw score.

    - The grid of `rows` by `columns` covers the whole upright image, as it is displayed.
    - `values` has rows of numbers in [0, 1], relative to the highest: 0 where covering the cell
      does not lower the score, None where the model does not see the cell, because it crops the
      image.
    - `informative` is whether the map is better than random ones, see `faithfulness`, and the
      marked cells lower the score by `MIN_DROP` at least. If not, it is not shown.
    - `marked` are the fewest cells with half of the sum of `values`; `score_covered` is the score
      with them covered.
    - `score` is computed from the pixels that were explained, which may be those of a preview.
    - `scored` counts the versions of the image of which the model computed the score.
    """

    method: Method
    rows: int
    columns: int
    values: tuple[tuple[float | None, ...], ...]
    informative: bool
    sentence: str
    score: float
    score_covered: float
    marked: tuple[tuple[bool, ...], ...]
    faithfulness: Faithfulness
    model: str
    revision: str
    backend: str
    frame: int
    seconds: float
    scored: int

    def to_json(self) -> dict[str, Any]:
        """The JSON object: the same on the page, in the REST API and of the command."""
        values = asdict(self)
        values["method"] = str(self.method)
        values["values"] = [
            [None if value is None else round(value, DECIMALS) for value in row]
            for row in self.values
        ]
        values["marked"] = [list(row) for row in self.marked]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The explanation that `to_json` wrote."""
        known = {field.name: values[field.name] for field in fields(cls)}
        known["method"] = Method(values["method"])
        known["values"] = tuple(map(tuple, values["values"]))
        known["marked"] = tuple(map(tuple, values["marked"]))
        known["faithfulness"] = Faithfulness(**values["faithfulness"])
        return cls(**known)


def sentence(score: float, score_covered: float, *, better: bool) -> str:
    """What the map means for this image, for people.

    Args:
        score: Of the image.
        score_covered: With the marked cells covered.
        better: Whether the map is better than random ones.
    """
    if not better:
        return (
            "For this image the map is no better than a random one, so it is not shown. The score "
            "does not depend on a few areas."
        )
    if score - score_covered < MIN_DROP:
        return (
            f"Covering the marked area lowers the score by less than {MIN_DROP}, so no map is "
            "shown."
        )
    for decimals in (2, 3):
        before, after = f"{score:.{decimals}f}", f"{score_covered:.{decimals}f}"
        if before != after:
            break
    return f"Covering the marked area lowers the score from {before} to {after}."
