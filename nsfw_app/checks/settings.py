"""Checks that the server starts with the settings: sign-in, models, names of variables."""

from collections.abc import Iterator

from nsfw_app.accounts import Accounts
from nsfw_app.checks.finding import Finding, fault, warning
from nsfw_app.errors import ModelError, SettingsError
from nsfw_app.models.loader import is_local
from nsfw_app.settings import Settings, unknown_variables
from nsfw_app.sign_in import check_sign_in

NAME = "settings"


def check_settings(chosen: Settings, accounts: Accounts) -> Iterator[Finding]:
    """A fault where the server would not start, or has no model; a warning for unknown variables.

    The hub is not asked: of a hub model that is not on this machine there is a warning.

    Args:
        chosen: The settings, whose values are valid.
        accounts: The users who can sign in.

    Raises:
        StorageError: The users cannot be read.
    """
    try:
        check_sign_in(chosen, accounts)
    except SettingsError as error:
        yield fault(NAME, str(error))
    yield from _check_model("NSFW_MODEL", chosen.model, chosen.model_revision)
    if chosen.has_detail:
        yield from _check_model("NSFW_DETAIL_MODEL", chosen.detail_model, chosen.detail_revision)
    for name, similar in unknown_variables().items():
        hint = f" Is {similar} meant?" if similar else ""
        yield warning(NAME, f"{name} is not a setting and has no effect.{hint}")


def _check_model(variable: str, model: str, revision: str) -> Iterator[Finding]:
    try:
        if not is_local(model, revision=revision):
            yield warning(
                NAME,
                f"{variable}={model!r} (revision {revision}) is not on this machine. The server "
                "downloads it when it starts.",
            )
    except ModelError as error:
        yield fault(NAME, f"{variable}={model!r} cannot be loaded: {error}")
