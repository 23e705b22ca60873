"""Predictions by verified backends of the same weights count as predictions of one model."""

from dataclasses import replace
from pathlib import Path

import pytest

from nsfw_app.evidence.agreement import Insights
from nsfw_app.models.equivalence import EquivalentBackends
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.records import Label, ModelIdentity, Policy, Retain, Upload
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.store import Store
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes
from tests.support.sample_records import FAKE, SHA256, add, add_image, answer

TORCH = replace(FAKE, backend="torch")
RUNTIME = replace(FAKE, backend="onnxruntime")
FORCED = replace(FAKE, backend="openvino-int8-forced")


def engine_on(
    store: Store, identity: ModelIdentity, artifacts_dir: Path
) -> tuple[Engine, FakeClassifier]:
    """An engine whose classifier has this identity."""
    classifier = FakeClassifier()
    classifier.identity = identity
    loader = ModelLoader("fake", lambda: Loaded(classifier))
    loader.wait()
    engine = Engine(
        store=store,
        loader=loader,
        limits=LIMITS,
        policies=PolicyBook(store.policies),
        artifacts_dir=artifacts_dir,
    )
    return engine, classifier


def test_backends_are_equivalent_both_ways_or_alone(tmp_path: Path) -> None:
    """Verified backends share one set; one that was forced or has no report has only itself."""
    equivalents, policy = EquivalentBackends(tmp_path), Policy(0.5, 0.2, 0.8)
    both = equivalents.of(TORCH, policy)
    assert both == equivalents.of(RUNTIME, policy) >= {"torch", "onnxruntime"}
    assert equivalents.of(FORCED, policy) == {"openvino-int8-forced"}
    assert EquivalentBackends(None).of(TORCH, policy) == {"torch"}


@pytest.mark.parametrize(
    ("second", "inferences"), [(RUNTIME, 0), (FORCED, 1), (replace(RUNTIME, revision="r2"), 1)]
)
def test_a_verified_backend_reuses_predictions(
    store: Store, tmp_path: Path, second: ModelIdentity, inferences: int
) -> None:
    """After a change of backend known bytes need no inference; other predictions are not reused."""
    first, _ = engine_on(store, TORCH, tmp_path)
    upload = Upload("a.png", "gallery", "ann", retain=Retain.QUEUE)
    before = first.review(image_bytes(120), upload)
    engine, classifier = engine_on(store, second, tmp_path)
    after = engine.review(image_bytes(120), upload)
    assert classifier.seen == inferences
    assert (after.prediction == before.prediction) == (inferences == 0)


def test_the_prediction_with_decisions_is_found_first(store: Store) -> None:
    """Of two predictions from before backends were equivalent, the decided one is shown."""
    add_image(store, identity=TORCH)
    add_image(store, identity=RUNTIME)
    both = frozenset({"torch", "onnxruntime"})
    found = store.catalog.find(SHA256, RUNTIME, backends=both)
    assert found is not None
    assert found.prediction.identity == TORCH, "the oldest"
    add(store.log, answer("1", backend="onnxruntime"))
    found = store.catalog.find(SHA256, TORCH, backends=both)
    assert found is not None
    assert found.prediction.identity == RUNTIME


def test_insights_count_an_image_once(store: Store, tmp_path: Path) -> None:
    """Statistics of one model are not split by backend, and the latest decision counts."""
    for identity in (TORCH, RUNTIME, FORCED):
        add_image(store, identity=identity)
    add(store.log, answer("1", Label.NORMAL, backend="torch"))
    add(store.log, answer("2", Label.NSFW, backend="onnxruntime"))
    add(store.log, answer("3", Label.NSFW, backend="onnxruntime"), reviewer="bob")
    add(store.log, answer("4", Label.NORMAL, backend="openvino-int8-forced"), reviewer="cy")
    engine, _ = engine_on(store, TORCH, tmp_path)
    equivalents = EquivalentBackends(tmp_path)
    insights = Insights(store, engine.policies, equivalents)
    verified, forced = insights.models()
    assert (verified.backends, verified.confusion.true_positives) == (["onnxruntime"], 1)
    assert (forced.backends, forced.confusion.false_positives) == (["openvino-int8-forced"], 1)


def test_a_misclassified_image_is_listed_once(store: Store) -> None:
    """A training label is of an image, even if several backends misclassified it."""
    for number, identity in enumerate((TORCH, RUNTIME)):
        add_image(store, identity=identity)
        for reviewer in ("ann", "bob"):
            decision = answer(f"{reviewer}-{number}", Label.NORMAL, backend=identity.backend)
            add(store.log, decision, reviewer=reviewer)
    (misclassification,) = store.training.misclassifications(limit=10)
    store.views.add(SHA256, "ann")
    store.training.decide(misclassification.prediction_id, Label.NORMAL, reviewer="ann", seen=True)
    assert [m.confirmed for m in store.training.misclassifications(limit=10)] == ["normal"]
    assert len(store.training.confirmed()) == 1
