"""Changes of rows are noted where they are saved, and forgotten once they were."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nsfw_app.records import Label
from nsfw_app.rules.permissions import UserRole
from nsfw_app.store import Store, hub_changes
from nsfw_app.store.consistency import DERIVED
from nsfw_app.store.hub_changes import Change
from nsfw_app.store.migrations.hub_tables import KEYS
from tests.support.fakes import FakeClassifier
from tests.support.hub_store import fill, open_engine, open_store, upload
from tests.support.sample_records import answer_to, person


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store in which all rules are in use."""
    return open_store(tmp_path)


# Tables that are not saved: of secrets, of messages, and what belongs to this disk.
NOT_SAVED_TABLES = frozenset(
    """sessions api_keys deliveries draw_secret preview_views explanations
    hub_writer hub_changes hub_previews hub_obsolete _sqlite_migrations sqlite_sequence""".split()
)


def noted(store: Store) -> list[Change]:
    """All changes that are not saved."""
    return list(store.hub_changes.next(max_rows=10_000, max_preview_bytes=10**9).changes)


def tables(changes: list[Change]) -> set[str]:
    """The tables of their rows."""
    return {change.table for change in changes}


def save_all(store: Store) -> None:
    """Forget all changes, as if they were saved."""
    writer = store.hub_changes.writer()
    assert writer is not None
    store.hub_changes.saved(writer, writer.batch + 1, noted(store))


def test_every_table_is_saved_derived_or_left_out_on_purpose(store: Store) -> None:
    """A new table is added to one of these lists, and where it is saved, to a migration."""
    rows = store.log._connections.db.execute("select name from sqlite_master where type = 'table'")
    tables = {row["name"] for row in rows.fetchall()}
    assert tables - set(KEYS) - set(DERIVED) == NOT_SAVED_TABLES


def test_nothing_is_noted_without_a_repository(store: Store) -> None:
    """A server that saves nowhere keeps no list of changes."""
    fill(open_engine(store, FakeClassifier()), store)
    assert store.hub_changes.pending() == 0
    assert store.hub_changes.writer() is None


def test_rows_of_before_are_noted_at_the_start(store: Store) -> None:
    """Every row of every table that is saved, in an order in which each follows its parents."""
    fill(open_engine(store, FakeClassifier()), store)
    store.hub_changes.start("org/a", "main", previews=False)
    changes = noted(store)
    assert tables(changes) == set(KEYS) - {"submissions"}
    order = [list(KEYS).index(change.table) for change in changes]
    assert order == sorted(order)
    counts = store.hub_changes.counts()
    assert len(changes) == sum(counts.values()) == store.hub_changes.pending()
    again = store.hub_changes.start("org/a", "main", previews=False)
    assert again == store.hub_changes.writer()
    assert len(noted(store)) == len(changes)


def test_changes_are_noted_once_each(store: Store) -> None:
    """A row that changed twice is noted once; what changes during a save is kept for the next."""
    engine = open_engine(store, FakeClassifier())
    store.hub_changes.start("org/a", "main", previews=False)
    review = upload(engine, 128)
    first = noted(store)
    assert tables(first) == {"images", "predictions", "uploads", "queue", "arrivals"}
    made = answer_to(review, "n", Label.NSFW)
    engine.decide(made, person("ann"))
    store.hub_changes.saved(store.hub_changes.current_writer(), 1, first)
    later = noted(store)
    assert tables(later) == {"decisions", "queue"}
    assert [change.row["settled_label"] for change in later if change.table == "queue"] == ["nsfw"]
    (decision,) = (change for change in later if change.table == "decisions")
    assert decision.prediction["image_sha256"] == review.sha256
    assert decision.prediction["nsfw_score"] == pytest.approx(128 / 255)


def test_leases_are_not_noted(store: Store) -> None:
    """Claims and releases change nothing that is saved."""
    engine = open_engine(store, FakeClassifier())
    upload(engine, 128)
    store.hub_changes.start("org/a", "main", previews=False)
    save_all(store)
    (lease,) = store.leases.claim("bob", count=1)
    store.leases.renew([lease.entry_id], "bob")
    assert noted(store) == []
    store.leases.skip(lease.entry_id, "bob")
    assert tables(noted(store)) == {"queue_skips"}


def test_a_new_password_is_not_noted(store: Store) -> None:
    """A role is, and that a user was disabled or enabled."""
    store.users.add_user("dee", "first hash", UserRole.REVIEWER, actor="root")
    store.hub_changes.start("org/a", "main", previews=False)
    save_all(store)
    store.users.change_user("dee", actor="root", password_hash="second hash")
    assert tables(noted(store)) == {"audit"}
    for change in ({"role": UserRole.ADMIN}, {"disabled": True}, {"disabled": False}):
        save_all(store)
        store.users.change_user("dee", actor="root", **change)
        assert tables(noted(store)) == {"audit", "users"}


def test_deleted_rows_are_noted(store: Store) -> None:
    """A skip that is undone is noted as a row that is gone."""
    engine = open_engine(store, FakeClassifier())
    upload(engine, 128)
    store.hub_changes.start("org/a", "main", previews=False)
    (lease,) = store.leases.claim("bob", count=1)
    store.leases.skip(lease.entry_id, "bob")
    save_all(store)
    store.leases.unskip(lease.entry_id, "bob")
    (change,) = noted(store)
    assert (change.table, change.row) == ("queue_skips", None)
    assert json.loads(change.key) == [lease.entry_id, "bob"]


def test_previews_are_read_where_they_are_saved(store: Store) -> None:
    """Not without the setting; switching it notes all images again."""
    engine = open_engine(store, FakeClassifier())
    review = upload(engine, 128)
    store.hub_changes.start("org/a", "main", previews=False)
    (image,) = (change for change in noted(store) if change.table == "images")
    assert (image.preview, image.placeholder) == (None, b"")
    save_all(store)
    store.hub_changes.start("org/a", "main", previews=True)
    (image,) = noted(store)
    assert image.preview == store.previews.get(review.sha256)
    assert image.placeholder == store.catalog.preview(review.sha256).placeholder
    save_all(store)
    assert store.hub_changes.current_previews(1, 9) == {review.sha256: 2}
    store.hub_changes.start("org/a", "main", previews=False)
    (image,) = noted(store)
    assert image.preview is None


def test_a_preview_that_is_deleted_makes_its_batch_obsolete(store: Store) -> None:
    """So that the file with it is written again without it."""
    engine = open_engine(store, FakeClassifier())
    review = upload(engine, 128)
    store.hub_changes.start("org/a", "main", previews=True)
    save_all(store)
    assert store.hub_changes.obsolete() == []
    store.purges.purge(review.sha256, actor="root")
    save_all(store)
    assert store.hub_changes.obsolete() == [1]
    assert store.hub_changes.current_previews(1, 9) == {}
    writer = store.hub_changes.current_writer()
    store.hub_changes.rewritten(replace(writer, writer="another"), 1, 1, [1])
    assert store.hub_changes.obsolete() == [1]
    store.hub_changes.rewritten(writer, 1, 1, [1])
    assert store.hub_changes.obsolete() == []


def test_previews_of_restricted_images_are_not_read(store: Store) -> None:
    """Of an image that is restricted later, the preview that was saved becomes obsolete."""
    engine = open_engine(store, FakeClassifier())
    fill(engine, store)
    (restricted,) = store.restrictions.all()
    store.hub_changes.start("org/a", "main", previews=True)
    previews = {json.loads(c.key)[0]: c.preview for c in noted(store) if c.table == "images"}
    assert previews.pop(restricted) is None
    assert all(previews.values())
    save_all(store)
    store.restrictions.lift(restricted, actor="root")
    lifted = [change for change in noted(store) if change.table == "images"]
    assert [bool(change.preview) for change in lifted] == [True]


def test_another_repository_gets_everything(store: Store) -> None:
    """All rows are noted again, in a history of their own; without one, none are."""
    engine = open_engine(store, FakeClassifier())
    upload(engine, 128)
    first = store.hub_changes.start("org/a", "main", previews=False)
    save_all(store)
    second = store.hub_changes.start("org/b", "main", previews=False)
    assert (second.batch, second.generation) == (0, 1)
    assert second.writer != first.writer
    assert tables(noted(store)) == {"images", "predictions", "uploads", "queue", "arrivals"}
    store.hub_changes.stop()
    upload(engine, 129)
    assert noted(store) == []


def test_a_batch_ends_after_many_previews(store: Store) -> None:
    """So that neither memory nor a file grows with the backlog."""
    engine = open_engine(store, FakeClassifier())
    for red in (100, 128, 150):
        upload(engine, red)
    store.hub_changes.start("org/a", "main", previews=True)
    one = store.hub_changes.next(max_rows=100, max_preview_bytes=1)
    assert (len(one.changes), one.is_complete) == (1, False)
    two = store.hub_changes.next(max_rows=2, max_preview_bytes=10**9)
    assert (len(two.changes), two.is_complete) == (2, False)
    assert store.hub_changes.next(max_rows=100, max_preview_bytes=10**9).is_complete


def test_what_was_read_before_an_erasure_is_not_taken_for_saved(store: Store) -> None:
    """An erasure during a save begins another history, which is saved from its first batch."""
    upload(open_engine(store, FakeClassifier()), 128, owner="ann")
    before = store.hub_changes.start("org/a", "main", previews=False)
    first = store.hub_changes.next(max_rows=100, max_preview_bytes=10**9)
    assert first.writer == before
    store.personal_data.erase_person("ann", actor="root")
    store.hub_changes.saved(before, 1, first.changes)
    after = store.hub_changes.current_writer()
    assert (after.batch, after.history > before.history) == (0, True)
    assert tables(noted(store)) >= tables(list(first.changes))
    assert "ann" not in str(noted(store))


def test_a_history_is_later_by_name_where_the_clock_is_behind(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The latest one is the one that is restored."""
    first = store.hub_changes.start("org/a", "main", previews=False)
    monkeypatch.setattr(hub_changes, "now", lambda: "2001-01-01T00:00:00.000Z")
    store.hub_changes.begin_again()
    second = store.hub_changes.current_writer()
    assert second.history > first.history
    store.hub_changes.begin_again(after="by hand")
    assert store.hub_changes.current_writer().writer != second.writer
    store.hub_changes.begin_again(after="29990101T000000000Z-0")
    assert store.hub_changes.current_writer().history.startswith("29990101T000000001Z-")
