"""Retention of previews: which are kept, for how long, and what a purge deletes."""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nsfw_app.errors import DecisionRefused, ImageRestricted, NotFound
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.records import Label, LogFilter, Reason, Retain, Review, Upload
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.queue import QueueOrder, QueueRules
from nsfw_app.rules.retention import Keep, Retention
from nsfw_app.store import Store, purges
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes
from tests.support.sample_records import answer_to, person

ANN, BOB = person("ann"), person("bob")
BLOCKED, WAITING = 250, 150  # nsfw scores outside and inside the review band

Make = Callable[..., Engine]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Create an engine with the given retention settings."""

    def make(keep: Keep = Keep.DISAGREEMENTS, days: int = 30, grace_minutes: int = 60) -> Engine:
        store = Store(
            tmp_path / "review.db",
            previews_dir=tmp_path / "images",
            journal_mode="wal",
            rules=QueueRules(),
            retention=Retention(keep, days, grace_minutes),
        )
        loader = ModelLoader("fake", lambda: Loaded(FakeClassifier()))
        loader.wait()
        return Engine(
            store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies)
        )

    return make


def upload(engine: Engine, red: int) -> Review:
    """Classify an image that Ann uploads."""
    return engine.review(
        image_bytes(red), Upload(f"{red}.png", "gallery", "ann", retain=Retain.QUEUE)
    )


def has_preview(engine: Engine, review: Review) -> bool:
    """Whether the image still has a preview."""
    return engine.has_preview(review.sha256 or "")


def count_files(tmp_path: Path) -> int:
    """Number of files in the directory of previews."""
    return sum(path.is_file() for path in (tmp_path / "images").rglob("*"))


def advance_clock(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    """Move the clock that the purge reads forward."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.now(UTC) + by

    monkeypatch.setattr(purges, "datetime", Later)


def test_the_preview_of_an_agreement_is_deleted(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep deletes preview and placeholder; prediction and decision stay."""
    engine = make()
    review = upload(engine, BLOCKED)
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    assert has_preview(engine, review)
    advance_clock(monkeypatch, timedelta(hours=13))
    assert engine.sweep_previews() == 1
    assert count_files(tmp_path) == 0
    assert engine.preview(review.sha256 or "").placeholder == b""
    assert engine.log.size(LogFilter()) == 1
    assert upload(engine, BLOCKED).prediction == review.prediction


def test_a_preview_outlives_its_decision(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is kept for the grace period, and longer while it is one of the latest twenty."""
    engine = make()
    first = upload(engine, BLOCKED)
    engine.decide(answer_to(first, "first", Label.NSFW), ANN)
    advance_clock(monkeypatch, timedelta(minutes=61))
    assert engine.sweep_previews() == 0
    for number in range(purges.RECENT_DECISIONS):
        review = upload(engine, 230 - number)
        engine.decide(answer_to(review, str(number), Label.NSFW), ANN)
    advance_clock(monkeypatch, timedelta(minutes=59))
    assert engine.sweep_previews() == 0
    advance_clock(monkeypatch, timedelta(minutes=61))
    assert engine.sweep_previews() == 1
    assert not has_preview(engine, first)


def test_without_a_grace_period_the_next_sweep_deletes(make: Make) -> None:
    """With 0 minutes, the sweep after an agreement deletes its preview."""
    engine = make(grace_minutes=0)
    review = upload(engine, BLOCKED)
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    assert engine.sweep_previews() == 1
    assert not has_preview(engine, review)


def test_a_reopened_image_finds_its_preview(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an undo within the grace period the image waits again, with its preview."""
    engine = make()
    review = upload(engine, WAITING)
    decision = engine.decide(answer_to(review, label=Label.NSFW), ANN)
    assert engine.queue.waiting("bob") == 0
    engine.undo(decision.decision_id, reviewer="ann", nonce="undo")
    assert engine.queue.waiting("bob") == 1
    assert engine.preview_jpeg(review.sha256 or "", BOB)
    advance_clock(monkeypatch, timedelta(hours=13))
    assert engine.sweep_previews() == 0


def test_an_image_reopened_without_preview_is_withdrawn(make: Make) -> None:
    """After its preview was deleted, an undo does not bring the image back into the queue."""
    engine = make(grace_minutes=0)
    review = upload(engine, WAITING)
    decision = engine.decide(answer_to(review, label=Label.NSFW), ANN)
    assert engine.sweep_previews() == 1
    engine.undo(decision.decision_id, reviewer="ann", nonce="undo")
    assert engine.queue.waiting("bob") == 0
    assert engine.queue.open_entries() == 0
    with pytest.raises(DecisionRefused) as refused:
        engine.decide(answer_to(review, "again", Label.NSFW), ANN)
    assert (refused.value.kind, refused.value.images) == ("no_preview", (review.sha256,))
    assert review.prediction is not None
    with pytest.raises(DecisionRefused):
        engine.queue.request_second_opinion(review.sha256 or "", review.prediction.identity, ANN)
    assert engine.decide(answer_to(review, label=Label.NSFW), ANN) == engine.log.get(
        decision.decision_id
    )
    upload(engine, WAITING)
    assert engine.queue.waiting("bob") == 1


def test_disagreements_keep_the_preview(make: Make) -> None:
    """A disagreement keeps the preview for relabeling, and so does an unsure decision."""
    engine = make()
    for number, label in enumerate((Label.NORMAL, Label.UNSURE)):
        review = upload(engine, BLOCKED + number)
        engine.decide(answer_to(review, label, label), ANN)
        assert has_preview(engine, review)
    assert engine.tidy_up(actor="test") == 0


def test_an_undone_disagreement_keeps_no_preview(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the disagreement is undone, the preview is purged once the session's time is over."""
    engine = make()
    review = upload(engine, BLOCKED)
    decision = engine.decide(answer_to(review), ANN)
    engine.undo(decision.decision_id, reviewer="ann", nonce="undo")
    advance_clock(monkeypatch, timedelta(hours=13))
    assert engine.tidy_up(actor="test") == 1
    assert not has_preview(engine, review)


def test_queued_images_keep_their_previews(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The preview of a queued image stays; any other is purged after a session's twelve hours."""
    engine = make()
    waiting, blocked = upload(engine, WAITING), upload(engine, BLOCKED)
    advance_clock(monkeypatch, timedelta(hours=11))
    assert engine.tidy_up(actor="test") == 0
    advance_clock(monkeypatch, timedelta(hours=13))
    assert engine.tidy_up(actor="test") == 1
    assert [has_preview(engine, review) for review in (waiting, blocked)] == [True, False]
    engine.decide(answer_to(waiting, label=Label.NSFW), BOB)
    assert engine.tidy_up(actor="test") == 1
    assert not has_preview(engine, waiting)


def test_a_requested_second_opinion_keeps_the_preview(make: Make) -> None:
    """An agreeing decision deletes nothing while a second opinion is requested."""
    engine = make(grace_minutes=0)
    review = upload(engine, BLOCKED)
    assert review.prediction is not None
    assert engine.queue.request_second_opinion(review.sha256 or "", review.prediction.identity, ANN)
    engine.decide(answer_to(review, "1", Label.NSFW), ANN)
    assert engine.sweep_previews() == 0
    engine.decide(answer_to(review, "2", Label.NSFW), BOB)
    assert engine.sweep_previews() == 1
    assert not has_preview(engine, review)


def test_uploading_a_deleted_image_again_restores_its_preview(make: Make) -> None:
    """The same bytes, uploaded after the deletion, have a preview and a placeholder again."""
    engine = make(grace_minutes=0)
    engine.decide(answer_to(upload(engine, BLOCKED), label=Label.NSFW), ANN)
    assert engine.sweep_previews() == 1
    again = upload(engine, BLOCKED)
    assert has_preview(engine, again)
    assert engine.preview_jpeg(again.sha256 or "", ANN)
    assert again.preview
    assert engine.preview(again.sha256 or "") == again.preview


def test_previews_are_purged_after_the_retention_period(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the set days, previews of disagreements and queued images go, as do queue entries."""
    engine = make(days=7)
    disagreed, waiting = upload(engine, BLOCKED), upload(engine, WAITING)
    engine.decide(answer_to(disagreed), ANN)
    advance_clock(monkeypatch, timedelta(days=6))
    assert engine.tidy_up(actor="test") == 0
    advance_clock(monkeypatch, timedelta(days=8))
    assert engine.tidy_up(actor="test") == 2
    assert engine.queue.waiting("bob") == 0
    assert engine.log.size(LogFilter()) == 1
    again = upload(engine, WAITING)
    assert again.prediction == waiting.prediction
    assert engine.queue.waiting("bob") == 1


def test_an_image_whose_file_was_lost_is_not_handed_out(make: Make, tmp_path: Path) -> None:
    """A claim withdraws the entry of an image without a preview file, and so does a purge."""
    engine = make()
    reviews = [upload(engine, WAITING + number) for number in range(3)]
    for review in reviews[:2]:
        (tmp_path / "images" / f"{review.sha256}"[:2] / f"{review.sha256}.jpg").unlink()
    items = engine.queue.claim(
        "bob", model="fake", count=2, holding=[], order=QueueOrder.PRIORITY, first=None
    )
    assert [item.review.sha256 for item in items] == [reviews[2].sha256]
    assert engine.queue.open_entries() == 1
    (tmp_path / "images" / f"{reviews[2].sha256}"[:2] / f"{reviews[2].sha256}.jpg").unlink()
    engine.tidy_up(actor="test")
    assert engine.queue.open_entries() == 0


def test_a_restricted_image_keeps_its_preview(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """No purge deletes it, neither the daily one nor one on request; it does not wait."""
    engine = make(days=7)
    review, other = upload(engine, WAITING), upload(engine, WAITING + 1)
    made = replace(answer_to(review, label=Label.NORMAL), reasons=(Reason.MINOR_PRESENT,))
    decision = engine.decide(made, ANN)
    assert engine.queue.waiting("bob") == 1
    engine.undo(decision.decision_id, reviewer="ann", nonce="undo")
    assert engine.queue.waiting("bob") == 1
    advance_clock(monkeypatch, timedelta(days=8))
    assert engine.tidy_up(actor="test") == 1
    assert [has_preview(engine, each) for each in (review, other)] == [True, False]
    with pytest.raises(ImageRestricted):
        engine._store.purges.purge(review.sha256 or "", actor="test")
    assert has_preview(engine, review)
    audited = [row for row in engine.audit.entries() if row.action == "restrict"]
    assert [(row.actor, row.subject) for row in audited] == [("ann", review.sha256)]
    engine.lift_restriction(review.sha256 or "", actor="root")
    assert engine.tidy_up(actor="test") == 1


def test_all_keeps_agreements_for_the_retention_period(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `all`, only previews older than the set days are purged."""
    engine = make(Keep.ALL, days=7)
    review = upload(engine, BLOCKED)
    engine.decide(answer_to(review, label=Label.NSFW), ANN)
    advance_clock(monkeypatch, timedelta(days=6))
    assert engine.tidy_up(actor="test") == 0
    advance_clock(monkeypatch, timedelta(days=8))
    assert engine.tidy_up(actor="test") == 1
    assert not has_preview(engine, review)


def test_none_keeps_no_preview(make: Make, tmp_path: Path) -> None:
    """Nothing is stored or queued; the response still has a placeholder for the card."""
    engine = make(Keep.NONE)
    review = upload(engine, WAITING)
    assert review.prediction is not None
    assert review.preview is not None
    assert review.preview.placeholder
    assert count_files(tmp_path) == 0
    assert engine.preview(review.sha256 or "").placeholder == b""
    assert engine.queue.waiting("bob") == 0
    assert not engine.queue.request_second_opinion(
        review.sha256 or "", review.prediction.identity, ANN
    )
    assert upload(engine, WAITING).preview == review.preview


def test_a_stricter_setting_purges_previews_kept_before(make: Make, tmp_path: Path) -> None:
    """A purge applies the current setting, also to previews from before a restart."""
    upload(make(Keep.ALL), BLOCKED)
    assert make(Keep.NONE).tidy_up(actor="test") == 1
    assert count_files(tmp_path) == 0


def test_a_preview_without_an_owner_is_purged(make: Make, tmp_path: Path) -> None:
    """A preview file without a row, as a killed process leaves it, is deleted."""
    engine = make(Keep.ALL)
    (tmp_path / "images" / "aa").mkdir()
    (tmp_path / "images" / "aa" / ("a" * 64 + ".jpg")).write_bytes(b"left over")
    assert engine.tidy_up(actor="test") == 1


def test_a_purge_is_audited(make: Make) -> None:
    """Each purge adds a row with its settings and the number of deleted previews."""
    engine = make(Keep.NONE, days=3)
    engine.tidy_up(actor="daily purge")
    (row,) = engine.audit.entries()
    assert (row.actor, row.action, row.subject) == ("daily purge", "purge", "pictures")
    assert row.details == {"deleted": 0, "keep": "none", "days": 3}


def test_retain_nothing_stores_nothing(make: Make, tmp_path: Path) -> None:
    """With `Retain.NOTHING` an image leaves no row and no file, and has the same score."""
    engine = make(Keep.ALL)
    tried = engine.review(image_bytes(WAITING), Upload("a.png", "review", retain=Retain.NOTHING))
    assert tried.prediction is not None
    assert tried.preview is not None
    with pytest.raises(NotFound):
        engine.preview(tried.sha256 or "")
    assert count_files(tmp_path) == 0
    assert engine.queue.waiting("bob") == 0
    assert upload(engine, WAITING).prediction == tried.prediction


def test_partly_written_previews_are_purged(make: Make, tmp_path: Path) -> None:
    """The partial file of a killed process is deleted by a purge once it is an hour old."""
    engine = make()
    review = upload(engine, WAITING)
    (preview,) = (tmp_path / "images").rglob("*.jpg")
    old, new = (preview.with_suffix(f".{name}") for name in ("old", "new"))
    for part in (old, new):
        part.write_bytes(preview.read_bytes())
    os.utime(old, (1, 1))
    engine.tidy_up(actor="test")
    assert has_preview(engine, review)
    assert not old.exists()
    assert new.exists()
