"""Texts of the policy's form: the effect before and after, and the version that is taken up."""

import pytest

from nsfw_app.errors import PolicyError
from nsfw_app.records import Action, Policy
from nsfw_app.review.engine import Engine
from nsfw_app.store.policy_effects import Move, PolicyEffect
from nsfw_app.ui.model_facts import model_facts
from nsfw_app.ui.policy_form import (
    ENTERING,
    NO_EFFECT,
    moves_text,
    policy_of,
    preview_of,
    proposal_of,
    reverted,
    saved_text,
)
from tests.support.decisions import fill
from tests.unit.test_policy_effects import queue_store, ready
from tests.unit.test_queue_entries import waiting

__all__ = ["queue_store", "ready"]  # fixtures
ALLOWED = Move(Action.REVIEW, Action.ALLOW, 212)
REVIEWED = Move(Action.BLOCK, Action.REVIEW, 1)
SAVED = Policy(0.5, 0.4, 0.6, version=3)


def test_moves_are_said_before_and_after() -> None:
    """Each move has its count; images that move to review do not enter the queue by themselves."""
    moves = "212 images {} from review to allow"
    assert moves_text(PolicyEffect((), 0), "move") == NO_EFFECT
    assert moves_text(PolicyEffect((ALLOWED,), 0), "move") == f"{moves.format('move')}."
    both = PolicyEffect((ALLOWED, REVIEWED), 0)
    assert moves_text(both, "move") == (
        f"{moves.format('move')}, 1 image moves from block to review. {ENTERING}"
    )
    assert moves_text(both, "moved") == (
        f"{moves.format('moved')}, 1 image moved from block to review. {ENTERING}"
    )


def test_what_was_saved_says_what_became_of_waiting_images() -> None:
    """Released without a decision, or waiting still."""
    saved = "Saved as version 3. 212 images moved from review to allow."
    effect = PolicyEffect((ALLOWED,), 417)
    assert saved_text(SAVED, effect, 417) == (
        f"{saved} 417 waiting images were released, without a decision."
    )
    assert saved_text(SAVED, effect, 0) == (
        f"{saved} 417 waiting images fall outside of the band and still wait."
    )
    assert saved_text(SAVED, PolicyEffect((ALLOWED,), 0), 0) == saved


def test_the_form_offers_to_release_waiting_images(ready: Engine) -> None:
    """Only where there are some; numbers that are no policy are explained instead."""
    for score in (0.3, 0.31, 0.5):
        waiting_image(ready, score)
    text, release, now = preview_of(ready, 0.4, 0.5, 0.6)
    assert text == (
        "2 images move from review to allow. 2 waiting images fall outside of the band."
    )
    assert (release["visible"], release["value"]) == (True, False)
    assert release["label"] == "Release 2 images"
    assert now["visible"] is False
    text, release, now = preview_of(ready, 0.2, 0.5, 0.8)
    assert (text, release["visible"], now["visible"]) == (NO_EFFECT, False, False)
    assert preview_of(ready, 0.9, 0.5, 0.8)[0].startswith("A policy needs")
    assert preview_of(ready, None, 0.5, 0.8)[0] == "A policy needs all three numbers."


def waiting_image(engine: Engine, score: float) -> None:
    """An image in the queue with this score."""
    waiting(engine._store, score)


def test_a_saved_policy_can_release_afterwards(ready: Engine) -> None:
    """A button counts the images that wait outside of the band in force."""
    waiting_image(ready, 0.3)
    ready.save_policy(policy_of(0.4, 0.5, 0.6), author="ann", reason="a trial")
    text, release, now = preview_of(ready, 0.4, 0.5, 0.6)
    assert text == f"{NO_EFFECT} 1 waiting image falls outside of the band."
    assert (release["visible"], now["visible"]) == (False, True)
    assert now["value"] == "Release 1 image now"


def test_a_revert_is_known_by_its_numbers(ready: Engine) -> None:
    """The earlier version counts as taken up while the numbers are its own."""
    first = ready.policy
    ready.save_policy(policy_of(0.3, 0.4, 0.5), author="ann", reason="a trial")
    assert reverted(ready, 1, first) == 1
    assert reverted(ready, 1, ready.policy) is None
    assert reverted(ready, None, first) is None
    with pytest.raises(PolicyError, match="no version 9"):
        reverted(ready, 9, first)


def test_every_version_is_listed(ready: Engine) -> None:
    """With its numbers, author, time and reason, the latest first."""
    fill(ready._store, {"ann": "n"})
    ready.save_policy(policy_of(0.3, 0.4, 0.5), author="ann", reason="too many missed")
    sections = {section["title"]: section["rows"] for section in model_facts(ready)}
    (latest, text), (first, settings) = sections["Policy versions"]
    assert (latest, first) == ("Version 2", "Version 1")
    assert text.startswith("Threshold 0.40, review 0.30 to 0.50. ann, 20")
    assert text.endswith("UTC: too many missed")
    assert ". settings: First policy" in settings


def test_a_proposal_is_checked_as_it_comes_from_the_browser() -> None:
    """Three numbers in order, and a reason; anything else is refused."""
    sent = {"review_from": 0.3, "threshold": 0.5, "review_to": 1, "reason": "certified"}
    assert proposal_of(sent) == (Policy(0.5, 0.3, 1), "certified")
    for wrong in ({}, None, {**sent, "threshold": "0.5"}, {**sent, "review_from": 0.9}):
        with pytest.raises(PolicyError):
            proposal_of(wrong)
