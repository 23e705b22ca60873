"""Accounts: passwords, sessions and keys open what they should, and nothing once they end."""

import sqlite3
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from nsfw_app import accounts as rules
from nsfw_app import rate_limits
from nsfw_app.accounts import Accounts
from nsfw_app.errors import AccountError, Forbidden, NotSignedIn, TooManyRequests
from nsfw_app.rules.permissions import Permission, UserRole
from nsfw_app.store import Store

PASSWORD = "correct horse battery"
HERE = "192.0.2.1"


@pytest.fixture
def accounts(store: Store) -> Accounts:
    """Ann, a reviewer, has an account."""
    made = Accounts(store, hub_roles={"Hugo": UserRole.VIEWER, "my-org": UserRole.REVIEWER})
    made.add_user("ann", PASSWORD, UserRole.REVIEWER, actor="test")
    return made


def sign_in(accounts: Accounts, name: str = "ann", password: str = PASSWORD) -> str:
    """The token that a browser gets."""
    return accounts.sign_in(name, password, address=HERE)


def on_disk(tmp_path: Path) -> bytes:
    """Everything that the database's files hold."""
    return b"".join(path.read_bytes() for path in tmp_path.glob("review.db*"))


def test_the_right_password_opens(accounts: Accounts) -> None:
    """A password signs in, under a name in whatever case, with the role of the account."""
    caller = accounts.session_caller(sign_in(accounts, "ANN"))
    assert caller is not None
    assert (caller.name, caller.owner) == ("ann", "user:ann")
    assert caller.may(Permission.REVIEW)
    assert not caller.may(Permission.MANAGE)


@pytest.mark.parametrize(
    ("name", "password"), [("ann", "wrong"), ("ann", ""), ("eve", PASSWORD), ("ann", "x" * 10_000)]
)
def test_anything_else_does_not(accounts: Accounts, name: str, password: str) -> None:
    """A wrong password and an unknown name are refused with the same sentence."""
    with pytest.raises(NotSignedIn, match=r"^Name and password do not fit\.$"):
        sign_in(accounts, name, password)


def test_an_unknown_name_costs_as_much_as_a_wrong_password(
    accounts: Accounts, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each refused sign-in computes one hash, or the time would reveal which names exist."""
    accounts.add_user("bob", PASSWORD, UserRole.VIEWER, actor="test")
    store.accounts.change_user("bob", disabled=True, actor="test")
    hasher = Mock(wraps=accounts._hasher)
    monkeypatch.setattr(accounts, "_hasher", hasher)
    hashes = []
    for name in ("ann", "bob", "eve"):
        with pytest.raises(NotSignedIn):
            sign_in(accounts, name, "wrong password")
        ((hashed, password), _) = hasher.verify.call_args
        hashes.append(hashed.rpartition("$")[0].rpartition("$")[0])  # its parameters
        assert password == "wrong password"
    assert hasher.verify.call_count == 3
    assert len(set(hashes)) == 1


def test_no_secret_is_on_disk(accounts: Accounts, tmp_path: Path) -> None:
    """Neither a password, a session's token nor a key can be read from the database."""
    token = sign_in(accounts)
    key = accounts.add_key("upload", [Permission.CLASSIFY], per_minute=9, actor="test").key
    data = on_disk(tmp_path)
    assert b"$argon2id$" in data
    for secret in (PASSWORD, token, key):
        assert secret.encode() not in data


def test_five_failures_in_a_minute_are_enough(accounts: Accounts) -> None:
    """The sixth attempt is refused, also with the right password; another name or place is not."""
    for _ in range(5):
        with pytest.raises(NotSignedIn):
            sign_in(accounts, password="wrong")
    with pytest.raises(TooManyRequests) as refused:
        sign_in(accounts)
    assert 0 < refused.value.retry_after_s <= 60
    assert accounts.sign_in("ann", PASSWORD, address="192.0.2.2")
    with pytest.raises(NotSignedIn):
        sign_in(accounts, "eve", "wrong")


def test_an_ipv6_network_counts_as_one_address(accounts: Accounts) -> None:
    """A client that can choose among 2**64 addresses has the attempts of one."""
    for number in range(5):
        with pytest.raises(NotSignedIn):
            accounts.sign_in("ann", "wrong", address=f"2001:db8:0:1::{number}")
    with pytest.raises(TooManyRequests):
        accounts.sign_in("ann", "wrong", address="2001:db8:0:1:ffff::1")
    with pytest.raises(NotSignedIn):
        accounts.sign_in("ann", "wrong", address="2001:db8:0:2::1")


def test_all_trials_together_are_limited(accounts: Accounts) -> None:
    """However many addresses visitors have, the model has time for people who signed in."""
    for number in range(120):
        accounts.count_demo(f"198.51.100.{number}")
    with pytest.raises(TooManyRequests, match="by all visitors together") as refused:
        accounts.count_demo("198.51.100.200")
    assert 0 < refused.value.retry_after_s <= 60


def test_a_clock_set_back_does_not_lock_callers_out(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute later sign-in, API keys and trials go on, independent of the system clock."""
    elapsed_s = 0.0
    begun, yesterday = time.monotonic(), time.time() - 86_400
    clock = SimpleNamespace(monotonic=lambda: begun + elapsed_s)
    monkeypatch.setattr(rate_limits, "time", clock)
    key = accounts.add_key("upload", [Permission.CLASSIFY], per_minute=1, actor="test").key
    for _ in range(5):
        with pytest.raises(NotSignedIn):
            sign_in(accounts, password="wrong")
    accounts.key_caller(key)
    for _ in range(rules.TRIALS.amount):
        accounts.count_demo(HERE)
    monkeypatch.setattr(time, "time", lambda: yesterday)
    limited = (
        lambda: sign_in(accounts),
        lambda: accounts.key_caller(key),
        lambda: accounts.count_demo(HERE),
    )
    for call in limited:
        with pytest.raises(TooManyRequests) as refused:
            call()
        assert refused.value.retry_after_s <= 60
    elapsed_s = 61
    for call in limited:
        call()


def test_success_forgets_the_failures(accounts: Accounts) -> None:
    """Four failures and a success count as none."""
    for _ in range(3):
        for _ in range(4):
            with pytest.raises(NotSignedIn):
                sign_in(accounts, password="wrong")
        assert sign_in(accounts)


def test_many_names_from_one_place_are_limited(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever tries name after name is stopped as well."""
    monkeypatch.setattr(accounts, "_verify", lambda *_: False)  # 50 hashes would take long
    for number in range(50):
        with pytest.raises(NotSignedIn):
            sign_in(accounts, f"name{number}")
    with pytest.raises(TooManyRequests):
        sign_in(accounts, "another")


def test_sessions_end(accounts: Accounts, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """By signing out, a new password, being disabled, an admin's word, and after twelve hours."""
    token = sign_in(accounts)
    accounts.sign_out(token)
    assert accounts.session_caller(token) is None

    token = sign_in(accounts)
    accounts.set_password("ann", "another password", actor="test")
    assert accounts.session_caller(token) is None

    token = sign_in(accounts, password="another password")
    assert store.accounts.end_sessions("ann", actor="test") == 1
    assert accounts.session_caller(token) is None

    monkeypatch.setattr(rules, "SESSION", timedelta(seconds=-1))
    assert accounts.session_caller(sign_in(accounts, password="another password")) is None
    monkeypatch.undo()

    token = sign_in(accounts, password="another password")
    store.accounts.change_user("ann", disabled=True, actor="test")
    assert store.accounts.has_users()  # else whoever is at this machine would be let in
    assert accounts.session_caller(token) is None
    with pytest.raises(NotSignedIn):
        sign_in(accounts, password="another password")
    store.accounts.change_user("ann", disabled=False, actor="test")
    assert sign_in(accounts, password="another password")


def test_a_session_lasts_twelve_hours() -> None:
    """As long as a shift with its breaks, and no longer."""
    assert timedelta(hours=12) == rules.SESSION


def test_another_role_counts_at_once(accounts: Accounts, store: Store) -> None:
    """A role that changes is felt with the next request of a session that is open."""
    token = sign_in(accounts)
    store.accounts.change_user("ann", role=UserRole.VIEWER, actor="test")
    caller = accounts.session_caller(token)
    assert caller is not None
    with pytest.raises(Forbidden, match="review"):
        caller.require(Permission.REVIEW)


@pytest.mark.parametrize(
    "name", ["", "a b", "../x", "hf:ann", "x" * 65, "<b>", "anonymous", "LOCAL"]
)
def test_what_cannot_be_a_name(accounts: Accounts, name: str) -> None:
    """A name is letters, digits and a few marks, and not one that already means somebody."""
    with pytest.raises(AccountError, match="cannot be a name"):
        accounts.add_user(name, PASSWORD, UserRole.VIEWER, actor="test")


def test_names_are_taken_whatever_their_case(accounts: Accounts) -> None:
    """Two people are never told apart by capitals."""
    with pytest.raises(AccountError, match="already"):
        accounts.add_user("Ann", PASSWORD, UserRole.VIEWER, actor="test")


@pytest.mark.parametrize("password", ["", "seven77", "x" * 1_001])
def test_what_cannot_be_a_password(accounts: Accounts, password: str) -> None:
    """A password that is too short or absurdly long is refused, and the account is not made."""
    with pytest.raises(AccountError, match="characters"):
        accounts.add_user("bob", password, UserRole.VIEWER, actor="test")
    with pytest.raises(AccountError, match="characters"):
        accounts.set_password("ann", password, actor="test")
    assert sign_in(accounts)


def test_nobody_is_changed_who_is_not_there(accounts: Accounts, store: Store) -> None:
    """A command about an unknown name says so."""
    with pytest.raises(AccountError, match="no user 'bob'"):
        store.accounts.change_user("bob", disabled=True, actor="test")
    with pytest.raises(AccountError, match="no key 'none'"):
        store.keys.revoke("none", actor="test")


def test_a_key_opens_its_scopes(accounts: Accounts) -> None:
    """A key may do what its scopes name and nothing else, and is unknown once revoked."""
    made = accounts.add_key("upload", [Permission.CLASSIFY], per_minute=9, actor="test")
    caller = accounts.key_caller(made.key)
    assert (caller.name, caller.permissions) == ("key upload", frozenset({Permission.CLASSIFY}))
    for other in ("nsfw_unknown", ""):
        with pytest.raises(NotSignedIn):
            accounts.key_caller(other)


def test_a_revoked_key_opens_nothing(accounts: Accounts, store: Store) -> None:
    """Revoking takes effect with the next request, and the name is not used again."""
    made = accounts.add_key("upload", [Permission.CLASSIFY], per_minute=9, actor="test")
    store.keys.revoke("upload", actor="test")
    with pytest.raises(NotSignedIn, match="revoked"):
        accounts.key_caller(made.key)
    with pytest.raises(AccountError, match="used once"):
        accounts.add_key("upload", [Permission.CLASSIFY], per_minute=9, actor="test")


def test_each_key_has_its_own_minute(accounts: Accounts) -> None:
    """One key that has used up its requests does not take another's."""
    first, second = (
        accounts.add_key(name, [Permission.CLASSIFY], per_minute=2, actor="test").key
        for name in ("first", "second")
    )
    for _ in range(2):
        accounts.key_caller(first)
    with pytest.raises(TooManyRequests, match="2 requests of the key first"):
        accounts.key_caller(first)
    assert accounts.key_caller(second)


@pytest.mark.parametrize(
    "scopes", [[], [Permission.MANAGE], [Permission.CLASSIFY, Permission.REVIEW]]
)
def test_keys_have_only_keys_scopes(accounts: Accounts, scopes: list[Permission]) -> None:
    """No program answers for a person or changes a policy."""
    with pytest.raises(AccountError, match="scopes out of classify, queue, export, metrics"):
        accounts.add_key("upload", scopes, per_minute=9, actor="test")


def test_people_of_the_hub_have_the_highest_role_named(accounts: Accounts) -> None:
    """By their own name or by an organisation's, in whatever case; without either not at all."""
    caller = accounts.session_caller(accounts.sign_in_from_hub("hugo", ["my-org", "other"]))
    assert caller is not None
    assert (caller.name, caller.owner) == ("hugo", "hf:hugo")
    assert caller.may(Permission.REVIEW)
    with pytest.raises(NotSignedIn, match="eve has no role"):
        accounts.sign_in_from_hub("eve", ["other"])


def test_a_hub_role_taken_away_counts_at_once(accounts: Accounts, store: Store) -> None:
    """A session outlives a restart; the role that the settings no longer name does not."""
    token = accounts.sign_in_from_hub("hugo", [])
    assert Accounts(store).session_caller(token) is None


def test_the_audit_tells_who_did_what(accounts: Accounts, store: Store) -> None:
    """Sign-ins, failures and every change of a user or key are rows, in order."""
    token = sign_in(accounts)
    with pytest.raises(NotSignedIn):
        sign_in(accounts, password="wrong")
    accounts.sign_out(token)
    accounts.set_password("ann", "another password", actor="root")
    accounts.add_key("upload", [Permission.EXPORT], per_minute=9, actor="root")
    store.keys.revoke("upload", actor="root")
    told = [(row.actor, row.action, row.subject, row.details) for row in store.audit.entries()]
    assert told == [
        ("test", "user", "ann", {"change": "added", "role": "reviewer"}),
        ("ann", "sign_in", "user:ann", {}),
        ("ann", "sign_in_failed", HERE, {}),
        ("ann", "sign_out", "user:ann", {}),
        ("root", "user", "ann", {"password": True}),
        ("root", "key", "upload", {"change": "added", "scopes": ["export"], "per_minute": 9}),
        ("root", "key", "upload", {"change": "revoked"}),
    ]


@pytest.mark.parametrize("sql", ["delete from audit", "update audit set actor = 'me'"])
def test_the_audit_cannot_be_changed(accounts: Accounts, tmp_path: Path, sql: str) -> None:
    """Not even by somebody with the file."""
    with (
        closing(sqlite3.connect(tmp_path / "review.db")) as db,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        db.execute(sql)
