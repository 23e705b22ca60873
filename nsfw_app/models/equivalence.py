"""Equivalent backends: whose predictions count as predictions of the same model."""

from pathlib import Path

from nsfw_app.models.artifacts import ModelVersion
from nsfw_app.models.build_files import verified_backends
from nsfw_app.records import ModelIdentity, Policy


class EquivalentBackends:
    """Looks up the backends whose predictions may replace each other.

    Args:
        artifacts_dir: Directory of optimized models and parity reports; None if there are none.
    """

    def __init__(self, artifacts_dir: Path | None) -> None:
        self._artifacts_dir = artifacts_dir
        self._known: dict[tuple[ModelVersion, Policy], frozenset[str]] = {}

    def of(self, identity: ModelIdentity, policy: Policy) -> frozenset[str]:
        """The backends whose predictions of the same weights count as this one's, itself included.

        A backend without a passed parity report, such as one that was forced, has only itself.
        Parity is checked against the given policy, the one in force for the model.
        """
        own = frozenset({identity.backend})
        verified = self._verified(identity, policy)
        return verified if identity.backend in verified else own

    def _verified(self, identity: ModelIdentity, policy: Policy) -> frozenset[str]:
        """The verified backends of the weights, read once for each policy.

        A report is written before a model that relies on it is ready, so that what was read for
        the running model stays valid.
        """
        if self._artifacts_dir is None:
            return frozenset()
        origin = ModelVersion.of(identity)
        if (origin, policy) not in self._known:
            self._known[origin, policy] = verified_backends(self._artifacts_dir, origin, policy)
        return self._known[origin, policy]
