"""`audit-plan`: the proposed rates, what they cost, and when there are none."""

import json

import pytest

from nsfw_app.bootstrap import open_policies, open_summaries
from nsfw_app.records import Policy
from nsfw_app.rules.audit_plan import AuditPlan, parse_ranges
from nsfw_app.settings import load
from nsfw_app.store import Store
from tests.support.arrivals import add_reviewed
from tests.support.commands import Run, run
from tests.support.sample_records import FAKE

__all__ = ["run"]  # a fixture
COMMAND = ("audit-plan", "--model", FAKE.model)


def test_the_plan_is_the_value_of_the_setting(run: Run, store: Store) -> None:
    """The printed line can be set; the rules are named only where audits are off."""
    add_reviewed(store, 60)
    ended = run(*COMMAND)
    (line,) = [line for line in ended.out.splitlines() if line.startswith("NSFW_AUDIT_PLAN=")]
    plan = AuditPlan(ranges=parse_ranges(line.partition("=")[2]))
    assert plan.rate(0.1) > 0
    assert plan.rate(0.5) == 0  # the band is reviewed whole
    assert "NSFW_QUEUE_RULES=second_opinion,disagreement,review,audit" in ended.out
    assert "uncalibrated scores" in ended.out
    assert "certify a recall of 95.0 % at a confidence of 90.0 %" in ended.out
    assert ended.code == 0


def test_audits_that_are_on_are_not_named_again(
    run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is set already is not to be set."""
    monkeypatch.setenv("NSFW_QUEUE_RULES", "review,audit")
    add_reviewed(store, 60)
    assert "NSFW_QUEUE_RULES" not in run(*COMMAND).out


def test_json_has_the_numbers(run: Run, store: Store) -> None:
    """With the calibration in force, whose version is named; the work fits the limit."""
    add_reviewed(store)
    chosen = load()
    summaries = open_summaries(chosen, store, open_policies(chosen, store))
    summaries.calibrations.refit(FAKE, author="root")
    found = json.loads(run(*COMMAND, "--recall", "0.9", "--json").out)
    assert (found["model"], found["images"], found["calibration_version"]) == (FAKE.model, 150, 1)
    assert 0.9 < found["expected_recall"] <= 1
    assert found["days"] == pytest.approx(found["reviews"] / found["reviews_a_day"], rel=0.05)
    limit = found["reviews_a_day"] - 1
    limited = json.loads(
        run(*COMMAND, "--recall", "0.9", "--max-reviews-a-day", str(limit), "--json").out
    )
    assert limited["reviews_a_day"] <= limit


def test_scores_that_no_image_had_are_named(run: Run, store: Store) -> None:
    """The sentence has the range, its rate and where that is from; the JSON has the range."""
    add_reviewed(store, 62)
    open_policies(load(), store).save(
        FAKE.model, Policy(0.5, 0.2, 0.999), author="root", reason="test"
    )
    ended = run(*COMMAND)
    assert "No image had a score from 0.999 to 1 so far. The rate there is " in ended.out
    assert "that of the nearest range with images, at least 5 %." in ended.out
    found = json.loads(run(*COMMAND, "--json").out)
    assert found["without_images"] == found["plan"].rpartition(",")[2]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ("--recall", "0.9999"),
            "No plan certifies 99.99 %: the recall that is expected at 0.2 does not exceed it. "
            "Lower the policy's 'review from'",
        ),
        (("--max-reviews-a-day", "1"), "within 1 reviews a day. Allow more reviews"),
    ],
)
def test_no_plan_says_why(run: Run, store: Store, options: tuple[str, ...], sentence: str) -> None:
    """Exit 1, and the sentence is on standard error; the JSON has a null plan."""
    add_reviewed(store, 60)
    ended = run(*COMMAND, *options)
    assert (ended.code, "NSFW_AUDIT_PLAN" in ended.out) == (1, False)
    assert sentence in ended.err
    assert json.loads(run(*COMMAND, *options, "--json").out)["plan"] is None


def test_wrong_usage(run: Run) -> None:
    """A target of 1 cannot be certified; without images there is nothing to propose from."""
    assert run("audit-plan", "--recall", "1").code == 2
    ended = run("audit-plan")
    assert ended.code == 1
    assert ended.err == "Error: No image has arrived that was judged by open-nsfw.\n"
