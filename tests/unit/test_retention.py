"""What is kept of pictures: as the setting says, no longer, and never what somebody wants gone."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nsfw_app.errors import NotFound
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.records import Label, LogFilter, Retain, Review, Upload
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.queue import QueueRules
from nsfw_app.rules.retention import Keep, Retention
from nsfw_app.store import Store, purges
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes
from tests.support.sample_records import answer_to, person

ANN, BOB = person("ann"), person("bob")
BLOCKED, WAITING = 250, 150  # outside the band, and in it

Make = Callable[..., Engine]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """An engine that keeps what it is told to."""

    def make(keep: Keep = Keep.DISAGREEMENTS, days: int = 30) -> Engine:
        store = Store(
            tmp_path / "review.db",
            previews_dir=tmp_path / "images",
            journal_mode="wal",
            rules=QueueRules(),
            retention=Retention(keep, days),
        )
        loader = ModelLoader("fake", lambda: Loaded(FakeClassifier()))
        loader.wait()
        return Engine(
            store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies)
        )

    return make


def bring(engine: Engine, red: int) -> Review:
    """Have a picture judged that Ann uploads."""
    return engine.review(
        image_bytes(red), Upload(f"{red}.png", "gallery", "ann", retain=Retain.QUEUE)
    )


def kept(engine: Engine, review: Review) -> bool:
    """Whether there is still something to look at."""
    return engine.has_preview(review.sha256 or "")


def files(tmp_path: Path) -> int:
    """How many files lie where pictures do."""
    return sum(path.is_file() for path in (tmp_path / "images").rglob("*"))


def later(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    """Let the purge believe that time has passed."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.now(UTC) + by

    monkeypatch.setattr(purges, "datetime", Later)


def test_what_is_agreed_on_is_deleted_at_once(make: Make, tmp_path: Path) -> None:
    """With the answer the file is gone and what stood for the image; score and answer stay."""
    engine = make()
    review = bring(engine, BLOCKED)
    assert kept(engine, review)
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    assert files(tmp_path) == 0
    assert engine.preview(review.sha256 or "").placeholder == b""
    assert engine.log.size(LogFilter()) == 1
    assert bring(engine, BLOCKED).prediction == review.prediction


def test_disagreements_stay_for_relabelling(make: Make) -> None:
    """An answer against the model keeps the picture, and so does an unsure one."""
    engine = make()
    for number, label in enumerate((Label.NORMAL, Label.UNSURE)):
        review = bring(engine, BLOCKED + number)
        engine.decide(answer_to(review, label, label), ANN)
        assert kept(engine, review)
    assert engine.tidy_up(actor="test") == 0


def test_an_undone_disagreement_is_none(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes a disagreement back leaves nothing that keeps the picture, after the session."""
    engine = make()
    review = bring(engine, BLOCKED)
    decision = engine.decide(answer_to(review), ANN)
    engine.undo(decision.decision_id, reviewer="ann", nonce="undo")
    later(monkeypatch, timedelta(hours=13))
    assert engine.tidy_up(actor="test") == 1
    assert not kept(engine, review)


def test_pictures_wait_as_long_as_their_image(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the queue a picture stays; outside it stays for a session's twelve hours."""
    engine = make()
    waiting, blocked = bring(engine, WAITING), bring(engine, BLOCKED)
    later(monkeypatch, timedelta(hours=11))
    assert engine.tidy_up(actor="test") == 0
    later(monkeypatch, timedelta(hours=13))
    assert engine.tidy_up(actor="test") == 1
    assert [kept(engine, review) for review in (waiting, blocked)] == [True, False]
    engine.decide(answer_to(waiting, label=Label.NSFW), BOB)
    assert not kept(engine, waiting)


def test_a_second_opinion_keeps_what_one_agreed_on(make: Make) -> None:
    """While another answer is wanted, one that agrees deletes nothing."""
    engine = make()
    review = bring(engine, BLOCKED)
    assert review.prediction is not None
    assert engine.queue.request_second_opinion(review.sha256 or "", review.prediction.identity, ANN)
    engine.decide(answer_to(review, "1", Label.NSFW), ANN)
    assert kept(engine, review)
    engine.decide(answer_to(review, "2", Label.NSFW), BOB)
    assert not kept(engine, review)


def test_whoever_brings_it_again_can_see_it_again(make: Make) -> None:
    """The same bytes, added after they were deleted, have a picture and a placeholder again."""
    engine = make()
    engine.decide(answer_to(bring(engine, BLOCKED), label=Label.NSFW), ANN)
    again = bring(engine, BLOCKED)
    assert kept(engine, again)
    assert engine.preview_jpeg(again.sha256 or "", ANN)
    assert again.preview
    assert engine.preview(again.sha256 or "") == again.preview


def test_days_end_everything(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the number of days disagreements and the queue keep nothing, and nothing waits."""
    engine = make(days=7)
    disagreed, waiting = bring(engine, BLOCKED), bring(engine, WAITING)
    engine.decide(answer_to(disagreed), ANN)
    later(monkeypatch, timedelta(days=6))
    assert engine.tidy_up(actor="test") == 0
    later(monkeypatch, timedelta(days=8))
    assert engine.tidy_up(actor="test") == 2
    assert engine.queue.waiting("bob") == 0
    assert engine.log.size(LogFilter()) == 1
    again = bring(engine, WAITING)
    assert again.prediction == waiting.prediction
    assert engine.queue.waiting("bob") == 1


def test_all_keeps_agreements_until_their_days_are_over(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`all` deletes nothing but what is too old."""
    engine = make(Keep.ALL, days=7)
    review = bring(engine, BLOCKED)
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    later(monkeypatch, timedelta(days=6))
    assert engine.tidy_up(actor="test") == 0
    later(monkeypatch, timedelta(days=8))
    assert engine.tidy_up(actor="test") == 1
    assert not kept(engine, review)


def test_none_keeps_nothing(make: Make, tmp_path: Path) -> None:
    """No file, no placeholder, nobody waits; the card can still be drawn."""
    engine = make(Keep.NONE)
    review = bring(engine, WAITING)
    assert review.prediction is not None
    assert review.preview is not None
    assert review.preview.placeholder
    assert files(tmp_path) == 0
    assert engine.preview(review.sha256 or "").placeholder == b""
    assert engine.queue.waiting("bob") == 0
    assert not engine.queue.request_second_opinion(
        review.sha256 or "", review.prediction.identity, ANN
    )
    assert bring(engine, WAITING).preview == review.preview


def test_a_stricter_setting_deletes_what_an_earlier_one_kept(make: Make, tmp_path: Path) -> None:
    """The purge at the next start goes by the setting that is in force then."""
    bring(make(Keep.ALL), BLOCKED)
    assert make(Keep.NONE).tidy_up(actor="test") == 1
    assert files(tmp_path) == 0


def test_a_picture_nobody_brought_goes(make: Make, tmp_path: Path) -> None:
    """What a killed process left without an owner is deleted."""
    engine = make(Keep.ALL)
    (tmp_path / "images" / "aa").mkdir()
    (tmp_path / "images" / "aa" / ("a" * 64 + ".jpg")).write_bytes(b"left over")
    assert engine.tidy_up(actor="test") == 1


def test_a_run_is_in_the_audit(make: Make) -> None:
    """Each purge is a row with what was in force and how much it deleted."""
    engine = make(Keep.NONE, days=3)
    engine.tidy_up(actor="daily purge")
    (row,) = engine.audit.entries()
    assert (row.actor, row.action, row.subject) == ("daily purge", "purge", "pictures")
    assert row.details == {"deleted": 0, "keep": "none", "days": 3}


def test_trying_out_keeps_nothing_at_all(make: Make, tmp_path: Path) -> None:
    """An image that is only tried out leaves no row and no file, and has the same score."""
    engine = make(Keep.ALL)
    tried = engine.review(image_bytes(WAITING), Upload("a.png", "review", retain=Retain.NOTHING))
    assert tried.prediction is not None
    assert tried.preview is not None
    with pytest.raises(NotFound):
        engine.preview(tried.sha256 or "")
    assert files(tmp_path) == 0
    assert engine.queue.waiting("bob") == 0
    assert bring(engine, WAITING).prediction == tried.prediction


def test_what_was_left_half_written_is_deleted(make: Make, tmp_path: Path) -> None:
    """A process that was killed may leave part of a picture; an hour later a purge takes it."""
    engine = make()
    review = bring(engine, WAITING)
    (picture,) = (tmp_path / "images").rglob("*.jpg")
    old, new = (picture.with_suffix(f".{name}") for name in ("old", "new"))
    for part in (old, new):
        part.write_bytes(picture.read_bytes())
    os.utime(old, (1, 1))
    engine.tidy_up(actor="test")
    assert kept(engine, review)
    assert not old.exists()
    assert new.exists()
