"""`POST /v1/gate`: the status is the action; without a verdict, nothing reads as allowed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from httpx2 import Response

from nsfw_app.errors import ModelLoading, Overloaded
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.permissions import Permission
from nsfw_app.store import Store
from tests.support.application import WebApp, open_app
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes

GATE = "/v1/gate"
ALLOWED, REVIEWED, BLOCKED = image_bytes(10), image_bytes(150), image_bytes(240)
BROKEN = image_bytes(10, size=(200, 200), image_format="AVIF")[:-200]
VERDICTS = [(ALLOWED, 204, "allow"), (REVIEWED, 202, "review"), (BLOCKED, 451, "block")]


@pytest.fixture
def app(engine: Engine, store: Store, tmp_path: Path) -> Iterator[WebApp]:
    """The application with users and a fake model."""
    with open_app(engine, store, tmp_path) as app:
        yield app


def as_form(image: bytes, name: str = "a.png") -> dict:
    """An image as the only file of a form."""
    return {"files": {"upload": (name, image, "application/octet-stream")}}


def verdict(response: Response) -> dict[str, str]:
    """The headers that carry the verdict."""
    return {
        key.removeprefix("nsfw-"): value
        for key, value in response.headers.items()
        if key.startswith("nsfw-")
    }


@pytest.mark.parametrize(("image", "status", "action"), VERDICTS)
@pytest.mark.parametrize("form", [False, True], ids=["raw", "form"])
def test_the_status_is_the_action(
    app: WebApp, image: bytes, status: int, action: str, form: bool
) -> None:
    """The verdict is in headers, and in the JSON body of statuses that allow one."""
    program = app.with_every_scope()
    sent = as_form(image) if form else {"content": image}
    response = program.post(GATE, **sent)
    assert response.status_code == status
    found = verdict(response)
    assert found["action"] == action
    expected = program.post("/v1/images", files={"file": ("a.png", image)}).json()["images"][0]
    assert (found["label"], found["sha256"]) == (expected["label"], expected["sha256"])
    assert float(found["score"]) == expected["nsfw_score"]
    if status == 204:
        assert response.content == b""
        return
    body = response.json()
    assert body == expected | {
        "name": "a.png" if form else "The image",
        "id": found.get("submission"),
    }


def test_an_image_to_review_is_queued(app: WebApp) -> None:
    """With the id in the header, `/v1/images/ID` has its state and the name that was sent."""
    program = app.with_every_scope()
    response = program.post(GATE, params={"name": "holiday.png"}, content=REVIEWED)
    status = program.get(f"/v1/images/{verdict(response)['submission']}").json()
    assert (status["state"], status["image"]["name"]) == ("waiting", "holiday.png")
    again = program.post(GATE, params={"name": "holiday.png"}, content=REVIEWED)
    assert verdict(again)["submission"] == verdict(response)["submission"]
    for image in (ALLOWED, BLOCKED):
        assert "submission" not in verdict(program.post(GATE, content=image))


def test_a_key_without_the_scope_queue_gets_the_verdict_only(app: WebApp, engine: Engine) -> None:
    """With the scope `classify` only, review is 202 without an id, and nothing is queued."""
    response = app.with_key(Permission.CLASSIFY).post(GATE, content=REVIEWED)
    assert (response.status_code, verdict(response)["action"]) == (202, "review")
    assert "submission" not in verdict(response)
    assert response.json()["id"] is None
    assert engine.queue.open_entries() == 0


@pytest.mark.parametrize(
    ("sent", "status", "kind"),
    [
        ({"content": b"no image"}, 422, "not_an_image"),
        ({"content": BROKEN}, 422, "corrupt"),
        ({"content": b""}, 422, "empty"),
        (as_form(b""), 422, "empty"),
        ({"json": {"image": "aGVsbG8="}}, 422, "not_an_image"),
        ({"content": bytes(LIMITS.max_bytes + 1)}, 413, "too_large"),
        (as_form(bytes(LIMITS.max_bytes + 1)), 413, "too_large"),
        ({"content": image_bytes(9, size=(2_500, 2_000))}, 422, "too_many_pixels"),
        (as_form(image_bytes(9, size=(2_500, 2_000))), 422, "too_many_pixels"),
        ({"files": [("file", ("a.png", ALLOWED))] * 2}, 400, "request"),
        ({"files": {"file": (None, "text")}}, 400, "request"),
    ],
)
def test_an_unavailable_image_never_passes(app: WebApp, sent: dict, status: int, kind: str) -> None:
    """Over the byte limit 413, all else 422; the header is `unavailable`, the body an error."""
    response = app.with_every_scope().post(GATE, **sent)
    assert (response.status_code, response.json()["error"]["kind"]) == (status, kind)
    assert verdict(response)["action"] == "unavailable"
    assert response.json()["error"]["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize("error", [ModelLoading, Overloaded])
def test_an_unavailable_model_is_503_with_retry_after(
    store: Store, tmp_path: Path, error: type[Exception]
) -> None:
    """While the model is loading or overloaded, nothing passes."""

    class Unable(FakeClassifier):
        def predict(self, images: object) -> list[dict[str, float]]:
            raise Overloaded("busy", retry_after_s=7) if error is Overloaded else ModelLoading("no")

    loader = ModelLoader("fake", lambda: Loaded(Unable()))
    loader.wait()
    engine = Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))
    with open_app(engine, store, tmp_path) as app:
        response = app.with_every_scope().post(GATE, content=REVIEWED)
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    assert verdict(response)["action"] == "unavailable"


def test_the_same_bytes_are_classified_once(app: WebApp, classifier: FakeClassifier) -> None:
    """A repeated upload needs no inference, also if it is queued."""
    program = app.with_every_scope()
    first = [program.post(GATE, content=image).status_code for image, _, _ in VERDICTS]
    seen = classifier.seen
    second = [program.post(GATE, content=image).status_code for image, _, _ in VERDICTS]
    assert first == second == [204, 202, 451]
    assert classifier.seen == seen


def test_a_new_policy_takes_effect_immediately(app: WebApp, engine: Engine) -> None:
    """The verdict of a stored score is computed by the current policy."""
    program = app.with_every_scope()
    assert program.post(GATE, content=REVIEWED).status_code == 202
    engine.save_policy(
        replace(engine.policy, review_from=0.1, threshold=0.3, review_to=0.4),
        author="ann",
        reason="stricter",
    )
    assert program.post(GATE, content=REVIEWED).status_code == 451
