"""Invalid requests to each route of the API: the message has the fault."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from nsfw_app.imaging.decode import Limits
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.store import Store
from nsfw_app.web.middleware.auth import MAX_JSON_BYTES
from tests.support.application import WebApp, open_app
from tests.support.fakes import FakeClassifier, image_bytes

PNG = image_bytes(150)
BASE64 = base64.b64encode(PNG).decode()
MAX_BYTES = 200_000
MODERATIONS, CLASSIFICATION = "/v1/moderations", "/v1/image-classification"
IMAGES, CORRECTIONS = "/v1/images", "/v1/corrections"
FILE = {"file": ("a.png", PNG)}
JSON = {"content-type": "application/json"}


def part(url: object = f"data:image/png;base64,{BASE64}", **changes: object) -> dict[str, object]:
    """An image as OpenAI's clients send it."""
    return {"type": "image_url", "image_url": {"url": url}, **changes}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    """The application with a low limit of file size."""
    folder = tmp_path_factory.mktemp("wrong")
    store = Store(folder / "review.db", previews_dir=folder / "images", journal_mode="wal")
    loader = ModelLoader("fake", lambda: Loaded(FakeClassifier()))
    loader.wait()
    limits = Limits(max_bytes=MAX_BYTES, max_pixels=4_000_000, max_frames=16)
    engine = Engine(store=store, loader=loader, limits=limits, policies=PolicyBook(store.policies))
    with open_app(engine, store, folder) as app:
        yield app


@pytest.fixture(scope="module")
def client(app: WebApp) -> TestClient:
    """A client with an API key of every scope."""
    return app.with_every_scope()


WRONG: list[tuple[str, dict[str, Any], int, str]] = [
    (MODERATIONS, {"json": {"input": [part(), part(type="input_image")]}}, 400,
     "input[1].type is 'input_image'. Only images are classified."),
    (MODERATIONS, {"json": {"input": [{"image_url": {"url": "x"}}]}}, 400,
     "input[0].type is missing."),
    (MODERATIONS, {"json": {"input": [part(image_url="data:")]}}, 400,
     "input[0].image_url should be an object, not a string."),
    (MODERATIONS, {"json": {"input": [part(image_url={})]}}, 400,
     "input[0].image_url.url is missing."),
    (MODERATIONS, {"json": {"input": [part(None)]}}, 400,
     "input[0].image_url.url should be a string, not null."),
    (MODERATIONS, {"json": {"input": part()}}, 400,
     "input should be an array, not an object."),
    (MODERATIONS, {"json": {"input": ["a", part()]}}, 400,
     "input: Only images are classified, not texts."),
    (MODERATIONS, {"json": {"input": [part()] * 65}}, 400, "65 images; the limit is 64."),
    (MODERATIONS, {"json": {"input": []}}, 400, "input: It has no image."),
    (MODERATIONS, {"json": {"inputs": "x"}}, 400, "input is missing."),
    (MODERATIONS, {"json": [1]}, 400, "The body should be an object, not an array."),
    (MODERATIONS, {"json": {"input": [part("https://example.com/a.png")]}}, 400,
     "Image 1 is a URL, and fetching URLs is off."),
    (MODERATIONS, {"json": {"input": [part(BASE64)]}}, 400,
     "Image 1 is not a data URL. Send data:image/png;base64,..."),
    (MODERATIONS, {"content": b"{", "headers": JSON}, 400, "The body is not valid JSON: "),
    (MODERATIONS, {"data": {"input": "x"}}, 400,
     "content type is application/x-www-form-urlencoded; send application/json."),
    (MODERATIONS, {"content": b""}, 400, "The body is empty; /v1/moderations takes JSON."),
    (MODERATIONS, {"files": FILE}, 400, "takes JSON here, not multipart/form-data."),
    (MODERATIONS, {"content": PNG, "headers": {"content-type": "image/png"}}, 400,
     "takes JSON here, not image/png."),
    (MODERATIONS, {"content": b'{"input": "' + b"a" * 500_000 + b'"}', "headers": JSON}, 413,
     "A string in the request has more than 0.29 MB"),
    (CLASSIFICATION, {"files": FILE}, 400,
     "takes the image's bytes as the body, not multipart/form-data"),
    (CLASSIFICATION, {"content": b' {"inputs": ""}'}, 400,
     "The body looks like JSON. Send it with the content type application/json."),
    (CLASSIFICATION, {"json": {"image": BASE64}}, 400, "inputs is missing."),
    (CLASSIFICATION, {"json": {"inputs": {"image": BASE64}}}, 400,
     "inputs should be a string, not an object."),
    (CLASSIFICATION, {"json": {"inputs": "@"}}, 400, "inputs is not base64: character 1 is '@'."),
    (CLASSIFICATION, {"json": {"inputs": "https://example.com/a.png"}}, 400,
     "inputs is a URL, which this route does not fetch."),
    (CLASSIFICATION, {"json": {"inputs": BASE64, "parameters": {"top_k": 0}}}, 400,
     "parameters.top_k: Input should be greater than or equal to 1."),
    (CLASSIFICATION, {"json": {"inputs": "", "parameters": {"function_to_apply": "none"}}}, 400,
     "parameters.function_to_apply is 'none'. Allowed: 'softmax'."),
    (CLASSIFICATION, {"content": b"{", "headers": JSON}, 400, "The body is not valid JSON: "),
    (CLASSIFICATION, {"content": b'{"inputs": "' + b"a" * 500_000 + b'"}', "headers": JSON}, 413,
     "A string in the request has more than 0.29 MB"),
    (CLASSIFICATION, {"json": {"inputs": base64.b64encode(bytes(MAX_BYTES + 1)).decode()}}, 413,
     "0.2 MB"),
    (CLASSIFICATION, {"content": bytes(MAX_BYTES + 1)}, 413, "0.2 MB"),
    (CLASSIFICATION, {"content": b""}, 400, "The image is empty."),
    (CLASSIFICATION, {"content": b"hello"}, 415, "The image is not an image. Supported are"),
    (IMAGES, {"content": PNG, "headers": {"content-type": "image/png"}}, 400,
     "This route takes multipart/form-data, not image/png."),
    (IMAGES, {"json": {"file": BASE64}}, 400, "takes multipart/form-data, not application/json."),
    (IMAGES, {"content": PNG}, 400, "not a body without content type."),
    (IMAGES, {"files": {"file": (None, "text"), "image": (None, "text")}}, 400,
     "The form has no file, only the text fields 'file', 'image'. Send each image with its file "
     "name, as curl -F file=@photo.jpg does."),
    (IMAGES, {"files": FILE, "data": {"queue": "maybe"}}, 400,
     "queue is 'maybe'. Use true or false; 1, 0, yes, no, on, off work too."),
    (f"{IMAGES}?queue=maybe", {"files": FILE}, 422, "queue is 'maybe'. Use true or false;"),
    (IMAGES, {"files": {"file": ("a.png", bytes(66 * MAX_BYTES))}}, 413,
     "The request has more than the limit of 13.1 MB."),
]  # fmt: skip
WRONG_QUERIES = [
    ("format=xml", 422, "format is 'xml'. Allowed: 'csv' or 'jsonl'."),
    ("label=bad", 422, "label is 'bad'. Allowed: 'normal', 'nsfw' or 'unsure'."),
    ("all=maybe", 422, "all is 'maybe'. Use true or false;"),
    ("bom=true", 400, "bom is for format=csv, not for format=jsonl."),
    ("since=yesterday", 400, "'yesterday' is not a date. Write it as 2026-01-31."),
]


def refusal(response: Any) -> tuple[int, str]:
    """Status and message of an error."""
    return response.status_code, response.json()["error"]["message"]


@pytest.mark.parametrize(("path", "sent", "status", "message"), WRONG)
def test_an_invalid_body_is_described(
    client: TestClient, path: str, sent: dict[str, Any], status: int, message: str
) -> None:
    """The message has the place of the fault and what to send instead."""
    found = refusal(client.post(path, **sent))
    assert found[0] == status, found
    assert message in found[1]


@pytest.mark.parametrize(("query", "status", "message"), WRONG_QUERIES)
def test_an_invalid_parameter_is_described(
    client: TestClient, query: str, status: int, message: str
) -> None:
    """The message has the parameter, its value, and the allowed values."""
    found = refusal(client.get(f"{CORRECTIONS}?{query}"))
    assert found[0] == status
    assert message in found[1]


def test_an_unknown_path_or_method_is_described(client: TestClient) -> None:
    """404 has the path, 405 the method and the allowed ones."""
    assert refusal(client.post("/v1/nothing")) == (404, "Not found: /v1/nothing.")
    assert refusal(client.put(IMAGES)) == (405, "PUT is not allowed here; allowed: POST.")
    assets = client.post("/desk/assets/gallery/grid.js")
    assert refusal(assets) == (405, "POST is not allowed here; allowed: GET, HEAD.")


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "yes", "on", "1", " true "])
def test_spellings_of_true(client: TestClient, text: str) -> None:
    """In form and query, every common spelling of true queues the image."""
    (in_form,) = client.post(IMAGES, files=FILE, data={"queue": text}).json()["images"]
    (in_query,) = client.post(IMAGES, files=FILE, params={"queue": text.strip()}).json()["images"]
    assert in_form["id"] == in_query["id"] is not None


@pytest.mark.parametrize("text", ["false", "False", "no", "off", "0", ""])
def test_spellings_of_false(client: TestClient, text: str) -> None:
    """Every common spelling of false, and an empty field, does not queue the image."""
    (image,) = client.post(IMAGES, files=FILE, data={"queue": text}).json()["images"]
    assert image["id"] is None


def test_json_over_the_limit_of_the_page(app: WebApp) -> None:
    """A body that FastAPI reads is refused for its size, too, and not as invalid."""
    body = b'"' + b"a" * MAX_JSON_BYTES + b'"'
    ann = app.signed_in("ann")
    status, message = refusal(ann.post("/desk/decisions", content=body, headers=JSON))
    assert status == 413
    assert f"{MAX_JSON_BYTES / 1e6:g} MB" in message
