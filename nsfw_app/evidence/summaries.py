"""Summaries of the evidence by model, period and source, kept until something changes.

- A summary that is older than the data is returned at once, and computed again in the background,
  so that a page with a million images never waits for more than the first one.
- After images were accepted as the reference, a summary is computed before it is returned: none has
  the alarm that ended.
- A caller that asks once a day would get the numbers of the day before, without a newer alarm. It
  can wait for new ones, if those that are kept would be computed again now.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from nsfw_app.errors import AcceptanceError, NotFound, NothingToAccept
from nsfw_app.evidence.calibrations import CalibrationBook
from nsfw_app.evidence.decisions import Decisions, StandingDecisionArrays
from nsfw_app.evidence.population import ArrivedImages, Population, Selection
from nsfw_app.models.equivalence import EquivalentBackends
from nsfw_app.records import Category, ModelIdentity
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.queue import QueueReason
from nsfw_app.store import Store
from nsfw_app.store.references import AcceptedReference

if TYPE_CHECKING:
    from nsfw_app.evidence.comparison import Comparison
    from nsfw_app.evidence.decision_counts import DecisionCounts
    from nsfw_app.evidence.errors import ErrorEstimates
    from nsfw_app.evidence.summary import Summary

MAX_KEPT = 32
FRESH = timedelta(seconds=5)  # a summary is not computed more often
MAX_AGE = timedelta(minutes=1)  # of a summary that is returned to a caller that can wait
WAIT_S = 10  # for an alarm that is not older than a minute
# Times as long as it took, before it is computed again: decisions take up to a second in that time,
# which then is less than one in twenty of them.
PAUSES = 40


@dataclass(frozen=True, slots=True)
class EvidenceQuery:
    """Which evidence: a model with its verified backends, the last `days` days, and a source.

    None for `days` or `source` selects all.
    """

    identity: ModelIdentity
    days: int | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class DatedSummary:
    """A summary, when it was computed, and whether what is stored has changed since.

    `errors` are estimated from the same images; `decisions` are counts of all decisions of the
    period, also of those that people chose to make.
    """

    summary: "Summary"
    errors: "ErrorEstimates"
    decisions: "DecisionCounts"
    computed_at: datetime
    outdated: bool


@dataclass(slots=True)
class _Kept:
    summary: "Summary"
    errors: "ErrorEstimates"
    decisions: "DecisionCounts"
    computed_at: datetime
    state: tuple[int, int, int, int, int]
    took: timedelta
    refreshing: bool = False

    def dated(self, *, outdated: bool) -> DatedSummary:
        return DatedSummary(self.summary, self.errors, self.decisions, self.computed_at, outdated)


class Summaries:
    """Computes and keeps summaries.

    Args:
        store: Arrivals, labels, and the audit plan in force.
        policies: The policy in force for each model.
        equivalents: Backends whose predictions count as those of one model.
    """

    def __init__(self, store: Store, policies: PolicyBook, equivalents: EquivalentBackends) -> None:
        self._store = store
        self._policies = policies
        self._equivalents = equivalents
        self.images = ArrivedImages(store.arrivals)
        self._decisions = StandingDecisionArrays(store.decision_rows, store.arrivals.identities)
        self.calibrations = CalibrationBook(
            store.calibrations,
            sample_of=lambda identity: self.population(identity).estimated,
            backends_of=self._backends,
        )
        self._lock = threading.Lock()
        self._refreshed = threading.Condition(self._lock)
        self._kept: dict[EvidenceQuery, _Kept] = {}
        self._first = threading.Lock()  # callers of a query without a kept summary wait for one

    def get(self, query: EvidenceQuery, *, wait_s: float = 0) -> DatedSummary:
        """The summary of a query; the last one that was computed, if that was recently.

        Args:
            query: Which evidence.
            wait_s: How long to wait for a new summary where the kept one is outdated, and is
                computed again now, as it always is if it is older than `MAX_AGE` or of another
                policy. After that the kept one is returned.
        """
        state = self._state(query)
        with self._lock:
            kept = self._kept.get(query)
            if kept is not None and kept.state[1] != state[1]:
                kept = None
            if kept is not None and kept.state != state:
                age = datetime.now(UTC) - kept.computed_at
                too_old = age > MAX_AGE or kept.state[0] != state[0]
                due = age > max(FRESH, PAUSES * kept.took) or (too_old and wait_s > 0)
                if due and not kept.refreshing:
                    kept.refreshing = True
                    threading.Thread(target=self._refresh, args=(query, kept), daemon=True).start()
                if due and wait_s:
                    self._wait(kept, wait_s)
                    kept = self._kept.get(query, kept)
        if kept is None:
            with self._first:
                kept = self._kept.get(query)
                if kept is None or kept.state[1] != self._state(query)[1]:
                    kept = self._compute(query)
        return kept.dated(outdated=kept.state != self._state(query))

    def comparison(self, identity: ModelIdentity, *, wait_s: float) -> "Comparison":
        """All images of a model compared with its reference, which is the same in every period.

        It is that of the latest summary of any period, so that none is computed for it alone.

        Args:
            identity: The model.
            wait_s: As of `get`.
        """
        with self._lock:
            kept = [
                (each.computed_at, query.days or 0, query)
                for query, each in self._kept.items()
                if query.identity == identity and query.source is None
            ]
        query = max(kept)[2] if kept else EvidenceQuery(identity)
        return self.get(query, wait_s=wait_s).summary.comparison

    def accept_images(
        self, query: EvidenceQuery, *, author: str, reason: str
    ) -> list[AcceptedReference]:
        """Take the images so far as the reference, which ends the alarms of drift.

        Args:
            query: Evidence whose summary has an alarm. All sources of its model are accepted.
            author: Name of the person who accepts them.
            reason: Why.

        Returns:
            The accepted references of the model, the oldest first.

        Raises:
            AcceptanceError: There is no reason.
            NothingToAccept: No alarm is raised, or too few images came after it.
        """
        from nsfw_app.evidence.drift import MIN_REFERENCE  # slow to import

        if not reason.strip():
            raise AcceptanceError("Say why the images are taken as the reference.")
        found = self.get(query, wait_s=WAIT_S).summary.comparison
        if not found.alarm:
            raise NothingToAccept("No alarm of drift is raised: there is nothing to accept.")
        if found.least_since_alarm < MIN_REFERENCE:
            raise NothingToAccept(
                f"{found.least_since_alarm} came after the alarm, and later ones need at least "
                f"{MIN_REFERENCE} to be compared with. Accept them when more have arrived."
            )
        model = query.identity.model
        self._store.references.accept(model, author=author, reason=reason.strip())
        return self._store.references.accepted(model)

    def _wait(self, kept: _Kept, timeout_s: float) -> None:
        """Wait, with the lock, until the refresh of a summary has ended."""
        self._refreshed.wait_for(lambda: not kept.refreshing, timeout=timeout_s)

    def _refresh(self, query: EvidenceQuery, kept: _Kept) -> None:
        try:
            self._compute(query)
        finally:
            with self._lock:
                kept.refreshing = False
                self._refreshed.notify_all()

    def identity(self, model: str | None, *, loaded: ModelIdentity | None) -> ModelIdentity:
        """The model that a name means: the loaded one, or the one with the most images.

        Args:
            model: Its name; None for any.
            loaded: The loaded model.

        Raises:
            NotFound: No image that it judged has arrived.
        """
        if loaded is not None and model in {None, loaded.model}:
            return loaded
        for identity in self.images.models():
            if model in {None, identity.model}:
                return identity
        named = "any model" if model is None else model
        raise NotFound(f"No image has arrived that was judged by {named}.")

    def check_source(self, source: str | None) -> None:
        """Check that images came from a source; None is any.

        Raises:
            NotFound: None did; the message lists the known ones.
        """
        if source is not None and source not in (known := self.images.sources()):
            listed = ", ".join(known) or "none yet"
            raise NotFound(f"No image has arrived from {source}. Images came from: {listed}.")

    def population(
        self,
        identity: ModelIdentity,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        source: str | None = None,
    ) -> Population:
        """The images that a model judged, as the store has them now; see `Selection`."""
        return self.images.select(
            Selection(self._counts_as(identity), since=since, until=until, source=source)
        )

    def decisions(
        self,
        identity: ModelIdentity,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        source: str | None = None,
        reviewer: str | None = None,
    ) -> Decisions:
        """The standing decisions about predictions of a model, made in a period."""
        return self._decisions.select(
            Selection(self._counts_as(identity), since=since, until=until, source=source),
            reviewer=reviewer,
        )

    def judged_categories(self, prediction_ids: Sequence[int]) -> dict[int, dict[Category, float]]:
        """The categories of predictions, by their ids; empty where no model judged any."""
        return self._store.judged_categories.of(prediction_ids)

    def reviewers(self) -> list[str]:
        """Reviewers with a decision that counts, of any model, in order of their names."""
        return self._decisions.reviewers()

    def _counts_as(self, identity: ModelIdentity) -> Callable[[ModelIdentity], bool]:
        """Whether predictions of another model count as those of a model."""
        backends = self._backends(identity)
        return lambda other: _is_same(identity, other, backends)

    def is_same(self, one: ModelIdentity, other: ModelIdentity) -> bool:
        """Whether two count as one model: the same weights, by the same or a verified backend."""
        return _is_same(one, other, self._backends(one))

    def _backends(self, identity: ModelIdentity) -> frozenset[str]:
        """The backends whose predictions count as those of a model."""
        return self._equivalents.of(identity, self._policies.of(identity.model))

    @property
    def queue_reasons(self) -> frozenset[QueueReason]:
        """The queue rules in use."""
        return self._store.queue.rules.reasons

    def evidence_until(self, model: str) -> datetime | None:
        """When the policy in force was saved: what arrived before is its evidence."""
        saved_at = self._policies.versions(model)[0].created_at
        return datetime.fromisoformat(saved_at) if saved_at else None

    def _compute(self, query: EvidenceQuery) -> _Kept:
        from nsfw_app.evidence.decision_counts import count_decisions
        from nsfw_app.evidence.errors import estimate_errors  # libraries take a second to import
        from nsfw_app.evidence.summary import CONFIDENCE, summarize

        state, now = self._state(query), datetime.now(UTC)
        policy = self._policies.of(query.identity.model)
        all_images = self.population(query.identity, source=query.source)
        since = None if query.days is None else now - timedelta(days=query.days)
        population = (
            all_images
            if since is None
            else self.population(query.identity, since=since, source=query.source)
        )
        versions = self._policies.versions(query.identity.model)
        times = [each.created_at for each in reversed(versions) if each.created_at]
        summary = summarize(
            population,
            policy,
            self._store.queue.rules.audits,
            saved=list(map(datetime.fromisoformat, times)),
            accepted=self._store.references.accepted(query.identity.model),
            history=all_images,
        )
        errors = estimate_errors(
            population, policy, self.decisions(query.identity), confidence=CONFIDENCE
        )
        counts = count_decisions(self.decisions(query.identity, since=since, source=query.source))
        took = datetime.now(UTC) - now
        kept = _Kept(summary, errors, counts, now, state, took)
        with self._lock:
            self._kept.pop(query, None)
            self._kept[query] = kept
            while len(self._kept) > MAX_KEPT:
                self._kept.pop(next(iter(self._kept)))
        return kept

    def _state(self, query: EvidenceQuery) -> tuple[int, int, int, int, int]:
        """What a summary depends on.

        Policy, accepted reference, latest arrival and decision, the hour of a period.
        """
        arrivals, model = self._store.arrivals, query.identity.model
        version = self._policies.of(model).version
        accepted = self._store.references.latest_id(model)
        hour = 0 if query.days is None else int(datetime.now(UTC).timestamp() // 3600)
        return version, accepted, arrivals.last_arrival(), arrivals.last_decision(), hour


def _is_same(one: ModelIdentity, other: ModelIdentity, backends: frozenset[str]) -> bool:
    """Whether two are one model: the same weights, by the same or a verified backend."""
    weights = (one.model, one.revision, one.weights_sha256)
    return weights == (other.model, other.revision, other.weights_sha256) and (
        other.backend in backends
    )
