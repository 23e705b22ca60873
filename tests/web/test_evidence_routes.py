"""Evidence over HTTP: insights for programs, calibrations of the page, probabilities in exports."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nsfw_app.evidence.summaries import EvidenceQuery
from nsfw_app.evidence.summary_json import summary_json
from nsfw_app.records import Policy
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Permission
from nsfw_app.store import Store
from nsfw_app.web.api.insights import InsightsBody
from tests.support.application import WebApp, open_app
from tests.support.arrivals import REVIEW, add_reviewed, arrive
from tests.support.sample_records import FAKE, OTHER


@pytest.fixture
def app(engine: Engine, store: Store, tmp_path: Path) -> Iterator[WebApp]:
    """The application, with reviewed images of two models."""
    add_reviewed(store)
    add_reviewed(store, 10, identity=OTHER, source="gallery")
    with open_app(engine, store, tmp_path) as app:
        yield app


def test_insights_are_those_of_the_page(app: WebApp, store: Store, engine: Engine) -> None:
    """The response has every key of the summary, and its numbers; queries select."""
    program = app.with_key(Permission.EXPORT)
    found = program.get("/v1/insights").json()
    assert set(found) == set(InsightsBody.model_fields)
    assert (found["model"], found["images"], found["days_selected"]) == (FAKE.model, 150, None)
    assert found["calibration"]["reviews"] == found["reviews"] > 40
    assert found["policy"]["threshold"] == engine.policy.threshold
    assert found["headline"].startswith("Of 150 images")
    other = program.get("/v1/insights", params={"model": OTHER.model, "days": 7}).json()
    assert (other["model"], other["images"], other["calibration"]) == (OTHER.model, 10, None)
    source = program.get("/v1/insights", params={"source": "gallery"}).json()
    assert (source["model"], source["images"], source["source"]) == (FAKE.model, 0, "gallery")


def test_insights_of_an_unknown_model_are_not_found(app: WebApp) -> None:
    """The message names it; a period of no day is rejected."""
    program = app.with_key(Permission.EXPORT)
    missing = program.get("/v1/insights", params={"model": "none"})
    assert missing.status_code == 404
    assert "judged by none" in missing.json()["error"]["message"]
    assert program.get("/v1/insights", params={"days": 0}).status_code == 422


@pytest.mark.parametrize("query", ["model=", "source=", "day=7", "days=7&recall=0.9"])
def test_a_query_that_selects_nothing_is_refused(app: WebApp, query: str) -> None:
    """An empty name or an unknown parameter would return other numbers than it seems."""
    program = app.with_key(Permission.EXPORT)
    for refused in (
        program.get(f"/v1/insights?{query}"),
        app.signed_in("ann").get(f"/desk/insights?{query}"),
    ):
        assert refused.status_code == 422
        assert refused.json()["error"]["kind"] == "request"
        assert query.split("&")[-1].split("=")[0] in refused.json()["error"]["message"]


def test_an_unknown_source_is_not_found(app: WebApp) -> None:
    """The message lists the sources that images came from; empty numbers would look like none."""
    missing = app.with_key(Permission.EXPORT).get("/v1/insights", params={"source": "apj"})
    assert missing.status_code == 404
    assert missing.json()["error"]["kind"] == "not_found"
    assert missing.json()["error"]["message"] == (
        "No image has arrived from apj. Images came from: api, gallery."
    )


@pytest.mark.parametrize("query", ["days=7&days=30", "source=api&source=api", "model=a&model=a"])
def test_a_parameter_given_twice_is_refused(app: WebApp, query: str) -> None:
    """One of the values would be ignored."""
    for refused in (
        app.with_key(Permission.EXPORT).get(f"/v1/insights?{query}"),
        app.signed_in("ann").get(f"/desk/insights?{query}"),
    ):
        assert refused.status_code == 422
        name = query.split("=")[0]
        assert refused.json()["error"]["kind"] == "request"
        assert refused.json()["error"]["message"] == f"{name}: given 2 times, expected once."


def test_verified_backends_count_as_one_model(app: WebApp, store: Store) -> None:
    """Images of both are in the numbers of either; those of another backend are not."""
    third = replace(OTHER, model="third")
    for backend, images in (("onnxruntime", 7), ("torch", 5), ("openvino-int8-forced", 3)):
        add_reviewed(store, images, identity=replace(third, backend=backend))
    found = app.with_key(Permission.EXPORT).get("/v1/insights", params={"model": "third"}).json()
    assert (found["images"], found["bounds_images"]) == (12, 12)
    assert not found["certificate"]["covers_policy"]


def test_the_certificate_says_whether_it_covers_the_policy(app: WebApp) -> None:
    """Also of which model it is, if another one runs; a null forecast has its reason."""
    program = app.with_key(Permission.EXPORT)
    found = program.get("/v1/insights").json()
    certificate = found["certificate"]
    assert (certificate["threshold"], certificate["recall"]) == (None, 0.95)
    assert certificate["reviews"] == found["bounds_reviews"]
    assert certificate["more_reviews"] == found["more_reviews"]["0.95"]
    assert certificate["no_forecast"] == found["no_forecast"]["0.95"]
    assert (certificate["more_reviews"] is None) == (certificate["no_forecast"] is not None)
    assert not certificate["covers_policy"]
    assert certificate["coverage"].startswith("No certificate covers the policy in force")
    page = app.signed_in("ann").get("/desk/insights").json()
    assert page["certificate"] == certificate


def test_insights_are_not_of_yesterday(app: WebApp, store: Store, engine: Engine) -> None:
    """A program that asks once a day gets the numbers of now; so it does after a new policy."""
    program = app.with_key(Permission.EXPORT)
    assert program.get("/v1/insights").json()["images"] == 150
    arrive(store, 0.5, REVIEW)
    engine.save_policy(Policy(0.6, 0.3, 0.9), author="root", reason="test")
    found = program.get("/v1/insights").json()
    assert (found["images"], found["policy"]["version"], found["outdated"]) == (151, 2, False)


def test_an_admin_refits_the_calibration(app: WebApp, store: Store, engine: Engine) -> None:
    """Everyone sees the version in force; exports have its probabilities; verdicts stay."""
    root, vera, ann = (app.signed_in(name) for name in ("root", "vera", "ann"))
    assert vera.get("/desk/calibrations").json() == {"calibration": None}
    before = engine.policy
    fitted = root.post("/desk/calibrations").json()["calibration"]
    assert (fitted["version"], fitted["model"], fitted["author"]) == (1, FAKE.model, "root")
    assert "curve" not in fitted
    assert vera.get("/desk/calibrations").json() == {"calibration": fitted}
    other = vera.get("/desk/calibrations", params={"model": OTHER.model})
    assert other.json() == {"calibration": None}
    for path in ("/desk/log.jsonl", "/v1/corrections?all=true"):
        rows = [json.loads(line) for line in ann.get(path).text.splitlines()]
        assert all((row["probability"] is None) is (row["model"] != FAKE.model) for row in rows)
        assert {row["model"] for row in rows} == {FAKE.model, OTHER.model}
    assert engine.policy == before
    assert isinstance(before, Policy)


def test_too_few_reviews_are_a_conflict(app: WebApp) -> None:
    """The message says how many there are of each label."""
    refused = app.signed_in("root").post("/desk/calibrations", params={"model": OTHER.model})
    assert refused.status_code == 409
    assert refused.json()["error"]["kind"] == "calibration"
    assert "at least 20" in refused.json()["error"]["message"]


def test_the_documented_body_is_that_of_a_summary(app: WebApp, store: Store) -> None:
    """No key of the JSON is missing in the OpenAPI document, at any depth."""
    from nsfw_app.bootstrap import open_summaries
    from nsfw_app.review.policies import PolicyBook
    from nsfw_app.settings import load

    summaries = open_summaries(load(), store, PolicyBook(store.policies))
    query = EvidenceQuery(FAKE)
    found = summary_json(summaries.get(query), query)
    assert InsightsBody.model_validate(found).model_dump() == json.loads(json.dumps(found))
