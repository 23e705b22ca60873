"""Categories that models judge, next to decisions: in exports and in Insights."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from nsfw_app.evidence.summaries import Summaries
from nsfw_app.models.equivalence import EquivalentBackends
from nsfw_app.records import Category, Label, LabelRole, LogFilter, ModelIdentity, Retain, Upload
from nsfw_app.review.exports import log_jsonl
from nsfw_app.store import Store
from tests.support.detail import FakeDetail, detail_engine
from tests.support.fakes import FakeClassifier, image_bytes
from tests.support.sample_records import answer_to, person

FLAGGED, ALLOWED = 128, 0  # reds
UPLOAD = Upload("a.png", "test", "ann", retain=Retain.QUEUE)


class FiveClasses(FakeClassifier):
    """A first model with labels of drawings and of people, which are categories."""

    identity = ModelIdentity("five", "r1", "5" * 64, "test")
    roles: Mapping[str, LabelRole] = {
        "drawings": LabelRole.SAFE,
        "hentai": LabelRole.UNSAFE,
        "neutral": LabelRole.SAFE,
        "porn": LabelRole.UNSAFE,
        "sexy": LabelRole.UNSAFE,
    }

    def predict(self, images: Sequence[Any]) -> list[dict[str, float]]:
        """The same for each image."""
        values = (0.4, 0.1, 0.1, 0.3, 0.1)
        return [dict(zip(self.roles, values, strict=True)) for _ in images]


def test_exports_have_what_the_detail_model_judges(store: Store) -> None:
    """Null where it was not asked, and the first model's labels are no categories."""
    engine = detail_engine(store, FakeDetail())
    reviews = [engine.review(image_bytes(red), UPLOAD) for red in (FLAGGED, ALLOWED)]
    for number, review in enumerate(reviews):
        engine.decide(answer_to(review, str(number), Label.NSFW), person("ann"))
    lines = log_jsonl(store.log.rows(LogFilter()), model_categories=engine.model_categories)
    found = {row["image_sha256"]: row["model_categories"] for row in map(json.loads, lines)}
    assert found == {reviews[0].sha256: dict(reviews[0].categories), reviews[1].sha256: None}
    assert reviews[0].categories.keys() == {Category.SEXUAL_EXPLICIT, Category.GORE_OR_VIOLENCE}


def test_insights_read_them_by_prediction(store: Store) -> None:
    """As the page shows them; a prediction without any has an empty mapping."""
    engine = detail_engine(store, FakeDetail())
    reviews = [engine.review(image_bytes(red), UPLOAD) for red in (FLAGGED, ALLOWED)]
    summaries = Summaries(store, engine.policies, EquivalentBackends(None))
    judged = summaries.judged_categories([1, 2, 3])
    assert judged == {1: dict(reviews[0].categories), 2: {}}


def test_a_first_model_gives_its_own(store: Store) -> None:
    """Its labels are categories; where both models judge one, the detail model's counts."""
    engine = detail_engine(store, FakeDetail(), classifier=FiveClasses())
    review = engine.review(image_bytes(FLAGGED), UPLOAD)
    judged = store.judged_categories.of([1])[1]
    assert judged == dict(review.categories)
    assert list(judged) == [each for each in Category if each in judged]
    assert judged[Category.DRAWING] == 0.5
    assert judged[Category.SEXUAL_EXPLICIT] != pytest.approx(0.4)
