"""Insights, from the store's standing decisions to the tab."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from nsfw_app.evidence.agreement import Insights
from nsfw_app.evidence.metrics import Confusion, Share
from nsfw_app.records import Label
from nsfw_app.review.engine import Engine
from nsfw_app.store import Store
from nsfw_app.store.standing_decisions import Outcome, ReviewerStats
from nsfw_app.ui.insights import insights_json
from tests.support.browser import open_tab, opened
from tests.support.decisions import fill
from tests.support.sample_records import FAKE, OTHER, SHA256, add, add_image, answer, person
from tests.support.server import Server, serving

BOSS = person("ann")


def test_outcomes_are_the_labels_that_reviewers_agree_on(store: Store) -> None:
    """One decision, or several that agree, give a label; others give none until settled."""
    fill(store, {"bob": "x.n..", "ann": "xnxxu"})
    labels = [outcome.label for outcome in store.standing_decisions.outcomes()]
    assert labels == [Label.NSFW, Label.NORMAL, None, Label.NSFW, Label.UNSURE]
    fill(store, {"cy": "..x"})
    assert store.standing_decisions.outcomes()[2].label is Label.NSFW


def test_undone_and_replaced_decisions_do_not_count(store: Store) -> None:
    """Only standing decisions count, in every statistic."""
    add_image(store)
    add(store.log, answer("1", Label.NORMAL, elapsed_ms=100))
    add(store.log, answer("2", Label.NSFW, elapsed_ms=300))
    undone = add(store.log, answer("3", Label.NORMAL), reviewer="bob")
    store.log.undo(undone.decision_id, reviewer="bob", nonce="4")
    assert store.standing_decisions.outcomes() == [Outcome(SHA256, FAKE, 0.9, Label.NSFW, 2)]
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


def test_each_pair_has_a_kappa_and_all_an_alpha(store: Store, insights: Insights) -> None:
    """Pairs have images in common, those with the most first."""
    fill(store, {"ann": "xxnn....", "bob": "xnnnx...", "cy": "....x...", "dee": "......xx"})
    people = insights.people()
    assert [(pair.first, pair.second) for pair in people.pairs] == [("ann", "bob"), ("bob", "cy")]
    kappa, undefined = (pair.kappa for pair in people.pairs)
    assert (kappa.value, kappa.same, kappa.images) == (pytest.approx(0.5), Share(3, 4), 4)
    assert (undefined.value, undefined.images) == (None, 1)
    assert people.alpha.value == pytest.approx(0.64)  # by hand: 1 - (2 / 10) / (50 / 90)
    assert (people.alpha.same, people.alpha.images) == (Share(4, 5), 5)
    shares = {r.stats.reviewer: r.with_others for r in people.reviewers}
    assert shares == {
        "bob": Share(4, 5), "ann": Share(3, 4), "dee": Share(0, 0), "cy": Share(1, 1)
    }  # fmt: skip


def test_an_empty_store_has_empty_insights(insights: Insights) -> None:
    """Without decisions there are no models, no pairs and no numbers."""
    seen = insights_json(insights, BOSS)
    assert seen["models"] == seen["people"]["reviewers"] == seen["people"]["pairs"] == []
    assert seen["people"]["alpha"]["value"] is None


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A page whose database is empty at first."""
    with serving(tmp_path_factory.mktemp("insights"), NSFW_REVIEWER="ann") as server:
        yield server


def test_the_tab_shows_what_is_missing_and_then_the_numbers(browser: Browser, app: Server) -> None:
    """From no decision to two labels: each state shows what there is and what to do next."""
    directory: Path = app.data
    store = Store(directory / "review.db", previews_dir=directory / "images", journal_mode="wal")
    with opened(browser, app.url) as page:
        insights = page.locator("#insights")

        def preview() -> None:
            open_tab(page, "Log")
            open_tab(page, "Insights")

        preview()
        expect(insights).to_contain_text("Agree or disagree with an image")
        add_image(store, sha256=SHA256)
        add(store.log, answer("one", Label.NSFW))
        preview()
        expect(insights).to_contain_text("no image has decisions from two reviewers")
        add(store.log, answer("two", Label.NSFW), reviewer="bob")
        preview()
        expect(insights).to_contain_text("all 1 pair of decisions about 1 image use one label")
        fill(store, {"ann": "xxnn", "bob": "xnnn"}, identity=FAKE)
        preview()
        expect(insights.locator(".figure")).to_contain_text(
            re.compile(r"^0\.\d{3}Krippendorff's alpha over 5 pairs of decisions about 5 images")
        )
        expect(insights).to_contain_text("Same label: 80.0 % (4 of 5)")
        row = insights.get_by_role("row", name="ann and bob")
        expect(row).to_contain_text(re.compile(r"0\.\d{3}580\.0 % \(4 of 5\)"))
        expect(insights.get_by_role("row", name="Model: nsfw")).to_contain_text("2agree2differ")
        expect(insights).to_contain_text("50.0 % (2 of 4)")
        expect(insights).to_contain_text("Not counted: 1 image that reviewers are unsure")
