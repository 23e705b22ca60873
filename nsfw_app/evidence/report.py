"""The transparency report of a period: what came in, what was done, and how well that is known.

- No image is in it, and no reviewer's name unless it is asked for.
- Numbers are of the period, as the store has them now: a later decision or undo changes them.
- The certificate and the alarms are of all images up to the end of the period, as in Insights: a
  certificate of a period that moves has no guarantee.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from nsfw_app import __version__
from nsfw_app.evidence.alarms import drift_alarms
from nsfw_app.evidence.calibrations import calibration_json
from nsfw_app.evidence.decision_counts import count_decisions
from nsfw_app.evidence.errors import estimate_errors
from nsfw_app.evidence.metrics import alpha_of_counts
from nsfw_app.evidence.policy_coverage import (
    certificate_json,
    other_model_doubts,
    policy_coverage,
)
from nsfw_app.evidence.population import Population
from nsfw_app.evidence.summaries import Summaries
from nsfw_app.evidence.summary import (
    CONFIDENCE,
    RECALL_TARGET,
    headline,
    summarize,
)
from nsfw_app.records import Action, ModelIdentity, Policy, utc
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.policy import judge
from nsfw_app.store import Store
from nsfw_app.store.audit import AuditAction
from nsfw_app.store.period_counts import ArrivedScore, ModelUse, Period

ACTIONS = (Action.ALLOW, Action.REVIEW, Action.BLOCK)


@dataclass(frozen=True, slots=True)
class ReportScope:
    """The period of a report, in UTC, and what is in it.

    - `names`: whether reviewers and authors are named.
    - `recall`: the one target of the certificate, in (0, 1), chosen before the numbers are seen.
    """

    since: datetime
    until: datetime
    names: bool = False
    recall: float = RECALL_TARGET

    @property
    def period(self) -> Period:
        """The period as the store takes it."""
        return Period(*(utc(moment.isoformat()) for moment in (self.since, self.until)))


class TransparencyReport:
    """Makes reports.

    Args:
        store: What happened.
        policies: The policies of each model.
        summaries: The evidence.
    """

    def __init__(self, store: Store, policies: PolicyBook, summaries: Summaries) -> None:
        self._store = store
        self._policies = policies
        self._summaries = summaries

    def json(self, scope: ReportScope) -> dict[str, Any]:
        """The report as JSON; numbers are not rounded."""
        period = scope.period
        groups: list[list[ModelUse]] = []
        for use in self._store.period_counts.models(period):
            same = (g for g in groups if self._summaries.is_same(g[0].identity, use.identity))
            if (group := next(same, None)) is None:
                groups.append([use])
            else:
                group.append(use)
        return {
            "version": __version__,
            "made_at": utc(datetime.now(UTC).isoformat()),
            "since": period.since,
            "until": period.until,
            "names": scope.names,
            "volumes": self._volumes(period),
            "queue": [asdict(each) for each in self._store.period_counts.entries(period)],
            "reviewers": self._reviewers(scope),
            "imported_labels": self._store.period_counts.imported(period),
            "agreement": self._agreement(period),
            "models": [self._model(group, scope, _later(group, groups)) for group in groups],
            "retention": asdict(self._store.purges.retention),
            "purges": self._purges(period),
        }

    def _volumes(self, period: Period) -> list[dict[str, Any]]:
        """Images that arrived, by model and source, with their actions on arrival."""
        policy_of = self._policy_versions()
        counts: Counter[tuple[str, str, Action]] = Counter()
        for each in self._store.period_counts.arrivals(period):
            verdict = judge(
                each.nsfw_score,
                policy_of(each),
                incomplete=each.incomplete,
                is_unjudged=not each.is_detailed,
                categories=each.categories,
            )
            counts[each.model, each.source, verdict.action] += 1
        keys = sorted({(model, source) for model, source, _ in counts})
        return [
            {
                "model": model,
                "source": source,
                "images": sum(counts[model, source, action] for action in ACTIONS),
                **{str(action): counts[model, source, action] for action in ACTIONS},
            }
            for model, source in keys
        ]

    def _policy_versions(self) -> Callable[[ArrivedScore], Policy]:
        """A function to the policy under which an image arrived."""
        known: dict[str, dict[int, Policy]] = {}

        def policy_of(each: ArrivedScore) -> Policy:
            if each.model not in known:
                versions = self._policies.versions(each.model)
                known[each.model] = {
                    v.policy.version: self._policies.stamped(v.policy) for v in reversed(versions)
                }
            versions_of = known[each.model]
            # An image from before versions were recorded has that of the first policy.
            return versions_of.get(each.policy_version) or next(iter(versions_of.values()))

        return policy_of

    def _reviewers(self, scope: ReportScope) -> list[dict[str, Any]]:
        """Standing decisions of each reviewer; without names in order of their number."""
        found = self._store.period_counts.decisions(scope.period)
        ordered = sorted(found.items(), key=lambda item: -sum(item[1].values()))
        return [
            {
                "reviewer": name if scope.names else f"reviewer {number}",
                "decisions": sum(labels.values()),
                **{str(label): count for label, count in labels.items()},
            }
            for number, (name, labels) in enumerate(ordered, 1)
        ]

    def _agreement(self, period: Period) -> dict[str, Any]:
        counts = self._store.period_counts.shared(period)
        alpha = alpha_of_counts(
            np.array([[c.normal, c.nsfw, c.unsure] for c in counts]).reshape(-1, 3),
            np.array([c.images for c in counts], dtype=np.int64),
        )
        return {
            "krippendorff_alpha": alpha.value,
            "images": alpha.images,
            "same_pairs": alpha.same.part,
            "pairs": alpha.same.whole,
        }

    def _model(
        self, uses: Sequence[ModelUse], scope: ReportScope, later: ModelIdentity | None
    ) -> dict[str, Any]:
        """A model, by one backend or by several whose parity was verified.

        `later` is what judged images under its policy after it; None if it was the last one.
        """
        identity = uses[0].identity
        population = self._summaries.population(identity, since=scope.since, until=scope.until)
        return {
            "model": identity.model,
            "revision": identity.revision,
            "weights_sha256": identity.weights_sha256,
            "backends": [use.identity.backend for use in uses],
            "predictions": sum(use.predictions for use in uses),
            "first_at": min(use.first_at for use in uses),
            "last_at": max(use.last_at for use in uses),
            "policies": self._policy_json(identity.model, scope),
            "calibrations": [
                _without_author(calibration_json(each) or {}, scope)
                for each in self._summaries.calibrations.versions()
                if (each.model, each.revision, each.weights_sha256)
                == (identity.model, identity.revision, identity.weights_sha256)
                and each.fitted_at < scope.period.until
            ],
            "evidence": (
                self._evidence(identity, population, scope, later) if len(population) else None
            ),
        }

    def _policy_json(self, model: str, scope: ReportScope) -> list[dict[str, Any]]:
        """The versions that were in force in the period, the latest first."""
        found = []
        for each in self._policies.versions(model):
            if each.created_at < scope.period.until:
                found.append(
                    _without_author(asdict(each.policy) | {"saved_at": each.created_at}, scope)
                )
                if each.created_at <= scope.period.since:
                    break
        return found

    def _evidence(
        self,
        identity: ModelIdentity,
        population: Population,
        scope: ReportScope,
        latest: ModelIdentity | None,
    ) -> dict[str, Any]:
        policy = self._policies.of(identity.model)
        history = self._summaries.population(identity, until=scope.until)
        saved = [
            datetime.fromisoformat(each.created_at)
            for each in reversed(self._policies.versions(identity.model))
            if each.created_at and each.created_at < scope.period.until
        ]
        accepted = [
            each
            for each in self._store.references.accepted(identity.model)
            if each.at < scope.period.until
        ]
        summary = summarize(
            population,
            policy,
            self._store.queue.rules.audits,
            saved=saved,
            accepted=accepted,
            history=history,
            recall=scope.recall,
        )
        alarms = drift_alarms(summary.comparison)
        coverage = policy_coverage(
            summary.certificate,
            policy,
            recall=summary.allowed.recall,
            doubts=[*(other_model_doubts(identity, latest) if latest else ()), *alarms],
        )
        calibration = summary.calibration
        errors = estimate_errors(
            population, policy, self._summaries.decisions(identity), confidence=CONFIDENCE
        )
        decisions = self._summaries.decisions(identity, since=scope.since, until=scope.until)
        period = f"from {scope.period.since[:10]} to {scope.period.until[:10]}"
        return {
            "headline": headline(summary, period=period),
            "alarms": alarms,
            "policy_version": policy.version,
            "images": summary.images,
            "never_drawn": summary.never_drawn,
            "reviews": summary.reviews,
            "unsettled": summary.unsettled,
            "allowed": asdict(summary.allowed),
            "labeled": asdict(summary.labeled),
            "curve": {
                "thresholds": summary.curve.thresholds,
                "recall": [asdict(each) for each in summary.curve.recall],
                "precision": [asdict(each) for each in summary.curve.precision],
            },
            "histogram": asdict(summary.histogram),
            "reliability": [asdict(point) for point in summary.reliability],
            "certificate": certificate_json(summary.certificate, coverage),
            "certificate_images": summary.bounds_images,
            "errors": asdict(errors),
            "decisions": asdict(count_decisions(decisions)),
            "calibration": calibration
            and {
                "method": calibration.method,
                "reviews": calibration.reviews,
                "brier": asdict(calibration.brier),
                "log_loss": asdict(calibration.log_loss),
                "ece": asdict(calibration.ece),
            },
            "provisional": summary.provisional,
        }

    def _purges(self, period: Period) -> dict[str, int]:
        """How often previews were deleted, and how many; single ones on request are counted."""
        entries = [
            entry
            for entry in self._store.audit.entries(since=period.since)
            if entry.action == AuditAction.PURGE and entry.at < period.until
        ]
        return {
            "runs": sum("deleted" in entry.details for entry in entries),
            "on_request": sum("deleted" not in entry.details for entry in entries),
            "previews_deleted": _sum(entry.details.get("deleted", 0) for entry in entries),
        }


def _later(group: Sequence[ModelUse], groups: Sequence[Sequence[ModelUse]]) -> ModelIdentity | None:
    """What judged images under the same policy later than a group did; None if nothing did."""
    same = [use for each in groups for use in each if use.identity.model == group[0].identity.model]
    latest = max(same, key=lambda use: use.last_at)
    return None if latest in group else latest.identity


def _sum(numbers: Iterable[Any]) -> int:
    return sum(int(number) for number in numbers)


def _without_author(values: dict[str, Any], scope: ReportScope) -> dict[str, Any]:
    return values if scope.names else values | {"author": None}
