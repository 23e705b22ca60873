"""Work queue of the page: blind items, why an image waits, undone skips and requests."""

from pathlib import Path

import pytest

from nsfw_app.review.engine import Engine
from nsfw_app.rules.queue import QueueReason, QueueRules
from nsfw_app.store import Store
from tests.support.application import add, answer_to, open_app
from tests.web.test_permissions import prediction_of

HIDDEN = ("nsfw_score", "probabilities", "label", "action")


def test_a_blind_item_has_no_score_until_the_decision(
    engine: Engine, store: Store, tmp_path: Path
) -> None:
    """A second opinion comes without score and verdict; the recorded decision has them."""
    with open_app(engine, store, tmp_path) as app:
        ann, bob = app.signed_in("ann"), app.signed_in("bob")
        card = add(ann, 150)
        (shown,) = bob.post("/desk/queue/claim", json={}).json()["items"]
        assert (shown["queue_reason"], shown["blind"]) == ("review", False)
        assert shown["nsfw_score"] == card["nsfw_score"]
        bob.post("/desk/queue/release", json={"entries": [shown["entry_id"]]})
        ann.post("/desk/queue/second-opinion", json=prediction_of(card))
        assert "second_opinion" in bob.get("/desk/status").json()["blind_reasons"]
        (item,) = bob.post("/desk/queue/claim", json={"reason": "second_opinion"}).json()["items"]
        assert (item["queue_reason"], item["blind"]) == ("second_opinion", True)
        assert [item[name] for name in HIDDEN] == [None] * 4
        assert str(card["nsfw_score"]) not in str(item)
        decided = bob.post("/desk/decisions", json=answer_to(card, label="normal")).json()
        assert decided["nsfw_score"] == card["nsfw_score"]
        assert (decided["model_label"], decided["reviewer_label"]) == ("nsfw", "normal")


@pytest.mark.parametrize("blind", [True, False])
def test_reasons_are_blind_as_configured(
    engine: Engine, store: Store, tmp_path: Path, blind: bool
) -> None:
    """Any reason can be blind, or none."""
    reasons = frozenset({QueueReason.REVIEW}) if blind else frozenset()
    store.queue.rules = QueueRules(store.queue.rules.reasons, blind=frozenset(reasons))
    with open_app(engine, store, tmp_path) as app:
        ann = app.signed_in("ann")
        add(ann, 150)
        (item,) = ann.post("/desk/queue/claim", json={}).json()["items"]
        assert (item["nsfw_score"] is None) is item["blind"] is blind


def test_skips_and_requests_are_undone(engine: Engine, store: Store, tmp_path: Path) -> None:
    """Each is leased again; 409 with a typed error where another reviewer holds the image."""
    with open_app(engine, store, tmp_path) as app:
        ann, bob = app.signed_in("ann"), app.signed_in("bob")
        card = add(ann, 150)
        (item,) = ann.post("/desk/queue/claim", json={}).json()["items"]
        entry = item["entry_id"]
        ann.post(f"/desk/queue/{entry}/skip", json={})
        undone = ann.post(f"/desk/queue/entries/{entry}/unskip", json={})
        assert (undone.status_code, undone.json()) == (200, {"leased": True})
        ann.post("/desk/queue/second-opinion", json=prediction_of(card))
        withdrawn = ann.post("/desk/queue/second-opinion/withdraw", json=prediction_of(card))
        assert withdrawn.json() == {"withdrawn": True, "entry_id": entry}
        assert bob.post("/desk/queue/claim", json={}).json()["items"] == []
        ann.post(f"/desk/queue/{entry}/skip", json={})
        bob.post("/desk/queue/claim", json={})
        refused = ann.post(f"/desk/queue/entries/{entry}/unskip", json={})
        assert (refused.status_code, refused.json()["error"]["kind"]) == (409, "lease")


def test_the_summary_says_what_is_hidden(engine: Engine, store: Store, tmp_path: Path) -> None:
    """How many wait, by reason and since when, and how many others hold or the caller decided."""
    with open_app(engine, store, tmp_path) as app:
        ann, bob, root = app.signed_in("ann"), app.signed_in("bob"), app.signed_in("root")
        for number in range(3):
            add(ann, 150, size=(40, 30 + number))
        (item,) = bob.post("/desk/queue/claim", json={}).json()["items"]
        found = ann.get("/desk/queue/summary").json()
        assert found["oldest_entered_at"] is not None
        assert (found["waiting"], found["by_reason"]) == (2, {"review": 2})
        assert (found["hidden"], found["held"], found["decided"]) == (1, 1, 0)
        (lease,) = root.get("/desk/queue/leases").json()
        assert (lease["entry_id"], lease["reviewer"]) == (item["entry_id"], "bob")
        assert (lease["reason"], "until" in lease) == ("review", True)
        assert lease["name"] == item["name"]
        root.post(f"/desk/queue/leases/{item['entry_id']}/release", json={})
        assert ann.get("/desk/queue/summary").json()["hidden"] == 0
