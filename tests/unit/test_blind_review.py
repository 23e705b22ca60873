"""Hidden decisions: how many there are, about how many images."""

import pytest

from nsfw_app.records import Label, LogFilter
from nsfw_app.review.left_out import hidden_sentence
from nsfw_app.store import Store, blind_review
from nsfw_app.store.blind_review import Hidden
from tests.unit.test_queue_entries import decide, queue_store, waiting

__all__ = ["queue_store"]  # a fixture


def test_hidden_decisions_are_counted_until_the_own_decision(queue_store: Store) -> None:
    """In the log undone ones count as well, in Insights those that stand."""
    first, second = waiting(queue_store, 0.6), waiting(queue_store, 0.7)
    for prediction in (first, second):
        undone = decide(queue_store, prediction, "ann", Label.UNSURE)
        queue_store.log.undo(undone, reviewer="ann", nonce=f"undo {prediction}")
        decide(queue_store, prediction, "ann", Label.NORMAL)
    assert queue_store.log.hidden("ann") == Hidden()
    assert queue_store.log.hidden(None) == Hidden()
    assert queue_store.log.hidden("bob") == Hidden(4, 2)
    assert queue_store.standing_decisions.hidden("bob") == Hidden(2, 2)
    decide(queue_store, first, "bob", Label.NSFW)
    assert queue_store.log.hidden("bob") == Hidden(2, 1)
    assert queue_store.log.hidden("cat") == Hidden(5, 2)
    assert queue_store.standing_decisions.hidden("cat") == Hidden(3, 2)


def test_an_unsure_decision_is_hidden_while_the_image_waits(queue_store: Store) -> None:
    """The next reviewer decides without it, also where one decision settles the image."""
    prediction = waiting(queue_store, 0.6)
    decide(queue_store, prediction, "ann", Label.UNSURE)
    assert queue_store.log.hidden("bob") == Hidden(1, 1)
    assert list(queue_store.log.rows(LogFilter(blind_to="bob"))) == []
    decide(queue_store, prediction, "bob", Label.NSFW)
    assert queue_store.log.hidden("cat") == Hidden()


def test_too_many_are_counted_without_their_images(
    queue_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their number stays exact."""
    monkeypatch.setattr(blind_review, "COUNTED_ROWS", 1)
    for score in (0.6, 0.7):
        decide(queue_store, waiting(queue_store, score), "ann", Label.NORMAL)
    assert queue_store.log.hidden("bob") == Hidden(2, None)


@pytest.mark.parametrize(
    ("hidden", "sentence"),
    [
        (Hidden(), ""),
        (Hidden(1, 1), "1 decision about 1 image is hidden until you have decided it."),
        (Hidden(2, 1), "2 decisions about 1 image are hidden until you have decided it."),
        (Hidden(26, 15), "26 decisions about 15 images are hidden until you have decided them."),
        (Hidden(9_000, None), "9,000 decisions are hidden until you have decided their images."),
    ],
    ids=str,
)
def test_the_sentence_says_how_many_and_why(hidden: Hidden, sentence: str) -> None:
    """It is empty where nothing is hidden."""
    assert hidden_sentence(hidden) == sentence
