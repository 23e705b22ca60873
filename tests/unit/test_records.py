"""Records are frozen, in range, and unavailable by default."""

import dataclasses
import inspect
import math

import pytest

from nsfw_app import decision as decision_module
from nsfw_app import records
from nsfw_app.decision import Decision, NewDecision
from nsfw_app.errors import DecisionError, FilterError, PolicyError
from nsfw_app.records import (
    Action,
    Category,
    Label,
    LogFilter,
    Policy,
    Reason,
    Retain,
    Upload,
    Verdict,
)

NOUNS = [
    noun
    for module in (records, decision_module)
    for _, noun in inspect.getmembers(module, dataclasses.is_dataclass)
]


def decision(**changes: object) -> NewDecision:
    """A valid decision with some values changed."""
    usual = {
        "nonce": "n1",
        "image_sha256": "a" * 64,
        "label": Label.NSFW,
        "threshold": 0.5,
        "model": "fake",
        "revision": "r1",
        "backend": "test",
    }
    return NewDecision(**(usual | changes))


@pytest.mark.parametrize("noun", NOUNS)
def test_records_are_frozen(noun: type) -> None:
    """No field of any record can be set again, and none can be added."""
    record = object.__new__(noun)
    for name in (dataclasses.fields(noun)[0].name, "new_field"):
        with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
            setattr(record, name, 1)
    assert not hasattr(record, "__dict__")


def test_unavailable_is_the_zero_value() -> None:
    """A verdict without arguments has no label, and the action unavailable."""
    assert next(iter(Action)) is Action.UNAVAILABLE
    assert Verdict() == Verdict(label=None, action=Action.UNAVAILABLE)


def test_stored_values_do_not_change() -> None:
    """Labels, actions and reasons are stored and exported with these values."""
    assert list(Label) == ["normal", "nsfw", "unsure"]
    assert list(Action) == ["unavailable", "allow", "review", "block"]
    assert list(Reason) == [
        "nudity",
        "sexual_act",
        "suggestive",
        "violence_or_gore",
        "medical",
        "art",
        "drawing_or_ai_generated",
        "partial_exposure",
        "minor_present",
        "other",
    ]


def test_a_decision_is_a_row_of_the_correction_log() -> None:
    """Its fields are the columns of the log in their order."""
    assert [field.name for field in dataclasses.fields(Decision)] == (
        "decision_id decided_at reviewer image_sha256 name source model revision backend "
        "nsfw_score threshold model_label reviewer_label agrees reasons note batch_id undone "
        "seen elapsed_ms queue_reason draw_probability policy_version settled_label "
        "warnings seen_ms categories"
    ).split()


@pytest.mark.parametrize("numbers", [(0, 0, 0), (0, 0.5, 1), (0.2, 0.2, 0.8), (1, 1, 1)])
def test_policies_in_order_are_accepted(numbers: tuple[float, float, float]) -> None:
    """The three numbers may touch each other and the ends of [0, 1]."""
    low, middle, high = numbers
    assert Policy(threshold=middle, review_from=low, review_to=high).threshold == middle


@pytest.mark.parametrize(
    ("low", "middle", "high"),
    [
        (0.6, 0.5, 0.8),
        (0.2, 0.9, 0.8),
        (-0.1, 0.5, 0.8),
        (0.2, 0.5, 1.1),
        (math.nan, 0.5, 0.8),
        (0.2, math.nan, 0.8),
        (0.2, 0.5, math.nan),
    ],
)
def test_policies_out_of_order_are_refused(low: float, middle: float, high: float) -> None:
    """A policy out of order or range is refused with all three numbers."""
    with pytest.raises(PolicyError) as caught:
        Policy(threshold=middle, review_from=low, review_to=high)
    assert all(f"({number})" in str(caught.value) for number in (low, middle, high))


@pytest.mark.parametrize("threshold", [0, 0.5, 1])
def test_decisions_at_the_limits_are_accepted(threshold: float) -> None:
    """Every threshold in [0, 1], the longest note and the longest nonce are accepted."""
    longest = decision(threshold=threshold, note="x" * 4000, nonce="n" * 64)
    assert longest.threshold == threshold
    assert longest.reasons == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"threshold": -0.01}, "-0.01"),
        ({"threshold": 1.01}, "1.01"),
        ({"threshold": math.nan}, "nan"),
        ({"note": "x" * 4001}, "4001 characters; the limit is 4000"),
        ({"nonce": ""}, "1 to 64"),
        ({"nonce": "n" * 65}, "1 to 64"),
    ],
)
def test_decisions_beyond_the_limits_are_refused(changes: dict[str, object], words: str) -> None:
    """The error names the wrong value and the limit."""
    with pytest.raises(DecisionError, match=words):
        decision(**changes)


def test_categories_are_in_order_and_named_once() -> None:
    """A decision that was not asked has none, which is not an empty list."""
    named = (Category.OTHER, Category.NUDITY, Category.OTHER)
    assert decision(categories=named).categories == (Category.NUDITY, Category.OTHER)
    assert (decision(categories=()).categories, decision().categories) == ((), None)


def test_a_normal_image_has_no_unsafe_category() -> None:
    """A drawing is none by itself; unsure decisions may name any."""
    normal, drawing = Label.NORMAL, (Category.DRAWING,)
    assert decision(label=normal, categories=drawing).categories == drawing
    assert decision(label=Label.UNSURE, categories=(Category.SELF_HARM,)).categories
    with pytest.raises(DecisionError, match="labeled normal has no category nudity"):
        decision(label=normal, categories=(Category.DRAWING, Category.NUDITY))


def test_an_upload_keeps_its_score_only_by_default() -> None:
    """Without an owner no more than the score is kept."""
    upload = Upload("a.png", "command")
    assert (upload.owner, upload.retain) == (None, Retain.SCORE)


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "'; drop table decisions; --"])
def test_a_filter_by_an_invalid_date_is_refused(text: str) -> None:
    """An invalid date is an error, not an empty log."""
    with pytest.raises(FilterError, match="is not a date"):
        LogFilter(since=text)
