"""`users`: the people who may sign in.

A password is asked for on a terminal, or is the first line of standard input; it is never an
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

users = typer.Typer(help="Add, change and list the people who may sign in.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The user's name.")]
Role = Annotated[UserRole, typer.Option(help="viewer looks, reviewer answers, admin does all.")]


@users.command()
def add(name: Name, role: Role) -> None:
    """Make an account. From then on the page asks everyone to sign in."""
    _accounts().add_user(name, _new_password(), role, actor=operator())
    typer.echo(f"{name} can sign in as {role}.")


@users.command()
def password(name: Name) -> None:
    """Give a user a new password, and end their sessions."""
    _accounts().set_password(name, _new_password(), actor=operator())
    typer.echo(f"{name} has a new password.")


@users.command()
def role(name: Name, role: Role) -> None:
    """Give a user another role, at once."""
    open_store(settings.load()).accounts.change_user(name, role=role, actor=operator())
    typer.echo(f"{name} is {role} now.")


@users.command()
def disable(name: Name) -> None:
    """Let a user in no more, and end their sessions. What they did stays."""
    open_store(settings.load()).accounts.change_user(name, disabled=True, actor=operator())
    typer.echo(f"{name} cannot sign in any more.")


@users.command()
def enable(name: Name) -> None:
    """Let a disabled user in again."""
    open_store(settings.load()).accounts.change_user(name, disabled=False, actor=operator())
    typer.echo(f"{name} can sign in again.")


@users.command(name="sign-out")
def sign_out(name: Name) -> None:
    """End every session of a person; they can sign in again."""
    ended = open_store(settings.load()).accounts.end_sessions(name, actor=operator())
    typer.echo(f"{ended} sessions of {name} ended.")


@users.command(name="list")
def list_users() -> None:
    """Everyone with an account, one a line: name, role, and whether they may sign in."""
    for user in open_store(settings.load()).accounts.users():
        state = f"disabled {user.disabled_at}" if user.disabled_at else "enabled"
        typer.echo(f"{user.name:<24}{user.role:<10}{state}")


def _accounts() -> Accounts:
    return Accounts(open_store(settings.load()))


def _new_password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass("Password: ")
    if getpass.getpass("The same again: ") != first:
        raise AccountError("The two passwords differ. Nothing was changed.")
    return first
