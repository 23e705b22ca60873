"""Policies in force, by model, and the review of an image under one."""

from dataclasses import dataclass, replace

from nsfw_app.errors import PolicyError
from nsfw_app.imaging.image_warnings import warnings_of
from nsfw_app.models import cards
from nsfw_app.records import JudgedImage, Policy, Review, Verdict
from nsfw_app.rules.detail import DetailWhen
from nsfw_app.rules.policy import judge
from nsfw_app.store.policies import Policies, PolicyVersion


@dataclass(frozen=True, slots=True)
class PolicyDefaults:
    """Numbers of a model's first policy, in [0, 1]; threshold None is the model's own default."""

    threshold: float | None = None
    review_from: float = 0.2
    review_to: float = 0.8


DEFAULTS = PolicyDefaults()


class PolicyBook:
    """The policy in force for each model.

    Args:
        policies: The stored versions.
        defaults: Numbers of the first policy of a model that has none stored.
        detail_when: Which images the detail model is asked about: where that is always, rules of
            categories also apply to what the score alone allows.
    """

    def __init__(
        self,
        policies: Policies,
        defaults: PolicyDefaults = DEFAULTS,
        *,
        detail_when: DetailWhen = DetailWhen.NEVER,
    ) -> None:
        self._policies = policies
        self._defaults = defaults
        self._detail_when = detail_when

    def of(self, model: str) -> Policy:
        """The policy in force for a model: the latest stored version, or the first policy."""
        return self.stamped(self._policies.latest(model) or self._first(model))

    def versions(self, model: str) -> list[PolicyVersion]:
        """Every version of a model's policy, the latest first; see `of` for the first policy."""
        saved = self._policies.versions(model)
        return saved or [PolicyVersion(self._first(model), "")]

    def stamped(self, policy: Policy) -> Policy:
        """A policy with what the settings say about all policies."""
        return replace(policy, overrules_allow=self._detail_when is DetailWhen.ALWAYS)

    def save(
        self,
        model: str,
        policy: Policy,
        *,
        author: str,
        reason: str,
        replaces: int | None = None,
        reverts_to: int | None = None,
    ) -> Policy:
        """Save a policy as the model's next version; earlier versions stay in the store.

        Args:
            model: The model's id.
            policy: Threshold and review band.
            author: Name of the person who saves it.
            reason: Why it is changed.
            replaces: The version that must still be in force; None accepts any.
            reverts_to: The earlier version whose numbers these are.

        Raises:
            PolicyError: There is no reason, or another version is in force.
        """
        if not reason.strip():
            raise PolicyError("Say why the policy is changed.")
        policy = replace(policy, author=author, reason=reason)
        first = self._first(model)
        saved = self._policies.add(
            model, policy, first=first, replaces=replaces, reverts_to=reverts_to
        )
        return self.stamped(saved)

    def _first(self, model: str) -> Policy:
        return cards.first_policy(
            model,
            threshold=self._defaults.threshold,
            band=(self._defaults.review_from, self._defaults.review_to),
        )


def reviewed(name: str, policy: Policy, image: JudgedImage) -> Review:
    """The machine's result for a judged image: its verdict under a policy, and all warnings.

    It is no reviewer's decision; see `Review`.
    """
    prediction, categories = image.prediction, image.categories
    return Review(
        name,
        policy,
        verdict_of(image, policy),
        image.info.sha256,
        image.info,
        prediction,
        image.preview,
        warnings=warnings_of(name, image.info, prediction.background),
        submission_id=image.submission_id,
        detail=image.detail,
        categories=categories,
    )


def verdict_of(image: JudgedImage, policy: Policy) -> Verdict:
    """The verdict of a judged image; where the detail model failed, it is at least review.

    Failures are not stored: where it is asked about all images, a missing result counts as one.
    """
    failed = image.detail is not None and image.detail.problem is not None
    return judge(
        image.prediction.nsfw_score,
        policy,
        incomplete=image.info.incomplete or failed,
        is_unjudged=image.detail is None,
        categories=image.categories,
    )
