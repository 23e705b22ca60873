"""States of submitted images: the messages to webhooks equal the changes that `GET` returns."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlite_utils import Database

from nsfw_app.errors import AccountError, DecisionRefused
from nsfw_app.records import Label, Upload
from nsfw_app.rules.permissions import Permission
from nsfw_app.rules.queue import Admission, QueueReason
from nsfw_app.store import Store
from nsfw_app.store.keys import Webhook
from nsfw_app.store.migrations import migrations
from tests.support.sample_records import FAKE, SHA256, add_image, answer, person

URL = "https://example.com/hook"
REVIEWERS = "ann", "bob", "cyd"
EVENTS = {
    "waiting": "image.reopened",
    "settled": "image.settled",
    "withdrawn": "image.withdrawn",
}
Message = tuple[str, str | None]

# One step of a history: what happens, who does it, and with which label.
steps = st.lists(
    st.one_of(
        st.tuples(st.just("decide"), st.sampled_from(REVIEWERS), st.sampled_from(Label)),
        st.tuples(st.sampled_from(["undo", "escalate"]), st.sampled_from(REVIEWERS), st.none()),
        st.tuples(st.sampled_from(["purge", "enter"]), st.none(), st.none()),
    ),
    max_size=12,
)


class Submitted:
    """An image in the review queue that a program with a webhook submitted."""

    def __init__(self, store: Store, name: str = "upload", sha256: str = SHA256) -> None:
        self.store = store
        self.name = name
        self.sha256 = sha256
        add_image(store, sha256=sha256)
        stored = store.catalog.find(sha256, FAKE)
        assert stored is not None
        self.prediction_id = stored.prediction_id
        self.enter()
        store.keys.add(
            name,
            f"hash of {name}",
            [Permission.QUEUE],
            per_minute=9,
            webhook=Webhook(URL, "whsec_AAAA"),
            expires_at=None,
            actor="test",
        )
        self.submission_id = self.submit()
        self.made = 0

    def submit(self) -> str:
        """Submit it; the id of the submission."""
        upload = Upload("a.png", "api", f"key:{self.name}", key_name=self.name)
        with self.store._connections.writing() as db:
            return self.store.submissions.add(db, self.prediction_id, upload)

    def enter(self) -> None:
        """Upload it again, which brings it into the queue because of its score."""
        self.store.previews.add(self.sha256, b"jpeg")
        with self.store._connections.writing() as db:
            self.store.queue.enter(db, self.prediction_id, Admission(QueueReason.REVIEW, 1.0))

    def decide(self, reviewer: str, label: Label) -> None:
        """Record a decision."""
        self.made += 1
        made = answer(f"{self.name} {self.made}", label, image_sha256=self.sha256)
        self.store.log.add(made, person(reviewer, owner="ann"))

    def undo(self, reviewer: str) -> None:
        """Take the reviewer's standing decision back, if there is one."""
        standing = self.store.log.standing(
            self.sha256, model="fake", revision="r1", backend="test", reviewer=reviewer
        )
        if standing:
            self.made += 1
            nonce = f"{self.name} {self.made}"
            self.store.log.undo(standing.decision_id, reviewer=reviewer, nonce=nonce)

    def state(self) -> tuple[str, str | None]:
        """State and label as `GET /v1/images/ID` returns them."""
        submission = self.store.submissions.get(self.submission_id)
        return submission.state, submission.label

    def messages(self, submission_id: str = "") -> list[Message]:
        """Type and label of every message that was written, oldest first."""
        with closing(sqlite3.connect(self.store._connections._path)) as db:
            return db.execute(
                "select event, label from deliveries where submission_id = ? order by rowid",
                (submission_id or self.submission_id,),
            ).fetchall()


@pytest.fixture
def submitted(store: Store) -> Submitted:
    """It waits for a reviewer; the model has flagged it."""
    return Submitted(store)


# The store is shared: each history has an image of its own.
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(history=steps)
def test_messages_equal_the_changes_of_the_state(
    store: Store, history: list[tuple[str, str, Label]]
) -> None:
    """After each step of any history there is one message for each change, and no other."""
    number = len(store.keys.all())
    submitted = Submitted(store, f"key {number}", f"{number:064x}")
    expected: list[Message] = []
    state = submitted.state()
    assert state == ("waiting", None)
    for step, reviewer, label in history:
        match step:
            case "decide":
                with suppress(DecisionRefused):  # its preview was purged
                    submitted.decide(reviewer, label)
            case "undo":
                submitted.undo(reviewer)
            case "escalate":
                with suppress(DecisionRefused):
                    store.queue.escalate(submitted.prediction_id, reviewer)
            case "purge":
                store.purges.purge(submitted.sha256, actor="test")
            case "enter":
                submitted.enter()
        earlier, state = state, submitted.state()
        if state != earlier:
            expected.append((EVENTS[state[0]], state[1]))
        assert submitted.messages() == expected, step


def test_a_first_disagreement_reports_nothing(submitted: Submitted) -> None:
    """While a second decision is wanted the image waits, as it did before."""
    submitted.decide("ann", Label.NORMAL)
    assert submitted.state() == ("waiting", None)
    assert submitted.messages() == []
    submitted.decide("bob", Label.NORMAL)
    assert submitted.messages() == [("image.settled", "normal")]


def test_settled_reopened_settled(submitted: Submitted) -> None:
    """An undo that reopens the image is reported, and so is the next settlement."""
    submitted.decide("ann", Label.NSFW)
    submitted.undo("ann")
    submitted.decide("bob", Label.UNSURE)
    assert submitted.messages() == [("image.settled", "nsfw"), ("image.reopened", None)]
    submitted.decide("ann", Label.UNSURE)
    assert submitted.messages()[2:] == [("image.settled", "unsure")]


def test_a_batch_reports_its_outcome_only(submitted: Submitted) -> None:
    """Decisions of one transaction are one change; states in between are not reported."""
    log, ann = submitted.store.log, person("ann")
    log.add_all([answer("1", Label.NORMAL), answer("2", Label.NSFW)], ann)
    assert submitted.messages() == [("image.settled", "nsfw")]
    log.add_all([answer("3", Label.NORMAL), answer("4", Label.NSFW)], ann)
    assert submitted.messages() == [("image.settled", "nsfw")]


def test_a_settled_image_is_reported_to_a_new_submission(submitted: Submitted) -> None:
    """Submitted after it was settled, its state is written at once, for this submission alone."""
    submitted.decide("ann", Label.NSFW)
    later = submitted.submit()
    assert submitted.messages(later) == submitted.messages() == [("image.settled", "nsfw")]


def test_nothing_is_written_for_a_revoked_key(submitted: Submitted) -> None:
    """Messages that wait are dropped, and none are written later."""
    store = submitted.store
    submitted.decide("ann", Label.NSFW)
    store.keys.revoke("upload", actor="test")
    (record,) = store.deliveries.of(submitted.submission_id)
    assert (record.given_up_at is None, record.last_error) == (False, "The key was revoked.")
    submitted.undo("ann")
    submitted.decide("ann", Label.NSFW)
    assert len(submitted.messages()) == 1
    assert submitted.messages(submitted.submit()) == []


def test_stopped_webhooks_get_no_messages(submitted: Submitted) -> None:
    """Neither pending nor later ones; a restart sends those that follow it."""
    store = submitted.store
    submitted.decide("ann", Label.NSFW)
    assert store.deliveries.backlog().pending == 1
    assert store.keys.stop_webhooks(actor="test") == 1
    assert store.keys.stop_webhooks(actor="test") == 0
    submitted.undo("ann")
    assert store.deliveries.backlog().pending == 0
    assert len(submitted.messages()) == 1
    store.keys.restart_webhook("upload", actor="test")
    submitted.decide("ann", Label.NSFW)
    assert len(submitted.messages()) == 2
    last = list(store.audit.entries())[-1]
    assert (last.subject, last.details["change"]) == ("upload", "webhook restarted")


def test_a_webhook_that_is_not_stopped_cannot_be_restarted(submitted: Submitted) -> None:
    """The command reports it instead of doing nothing."""
    with pytest.raises(AccountError, match="no key 'upload' whose webhook is stopped"):
        submitted.store.keys.restart_webhook("upload", actor="test")


@pytest.fixture
def old(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A database from before messages followed the state, with four submissions."""
    path = tmp_path / "old.db"
    with closing(Database(path)) as db:
        migrations.apply(db, stop_before="report_states")
    with closing(sqlite3.connect(path)) as connection:
        yield connection


def test_waiting_messages_are_checked_once_at_the_upgrade(
    old: sqlite3.Connection, tmp_path: Path
) -> None:
    """Those that are true stay; those of a revoked key or of another state are given up."""
    old.executescript(
        """
        insert into images (sha256, format, width, height, size_bytes, frames, placeholder,
          first_seen_at) values ('a', 'PNG', 1, 1, 1, 1, x'', '');
        insert into predictions (id, image_sha256, model, revision, backend, weights_sha256,
          probabilities, nsfw_score, frame, predicted_at) values
          (1, 'a', 'm', 'r', 'b', 'w', '{}', 0.5, 0, ''),
          (2, 'a', 'm', 'r', 'c', 'w', '{}', 0.5, 0, '');
        insert into queue (prediction_id, reason, priority, answers_wanted, entered_at,
          settled_at, settled_label) values (1, 'review', 1, 1, '', 'then', 'nsfw'),
          (2, 'review', 1, 1, '', 'then', 'nsfw'), (2, 'disagreement', 1, 1, '', null, null);
        insert into api_keys (name, key_sha256, scopes, per_minute, created_at, revoked_at,
          webhook_url) values ('used', 'k', '[]', 1, '', null, 'u'),
          ('revoked', 'l', '[]', 1, '', 'then', 'u');
        insert into submissions values ('true', 1, 'o', 'n', 'used', ''),
          ('waits', 2, 'o', 'n', 'used', ''), ('revoked', 1, 'o', 'n', 'revoked', '');
        insert into deliveries (id, submission_id, label, created_at, next_at) values
          ('1', 'true', 'nsfw', '', ''), ('2', 'true', 'normal', '', ''),
          ('3', 'waits', 'nsfw', '', ''), ('4', 'revoked', 'nsfw', '', ''),
          ('5', 'true', null, '', '');
        """
    )
    Store(tmp_path / "old.db", previews_dir=tmp_path / "images", journal_mode="delete")
    rows = old.execute("select id, event, given_up_at is null from deliveries order by id")
    assert rows.fetchall() == [
        ("1", "image.settled", 1),
        ("2", "image.settled", 0),
        ("3", "image.settled", 0),
        ("4", "image.settled", 0),
        ("5", "image.withdrawn", 0),
    ]
