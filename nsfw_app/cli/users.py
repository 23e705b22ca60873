"""`users`: manage user accounts.

A password is read from the terminal, or from the first line of standard input. It is never an
argument, which other users of the machine could read.
"""

import getpass
import sys
from typing import Annotated

import typer

from nsfw_app import settings
from nsfw_app.accounts import Accounts
from nsfw_app.bootstrap import open_store
from nsfw_app.cli.operator import operator
from nsfw_app.errors import AccountError
from nsfw_app.rules.permissions import UserRole
from nsfw_app.store.identities import describe_issuer

users = typer.Typer(help="Add, change and list users.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The user's name.")]
Role = Annotated[
    UserRole, typer.Option(help="viewer, reviewer (also decides) or admin (also manages).")
]


@users.command()
def add(name: Name, role: Role) -> None:
    """Add a user. Once there is one, everyone must sign in."""
    _accounts().add_user(name, _new_password(), role, actor=operator())
    typer.echo(f"{name} can sign in as {role}.")


@users.command()
def password(name: Name) -> None:
    """Change a user's password and end their sessions."""
    _accounts().set_password(name, _new_password(), actor=operator())
    typer.echo(f"{name} has a new password.")


@users.command()
def role(name: Name, role: Role) -> None:
    """Change a user's role. Takes effect on the next request."""
    open_store(settings.load()).users.change_user(name, role=role, actor=operator())
    typer.echo(f"{name} has the role {role}.")


@users.command()
def disable(name: Name) -> None:
    """Disable a user and end their sessions. Their decisions stay."""
    open_store(settings.load()).users.change_user(name, disabled=True, actor=operator())
    typer.echo(f"{name} is disabled and cannot sign in.")


@users.command()
def enable(name: Name) -> None:
    """Enable a disabled user."""
    open_store(settings.load()).users.change_user(name, disabled=False, actor=operator())
    typer.echo(f"{name} can sign in again.")


@users.command(name="sign-out")
def sign_out(
    name: Annotated[str | None, typer.Argument(help="The user's name.")] = None,
    all_users: Annotated[
        bool, typer.Option("--all", help="End the sessions of all users.")
    ] = False,
) -> None:
    """End all sessions of a user, or with --all of all users. They can sign in again."""
    if all_users is (name is not None):
        raise typer.BadParameter("Name a user, or use --all.")
    sessions = open_store(settings.load()).sessions
    if name is None:
        typer.echo(f"{sessions.end_of_everyone(actor=operator())} sessions of all users ended.")
    else:
        typer.echo(f"{sessions.end_all(name, actor=operator())} sessions of {name} ended.")


@users.command()
def link(name: Name) -> None:
    """Let the next single sign-on under this name take the account. Its password is removed."""
    open_store(settings.load()).identities.free(name, actor=operator())
    typer.echo(f"The next single sign-on as {name} takes this account. Its sessions have ended.")


@users.command(name="list")
def list_users() -> None:
    """List the users, one per line: name, role, state, and where they sign in."""
    for user in open_store(settings.load()).users.all():
        state = f"disabled {user.disabled_at}" if user.disabled_at else "enabled"
        if user.issuer is not None:
            state += f"; signs in {describe_issuer(user.issuer)}"
        typer.echo(f"{user.name:<24}{user.role:<10}{state}")


def _accounts() -> Accounts:
    return Accounts(open_store(settings.load()))


def _new_password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass("Password: ")
    if getpass.getpass("Repeat password: ") != first:
        raise AccountError("The passwords differ. Nothing was changed.")
    return first
