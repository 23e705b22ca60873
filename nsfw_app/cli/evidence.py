"""The evidence of this installation, as commands that report on it read it."""

from dataclasses import dataclass

from nsfw_app import settings
from nsfw_app.bootstrap import open_policies, open_store, open_summaries
from nsfw_app.evidence.summaries import Summaries
from nsfw_app.models.cards import display_name
from nsfw_app.models.selection import AUTO
from nsfw_app.records import ModelIdentity
from nsfw_app.review.policies import PolicyBook
from nsfw_app.settings import Settings
from nsfw_app.store import Store


@dataclass(frozen=True, slots=True)
class Evidence:
    """The settings, with the store, the policies and the summaries that they describe."""

    settings: Settings
    store: Store
    policies: PolicyBook
    summaries: Summaries

    def identity(self, model: str | None) -> ModelIdentity:
        """The model that an option names; without it the configured one.

        Raises:
            NotFound: No image that it judged has arrived.
        """
        wanted = model or self.settings.model
        name = None if wanted == AUTO else display_name(wanted)
        return self.summaries.identity(name, loaded=None)


def open_evidence() -> Evidence:
    """The evidence as the settings describe it."""
    chosen = settings.load()
    store = open_store(chosen)
    policies = open_policies(chosen, store)
    return Evidence(chosen, store, policies, open_summaries(chosen, store, policies))
