"""`keys`: manage API keys and their webhooks."""

from typing import Annotated

import typer

from nsfw_app import settings
from nsfw_app.accounts import Accounts
from nsfw_app.bootstrap import open_store
from nsfw_app.cli.operator import operator
from nsfw_app.rules.permissions import KEY_SCOPES, Permission
from nsfw_app.store.keys import ApiKey

DEFAULT_PER_MINUTE = 600
MAX_DAYS = 3_650

keys = typer.Typer(help="Add, revoke and list API keys.", no_args_is_help=True)


@keys.command()
def add(
    name: Annotated[str, typer.Argument(help="The key's name; a name is never used again.")],
    scope: Annotated[
        list[str],
        typer.Option(help=f"Scope, repeatable: {', '.join(KEY_SCOPES)}."),
    ],
    per_minute: Annotated[
        int, typer.Option(min=1, help="Rate limit, in requests per minute.")
    ] = DEFAULT_PER_MINUTE,
    days: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_DAYS, help="Days after which it expires. Default: never."),
    ] = None,
    webhook: Annotated[
        str | None, typer.Option(help="URL that is called when a submitted image is settled.")
    ] = None,
) -> None:
    """Create a key and print it. It is shown only once."""
    accounts = Accounts(open_store(settings.load()))
    new_key = accounts.add_key(
        name,
        _scopes(scope),
        per_minute=per_minute,
        webhook_url=webhook,
        days=days,
        actor=operator(),
    )
    typer.echo(new_key.key)
    typer.echo("This key is shown only once; the server stores its hash.", err=True)
    if new_key.webhook_secret:
        typer.echo(f"Signing secret of its webhook: {new_key.webhook_secret}", err=True)


@keys.command()
def revoke(name: Annotated[str, typer.Argument(help="The key's name.")]) -> None:
    """Revoke a key immediately. Pending messages to its webhook are dropped."""
    open_store(settings.load()).keys.revoke(name, actor=operator())
    typer.echo(f"The key {name} is revoked.")


@keys.command(name="restart-webhook")
def restart_webhook(name: Annotated[str, typer.Argument(help="The key's name.")]) -> None:
    """Restart a webhook that responded 410 Gone, or was stopped at a restore."""
    open_store(settings.load()).keys.restart_webhook(name, actor=operator())
    typer.echo(f"The webhook of {name} is restarted. Earlier messages are not sent again.")


@keys.command(name="list")
def list_keys() -> None:
    """List the keys, one per line: name, scopes, rate limit, state, expiry, last use."""
    for key in open_store(settings.load()).keys.all():
        scopes = ",".join(sorted(key.scopes))
        use = f"last used {key.last_used_at}" if key.last_used_at else "not used yet"
        typer.echo(f"{key.name:<24}{scopes:<32}{key.per_minute:>6}/min  {_state(key)}; {use}")


def _state(key: ApiKey) -> str:
    """Whether and until when a key is active, and how to restart a stopped webhook."""
    if key.revoked_at:
        return f"revoked {key.revoked_at}"
    if key.has_expired:
        return f"expired {key.expires_at}"
    if key.webhook_gone_at:
        return (
            f"active; webhook stopped {key.webhook_gone_at}: {key.webhook_url} responded 410 Gone, "
            "or was stopped at a restore. "
            f"Restart it with 'keys restart-webhook {key.name}'"
        )
    return f"active until {key.expires_at}" if key.expires_at else "active"


def _scopes(names: list[str]) -> list[Permission]:
    try:
        return [Permission(name) for name in names]
    except ValueError as error:
        raise typer.BadParameter(f"{error}; a scope is one of {', '.join(KEY_SCOPES)}.") from None
