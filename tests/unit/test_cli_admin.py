"""Commands of the operator: `users`, `keys`, `purge`, `audit`."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nsfw_app.accounts import Accounts
from nsfw_app.cli import main
from nsfw_app.errors import NotSignedIn, NSFWReviewError
from nsfw_app.records import LogFilter, Retain, Upload
from nsfw_app.review.engine import Engine
from nsfw_app.rules.identities import PROXY_ISSUER, Identity
from nsfw_app.rules.permissions import Permission, UserRole
from nsfw_app.store import Store
from nsfw_app.store.deliveries import Delivery
from nsfw_app.store.states import WebhookEvent
from tests.support.fakes import image_bytes
from tests.support.sample_records import answer_to, person

Run = Callable[..., str]
PASSWORD = "a long password"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a command on the test's store; returns standard output, or standard error on failure."""
    monkeypatch.setenv("NSFW_DATA_DIR", str(tmp_path))

    def run(*arguments: str, typed: str = "", code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["nsfw_app", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert (ended.value.code or 0) == code, captured.err
        return captured.out if code == 0 else captured.err

    return run


@pytest.fixture
def accounts(store: Store) -> Accounts:
    """The accounts of a running page, over the same store."""
    return Accounts(store)


def can_sign_in(accounts: Accounts, password: str) -> bool:
    """Whether ann can sign in with this password."""
    try:
        accounts.sign_in("ann", password, address="test")
    except NotSignedIn:
        return False
    return True


def test_a_stopped_webhook_is_listed_and_restarted(run: Run, store: Store) -> None:
    """The list shows since when it is stopped, and the command that restarts it."""
    hook = "https://example.com/hook"
    run("keys", "add", "uploads", "--scope", "queue", "--webhook", hook)
    assert "stopped" not in run("keys", "list")
    gone = Delivery("d", WebhookEvent.SETTLED, "s", "n", "h", None, "", 1, hook, "")
    store.deliveries.gone(gone, status=410)
    assert f"{hook} responded 410 Gone" in run("keys", "list")
    assert "keys restart-webhook uploads" in run("keys", "list")
    run("keys", "restart-webhook", "uploads")
    assert "stopped" not in run("keys", "list")
    assert "no key 'uploads'" in run("keys", "restart-webhook", "uploads", code=1)
    assert [row.details["change"] for row in store.audit.entries()] == [
        "added",
        "webhook gone",
        "webhook restarted",
    ]


def test_a_user_is_added_changed_disabled_and_listed(run: Run, accounts: Accounts) -> None:
    """Each command takes effect on a running page."""
    run("users", "add", "ann", "--role", "reviewer", typed=f"{PASSWORD}\n")
    assert can_sign_in(accounts, PASSWORD)
    run("users", "password", "ann", typed="another password\n")
    assert [can_sign_in(accounts, p) for p in (PASSWORD, "another password")] == [False, True]
    run("users", "role", "ann", "--role", "admin")
    token = accounts.sign_in("ann", "another password", address="test")
    assert "2 sessions" in run("users", "sign-out", "ann")
    assert accounts.session_caller(token) is None
    run("users", "disable", "ann")
    assert not can_sign_in(accounts, "another password")
    assert "admin" in run("users", "list")
    assert "disabled" in run("users", "list")
    run("users", "enable", "ann")
    assert can_sign_in(accounts, "another password")


def test_all_users_are_signed_out(run: Run, accounts: Accounts, store: Store) -> None:
    """Every session ends at once; a name and --all exclude each other, and one is needed."""
    for name in ("ann", "bob"):
        accounts.add_user(name, PASSWORD, UserRole.REVIEWER, actor="test")
    tokens = [accounts.sign_in(name, PASSWORD, address="test") for name in ("ann", "bob")]
    assert "Name a user, or use --all." in run("users", "sign-out", code=2)
    assert "Name a user, or use --all." in run("users", "sign-out", "ann", "--all", code=2)
    assert all(accounts.session_caller(token) for token in tokens)
    assert run("users", "sign-out", "--all") == "2 sessions of all users ended.\n"
    assert [accounts.session_caller(token) for token in tokens] == [None, None]
    last = list(store.audit.entries())[-1]
    assert (last.subject, last.details) == ("all", {"sessions_ended": 2})


def test_an_account_is_handed_over_to_single_sign_on(
    run: Run, accounts: Accounts, store: Store
) -> None:
    """The list says where each user signs in; the password is gone."""
    run("users", "add", "ann", "--role", "reviewer", typed=f"{PASSWORD}\n")
    assert "signs in" not in run("users", "list")
    run("users", "link", "ann")
    assert "enabled; signs in at their next single sign-on" in run("users", "list")
    assert not can_sign_in(accounts, PASSWORD)
    store.identities.sign_in(Identity("https://login.test", "1", "ann"), UserRole.ADMIN)
    store.identities.sign_in(Identity(PROXY_ISSUER, "bob", "bob"), UserRole.VIEWER)
    listed = run("users", "list")
    assert "signs in at https://login.test" in listed
    assert "signs in through a proxy" in listed
    refused = run("users", "password", "ann", typed="another password\n", code=1)
    assert "signs in without a password" in refused
    assert "no user 'eve'" in run("users", "link", "eve", code=1)


def test_a_key_has_an_expiry_and_a_last_use(run: Run, accounts: Accounts, store: Store) -> None:
    """Both are listed; the expiry is audited."""
    key = run("keys", "add", "uploads", "--scope", "queue", "--days", "90").strip()
    run("keys", "add", "forever", "--scope", "queue")
    first, second = run("keys", "list").splitlines()
    assert first.endswith("active; not used yet")
    assert "active until 20" in second
    accounts.key_caller(key)
    accounts.last_use.write()
    assert "last used 20" in run("keys", "list")
    added = [entry.details for entry in store.audit.entries()]
    assert ["expires_at" in details for details in added] == [True, False]
    for days in ("0", "3651", "soon"):
        assert "--days" in run("keys", "add", "x", "--scope", "queue", "--days", days, code=2)


@pytest.mark.parametrize(
    ("arguments", "typed", "message"),
    [
        (("users", "add", "ann", "--role", "viewer"), "short\n", "has 5 characters"),
        (("users", "add", "a b", "--role", "viewer"), f"{PASSWORD}\n", "not a valid name"),
        (("users", "disable", "eve"), "", "no user 'eve'"),
        (("keys", "revoke", "none"), "", "no key 'none'"),
    ],
)
def test_an_account_error_is_one_sentence(
    run: Run, arguments: tuple[str, ...], typed: str, message: str
) -> None:
    """An invalid name or password ends the command with a sentence, exit 1."""
    assert message in run(*arguments, typed=typed, code=1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("users", "add", "ann", "--role", "king"),
        ("users", "add", "ann"),
        ("keys", "add", "upload", "--scope", "manage-all"),
        ("keys", "add", "upload"),
        ("keys", "add", "upload", "--scope", "classify", "--per-minute", "0"),
    ],
)
def test_wrong_usage_is_refused(run: Run, arguments: tuple[str, ...]) -> None:
    """An unknown or missing role or scope is wrong usage, exit 2."""
    run(*arguments, typed=f"{PASSWORD}\n", code=2)


def test_a_key_is_shown_once_and_can_be_revoked(
    run: Run, accounts: Accounts, tmp_path: Path
) -> None:
    """`add` prints the key only; it has its scopes; `list` does not show it."""
    printed = run("keys", "add", "upload", "--scope", "classify", "--scope", "export")
    key = printed.strip()
    assert accounts.key_caller(key).permissions == {Permission.CLASSIFY, Permission.EXPORT}
    listed = run("keys", "list")
    assert "upload" in listed
    assert "600/min" in listed
    assert key not in listed
    run("keys", "revoke", "upload")
    with pytest.raises(NSFWReviewError):
        accounts.key_caller(key)
    assert "revoked" in run("keys", "list")


def test_the_audit_log_has_the_operator(run: Run) -> None:
    """Each change by a command has the account of the operating system."""
    run("users", "add", "ann", "--role", "viewer", typed=f"{PASSWORD}\n")
    run("export", "--all")
    rows = [json.loads(line) for line in run("audit").splitlines()]
    assert [(row["action"], row["subject"]) for row in rows] == [
        ("user", "ann"),
        ("export", "correction log"),
    ]
    assert all(row["actor"].endswith("(command)") for row in rows)
    assert run("audit", "--since", "2999-01-01") == ""


def test_previews_of_one_image_are_purged_on_demand(run: Run, engine: Engine, store: Store) -> None:
    """Preview and placeholder are deleted even if needed; score, decision and audit entry stay."""
    review = engine.review(image_bytes(150), Upload("a.png", "gallery", "ann", retain=Retain.QUEUE))
    engine.decide(answer_to(review), person("ann"))
    sha256 = review.sha256 or ""
    assert sha256 in run("purge", "--image", sha256)
    assert not engine.has_preview(sha256)
    assert engine.preview(sha256).placeholder == b""
    assert engine.queue.waiting("bob") == 0
    assert engine.log.size(LogFilter()) == 1
    (row,) = store.audit.entries()
    assert (row.action, row.subject, row.details["picture"]) == ("purge", sha256, True)
    assert row.actor.endswith("(command)")


def test_purging_an_unknown_image_is_an_error(run: Run) -> None:
    """An unknown image exits 1, an invalid hash 2; without an image, the number is printed."""
    run("purge", "--image", "0" * 64, code=1)
    run("purge", "--image", "../../etc/passwd", code=2)
    assert run("purge") == "0 previews deleted.\n"
