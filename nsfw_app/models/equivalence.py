"""Which backends of a model's weights give predictions that count as the model's own."""

from pathlib import Path

from nsfw_app.models.artifacts import ModelVersion
from nsfw_app.models.builds import verified_backends
from nsfw_app.records import ModelIdentity, Policy


class EquivalentBackends:
    """Looks up the backends whose predictions may be used in place of each other.

    Args:
        engines: Directory of optimized models and of parity reports; None where there are none.
    """

    def __init__(self, engines: Path | None) -> None:
        self._engines = engines
        self._known: dict[tuple[ModelVersion, Policy], frozenset[str]] = {}

    def of(self, identity: ModelIdentity, policy: Policy) -> frozenset[str]:
        """The backends whose predictions of the same weights count as this one's, itself included.

        A backend without a passed parity report, such as one that was forced, is only itself.
        Parity is that under the policy given, the one in force for the model.
        """
        own = frozenset({identity.backend})
        verified = self._verified(identity, policy)
        return verified if identity.backend in verified else own

    def _verified(self, identity: ModelIdentity, policy: Policy) -> frozenset[str]:
        """The verified backends of the weights, read once for each policy.

        Reports are written before a model that relies on them is ready, so that what was read
        for the running model stays right.
        """
        if self._engines is None:
            return frozenset()
        origin = ModelVersion.of(identity)
        if (origin, policy) not in self._known:
            self._known[origin, policy] = verified_backends(self._engines, origin, policy)
        return self._known[origin, policy]
