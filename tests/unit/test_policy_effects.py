"""Effects of a policy: images that move, and waiting images that it releases."""

from dataclasses import replace

import pytest

from nsfw_app.errors import PolicyError
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.records import (
    Action,
    ImageInfo,
    JudgedImage,
    Label,
    LogFilter,
    Policy,
    Prediction,
    Retain,
    Upload,
)
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.policy import judge
from nsfw_app.rules.queue import QueueReason
from nsfw_app.store import Store
from nsfw_app.store.policy_effects import Move
from tests.support.fakes import LIMITS, FakeClassifier
from tests.support.sample_records import FAKE, OTHER, admitted
from tests.unit.test_queue_entries import decide, offered, queue_store, waiting

__all__ = ["queue_store"]  # a fixture
NARROW = Policy(0.5, 0.45, 0.55)


@pytest.fixture
def ready(queue_store: Store) -> Engine:
    """An engine over the queue's store; its policy's band is 0.2 to 0.8."""
    loader = ModelLoader("fake", lambda: Loaded(FakeClassifier()))
    loader.wait()
    policies = PolicyBook(queue_store.policies)
    return Engine(store=queue_store, loader=loader, limits=LIMITS, policies=policies)


def incomplete(store: Store, score: float) -> int:
    """Add a waiting image with missing pixels."""
    sha256 = "f" * 64
    info = ImageInfo(sha256, "PNG", 4, 3, 99, 1, incomplete=True)
    prediction = Prediction(sha256, FAKE, {"normal": 1 - score, "nsfw": score}, score)
    upload = Upload("cut.png", "test", "local", retain=Retain.QUEUE)
    image = JudgedImage(info, prediction)
    reason = QueueReason.REVIEW
    return store.catalog.record(image, upload, jpeg=b"jpeg", arrival=admitted(reason)).prediction_id


def test_images_are_counted_by_their_actions(queue_store: Store, ready: Engine) -> None:
    """Every score moves as `judge` says, that of an image with missing pixels too."""
    scores = [0.0, 0.19, 0.2, 0.3, 0.449, 0.45, 0.5, 0.549, 0.55, 0.7, 0.8, 1.0]
    for score in scores:
        waiting(queue_store, score)
    incomplete(queue_store, 0.3)
    other = Prediction("0" * 64, OTHER, {"nsfw": 0.3}, 0.3)
    queue_store.catalog.record(JudgedImage(ImageInfo("0" * 64, "PNG", 4, 3, 99, 1), other))
    judged = [(score, False) for score in scores] + [(0.3, True)]
    expected: dict[tuple[Action, Action], int] = {}
    for score, missing in judged:
        before = judge(score, ready.policy, incomplete=missing).action
        after = judge(score, NARROW, incomplete=missing).action
        if before != after:
            expected[before, after] = expected.get((before, after), 0) + 1
    effect = ready.policy_effect(NARROW)
    assert {(move.before, move.after): move.images for move in effect.moves} == expected
    assert effect.moves[0] == Move(Action.REVIEW, Action.ALLOW, 3)
    assert ready.policy_effect(ready.policy).moves == ()


def test_releasing_makes_no_decision(queue_store: Store, ready: Engine) -> None:
    """Only undecided review entries outside of the band are withdrawn; they can enter again."""
    inside, below, above = (waiting(queue_store, score) for score in (0.5, 0.3, 0.7))
    cut = incomplete(queue_store, 0.3)
    escalated, differs = waiting(queue_store, 0.31), waiting(queue_store, 0.71)
    audit = waiting(queue_store, 0.1, QueueReason.AUDIT)
    queue_store.queue.escalate(escalated, "ann")
    decide(queue_store, differs, "ann", Label.NORMAL)
    assert ready.policy_effect(NARROW).outside == 2
    policy = replace(NARROW, version=5)
    assert ready.withdraw_outside_band(policy, actor="root") == 2
    assert set(offered(queue_store, "bob")) == {inside, cut, escalated, differs, audit}
    assert queue_store.log.size(LogFilter()) == 1
    assert ready.policy_effect(NARROW).outside == 0
    released = [e for e in queue_store.audit.entries() if e.action == "release"]
    assert [(e.actor, e.details) for e in released] == [
        ("root", {"policy_version": 5, "entries": 2})
    ]
    queue_store.catalog.record(queue_store.catalog.get(below), arrival=admitted(QueueReason.REVIEW))
    assert below in offered(queue_store, "bob")
    assert above not in offered(queue_store, "bob")
    assert queue_store.consistency.check() == []


def test_a_policy_needs_a_reason(ready: Engine) -> None:
    """Without one nothing is saved; every version keeps its own, with author and time."""
    for reason in ("", "  "):
        with pytest.raises(PolicyError, match="why"):
            ready.save_policy(NARROW, author="ann", reason=reason)
    assert [v.policy.version for v in ready.policies.versions("fake")] == [1]
    ready.save_policy(NARROW, author="ann", reason="too many")
    first = ready.policies.versions("fake")[-1].policy
    ready.save_policy(first, author="bob", reason="too few", reverts_to=first.version)
    versions = ready.policies.versions("fake")
    assert [(v.policy.version, v.policy.author, v.policy.reason) for v in versions[:2]] == [
        (3, "bob", "too few"), (2, "ann", "too many"),
    ]  # fmt: skip
    assert [bool(version.created_at) for version in versions] == [True, True, False]
    assert ready.policy.review_from == first.review_from
    details = [e.details for e in ready.audit.entries() if e.action == "policy"]
    assert details == [{"version": 2}, {"version": 3, "reverts_to": 1}]
