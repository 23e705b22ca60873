"""Queue entries and leases: their order, and how decisions settle them."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nsfw_app.decision import NewDecision
from nsfw_app.records import (
    ImageInfo,
    JudgedImage,
    Label,
    LogFilter,
    Prediction,
    Preview,
    Retain,
    Upload,
    utc,
)
from nsfw_app.rules.audit_plan import AuditPlan
from nsfw_app.rules.queue import QueueOrder, QueueReason, QueueRules
from nsfw_app.store import Store
from nsfw_app.store import connections as clock
from nsfw_app.store import leases as leases_module
from nsfw_app.store import queue_entries as queue_module
from nsfw_app.store.standing_decisions import LabelCount
from tests.support.decisions import count_outcomes
from tests.support.sample_records import FAKE, admitted, person

ALL = QueueRules(frozenset(QueueReason), AuditPlan(0.5))
CLAIMERS = 8
ENTRIES = 2000
CLAIM = """
import sys
import time
from pathlib import Path
from nsfw_app.store import Store
folder, reviewer = Path(sys.argv[1]), sys.argv[2]
store = Store(folder / "review.db", previews_dir=folder / "images", journal_mode="wal")
held = []
print("ready", flush=True)
input()
while claims := store.leases.claim(reviewer, count=3, holding=held):
    held += [claim.entry_id for claim in claims]
    print(*(claim.entry_id for claim in claims), sep="\\n")
    time.sleep(0.005)  # reviewers pause between images, too
"""


@pytest.fixture
def queue_store(tmp_path: Path) -> Store:
    """A store in which every rule is on."""
    return Store(
        tmp_path / "review.db", previews_dir=tmp_path / "images", journal_mode="wal", rules=ALL
    )


def waiting(store: Store, score: float, reason: QueueReason = QueueReason.REVIEW) -> int:
    """Add an entry for a new image with this score; return the id of its prediction."""
    number = store.log._connections.row("select count(*) as n from images")["n"]
    sha256 = f"{number:064x}"
    info = ImageInfo(sha256, "PNG", 4, 3, 99, 1)
    prediction = Prediction(sha256, FAKE, {"normal": 1 - score, "nsfw": score}, score)
    upload = Upload(f"{number}.png", "test", "local", retain=Retain.QUEUE)
    image = JudgedImage(info, prediction, Preview(b"webp"))
    arrival = admitted(reason, 0.5 if reason is QueueReason.AUDIT else 1.0)
    return store.catalog.record(image, upload, jpeg=b"jpeg", arrival=arrival).prediction_id


def decide(store: Store, prediction_id: int, reviewer: str, label: Label) -> int:
    """Record a decision; return its id."""
    sha256 = store.catalog.get(prediction_id).prediction.image_sha256
    nonce = f"{prediction_id}-{reviewer}-{label}-{datetime.now(UTC).timestamp()}"
    decision = NewDecision(nonce, sha256, label, 0.5, FAKE.model, FAKE.revision, FAKE.backend)
    return store.log.add(decision, person(reviewer, owner="local")).decision_id


def confirm(store: Store, prediction_id: int, label: Label | None, reviewer: str) -> None:
    """Record a training label after a look at the image."""
    store.views.add(store.catalog.get(prediction_id).info.sha256, reviewer)
    store.training.decide(prediction_id, label, reviewer=reviewer, seen=True)


def offered(store: Store, reviewer: str, **options: object) -> list[int]:
    """The predictions that a reviewer can claim, in order; the leases are released."""
    claims = store.leases.claim(reviewer, count=100, **options)
    store.leases.release([claim.entry_id for claim in claims], reviewer)
    return [claim.prediction_id for claim in claims]


def later(monkeypatch: pytest.MonkeyPatch, passed: timedelta) -> None:
    """Move the clock of the store."""
    moment = utc((datetime.now(UTC) + passed).isoformat())
    for module in (clock, queue_module, leases_module):
        monkeypatch.setattr(module, "now", lambda: moment)


def test_eight_processes_never_lease_the_same_image(queue_store: Store, tmp_path: Path) -> None:
    """Eight processes that claim two thousand entries at once get each entry once."""
    with queue_store.queue._connections.writing() as db:
        for number in range(ENTRIES):
            sha256 = f"{number:064x}"
            db.execute(
                "insert into images (sha256, format, width, height, size_bytes, frames, "
                "placeholder, first_seen_at) values (?, 'PNG', 4, 3, 99, 1, x'', '2026')",
                (sha256,),
            )
            db.execute(
                "insert into predictions (id, image_sha256, model, revision, backend, "
                "weights_sha256, probabilities, nsfw_score, frame, predicted_at) "
                "values (?, ?, 'fake', 'r1', 'test', 'f', '{}', ?, 0, '')",
                (number + 1, sha256, number / ENTRIES),
            )
            db.execute(
                "insert into queue (prediction_id, reason, priority, answers_wanted, entered_at) "
                "values (?, 'review', 3, 1, '2026')",
                (number + 1,),
            )
    claimers = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM, str(tmp_path), f"reviewer {number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for number in range(CLAIMERS)
    ]
    for claimer in claimers:
        assert claimer.stdout is not None
        assert claimer.stdout.readline() == "ready\n"
    for claimer in claimers:  # all at once, or the first would be done before the last has started
        assert claimer.stdin is not None
        claimer.stdin.write("\n")
        claimer.stdin.flush()
    claimed = [claimer.communicate(timeout=120)[0].split() for claimer in claimers]
    assert all(claimer.returncode == 0 for claimer in claimers)
    times = Counter(entry for entries in claimed for entry in entries)
    assert len(times) == ENTRIES
    assert set(times.values()) == {1}
    assert sum(1 for entries in claimed if entries) > 1


def test_order_is_reason_then_nearness_then_age(queue_store: Store) -> None:
    """Entries come by priority, then by distance from the threshold; or the oldest first."""
    far = waiting(queue_store, 0.9)
    near = waiting(queue_store, 0.52)
    asked = waiting(queue_store, 0.99, QueueReason.SECOND_OPINION)
    audit = waiting(queue_store, 0.5, QueueReason.AUDIT)
    assert offered(queue_store, "ann", threshold=0.5) == [asked, near, far, audit]
    assert offered(queue_store, "ann", threshold=0.9) == [asked, far, near, audit]
    assert offered(queue_store, "ann", order=QueueOrder.OLDEST) == [far, near, asked, audit]


def test_a_lease_excludes_others_until_it_expires(
    queue_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leased entry is available to no other reviewer for ten minutes, and then to all."""
    prediction = waiting(queue_store, 0.6)
    (claim,) = queue_store.leases.claim("ann", count=1)
    assert offered(queue_store, "bob") == []
    later(monkeypatch, timedelta(minutes=9))
    assert offered(queue_store, "bob") == []
    assert queue_store.leases.renew([claim.entry_id], "ann") == [claim.entry_id]
    later(monkeypatch, timedelta(minutes=18))
    assert offered(queue_store, "bob") == []
    later(monkeypatch, timedelta(minutes=20))
    assert queue_store.leases.renew([claim.entry_id], "ann") == []
    assert offered(queue_store, "bob") == [prediction]


def test_a_clock_set_back_ends_leases(queue_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease from before ends instead of lasting a day; one that has just started does not."""
    prediction = waiting(queue_store, 0.6)
    queue_store.leases.claim("ann", count=1)
    later(monkeypatch, timedelta(minutes=-1))
    assert (offered(queue_store, "bob"), queue_store.leases.waiting("bob")) == ([], 0)
    later(monkeypatch, timedelta(days=-1))
    assert queue_store.leases.waiting("bob") == 1
    assert offered(queue_store, "bob") == [prediction]


def test_released_and_skipped_entries_are_available_again(queue_store: Store) -> None:
    """A released entry is available at once; a skipped one comes last for who skipped it."""
    first, second = waiting(queue_store, 0.5), waiting(queue_store, 0.6)
    (claim,) = queue_store.leases.claim("ann", count=1)
    queue_store.leases.release([claim.entry_id], "ann")
    assert offered(queue_store, "bob") == [first, second]
    queue_store.leases.skip(claim.entry_id, "ann")
    assert offered(queue_store, "ann") == [second, first]
    assert offered(queue_store, "bob") == [first, second]


def test_leases_of_others_stay(queue_store: Store) -> None:
    """Release and renewal affect only the leases of the caller."""
    waiting(queue_store, 0.5)
    (claim,) = queue_store.leases.claim("ann", count=1)
    queue_store.leases.release([claim.entry_id], "bob")
    assert queue_store.leases.renew([claim.entry_id], "bob") == []
    assert offered(queue_store, "bob") == []


def test_a_decision_settles_an_entry_that_needs_one(queue_store: Store) -> None:
    """An agreement settles the image; its undo reopens the entry."""
    prediction = waiting(queue_store, 0.6)
    decision = decide(queue_store, prediction, "ann", Label.NSFW)
    assert offered(queue_store, "bob") == []
    queue_store.log.undo(decision, reviewer="ann", nonce="undo")
    assert offered(queue_store, "bob") == [prediction]
    assert offered(queue_store, "ann") == [prediction]


def test_a_disagreement_waits_for_a_second_person(queue_store: Store) -> None:
    """It is available to all but its author, and settled when a second reviewer agrees."""
    prediction = waiting(queue_store, 0.6)
    decide(queue_store, prediction, "ann", Label.NORMAL)
    assert offered(queue_store, "ann") == []
    assert offered(queue_store, "bob") == [prediction]
    decide(queue_store, prediction, "bob", Label.NORMAL)
    assert offered(queue_store, "cat") == []
    (misclassification,) = queue_store.training.misclassifications(limit=9)
    assert (misclassification.label, misclassification.answers, misclassification.error) == (
        Label.NORMAL,
        2,
        0.6,
    )


def test_two_that_differ_are_adjudicated_by_a_third(queue_store: Store) -> None:
    """Adjudication has the highest priority, excludes the two, and its decision counts."""
    prediction = waiting(queue_store, 0.9)
    other = waiting(queue_store, 0.5)
    decide(queue_store, prediction, "ann", Label.NORMAL)
    decide(queue_store, prediction, "bob", Label.NSFW)
    assert offered(queue_store, "ann") == offered(queue_store, "bob") == [other]
    assert offered(queue_store, "cat") == [prediction, other]
    decide(queue_store, prediction, "cat", Label.NORMAL)
    assert offered(queue_store, "dan") == [other]
    assert [m.label for m in queue_store.training.misclassifications(limit=9)] == [Label.NORMAL]


def test_unsure_opens_no_entry_and_settles_none(queue_store: Store) -> None:
    """An unsure decision is no disagreement: another reviewer gets the image that waits."""
    prediction, blocked = waiting(queue_store, 0.6), waiting(queue_store, 0.9)
    with queue_store.queue._connections.writing() as db:
        db.execute("delete from queue where prediction_id = ?", (blocked,))
    decide(queue_store, blocked, "ann", Label.UNSURE)
    decide(queue_store, prediction, "ann", Label.UNSURE)
    assert (offered(queue_store, "ann"), offered(queue_store, "bob")) == ([], [prediction])
    decision = decide(queue_store, prediction, "bob", Label.NSFW)
    row = queue_store.log.get(decision)
    assert (row.agrees, row.settled_label) == (True, "nsfw")
    assert offered(queue_store, "cat") == []
    assert queue_store.log.size(LogFilter(agrees=False)) == 0


def test_decisions_that_differ_without_an_entry_are_adjudicated(queue_store: Store) -> None:
    """An agreement and a disagreement about an image without an entry open one."""
    prediction = waiting(queue_store, 0.9)
    with queue_store.queue._connections.writing() as db:
        db.execute("delete from queue")
    decide(queue_store, prediction, "ann", Label.NSFW)
    assert offered(queue_store, "cat") == []
    decide(queue_store, prediction, "bob", Label.NORMAL)
    assert offered(queue_store, "cat") == [prediction]
    assert offered(queue_store, "ann") == offered(queue_store, "bob") == []
    decide(queue_store, prediction, "cat", Label.NSFW)
    assert offered(queue_store, "dan") == []


def test_an_undone_disagreement_waits_no_more(queue_store: Store) -> None:
    """Its undo restores the entry before it; an agreement in its place settles that."""
    prediction = waiting(queue_store, 0.6)
    decision = decide(queue_store, prediction, "ann", Label.NORMAL)
    queue_store.log.undo(decision, reviewer="ann", nonce="undo")
    assert offered(queue_store, "ann") == [prediction]
    decide(queue_store, prediction, "ann", Label.NORMAL)
    decide(queue_store, prediction, "ann", Label.NSFW)
    assert offered(queue_store, "bob") == []


def test_a_second_opinion_is_asked_of_others_first(queue_store: Store) -> None:
    """The requester gets the image last; two decisions that agree settle it."""
    prediction, other = waiting(queue_store, 0.5), waiting(queue_store, 0.6)
    assert queue_store.queue.escalate(prediction, "ann")
    assert offered(queue_store, "ann") == [other, prediction]
    assert offered(queue_store, "bob") == [prediction, other]
    decide(queue_store, prediction, "bob", Label.NSFW)
    assert offered(queue_store, "cat") == [prediction, other]
    decide(queue_store, prediction, "ann", Label.NSFW)
    assert offered(queue_store, "cat") == [other]


def test_a_reason_that_is_not_in_use_adds_no_entries(tmp_path: Path) -> None:
    """Without its rule an image gets no entry, and a second opinion is refused."""
    rules = QueueRules(frozenset({QueueReason.REVIEW}))
    store = Store(
        tmp_path / "review.db", previews_dir=tmp_path / "images", journal_mode="wal", rules=rules
    )
    waiting(store, 0.5, QueueReason.AUDIT)
    assert offered(store, "ann") == []
    prediction = waiting(store, 0.5)
    assert not store.queue.escalate(prediction, "ann")
    decide(store, prediction, "ann", Label.NORMAL)
    assert offered(store, "bob") == []


def test_an_image_enters_once(queue_store: Store) -> None:
    """A settled image does not enter again."""
    prediction = waiting(queue_store, 0.6)
    decide(queue_store, prediction, "ann", Label.NSFW)
    queue_store.catalog.record(
        queue_store.catalog.get(prediction), arrival=admitted(QueueReason.REVIEW)
    )
    assert offered(queue_store, "bob") == []


def test_training_labels_are_confirmed_or_set_aside(queue_store: Store) -> None:
    """Misclassifications come with the largest error first; the latest label of each counts."""
    ids = []
    for score in (0.6, 0.95, 0.7):
        prediction = waiting(queue_store, score)
        decide(queue_store, prediction, "ann", Label.NORMAL)
        decide(queue_store, prediction, "bob", Label.NORMAL)
        ids.append(prediction)
    assert [m.prediction_id for m in queue_store.training.misclassifications(limit=9)] == [
        ids[1],
        ids[2],
        ids[0],
    ]
    confirm(queue_store, ids[1], Label.NORMAL, "ann")
    confirm(queue_store, ids[2], Label.NORMAL, "ann")
    confirm(queue_store, ids[2], None, "ann")
    said = {m.prediction_id: m.confirmed for m in queue_store.training.misclassifications(limit=9)}
    assert said == {ids[1]: "normal", ids[2]: "", ids[0]: None}
    assert queue_store.training.size() == 3


def test_a_training_label_that_is_sent_again_is_one_row(queue_store: Store) -> None:
    """What is stored already is not stored twice; after another label, or by another, it is."""
    prediction = waiting(queue_store, 0.9)
    for who in ("ann", "bob"):
        decide(queue_store, prediction, who, Label.NORMAL)
    made = [("ann", Label.NORMAL)] * 2 + [("bob", Label.NORMAL), ("bob", None), ("bob", None)]
    for who, label in [*made, ("bob", Label.NORMAL)]:
        confirm(queue_store, prediction, label, who)
    rows = queue_store.log._connections.db.execute(
        "select decided_by, label from training_labels order by id"
    )
    stored = [("ann", "normal"), ("bob", "normal"), ("bob", None), ("bob", "normal")]
    assert [tuple(row) for row in rows] == stored


def test_a_training_label_is_withdrawn(queue_store: Store) -> None:
    """The image has no training label again, as before the first one, and can get another."""
    prediction = waiting(queue_store, 0.9)
    for who in ("ann", "bob"):
        decide(queue_store, prediction, who, Label.NORMAL)
    training = queue_store.training
    for _ in range(2):
        training.decide(prediction, None, reviewer="ann")
        assert [m.confirmed for m in training.misclassifications(limit=9)] == [""]
        training.withdraw(prediction, reviewer="ann")
        assert [m.confirmed for m in training.misclassifications(limit=9)] == [None]
    assert queue_store.consistency.check() == []


def test_the_log_hides_decisions_from_a_second_reviewer(queue_store: Store) -> None:
    """Before their own decision, a second reviewer finds no decision of others in the log."""
    prediction = waiting(queue_store, 0.6)
    decide(queue_store, prediction, "ann", Label.NORMAL)

    def seen(reviewer: str) -> list[str]:
        return [row.reviewer for row in queue_store.log.rows(LogFilter(blind_to=reviewer))]

    assert (seen("ann"), seen("bob")) == (["ann"], [])
    assert queue_store.log.size(LogFilter(blind_to="bob")) == 0
    decide(queue_store, prediction, "bob", Label.NSFW)
    assert (seen("bob"), seen("cat")) == (["bob", "ann"], [])
    decide(queue_store, prediction, "cat", Label.NSFW)
    assert seen("dan") == ["cat", "bob", "ann"]


def test_insights_leave_out_decisions_for_a_second_reviewer(queue_store: Store) -> None:
    """Counts change for a second reviewer only after their own decision."""
    prediction = waiting(queue_store, 0.6)
    decide(queue_store, prediction, "ann", Label.NORMAL)
    decisions = queue_store.standing_decisions
    for viewer, seen in (("ann", 1), ("bob", 0)):
        assert count_outcomes(queue_store, viewer=viewer).total() == seen
        assert len(decisions.reviewer_stats(viewer=viewer)) == seen
    decide(queue_store, prediction, "bob", Label.NORMAL)
    assert count_outcomes(queue_store, viewer="cat").total() == 1
    assert decisions.shared_counts(viewer="cat")[1] == [LabelCount(2, 0, 0, 1)]


def test_decisions_of_others_do_not_end_a_lease(queue_store: Store) -> None:
    """A decision, a request for a second opinion, an undo: the lease of another stays."""
    prediction = waiting(queue_store, 0.6)
    (claim,) = queue_store.leases.claim("bob", count=1)
    queue_store.queue.escalate(prediction, "ann")
    assert offered(queue_store, "cat") == []
    decision = decide(queue_store, prediction, "ann", Label.NSFW)
    assert offered(queue_store, "cat") == []
    queue_store.log.undo(decision, reviewer="ann", nonce="undo")
    assert offered(queue_store, "cat") == []
    assert queue_store.leases.renew([claim.entry_id], "bob") == [claim.entry_id]


def test_an_audit_stays_an_audit_after_escalation(queue_store: Store) -> None:
    """Its reason is kept, so that rates measured from audits still count it."""
    prediction = waiting(queue_store, 0.1, QueueReason.AUDIT)
    queue_store.queue.escalate(prediction, "ann")
    row = queue_store.queue._connections.row("select reason, answers_wanted from queue")
    assert tuple(row) == ("audit", 2)


@pytest.mark.parametrize(
    ("reason", "probability"),
    [
        (QueueReason.REVIEW, 1.0),
        (QueueReason.AUDIT, 0.5),
        (QueueReason.SECOND_OPINION, None),
        (QueueReason.DISAGREEMENT, None),
    ],
)
def test_a_decision_has_the_probability_of_its_entry(
    queue_store: Store, reason: QueueReason, probability: float | None
) -> None:
    """That is the probability of the rule which admitted the image; none where people did."""
    prediction = waiting(queue_store, 0.6, reason)
    (claim,) = queue_store.leases.claim("ann", count=1)
    sha256 = queue_store.catalog.get(prediction).info.sha256
    made = NewDecision("n", sha256, Label.NSFW, 0.5, FAKE.model, FAKE.revision, FAKE.backend)
    caller = person("ann", owner="local")
    queue_store.views.add(sha256, "ann")
    row = queue_store.log.add(replace(made, entry_id=claim.entry_id, seen=True), caller)
    assert (row.queue_reason, row.draw_probability) == (reason, probability)
    elsewhere = queue_store.log.add(replace(made, nonce="m"), caller)
    assert (elsewhere.queue_reason, elsewhere.draw_probability) == (None, None)


def test_confirmed_labels_are_all_exported(queue_store: Store) -> None:
    """Confirmed labels come after the others in the list, and all are exported."""
    for score in (0.9, 0.8, 0.7):
        prediction = waiting(queue_store, score)
        for who in ("ann", "bob"):
            decide(queue_store, prediction, who, Label.NORMAL)
        if score == 0.9:
            confirm(queue_store, prediction, Label.NORMAL, "ann")
    assert [m.nsfw_score for m in queue_store.training.misclassifications(limit=2)] == [0.8, 0.7]
    assert [m.nsfw_score for m in queue_store.training.confirmed()] == [0.9]
