"""Agreement about categories: of reviewers with each other, and of the models with them."""

from collections.abc import Mapping

import pytest

from nsfw_app.evidence.category_agreement import CategoryAgreement, CategoryRecord
from nsfw_app.evidence.category_agreement import category_agreement as measure
from nsfw_app.evidence.decisions import StandingDecisionArrays
from nsfw_app.evidence.metrics import Confusion, Share
from nsfw_app.evidence.population import Selection
from nsfw_app.records import Action, Category, CategoryRule, Label
from nsfw_app.rules.queue import QueueRules
from nsfw_app.store import Store
from tests.support.sample_records import FAKE, add, add_image, answer

ALL = Selection(lambda identity: identity == FAKE)
GORE, NUDITY = Category.GORE_OR_VIOLENCE, Category.NUDITY
LISTS = {"g": (GORE,), "n": (NUDITY,), "b": (NUDITY, GORE), "-": (), "?": None}


@pytest.fixture
def arrays(store: Store) -> StandingDecisionArrays:
    """Decisions of a store in which nothing waits for a second one."""
    store.queue.rules = QueueRules(frozenset())
    return StandingDecisionArrays(store.decision_rows, store.arrivals.identities)


def fill(store: Store, decided: Mapping[str, str]) -> None:
    """Decisions about images; a word has a letter of `LISTS` for each, or a dot for none."""
    for number in range(max(map(len, decided.values()))):
        add_image(store, sha256=f"{number:064x}")
    for reviewer, word in decided.items():
        for number, letter in enumerate(word):
            if letter != ".":
                nonce, image = f"{reviewer} {number} {letter}", f"{number:064x}"
                made = answer(nonce, Label.NSFW, image_sha256=image, categories=LISTS[letter])
                add(store.log, made, reviewer=reviewer)


def record_of(found: CategoryAgreement, category: Category) -> CategoryRecord:
    """The numbers of a category."""
    (record,) = (each for each in found.categories if each.category is category)
    return record


def none_judged(_: list[int]) -> dict[int, dict[Category, float]]:
    """No prediction has categories."""
    return {}


def test_a_decision_that_was_not_asked_is_not_one_for_none(
    store: Store, arrays: StandingDecisionArrays
) -> None:
    """It is counted apart, and is in no pair; an empty list is a decision."""
    fill(store, {"ann": "gg-?", "bob": "g-?g"})
    found = measure(arrays.select(ALL), [], none_judged)
    assert (found.decisions, found.not_asked, found.images) == (6, 2, 4)
    gore = record_of(found, GORE)
    assert gore.named == Share(4, 6)
    ((pair,),) = (gore.agreement.pairs,)
    assert (pair.first, pair.second, pair.kappa.images) == ("ann", "bob", 2)
    assert pair.kappa.same == Share(1, 2)
    nudity = record_of(found, NUDITY)
    assert (nudity.named, nudity.agreement.alpha.value) == (Share(0, 6), None)
    assert [each.category for each in found.categories] == list(Category)


def test_kappa_and_alpha_are_of_each_category_by_itself(
    store: Store, arrays: StandingDecisionArrays
) -> None:
    """Two categories of one decision do not mix; a reviewer selects the pairs."""
    fill(store, {"ann": "bbg-", "bob": "gbg-", "cy": "...n"})
    found = measure(arrays.select(ALL), [], none_judged)
    gore, nudity = record_of(found, GORE).agreement, record_of(found, NUDITY).agreement
    assert (gore.pairs[0].kappa.value, gore.pairs[0].kappa.images) == (1.0, 4)
    # By hand: 3 of 4 agree, and by chance (2 * 1 + 2 * 3) / 16.
    assert nudity.pairs[0].kappa.value == pytest.approx(0.5)
    assert nudity.all_pairs == 3
    of_cy = measure(arrays.select(ALL), [], none_judged, reviewer="cy")
    assert {pair.second for pair in record_of(of_cy, NUDITY).agreement.pairs} == {"cy"}


def test_the_latest_decision_of_a_reviewer_counts(
    store: Store, arrays: StandingDecisionArrays
) -> None:
    """A later decision that was not asked leaves the reviewer out."""
    fill(store, {"ann": "g"})
    fill(store, {"ann": "?"})
    found = measure(arrays.select(ALL), [], none_judged)
    assert (found.decisions, found.not_asked, found.images) == (0, 1, 0)


def test_the_models_are_compared_with_the_majority(
    store: Store, arrays: StandingDecisionArrays
) -> None:
    """Of two reviewers both have to name it; images without a probability are left out."""
    fill(store, {"ann": "gg-gn", "bob": "g---.", "cy": "....n"})
    found = arrays.select(ALL)
    scores = [0.5, 0.9, 0.1, 0.49]  # the last image has none
    judged = {each: {GORE: score} for each, score in enumerate(scores, 1)}
    rule = CategoryRule(GORE, 0.5, Action.BLOCK)
    asked: list[list[int]] = []

    def look_up(ids: list[int]) -> dict[int, dict[Category, float]]:
        asked.append(ids)
        return {each: judged.get(each, {NUDITY: 0.9}) for each in ids}

    measured = measure(found, [rule], look_up)
    comparison = record_of(measured, GORE).comparison
    assert comparison is not None
    assert comparison.confusion == Confusion(1, 1, 2, 0)
    assert (comparison.rule, asked) == (rule, [[1, 2, 3, 4, 5]])
    assert record_of(measured, NUDITY).comparison is None
