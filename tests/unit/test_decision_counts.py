"""Decisions counted against the model, by reason, source and day; by reviewer and by week."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from nsfw_app.evidence.decision_counts import NO_REASON, GroupCount, count_decisions, count_people
from nsfw_app.evidence.decisions import StandingDecisionArrays
from nsfw_app.evidence.metrics import Share, alpha_of_counts
from nsfw_app.evidence.population import Selection
from nsfw_app.evidence.reviewer_agreement import agreement
from nsfw_app.records import Label, Reason
from nsfw_app.rules.queue import QueueRules
from nsfw_app.store import Store
from tests.support.decisions import fill
from tests.support.sample_records import FAKE, OTHER, add, add_image, answer

ALL = Selection(lambda identity: identity == FAKE)


@pytest.fixture
def arrays(store: Store) -> StandingDecisionArrays:
    """Decisions of a store in which nothing waits for a second one."""
    store.queue.rules = QueueRules(frozenset())
    return StandingDecisionArrays(store.decision_rows, store.arrivals.identities)


def at(store: Store, decision_id: int, time: str) -> None:
    """Let a decision have been made at a time."""
    with store.log._connections.writing() as db:
        db.execute("drop trigger if exists decisions_stay")
        db.execute("update decisions set decided_at = ? where id = ?", (time, decision_id))


def test_decisions_are_counted_by_how_they_differ(
    store: Store, arrays: StandingDecisionArrays
) -> None:
    """Normal where the model said nsfw is a false positive; unsure is neither."""
    fill(store, {"ann": "xnnu"})
    add_image(store)
    missed = answer("m", Label.NSFW, threshold=0.95, reasons=(Reason.ART, Reason.MEDICAL))
    add(store.log, missed)
    found = count_decisions(arrays.select(ALL))
    assert found.total == GroupCount("all", 5, 1, 2, 1)
    assert found.sources == [GroupCount("gallery", 5, 1, 2, 1)]
    assert found.reasons == [
        GroupCount(NO_REASON, 2, 0, 2, 0),
        GroupCount("art", 1, 1, 0, 0),
        GroupCount("medical", 1, 1, 0, 0),
    ]
    assert found.waiting == 0


def test_nothing_is_counted_of_nothing(arrays: StandingDecisionArrays) -> None:
    """Without a decision every list is empty."""
    found, people = count_decisions(arrays.select(ALL)), count_people(arrays.select(ALL))
    assert (found.total.decisions, found.reasons, found.sources, found.days) == (0, [], [], [])
    assert (people.reviewers, people.weeks) == ([], [])


def test_only_standing_decisions_count_and_new_ones_are_followed(
    store: Store, arrays: StandingDecisionArrays
) -> None:
    """Replaced and undone decisions leave the counts, also after they were read."""
    add_image(store)
    add(store.log, answer("1", Label.NSFW))
    assert len(arrays.select(ALL)) == 1
    second = add(store.log, answer("2", Label.NORMAL))
    assert count_decisions(arrays.select(ALL)).total == GroupCount("all", 1, 0, 1, 0)
    store.log.undo(second.decision_id, reviewer="ann", nonce="3")
    fresh = StandingDecisionArrays(store.decision_rows, store.arrivals.identities)
    for each in (arrays, fresh):
        assert count_decisions(each.select(ALL)).total == GroupCount("all", 1, 0, 0, 0)
        assert each.reviewers() == ["ann"]


def test_what_waits_for_another_decision_is_hidden_and_counted(store: Store) -> None:
    """A first decision against the model waits for a second one: no count says what it says."""
    arrays = StandingDecisionArrays(store.decision_rows, store.arrivals.identities)
    fill(store, {"ann": "nx"})
    found = arrays.select(ALL)
    assert store.standing_decisions.hidden("bob").decisions == found.waiting == 1
    assert count_decisions(found).total == GroupCount("all", 1, 0, 0, 0)
    fill(store, {"bob": "n."})
    found = arrays.select(ALL)
    assert (found.waiting, count_decisions(found).total.false_positives) == (0, 2)
    assert count_people(found).reviewers[1].with_others == Share(1, 1)


def test_a_selection_is_of_a_period_a_source_a_model_and_a_reviewer(
    store: Store, arrays: StandingDecisionArrays
) -> None:
    """The period is that of the decisions; agreement is with decisions of other times, too."""
    fill(store, {"ann": "x", "bob": "x"})
    fill(store, {"cy": "xxx"}, identity=OTHER)
    at(store, 1, "2026-01-04T23:59:59.000Z")
    at(store, 2, "2026-01-05T00:00:00.000Z")
    since = replace(ALL, since=datetime(2026, 1, 5, tzinfo=UTC))
    until = replace(ALL, until=datetime(2026, 1, 5, tzinfo=UTC))
    (person,) = count_people(arrays.select(since)).reviewers
    assert (person.reviewer, person.decisions, person.with_others) == ("bob", 1, Share(2, 2))
    assert [r.reviewer for r in count_people(arrays.select(until)).reviewers] == ["ann"]
    assert len(arrays.select(ALL, reviewer="ann")) == 1
    assert len(arrays.select(ALL, reviewer="no one")) == 0
    assert len(arrays.select(replace(ALL, source="gallery"))) == 2
    assert len(arrays.select(replace(ALL, source="api"))) == 0
    assert len(arrays.select(Selection(lambda identity: identity == OTHER))) == 3


def test_days_and_weeks_are_in_utc_and_weeks_begin_on_monday(
    store: Store, arrays: StandingDecisionArrays
) -> None:
    """Sunday's last second and Monday's first are in different weeks."""
    fill(store, {"ann": "xn", "bob": "xx"})
    for decision_id, time in (
        (1, "2026-01-04T23:59:59.999Z"),
        (2, "2026-01-05T00:00:00.000Z"),
        (3, "2026-01-11T12:00:00.000Z"),
        (4, "2026-01-12T12:00:00.000Z"),
    ):
        at(store, decision_id, time)
    decisions = arrays.select(ALL)
    assert [(day.name, day.decisions) for day in count_decisions(decisions).days] == [
        ("2026-01-04", 1),
        ("2026-01-05", 1),
        ("2026-01-11", 1),
        ("2026-01-12", 1),
    ]
    assert [(w.week, w.decisions, w.with_others) for w in count_people(decisions).weeks] == [
        ("2025-12-29", 1, Share(1, 1)),
        ("2026-01-05", 2, Share(1, 2)),
        ("2026-01-12", 1, Share(0, 1)),
    ]


def test_people_have_workload_time_and_agreement(
    store: Store, arrays: StandingDecisionArrays
) -> None:
    """As the statistics of all periods; an image decided by three has two others for each."""
    fill(store, {"ann": "xxnu", "bob": "xnn.", "cy": "x..."})
    add_image(store, sha256="b" * 64)
    add(store.log, answer("untimed", image_sha256="b" * 64))
    people = count_people(arrays.select(ALL)).reviewers
    stats = store.standing_decisions.reviewer_stats()
    assert [(p.reviewer, p.decisions, p.timed, p.median_ms) for p in people] == [
        (s.reviewer, s.answers, s.timed, s.median_ms) for s in stats
    ]
    assert [(p.differ, p.with_others) for p in people] == [
        (2, Share(3, 4)),
        (2, Share(3, 4)),
        (0, Share(2, 2)),
    ]


def test_of_two_decisions_of_a_reviewer_on_an_image_the_latest_counts(
    store: Store, arrays: StandingDecisionArrays
) -> None:
    """Two models' predictions of one image are one image to the agreement of reviewers."""
    fill(store, {"ann": "x", "bob": "n"})
    fill(store, {"ann": "n"}, identity=OTHER)
    bob = arrays.select(ALL, reviewer="bob")
    assert (bob.same.tolist(), bob.others.tolist()) == ([1], [1])
    assert arrays.select(ALL, reviewer="ann").others.tolist() == [0]


def test_the_counts_are_json(store: Store, arrays: StandingDecisionArrays) -> None:
    """No number is one of numpy's."""
    from dataclasses import asdict

    fill(store, {"ann": "xn", "bob": "xx"})
    found = arrays.select(ALL)
    assert json.dumps([asdict(count_decisions(found)), asdict(count_people(found))])


def test_each_pair_has_a_kappa_and_all_an_alpha(
    store: Store, arrays: StandingDecisionArrays
) -> None:
    """Pairs have images in common, those with the most first; a reviewer selects pairs."""
    fill(store, {"ann": "xxnn....", "bob": "xnnnx...", "cy": "....x...", "dee": "......xx"})
    found = agreement(arrays.select(ALL))
    assert [(pair.first, pair.second) for pair in found.pairs] == [("ann", "bob"), ("bob", "cy")]
    kappa, undefined = (pair.kappa for pair in found.pairs)
    assert (kappa.value, kappa.same, kappa.images) == (pytest.approx(0.5), Share(3, 4), 4)
    assert (undefined.value, undefined.images) == (None, 1)
    assert found.alpha.value == pytest.approx(0.64)  # by hand: 1 - (2 / 10) / (50 / 90)
    assert (found.alpha.same, found.alpha.images) == (Share(4, 5), 5)
    of_cy = agreement(arrays.select(ALL), reviewer="cy")
    assert ([pair.second for pair in of_cy.pairs], of_cy.alpha) == (["cy"], found.alpha)


def test_agreement_is_that_of_all_pairs_of_each_image(
    store: Store, arrays: StandingDecisionArrays
) -> None:
    """As the statistics of the store, also where an image has three decisions."""
    fill(store, {"zoe": "xxnux", "bob": "xnn.u", "cy": "x..nx"})
    found = agreement(arrays.select(ALL))
    tables, labels = store.standing_decisions.shared_counts()
    images: dict[tuple[str, str], int] = {}
    for each in tables:
        pair = (each.first, each.second)
        images[pair] = images.get(pair, 0) + each.images
    assert {(p.first, p.second): p.kappa.images for p in found.pairs} == images
    counts = np.array([[each.normal, each.nsfw, each.unsure] for each in labels])
    expected = alpha_of_counts(counts, np.array([each.images for each in labels]))
    assert found.alpha.value == pytest.approx(expected.value)
    assert found.alpha.images == expected.images


def test_agreement_is_of_a_period(store: Store, arrays: StandingDecisionArrays) -> None:
    """Decisions before it do not count; without any there is no number."""
    fill(store, {"ann": "xn", "bob": "xx"})
    for decision_id in (1, 3):
        at(store, decision_id, "2026-01-01T00:00:00.000Z")
    since = replace(ALL, since=datetime(2026, 2, 1, tzinfo=UTC))
    assert agreement(arrays.select(since)).alpha.same == Share(0, 1)
    none = agreement(arrays.select(replace(ALL, source="api")))
    assert (none.alpha.value, none.alpha.images, none.pairs) == (None, 0, [])
