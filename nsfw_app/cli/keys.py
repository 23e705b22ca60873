"""`keys`: API keys, and the webhooks that belong to them."""

from typing import Annotated

import typer

from nsfw_app import settings
from nsfw_app.accounts import Accounts
from nsfw_app.bootstrap import open_store
from nsfw_app.cli.operator import operator
from nsfw_app.rules.permissions import KEY_SCOPES, Permission
from nsfw_app.store.keys import ApiKey

DEFAULT_PER_MINUTE = 600

keys = typer.Typer(help="Add, revoke and list the API keys of programs.", no_args_is_help=True)


@keys.command()
def add(
    name: Annotated[str, typer.Argument(help="What the key is for; used once.")],
    scope: Annotated[
        list[str],
        typer.Option(help=f"What it may do, as often as needed: {', '.join(KEY_SCOPES)}."),
    ],
    per_minute: Annotated[
        int, typer.Option(min=1, help="Requests it may send in a minute.")
    ] = DEFAULT_PER_MINUTE,
    webhook: Annotated[
        str | None, typer.Option(help="URL that gets a message when a submitted image is settled.")
    ] = None,
) -> None:
    """Make a key and print it, this once."""
    accounts = Accounts(open_store(settings.load()))
    made = accounts.add_key(
        name, _scopes(scope), per_minute=per_minute, webhook_url=webhook, actor=operator()
    )
    typer.echo(made.key)
    typer.echo("This key is shown once; only its hash is kept.", err=True)
    if made.webhook_secret:
        typer.echo(f"Its webhook's messages are signed with {made.webhook_secret}", err=True)


@keys.command()
def revoke(name: Annotated[str, typer.Argument(help="The key's name.")]) -> None:
    """Revoke a key immediately. Messages that wait for its webhook are dropped."""
    open_store(settings.load()).keys.revoke(name, actor=operator())
    typer.echo(f"The key {name} is revoked.")


@keys.command(name="restart-webhook")
def restart_webhook(name: Annotated[str, typer.Argument(help="The key's name.")]) -> None:
    """Send messages again to a webhook that was stopped because it answered 410 Gone."""
    open_store(settings.load()).keys.restart_webhook(name, actor=operator())
    typer.echo(f"The webhook of {name} gets messages again. Earlier ones are not repeated.")


@keys.command(name="list")
def list_keys() -> None:
    """List the keys, one a line: name, scopes, requests a minute, and state."""
    for key in open_store(settings.load()).keys.all():
        scopes = ",".join(sorted(key.scopes))
        typer.echo(f"{key.name:<24}{scopes:<32}{key.per_minute:>6}/min  {_state(key)}")


def _state(key: ApiKey) -> str:
    """Whether a key may be used, and what to do about a stopped webhook."""
    if key.revoked_at:
        return f"revoked {key.revoked_at}"
    if key.webhook_gone_at:
        return (
            f"in use; webhook stopped {key.webhook_gone_at}: {key.webhook_url} answered 410 Gone. "
            f"Start it again with 'keys restart-webhook {key.name}'."
        )
    return "in use"


def _scopes(names: list[str]) -> list[Permission]:
    try:
        return [Permission(name) for name in names]
    except ValueError as error:
        raise typer.BadParameter(f"{error}; a scope is one of {', '.join(KEY_SCOPES)}.") from None
