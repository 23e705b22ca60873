"""The JSON object of an image: documented keys, errors, and its schema in the REST API."""

import json

from pydantic import TypeAdapter

from nsfw_app.records import (
    Action,
    ImageInfo,
    ImageProblem,
    ImageWarning,
    Label,
    Policy,
    Prediction,
    Review,
    Verdict,
    WarningCode,
)
from nsfw_app.review.image_json import review_json
from nsfw_app.web.api.images import SubmissionStatus, SubmittedImage
from tests.support.sample_records import FAKE, SHA256

REVIEW_KEYS = """name sha256 nsfw_score probabilities label action threshold review_from review_to
    model revision weights_sha256 backend width height format frame frames warnings error
    categories detail""".split()
POLICY = Policy(0.5, 0.2, 0.8)


def test_a_classified_image_has_the_documented_keys() -> None:
    """The object has the documented keys in their order, with plain JSON values."""
    prediction = Prediction(SHA256, FAKE, {"normal": 0.3, "nsfw": 0.7}, 0.7, frame=2)
    info = ImageInfo(SHA256, "GIF", 40, 30, 1_000, 5)
    verdict = Verdict(Label.NSFW, Action.REVIEW)
    warning = ImageWarning(WarningCode.METADATA, "Damaged metadata was ignored.")
    made = review_json(
        Review("a.gif", POLICY, verdict, SHA256, info, prediction, warnings=(warning,))
    )
    values = [
        "a.gif", SHA256, 0.7, {"normal": 0.3, "nsfw": 0.7}, "nsfw", "review", 0.5, 0.2, 0.8,
        "fake", "r1", "f" * 64, "test", 40, 30, "GIF", 2, 5,
        [{"code": "metadata", "message": "Damaged metadata was ignored."}], None, None, None,
    ]  # fmt: skip
    assert list(made) == REVIEW_KEYS
    assert json.loads(json.dumps(made)) == dict(zip(REVIEW_KEYS, values, strict=True))


def test_an_unavailable_image_has_an_error() -> None:
    """Without a prediction the object has the same keys, no score, and the error."""
    problem = ImageProblem("truncated", "a.jpg ends too early.")
    made = review_json(Review("a.jpg", POLICY, Verdict(), None, problem=problem))
    assert list(made) == REVIEW_KEYS
    assert made["error"] == {"kind": "truncated", "message": "a.jpg ends too early."}
    assert {key: made[key] for key in REVIEW_KEYS if made[key] is not None} == {
        "name": "a.jpg",
        "action": "unavailable",
        "threshold": 0.5,
        "review_from": 0.2,
        "review_to": 0.8,
        "warnings": [],
        "error": made["error"],
    }


def test_the_rest_api_describes_the_same_keys() -> None:
    """The schema of an image in the OpenAPI document has the keys of its JSON object."""
    status = TypeAdapter(SubmissionStatus).json_schema(mode="serialization")
    assert list(status["$defs"]["ImageResult"]["properties"]) == REVIEW_KEYS
    submitted = TypeAdapter(SubmittedImage).json_schema(mode="serialization")
    assert list(submitted["properties"]) == [*REVIEW_KEYS, "id"]
