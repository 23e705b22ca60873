"""Equivalent backends: whose predictions count as predictions of the same model."""

from collections.abc import Callable
from pathlib import Path

from nsfw_app.models.artifacts import ModelVersion
from nsfw_app.models.builds import verified_backends
from nsfw_app.records import ModelIdentity, Policy


class EquivalentBackends:
    """Looks up the backends whose predictions may replace each other.

    Args:
        artifacts_dir: Directory of optimized models and parity reports; None if there are none.
        policy_of: Returns the policy in force for a model, which parity is checked against.
    """

    def __init__(self, artifacts_dir: Path | None, policy_of: Callable[[str], Policy]) -> None:
        self._artifacts_dir = artifacts_dir
        self._policy_of = policy_of
        self._known: dict[tuple[ModelVersion, Policy], frozenset[str]] = {}

    def of(self, identity: ModelIdentity) -> frozenset[str]:
        """The backends whose predictions of the same weights count as this one's, itself included.

        A backend without a passed parity report, such as one that was forced, has only itself.
        """
        own = frozenset({identity.backend})
        verified = self._verified(identity)
        return verified if identity.backend in verified else own

    def _verified(self, identity: ModelIdentity) -> frozenset[str]:
        """The verified backends of the weights, read once for each policy.

        A report is written before a model that relies on it is ready, so that what was read for
        the running model stays right.
        """
        if self._artifacts_dir is None:
            return frozenset()
        origin, policy = ModelVersion.of(identity), self._policy_of(identity.model)
        if (origin, policy) not in self._known:
            self._known[origin, policy] = verified_backends(self._artifacts_dir, origin, policy)
        return self._known[origin, policy]
