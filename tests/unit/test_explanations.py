"""Explanations on request: who may have one, the queue, cancelling, and what is kept."""

import threading
import time
from dataclasses import replace

import pytest

from nsfw_app.errors import (
    ImageRestricted,
    NotFound,
    Overloaded,
    StorageError,
    StorageErrorKind,
)
from nsfw_app.explain_errors import OtherModel, PixelsMissing, ScoreHidden
from nsfw_app.imaging import decode
from nsfw_app.models.explain.explanation import VERSION
from nsfw_app.records import Background, Label, ModelIdentity, Reason, Retain, Upload
from nsfw_app.review import explanation_requests
from nsfw_app.review.engine import Engine
from nsfw_app.review.explanation_requests import ExplanationState, ExplanationStatus
from nsfw_app.rules.permissions import DEMO, Caller, UserRole
from nsfw_app.rules.queue import QueueOrder
from nsfw_app.store import Store
from tests.support.fakes import ExplainableClassifier, corner_image
from tests.support.sample_records import answer_to, person

ANN, BOB = person("ann"), person("bob")
ROOT, VERA = person("root", role=UserRole.ADMIN), person("vera", role=UserRole.VIEWER)
MODEL = ExplainableClassifier.identity
BY_ANN = Upload("a.png", "gallery", "ann", retain=Retain.QUEUE)
DONE, RUNNING = ExplanationState.DONE, ExplanationState.RUNNING
TIMEOUT_S = 10


@pytest.fixture
def classifier() -> ExplainableClassifier:
    """The model of the engine."""
    return ExplainableClassifier()


def upload(engine: Engine, *, red: int = 255, upload: Upload = BY_ANN) -> str:
    """Review an image; returns its hash."""
    review = engine.review(corner_image(red), upload)
    assert review.sha256
    return review.sha256


def finished(engine: Engine, started: ExplanationStatus, caller: Caller = ANN) -> ExplanationStatus:
    """The status when the explanation has ended."""
    end = time.monotonic() + TIMEOUT_S
    while (status := engine.explanations.status(started.id, caller)).status is RUNNING:
        assert time.monotonic() < end
        time.sleep(0.005)
    return status


def explained(engine: Engine, sha256: str, caller: Caller = ANN) -> ExplanationStatus:
    """The finished explanation of an image."""
    started = engine.explanations.start(sha256, MODEL, caller)
    return started if started.status is DONE else finished(engine, started, caller)


def test_an_explanation_is_computed_once(engine: Engine, classifier: ExplainableClassifier) -> None:
    """From the kept preview; a second request gets what is kept."""
    sha256 = upload(engine)
    first = explained(engine, sha256)
    assert first.explanation is not None
    assert (first.status, first.progress, first.error) == (DONE, 1.0, None)
    assert first.explanation.informative
    assert first.explanation.marked[0][0]
    seen = classifier.seen
    again = engine.explanations.start(sha256, MODEL, ANN)
    assert (again.status, again.id, classifier.seen) == (DONE, "", seen)
    assert again.explanation is not None
    assert again.explanation.to_json() == first.explanation.to_json()


def test_nothing_is_computed_unasked(engine: Engine, classifier: ExplainableClassifier) -> None:
    """An upload computes its score only."""
    upload(engine)
    assert classifier.batches == []


def test_callers_who_may_not_see_the_image_get_none(engine: Engine, store: Store) -> None:
    """Neither by its hash nor from what is kept; a request belongs to its caller."""
    sha256 = upload(engine)
    status = explained(engine, sha256)
    started = engine.explanations.start_with_file(corner_image(254), "b.png", MODEL, DEMO)
    for caller in (BOB, VERA):
        with pytest.raises(NotFound, match="No such image"):
            engine.explanations.start(sha256, MODEL, caller)
        for request in (status, started):
            with pytest.raises(NotFound):
                engine.explanations.status(request.id, caller)
            with pytest.raises(NotFound):
                engine.explanations.cancel(request.id, caller)
    assert explained(engine, sha256, ROOT).status is DONE
    with pytest.raises(NotFound, match="no such prediction"):
        engine.explanations.start(sha256, replace(MODEL, backend="other"), ANN)


@pytest.mark.parametrize("holds_lease", [False, True])
def test_a_blind_reviewer_gets_none_before_the_decision(
    engine: Engine, store: Store, *, holds_lease: bool
) -> None:
    """A second opinion is blind: the score and its explanation come after the decision."""
    sha256 = upload(engine, red=120)
    assert explained(engine, sha256, BOB).status is DONE, "an image to review is not blind"
    engine.queue.request_second_opinion(sha256, MODEL, ANN)
    if holds_lease:
        claim = {"model": MODEL.model, "count": 1, "holding": ()}
        (item,) = engine.queue.claim("bob", order=QueueOrder.PRIORITY, **claim)
        assert item.blind
    with pytest.raises(ScoreHidden, match="hidden until you have decided"):
        engine.explanations.start(sha256, MODEL, BOB)
    with pytest.raises(ScoreHidden):
        engine.explanations.start_with_file(corner_image(120), "a.png", MODEL, BOB)
    assert explained(engine, sha256, ANN).status is DONE, "Ann uploaded it and knows the score"
    review = engine.review(corner_image(120), BY_ANN)
    engine.decide(answer_to(review, "bob", Label.NORMAL), BOB)
    assert explained(engine, sha256, BOB).status is DONE


def test_a_reviewer_who_claimed_their_own_upload_reviews_blind(engine: Engine) -> None:
    """The owner's exception ends with the claim."""
    sha256 = upload(engine, red=120)
    engine.queue.request_second_opinion(sha256, MODEL, BOB)
    claim = {"model": MODEL.model, "count": 1, "holding": ()}
    (item,) = engine.queue.claim("ann", order=QueueOrder.PRIORITY, **claim)
    assert item.blind
    with pytest.raises(ScoreHidden):
        engine.explanations.start(sha256, MODEL, ANN)


def test_an_explanation_is_no_view_of_the_image(engine: Engine) -> None:
    """A decision that must be seen needs the preview."""
    sha256 = upload(engine)
    explained(engine, sha256)
    assert not engine.was_sent(sha256, ANN)


def test_without_a_preview_the_file_is_needed(engine: Engine, store: Store) -> None:
    """After a purge nothing is kept; the file is explained instead, and that is not kept either."""
    sha256 = upload(engine)
    explained(engine, sha256)
    prediction_id = 1
    assert store.explanations.find(prediction_id, version=VERSION)
    store.purges.purge(sha256, actor="root")
    assert store.explanations.find(prediction_id, version=VERSION) is None
    with pytest.raises(PixelsMissing, match="Upload the image again"):
        engine.explanations.start(sha256, MODEL, ANN)
    started = engine.explanations.start_with_file(corner_image(), "a.png", MODEL, ANN)
    assert finished(engine, started).status is DONE
    assert store.explanations.find(prediction_id, version=VERSION) is None


@pytest.mark.parametrize("change", [{"frame": 3}, {"background": Background.BLACK}])
def test_the_preview_may_be_of_another_frame(
    engine: Engine, store: Store, change: dict[str, object]
) -> None:
    """Another model chose another frame: the file is explained instead."""
    sha256 = upload(engine)
    stored = store.catalog.get(1)
    identity = replace(MODEL, model="other")
    other = replace(stored.prediction, identity=identity, **change)
    store.catalog.record(replace(stored, prediction=other, prediction_id=0))
    with pytest.raises(PixelsMissing, match="may show another frame or background"):
        engine.explanations.start(sha256, MODEL, ANN)
    started = engine.explanations.start_with_file(corner_image(), "a.png", MODEL, ANN)
    assert finished(engine, started).status is DONE


def test_an_erased_image_has_no_explanation(engine: Engine, store: Store) -> None:
    """Erasing what is stored about an image deletes it, and it is listed before that."""
    sha256 = upload(engine)
    explained(engine, sha256)
    assert "explanations" in {row.table for row in store.personal_data.of_image(sha256)}
    store.personal_data.erase_image(sha256, actor="root")
    assert "explanations" not in {row.table for row in store.personal_data.of_image(sha256)}


def test_a_restricted_image_has_no_explanation(engine: Engine, store: Store) -> None:
    """What is kept is deleted; administrators get one that is not kept."""
    sha256 = upload(engine)
    explained(engine, sha256)
    review = engine.review(corner_image(), BY_ANN)
    decision = replace(answer_to(review, "n"), reasons=(Reason.MINOR_PRESENT,))
    engine.decide(decision, ANN)
    assert store.explanations.find(1, version=VERSION) is None
    with pytest.raises(NotFound):
        engine.explanations.start(sha256, MODEL, ANN)
    with pytest.raises(ImageRestricted):
        engine.explanations.start_with_file(corner_image(), "a.png", MODEL, ANN)
    assert explained(engine, sha256, ROOT).status is DONE
    assert store.explanations.find(1, version=VERSION) is None


def test_an_image_that_is_restricted_while_it_is_explained(engine: Engine) -> None:
    """Polling then says that it is restricted."""
    started = engine.explanations.start(upload(engine), MODEL, ANN)
    assert finished(engine, started).status is DONE
    review = engine.review(corner_image(), BY_ANN)
    decision = replace(answer_to(review, "n"), reasons=(Reason.MINOR_PRESENT,))
    engine.decide(decision, ANN)
    for act in (engine.explanations.status, engine.explanations.cancel):
        with pytest.raises(ImageRestricted):
            act(started.id, ANN)


def test_a_full_disk_does_not_discard_an_explanation(
    engine: Engine,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its caller gets it; it is not kept."""

    def fail(*_: object, **__: object) -> None:
        raise StorageError(StorageErrorKind.FULL)

    sha256 = upload(engine)
    monkeypatch.setattr(store.explanations, "add", fail)
    assert explained(engine, sha256).explanation is not None
    assert "An explanation was not kept" in caplog.text
    assert store.explanations.find(1, version=VERSION) is None


def test_only_scores_of_the_loaded_model_are_explained(engine: Engine, store: Store) -> None:
    """With any backend: the explanation says which one computed it."""
    sha256 = upload(engine)
    stored = store.catalog.get(1)
    for change in ({"model": "earlier"}, {"backend": "faster"}):
        identity = replace(MODEL, **change)
        prediction = replace(stored.prediction, identity=identity)
        store.catalog.record(replace(stored, prediction=prediction, prediction_id=0))
    earlier = ModelIdentity("earlier", MODEL.revision, "", MODEL.backend)
    with pytest.raises(OtherModel, match="'earlier', revision r1; 'fake', revision r1, is loaded"):
        engine.explanations.start(sha256, earlier, ANN)
    started = engine.explanations.start(sha256, replace(MODEL, backend="faster"), ANN)
    explanation = finished(engine, started).explanation
    assert explanation is not None
    assert explanation.backend == MODEL.backend


def test_a_caller_who_is_not_signed_in_sends_the_file(engine: Engine, store: Store) -> None:
    """Nothing of it is stored."""
    started = engine.explanations.start_with_file(corner_image(), "a.png", MODEL, DEMO)
    status = finished(engine, started, DEMO)
    assert status.explanation is not None
    assert status.explanation.informative
    assert store.catalog.find(decode.sha256(corner_image()), MODEL) is None


class Held:
    """Holds the model before each batch in the background until `released` is set."""

    def __init__(self, classifier: ExplainableClassifier) -> None:
        self.started, self.released = threading.Event(), threading.Event()
        classifier.before_batch = self.wait

    def wait(self) -> None:
        """Called before each batch."""
        self.started.set()
        assert self.released.wait(TIMEOUT_S)


def test_an_explanation_can_be_cancelled(engine: Engine, classifier: ExplainableClassifier) -> None:
    """It ends after the batch that is computed; another one can be started."""
    held, sha256 = Held(classifier), upload(engine)
    started = engine.explanations.start(sha256, MODEL, ANN)
    assert started.status is RUNNING
    assert held.started.wait(TIMEOUT_S)
    assert engine.explanations.cancel(started.id, ANN).status is ExplanationState.CANCELLED
    held.released.set()
    assert finished(engine, started).status is ExplanationState.CANCELLED
    assert len(classifier.batches) == 1
    assert explained(engine, sha256).status is DONE


def test_one_that_is_not_polled_is_cancelled(
    engine: Engine, classifier: ExplainableClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page was closed: the model is free for others."""
    monkeypatch.setattr(explanation_requests, "POLL_TIMEOUT_S", -1.0)
    started = engine.explanations.start(upload(engine), MODEL, ANN)
    assert finished(engine, started).status is ExplanationState.CANCELLED
    assert len(classifier.batches) <= 1


def test_equal_requests_are_one(engine: Engine, classifier: ExplainableClassifier) -> None:
    """Asking again while it runs returns the same request."""
    held, sha256 = Held(classifier), upload(engine)
    first, second = (engine.explanations.start(sha256, MODEL, ANN) for _ in range(2))
    assert first.id == second.id
    held.released.set()
    assert finished(engine, first).status is DONE


@pytest.mark.parametrize(("cancels", "state"), [(1, DONE), (2, ExplanationState.CANCELLED)])
def test_one_cancel_does_not_end_the_wait_of_another(
    engine: Engine, classifier: ExplainableClassifier, cancels: int, state: ExplanationState
) -> None:
    """A request is cancelled once none of its callers waits for it."""
    held, sha256 = Held(classifier), upload(engine)
    started, _ = (engine.explanations.start(sha256, MODEL, ANN) for _ in range(2))
    assert held.started.wait(TIMEOUT_S)
    for _ in range(cancels):
        cancelled = engine.explanations.cancel(started.id, ANN)
        assert cancelled.status is ExplanationState.CANCELLED
    held.released.set()
    assert finished(engine, started).status is state


def test_cancelled_requests_hold_no_place_and_no_file(
    engine: Engine, classifier: ExplainableClassifier
) -> None:
    """Else a page that is closed would keep others waiting, and its files in memory."""
    held = Held(classifier)
    running = engine.explanations.start(upload(engine), MODEL, ANN)
    assert held.started.wait(TIMEOUT_S)
    for number in range(2 * explanation_requests.MAX_WAITING):
        data = corner_image(number)
        upload(engine, red=number)
        started = engine.explanations.start_with_file(data, "a.png", MODEL, ANN)
        assert started.status is RUNNING
        engine.explanations.cancel(started.id, ANN)
        request = engine.explanations._requests.find(started.id, ANN)
        assert request.pixels is None
    held.released.set()
    assert finished(engine, running).status is DONE


def test_one_caller_cannot_fill_the_queue(
    engine: Engine, classifier: ExplainableClassifier
) -> None:
    """A quarter of it is the most; the next request says when to try again."""
    held = Held(classifier)
    images = [upload(engine, red=255 - number) for number in range(5)]
    started = [engine.explanations.start(sha256, MODEL, ANN) for sha256 in images[:4]]
    with pytest.raises(Overloaded, match="4 explanations are waiting, 4 of them yours") as full:
        engine.explanations.start(images[4], MODEL, ANN)
    assert full.value.retry_after_s > 0
    assert engine.explanations.start(images[4], MODEL, ROOT).status is RUNNING
    held.released.set()
    assert [finished(engine, each).status for each in started] == [DONE] * 4


def test_a_request_is_computed_before_the_next_batch(
    engine: Engine, classifier: ExplainableClassifier
) -> None:
    """An upload during an explanation is classified while that waits."""
    held = Held(classifier)
    started = engine.explanations.start(upload(engine), MODEL, ANN)
    assert held.started.wait(TIMEOUT_S)
    assert upload(engine, red=200)
    assert classifier.batches == []
    held.released.set()
    assert finished(engine, started).status is DONE


def test_an_error_of_the_model_is_reported(
    engine: Engine, classifier: ExplainableClassifier, caplog: pytest.LogCaptureFixture
) -> None:
    """With kind and sentence; the next explanation is computed."""

    def fail() -> None:
        raise KeyError("surprise")

    sha256 = upload(engine)
    classifier.before_batch = fail
    status = explained(engine, sha256)
    assert status.status is ExplanationState.FAILED
    assert status.error is not None
    assert (status.error.kind, status.explanation) == ("prediction_failed", None)
    assert "surprise" in caplog.text
    classifier.before_batch = lambda: None
    assert explained(engine, sha256).status is DONE
