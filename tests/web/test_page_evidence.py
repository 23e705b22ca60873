"""`/desk/insights`: what the Insights tab is drawn from."""

from dataclasses import replace
from pathlib import Path

import pytest

from nsfw_app.records import Label, Policy
from nsfw_app.review.engine import Engine
from nsfw_app.rules.audit_plan import parse_ranges
from nsfw_app.rules.permissions import Permission
from nsfw_app.rules.queue import QueueReason, QueueRules
from nsfw_app.store import Store
from tests.support.application import open_app
from tests.support.arrivals import AUDIT, REVIEW, add_reviewed, arrive, decide
from tests.support.sample_records import OTHER
from tests.unit.test_population import arriving

__all__ = ["arriving"]  # a fixture
ANY = "/desk/insights"


def test_it_has_the_numbers_and_the_choices(
    engine: Engine, arriving: Store, tmp_path: Path
) -> None:
    """The summary of the chosen images, all sources and models, the running model first."""
    running = engine.status.classifier.identity
    for score in (0.3, 0.5):
        arrive(arriving, score, REVIEW, identity=OTHER)
    arrive(arriving, 0.5, REVIEW, identity=running)
    arrive(arriving, 0.1, AUDIT, source="gallery", identity=running)
    with open_app(engine, arriving, tmp_path) as app:
        ann = app.signed_in("ann")
        found = ann.get(ANY).json()
        other = ann.get(ANY, params={"days": 7, "source": "api", "model": OTHER.model}).json()
        none = ann.get(ANY, params={"source": "elsewhere"}).json()
    assert found["headline"].startswith("Of 2 images since the first one nothing is known")
    assert (found["images"], found["runs"], found["unsettled"]) == (2, True, 2)
    assert (found["sources"], found["models"]) == (["api", "gallery"], [running.model, OTHER.model])
    assert (other["images"], other["runs"], other["days_selected"]) == (2, False, 7)
    assert none["headline"].startswith("No image arrived")
    assert found["alarms"] == other["alarms"] == []


def test_a_running_model_without_evidence_raises_an_alarm(
    engine: Engine, arriving: Store, tmp_path: Path
) -> None:
    """It names both models; the evidence of the other one can be chosen."""
    arrive(arriving, 0.5, REVIEW, identity=OTHER)
    with open_app(engine, arriving, tmp_path) as app:
        found = app.signed_in("vera").get(ANY).json()
    (alarm,) = found["alarms"]
    assert alarm.startswith("The model that runs now has no evidence: ")
    assert f"judged by {OTHER.model}, revision {OTHER.revision}, {OTHER.backend}" in alarm


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "earlier"}, "another model"),
        ({"revision": "e" * 40}, "another revision"),
        ({"weights_sha256": "e" * 64}, "other weights"),
        ({"backend": "fast"}, "a backend whose scores were not verified"),
    ],
)
def test_a_policy_whose_evidence_is_of_another_model_raises_an_alarm(
    engine: Engine, arriving: Store, tmp_path: Path, change: dict[str, str], words: str
) -> None:
    """It stays when the running model has some images, until the policy is saved on its own."""
    running = engine.status.classifier.identity
    for _ in range(3):
        arrive(arriving, 0.5, REVIEW, identity=replace(running, **change))
    with arriving.arrivals._connections.writing() as db:
        db.execute("update arrivals set arrived_at = '2020-01-01T00:00:00.000Z'")
    engine.save_policy(Policy(0.5, 0.2, 0.8), author="root", reason="test")
    arrive(arriving, 0.5, REVIEW, identity=running)
    with open_app(engine, arriving, tmp_path) as app:
        vera = app.signed_in("vera")
        shown, found = vera.get(ANY).json()["alarms"], vera.get(f"{ANY}/alarms").json()["alarms"]
        by_key = app.with_key(Permission.EXPORT).get("/v1/insights").json()["alarms"]
    assert shown == found == by_key
    (alarm,) = found
    assert f"What runs now has {words}: {running.model}, revision" in alarm


def test_other_tabs_show_the_alarms_of_drift(
    engine: Engine, arriving: Store, tmp_path: Path
) -> None:
    """After a policy was saved, scores that differ from its evidence; before, nothing."""
    running = engine.status.classifier.identity
    for _ in range(100):
        arrive(arriving, 0.3, REVIEW, identity=running)
    with arriving.arrivals._connections.writing() as db:
        db.execute("update arrivals set arrived_at = '2020-01-01T00:00:00.000Z'")
    with open_app(engine, arriving, tmp_path) as app:
        vera = app.signed_in("vera")
        assert vera.get(f"{ANY}/alarms").json() == {"alarms": []}
        engine.save_policy(Policy(0.5, 0.2, 0.8), author="root", reason="test")
        for _ in range(100):
            arrive(arriving, 0.7, REVIEW, identity=running)
        (alarm,) = vera.get(f"{ANY}/alarms").json()["alarms"]
    assert alarm.startswith("The scores of recent images differ")


def test_an_admin_accepts_the_images_so_far(
    engine: Engine, arriving: Store, tmp_path: Path
) -> None:
    """The alarm ends in page and API, which say who accepted them; the audit has it; once."""
    running = engine.status.classifier.identity
    for _ in range(100):
        arrive(arriving, 0.3, REVIEW, identity=running)
    with arriving.arrivals._connections.writing() as db:
        db.execute("update arrivals set arrived_at = '2020-01-01T00:00:00.000Z'")
    with open_app(engine, arriving, tmp_path) as app:
        root, ann, vera = (app.signed_in(name) for name in ("root", "ann", "vera"))
        for _ in range(160):
            arrive(arriving, 0.7, REVIEW, identity=running)
        before = root.get(ANY, params={"days": 7}).json()
        assert len(before["alarms"]) == 1
        path, reason = f"{ANY}/reference?days=7", {"reason": "A new app."}
        for caller, body, status, kind in (
            (ann, reason, 403, "forbidden"),
            (vera, reason, 403, "forbidden"),
            (root, {"reason": " "}, 400, "acceptance"),
            (root, {}, 422, "request"),
            (root, {"reason": "x" * 4_001}, 422, "request"),
        ):
            refused = caller.post(path, json=body)
            assert (refused.status_code, refused.json()["error"]["kind"]) == (status, kind)
        broken = root.post(path, content=b'{"reason": "\\ud800"}')
        assert broken.status_code in {400, 422}
        assert root.get(ANY, params={"days": 7}).json()["alarms"] == before["alarms"]

        made = root.post(path, json=reason).json()["accepted"]
        after = vera.get(ANY, params={"days": 7}).json()
        assert (after["alarms"], after["comparison"]["accepted"]) == ([], made)
        assert (made["author"], made["reason"]) == ("root", "A new app.")
        assert {key: before[key] for key in ("curve", "more_reviews", "allowed")} == {
            key: after[key] for key in ("curve", "more_reviews", "allowed")
        }
        assert vera.get(f"{ANY}/alarms").json() == {"alarms": []}
        by_key = app.with_key(Permission.EXPORT).get("/v1/insights").json()
        assert (by_key["alarms"], by_key["comparison"]["accepted"]) == ([], made)
        again = root.post(path, json=reason)
        assert (again.status_code, again.json()["error"]["kind"]) == (409, "nothing_to_accept")
    (entry,) = [each for each in arriving.audit.entries() if each.action == "reference"]
    assert (entry.at, entry.actor, entry.subject) == (made["at"], "root", running.model)
    assert entry.details == {"reason": "A new app."}


def test_the_audit_plan_is_that_of_the_command(
    engine: Engine, arriving: Store, tmp_path: Path
) -> None:
    """What is proposed, what it costs, and what to set; without a plan, why there is none."""
    running = engine.status.classifier.identity
    add_reviewed(arriving, 60, identity=running)
    arriving.queue.rules = QueueRules(frozenset({QueueReason.REVIEW}))
    with open_app(engine, arriving, tmp_path) as app:
        ann = app.signed_in("ann")
        found = ann.get(f"{ANY}/audit-plan").json()
        none = ann.get(f"{ANY}/audit-plan", params={"recall": 0.9999}).json()
        assert ann.get(f"{ANY}/audit-plan", params={"recall": 1}).status_code == 422
    assert found["sentences"][0].startswith(f"Model {running.model}: 60 images, 60 a day.")
    assert "certify a recall of 95.0 % at a confidence of 90.0 %" in found["sentences"][-1]
    plan, rules = found["settings"]
    assert parse_ranges(plan.removeprefix("NSFW_AUDIT_PLAN="))
    assert rules == "NSFW_QUEUE_RULES=review,audit"
    assert none["settings"] == []
    assert "does not exceed it" in none["sentences"][-1]


@pytest.mark.parametrize("query", ["days=0", "days=many", "days=99999999"])
def test_an_impossible_period_is_refused(
    engine: Engine, store: Store, tmp_path: Path, query: str
) -> None:
    """A period is a number of days from 1."""
    with open_app(engine, store, tmp_path) as app:
        assert app.signed_in("ann").get(f"{ANY}?{query}").status_code == 422


def test_an_unknown_model_is_not_found(engine: Engine, store: Store, tmp_path: Path) -> None:
    """A name that judged no image gives 404."""
    with open_app(engine, store, tmp_path) as app:
        assert app.signed_in("ann").get(f"{ANY}?model=none").status_code == 404


def test_misses_are_listed_before_false_alarms(
    engine: Engine, arriving: Store, tmp_path: Path
) -> None:
    """Allowed ones first; false alarms are one choice away; the rest is at an offset."""
    running = engine.status.classifier.identity
    engine.save_policy(Policy(0.5, 0.2, 0.8), author="root", reason="test")
    for score, label in ((0.9, Label.NORMAL), (0.1, Label.NSFW), (0.4, Label.NSFW)):
        image = arrive(arriving, score, AUDIT, identity=running)
        for reviewer in ("ann", "bob"):
            decide(arriving, image, label, reviewer)
    decide(arriving, arrive(arriving, 0.3, REVIEW, identity=running), Label.NORMAL)
    with open_app(engine, arriving, tmp_path) as app:
        root = app.signed_in("root")
        found = root.get(f"{ANY}/disagreements").json()
        rest = root.get(f"{ANY}/disagreements?offset=1").json()["images"]
        alarms = root.get(f"{ANY}/disagreements?kind=false_alarms").json()["images"]
        viewed = app.signed_in("vera").get(f"{ANY}/disagreements?days=7&source=api").json()
    assert (found["missed"], found["allowed"], found["false_alarms"]) == (2, 1, 1)
    assert [image["nsfw_score"] for image in found["images"]] == [0.1, 0.4]
    assert [image["allowed"] for image in found["images"]] == [True, False]
    assert (rest, [image["nsfw_score"] for image in alarms]) == (found["images"][1:], [0.9])
    assert all(image["kept"] for image in found["images"])
    assert not any(image["kept"] or image["placeholder"] for image in viewed["images"])


def test_decisions_are_counted_for_all_or_for_one_reviewer(
    engine: Engine, arriving: Store, tmp_path: Path
) -> None:
    """The filter selects decisions; the evidence does not know it, and its numbers stay."""
    running = engine.status.classifier.identity
    engine.save_policy(Policy(0.5, 0.2, 0.8), author="root", reason="test")
    hashes = [arrive(arriving, score, AUDIT, identity=running) for score in (0.9, 0.1, 0.4)]
    for sha256 in hashes[:2]:
        for reviewer in ("ann", "bob"):
            decide(arriving, sha256, Label.NSFW, reviewer)
    decide(arriving, hashes[2], Label.NORMAL, "bob")
    decide(arriving, arrive(arriving, 0.6, REVIEW, identity=running), Label.UNSURE, "cy")
    with open_app(engine, arriving, tmp_path) as app:
        ann = app.signed_in("ann")
        found = ann.get(f"{ANY}/decisions").json()
        of_ann = ann.get(f"{ANY}/decisions", params={"reviewer": "ann", "days": 7}).json()
        elsewhere = ann.get(f"{ANY}/decisions", params={"source": "elsewhere"}).json()
        worst = [
            ann.get(f"{ANY}/disagreements", params={"reviewer": name}).json()
            for name in ("ann", "no one")
        ]
        assert ann.get(ANY, params={"reviewer": "ann"}).status_code == 422  # estimates have none
        estimates = ann.get(ANY).json()
        assert ann.get(f"{ANY}/decisions?model=none").status_code == 404
    assert found["reviewers"] == ["ann", "bob"]
    assert [(p["reviewer"], p["decisions"]) for p in found["people"]] == [("bob", 3), ("ann", 2)]
    assert found["counts"]["total"] == {
        "name": "all",
        "decisions": 5,
        "false_negatives": 2,
        "false_positives": 0,
        "unsure": 0,
    }
    assert found["counts"]["waiting"] == 1
    assert sum(week["decisions"] for week in found["weeks"]) == 5
    (person,) = of_ann["people"]
    assert person["with_others"] == {
        "part": 2,
        "whole": 2,
        "interval": [pytest.approx(0.342, abs=0.001), 1.0],
    }
    assert (of_ann["counts"]["total"]["decisions"], of_ann["reviewers"]) == (2, ["ann", "bob"])
    assert (elsewhere["people"], elsewhere["weeks"]) == ([], [])
    assert [(each["missed"], each["allowed"]) for each in worst] == [(1, 1), (0, 0)]
    assert estimates["errors"]["sources"][0]["reviews"] == 3


def test_no_count_says_what_is_hidden_from_a_reviewer(
    engine: Engine, arriving: Store, tmp_path: Path
) -> None:
    """An image that waits for a second decision is in no count of decisions, under any filter.

    Estimates have its label, without reviewer and reason.
    """
    running = engine.status.classifier.identity
    sha256 = arrive(arriving, 0.9, AUDIT, identity=running)
    decide(arriving, sha256, Label.NORMAL, "ann")
    with open_app(engine, arriving, tmp_path) as app:
        vera = app.signed_in("vera")
        found = vera.get(f"{ANY}/decisions").json()
        of_ann = vera.get(f"{ANY}/decisions?reviewer=ann").json()
        summary = vera.get(ANY).json()
    for each in (found, of_ann):
        assert each["counts"]["total"]["decisions"] == 0
        assert (each["counts"]["waiting"], each["people"], each["reviewers"]) == (1, [], [])
    assert summary["decisions"]["total"]["decisions"] == 0
    assert (summary["reviews"], summary["provisional"]) == (1, 1)
    assert [(each["name"], each["found"]) for each in summary["errors"]["reasons"]] == [
        ("not_settled", 1)
    ]
