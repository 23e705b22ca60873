"""Queue rules: when an image settles, and which images are sampled for audit."""

import hashlib

import pytest

from nsfw_app.records import Label
from nsfw_app.rules.queue import QueueReason, QueueRules, Settlement, is_sampled, settle

NORMAL, NSFW, UNSURE = Label.NORMAL, Label.NSFW, Label.UNSURE
OPEN, ADJUDICATE = Settlement(), Settlement(adjudicating=True)


@pytest.mark.parametrize(
    ("labels", "wanted", "outcome"),
    [
        ([], 1, OPEN),
        ([NSFW], 1, Settlement(settled=True, label=NSFW)),
        ([NSFW], 2, OPEN),
        ([NSFW, NSFW], 2, Settlement(settled=True, label=NSFW)),
        ([NSFW, NORMAL], 2, ADJUDICATE),
        ([UNSURE], 1, OPEN),
        ([UNSURE, NSFW], 1, Settlement(settled=True, label=NSFW)),
        ([NSFW, UNSURE], 1, Settlement(settled=True, label=NSFW)),
        ([UNSURE, UNSURE], 1, Settlement(settled=True, label=UNSURE)),
        ([NSFW, UNSURE], 2, OPEN),
        ([NSFW, UNSURE, UNSURE], 2, Settlement(settled=True, label=UNSURE)),
        ([NSFW, NORMAL, NORMAL], 2, Settlement(settled=True, label=NORMAL)),
        ([NSFW, NORMAL, UNSURE], 2, ADJUDICATE),
        ([NSFW, NORMAL, UNSURE, NORMAL], 2, Settlement(settled=True, label=NORMAL)),
        ([NSFW, NORMAL], 1, ADJUDICATE),
        ([NSFW, NSFW, NORMAL], 3, ADJUDICATE),
        ([NSFW, NSFW, NORMAL], 2, Settlement(settled=True, label=NSFW)),
    ],
)
def test_settlement(labels: list[Label], wanted: int, outcome: Settlement) -> None:
    """As many agreeing decisions as wanted settle an image; if they differ, one more decides.

    Unsure is no vote, until several reviewers are.
    """
    assert settle(labels, wanted=wanted) == outcome


def test_answers_wanted_are_set_per_reason() -> None:
    """A reason that is not configured keeps its default."""
    rules = QueueRules(answers={QueueReason.REVIEW: 3})
    assert rules.answers_wanted(QueueReason.REVIEW) == 3
    assert rules.answers_wanted(QueueReason.SECOND_OPINION) == 2


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_the_sampled_share_is_the_rate(rate: float) -> None:
    """Over many images the sampled share is the rate, and a second draw gives the same sample."""
    hashes = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(4000)]
    weights = hashlib.sha256(b"weights").hexdigest()
    first = [is_sampled(image, weights, rate=rate, secret="s") for image in hashes]
    assert sum(first) / len(first) == pytest.approx(rate, abs=0.03)
    assert first == [is_sampled(image, weights, rate=rate, secret="s") for image in hashes]
    other = [is_sampled(image, weights, rate=rate, secret="t") for image in hashes]
    assert (other == first) is (rate in (0.0, 1.0))
