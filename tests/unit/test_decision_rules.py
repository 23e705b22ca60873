"""Rules for decisions: which are refused, and what a disagreement is."""

import pytest

from nsfw_app.errors import Refusal
from nsfw_app.records import Label, Reason, Tab
from nsfw_app.rules.decisions import DecisionRules, contradicts
from tests.support.sample_records import answer

STRICT = DecisionRules(frozenset(Tab), require_reason=True)


@pytest.mark.parametrize("tab", [None, *Tab])
@pytest.mark.parametrize("seen", [False, True])
def test_tabs_that_need_a_look(tab: Tab | None, seen: bool) -> None:
    """Those named refuse decisions on unseen images; programs use no tab."""
    refusal = DecisionRules(frozenset({Tab.QUEUE})).refusal(
        answer("n", tab=tab), model_label=Label.NSFW, seen=seen, viewable=True
    )
    assert refusal == (Refusal.NOT_SEEN if tab is Tab.QUEUE and not seen else None)


@pytest.mark.parametrize("label", Label)
@pytest.mark.parametrize("reasons", [(), (Reason.ART,)])
def test_a_disagreement_needs_a_reason(label: Label, reasons: tuple[Reason, ...]) -> None:
    """Only where that is set; an agreement and unsure need none."""
    made = answer("n", label, reasons=reasons, tab=Tab.QUEUE)
    refusal = STRICT.refusal(made, model_label=Label.NSFW, seen=True, viewable=True)
    missing = label is Label.NORMAL and not reasons
    assert refusal == (Refusal.REASON_REQUIRED if missing else None)
    lenient = DecisionRules().refusal(made, model_label=Label.NSFW, seen=True, viewable=True)
    assert lenient is None


def test_a_blind_disagreement_needs_no_reason() -> None:
    """Asking for a reason would reveal the model's label."""
    made = answer("n", Label.NORMAL, tab=Tab.QUEUE)
    asked = [
        STRICT.refusal(
            made, model_label=Label.NSFW, seen=True, viewable=True, queued=True, blind=blind
        )
        for blind in (False, True)
    ]
    assert asked == [Refusal.REASON_REQUIRED, None]


@pytest.mark.parametrize("tab", [None, Tab.GALLERY])
def test_a_queue_entry_has_the_rules_of_the_queue(tab: Tab | None) -> None:
    """A request cannot avoid them by naming another tab, or none."""
    rules = DecisionRules(frozenset({Tab.QUEUE}))
    made = answer("n", tab=tab)
    for seen, expected in ((False, Refusal.NOT_SEEN), (True, None)):
        refusal = rules.refusal(made, model_label=Label.NSFW, seen=seen, viewable=True, queued=True)
        assert refusal == expected


def test_without_a_preview_nothing_is_recorded() -> None:
    """The missing preview is reported before all else, also to programs."""
    made = answer("n", tab=Tab.QUEUE)
    for rules in (STRICT, DecisionRules(frozenset())):
        refusal = rules.refusal(made, model_label=Label.NSFW, seen=False, viewable=False)
        assert refusal == Refusal.NO_PREVIEW


@pytest.mark.parametrize("model_label", [Label.NORMAL, Label.NSFW])
@pytest.mark.parametrize("label", Label)
def test_unsure_contradicts_no_label(label: Label, model_label: Label) -> None:
    """A disagreement is a definite label that differs."""
    assert contradicts(label, model_label) == ({label, model_label} == {Label.NORMAL, Label.NSFW})
