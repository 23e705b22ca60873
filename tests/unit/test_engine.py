"""The engine: each image is classified once, and unavailable is never safe."""

import io
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from nsfw_app.errors import (
    DecisionError,
    ModelError,
    ModelNotFound,
    PredictionFailed,
    StorageError,
    StorageErrorKind,
)
from nsfw_app.models.classifier import Classifier
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.records import Action, Label, LogFilter, Policy, Retain, Review, Upload, Verdict
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook, PolicyDefaults
from nsfw_app.store import Store
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes
from tests.support.image_files import animated
from tests.support.sample_records import answer_to, person

COMMAND = Upload("a.png", "command")
BY_ANN = Upload("a.png", "gallery", "ann", "batch 1", retain=Retain.QUEUE)
ANN = person("Ann", owner="ann")


class FixedClassifier(FakeClassifier):
    """Returns the same nsfw probability for the last image, or raises."""

    def __init__(self, outcome: float | PredictionFailed) -> None:
        super().__init__()
        self.outcome = outcome

    def predict(self, images: list[Image.Image]) -> list[dict[str, float]]:
        """See `Classifier.predict`."""
        if isinstance(self.outcome, PredictionFailed):
            raise self.outcome
        return [*super().predict(images)[1:], {"normal": 0.1, "nsfw": self.outcome}]


def engine_with(store: Store, loader: ModelLoader | Classifier, **changes: object) -> Engine:
    """An engine over this store, with a loaded classifier or with a loader in any state."""
    if not isinstance(loader, ModelLoader):
        classifier = loader
        loader = ModelLoader("fake", lambda: Loaded(classifier))
        loader.wait()
    defaults = changes.pop("defaults", PolicyDefaults())
    parts = {"limits": LIMITS, "policies": PolicyBook(store.policies, defaults)} | changes
    return Engine(store=store, loader=loader, **parts)


def gif(*reds: int) -> bytes:
    """An animation whose frames have these fake scores times 255."""
    return animated([Image.new("RGB", (20, 20), (red, 0, 0)) for red in reds], "GIF")


def assert_unavailable(review: Review, kind: str) -> None:
    """The review has no verdict, and a problem of this kind."""
    assert review.verdict == Verdict(None, Action.UNAVAILABLE)
    assert review.prediction is None
    assert review.problem is not None
    assert (review.problem.kind, review.problem.message[-1]) == (kind, ".")


@pytest.mark.parametrize(
    ("red", "label", "action"),
    [
        (0, "normal", "allow"),
        (51, "normal", "review"),
        (128, "nsfw", "review"),
        (204, "nsfw", "block"),
    ],
)
def test_an_image_is_classified(engine: Engine, red: int, label: str, action: str) -> None:
    """A score becomes a label and an action by the policy in force."""
    review = engine.review(image_bytes(red), COMMAND)
    assert review.prediction is not None
    assert review.prediction.nsfw_score == pytest.approx(red / 255)
    assert review.prediction.identity == FakeClassifier.identity
    assert review.verdict == Verdict(Label(label), Action(action))
    assert review.policy == engine.policy


def test_same_bytes_are_classified_once(engine: Engine, classifier: FakeClassifier) -> None:
    """The same bytes cost one inference under any name and for any owner."""
    uploads = [COMMAND, BY_ANN, replace(BY_ANN, owner="bob"), replace(COMMAND, name="b.png")]
    reviews = [engine.review(image_bytes(200), upload) for upload in uploads]
    assert classifier.seen == 1
    assert len({(r.sha256, r.image, r.verdict, r.problem) for r in reviews}) == 1
    assert [review.prediction for review in reviews] == [reviews[0].prediction] * 4


class SlowClassifier(FakeClassifier):
    """Predicts when every caller has started, and after a moment in which others could call it."""

    def __init__(self, callers: int) -> None:
        super().__init__()
        self.callers = callers
        self.started = self.predicting = 0
        self.changed = threading.Condition()

    def start(self) -> None:
        """Count a caller."""
        with self.changed:
            self.started += 1
            self.changed.notify_all()

    def predict(self, images: Sequence[Image.Image]) -> list[dict[str, float]]:
        """Wait for all callers to start, and half a second for others that also get here."""
        with self.changed:
            self.predicting += 1
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: self.started >= self.callers, 30)
            self.changed.wait_for(lambda: self.predicting == self.callers, 0.5)
        return super().predict(images)


def test_same_bytes_are_classified_once_by_threads(store: Store) -> None:
    """The same bytes uploaded several times at once cost one inference."""
    classifier = SlowClassifier(callers=6)
    engine = engine_with(store, classifier)
    data = image_bytes(200)

    def review(_: int) -> Review:
        classifier.start()
        return engine.review(data, BY_ANN)

    with ThreadPoolExecutor(6) as pool:
        reviews = list(pool.map(review, range(6)))
    assert [review.problem for review in reviews] == [None] * 6
    assert classifier.seen == 1


def test_a_decision_is_recorded_when_the_purge_after_it_fails(
    engine: Engine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decision is on disk; deleting the preview is left for the daily purge."""
    review = engine.review(image_bytes(250), BY_ANN)

    def fail(_: object) -> int:
        raise StorageError(StorageErrorKind.FULL)

    monkeypatch.setattr(store.purges, "tidy", fail)
    decision = engine.decide(answer_to(review, label=Label.NSFW), ANN)
    assert list(store.log.rows(LogFilter())) == [decision]


def test_predictions_outlive_the_engine(store: Store, classifier: FakeClassifier) -> None:
    """A prediction from before a restart is not computed again."""
    before = engine_with(store, classifier).review(image_bytes(200), COMMAND)
    assert engine_with(store, classifier).review(image_bytes(200), COMMAND) == before
    assert classifier.seen == 1


@pytest.mark.parametrize("part", ["model", "revision", "backend"])
def test_another_model_computes_its_own_prediction(
    store: Store, classifier: FakeClassifier, part: str
) -> None:
    """A prediction of one model, revision or backend is never used for another."""
    engine_with(store, classifier).review(image_bytes(200), COMMAND)
    other = FakeClassifier()
    other.identity = replace(other.identity, **{part: "another"})
    review = engine_with(store, other).review(image_bytes(200), COMMAND)
    assert review.prediction is not None
    assert (review.prediction.identity, other.seen) == (other.identity, 1)


def test_worst_frame_counts(engine: Engine, classifier: FakeClassifier) -> None:
    """An animation has the score and the number of its frame with the highest score."""
    review = engine.review(gif(10, 20, 250, 30), Upload("a.gif", "command"))
    assert review.prediction is not None
    assert review.image is not None
    assert (review.prediction.frame, review.image.frames, classifier.seen) == (2, 4, 4)
    assert review.prediction.nsfw_score == pytest.approx(250 / 255, abs=0.01)
    assert review.verdict.action is Action.BLOCK


def test_the_preview_shows_the_worst_frame(engine: Engine) -> None:
    """The preview of an animation is the frame that its score is of."""
    review = engine.review(
        gif(10, 20, 250, 30), Upload("a.gif", "gallery", "ann", retain=Retain.QUEUE)
    )
    with Image.open(io.BytesIO(engine.preview_jpeg(review.sha256 or "", ANN))) as kept:
        assert kept.getpixel((0, 0))[0] == pytest.approx(250, abs=6)


def test_fewer_frames_than_before_are_no_error(store: Store, classifier: FakeClassifier) -> None:
    """An animation classified under a larger limit of frames is found under a smaller one."""
    data = gif(10, 20, 250, 30, 40, 50, 60)
    before = engine_with(store, classifier).review(data, Upload("a.gif", "command"))
    fewer = engine_with(store, classifier, limits=replace(LIMITS, max_frames=2))
    after = fewer.review(data, Upload("a.gif", "gallery", "ann", retain=Retain.QUEUE))
    assert (after.prediction, after.problem) == (before.prediction, None)
    assert fewer.preview_jpeg(after.sha256 or "", ANN).startswith(b"\xff\xd8")


BAD = {
    "empty": ("a.png", b""),
    "not_an_image": ("a.png", b"<!doctype html><title>not here</title>"),
    "truncated": ("a.jpg", image_bytes(9, size=(400, 400), image_format="JPEG")[:200]),
    "too_many_pixels": ("a.png", image_bytes(9, size=(2_001, 2_000))),
    "too_large": ("a.png", bytes(LIMITS.max_bytes + 1)),
}


@pytest.mark.parametrize(("kind", "file"), BAD.items(), ids=BAD)
def test_bad_bytes_are_unavailable(
    engine: Engine, classifier: FakeClassifier, kind: str, file: tuple[str, bytes]
) -> None:
    """A file that cannot be classified has a problem, and is neither safe nor unsafe."""
    name, data = file
    assert_unavailable(
        engine.review(data, Upload(name, "gallery", "ann", retain=Retain.QUEUE)), kind
    )
    assert classifier.seen == 0


def test_batch_goes_on_after_each_bad_file(engine: Engine, tmp_path: Path) -> None:
    """A fault of one file leaves the reviews of the others, in order."""
    folder = tmp_path / "batch"
    folder.mkdir()
    paths, expected = [], []
    for number, (kind, (name, data)) in enumerate(BAD.items()):
        good, bad = folder / f"{number}.png", folder / f"{number} {name}"
        good.write_bytes(image_bytes(number))
        bad.write_bytes(data)
        paths += [good, bad]
        expected += ["", kind]
    paths += [folder, folder / "nowhere.png", folder / "0.png"]
    expected += ["directory", "missing", ""]
    reviews = list(engine.review_files(paths, source="command"))
    assert [review.name for review in reviews] == [str(path) for path in paths]
    assert [review.problem.kind if review.problem else "" for review in reviews] == expected
    unavailable = [review.verdict.action is Action.UNAVAILABLE for review in reviews]
    assert unavailable == [bool(kind) for kind in expected]


@pytest.mark.parametrize(
    "outcome", [float("nan"), float("inf"), PredictionFailed("Out of memory.")], ids=str
)
@pytest.mark.parametrize("data", [image_bytes(9), gif(10, 200, 30)], ids=["still", "animated"])
def test_failed_inference_is_unavailable(
    store: Store, data: bytes, outcome: float | PredictionFailed
) -> None:
    """A model that fails on one frame gives no verdict, and no prediction is stored."""
    review = engine_with(store, FixedClassifier(outcome)).review(data, Upload("a", "command"))
    assert_unavailable(review, "prediction_failed")
    retried = engine_with(store, FakeClassifier()).review(data, Upload("a", "command"))
    assert retried.problem is None


def test_loading_model_is_unavailable(store: Store, classifier: FakeClassifier) -> None:
    """Until the model is loaded an image is unavailable; afterwards it has a verdict."""
    loader = ModelLoader("fake", lambda: Loaded(classifier))
    engine = engine_with(store, loader)
    assert_unavailable(engine.review(image_bytes(9), BY_ANN), "model_loading")
    loader.wait()
    assert engine.review(image_bytes(9), BY_ANN).verdict.action is Action.ALLOW


def test_failed_model_is_unavailable(store: Store) -> None:
    """With a model that cannot be loaded images are unavailable; a batch does not start."""

    def fail() -> Loaded:
        raise ModelNotFound("The model was not found. Name another.")

    loader = ModelLoader("fake", fail)
    engine = engine_with(store, loader)
    with pytest.raises(ModelError, match="not found"):
        next(engine.review_files([Path("a.png")], source="command"))
    review = engine.review(image_bytes(9), BY_ANN)
    assert review.verdict == Verdict(None, Action.UNAVAILABLE)
    assert review.problem is not None
    assert review.problem.message == "The model was not found. Name another."


@pytest.mark.parametrize(
    ("model", "defaults", "numbers"),
    [
        ("fake", PolicyDefaults(), (0.5, 0.2, 0.8)),
        ("open-nsfw", PolicyDefaults(), (0.33, 0.2, 0.8)),
        ("Falconsai/nsfw_image_detection", PolicyDefaults(), (0.53, 0.2, 0.8)),
        ("fake", PolicyDefaults(0.6, 0.1, 0.7), (0.6, 0.1, 0.7)),
        ("open-nsfw", PolicyDefaults(None, 0.4, 0.7), (0.33, 0.33, 0.7)),
    ],
)
def test_first_policy(
    store: Store, model: str, defaults: PolicyDefaults, numbers: tuple[float, float, float]
) -> None:
    """Until a policy is saved, the settings and the model's default threshold apply."""
    classifier = FakeClassifier()
    classifier.identity = replace(classifier.identity, model=model)
    policy = engine_with(store, classifier, defaults=defaults).policy
    assert (policy.threshold, policy.review_from, policy.review_to) == numbers


def test_a_saved_policy_applies_to_stored_predictions(
    store: Store, classifier: FakeClassifier
) -> None:
    """A saved policy is a new version and applies to stored predictions without inference."""
    engine = engine_with(store, classifier)
    assert engine.review(image_bytes(102), COMMAND).verdict.label is Label.NORMAL
    saved = engine.save_policy(Policy(0.4, 0.3, 0.4), author="ann", reason="too many missed")
    assert saved == Policy(0.4, 0.3, 0.4, 2, "ann", "too many missed") == engine.policy
    review = engine.review(image_bytes(102), COMMAND)
    assert (review.verdict, review.policy) == (Verdict(Label.NSFW, Action.BLOCK), saved)
    assert engine_with(store, classifier).policy == saved
    assert engine.save_policy(saved, author="bob", reason="again").version == 3
    assert classifier.seen == 1


def test_decision_is_about_what_was_on_screen(engine: Engine) -> None:
    """A decision has the score, threshold and model that the reviewer saw."""
    review = engine.review(image_bytes(200), BY_ANN)
    shown = replace(answer_to(review), threshold=0.79)
    engine.save_policy(Policy(0.1, 0.1, 0.1), author="bob", reason="concurrently")
    decision = engine.decide(shown, ANN)
    assert review.prediction is not None
    assert (decision.nsfw_score, decision.threshold) == (review.prediction.nsfw_score, 0.79)
    assert (decision.model, decision.revision, decision.backend) == ("fake", "r1", "test")
    assert (decision.model_label, decision.agrees) == ("normal", True)
    assert (decision.name, decision.source, decision.batch_id) == ("a.png", "gallery", "batch 1")
    assert list(engine.log.rows(LogFilter())) == [decision]


def test_undo_restores_the_earlier_decision(engine: Engine) -> None:
    """Undoing a change restores the earlier decision; undoing that one leaves none."""
    review = engine.review(image_bytes(200), BY_ANN)
    assert review.prediction is not None
    first, second = (
        engine.decide(answer_to(review, label, label), ANN) for label in (Label.NORMAL, Label.NSFW)
    )
    assert engine.standing(review.prediction, "Ann") == second
    assert engine.undo(second.decision_id, reviewer="Ann", nonce="3") == first
    assert engine.undo(first.decision_id, reviewer="Ann", nonce="4") is None
    assert engine.standing(review.prediction, "Ann") is None


def test_an_unpaired_surrogate_is_refused(engine: Engine) -> None:
    """A note that is not valid Unicode is a DecisionError."""
    review = engine.review(image_bytes(200), BY_ANN)
    with pytest.raises(DecisionError, match="unpaired surrogate"):
        engine.decide(replace(answer_to(review), note="\ud800"), ANN)
