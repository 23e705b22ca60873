"""Decisions on the page: seen, refused, restricted; recent ones and galleries after a reload."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.decisions import DecisionRules
from nsfw_app.store import Store
from tests.support.application import WebApp, answer_to, open_app
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes

RULES = DecisionRules(require_reason=True)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store where a disagreement needs a reason."""
    folder = tmp_path_factory.mktemp("decisions")
    return Store(
        folder / "review.db",
        previews_dir=folder / "images",
        journal_mode="wal",
        decision_rules=RULES,
    )


@pytest.fixture(scope="module")
def web_app(rows: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    """The application with users and that store."""
    loader = ModelLoader("fake", lambda: Loaded(FakeClassifier()))
    loader.wait()
    engine = Engine(store=rows, loader=loader, limits=LIMITS, policies=PolicyBook(rows.policies))
    with open_app(engine, rows, tmp_path_factory.mktemp("data"), require_reason=True) as opened:
        yield opened


@pytest.fixture
def ann(web_app: WebApp) -> TestClient:
    """A reviewer."""
    return web_app.signed_in("ann")


def upload(client: TestClient, red: int, width: int, batch_id: str = "") -> dict[str, Any]:
    """Classify a plain image in the Gallery; returns its card."""
    response = client.post(
        "/desk/images",
        params={"name": f"{red}-{width}.png", "source": "gallery", "batch_id": batch_id},
        content=image_bytes(red, size=(width, 30)),
    )
    card: dict[str, Any] = response.json()
    return card


def decide(client: TestClient, card: dict[str, Any], **changes: object) -> Any:
    """The response to a decision about a card."""
    changes = {"nonce": uuid4().hex, **changes}
    return client.post("/desk/decisions", json=answer_to(card, **changes))


def marked(client: TestClient, card: dict[str, Any]) -> set[bool]:
    """How the log marks the rows about an image: whether the caller can lift its restriction."""
    found = client.get(f"/desk/log?sha256={card['sha256']}").json()["rows"]
    return {row["restricted"] for row in found}


def error(response: Any) -> tuple[int, str, list[str]]:
    """Status, kind and images of a refusal."""
    body = response.json()["error"]
    return response.status_code, body["kind"], body.get("images", [])


def test_seen_needs_a_preview_that_was_sent(ann: TestClient, web_app: WebApp) -> None:
    """The page's word does not count before the server sent that reviewer the pixels."""
    card, bob = upload(ann, 150, 41), web_app.signed_in("bob")
    preview = f"/desk/images/{card['sha256']}/picture"
    assert bob.get(preview).status_code == 200
    assert ann.head(preview).status_code == 200
    unseen = decide(ann, card, seen=True, seen_ms=900, tab="gallery")
    assert unseen.json()["seen"] is False
    assert error(decide(ann, card, seen=True, tab="queue")) == (409, "not_seen", [card["sha256"]])
    assert ann.get(f"/desk/images/{card['sha256']}/thumbnail").status_code == 200
    assert error(decide(ann, card, seen=False, tab="queue"))[1] == "not_seen"
    assert not card["seen"]
    assert upload(ann, 150, 41)["seen"]  # as the page shows it after a reload
    assert decide(ann, card, seen=True, tab="queue").json()["seen"] is True
    seen = decide(ann, card, seen=True, seen_ms=900, elapsed_ms=1200, tab="queue")
    assert {k: seen.json()[k] for k in ("seen", "seen_ms", "elapsed_ms")} == {
        "seen": True,
        "seen_ms": 900,
        "elapsed_ms": 1200,
    }


def test_a_rendered_preview_counts_as_sent(ann: TestClient) -> None:
    """A preview rendered from the same bytes is one of the same image."""
    card = upload(ann, 251, 42)
    assert error(decide(ann, card, seen=True, tab="queue"))[1] == "not_seen"
    data = image_bytes(251, size=(42, 30))
    assert ann.post("/desk/pictures?name=a.png", content=data).status_code == 200
    assert decide(ann, card, seen=True, tab="queue").json()["seen"] is True


def test_a_disagreement_needs_a_reason_where_that_is_set(ann: TestClient) -> None:
    """Agreement and unsure need none."""
    card = upload(ann, 251, 43)
    refused = decide(ann, card, label="normal")
    assert error(refused) == (409, "reason_required", [card["sha256"]])
    assert decide(ann, card, label="normal", reasons=["art"]).status_code == 200
    for label in ("unsure", "nsfw"):
        response = decide(ann, card, label=label)
        assert response.status_code == 200
        assert response.json()["agrees"] == (None if label == "unsure" else True)


def test_a_batch_is_refused_as_a_whole(ann: TestClient) -> None:
    """The refusal names the images that break the rule, and nothing is recorded."""
    cards = [upload(ann, red, 44) for red in (251, 20, 252)]
    answers = [
        answer_to(card, label="normal", nonce=f"batch-{card['sha256']}"[:60]) for card in cards
    ]
    refused = ann.post("/desk/batches", json={"answers": answers})
    assert error(refused) == (409, "reason_required", [cards[0]["sha256"], cards[2]["sha256"]])
    assert upload(ann, 20, 44)["decision"] is None


def test_a_decision_stores_its_policy_and_entry(ann: TestClient, web_app: WebApp) -> None:
    """The version on the screen, reason and probability of the entry, whose rules apply."""
    card, bob = upload(ann, 150, 45), web_app.signed_in("bob")
    item = next(
        each
        for each in bob.post("/desk/queue/claim", json={"count": 10}).json()["items"]
        if each["sha256"] == card["sha256"]
    )
    about = {"entry_id": item["entry_id"], "policy_version": 77, "seen": True}
    for tab in ("gallery", None):
        assert error(decide(bob, card, tab=tab, **about))[1] == "not_seen"
    assert bob.get(f"/desk/images/{card['sha256']}/picture").status_code == 200
    made = decide(bob, card, **about).json()
    columns = ("queue_reason", "draw_probability", "policy_version", "settled_label")
    assert [made[column] for column in columns] == ["review", 1.0, 1, "nsfw"]
    chosen = decide(ann, card, policy_version=1).json()
    assert [chosen[column] for column in columns] == [None, None, 1, "nsfw"]


def test_a_card_says_that_it_was_escalated(ann: TestClient, web_app: WebApp) -> None:
    """To the reviewer who requested a second opinion, until that is withdrawn."""
    card = upload(ann, 251, 52)
    keys = ("model", "revision", "backend")
    body = {"image_sha256": card["sha256"], **{key: card[key] for key in keys}}
    assert not card["escalated"]
    assert ann.post("/desk/queue/second-opinion", json=body).json() == {"asked": True}
    assert upload(ann, 251, 52)["escalated"]
    assert not upload(web_app.signed_in("bob"), 251, 52)["escalated"]
    assert ann.post("/desk/queue/second-opinion/withdraw", json=body).status_code == 200
    assert not upload(ann, 251, 52)["escalated"]


def test_recent_decisions_survive_a_reload(ann: TestClient, web_app: WebApp) -> None:
    """The caller's own, newest first, with placeholder and decision."""
    cards = [upload(ann, 251, 46), upload(ann, 252, 46)]
    for card in cards:
        assert decide(ann, card).status_code == 200
    recent = ann.get("/desk/recent?limit=2").json()["images"]
    assert [card["sha256"] for card in recent] == [cards[1]["sha256"], cards[0]["sha256"]]
    assert recent[0]["placeholder"] == cards[1]["placeholder"]
    assert recent[0]["kept"]
    assert recent[0]["decision"]["reviewer_label"] == "nsfw"
    assert web_app.signed_in("root").get("/desk/recent").json() == {"images": []}


def test_galleries_survive_a_reload(ann: TestClient, web_app: WebApp, rows: Store) -> None:
    """Batches are listed and reopened by their owner; what retention deleted is counted."""
    for red in (10, 11, 12):
        upload(ann, red, 47, "first")
    gone = upload(ann, 13, 47, "first")
    upload(ann, 10, 47, "first")
    upload(ann, 10, 48, "second")
    rows.purges.purge(gone["sha256"], actor="test")
    second, first = ann.get("/desk/gallery/batches").json()[:2]
    assert (second["batch_id"], second["images"], second["kept"]) == ("second", 1, 1)
    assert [first[key] for key in ("batch_id", "name", "images", "kept")] == [
        "first",
        "10-47.png",
        4,
        3,
    ]
    assert first["first_at"] <= first["last_at"] <= second["first_at"]
    opened = ann.get("/desk/gallery/batches/first").json()
    assert [card["name"] for card in opened["cards"]] == ["10-47.png", "11-47.png", "12-47.png"]
    assert all(card["placeholder"] for card in opened["cards"])
    assert (opened["left_out"], "1 image" in opened["why"]) == (1, True)
    bob = web_app.signed_in("bob")
    assert bob.get("/desk/gallery/batches").json() == []
    assert bob.get("/desk/gallery/batches/first").status_code == 404


def test_an_image_with_a_minor_is_seen_by_admins_only(ann: TestClient, web_app: WebApp) -> None:
    """No pixels, no card, no queue entry, no label of it for others, until an admin lifts that."""
    card = upload(ann, 150, 49, "third")
    body = answer_to(card, label="nsfw", reasons=["minor_present"], nonce="minor")
    assert ann.post("/desk/decisions", json=body).status_code == 200
    assert ann.post("/desk/decisions", json=body).status_code == 200, "sent again, recorded once"
    data = image_bytes(150, size=(49, 30))
    bob, root = web_app.signed_in("bob"), web_app.signed_in("root")
    for person in (ann, bob):
        for kind in ("picture", "thumbnail"):
            assert person.get(f"/desk/images/{card['sha256']}/{kind}").status_code == 404
        assert decide(person, card, nonce=uuid4().hex).status_code == 404
        assert error(person.post("/desk/pictures?name=a.png", content=data))[1] == "restricted"
        again = upload(person, 150, 49)
        assert (again["action"], again["error"]["kind"]) == ("unavailable", "restricted")
        assert "placeholder" not in again
        items = person.post("/desk/queue/claim", json={"count": 10}).json()["items"]
        assert card["sha256"] not in [item["sha256"] for item in items]
    recent = ann.get("/desk/recent").json()["images"][0]
    assert (recent["sha256"], recent["restricted"]) == (card["sha256"], True)
    assert (recent["placeholder"], recent["kept"]) == (None, False)
    opened = ann.get("/desk/gallery/batches/third").json()
    assert (opened["cards"], opened["left_out"]) == ([], 1)
    assert "Administrators" in opened["why"]
    assert root.get(f"/desk/images/{card['sha256']}/picture").status_code == 200
    assert upload(root, 150, 49)["restricted"] is False
    lift = f"/desk/images/{card['sha256']}/unrestrict"
    assert ann.post(lift).status_code == 403
    assert marked(root, card) == {True}
    assert marked(ann, card) == {False}, "the control is for administrators only"
    assert root.post(lift).status_code == 200
    assert marked(root, card) == {False}
    assert ann.get(f"/desk/images/{card['sha256']}/picture").status_code == 200


def test_a_training_label_needs_a_look(ann: TestClient, web_app: WebApp) -> None:
    """Relabel lists reasons and notes of reviewers; a label may be corrected, once seen."""
    card, bob = upload(ann, 251, 50), web_app.signed_in("bob")
    for person, note in ((ann, "a statue"), (bob, "")):
        made = decide(person, card, label="normal", reasons=["art"], note=note, nonce=uuid4().hex)
        assert made.status_code == 200
    (row,) = (
        row
        for group in ann.get("/desk/training").json()["groups"]
        for row in group
        if row["sha256"] == card["sha256"]
    )
    assert (row["reasons"], row["notes"], row["name"]) == (["art"], ["a statue"], "251-50.png")
    assert (row["width"], row["height"], row["model"], row["backend"]) == (50, 30, "fake", "test")
    path = f"/desk/training/{row['prediction_id']}"
    refused = ann.post(path, json={"label": "nsfw", "seen": True})
    assert error(refused) == (409, "not_seen", [card["sha256"]])
    assert ann.post(path, json={"label": None}).status_code == 200
    assert ann.post(path, json={"label": "unsure"}).status_code == 422
    ann.get(f"/desk/images/{card['sha256']}/thumbnail")
    for label in ("normal", "nsfw"):
        body = {"label": label, "seen": True, "seen_ms": 400}
        assert ann.post(path, json=body).status_code == 200
    assert '"label": "nsfw"' in ann.get("/desk/training/labels.jsonl").text


def test_an_image_without_preview_cannot_be_decided(ann: TestClient, rows: Store) -> None:
    """Neither alone nor in a batch, nor for a second opinion; nothing of the batch is recorded."""
    gone, kept = upload(ann, 251, 51), upload(ann, 252, 51)
    ann.get(f"/desk/images/{gone['sha256']}/picture")
    rows.purges.purge(gone["sha256"], actor="test")
    assert error(decide(ann, gone, seen=True)) == (409, "no_preview", [gone["sha256"]])
    answers = [answer_to(card, nonce=f"51 {card['name']}") for card in (kept, gone)]
    refused = ann.post("/desk/batches", json={"answers": answers})
    assert error(refused) == (409, "no_preview", [gone["sha256"]])
    assert upload(ann, 252, 51)["decision"] is None
    keys = ("model", "revision", "backend")
    body = {"image_sha256": gone["sha256"], **{key: gone[key] for key in keys}}
    refused = ann.post("/desk/queue/second-opinion", json=body)
    assert error(refused) == (409, "no_preview", [gone["sha256"]])
    upload(ann, 251, 51)
    assert error(decide(ann, gone, seen=True, tab="queue"))[1] == "not_seen", "sent before it went"
    assert decide(ann, gone).status_code == 200


def test_the_status_has_the_rules(ann: TestClient) -> None:
    """The page knows which tabs need a look, and whether a disagreement needs a reason."""
    status = ann.get("/desk/status").json()
    assert (status["require_seen"], status["require_reason"]) == (["queue", "relabel"], True)
    assert status["escalation_text"] == ""


def test_decisions_name_categories(ann: TestClient) -> None:
    """They are in the answer, the log, its filter and exports; wrong ones are refused."""
    card = upload(ann, 240, 52)
    named = ["gore_or_violence", "nudity", "nudity"]
    made = decide(ann, card, label="nsfw", categories=named).json()
    assert made["categories"] == ["nudity", "gore_or_violence"]
    assert decide(ann, upload(ann, 241, 53), label="nsfw").json()["categories"] is None
    refused = decide(ann, card, label="nsfw", categories=["blood"])
    assert (refused.status_code, refused.json()["error"]["kind"]) == (422, "request")
    assert "categories" in refused.json()["error"]["message"]
    normal = decide(ann, card, label="normal", categories=["nudity"], reasons=["art"])
    assert "labeled normal has no category nudity" in normal.json()["error"]["message"]
    (row,) = ann.get("/desk/log?category=nudity").json()["rows"]
    assert (row["reviewer"], row["categories"]) == ("ann", made["categories"])
    assert ann.get("/desk/log?category=drawing").json()["rows"] == []
    assert ann.get("/desk/log?category=blood").status_code == 422
    for path in ("/desk/log.jsonl?category=nudity", "/v1/corrections?all=true"):
        exported = ann.get(path).text
        assert '"categories": ["nudity", "gore_or_violence"], "model_categories": null' in exported
    found = ann.get("/desk/insights/decisions").json()["categories"]
    assert (found["decisions"], found["images"], len(found["categories"])) == (1, 1, 7)
    (gore,) = (each for each in found["categories"] if each["category"] == "gore_or_violence")
    assert (gore["named"]["part"], gore["comparison"], gore["pairs"]) == (1, None, [])
