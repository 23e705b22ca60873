"""The page's endpoints for gradio_client: parameters, and values of the wrong type."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from nsfw_app.records import Label, LogFilter, Reason
from nsfw_app.store import Store
from tests.support.application import PASSWORDS, open_app_in, served
from tests.support.fakes import image_bytes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the application's data."""
    return tmp_path_factory.mktemp("endpoints")


@pytest.fixture(scope="module")
def opened(folder: Path) -> Iterator[tuple[Client, Store]]:
    """gradio_client, signed in as a reviewer, and the store of the application."""
    with open_app_in(folder) as (web_app, store), served(web_app.client.app) as url:
        yield Client(url, verbose=False, auth=("ann", PASSWORDS["ann"])), store


@pytest.fixture(autouse=True)
def gradio_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set for each test what is cleared before it, see `open_app`."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str((folder / "uploads").resolve()))


@pytest.fixture(scope="module")
def ann(opened: tuple[Client, Store]) -> Client:
    """The client of a reviewer, for all tests."""
    return opened[0]


@pytest.fixture(scope="module")
def store(opened: tuple[Client, Store]) -> Store:
    """The store that it writes to."""
    return opened[1]


@pytest.fixture
def decision(ann: Client, tmp_path: Path) -> dict[str, Any]:
    """The parameters of a valid decision about an image."""
    path = tmp_path / "unsafe.png"
    path.write_bytes(image_bytes(240))
    image = ann.predict(path=handle_file(path), api_name="/classify")
    identity = {key: image[key] for key in ("sha256", "model", "revision", "backend")}
    return {**identity, "label": "nsfw", "threshold": 0.5}


def test_the_endpoints_describe_their_parameters(ann: Client) -> None:
    """Two endpoints are public; their parameters have names, types and defaults."""
    endpoints = ann.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(endpoints) == {"/classify", "/decide"}
    (file,) = endpoints["/classify"]["parameters"]
    assert (file["parameter_name"], file["python_type"]["type"]) == ("path", "filepath")
    parameters = {p["parameter_name"]: p for p in endpoints["/decide"]["parameters"]}
    assert list(parameters) == [
        "sha256", "label", "threshold", "model", "revision", "backend", "reasons", "note", "nonce",
        "categories",
    ]  # fmt: skip
    assert parameters["label"]["type"] == {"enum": list(Label)}
    assert parameters["threshold"]["type"] == {"type": "number"}
    assert parameters["reasons"]["type"]["items"] == {"enum": list(Reason)}
    defaults = {name: p["parameter_default"] for name, p in parameters.items()}
    names = ("reasons", "note", "nonce", "categories")
    assert [defaults[name] for name in names] == [[], "", "", None]


def test_a_decision_needs_no_reasons_note_or_nonce(ann: Client, decision: dict[str, Any]) -> None:
    """Optional parameters have defaults; without a nonce each call is a decision."""
    first = ann.predict(**decision, api_name="/decide")
    second = ann.predict(**decision, categories=["nudity"], api_name="/decide")
    assert (first["categories"], second["categories"]) == (None, ["nudity"])
    assert (first["reasons"], first["note"], first["agrees"]) == ([], "", True)
    assert (first["seen"], first["queue_reason"], first["policy_version"]) == (False, None, 1)
    assert second["decision_id"] > first["decision_id"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("sha256", 7, "sha256 as a text"),
        ("label", "maybe", "'maybe' is not one of normal, nsfw, unsure"),
        ("label", ["nsfw"], "is not one of normal"),
        ("threshold", None, "threshold as a number"),
        ("threshold", "0.5", "threshold as a number"),
        ("threshold", True, "threshold as a number"),
        ("model", None, "model as a text"),
        ("revision", {}, "revision as a text"),
        ("backend", [], "backend as a text"),
        ("reasons", "art", "reasons as a list"),
        ("reasons", ["art", 1], "'1' is not one of"),
        ("reasons", [["art"]], "is not one of"),
        ("note", 3, "note as a text"),
        ("nonce", {"a": 1}, "nonce as a text"),
        ("categories", "nudity", "categories as a list"),
        ("categories", ["blood"], "'blood' is not one of"),
    ],
)
def test_values_of_a_wrong_type_are_rejected(
    ann: Client, decision: dict[str, Any], store: Store, name: str, value: object, message: str
) -> None:
    """The error names the parameter, and no decision is recorded."""
    before = store.log.size(LogFilter())
    with pytest.raises(AppError) as rejected:
        ann.predict(**{**decision, name: value}, api_name="/decide")
    assert message in str(rejected.value)
    assert store.log.size(LogFilter()) == before


@pytest.mark.parametrize("value", [None, "a.png", 7, [], {"path": 7}, {"url": "https://x.org/a"}])
def test_classify_without_a_file_is_rejected(ann: Client, value: object) -> None:
    """The error says what is missing."""
    with pytest.raises(AppError, match="/classify needs a file"):
        ann.predict(path=value, api_name="/classify")


def test_classify_reads_no_other_path(ann: Client, tmp_path: Path) -> None:
    """A path that is no upload of the caller is not found, with or without Gradio's metadata."""
    path = tmp_path / "a.png"
    path.write_bytes(image_bytes(9))
    with pytest.raises(AppError, match="No such upload"):
        ann.predict(path={"path": str(path)}, api_name="/classify")
    assert path.exists()
