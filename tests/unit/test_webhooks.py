"""Webhook messages: signatures, retries, order, and the recorded result of each delivery."""

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
NO_DELAY = timedelta(0)


@dataclass
class Receiver:
    """A webhook server: its received messages, and its response statuses, the last one repeated."""

    url: str = ""
    statuses: list[int] = field(default_factory=lambda: [204])
    received: list[tuple[dict[str, str], str]] = field(default_factory=list)
    before: Callable[[], object] = lambda: None  # runs before each response
    body_length: int = 0


@contextmanager
def running_receiver() -> Iterator[Receiver]:
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
            if running.body_length:  # the body is announced but never sent
                threading.Event().wait(30)

        def log_message(self, *args: object) -> None:
            """Log nothing."""

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
    """A running receiver that responds with 204."""
    with running_receiver() as running:
        yield running


@dataclass(frozen=True)
class Client:
    """An API client with a key and a webhook."""

    caller: Caller
    secret: str


@pytest.fixture
def client(store: Store, receiver: Receiver) -> Client:
    """The API client that submits images."""
    return client_with(store, receiver.url)


def client_with(store: Store, url: str, name: str = "upload") -> Client:
    """An API client with this webhook URL."""
    accounts = Accounts(store)
    made = accounts.add_key(name, [Permission.QUEUE], per_minute=99, webhook_url=url, actor="test")
    assert made.webhook_secret is not None
    return Client(accounts.key_caller(made.key), made.webhook_secret)


@pytest.fixture
def sender(store: Store) -> WebhookSender:
    """A sender that attempts each message up to three times, without delay."""
    return WebhookSender(store.deliveries, backoff=(NO_DELAY, NO_DELAY))


def submission(name: str, client: Client) -> Upload:
    """Upload settings of an image that the client submits for review."""
    caller = client.caller
    retain = Retain.SUBMISSION
    return Upload(name, "api", caller.owner, retain=retain, key_name=caller.key_name)


def submit(engine: Engine, client: Client, red: int = 150) -> tuple[Review, str]:
    """Submit an image in the review band; return the review and the submission id."""
    review = engine.review(image_bytes(red), submission(f"{red}.png", client))
    assert review.submission_id is not None
    return review, review.submission_id


def test_settling_an_image_sends_a_message(
    engine: Engine, client: Client, receiver: Receiver, sender: WebhookSender
) -> None:
    """The decision that settles an image sends one message, which the receiver can verify."""
    review, submission_id = submit(engine, client)
    assert sender.send_due() == 0
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    assert sender.send_due() == 1
    ((headers, body),) = receiver.received
    message = Webhook(client.secret).verify(body, headers)
    assert message["type"] == "image.settled"
    assert message["data"] == {
        "id": submission_id,
        "name": "150.png",
        "sha256": review.sha256,
        "label": "nsfw",
        "categories": None,
    }
    assert sender.send_due() == 0
    submission, _ = engine.submissions.find(submission_id, client.caller)
    (record,) = engine.submissions.messages(submission)
    assert (record.attempts, record.last_status, record.last_error) == (1, 204, None)
    assert (record.type, record.label) == ("image.settled", "nsfw")
    assert record.delivered_at is not None


def test_another_secret_or_body_fails_verification(
    engine: Engine, client: Client, receiver: Receiver, sender: WebhookSender
) -> None:
    """A changed message, or one signed with another secret, fails verification."""
    review, _ = submit(engine, client)
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    sender.send_due()
    ((headers, body),) = receiver.received
    other = "whsec_" + "A" * 43 + "="
    for secret, text in ((other, body), (client.secret, body.replace("nsfw", "normal"))):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(text, headers)


def test_failed_messages_are_retried(
    engine: Engine, client: Client, receiver: Receiver, sender: WebhookSender
) -> None:
    """After two failures the third attempt is delivered, with the same id."""
    receiver.statuses = [500, 302, 200]
    review, submission_id = submit(engine, client)
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    assert sender.send_due() == 3
    assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1
    submission, _ = engine.submissions.find(submission_id, client.caller)
    (record,) = engine.submissions.messages(submission)
    assert (record.attempts, record.last_status, record.given_up_at) == (3, 200, None)


def test_a_failed_message_waits_for_its_backoff(
    engine: Engine, client: Client, receiver: Receiver, store: Store
) -> None:
    """A failed message is not due before its delay is over."""
    receiver.statuses = [500]
    patient = WebhookSender(store.deliveries, backoff=(timedelta(hours=1),))
    review, _ = submit(engine, client)
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    assert [patient.send_due(), patient.send_due()] == [1, 0]


def test_a_clock_set_back_delays_no_message(
    engine: Engine, client: Client, sender: WebhookSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that was due before the clock was set back by a day is sent now."""
    review, _ = submit(engine, client)
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    yesterday = datetime.now(UTC) - timedelta(days=1, minutes=1)
    monkeypatch.setattr(deliveries, "datetime", Mock(now=lambda _: yesterday))
    assert sender.send_due() == 1


@pytest.mark.parametrize(
    ("url", "error"), [("http://127.0.0.1:1/hook", "ConnectError"), (None, "Status 500")]
)
def test_a_message_is_dropped_after_the_last_attempt(
    engine: Engine,
    store: Store,
    receiver: Receiver,
    sender: WebhookSender,
    url: str | None,
    error: str,
) -> None:
    """After the last attempt nothing more is sent, and the error is recorded."""
    receiver.statuses = [500]
    client = client_with(store, url or receiver.url, "other")
    review, submission_id = submit(engine, client)
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    assert [sender.send_due(), sender.send_due()] == [3, 0]
    submission, _ = engine.submissions.find(submission_id, client.caller)
    (record,) = engine.submissions.messages(submission)
    assert record.given_up_at is not None
    assert record.delivered_at is None
    assert record.last_error is not None
    assert record.last_error.startswith(error)


def test_state_changes_are_sent_in_order(
    engine: Engine, client: Client, receiver: Receiver, sender: WebhookSender
) -> None:
    """Settled, reopened by an undo, settled again: failed attempts do not change the order."""
    receiver.statuses = [500, 500, 204]
    review, submission_id = submit(engine, client)
    first = engine.decide(answer_to(review, "1", Label.NSFW), ANN)
    engine.undo(first.decision_id, reviewer="ann", nonce="undo")
    submission, _ = engine.submissions.find(submission_id, client.caller)
    assert (submission.state, submission.label) == ("waiting", None)
    engine.decide(answer_to(review, "2", Label.NSFW), BOB)
    assert sender.send_due() == 5
    sent = [json.loads(body) for _, body in receiver.received[2:]]
    assert [(message["type"], message["data"]["label"]) for message in sent] == [
        ("image.settled", "nsfw"),
        ("image.reopened", None),
        ("image.settled", "nsfw"),
    ]


def test_a_message_waits_for_earlier_ones_of_its_image(
    engine: Engine, client: Client, receiver: Receiver, store: Store
) -> None:
    """The next message about an image waits while a failed one awaits its retry."""
    receiver.statuses = [500, 204]
    patient = WebhookSender(store.deliveries, backoff=(timedelta(hours=1),))
    review, _ = submit(engine, client)
    first = engine.decide(answer_to(review, "1", Label.NSFW), ANN)
    assert patient.send_due() == 1
    engine.undo(first.decision_id, reviewer="ann", nonce="undo")
    assert patient.send_due() == 0
    other, _ = submit(engine, client, 151)
    engine.decide(answer_to(other, "2", Label.NSFW), ANN)
    assert patient.send_due() == 1


def test_status_410_ends_all_messages_to_a_url(
    engine: Engine, store: Store, client: Client, receiver: Receiver, sender: WebhookSender
) -> None:
    """410 ends pending and later messages of every key with that URL, until it is restarted."""
    same, other = client_with(store, receiver.url, "same"), client_with(store, "http://b", "b")
    receiver.statuses = [410]
    reviews = [
        submit(engine, submitter, red)[0]
        for red, submitter in ((150, client), (151, client), (152, same), (153, other))
    ]
    submission_id = submit(engine, client, 150)[1]
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
    later, _ = submit(engine, client, 154)
    engine.decide(answer_to(later, "later", Label.NSFW), ANN)
    assert sender.send_due() == 0
    receiver.statuses = [204]
    store.keys.restart_webhook("upload", actor="test")
    last, _ = submit(engine, client, 155)
    engine.decide(answer_to(last, "last", Label.NSFW), ANN)
    assert sender.send_due() == 1
    assert json.loads(receiver.received[-1][1])["data"]["sha256"] == last.sha256


def test_revoking_a_key_drops_its_messages(
    engine: Engine, store: Store, client: Client, receiver: Receiver, sender: WebhookSender
) -> None:
    """Pending messages are dropped, also one whose attempt fails during the revocation."""
    receiver.statuses = [500]
    receiver.before = lambda: len(receiver.received) > 1 or store.keys.revoke("upload", actor="t")
    review, submission_id = submit(engine, client)
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    assert sender.send_due() == 1
    assert sender.send_due() == 0
    (record,) = store.deliveries.of(submission_id)
    assert record.given_up_at
    assert len(receiver.received) == 1


def test_the_secret_is_encrypted_on_disk(store: Store, client: Client, tmp_path: Path) -> None:
    """A copy of the database alone does not reveal the secret or the encryption key."""
    secret = client.secret.removeprefix("whsec_")
    key = (tmp_path / "review.db.key").read_bytes()
    held = b"".join(path.read_bytes() for path in tmp_path.glob("review.db*"))
    for hidden in (secret.encode(), base64.b64decode(secret), base64.b64decode(secret).hex()):
        assert (hidden if isinstance(hidden, bytes) else hidden.encode()) not in held
    assert key not in held.replace(key, b"", 1)  # no copy outside the key file


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_the_upgrade_encrypts_plaintext_secrets(tmp_path: Path, mode: str) -> None:
    """The secret stays the same, and its plaintext is in no file of the database."""
    path = tmp_path / "old.db"

    def opened() -> Store:
        return Store(path, previews_dir=tmp_path / "images", journal_mode=mode)

    secret = client_with(opened(), "https://example.com/hook").secret
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


@pytest.mark.parametrize(
    "key",
    [None, b"", b"damaged", Fernet.generate_key()],
    ids=["no key", "an empty key", "a damaged key", "another key"],
)
def test_an_undecryptable_secret_is_a_failed_attempt(
    engine: Engine, client: Client, sender: WebhookSender, tmp_path: Path, key: bytes | None
) -> None:
    """The recorded error names the file to restore, and the message is retried like any other."""
    file = tmp_path / "review.db.key"
    right = file.read_bytes()
    file.unlink() if key is None else file.write_bytes(key)
    review, submission_id = submit(engine, client)
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    assert sender.send_due() == 3
    submission, _ = engine.submissions.find(submission_id, client.caller)
    (record,) = engine.submissions.messages(submission)
    assert "review.db.key" in (record.last_error or "")
    file.write_bytes(right)
    review, _ = submit(engine, client, 151)
    engine.decide(answer_to(review, "again", Label.NSFW), ANN)
    assert sender.send_due() == 1


def test_purging_a_waiting_image_sends_withdrawn(
    engine: Engine, store: Store, client: Client, receiver: Receiver, sender: WebhookSender
) -> None:
    """If the preview is deleted before a decision, the client is notified that none will follow."""
    review, submission_id = submit(engine, client)
    store.purges.purge(review.sha256 or "", actor="test")
    sender.send_due()
    ((_, body),) = receiver.received
    assert json.loads(body)["type"] == "image.withdrawn"
    submission, _ = engine.submissions.find(submission_id, client.caller)
    assert submission.state == "withdrawn"


def test_submitting_a_settled_image_sends_a_message(
    engine: Engine, store: Store, client: Client, receiver: Receiver, sender: WebhookSender
) -> None:
    """A second client that submits a settled image gets its message without another decision."""
    review, _ = submit(engine, client)
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    sender.send_due()
    other = client_with(store, receiver.url, "other")
    _, submission_id = submit(engine, other)
    assert sender.send_due() == 1
    assert json.loads(receiver.received[-1][1])["data"]["id"] == submission_id


def test_submissions_are_idempotent(engine: Engine, client: Client) -> None:
    """A repeated request returns the same submission: no second queue entry, no second message."""
    _, first = submit(engine, client)
    _, again = submit(engine, client)
    assert first == again
    assert engine.queue.waiting("ann") == 1


def test_submissions_are_hidden_from_other_clients(
    engine: Engine, store: Store, client: Client, receiver: Receiver
) -> None:
    """For another client a submission is not found, as an unknown id is."""
    _, submission_id = submit(engine, client)
    other = client_with(store, receiver.url, "other")
    with pytest.raises(NotFound):
        engine.submissions.find(submission_id, other.caller)
    with pytest.raises(NotFound):
        engine.submissions.find("unknown", client.caller)


@pytest.mark.parametrize("red", [10, 250])
def test_scores_outside_the_band_make_no_submission(
    engine: Engine, client: Client, red: int
) -> None:
    """Outside the review band there is no submission id, and no preview is kept."""
    review = engine.review(image_bytes(red), submission("a.png", client))
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
def test_invalid_webhook_urls_are_rejected(store: Store, url: str) -> None:
    """No key is added with a URL to which no message can be sent."""
    with pytest.raises(AccountError, match="is not a webhook URL"):
        client_with(store, url)


def test_a_started_sender_sends_in_the_background(
    engine: Engine, client: Client, receiver: Receiver, sender: WebhookSender
) -> None:
    """A started sender sends a due message within seconds."""
    review, _ = submit(engine, client)
    sender.start()
    try:
        engine.decide(answer_to(review, label=Label.NSFW), ANN)
        until(lambda: bool(receiver.received))
    finally:
        sender.stop()


def test_an_invalid_host_does_not_stop_other_messages(
    engine: Engine, store: Store, receiver: Receiver, sender: WebhookSender, tmp_path: Path
) -> None:
    """An invalid host name is recorded as a failure, and the next message is sent."""
    good, bad = client_with(store, receiver.url, "good"), client_with(store, receiver.url, "bad")
    with closing(sqlite3.connect(tmp_path / "review.db")) as db:
        db.execute("update api_keys set webhook_url = 'http://a..b/hook' where name = 'bad'")
        db.commit()
    submissions = []
    for red, client in enumerate((bad, good), start=150):
        review, submission_id = submit(engine, client, red)
        submissions.append(submission_id)
        engine.decide(answer_to(review, label=Label.NSFW, nonce=f"n{red}"), ANN)
    sender.send_due()
    assert len(receiver.received) == 1
    broken, arrived = (store.deliveries.of(submission) for submission in submissions)
    assert broken[0].last_error
    assert broken[0].given_up_at
    assert arrived[0].delivered_at


def test_a_message_that_cannot_be_built_is_a_failed_attempt(
    engine: Engine, client: Client, sender: WebhookSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempt is counted, its error recorded, and the message dropped after the last one."""
    monkeypatch.setattr(webhooks, "message", Mock(side_effect=TypeError("no JSON")))
    review, submission_id = submit(engine, client)
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    sender.send_due()
    submission, _ = engine.submissions.find(submission_id, client.caller)
    (record,) = engine.submissions.messages(submission)
    assert record.last_error == "TypeError: no JSON"
    assert record.attempts > 1
    assert record.given_up_at


def test_a_slow_receiver_does_not_delay_others(
    engine: Engine, store: Store, receiver: Receiver, sender: WebhookSender
) -> None:
    """While one receiver is slow, others get messages; the slow one gets one message at a time."""
    waiting, released = threading.Event(), threading.Event()
    with running_receiver() as slow:
        slow.before = lambda: (waiting.set(), released.wait(10))
        other, patient = client_with(store, receiver.url, "o"), client_with(store, slow.url, "s")
        for red, client in ((150, patient), (151, patient), (152, other)):
            review, _ = submit(engine, client, red)
            engine.decide(answer_to(review, label=Label.NSFW, nonce=f"n{red}"), ANN)
        sender.start()
        try:
            assert waiting.wait(10)
            until(lambda: bool(receiver.received))
            assert len(slow.received) == 1
            released.set()
            until(lambda: len(slow.received) == 2)
        finally:
            released.set()
            sender.stop()


def test_response_bodies_are_not_read(engine: Engine, store: Store, sender: WebhookSender) -> None:
    """Only the response's status counts; a body that never ends delays no message."""
    with running_receiver() as endless:
        endless.body_length = 10**9
        client = client_with(store, endless.url)
        review, submission = submit(engine, client)
        engine.decide(answer_to(review, label=Label.NSFW), ANN)
        sender.send_due()
    assert store.deliveries.of(submission)[0].delivered_at


def on_disk(path: Path) -> bytes:
    """Bytes of all files of the database."""
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


def until(condition: Callable[[], bool]) -> None:
    """Wait up to 10 s for a condition that another thread fulfills."""
    waited = threading.Event()
    for _ in range(1_000):
        if condition():
            return
        waited.wait(0.01)
    raise AssertionError("The condition did not become true.")
