"""Requests for a second opinion: until when they stand, and what is settled until then."""

import time
from dataclasses import replace

import pytest

from nsfw_app.datasets.human_labels import HumanLabels, human_labels
from nsfw_app.datasets.training_rows import Labels, Omission, read_rows
from nsfw_app.records import Label, ModelIdentity
from nsfw_app.rules.queue import Admission, QueueReason
from nsfw_app.store import Store
from nsfw_app.store.connections import now
from tests.support.arrivals import arrive, decide
from tests.support.sample_records import FAKE

NOT_QUEUED = Admission(None, 0.0)
OTHER = replace(FAKE, model="other", weights_sha256="f" * 64)


def request(
    store: Store, sha256: str, *, reviewer: str = "ann", identity: ModelIdentity = FAKE
) -> int:
    """Request a second opinion about a prediction; its id."""
    stored = store.catalog.find(sha256, identity)
    assert stored is not None
    assert store.queue.escalate(stored.prediction_id, reviewer)
    return stored.prediction_id


def settled(store: Store) -> set[str]:
    """The images that `evaluate --decisions` and training sets call settled, which are the same."""
    rows = {row.sha256 for row in read_rows(store, labels=Labels.ALL).rows}
    assert rows == {image.image_sha256 for image in store.settled_labels.all()}
    return rows


@pytest.mark.parametrize(
    "admission", [NOT_QUEUED, Admission(QueueReason.REVIEW, 1.0), Admission(QueueReason.AUDIT, 0.1)]
)
def test_an_image_is_doubted_until_reviewers_settle_it(store: Store, admission: Admission) -> None:
    """Also after the first of two decisions; the settled label answers the request."""
    store.queue.rules = replace(store.queue.rules, reasons=frozenset(QueueReason))
    sha256 = arrive(store, 0.1, admission)
    assert human_labels(store) == HumanLabels()
    request(store, sha256)
    for name in ("bob", "cat"):
        assert human_labels(store) == HumanLabels(doubted=frozenset({sha256}))
        assert settled(store) == set()
        decide(store, sha256, Label.NORMAL, name)
    assert human_labels(store) == HumanLabels({sha256: Label.NORMAL})
    assert settled(store) == {sha256}


def test_a_withdrawn_request_is_no_doubt(store: Store) -> None:
    """While others have requested one, too, it is."""
    sha256 = arrive(store, 0.1, NOT_QUEUED)
    for name in ("ann", "bob"):
        prediction = request(store, sha256, reviewer=name)
    store.queue.withdraw_escalation(prediction, "ann")
    assert human_labels(store).doubted == {sha256}
    store.queue.withdraw_escalation(prediction, "bob")
    assert human_labels(store) == HumanLabels()


def test_a_settled_image_is_not_while_one_is_requested(store: Store) -> None:
    """Withdrawn, the label is again what it was."""
    sha256 = arrive(store, 0.1, NOT_QUEUED)
    decide(store, sha256, Label.NORMAL, "bob")
    assert settled(store) == {sha256}
    prediction = request(store, sha256)
    assert human_labels(store) == HumanLabels(doubted=frozenset({sha256}))
    assert settled(store) == set()
    assert read_rows(store, labels=Labels.ALL).omitted == {Omission.UNSETTLED: 1}
    store.queue.withdraw_escalation(prediction, "ann")
    assert settled(store) == set(human_labels(store).settled) == {sha256}


def test_a_request_about_another_models_prediction(store: Store) -> None:
    """It is about the image: what was settled or corrected for the earlier model does not count."""
    normal, corrected = (arrive(store, score, NOT_QUEUED) for score in (0.1, 0.9))
    for sha256 in (normal, corrected):
        for name in ("bob", "cat"):
            decide(store, sha256, Label.NORMAL, name)
        arrive(store, 0.2, NOT_QUEUED, identity=OTHER, sha256=sha256)
    (wrong,) = store.training.misclassifications(limit=9)
    store.views.add(corrected, "bob")
    store.training.decide(wrong.prediction_id, Label.NORMAL, reviewer="bob", seen=True)
    assert settled(store) == {normal, corrected}
    for sha256 in (normal, corrected):
        request(store, sha256, identity=OTHER)
    assert human_labels(store) == HumanLabels(doubted=frozenset({normal, corrected}))
    assert settled(store) == set()
    assert read_rows(store).omitted == {Omission.UNSETTLED: 1}


@pytest.mark.parametrize("is_stored", [True, False])
def test_an_imported_label_does_not_answer_a_reviewer(store: Store, is_stored: bool) -> None:
    """Neither one from before the request, nor one of an image that was not stored then."""
    labels = {f"{0:064x}": Label.NORMAL}
    if is_stored:
        arrive(store, 0.1, NOT_QUEUED)
    store.label_imports.record(labels, "lab", threshold_of=lambda _: 0.5, actor="ann")
    if not is_stored:
        arrive(store, 0.1, NOT_QUEUED)
    assert human_labels(store) == HumanLabels(labels)
    request(store, f"{0:064x}")
    store.label_imports.record(labels, "vendor", threshold_of=lambda _: 0.5, actor="ann")
    assert human_labels(store) == HumanLabels(doubted=frozenset(labels))
    assert settled(store) == set()


def test_a_deleted_preview_answers_no_request(store: Store) -> None:
    """The entry is withdrawn; a later decision about the image answers, an earlier one does not."""
    sha256 = arrive(store, 0.1, NOT_QUEUED)
    decide(store, sha256, Label.NORMAL, "bob")
    time.sleep(0.002)  # times are in milliseconds
    prediction = request(store, sha256)
    store.previews.remove(sha256)
    assert store.queue.withdraw_unreviewable([prediction]) == 1
    assert store.queue.size() == 0
    assert human_labels(store) == HumanLabels(doubted=frozenset({sha256}))
    arrive(store, 0.1, NOT_QUEUED, sha256=sha256)  # with a preview
    decide(store, sha256, Label.NORMAL, "cat")
    assert human_labels(store) == HumanLabels({sha256: Label.NORMAL})


def test_a_closed_request_is_answered_for_another_model(store: Store) -> None:
    """It cannot be withdrawn by then, nor its prediction be decided on."""
    sha256 = arrive(store, 0.1, NOT_QUEUED)
    prediction = request(store, sha256)
    store.previews.remove(sha256)
    assert store.queue.withdraw_unreviewable([prediction]) == 1
    arrive(store, 0.3, Admission(QueueReason.REVIEW, 1.0), identity=OTHER, sha256=sha256)
    for name in ("bob", "cat"):
        assert human_labels(store) == HumanLabels(doubted=frozenset({sha256}))
        decide(store, sha256, Label.NORMAL, name, identity=OTHER)
        if human_labels(store).settled:
            break
    assert human_labels(store) == HumanLabels({sha256: Label.NORMAL})
    assert settled(store) == {sha256}


@pytest.mark.parametrize("reason", [QueueReason.SECOND_OPINION, QueueReason.AUDIT])
def test_a_request_from_before_requests_were_stored(store: Store, reason: QueueReason) -> None:
    """Known by the reason of its entry, or of an audit by its priority."""
    sha256 = arrive(store, 0.1, NOT_QUEUED)
    stored = store.catalog.find(sha256, FAKE)
    assert stored is not None
    with store.queue._connections.writing() as db:
        db.execute(
            "insert into queue (prediction_id, reason, priority, answers_wanted, entered_at) "
            "values (?, ?, 1, 2, ?)",
            (stored.prediction_id, reason, now()),
        )
    assert human_labels(store).doubted == {sha256}


def test_a_disagreement_is_no_request(store: Store) -> None:
    """It waits for a second decision, without a request."""
    sha256 = arrive(store, 0.9, NOT_QUEUED)
    decide(store, sha256, Label.NORMAL)
    assert store.queue.size() == 1
    assert store.second_opinions.unanswered() == frozenset()
