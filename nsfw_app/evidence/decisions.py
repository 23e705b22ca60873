"""Standing decisions in memory: read once, then kept up to date with what is new.

- A decision about an image that waits for another one is left out, for every reader: reviewers
  decide blind, so that no count may say what is still hidden from one of them.
- Decisions are counted, not weighted: people chose many of the images. For rates of all images see
  `estimates` and `errors`.
"""

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsfw_app.evidence.population import Selection
from nsfw_app.records import Category, Label, ModelIdentity
from nsfw_app.store.decision_rows import DecisionRow, DecisionRows

CODES = {label: code for code, label in enumerate(Label)}
NORMAL, NSFW, UNSURE = (CODES[label] for label in Label)
NOT_ASKED = -1


@dataclass(frozen=True, eq=False)
class Decisions:
    """Decisions that stand, in order; arrays have the shape (n,).

    - `times` are datetime64[s] in UTC; `labels` are `NORMAL`, `NSFW` or `UNSURE`.
    - `flagged` is whether the model's label was nsfw, at the threshold that the reviewer saw.
    - `reviewers`, `sources` and `reasons` are indexes of `reviewer_names`, `source_names` and
      `reason_lists`, the last of which are JSON.
    - `images` are numbers that are equal for decisions about one image.
    - `elapsed_ms` is nan where a decision was not timed.
    - `categories` have the bit of each category that the reviewer named, see `bit_of`; `NOT_ASKED`
      where the reviewer was not asked.
    - `others` is how many decisions other reviewers made about the same image, and `same` how many
      of those have the same label. Both are 0 where the reviewer decided on the image again.
    - `waiting` is how many decisions are left out, of all, because their image waits for another.
    """

    prediction_ids: NDArray[np.int64]
    images: NDArray[np.int64]
    times: NDArray[np.datetime64]
    labels: NDArray[np.int8]
    flagged: NDArray[np.bool_]
    reviewers: NDArray[np.int32]
    sources: NDArray[np.int32]
    reasons: NDArray[np.int32]
    elapsed_ms: NDArray[np.float32]
    categories: NDArray[np.int16]
    same: NDArray[np.int32]
    others: NDArray[np.int32]
    reviewer_names: list[str]
    source_names: list[str]
    reason_lists: list[str]
    waiting: int

    def __len__(self) -> int:
        """The number of decisions."""
        return len(self.labels)


def bit_of(category: Category) -> int:
    """The bit of a category in `Decisions.categories`."""
    return 1 << list(Category).index(category)


class _Names:
    """Codes of texts, in order of appearance."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._codes: dict[str, int] = {}

    def codes(self, names: Iterable[str]) -> NDArray[np.int32]:
        """The code of each text; a new text gets the next one."""
        found = []
        for name in names:
            if (code := self._codes.get(name)) is None:
                code = self._codes[name] = len(self.names)
                self.names.append(name)
            found.append(code)
        return np.array(found, np.int32)


class StandingDecisionArrays:
    """Reads decisions from the store into memory, and selects those that stand.

    Args:
        rows: The decisions.
        identities: Models by the key that decisions have.
    """

    def __init__(
        self, rows: DecisionRows, identities: Callable[[], dict[int, ModelIdentity]]
    ) -> None:
        self._rows = rows
        self._identities = identities
        self._lock = threading.Lock()
        self._names = {name: _Names() for name in ("reviewers", "sources", "reasons")}
        self._columns = self._arrays([])
        self._undone: list[int] = []
        self._waiting: list[int] = []
        self._stands = np.zeros(0, bool)

    def select(self, selection: Selection, *, reviewer: str | None = None) -> Decisions:
        """The decisions of a selection, by one reviewer or by all; its times are of decisions."""
        with self._lock:
            self._refresh()
            columns, chosen = self._columns, self._stands.copy()
            waiting, names = len(self._waiting), {k: list(v.names) for k, v in self._names.items()}
        identities = self._identities()
        wanted = [key for key, identity in identities.items() if selection.counts(identity)]
        chosen &= np.isin(columns["identity"], wanted)
        for bound, compare in (
            (selection.since, np.greater_equal),
            (selection.until, np.less),
        ):
            if bound is not None:
                chosen &= compare(columns["times"], _moment(bound))
        for name, value in (("sources", selection.source), ("reviewers", reviewer)):
            if value is not None:
                code = names[name].index(value) if value in names[name] else -1
                chosen &= columns[name] == code
        return Decisions(
            images=columns["image"][chosen],
            **{
                name: columns[name][chosen]
                for name in (
                    "prediction_ids",
                    "times",
                    "labels",
                    "flagged",
                    "reviewers",
                    "sources",
                    "reasons",
                    "elapsed_ms",
                    "categories",
                    "same",
                    "others",
                )
            },
            reviewer_names=names["reviewers"],
            source_names=names["sources"],
            reason_lists=names["reasons"],
            waiting=waiting,
        )

    def reviewers(self) -> list[str]:
        """Reviewers with a decision that counts, in order of their names."""
        with self._lock:
            self._refresh()
            codes = np.unique(self._columns["reviewers"][self._stands])
            return sorted(self._names["reviewers"].names[code] for code in codes)

    def _refresh(self) -> None:
        """Read decisions that are new, and which stand."""
        ids = self._columns["decision_id"]
        new = [self._arrays(chunk) for chunk in self._rows.after(int(ids[-1]) if len(ids) else 0)]
        undone, waiting = self._rows.left_out()
        if not new and (undone, waiting) == (self._undone, self._waiting):
            return
        columns = {
            name: np.concatenate([values, *(each[name] for each in new)])
            for name, values in self._columns.items()
        }
        stands = ~np.isin(columns["decision_id"], [*undone, *waiting])
        columns["same"], columns["others"] = _agreement(columns, stands)
        self._columns, self._stands = columns, stands
        self._undone, self._waiting = undone, waiting

    def _arrays(self, rows: list[DecisionRow]) -> dict[str, NDArray[Any]]:
        values: list[Any] = list(zip(*rows, strict=True)) or [()] * len(DecisionRow._fields)
        of = dict(zip(DecisionRow._fields, values, strict=True))
        return {
            "decision_id": np.array(of["decision_id"], np.int64),
            "prediction_ids": np.array(of["prediction_id"], np.int64),
            "identity": np.array(of["identity"], np.int32),
            "image": np.array([int(digits, 16) for digits in of["image"]], np.int64),
            "times": np.array(of["decided_at"], "datetime64[s]"),
            "labels": np.array([CODES[Label(label)] for label in of["label"]], np.int8),
            "flagged": np.array([label == Label.NSFW for label in of["model_label"]], bool),
            "reviewers": self._names["reviewers"].codes(of["reviewer"]),
            "sources": self._names["sources"].codes(of["source"]),
            "reasons": self._names["reasons"].codes(of["reasons"]),
            "elapsed_ms": np.array(of["elapsed_ms"], np.float32),  # None is nan
            "categories": np.array([_bits(names) for names in of["categories"]], np.int16),
            "same": np.zeros(len(rows), np.int32),
            "others": np.zeros(len(rows), np.int32),
        }


def _bits(names: str | None) -> int:
    """The bits of a JSON list of categories."""
    if names is None:
        return NOT_ASKED
    return sum(map(bit_of, map(Category, json.loads(names)))) if names != "[]" else 0


def _moment(time: datetime) -> np.datetime64:
    return np.datetime64(time.replace(tzinfo=None), "s")


def _agreement(
    columns: dict[str, NDArray[Any]], stands: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """How many other decisions there are on each decision's image, those of its label first.

    Of several decisions of a reviewer about an image the latest counts.
    """
    same, others = np.zeros(len(stands), np.int32), np.zeros(len(stands), np.int32)
    at = np.flatnonzero(stands)
    at = at[np.lexsort((columns["reviewers"][at], columns["image"][at]))]  # keeps their order
    images, reviewers = columns["image"][at], columns["reviewers"][at]
    last = np.ones(len(at), bool)
    last[:-1] = (images[1:] != images[:-1]) | (reviewers[1:] != reviewers[:-1])
    at, images = at[last], images[last]
    first = np.ones(len(at), bool)
    first[1:] = images[1:] != images[:-1]
    groups = np.cumsum(first) - 1
    cells = groups * len(CODES) + columns["labels"][at]
    same[at] = np.bincount(cells)[cells] - 1
    others[at] = np.bincount(groups)[groups] - 1
    return same, others
