"""Existing clients: OpenAI's, Hugging Face's, Gradio's, and curl."""

import base64
import io
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError, AuthenticationError
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from openai import APIStatusError, OpenAI
from openai import AuthenticationError as OpenAIAuthenticationError
from PIL import Image

from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import KEY_SCOPES, Permission
from nsfw_app.store import Store
from tests.support.application import PASSWORDS, open_app, served
from tests.support.fakes import image_bytes

SAFE, UNSAFE = image_bytes(10), image_bytes(240)
CUT = image_bytes(10, size=(200, 200), image_format="AVIF")[:-200]  # no pixel can be decoded


@dataclass(frozen=True)
class Live:
    """A served application and an API key with every scope."""

    url: str
    key: str


@pytest.fixture
def live(engine: Engine, store: Store, tmp_path: Path) -> Iterator[Live]:
    """The application with users, on a socket."""
    with open_app(engine, store, tmp_path) as web_app, served(web_app.client.app) as url:
        key = web_app.accounts.add_key("clients", KEY_SCOPES, per_minute=10_000, actor="test").key
        yield Live(url, key)


def data_url(data: bytes) -> dict:
    """An image as OpenAI's clients send it."""
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    return {"type": "image_url", "image_url": {"url": url}}


def openai(live: Live, key: str = "") -> OpenAI:
    """OpenAI's client with our base URL."""
    return OpenAI(base_url=f"{live.url}/v1", api_key=key or live.key, max_retries=0)


def test_openai_moderates_images(live: Live) -> None:
    """Each image has a result: flagged, categories and scores."""
    answer = openai(live).moderations.create(
        model="omni-moderation-latest", input=[data_url(SAFE), data_url(UNSAFE)]
    )
    safe, unsafe = answer.results
    assert (answer.model, safe.flagged, unsafe.flagged) == ("fake", False, True)
    assert (safe.categories.sexual, unsafe.categories.sexual) == (False, True)
    assert unsafe.category_scores.sexual == pytest.approx(240 / 255)
    assert unsafe.category_applied_input_types.sexual == ["image"]
    assert unsafe.category_applied_input_types.violence == []
    assert (unsafe.categories.violence, unsafe.category_scores.violence) == (False, 0)


@pytest.mark.parametrize(
    ("images", "status", "message"),
    [
        ("a text", 400, "Only images are classified, not texts"),
        (["two", "texts"], 400, "Only images are classified, not texts"),
        (
            [data_url(SAFE), {"type": "text", "text": "and"}],
            400,
            "Only images are classified, not texts",
        ),
        ([], 400, "It has no image"),
        ([{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}], 400, "is off"),
        (
            [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}],
            400,
            "not a data URL",
        ),
        ([{"type": "image_url", "image_url": {"url": "data:,plain"}}], 400, "data URL"),
        (
            [{"type": "image_url", "image_url": {"url": "data:image/png;base64,@@"}}],
            400,
            "not base64",
        ),
        ([data_url(b"no image")], 415, "Image 1 is not an image"),
        ([data_url(SAFE), data_url(CUT)], 400, "Image 2"),
        ([data_url(bytes(10_000_001))], 413, "larger than the limit"),
    ],
)
def test_openai_gets_an_error_for_what_cannot_be_classified(
    live: Live, images: object, status: int, message: str
) -> None:
    """An input that is not a complete image is an error, never a result that reads as safe."""
    with pytest.raises(APIStatusError) as refused:
        openai(live).moderations.create(model="any", input=images)
    assert refused.value.status_code == status
    body = refused.value.response.json()["error"]
    assert message in body["message"]
    assert body["request_id"] == refused.value.response.headers["x-request-id"]


@pytest.mark.parametrize("prefix", ["data:image/png;charset=utf-8;base64,\r\n", "DATA:;BASE64,"])
def test_openai_data_urls_of_every_spelling(live: Live, prefix: str) -> None:
    """Parameters, line breaks, the URL-safe alphabet and missing padding are accepted."""
    lines = base64.encodebytes(UNSAFE).decode().replace("+", "-").replace("/", "_").rstrip("=\n")
    part = {"type": "image_url", "image_url": {"url": prefix + lines}}
    (result,) = openai(live).moderations.create(model="any", input=[part]).results
    assert result.category_scores.sexual == pytest.approx(240 / 255)


def test_openai_with_an_unknown_key(live: Live) -> None:
    """The client raises its authentication error."""
    with pytest.raises(OpenAIAuthenticationError):
        openai(live, "sk-unknown").moderations.create(model="any", input=[data_url(SAFE)])


def hub(live: Live, key: str = "") -> InferenceClient:
    """Hugging Face's client with our URL as the model."""
    return InferenceClient(model=f"{live.url}/v1/image-classification", token=key or live.key)


def test_hugging_face_classifies_images(live: Live, tmp_path: Path) -> None:
    """Raw bytes, a path, and base64 with parameters give labels in descending order of score."""
    path = tmp_path / "unsafe.png"
    path.write_bytes(UNSAFE)
    for image in (UNSAFE, str(path), path):
        found = hub(live).image_classification(image)
        assert [entry.label for entry in found] == ["nsfw", "normal"]
        assert found[0].score == pytest.approx(240 / 255)
    (best,) = hub(live).image_classification(SAFE, top_k=1)
    assert best.label == "normal"
    buffer = io.BytesIO()
    Image.open(io.BytesIO(SAFE)).save(buffer, "WEBP", lossless=True)
    assert hub(live).image_classification(buffer.getvalue())[0].label == "normal"


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,", "data:image/png;a=b;base64,"])
def test_hugging_face_json_accepts_base64_and_data_urls(live: Live, prefix: str) -> None:
    """`inputs` is base64, alone or in a data URL, also with line breaks or without padding."""
    text = prefix + base64.encodebytes(UNSAFE).decode().rstrip("=\n")
    sent = httpx.post(
        f"{live.url}/v1/image-classification",
        json={"inputs": text, "parameters": {"top_k": 1}},
        headers={"Authorization": f"Bearer {live.key}"},
    )
    assert sent.json() == [{"label": "nsfw", "score": pytest.approx(240 / 255)}]


@pytest.mark.parametrize(
    ("image", "status"), [(b"no image", 415), (CUT, 400), (bytes(10_000_001), 413)]
)
def test_hugging_face_gets_an_error_for_what_cannot_be_classified(
    live: Live, image: bytes, status: int
) -> None:
    """An unavailable image is an error of the client."""
    with pytest.raises(HfHubHTTPError) as refused:
        hub(live).image_classification(image)
    assert refused.value.response.status_code == status


def test_hugging_face_with_an_unknown_key(live: Live) -> None:
    """The status is 401."""
    with pytest.raises(HfHubHTTPError) as refused:
        hub(live, "hf_unknown").image_classification(SAFE)
    assert refused.value.response.status_code == 401


def test_gradio_classifies_with_a_key_or_a_password(live: Live, tmp_path: Path) -> None:
    """gradio_client authenticates with a key in its headers, or with name and password."""
    path = tmp_path / "unsafe.png"
    path.write_bytes(UNSAFE)
    for credentials in (
        {"headers": {"Authorization": f"Bearer {live.key}"}},
        {"auth": ("ann", PASSWORDS["ann"])},
    ):
        client = Client(live.url, verbose=False, **credentials)
        review = client.predict(handle_file(path), api_name="/classify")
        assert (review["name"], review["action"]) == ("unsafe.png", "block")
    with pytest.raises(AuthenticationError):
        Client(live.url, verbose=False, auth=("ann", "wrong"))


def test_gradio_records_decisions_of_reviewers_only(live: Live, tmp_path: Path) -> None:
    """`/decide` records a reviewer's decision, and refuses a viewer and an API key."""
    path = tmp_path / "unsafe.png"
    path.write_bytes(UNSAFE)
    ann = Client(live.url, verbose=False, auth=("ann", PASSWORDS["ann"]))
    review = ann.predict(handle_file(path), api_name="/classify")
    model = (review["model"], review["revision"], review["backend"])
    decision = (review["sha256"], "nsfw", 0.5, *model, [], "", "nonce")
    assert ann.predict(*decision, api_name="/decide")["reviewer"] == "ann"
    for credentials in (
        {"headers": {"X-API-Key": live.key}},
        {"auth": ("vera", PASSWORDS["vera"])},
    ):
        with pytest.raises(AppError, match="lacks the permission 'review'"):
            Client(live.url, verbose=False, **credentials).predict(*decision, api_name="/decide")


def test_gradio_cannot_name_the_upload_of_another_caller(live: Live) -> None:
    """The path of another caller's upload is refused."""
    with browser(live, "ann") as ann, browser(live, "bob") as bob:
        files = {"files": ("unsafe.png", UNSAFE, "image/png")}
        (path,) = ann.post("/gradio_api/upload", files=files).json()
        assert "Nosuchuploadofyours" in classified(bob, path)
        assert '"action":"block"' in classified(ann, path)


@pytest.mark.parametrize("name", ["../../../evil.png", "/etc/evil.png", "..", "a\\..\\evil.png"])
def test_an_upload_stays_in_its_folder(live: Live, tmp_path: Path, name: str) -> None:
    """With any file name, the upload is below the folder of its caller."""
    with browser(live, "ann") as ann:
        sent = ann.post("/gradio_api/upload", files={"files": (name, UNSAFE, "image/png")})
        (path,) = sent.json()
    inside = (tmp_path / "uploads").resolve()
    assert Path(path).resolve().is_relative_to(inside)
    assert len(Path(path).relative_to(inside).parts) == 4


@contextmanager
def browser(live: Live, name: str) -> Iterator[httpx.Client]:
    """A client that has signed in, as a browser does."""
    with httpx.Client(base_url=live.url) as client:
        client.post("/login", data={"username": name, "password": PASSWORDS[name]})
        yield client


def classified(client: httpx.Client, path: str) -> str:
    """Call `/classify` without a client library; returns the stream of events, without spaces."""
    config = client.get("/config").json()
    endpoint = next(d["id"] for d in config["dependencies"] if d["api_name"] == "classify")
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    body = {"data": [file], "fn_index": endpoint, "session_hash": "session"}
    joined = client.post("/gradio_api/queue/join", json=body)
    if joined.status_code != 200:
        return joined.text.replace(" ", "")
    stream = client.get("/gradio_api/queue/data", params={"session_hash": "session"})
    return stream.text.replace(" ", "")  # JSON


def curl(live: Live, *arguments: str) -> dict | list:
    """The JSON that curl prints."""
    command = ["curl", "--silent", "-H", f"Authorization: Bearer {live.key}", *arguments]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def test_curl_as_in_the_readme(live: Live, tmp_path: Path) -> None:
    """The documented commands work: classify one image, several, queue one, read its state."""
    (tmp_path / "a.png").write_bytes(SAFE)
    (tmp_path / "b.png").write_bytes(image_bytes(150))
    (tmp_path / "c.png").write_bytes(b"no image")
    found = curl(live, "--data-binary", f"@{tmp_path}/a.png", f"{live.url}/v1/image-classification")
    assert found[0]["label"] == "normal"
    files = [f"file=@{tmp_path}/{name}.png" for name in "abc"]
    forms = [part for file in files for part in ("-F", file)]
    many = curl(live, *forms, "-F", "queue=true", f"{live.url}/v1/images")
    safe, waits, broken = many["images"]
    assert (safe["action"], safe["id"]) == ("allow", None)
    assert (waits["action"], broken["action"]) == ("review", "unavailable")
    assert broken["error"]["kind"] == "not_an_image"
    status = curl(live, f"{live.url}/v1/images/{waits['id']}")
    assert (status["state"], status["label"], status["image"]["name"]) == ("waiting", None, "b.png")


def test_a_reviewer_settles_the_image_of_a_program(
    live: Live, engine: Engine, store: Store, tmp_path: Path
) -> None:
    """A program submits an image, a reviewer decides on the page, the program reads the label."""
    (tmp_path / "b.png").write_bytes(image_bytes(150))
    form = ("-F", f"file=@{tmp_path}/b.png")
    (submitted,) = curl(live, *form, f"{live.url}/v1/images?queue=true")["images"]
    with browser(live, "ann") as ann:
        (item,) = ann.post("/desk/queue/claim", json={"count": 1}).json()["items"]
        assert ann.get(f"/desk/images/{item['sha256']}/picture").status_code == 200
        decision = {key: item[key] for key in ("model", "revision", "backend")}
        decision |= {
            "nonce": "n",
            "image_sha256": item["sha256"],
            "label": "nsfw",
            "threshold": 0.5,
        }
        assert ann.post("/desk/decisions", json=decision).status_code == 200
    status = curl(live, f"{live.url}/v1/images/{submitted['id']}")
    assert (status["state"], status["label"], status["answers"]) == ("settled", "nsfw", 1)
    log = curl(live, f"{live.url}/v1/corrections?all=true")
    assert (log["name"], log["reviewer"], log["source"]) == ("b.png", "ann", "api")
    assert Permission.EXPORT in KEY_SCOPES
