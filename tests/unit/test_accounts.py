"""Accounts: passwords, sessions and API keys, their expiry, and rate limits."""

import sqlite3
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from nsfw_app import accounts as accounts_module
from nsfw_app import rate_limits
from nsfw_app.accounts import Accounts
from nsfw_app.errors import AccountError, Forbidden, NotSignedIn, TooManyRequests
from nsfw_app.rules.identities import Identity
from nsfw_app.rules.permissions import Permission, UserRole
from nsfw_app.store import Store, keys

PASSWORD = "correct horse battery"
HERE = "192.0.2.1"


@pytest.fixture
def accounts(store: Store) -> Accounts:
    """Accounts with the reviewer ann."""
    roles = {"Hugo": UserRole.VIEWER, "my-org": UserRole.REVIEWER}
    accounts = Accounts(store, roles_by_group=roles)
    accounts.add_user("ann", PASSWORD, UserRole.REVIEWER, actor="test")
    return accounts


def sign_in(accounts: Accounts, name: str = "ann", password: str = PASSWORD) -> str:
    """The token of a new session."""
    return accounts.sign_in(name, password, address=HERE)


def on_disk(tmp_path: Path) -> bytes:
    """The content of all database files."""
    return b"".join(path.read_bytes() for path in tmp_path.glob("review.db*"))


def test_the_correct_password_signs_in(accounts: Accounts) -> None:
    """Names are not case-sensitive; the caller has the user's role."""
    caller = accounts.session_caller(sign_in(accounts, "ANN"))
    assert caller is not None
    assert (caller.name, caller.owner) == ("ann", "user:ann")
    assert caller.may(Permission.REVIEW)
    assert not caller.may(Permission.MANAGE)


@pytest.mark.parametrize(
    ("name", "password"), [("ann", "wrong"), ("ann", ""), ("eve", PASSWORD), ("ann", "x" * 10_000)]
)
def test_an_incorrect_password_or_name_is_refused(
    accounts: Accounts, name: str, password: str
) -> None:
    """A wrong password and an unknown name have the same message."""
    with pytest.raises(NotSignedIn, match=r"^Incorrect username or password\.$"):
        sign_in(accounts, name, password)


def test_an_unknown_name_takes_as_long_as_a_wrong_password(
    accounts: Accounts, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each failed sign-in verifies one hash; otherwise its duration would reveal existing names."""
    accounts.add_user("bob", PASSWORD, UserRole.VIEWER, actor="test")
    store.users.change_user("bob", disabled=True, actor="test")
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
    """The database has no password, session token or API key in clear text."""
    token = sign_in(accounts)
    key = accounts.add_key("upload", [Permission.CLASSIFY], per_minute=9, actor="test").key
    data = on_disk(tmp_path)
    assert b"$argon2id$" in data
    for secret in (PASSWORD, token, key):
        assert secret.encode() not in data


def test_five_failed_sign_ins_per_minute_are_the_limit(accounts: Accounts) -> None:
    """The sixth sign-in is refused, even if correct. Other names and addresses are not affected."""
    for _ in range(5):
        with pytest.raises(NotSignedIn):
            sign_in(accounts, password="wrong")
    with pytest.raises(TooManyRequests) as refused:
        sign_in(accounts)
    assert 0 < refused.value.retry_after_s <= 60
    assert accounts.sign_in("ann", PASSWORD, address="192.0.2.2")
    with pytest.raises(NotSignedIn):
        sign_in(accounts, "eve", "wrong")


def test_rate_limits_count_an_ipv6_network_as_one_address(accounts: Accounts) -> None:
    """A client with 2**64 addresses has the limit of one."""
    for number in range(5):
        with pytest.raises(NotSignedIn):
            accounts.sign_in("ann", "wrong", address=f"2001:db8:0:1::{number}")
    with pytest.raises(TooManyRequests):
        accounts.sign_in("ann", "wrong", address="2001:db8:0:1:ffff::1")
    with pytest.raises(NotSignedIn):
        accounts.sign_in("ann", "wrong", address="2001:db8:0:2::1")


def test_images_of_all_visitors_are_limited_together(accounts: Accounts) -> None:
    """Visitors with many addresses cannot take all of the model's time."""
    for number in range(120):
        accounts.count_demo(f"198.51.100.{number}")
    with pytest.raises(TooManyRequests, match="by all visitors together") as refused:
        accounts.count_demo("198.51.100.200")
    assert 0 < refused.value.retry_after_s <= 60


def test_rate_limits_do_not_depend_on_the_system_clock(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the clock is set back a day, all limits still end after a minute."""
    elapsed_s = 0.0
    started, yesterday = time.monotonic(), time.time() - 86_400
    clock = SimpleNamespace(monotonic=lambda: started + elapsed_s)
    monkeypatch.setattr(rate_limits, "time", clock)
    key = accounts.add_key("upload", [Permission.CLASSIFY], per_minute=1, actor="test").key
    for _ in range(5):
        with pytest.raises(NotSignedIn):
            sign_in(accounts, password="wrong")
    accounts.key_caller(key)
    for _ in range(accounts_module.DEMO_FROM_ADDRESS.amount):
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


def test_a_sign_in_resets_the_failures(accounts: Accounts) -> None:
    """After four failures and a success, the count starts again."""
    for _ in range(3):
        for _ in range(4):
            with pytest.raises(NotSignedIn):
                sign_in(accounts, password="wrong")
        assert sign_in(accounts)


def test_sign_ins_with_many_names_from_one_address_are_limited(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trying many names from one address is limited as well."""
    monkeypatch.setattr(accounts, "_verify", lambda *_: False)  # 50 hashes would take long
    for number in range(50):
        with pytest.raises(NotSignedIn):
            sign_in(accounts, f"name{number}")
    with pytest.raises(TooManyRequests):
        sign_in(accounts, "another")


def test_what_ends_a_session(
    accounts: Accounts, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signing out, a new password, an admin, expiry, and disabling the user."""
    token = sign_in(accounts)
    accounts.sign_out(token)
    assert accounts.session_caller(token) is None

    token = sign_in(accounts)
    accounts.set_password("ann", "another password", actor="test")
    assert accounts.session_caller(token) is None

    token = sign_in(accounts, password="another password")
    assert store.sessions.end_all("ann", actor="test") == 1
    assert accounts.session_caller(token) is None

    monkeypatch.setattr(accounts_module, "SESSION", timedelta(seconds=-1))
    assert accounts.session_caller(sign_in(accounts, password="another password")) is None
    monkeypatch.undo()

    token = sign_in(accounts, password="another password")
    store.users.change_user("ann", disabled=True, actor="test")
    assert store.users.has_users()  # otherwise the page would need no sign-in
    assert accounts.session_caller(token) is None
    with pytest.raises(NotSignedIn):
        sign_in(accounts, password="another password")
    store.users.change_user("ann", disabled=False, actor="test")
    assert sign_in(accounts, password="another password")


def test_a_session_lasts_twelve_hours() -> None:
    """A shift with its breaks."""
    assert timedelta(hours=12) == accounts_module.SESSION


def test_a_role_change_takes_effect_on_the_next_request(accounts: Accounts, store: Store) -> None:
    """An open session has the new role."""
    token = sign_in(accounts)
    store.users.change_user("ann", role=UserRole.VIEWER, actor="test")
    caller = accounts.session_caller(token)
    assert caller is not None
    with pytest.raises(Forbidden, match="review"):
        caller.require(Permission.REVIEW)


@pytest.mark.parametrize(
    "name", ["", "a b", "../x", "hf:ann", "import:lab", "x" * 65, "<b>", "anonymous", "LOCAL"]
)
def test_invalid_names_are_refused(accounts: Accounts, name: str) -> None:
    """A name has letters, digits and . @ - _, and is not reserved."""
    with pytest.raises(AccountError, match="not a valid name"):
        accounts.add_user(name, PASSWORD, UserRole.VIEWER, actor="test")


def test_names_are_unique_regardless_of_case(accounts: Accounts) -> None:
    """Ann cannot be added if there is ann."""
    with pytest.raises(AccountError, match="already"):
        accounts.add_user("Ann", PASSWORD, UserRole.VIEWER, actor="test")


@pytest.mark.parametrize("password", ["", "seven77", "x" * 1_001])
def test_short_and_very_long_passwords_are_refused(accounts: Accounts, password: str) -> None:
    """Nothing is added or changed."""
    with pytest.raises(AccountError, match="characters"):
        accounts.add_user("bob", password, UserRole.VIEWER, actor="test")
    with pytest.raises(AccountError, match="characters"):
        accounts.set_password("ann", password, actor="test")
    assert sign_in(accounts)


def test_changing_an_unknown_user_or_key_is_an_error(accounts: Accounts, store: Store) -> None:
    """The message has the name."""
    with pytest.raises(AccountError, match="no user 'bob'"):
        store.users.change_user("bob", disabled=True, actor="test")
    with pytest.raises(AccountError, match="no key 'none'"):
        store.keys.revoke("none", actor="test")


def test_a_key_has_its_scopes_only(accounts: Accounts) -> None:
    """Its permissions are its scopes; other keys are refused."""
    new_key = accounts.add_key("upload", [Permission.CLASSIFY], per_minute=9, actor="test")
    caller = accounts.key_caller(new_key.key)
    assert (caller.name, caller.permissions) == ("key upload", frozenset({Permission.CLASSIFY}))
    for other in ("nsfw_unknown", ""):
        with pytest.raises(NotSignedIn):
            accounts.key_caller(other)


def test_a_revoked_key_is_refused(accounts: Accounts, store: Store) -> None:
    """Revoking takes effect on the next request; the name cannot be used again."""
    new_key = accounts.add_key("upload", [Permission.CLASSIFY], per_minute=9, actor="test")
    store.keys.revoke("upload", actor="test")
    with pytest.raises(NotSignedIn, match="revoked"):
        accounts.key_caller(new_key.key)
    with pytest.raises(AccountError, match="used once"):
        accounts.add_key("upload", [Permission.CLASSIFY], per_minute=9, actor="test")


def test_each_key_has_its_own_rate_limit(accounts: Accounts) -> None:
    """A key over its limit does not affect another."""
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
def test_a_key_cannot_have_permissions_of_people(
    accounts: Accounts, scopes: list[Permission]
) -> None:
    """A key cannot record decisions or change the policy."""
    with pytest.raises(AccountError, match="scopes out of classify, queue, export, metrics"):
        accounts.add_key("upload", scopes, per_minute=9, actor="test")


def identity(name: str, *groups: str) -> Identity:
    """A user of Hugging Face, whose own name counts as a group."""
    return Identity("https://huggingface.co", f"id-of-{name}", name, (name, *groups), "hf")


def test_a_hub_user_has_the_highest_role(accounts: Accounts) -> None:
    """Of their own name and their organizations, regardless of case; without a role, refused."""
    token = accounts.sign_in_identity(identity("hugo", "my-org", "other"))
    caller = accounts.session_caller(token)
    assert caller is not None
    assert (caller.name, caller.owner) == ("hugo", "hf:hugo")
    assert caller.may(Permission.REVIEW)
    with pytest.raises(NotSignedIn, match=r"eve has no role.*NSFW_HUB_ROLES"):
        accounts.sign_in_identity(identity("eve", "other"))


def test_a_hub_user_is_not_named_as_imported_labels(store: Store) -> None:
    """Their decisions would be taken for those of a source."""
    accounts = Accounts(store, roles_by_group={"my-org": UserRole.ADMIN})
    with pytest.raises(NotSignedIn, match=r"'Import:lab' is not a valid name.*imported labels"):
        accounts.sign_in_identity(identity("Import:lab", "my-org"))


def test_a_removed_hub_role_takes_effect_after_a_restart(accounts: Accounts, store: Store) -> None:
    """The session survives the restart; the role that the settings no longer name does not."""
    token = accounts.sign_in_identity(identity("hugo"))
    assert Accounts(store).session_caller(token) is None


def test_a_user_without_a_password_has_none(accounts: Accounts, store: Store) -> None:
    """No password opens the account or can be set for it, and no role: the groups decide."""
    accounts.sign_in_identity(identity("hugo"))
    for password in ("", PASSWORD):
        with pytest.raises(NotSignedIn, match="Incorrect"):
            sign_in(accounts, "hugo", password)
    with pytest.raises(AccountError, match="signs in without a password"):
        accounts.set_password("hugo", PASSWORD, actor="test")
    with pytest.raises(AccountError, match="groups of that sign-in decide"):
        store.users.change_user("hugo", role=UserRole.ADMIN, actor="test")


def test_a_freed_account_is_taken_by_name_or_by_password(accounts: Accounts, store: Store) -> None:
    """The next identity of its name takes it, with its role; a new password takes it back."""
    token = sign_in(accounts)
    store.identities.free("ANN", actor="test")
    assert accounts.session_caller(token) is None
    with pytest.raises(NotSignedIn):
        sign_in(accounts)
    assert accounts.sign_in_identity(identity("Ann", "my-org"))
    user = store.users.user("ann")
    assert user is not None
    assert (user.name, user.role, user.issuer) == ("ann", "reviewer", "https://huggingface.co")
    store.identities.free("ann", actor="test")
    accounts.set_password("ann", "another password", actor="test")
    assert sign_in(accounts, password="another password")
    with pytest.raises(NotSignedIn, match="belongs to another account"):
        accounts.sign_in_identity(identity("Ann", "my-org"))
    with pytest.raises(AccountError, match="no user 'eve'"):
        store.identities.free("eve", actor="test")


def test_a_key_expires(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a sentence that says when; its name is still taken."""
    new = accounts.add_key("upload", [Permission.CLASSIFY], per_minute=9, actor="test", days=1)
    assert accounts.key_caller(new.key).name == "key upload"
    (listed,) = accounts.keys()
    assert listed.expires_at is not None
    assert not listed.has_expired
    monkeypatch.setattr(keys, "now", lambda: listed.expires_at)
    with pytest.raises(NotSignedIn, match=f"upload expired at {listed.expires_at}"):
        accounts.key_caller(new.key)
    with pytest.raises(AccountError, match="used once"):
        accounts.add_key("upload", [Permission.CLASSIFY], per_minute=9, actor="test")


def test_the_last_use_is_written_for_all_together(accounts: Accounts, store: Store) -> None:
    """A request does not write; the next write has the latest use of each, and only once."""
    token = sign_in(accounts)
    new = accounts.add_key("upload", [Permission.CLASSIFY], per_minute=9, actor="test")
    assert accounts.session_caller(token)
    assert accounts.key_caller(new.key)
    assert [one.last_seen_at for one in accounts.sessions()] == [None]
    accounts.last_use.write()
    (session,), (key,) = accounts.sessions(), accounts.keys()
    assert session.last_seen_at is not None
    assert key.last_used_at is not None
    accounts.revoke_session(session.id, name="ann", actor="ann")
    assert accounts.session_caller(token) is None
    accounts.last_use.write()  # of a session that has ended
    assert accounts.sessions() == []


def test_the_audit_log_has_sign_ins_and_changes(accounts: Accounts, store: Store) -> None:
    """Each sign-in, failure and change of a user or key is a row, in order."""
    token = sign_in(accounts)
    with pytest.raises(NotSignedIn):
        sign_in(accounts, password="wrong")
    accounts.sign_out(token)
    accounts.set_password("ann", "another password", actor="root")
    accounts.add_key("upload", [Permission.EXPORT], per_minute=9, actor="root")
    store.keys.revoke("upload", actor="root")
    rows = [(row.actor, row.action, row.subject, row.details) for row in store.audit.entries()]
    assert rows == [
        ("test", "user", "ann", {"change": "added", "role": "reviewer"}),
        ("ann", "sign_in", "user:ann", {}),
        ("ann", "sign_in_failed", HERE, {}),
        ("ann", "sign_out", "user:ann", {}),
        ("root", "user", "ann", {"password": True}),
        ("root", "key", "upload", {"change": "added", "scopes": ["export"], "per_minute": 9}),
        ("root", "key", "upload", {"change": "revoked"}),
    ]


@pytest.mark.parametrize("sql", ["delete from audit", "update audit set actor = 'me'"])
def test_the_audit_log_is_append_only(accounts: Accounts, tmp_path: Path, sql: str) -> None:
    """The database itself refuses changes of its rows."""
    with (
        closing(sqlite3.connect(tmp_path / "review.db")) as db,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        db.execute(sql)
