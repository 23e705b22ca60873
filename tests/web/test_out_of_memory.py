"""Out of memory anywhere is reported as `no_memory`, and never as safe."""

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from nsfw_app.errors import ImageError, OutOfMemory, PredictionFailed, lacks_memory
from nsfw_app.imaging import boxes, color, grayscale, rendering, transparency
from nsfw_app.imaging.previews import thumbnail
from nsfw_app.models.classifier import Pixels
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.models.scheduler import DynamicBatcher, UnbatchedClassifier
from nsfw_app.records import Action, Retain, Upload
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.store import Store
from nsfw_app.web.middleware.gradio_routes import JOIN
from tests.support.application import open_app
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes
from tests.support.flawed_files import DISPLAY_P3, PHOTO, profile_with
from tests.support.image_files import FILES, encoded
from tests.support.sample_records import person
from tests.unit.test_scheduler import SlowBackend, plain_images

CARD = "/desk/images?name=a.png&source=review"
FILE = {"file": ("a.png", image_bytes(9))}
DATA_URL = f"data:image/png;base64,{b64encode(image_bytes(9)).decode()}"
TRANSPARENT = encoded(Image.merge("LA", [Image.radial_gradient("L")] * 2), "PNG")

P3 = profile_with(primaries=DISPLAY_P3)

# Where memory can run out, and a file that gets there.
PLACES: dict[str, tuple[object, str, bytes]] = {
    "preparing": (FakeClassifier, "prepare", image_bytes(9)),
    "classifying": (FakeClassifier, "predict", image_bytes(9)),
    "composing": (transparency, "_composed", TRANSPARENT),
    "scaling grays": (grayscale, "_parts", FILES["tiff-float"]),
    "rotating": (rendering, "_upright", FILES["jpeg"]),
    "fitting": (rendering, "_within", image_bytes(9)),
    "applying a profile": (color, "_from_rgb", encoded(PHOTO, "PNG", icc_profile=P3)),
    "shrinking": (Image.Image, "resize", image_bytes(9, size=(2000, 1500))),
    "saving the preview": (Image.Image, "save", image_bytes(9)),
    "decoding": (Image.Image, "load", image_bytes(9)),
}


def fail(*_: Any, **__: Any) -> Any:
    """Raise MemoryError."""
    raise MemoryError


def assert_no_memory(engine: Engine, data: bytes, name: str = "a.png") -> None:
    """Assert that an image is unavailable because of memory."""
    review = engine.review(data, Upload(name, "gallery", "ann", retain=Retain.QUEUE))
    assert review.verdict.action is Action.UNAVAILABLE
    assert review.problem is not None
    assert review.problem.kind == "no_memory"
    assert "Try again later." in review.problem.message


@pytest.mark.parametrize("place", PLACES)
def test_image_is_unavailable_wherever_memory_runs_out(
    place: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the decoder and after it, until the preview is saved; later it is classified."""
    owner, attribute, data = PLACES[place]
    loader = ModelLoader("fake", lambda: Loaded(FakeClassifier()))
    loader.wait()
    engine = Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))
    with monkeypatch.context() as patch:
        patch.setattr(owner, attribute, fail)
        assert_no_memory(engine, data)
        tried = engine.review(data, Upload("a.png", "review", retain=Retain.NOTHING))
        assert tried.problem is not None
        assert tried.problem.kind == "no_memory"
    assert (
        engine.review(data, Upload("a.png", "gallery", "ann", retain=Retain.QUEUE)).problem is None
    )


def test_a_run_over_files_continues(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that does not fit into memory does not end `classify`."""
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_bytes(image_bytes(10 * number))
    prepare = FakeClassifier.prepare

    def scarce(self: FakeClassifier, image: Image.Image) -> Any:
        if image.getpixel((0, 0))[0] == 10:
            raise MemoryError
        return prepare(self, image)

    monkeypatch.setattr(FakeClassifier, "prepare", scarce)
    reviews = list(engine.review_files(paths, source="command"))
    kinds = [review.problem.kind if review.problem else "" for review in reviews]
    assert kinds == ["", "no_memory", ""]


def test_file_that_cannot_be_read_into_memory(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading the file is covered too."""
    path = tmp_path / "a.png"
    path.write_bytes(image_bytes(9))
    monkeypatch.setattr(Path, "open", fail)
    review = engine.review_file(path, Upload("a.png", "command"))
    assert review.problem is not None
    assert review.problem.kind == "no_memory"


@pytest.mark.parametrize("attribute", ["resize", "save"])
def test_preview_and_thumbnail_are_refused(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, attribute: str
) -> None:
    """Both fail with the same kind."""
    data = encoded(PHOTO.resize((2000, 1500)), "JPEG")
    engine.review(data, Upload("a.jpg", "gallery", "ann", retain=Retain.QUEUE))
    kept = engine.render_preview(data, name="a.jpg", frame=0, caller=person("ann"))
    monkeypatch.setattr(Image.Image, attribute, fail)
    for call in (
        lambda: engine.render_preview(data, name="a.jpg", frame=0, caller=person("ann")),
        lambda: thumbnail(kept),
    ):
        with pytest.raises(ImageError) as caught:
            call()
        assert caught.value.kind == "no_memory"


MESSAGES = [
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: not enough memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("Failed to allocate memory for requested buffer of size 9"),
    RuntimeError("std::bad_alloc"),
    PredictionFailed("model could not judge the image: std::bad_alloc"),
    MemoryError("Unable to allocate 9 GiB"),
]


@pytest.mark.parametrize("made", [DynamicBatcher, UnbatchedClassifier])
@pytest.mark.parametrize("error", MESSAGES, ids=str)
def test_a_model_out_of_memory_is_typed(made: Callable[..., Any], error: Exception) -> None:
    """Reports of all libraries are recognized; a smaller batch may still succeed."""

    def raised() -> Exception:
        return error

    network = SlowBackend(raised)
    classifier = made(network, max_waiting=9)
    with pytest.raises(OutOfMemory) as caught:
        classifier.predict(plain_images(255))
    assert caught.value.kind == "no_memory"
    assert classifier.predict(plain_images(10))[0]["nsfw"] == pytest.approx(10 / 255)


@pytest.mark.parametrize("error", [ValueError("a bad allocation of desks"), KeyError("memory")])
def test_other_errors_are_not_mistaken_for_it(error: Exception) -> None:
    """Only messages of allocators count."""
    assert not lacks_memory(error)


class Scarce(FakeClassifier):
    """Has no memory for any image."""

    def prepare(self, image: Image.Image) -> Pixels:
        """See `Classifier.prepare`."""
        raise MemoryError


def test_routes_respond_503_instead_of_500(store: Store, tmp_path: Path) -> None:
    """Routes that need a verdict respond 503 with Retry-After."""
    loader = ModelLoader("fake", lambda: Loaded(Scarce()))
    loader.wait()
    engine = Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))
    with open_app(engine, store, tmp_path) as app:
        program = app.with_every_scope()
        answer = program.post("/v1/image-classification", content=image_bytes(9))
        assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "no_memory")
        assert int(answer.headers["retry-after"]) > 0
        card = app.signed_in("ann").post(
            "/desk/images", params={"name": "a.png", "source": "review"}, content=image_bytes(9)
        )
        assert (card.status_code, card.json()["error"]["kind"]) == (200, "no_memory")


# Where a request needs memory outside decoder and model: what raises, and the request.
REQUESTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "reading a file": ("nsfw_app.web.http.bodies.chunks", "/v1/image-classification", {}),
    "reading for the gate": ("nsfw_app.web.http.bodies.chunks", "/v1/gate", {}),
    "reading a form": ("starlette.formparsers.MultiPartParser.parse", "/v1/gate", {"files": FILE}),
    "hashing for the gate": ("nsfw_app.web.api.upload_gate.image_result", "/v1/gate", {}),
    "decoding a data URL": (
        "nsfw_app.web.http.data_urls._decoded",
        "/v1/moderations",
        {"json": {"input": [{"type": "image_url", "image_url": {"url": DATA_URL}}]}},
    ),
    "scanning JSON": ("nsfw_app.web.http.json_scanner.JsonCounter.scan", "/v1/moderations", {}),
    "parsing JSON": (
        "nsfw_app.web.http.json_scanner.parse",
        "/v1/moderations",
        {"json": {"input": "x"}},
    ),
    "reading a decision": (
        "nsfw_app.web.http.bodies.chunks",
        "/desk/decisions",
        {"json": {}},
    ),
    "parsing a decision": ("nsfw_app.web.middleware.auth.parse", "/desk/decisions", {"json": {}}),
    "reading a call": (
        "nsfw_app.web.middleware.auth.parse",
        JOIN,
        {"json": {}},
    ),
    "checking a call": (
        "nsfw_app.web.middleware.gradio_calls._files",
        JOIN,
        {"json": {}},
    ),
    "writing a card": (
        "nsfw_app.web.page.images.card_json",
        CARD,
        {},
    ),
    "writing a review": (
        "nsfw_app.review.image_json.review_json",
        CARD,
        {},
    ),
}


@pytest.mark.parametrize("place", REQUESTS)
def test_requests_out_of_memory_get_503(
    place: str, engine: Engine, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bodies, JSON, data URLs and responses: `no_memory` with Retry-After, never `internal`."""
    target, path, sent = REQUESTS[place]
    with open_app(engine, store, tmp_path) as app:
        client = app.with_every_scope() if path.startswith("/v1/") else app.signed_in("ann")
        with monkeypatch.context() as patch:
            patch.setattr(target, fail)
            response = client.post(path, **(sent or {"content": image_bytes(9)}))
    assert (response.status_code, response.json()["error"]["kind"]) == (503, "no_memory")
    assert int(response.headers["retry-after"]) > 0
    assert response.headers["x-request-id"] == response.json()["error"]["request_id"]
    assert response.headers.get("nsfw-action") == ("unavailable" if path == "/v1/gate" else None)


def test_an_out_of_memory_library_gets_503(
    engine: Engine, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An allocation failure of a native library is `no_memory` as well."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("std::bad_alloc")

    with open_app(engine, store, tmp_path) as app:
        client = app.signed_in("ann")
        quiet = TestClient(
            client.app,
            cookies=client.cookies,
            base_url=str(client.base_url),
            raise_server_exceptions=False,
        )
        monkeypatch.setattr("nsfw_app.web.page.images.card_json", fail)
        response = quiet.post(CARD, content=image_bytes(9))
    assert (response.status_code, response.json()["error"]["kind"]) == (503, "no_memory")


def test_boxes_cover_an_image_once() -> None:
    """Boxes are small, disjoint and complete for any shape."""
    for size in [(1, 1), (1000, 70), (3, 100_000), (200_000, 2), (65_537, 3)]:
        for step in (1, 2, 7):
            covered = np.zeros(size[::-1], dtype=np.uint8)
            for left, top, right, bottom in boxes.boxes(size, step=step):
                assert (left % step, top % step) == (0, 0)
                assert (right - left) * (bottom - top) <= boxes.BOX_PIXELS * step
                covered[top:bottom, left:right] += 1
            assert covered.min() == covered.max() == 1
