"""The images that arrived, in memory: read once, then kept up to date with what is new.

- Columns are arrays in order of arrival, so that a sample of a period is a slice of them.
- A drawn image has the label that its queue entry settled on, also if a decision in Gallery or
  Review settled it: the draw put it into the sample. Other chosen decisions are no labels.
- Until it is settled it has the provisional label of its standing decisions, in the sample for
  estimates only. What waits for a second decision differs from the model more often than the rest.
- A sample holds one model: backends of the same weights whose parity was verified count as one.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsfw_app.evidence.sample import NOT_REVIEWED, SAFE, UNSAFE, Sample
from nsfw_app.records import Label, ModelIdentity
from nsfw_app.store.arrivals import Arrivals

LEAST_DAYS = 7  # whole days from which their variation is computed: a week
CODES: dict[str | None, int] = {Label.NSFW: UNSAFE, Label.NORMAL: SAFE, None: NOT_REVIEWED}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which images a sample is of.

    - `counts` says which predictions do: those of one model and of its verified backends.
    - `since` and `until` bound the time of arrival, in UTC; `until` itself is left out.
    - `source` is where the images came from.
    - None selects all.
    """

    counts: Callable[[ModelIdentity], bool]
    since: datetime | None = None
    until: datetime | None = None
    source: str | None = None


@dataclass(frozen=True, eq=False)
class Population:
    """Images that arrived in a period, and the samples of those that could be drawn.

    - `sample` has the settled labels, for guarantees. It leaves out the images that no rule could
      have drawn: `never_drawn` is their number, and nothing is known of them.
    - `provisional` are the labels of images in `sample` that have decisions and are not settled,
      `NOT_REVIEWED` for all others; None where there are none.
    - `scores` and `times` are of all images, `times` as datetime64[s] in UTC.
    - `prediction_ids`, `sample_times` and `sample_sources` are those of the images in `sample`.
    """

    sample: Sample
    prediction_ids: NDArray[np.int64]
    sample_times: NDArray[np.datetime64]
    scores: NDArray[np.float64]
    times: NDArray[np.datetime64]
    never_drawn: int
    sample_sources: NDArray[np.object_]
    provisional: NDArray[np.int8] | None = None

    @cached_property
    def estimated(self) -> Sample:
        """The sample with provisional labels, for estimates: only undecided draws have none."""
        if self.provisional is None:
            return self.sample
        sample = self.sample
        labels = np.where(sample.reviewed, sample.labels, self.provisional)
        undecided = sample.unsettled & (labels == NOT_REVIEWED)
        return Sample(sample.scores, sample.probabilities, labels, undecided)

    @property
    def is_provisional(self) -> NDArray[np.bool_]:
        """Shape (images of `estimated`,): whether the label there is provisional."""
        return self.estimated.reviewed & ~self.sample.reviewed

    def __len__(self) -> int:
        """The number of images that arrived."""
        return len(self.scores)

    @property
    def days(self) -> float | None:
        """The time between the first and the last image, at least one day; None without any."""
        if not len(self):
            return None
        return max(1.0, float((self.times[-1] - self.times[0]) / np.timedelta64(1, "D")))

    @property
    def dispersion(self) -> float | None:
        """How much days differ: the variance of the number of images in a day over its mean.

        About 1 if images come independently of each other (Poisson). Days are counted back from the
        latest image; None for fewer than `LEAST_DAYS` whole ones.
        """
        if not len(self):
            return None
        before = (self.times.max() - self.times) // np.timedelta64(1, "D")
        whole_days = int(before.max())  # what is left of the first day is not one
        if whole_days < LEAST_DAYS:
            return None
        counts = np.bincount(before.astype(int), minlength=whole_days)[:whole_days]
        return float(counts.var(ddof=1) / counts.mean())


class ArrivedImages:
    """Reads arrivals and labels from the store into memory, and selects samples."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._lock = threading.Lock()
        self._columns = _columns([])
        self._decision_id = 0

    def select(self, selection: Selection) -> Population:
        """The images of a selection, as the store has them now."""
        with self._lock:
            self._refresh()
            columns, identities = self._columns, self._arrivals.identities()
        wanted = [key for key, identity in identities.items() if selection.counts(identity)]
        chosen = np.isin(columns["identity"], wanted)
        times = columns["times"]
        if selection.since is not None:
            chosen &= times >= np.datetime64(selection.since.replace(tzinfo=None), "s")
        if selection.until is not None:
            chosen &= times < np.datetime64(selection.until.replace(tzinfo=None), "s")
        if selection.source is not None:
            chosen &= columns["source"] == selection.source
        drawable = chosen & (columns["probability"] > 0)
        labels = columns["labels"][drawable]
        drawn = columns["drawn"][drawable]
        provisional = columns["provisional"][drawable]
        return Population(
            Sample(
                columns["scores"][drawable],
                columns["probability"][drawable],
                np.where(drawn, labels, NOT_REVIEWED),
                drawn & (labels == NOT_REVIEWED),
            ),
            columns["prediction_id"][drawable],
            times[drawable],
            columns["scores"][chosen],
            times[chosen],
            int(np.count_nonzero(chosen & ~drawable)),
            columns["source"][drawable],
            provisional if np.any(provisional != NOT_REVIEWED) else None,
        )

    def sources(self) -> list[str]:
        """Where images came from, in order of name."""
        with self._lock:
            self._refresh()
            return sorted(set(self._columns["source"]))  # numpy would compare a million texts

    def models(self) -> list[ModelIdentity]:
        """The models that judged arrived images, the one with the most images first."""
        return list(self.counts())

    def counts(self, *, until: datetime | None = None) -> dict[ModelIdentity, int]:
        """Arrived images of each model, the most first; only those before a time, if there is one.

        Args:
            until: In UTC.
        """
        with self._lock:
            self._refresh()
            keys, times = self._columns["identity"], self._columns["times"]
            identities = self._arrivals.identities()
        if until is not None:
            keys = keys[times < np.datetime64(until.replace(tzinfo=None), "s")]
        found, counts = np.unique(keys, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return {identities[int(found[at])]: int(counts[at]) for at in order}

    def _refresh(self) -> None:
        """Read arrivals and labels that are new."""
        ids = self._columns["arrival_id"]
        arrival_id = int(ids[-1]) if len(ids) else 0
        rows = self._arrivals.after(arrival_id)
        # Decisions that are made while this reads are read again the next time.
        decision_id = self._arrivals.last_decision()
        changed = self._arrivals.labels(after_decision=self._decision_id, after_arrival=arrival_id)
        self._decision_id = decision_id
        if rows:
            new = _columns(rows)
            self._columns = {
                name: np.concatenate([values, new[name]]) for name, values in self._columns.items()
            }
        if changed:
            order = np.argsort(self._columns["prediction_id"], kind="stable")
            known = self._columns["prediction_id"][order]
            predictions = np.array([row.prediction_id for row in changed])
            at = np.searchsorted(known, predictions)
            # An image that arrived after the arrivals were read is read again the next time, too.
            found = (at < len(known)) & (known[np.minimum(at, len(known) - 1)] == predictions)
            places = order[at[found]]
            for name, labels in (
                ("labels", [CODES[row.settled] for row in changed]),
                ("provisional", [CODES[row.provisional] for row in changed]),
            ):
                column = self._columns[name].copy()
                column[places] = np.array(labels, np.int8)[found]
                self._columns = {**self._columns, name: column}


def _columns(rows: list[Any]) -> dict[str, NDArray[Any]]:
    """Arrivals as arrays, without labels."""
    values = list(zip(*rows, strict=True)) or [()] * 8
    ids, predictions, identities, times, sources, probabilities, drawn, scores = values
    return {
        "arrival_id": np.array(ids, np.int64),
        "prediction_id": np.array(predictions, np.int64),
        "identity": np.array(identities, np.int64),
        "times": np.array(times, "datetime64[s]"),
        "source": np.array(sources, object),
        "probability": np.array(probabilities, np.float64),
        "drawn": np.array(drawn, bool),
        "scores": np.array(scores, np.float64),
        "labels": np.full(len(ids), NOT_REVIEWED, np.int8),
        "provisional": np.full(len(ids), NOT_REVIEWED, np.int8),
    }
