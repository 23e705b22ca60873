"""Arrivals: each image that arrives has the probability with which the queue rules draw it."""

from pathlib import Path

import pytest

from nsfw_app.errors import AuditPlanError, SettingsError
from nsfw_app.records import Action, Policy, Retain, Upload
from nsfw_app.review.engine import Engine
from nsfw_app.rules.audit_plan import AuditPlan, AuditRange, parse_ranges
from nsfw_app.rules.queue import Admission, QueueReason, QueueRules
from nsfw_app.settings import load
from nsfw_app.store import Store
from tests.support.fakes import image_bytes
from tests.support.sample_records import admitted

PLAN = "0-0.05=0.005, 0.05-0.2=0.1,0.8-1=0.05"


def arrivals(store: Store) -> list[tuple]:
    """Source, probability, whether it was drawn, and policy of each arrival, in order."""
    rows = store.log._connections.db.execute(
        "select source, probability, drawn, policy_version from arrivals order by id"
    )
    return [tuple(row) for row in rows]


def test_each_arrival_has_its_probability(engine: Engine, store: Store) -> None:
    """It is 1 in the band and the audit rate outside it, whether the image was drawn or not."""
    rules = QueueRules(frozenset(QueueReason), AuditPlan(0.0, parse_ranges("0-0.1=1,0.8-1=0.5")))
    store.queue.rules = rules
    engine.save_policy(Policy(0.5, 0.2, 0.8), author="ann", reason="test")
    for red in (10, 40, 128, 250):
        engine.review(image_bytes(red), Upload("a.png", "api", "ann", retain=Retain.QUEUE))
    found = arrivals(store)
    policy = engine.policy.version
    assert found[:3] == [("api", 1.0, 1, policy), ("api", 0.0, 0, policy), ("api", 1.0, 1, policy)]
    assert found[3][1] == 0.5
    assert len(store.queue._connections.db.execute("select * from queue").fetchall()) == sum(
        drawn for _, _, drawn, _ in found
    )


@pytest.mark.parametrize("retain", [Retain.QUEUE, Retain.SUBMISSION])
def test_an_image_arrives_once(engine: Engine, store: Store, retain: Retain) -> None:
    """The same bytes again are no second arrival, nor is what may not enter the queue one."""
    upload = Upload("a.png", "api", "key:shop", retain=retain)
    data = image_bytes(250)
    engine.review(data, Upload("a.png", "gallery", "ann", retain=Retain.PREVIEW))
    engine.review(data, Upload("a.png", "command"))
    assert arrivals(store) == []
    for _ in range(2):
        engine.review(data, upload)
    assert [(source, probability) for source, probability, *_ in arrivals(store)] == [("api", 0.0)]


def test_rules_that_are_not_in_use_draw_nothing(engine: Engine, store: Store) -> None:
    """Without audits among the rules, the probability outside the band is 0 at any rate."""
    store.queue.rules = QueueRules(frozenset({QueueReason.REVIEW}), AuditPlan(1.0))
    review = engine.review(image_bytes(250), Upload("a.png", "api", "ann", retain=Retain.QUEUE))
    assert store.queue.rules.admit(review.prediction, Action.BLOCK) == Admission(None, 0.0)
    assert [row[1] for row in arrivals(store)] == [0.0]


def test_each_installation_draws_other_images(store: Store, tmp_path: Path) -> None:
    """The secret is random, is kept across restarts, and is the one that the rules draw with."""
    secret = store.arrivals.draw_secret()
    assert len(secret) == 64
    assert store.queue.rules.secret == secret
    for name, same in (("review.db", True), ("other.db", False)):
        again = Store(tmp_path / name, previews_dir=tmp_path / "images", journal_mode="wal")
        assert (again.arrivals.draw_secret() == secret) is same


def test_a_plan_gives_each_score_one_rate() -> None:
    """A range includes its lower end and, where that is 1, its upper end."""
    plan = AuditPlan(0.2, parse_ranges(PLAN))
    scores = [0.0, 0.049, 0.05, 0.2, 0.79, 0.8, 1.0]
    assert [plan.rate(score) for score in scores] == [0.005, 0.005, 0.1, 0.2, 0.2, 0.05, 0.05]
    assert parse_ranges(str(plan)) == plan.ranges
    assert parse_ranges("") == ()


@pytest.mark.parametrize(
    "text",
    ["0-0.5", "a-b=c", "0-nan=0.1", "0.5-0.2=0.1", "0-2=0.1", "0-0.1=2", "0-0.2=1,0.1-0.3=1"],
)
def test_a_wrong_plan_is_refused_in_words(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges that are not of the form, out of range, or overlap are an error of the setting."""
    with pytest.raises(AuditPlanError):
        AuditPlan(ranges=parse_ranges(text))
    monkeypatch.setenv("NSFW_AUDIT_PLAN", text)
    with pytest.raises(SettingsError, match="NSFW_AUDIT_PLAN"):
        load()


def test_the_plan_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """`NSFW_AUDIT_PLAN` holds the ranges."""
    monkeypatch.setenv("NSFW_QUEUE_RULES", "audit")
    monkeypatch.setenv("NSFW_AUDIT_PLAN", PLAN)
    assert load().audit_plan[0] == AuditRange(0.0, 0.05, 0.005)


def test_reasons_that_people_choose_have_no_probability() -> None:
    """Only what a rule draws has one."""
    assert admitted(QueueReason.SECOND_OPINION).admission.draw_probability is None
    assert admitted(QueueReason.AUDIT, 0.1).admission.draw_probability == 0.1
