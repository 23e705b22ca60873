"""Insights: statistics over the store's standing decisions, and their JSON for the tab."""

from dataclasses import replace

import pytest

from nsfw_app.evidence.agreement import Insights
from nsfw_app.evidence.metrics import Confusion
from nsfw_app.records import Label
from nsfw_app.review.engine import Engine
from nsfw_app.store import Store
from nsfw_app.store.standing_decisions import ReviewerStats
from nsfw_app.ui.insights_json import insights_json
from tests.support.decisions import count_outcomes, fill
from tests.support.sample_records import OTHER, add, add_image, answer, person

BOSS = person("ann")


def test_outcomes_are_the_labels_that_reviewers_agree_on(store: Store) -> None:
    """One decision, or several that agree, give a label; others give none until settled."""
    fill(store, {"bob": "x.n..", "ann": "xnxxu"})
    assert count_outcomes(store) == {Label.NSFW: 2, Label.NORMAL: 1, Label.UNSURE: 1, None: 1}
    fill(store, {"cy": "..x"})
    assert count_outcomes(store) == {Label.NSFW: 3, Label.NORMAL: 1, Label.UNSURE: 1}


def test_undone_and_replaced_decisions_do_not_count(store: Store) -> None:
    """Only standing decisions count, in every statistic."""
    add_image(store)
    add(store.log, answer("1", Label.NORMAL, elapsed_ms=100))
    add(store.log, answer("2", Label.NSFW, elapsed_ms=300))
    undone = add(store.log, answer("3", Label.NORMAL), reviewer="bob")
    store.log.undo(undone.decision_id, reviewer="bob", nonce="4")
    assert count_outcomes(store) == {Label.NSFW: 1}
    assert store.standing_decisions.shared_counts() == ([], [])
    assert store.standing_decisions.reviewer_stats() == [ReviewerStats("ann", 1, 1, 300)]


@pytest.mark.parametrize(
    ("times", "median"), [([5], 5), ([9, 1], 5), ([1, 9, 4], 4), ([8, 2, 4, 100, None], 6), ([], 0)]
)
def test_the_median_leaves_out_untimed_decisions(
    store: Store, times: list[int | None], median: float
) -> None:
    """Of an even number it is the mean of the middle two."""
    for number, elapsed_ms in enumerate(times):
        sha256 = f"{number:064x}"
        add_image(store, sha256=sha256)
        add(store.log, answer(str(number), image_sha256=sha256, elapsed_ms=elapsed_ms))
    timed = sum(time is not None for time in times)
    expected = [ReviewerStats("ann", len(times), timed, median)] if times else []
    assert store.standing_decisions.reviewer_stats() == expected


def test_models_have_counts_under_the_policy_in_force(
    store: Store, engine: Engine, insights: Insights
) -> None:
    """Each model has its own counts; a new threshold changes them."""
    fill(store, {"ann": "xxn", "bob": "..."})
    fill(store, {"ann": "xnu"}, identity=OTHER)
    fake, other = insights.models()
    assert (fake.model, fake.threshold, fake.confusion) == ("fake", 0.5, Confusion(2, 1, 0, 0))
    assert (other.model, other.confusion, other.undecided) == ("other", Confusion(1, 1, 0, 0), 1)
    high = replace(engine.policy, threshold=0.95, review_to=1.0)
    engine.save_policy(high, author="ann", reason="a trial")
    fake, other = insights.models()
    assert fake.confusion == Confusion(0, 0, 1, 2)
    assert other.confusion == Confusion(1, 1, 0, 0)


def test_an_empty_store_has_empty_insights(insights: Insights) -> None:
    """Without decisions there are no models."""
    assert insights_json(insights, BOSS)["models"] == []
