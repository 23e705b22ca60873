"""Webhooks: signed, sent again until they arrive, and on record."""

import base64
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import Mock

import pytest
from cryptography.fernet import Fernet
from standardwebhooks import Webhook, WebhookVerificationError

from nsfw_app.accounts import Accounts
from nsfw_app.errors import AccountError, NotFound
from nsfw_app.records import Label, Retain, Review, Upload
from nsfw_app.review import webhooks
from nsfw_app.review.engine import Engine
from nsfw_app.review.webhooks import WebhookSender
from nsfw_app.rules.permissions import Caller, Permission
from nsfw_app.store import Store, deliveries
from nsfw_app.store.deliveries import Delivery
from nsfw_app.store.states import WebhookEvent
from tests.support.fakes import image_bytes
from tests.support.sample_records import answer_to, person

ANN, BOB = person("ann"), person("bob")
AT_ONCE = timedelta(0)


@dataclass
class Receiver:
    """Somebody's server: what it was sent, and the statuses it answers with, the last for ever."""

    url: str = ""
    statuses: list[int] = field(default_factory=lambda: [204])
    received: list[tuple[dict[str, str], str]] = field(default_factory=list)
    before: Callable[[], object] = lambda: None  # before it answers
    body_length: int = 0


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver for the length of a `with` block."""
    running = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            running.received.append((dict(self.headers), body))
            running.before()
            statuses = running.statuses
            self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
            self.send_header("content-length", str(running.body_length))
            self.end_headers()
            if running.body_length:  # which never comes
                threading.Event().wait(30)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.url = f"http://127.0.0.1:{server.server_port}/hook"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that takes everything."""
    with receiving() as running:
        yield running


@dataclass(frozen=True)
class Program:
    """A program with a key and a webhook."""

    caller: Caller
    secret: str


@pytest.fixture
def program(store: Store, receiver: Receiver) -> Program:
    """The program that submits."""
    return program_with(store, receiver.url)


def program_with(store: Store, url: str, name: str = "upload") -> Program:
    """A program that is told at this address."""
    accounts = Accounts(store)
    made = accounts.add_key(name, [Permission.QUEUE], per_minute=99, webhook_url=url, actor="test")
    assert made.webhook_secret is not None
    return Program(accounts.key_caller(made.key), made.webhook_secret)


@pytest.fixture
def sender(store: Store) -> WebhookSender:
    """Sends what is due, and again at once when that fails, three times in all."""
    return WebhookSender(store.deliveries, backoff=(AT_ONCE, AT_ONCE))


def submission(name: str, program: Program) -> Upload:
    """An image of this name that the program submits for review."""
    caller = program.caller
    retain = Retain.SUBMISSION
    return Upload(name, "api", caller.owner, retain=retain, key_name=caller.key_name)


def submit(engine: Engine, program: Program, red: int = 150) -> tuple[Review, str]:
    """Submit a picture that falls into the review band."""
    review = engine.review(image_bytes(red), submission(f"{red}.png", program))
    assert review.submission_id is not None
    return review, review.submission_id


def test_a_settled_image_is_told(
    engine: Engine, program: Program, receiver: Receiver, sender: WebhookSender
) -> None:
    """The answer that settles an image sends one message, which the receiver can verify."""
    review, submission_id = submit(engine, program)
    assert sender.send_due() == 0
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    assert sender.send_due() == 1
    ((headers, body),) = receiver.received
    message = Webhook(program.secret).verify(body, headers)
    assert message["type"] == "image.settled"
    assert message["data"] == {
        "id": submission_id,
        "name": "150.png",
        "sha256": review.sha256,
        "label": "nsfw",
    }
    assert sender.send_due() == 0
    submission, _ = engine.submissions.find(submission_id, program.caller)
    (record,) = engine.submissions.messages(submission)
    assert (record.attempts, record.last_status, record.last_error) == (1, 204, None)
    assert (record.type, record.label) == ("image.settled", "nsfw")
    assert record.delivered_at is not None


def test_another_secret_or_body_does_not_verify(
    engine: Engine, program: Program, receiver: Receiver, sender: WebhookSender
) -> None:
    """Whoever changes a message, or does not know the secret, is found out."""
    review, _ = submit(engine, program)
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    sender.send_due()
    ((headers, body),) = receiver.received
    other = "whsec_" + "A" * 43 + "="
    for secret, text in ((other, body), (program.secret, body.replace("nsfw", "normal"))):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(text, headers)


def test_a_message_is_sent_again_until_it_arrives(
    engine: Engine, program: Program, receiver: Receiver, sender: WebhookSender
) -> None:
    """After two failures the third attempt arrives, under the same id."""
    receiver.statuses = [500, 302, 200]
    review, submission_id = submit(engine, program)
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    assert sender.send_due() == 3
    assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1
    submission, _ = engine.submissions.find(submission_id, program.caller)
    (record,) = engine.submissions.messages(submission)
    assert (record.attempts, record.last_status, record.given_up_at) == (3, 200, None)


def test_it_waits_longer_after_each_failure(
    engine: Engine, program: Program, receiver: Receiver, store: Store
) -> None:
    """A message that failed is not due before its time."""
    receiver.statuses = [500]
    patient = WebhookSender(store.deliveries, backoff=(timedelta(hours=1),))
    review, _ = submit(engine, program)
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    assert [patient.send_due(), patient.send_due()] == [1, 0]


def test_a_clock_set_back_delays_no_message(
    engine: Engine, program: Program, sender: WebhookSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that was due before the clock was set back by a day is sent now."""
    review, _ = submit(engine, program)
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    yesterday = datetime.now(UTC) - timedelta(days=1, minutes=1)
    monkeypatch.setattr(deliveries, "datetime", Mock(now=lambda _: yesterday))
    assert sender.send_due() == 1


@pytest.mark.parametrize(
    ("url", "error"), [("http://127.0.0.1:1/hook", "ConnectError"), (None, "Status 500")]
)
def test_in_the_end_it_gives_up_and_says_so(
    engine: Engine,
    store: Store,
    receiver: Receiver,
    sender: WebhookSender,
    url: str | None,
    error: str,
) -> None:
    """After the last attempt nothing more is sent, and what went wrong is on record."""
    receiver.statuses = [500]
    program = program_with(store, url or receiver.url, "other")
    review, submission_id = submit(engine, program)
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    assert [sender.send_due(), sender.send_due()] == [3, 0]
    submission, _ = engine.submissions.find(submission_id, program.caller)
    (record,) = engine.submissions.messages(submission)
    assert record.given_up_at is not None
    assert record.delivered_at is None
    assert record.last_error is not None
    assert record.last_error.startswith(error)


def test_each_change_of_the_state_is_sent_in_its_order(
    engine: Engine, program: Program, receiver: Receiver, sender: WebhookSender
) -> None:
    """Settled, reopened by an undo, settled again; a failure in between changes no order."""
    receiver.statuses = [500, 500, 204]
    review, submission_id = submit(engine, program)
    first = engine.decide(answer_to(review, "1", Label.NSFW), ANN)
    engine.undo(first.decision_id, reviewer="ann", nonce="undo")
    submission, _ = engine.submissions.find(submission_id, program.caller)
    assert (submission.state, submission.label) == ("waiting", None)
    engine.decide(answer_to(review, "2", Label.NSFW), BOB)
    assert sender.send_due() == 5
    sent = [json.loads(body) for _, body in receiver.received[2:]]
    assert [(message["type"], message["data"]["label"]) for message in sent] == [
        ("image.settled", "nsfw"),
        ("image.reopened", None),
        ("image.settled", "nsfw"),
    ]


def test_a_later_message_waits_for_an_earlier_one(
    engine: Engine, program: Program, receiver: Receiver, store: Store
) -> None:
    """One that is due later, because it failed, is not overtaken by the next about the image."""
    receiver.statuses = [500, 204]
    patient = WebhookSender(store.deliveries, backoff=(timedelta(hours=1),))
    review, _ = submit(engine, program)
    first = engine.decide(answer_to(review, "1", Label.NSFW), ANN)
    assert patient.send_due() == 1
    engine.undo(first.decision_id, reviewer="ann", nonce="undo")
    assert patient.send_due() == 0
    other, _ = submit(engine, program, 151)
    engine.decide(answer_to(other, "2", Label.NSFW), ANN)
    assert patient.send_due() == 1


def test_an_address_that_is_gone_gets_nothing_more(
    engine: Engine, store: Store, program: Program, receiver: Receiver, sender: WebhookSender
) -> None:
    """410 ends the messages of every key with that address, those that wait and later ones."""
    same, other = program_with(store, receiver.url, "same"), program_with(store, "http://b", "b")
    receiver.statuses = [410]
    reviews = [
        submit(engine, submitter, red)[0]
        for red, submitter in ((150, program), (151, program), (152, same), (153, other))
    ]
    submission_id = submit(engine, program, 150)[1]
    for review in reviews[:3]:
        engine.decide(answer_to(review, review.name, Label.NSFW), ANN)
    assert sender.send_due() == 1
    (record,) = store.deliveries.of(submission_id)
    assert (record.last_status, record.last_error) == (
        410,
        "The webhook responded with status 410.",
    )
    keys = {key.name: key.webhook_gone_at for key in store.keys.all()}
    assert keys["upload"]
    assert keys["same"]
    assert keys["b"] is None
    later, _ = submit(engine, program, 154)
    engine.decide(answer_to(later, "later", Label.NSFW), ANN)
    assert sender.send_due() == 0
    receiver.statuses = [204]
    store.keys.restart_webhook("upload", actor="test")
    last, _ = submit(engine, program, 155)
    engine.decide(answer_to(last, "last", Label.NSFW), ANN)
    assert sender.send_due() == 1
    assert json.loads(receiver.received[-1][1])["data"]["sha256"] == last.sha256


def test_a_revoked_key_gets_nothing_more(
    engine: Engine, store: Store, program: Program, receiver: Receiver, sender: WebhookSender
) -> None:
    """What waits is dropped, also while it is being sent and fails."""
    receiver.statuses = [500]
    receiver.before = lambda: len(receiver.received) > 1 or store.keys.revoke("upload", actor="t")
    review, submission_id = submit(engine, program)
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    assert sender.send_due() == 1
    assert sender.send_due() == 0
    (record,) = store.deliveries.of(submission_id)
    assert record.given_up_at
    assert len(receiver.received) == 1


def test_the_secret_is_encrypted_on_disk(store: Store, program: Program, tmp_path: Path) -> None:
    """The database does not hold it in any form that a copy alone reveals."""
    secret = program.secret.removeprefix("whsec_")
    key = (tmp_path / "review.db.key").read_bytes()
    held = b"".join(path.read_bytes() for path in tmp_path.glob("review.db*"))
    for hidden in (secret.encode(), base64.b64decode(secret), base64.b64decode(secret).hex()):
        assert (hidden if isinstance(hidden, bytes) else hidden.encode()) not in held
    assert key not in held.replace(key, b"", 1)  # only in its own file


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_secrets_in_clear_are_encrypted_at_the_upgrade(tmp_path: Path, mode: str) -> None:
    """The secret stays the same, and the old bytes are nowhere in the database's files."""
    path = tmp_path / "old.db"

    def opened() -> Store:
        return Store(path, previews_dir=tmp_path / "images", journal_mode=mode)

    secret = program_with(opened(), "https://example.com/hook").secret
    with closing(sqlite3.connect(path)) as db:
        db.execute("update api_keys set webhook_secret = ?", (secret,))
        db.commit()
    assert secret.encode() in on_disk(path)
    store = opened()
    assert secret.encode() not in on_disk(path)
    with closing(sqlite3.connect(path)) as db:
        (kept,) = db.execute("select webhook_secret from api_keys").fetchone()
    delivery = Delivery("d", WebhookEvent.SETTLED, "s", "n", "h", None, "", 1, "u", kept)
    assert store.deliveries.signing_secret(delivery) == secret


@pytest.mark.parametrize("key", [None, b"", b"damaged", Fernet.generate_key()])
def test_a_secret_that_cannot_be_decrypted_is_a_failed_message(
    engine: Engine, program: Program, sender: WebhookSender, tmp_path: Path, key: bytes | None
) -> None:
    """It says which file to restore, and is tried again like any other failure."""
    file = tmp_path / "review.db.key"
    right = file.read_bytes()
    file.unlink() if key is None else file.write_bytes(key)
    review, submission_id = submit(engine, program)
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    assert sender.send_due() == 3
    submission, _ = engine.submissions.find(submission_id, program.caller)
    (record,) = engine.submissions.messages(submission)
    assert "review.db.key" in (record.last_error or "")
    file.write_bytes(right)
    review, _ = submit(engine, program, 151)
    engine.decide(answer_to(review, "again", Label.NSFW), ANN)
    assert sender.send_due() == 1


def test_a_purged_image_is_told_as_withdrawn(
    engine: Engine, store: Store, program: Program, receiver: Receiver, sender: WebhookSender
) -> None:
    """When its picture is deleted before anyone answered, the program learns that nobody will."""
    review, submission_id = submit(engine, program)
    store.purges.purge(review.sha256 or "", actor="test")
    sender.send_due()
    ((_, body),) = receiver.received
    assert json.loads(body)["type"] == "image.withdrawn"
    submission, _ = engine.submissions.find(submission_id, program.caller)
    assert submission.state == "withdrawn"


def test_what_is_settled_already_is_told_at_once(
    engine: Engine, store: Store, program: Program, receiver: Receiver, sender: WebhookSender
) -> None:
    """A second program that submits an image people have answered need not wait."""
    review, _ = submit(engine, program)
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    sender.send_due()
    other = program_with(store, receiver.url, "other")
    _, submission_id = submit(engine, other)
    assert sender.send_due() == 1
    assert json.loads(receiver.received[-1][1])["data"]["id"] == submission_id


def test_submitting_again_is_the_same_submission(engine: Engine, program: Program) -> None:
    """A request that a client repeats makes no second entry and no second message."""
    _, first = submit(engine, program)
    _, again = submit(engine, program)
    assert first == again
    assert engine.queue.waiting("ann") == 1


def test_only_the_submitter_and_admins_may_ask(
    engine: Engine, store: Store, program: Program, receiver: Receiver
) -> None:
    """To another program a submission does not exist."""
    _, submission_id = submit(engine, program)
    other = program_with(store, receiver.url, "other")
    with pytest.raises(NotFound):
        engine.submissions.find(submission_id, other.caller)
    with pytest.raises(NotFound):
        engine.submissions.find("unknown", program.caller)


@pytest.mark.parametrize("red", [10, 250])
def test_what_the_model_is_sure_of_waits_for_nobody(
    engine: Engine, program: Program, red: int
) -> None:
    """Outside the band there is no id, and no picture is kept."""
    review = engine.review(image_bytes(red), submission("a.png", program))
    assert review.submission_id is None
    assert not engine.has_preview(review.sha256 or "")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com",
        "example.com/hook",
        "javascript:alert(1)",
        "http://a..b/hook",
        f"http://{'a' * 64}.example.com/hook",
        "http://[::1/hook",
    ],
)
def test_an_invalid_webhook_url_is_refused(store: Store, url: str) -> None:
    """A key is not added with a URL to which no message can be sent."""
    with pytest.raises(AccountError, match="is not a webhook URL"):
        program_with(store, url)


def test_a_started_sender_sends_by_itself(
    engine: Engine, program: Program, receiver: Receiver, sender: WebhookSender
) -> None:
    """In a running server a message leaves within seconds."""
    review, _ = submit(engine, program)
    sender.start()
    try:
        engine.decide(answer_to(review, label=Label.NSFW), ANN)
        until(lambda: bool(receiver.received))
    finally:
        sender.stop()


def test_one_address_that_cannot_be_used_stops_no_other(
    engine: Engine, store: Store, receiver: Receiver, sender: WebhookSender, tmp_path: Path
) -> None:
    """A host's name that no name can be is recorded as a failure, and the next message leaves."""
    good, bad = program_with(store, receiver.url, "good"), program_with(store, receiver.url, "bad")
    with closing(sqlite3.connect(tmp_path / "review.db")) as db:
        db.execute("update api_keys set webhook_url = 'http://a..b/hook' where name = 'bad'")
        db.commit()
    submissions = []
    for red, program in enumerate((bad, good), start=150):
        review, submission_id = submit(engine, program, red)
        submissions.append(submission_id)
        engine.decide(answer_to(review, label=Label.NSFW, nonce=f"n{red}"), ANN)
    sender.send_due()
    assert len(receiver.received) == 1
    broken, arrived = (store.deliveries.of(submission) for submission in submissions)
    assert broken[0].last_error
    assert broken[0].given_up_at
    assert arrived[0].delivered_at


def test_a_message_that_cannot_be_built_is_a_failure(
    engine: Engine, program: Program, sender: WebhookSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted, on record, and given up in the end like any other."""
    monkeypatch.setattr(webhooks, "message", Mock(side_effect=TypeError("no JSON")))
    review, submission_id = submit(engine, program)
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    sender.send_due()
    submission, _ = engine.submissions.find(submission_id, program.caller)
    (record,) = engine.submissions.messages(submission)
    assert record.last_error == "TypeError: no JSON"
    assert record.attempts > 1
    assert record.given_up_at


def test_a_slow_receiver_keeps_no_other_waiting(
    engine: Engine, store: Store, receiver: Receiver, sender: WebhookSender
) -> None:
    """While one is being waited for, messages to others leave; to it they go one by one."""
    waiting, let_go = threading.Event(), threading.Event()
    with receiving() as slow:
        slow.before = lambda: (waiting.set(), let_go.wait(10))
        other, patient = program_with(store, receiver.url, "o"), program_with(store, slow.url, "s")
        for red, program in ((150, patient), (151, patient), (152, other)):
            review, _ = submit(engine, program, red)
            engine.decide(answer_to(review, label=Label.NSFW, nonce=f"n{red}"), ANN)
        sender.start()
        try:
            assert waiting.wait(10)
            until(lambda: bool(receiver.received))
            assert len(slow.received) == 1
            let_go.set()
            until(lambda: len(slow.received) == 2)
        finally:
            let_go.set()
            sender.stop()


def test_what_a_receiver_says_is_not_read(
    engine: Engine, store: Store, sender: WebhookSender
) -> None:
    """Its status counts; a body without end keeps nobody."""
    with receiving() as endless:
        endless.body_length = 10**9
        program = program_with(store, endless.url)
        review, submission = submit(engine, program)
        engine.decide(answer_to(review, label=Label.NSFW), ANN)
        sender.send_due()
    assert store.deliveries.of(submission)[0].delivered_at


def on_disk(path: Path) -> bytes:
    """Everything that the database's files hold."""
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread brings about."""
    waited = threading.Event()
    for _ in range(1_000):
        if condition():
            return
        waited.wait(0.01)
    raise AssertionError("it never came")
