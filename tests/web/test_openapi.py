"""The API conforms to its OpenAPI document: no 500, no undescribed status or body."""

import base64
from collections import Counter
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.store import Store
from tests.support.application import WebApp, open_app
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
]
EXAMPLES = 50  # requests to each route
DOCUMENT = "/v1/openapi.json"
OPERATIONS = {
    "/moderations": "POST",
    "/explain": "POST",
    "/image-classification": "POST",
    "/gate": "POST",
    "/images": "POST",
    "/images/{submission_id}": "GET",
    "/corrections": "GET",
    "/insights": "GET",
}


@pytest.fixture(scope="module")
def web_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    """The application with users and a fake model."""
    folder = tmp_path_factory.mktemp("openapi")
    store = Store(folder / "review.db", previews_dir=folder / "images", journal_mode="wal")
    loader = ModelLoader("fake", lambda: Loaded(FakeClassifier()))
    loader.wait()
    engine = Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))
    with open_app(engine, store, folder) as web_app:
        yield web_app


@pytest.fixture(scope="module")
def headers(web_app: WebApp) -> dict[str, str]:
    """Headers with an API key of every scope."""
    return {"authorization": web_app.with_every_scope().headers["authorization"]}


@pytest.fixture(scope="module")
def document(web_app: WebApp, headers: dict[str, str]) -> schemathesis.BaseSchema:
    """The served OpenAPI document."""
    return schemathesis.openapi.from_asgi(DOCUMENT, web_app.client.app, headers=headers)


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("path", OPERATIONS)
def test_generated_requests_conform(
    document: schemathesis.BaseSchema, headers: dict[str, str], path: str, mode: GenerationMode
) -> None:
    """Valid and invalid requests, generated from the document, get the described responses."""
    statuses: Counter[int] = Counter()

    @given(case=document[path][OPERATIONS[path]].as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def send(case: Case) -> None:
        response = case.call_and_validate(headers=headers, checks=CHECKS)
        statuses[response.status_code] += 1

    send()
    assert statuses.total() > 0


def test_the_document_describes_every_route(web_app: WebApp, headers: dict[str, str]) -> None:
    """Each operation has a summary, its errors and the security schemes."""
    described = web_app.client.get(DOCUMENT, headers=headers).json()
    assert set(described["paths"]) == set(OPERATIONS)
    assert described["servers"] == [{"url": "/v1"}]
    for path in described["paths"].values():
        for operation in path.values():
            assert operation["summary"]
            assert operation["security"]
            assert {"401", "403", "429"} <= set(operation["responses"])


def test_responses_with_a_verdict_conform(
    document: schemathesis.BaseSchema, headers: dict[str, str]
) -> None:
    """Also the response for a classified image has the described body."""
    image = image_bytes(240)
    url = "data:image/png;base64," + base64.b64encode(image).decode()
    part = {"type": "image_url", "image_url": {"url": url}}
    cases = [
        document["/moderations"]["POST"].Case(
            body={"input": [part]}, media_type="application/json"
        ),
        document["/images"]["POST"].Case(
            body={"file": [image], "queue": True}, media_type="multipart/form-data"
        ),
    ]
    for case in cases:
        response = case.call(headers=headers)
        assert response.status_code == 200, response.text
        case.validate_response(response, checks=CHECKS[:4])
