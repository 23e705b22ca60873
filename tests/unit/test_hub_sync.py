"""Decisions are saved in a dataset repository and restored from it, by huggingface_hub."""

import io
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest

from nsfw_app.accounts import Accounts
from nsfw_app.backups.restore import restore
from nsfw_app.dataset_errors import (
    FilesIgnored,
    HubConflict,
    HubDataError,
    HubFailed,
    PublicRepository,
    PushForbidden,
    ServerReplaced,
)
from nsfw_app.errors import NotSignedIn
from nsfw_app.evidence.summaries import EvidenceQuery, Summaries
from nsfw_app.evidence.summary_json import summary_json
from nsfw_app.hub_sync import event_files, layout, saving
from nsfw_app.hub_sync.layout import parse
from nsfw_app.hub_sync.repository import HubRepository
from nsfw_app.hub_sync.saving import Saver
from nsfw_app.models.equivalence import EquivalentBackends
from nsfw_app.records import Category, Label, LogFilter
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.identities import Identity
from nsfw_app.rules.permissions import UserRole
from nsfw_app.rules.queue import QueueOrder
from nsfw_app.store import Store, hub_changes
from nsfw_app.store.hub_changes import HubChanges
from tests.support.backup_archives import backup_of
from tests.support.fakes import FakeClassifier
from tests.support.hub_store import (
    REDS,
    REPOSITORY,
    client_hub,
    contents,
    exported,
    fill,
    insights_of,
    new_saver,
    open_engine,
    open_store,
    restored,
    upload,
)
from tests.support.sample_records import answer_to, person
from tests.support.upload_hub import Repository, UploadHub

NAME = REPOSITORY.name


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadHub]:
    """The hub of this process, with a private repository."""
    with client_hub(monkeypatch) as hub:
        hub.repositories[NAME] = Repository(private=True)
        yield hub


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The store of a server."""
    return open_store(tmp_path / "first")


def rows(hub: UploadHub) -> list[dict[str, object]]:
    """All rows of all files."""
    files = hub.repositories[NAME].files
    found = []
    for path in sorted(files):
        if path.endswith(".parquet"):
            found += pq.read_table(io.BytesIO(files[path])).to_pylist()
    return found


def data_files(hub: UploadHub) -> list[layout.BatchFile]:
    """The files of batches."""
    return sorted(parse(hub.repositories[NAME].files))


def rewrite(hub: UploadHub, change: Callable[[dict[str, object]], object]) -> None:
    """Change the rows of the only file; None leaves one out."""
    files = hub.repositories[NAME].files
    ((path, data),) = ((path, files[path]) for path in files if path.endswith(".parquet"))
    changed = [new for row in pq.read_table(io.BytesIO(data)).to_pylist() if (new := change(row))]
    sink = io.BytesIO()
    pq.write_table(event_files.pa.Table.from_pylist(changed, schema=event_files.SCHEMA), sink)
    files[path] = sink.getvalue()


def claims(store: Store) -> list[list[str]]:
    """The order in which the queue is worked, by reviewer."""
    engine = open_engine(store, FakeClassifier())
    found = []
    for reviewer in ("ann", "bob", "cy"):
        items = engine.queue.claim(
            reviewer, model="fake", count=9, holding=(), order=QueueOrder.PRIORITY
        )
        engine.queue.release([item.entry_id for item in items], reviewer)
        found.append([item.review.sha256 for item in items])
    return found


def estimates_of(store: Store) -> dict[str, object]:
    """The evidence that Insights shows, without the time at which it was computed."""
    summaries = Summaries(store, PolicyBook(store.policies), EquivalentBackends(None))
    query = EvidenceQuery(FakeClassifier.identity)
    found = summary_json(summaries.get(query), query)
    return {name: value for name, value in found.items() if name != "computed_at"}


def test_an_empty_data_directory_is_restored(hub: UploadHub, store: Store, tmp_path: Path) -> None:
    """Log, queue, policies, Insights and all rows are as before, and no image is judged again."""
    engine = open_engine(store, FakeClassifier())
    fill(engine, store)
    new_saver(store).save()
    found = restored(tmp_path / "second")
    assert found is not None
    again = open_store(tmp_path / "second")
    assert contents(again) == contents(store) | {
        "images": [
            (*row[:6], b"", *row[7:]) if row[0] in store.restrictions.all() else row
            for row in contents(store)["images"]
        ]
    }
    assert exported(again) == exported(store)
    assert exported(again)[1].count("\n") > len(REDS)
    assert again.consistency.check() == []
    assert again.policies.latest("fake") == store.policies.latest("fake")
    assert insights_of(again) == insights_of(store)
    assert estimates_of(again) == estimates_of(store)
    assert claims(again) == claims(store)
    assert sum(map(len, claims(again))) > 0
    kept = set(again.previews.all())
    assert kept == set(store.previews.all()) - store.restrictions.all()
    assert all(again.previews.get(image) == store.previews.get(image) for image in kept)
    classifier = FakeClassifier()
    engine = open_engine(again, classifier)
    assert [upload(engine, red).prediction for red in REDS]
    assert classifier.seen == 0
    assert found.rows["decisions"] == len(contents(store)["decisions"])
    assert (found.previews, found.without_preview, found.diverged) == (len(REDS) - 1, 0, 0)
    assert found.without_password == ["dee"]


def test_a_restored_server_goes_on(hub: UploadHub, store: Store, tmp_path: Path) -> None:
    """It saves only what is new; a third one has the rows of both."""
    engine = open_engine(store, FakeClassifier())
    fill(engine, store)
    new_saver(store).save()
    restored(tmp_path / "second")
    second = open_store(tmp_path / "second")
    saver = new_saver(second)
    assert saver.pending == 0
    engine = open_engine(second, FakeClassifier())
    review = upload(engine, 140)
    engine.decide(answer_to(review, "later", Label.NSFW), person("bob"))
    assert 0 < saver.save() < 12
    assert [(each.first, each.generation) for each in data_files(hub)] == [(1, 1), (2, 2)]
    assert restored(tmp_path / "third").diverged == 0
    third = open_store(tmp_path / "third")
    assert contents(third) == contents(second)
    assert exported(third) == exported(second)


def test_each_commit_adds_one_file(hub: UploadHub, store: Store) -> None:
    """Of one writer; what did not change is not saved again."""
    engine = open_engine(store, FakeClassifier())
    saver = new_saver(store)
    for red in REDS[:3]:
        upload(engine, red)
        saver.save()
    saver.save()
    repository = hub.repositories[NAME]
    assert [len(paths) for paths in repository.added] == [1, 1, 1]
    assert [each.first for each in data_files(hub)] == [1, 2, 3]
    kinds = [row["kind"] for row in rows(hub)]
    assert kinds.count("image") == kinds.count("prediction") == kinds.count("upload") == 3


def test_previews_stay_here_without_the_setting(
    hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    """Neither previews nor placeholders are sent; restored images have none, which is counted."""
    engine = open_engine(store, FakeClassifier())
    fill(engine, store)
    new_saver(store, previews=False).save()
    assert all(row["preview"] is None for row in rows(hub))
    assert "placeholder" not in json.loads(
        next(row["row"] for row in rows(hub) if row["kind"] == "image")
    )
    found = restored(tmp_path / "second")
    again = open_store(tmp_path / "second")
    assert (found.previews, found.without_preview) == (0, store.queue.size())
    assert found.without_preview > 0
    assert exported(again) == exported(store)
    assert again.queue.size() == store.queue.size()
    open_engine(again, FakeClassifier()).tidy_up(actor="daily purge")
    assert again.queue.size() == 0
    again_engine = open_engine(again, FakeClassifier())
    for red in REDS:
        upload(again_engine, red)
    assert again.queue.size() > 0


def test_what_is_secret_is_not_saved(hub: UploadHub, store: Store) -> None:
    """No password, session or key, no lease, and no secret of draws is in any file."""
    engine = open_engine(store, FakeClassifier())
    fill(engine, store)
    new_saver(store).save()
    assert {row["kind"] for row in rows(hub)} <= set(event_files.TABLES)
    saved = {name for row in rows(hub) for name in json.loads(row["row"])}
    assert not saved & {"leased_by", "leased_until", "key_name", "secret", "password_hash"}
    assert not {"sessions", "api_keys", "draw_secret"} & set(event_files.TABLES.values())
    assert {row["name"] for row in rows(hub) if row["kind"] == "user"} == {"dee", "eve"}
    assert "hash of a password" not in str(rows(hub))


def test_users_are_restored_without_passwords(hub: UploadHub, store: Store, tmp_path: Path) -> None:
    """A disabled user stays out, with any sign-in; an identity keeps its name.

    A password does not count until a new one is set.
    """
    password, issuer = "a long password", "https://login.test"
    accounts = Accounts(store, roles_by_group={"staff": UserRole.REVIEWER})
    ann, bob = (Identity(issuer, name * 2, name, groups=("staff",)) for name in ("ann", "bob"))
    for identity in (ann, bob):
        accounts.sign_in_identity(identity)
    for name in ("dee", "eli"):
        accounts.add_user(name, password, UserRole.ADMIN, actor="root")
    for name in ("bob", "eli"):
        store.users.change_user(name, actor="root", disabled=True)
    new_saver(store).save()
    assert restored(tmp_path / "second").without_password == ["dee"]
    second = open_store(tmp_path / "second")
    assert second.users.all() == store.users.all()
    accounts = Accounts(second, roles_by_group={"staff": UserRole.REVIEWER})
    assert (
        accounts.session_caller(accounts.sign_in_identity(replace(ann, name="new"))).name == "ann"
    )
    for refused in (bob, replace(ann, subject="another")):
        with pytest.raises(NotSignedIn):
            accounts.sign_in_identity(refused)
    assert (accounts.has_users, accounts.has_passwords) == (True, False)
    for given in (password, ""):
        with pytest.raises(NotSignedIn):
            accounts.sign_in("dee", given, address="127.0.0.1")
    accounts.set_password("dee", password, actor="root")
    assert accounts.sign_in("dee", password, address="127.0.0.1")
    accounts.set_password("eli", password, actor="root")
    with pytest.raises(NotSignedIn):
        accounts.sign_in("eli", password, address="127.0.0.1")


def test_users_of_an_older_database_are_saved(hub: UploadHub, store: Store, tmp_path: Path) -> None:
    """The upgrade notes them where a repository is in use."""
    store.users.add_user("dee", "hash", UserRole.VIEWER, actor="root")
    saver = new_saver(store)
    saver.save()
    with closing(sqlite3.connect(tmp_path / "first" / "review.db")) as database:
        for event in ("insert", "update", "delete"):
            database.execute(f"drop trigger users_hub_{event}")
        database.execute("delete from _sqlite_migrations where name = 'note_users_for_hub'")
        database.commit()
    upgraded = open_store(tmp_path / "first")
    (change,) = upgraded.hub_changes.next(max_rows=9, max_preview_bytes=9).changes
    assert (change.table, change.row["name"]) == ("users", "dee")


def test_datasets_reads_the_files(hub: UploadHub, store: Store, tmp_path: Path) -> None:
    """`load_dataset` finds the files by the card; decisions have their own columns, and images.

    A file that was saved before there were categories is read with the later ones.
    """
    engine = open_engine(store, FakeClassifier())
    fill(engine, store)
    saver = new_saver(store)
    saver.save()
    named = answer_to(upload(engine, 33), "named", Label.NORMAL)
    engine.decide(replace(named, categories=(Category.DRAWING,)), person("ann"))
    saver.save()
    saver.write_card("2026-03-04 12:03 UTC")
    for path, data in hub.repositories[NAME].files.items():
        target = tmp_path / "clone" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    earlier = min((tmp_path / "clone").rglob("*.parquet"))
    table = pq.read_table(earlier).drop_columns(["categories"])
    pq.write_table(table.replace_schema_metadata(None), earlier)
    events = datasets.load_dataset(
        str(tmp_path / "clone"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert events.column_names == list(event_files.COLUMNS)
    assert isinstance(events.features["preview"], datasets.Image)
    decisions = events.filter(lambda event: event["kind"] == "decision")
    logged = [json.loads(line) for line in exported(store)[1].splitlines()]
    assert [
        (each["at"], each["actor"], each["image_sha256"], each["label"], each["nsfw_score"])
        for each in decisions
    ] == [
        (
            row["decided_at"], row["reviewer"], row["image_sha256"], row["reviewer_label"],
            row["nsfw_score"],
        )
        for row in sorted(logged, key=lambda row: row["decision_id"])
    ]  # fmt: skip
    assert ["minor_present"] in list(decisions["reasons"])
    assert decisions["categories"][-1] == ["drawing"]
    assert set(map(str, decisions["categories"][:-1])) == {"None"}
    images = events.filter(lambda event: event["kind"] == "image")
    sizes = [image.size for image in images["preview"] if image is not None]
    assert sizes == [(40, 30)] * (len(REDS))


def test_datasets_reads_one_history(hub: UploadHub, store: Store, tmp_path: Path) -> None:
    """After an erasure each decision is there twice; the card says how to read the last history."""
    fill(open_engine(store, FakeClassifier()), store)
    saver = new_saver(store)
    saver.save()
    store.personal_data.erase_person("bob", actor="root")
    saver.save()
    saver.write_card("2026-03-04 12:03 UTC")
    for path, data in hub.repositories[NAME].files.items():
        target = tmp_path / "clone" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    card = (tmp_path / "clone" / "README.md").read_text()
    assert f'load_dataset("{NAME}", data_files="data/SERVER/HISTORY/*.parquet"' in card
    last = max(each.history for each in data_files(hub))
    found = []
    for options in ({}, {"data_files": f"data/main/{last}/*.parquet"}):
        events = datasets.load_dataset(
            str(tmp_path / "clone"), split="train", cache_dir=str(tmp_path / "cache"), **options
        )
        found.append(sum(kind in {"decision", "undo"} for kind in events["kind"]))
    count = len(contents(store)["decisions"])
    assert found == [2 * count, count]


def test_the_card_describes_the_columns(hub: UploadHub, store: Store) -> None:
    """Each column and kind is explained; each server has a line, which it alone changes."""
    engine = open_engine(store, FakeClassifier())
    fill(engine, store)
    saver = new_saver(store)
    saver.write_card("2026-03-04 12:03 UTC")
    card = hub.repositories[NAME].files["README.md"].decode()
    assert all(f"`{name}`" in card for name in event_files.COLUMNS)
    assert all(f"`{kind}`" in card for kind in event_files.TABLES)
    decisions = len(contents(store)["decisions"])
    assert f"| main | {len(REDS)} | {len(REDS)} | {decisions} |" in card
    other = card.replace("| main |", "| other |", 1).encode()
    hub.repositories[NAME].files["README.md"] = other
    saver.write_card("2026-03-04 12:04 UTC")
    both = hub.repositories[NAME].files["README.md"].decode()
    assert "12:03 UTC |" in both
    assert "12:04 UTC |" in both
    commits = len(hub.repositories[NAME].commits)
    saver.write_card("2026-03-04 12:04 UTC")
    assert len(hub.repositories[NAME].commits) == commits


@pytest.fixture
def small_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three files are rolled up into one, three of those into another."""
    monkeypatch.setattr(layout, "LEVELS", ((3, 3), (9, 3), (27, 3)))


def test_files_are_rolled_up(
    small_levels: None, hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    """After many batches there are few files with each row once, and commits are squashed."""
    engine = open_engine(store, FakeClassifier())
    saver = new_saver(store)
    for number in range(31):
        review = upload(engine, REDS[number % len(REDS)], owner=f"user {number}")
        if number < 8:
            engine.decide(answer_to(review, f"n{number}", Label.NSFW), person(f"user {number}"))
        saver.save()
        saver.roll_up(rewrite=False)
    assert [(each.first, each.last) for each in data_files(hub)] == [(1, 27), (28, 30), (31, 31)]
    keys = [(row["kind"], row["key"]) for row in rows(hub) if row["kind"] != "image"]
    assert len(keys) == len(set(keys))
    repository = hub.repositories[NAME]
    assert all(len(paths) == 1 for paths in repository.added)
    assert len(repository.commits) > 31
    saver.squash()
    assert len(repository.commits) == 1
    restored(tmp_path / "second")
    assert contents(open_store(tmp_path / "second")) == contents(store)


def test_a_roll_up_deletes_nothing_where_its_file_is_ignored(
    small_levels: None, hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    """A `.gitignore` that came later does not keep what was saved from being restored."""
    engine = open_engine(store, FakeClassifier())
    saver = new_saver(store)
    for red in REDS[:3]:
        upload(engine, red)
        saver.save()
    repository = hub.repositories[NAME]
    repository.files[".gitignore"] = b"*.parquet\n"
    files, commits = dict(repository.files), len(repository.commits)
    with pytest.raises(FilesIgnored, match=r"\.gitignore of org/decisions matches data/main/"):
        saver.roll_up(rewrite=False)
    assert (repository.files, len(repository.commits)) == (files, commits)
    restored(tmp_path / "second")
    assert contents(open_store(tmp_path / "second")) == contents(store)


def test_a_restored_server_does_not_begin_where_its_file_is_ignored(
    hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    """The file by which an earlier server learns of it counts as saved once it is there."""
    upload(open_engine(store, FakeClassifier()), 128)
    new_saver(store).save()
    restored(tmp_path / "second")
    second = open_store(tmp_path / "second")
    saver = new_saver(second)
    batch = second.hub_changes.current_writer().batch
    hub.repositories[NAME].files[".gitignore"] = b"data/\n"
    with pytest.raises(FilesIgnored):
        saver.prepare()
    assert second.hub_changes.current_writer().batch == batch
    del hub.repositories[NAME].files[".gitignore"]
    saver.prepare()
    assert [each.generation for each in data_files(hub)] == [1, 2]


def test_a_save_does_not_disturb_a_roll_up(
    small_levels: None, hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    """Changes that are saved between its reads and its commit do not make it read again."""
    engine = open_engine(store, FakeClassifier())
    saver = new_saver(store)
    for red in REDS[:3]:
        upload(engine, red)
        saver.save()

    def save(_: Repository) -> None:
        upload(engine, 140)
        saver.save()

    hub.before_commit.append(save)
    requests = len(hub.requests)
    assert saver.roll_up(rewrite=False)
    reads = [each for each in hub.requests[requests:] if each.startswith("GET /datasets/")]
    assert len(reads) == 3
    assert [(each.first, each.last) for each in data_files(hub)] == [(1, 3), (4, 4)]
    restored(tmp_path / "second")
    assert contents(open_store(tmp_path / "second")) == contents(store)


def test_a_roll_up_stops_between_files(small_levels: None, hub: UploadHub, store: Store) -> None:
    """Nothing was changed then."""
    engine = open_engine(store, FakeClassifier())
    saver = new_saver(store)
    for red in REDS[:3]:
        upload(engine, red)
        saver.save()
    going = iter((True, False))
    requests = len(hub.requests)
    saver.roll_up(rewrite=False, go_on=lambda: next(going))
    assert sum(each.startswith("GET /datasets/") for each in hub.requests[requests:]) == 1
    assert len(data_files(hub)) == 3


def test_deleted_previews_leave_the_repository(
    small_levels: None, hub: UploadHub, store: Store
) -> None:
    """The file that has them is written again without them, under its path, and no other."""
    engine = open_engine(store, FakeClassifier())
    saver = new_saver(store)
    reviews = []
    for red in REDS[:6]:
        reviews.append(upload(engine, red))
        saver.save()
    saver.roll_up(rewrite=True)
    before = dict(hub.repositories[NAME].files)
    store.purges.purge(reviews[1].sha256, actor="root")
    saver.save()
    saver.roll_up(rewrite=False)
    assert any(_preview_of(reviews[1].sha256, row) for row in rows(hub))
    saver.roll_up(rewrite=True)
    assert not any(_preview_of(reviews[1].sha256, row) for row in rows(hub))
    assert sum(row["preview"] is not None for row in rows(hub)) == 5
    after = hub.repositories[NAME].files
    changed = [path for path in before if after[path] != before[path]]
    assert [each.first for each in parse(changed)] == [1]
    saved = [row["row"] for row in rows(hub) if row["image_sha256"] == reviews[1].sha256]
    assert not any("placeholder" in row for row in saved)


def test_a_preview_that_is_deleted_during_a_roll_up_leaves_the_repository(
    hub: UploadHub, store: Store
) -> None:
    """Another one of the same file, which was to be written again already."""
    engine = open_engine(store, FakeClassifier())
    saver = new_saver(store)
    reviews = [upload(engine, red) for red in REDS[:3]]
    saver.save()
    store.purges.purge(reviews[0].sha256, actor="root")
    saver.save()

    def go_on() -> bool:
        if store.previews.has(reviews[1].sha256):
            store.purges.purge(reviews[1].sha256, actor="root")
            saver.save()
        return True

    saver.roll_up(rewrite=True, go_on=go_on)
    kept = [row["image_sha256"] for row in rows(hub) if row["preview"] is not None]
    assert kept == [reviews[2].sha256]
    assert store.hub_changes.obsolete() == []


def test_an_incomplete_file_stays_incomplete(tmp_path: Path) -> None:
    """A file that is written again, because previews were deleted, says what it said before."""
    for is_complete in (True, False):
        part, target = tmp_path / f"{is_complete}.parquet", tmp_path / "whole.parquet"
        part.write_bytes(event_files.encode((), 1, is_complete=is_complete))
        event_files.merge([part], {}, target)
        assert event_files.is_complete(target) is is_complete


def _preview_of(image_sha256: str, row: dict[str, object]) -> bool:
    return row["image_sha256"] == image_sha256 and row["preview"] is not None


def test_several_servers_share_a_repository(
    small_levels: None, hub: UploadHub, tmp_path: Path
) -> None:
    """Each restores its own rows, also where the other commits between its reads and writes."""
    stores = {name: open_store(tmp_path / name) for name in ("one", "two")}
    savers = {name: new_saver(stores[name], instance=name) for name in stores}
    for number in range(5):
        for name, each in stores.items():
            upload(open_engine(each, FakeClassifier()), 10 * number + len(name), owner=name)
            savers[name].save()
    hub.before_commit.append(lambda _: savers["two"].write_card("now") or None)
    savers["one"].roll_up(rewrite=True)
    savers["one"].write_card("now")
    for name, each in stores.items():
        restored(tmp_path / f"{name} again", instance=name)
        assert contents(open_store(tmp_path / f"{name} again")) == contents(each)
    card = hub.repositories[NAME].files["README.md"].decode()
    assert "| one | 5 |" in card
    assert "| two | 5 |" in card


def test_a_conflict_is_read_again(hub: UploadHub, store: Store) -> None:
    """Another commit between reading the card and writing it costs an attempt only."""
    saver = new_saver(store)
    hub.before_commit.append(_other_commit)
    saver.write_card("2026-03-04 12:03 UTC")
    files = hub.repositories[NAME].files
    assert "| main |" in files["README.md"].decode()
    assert files["OTHER.md"] == b"theirs"
    hub.before_commit += [_other_commit] * 9
    with pytest.raises(HubFailed, match="was changed during the upload"):
        saver.write_card("2026-03-04 12:04 UTC")
    assert "12:03" in files["README.md"].decode()


def _other_commit(repository: Repository) -> None:
    repository.files["OTHER.md"] = b"theirs"
    repository.commits.append(f"theirs {len(repository.commits)}")


def test_a_lost_response_doubles_no_row(
    hub: UploadHub, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Rows of a commit that is not known to have succeeded are saved again, in the next batch."""
    upload(open_engine(store, FakeClassifier()), 128)
    saver = new_saver(store)
    with monkeypatch.context() as patch:
        patch.setattr(HubChanges, "saved", _killed)
        with pytest.raises(KeyboardInterrupt):
            saver.save()
    upload(open_engine(store, FakeClassifier()), 129)
    new_saver(store).save()
    assert [each.first for each in data_files(hub)] == [1, 2]
    found = restored(tmp_path / "second")
    assert found is not None
    assert (found.rows["images"], found.diverged) == (2, 0)
    assert contents(open_store(tmp_path / "second")) == contents(store)


def test_a_file_is_never_written_again_once_another_server_may_have_it(
    hub: UploadHub, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A server was restored from a commit whose response was lost: ids in both differ after it."""
    engine = open_engine(store, FakeClassifier())
    old = new_saver(store)
    upload(engine, 10)
    old.save()
    upload(engine, 20)
    commit = HubRepository.commit

    def lost(*args: Any, **named: Any) -> None:
        commit(*args, **named)
        raise HubFailed("The connection ended.")

    with monkeypatch.context() as patch:
        patch.setattr(HubRepository, "commit", lost)
        with pytest.raises(HubFailed):
            old.save()
    restored(tmp_path / "second")
    second = open_store(tmp_path / "second")
    new = new_saver(second)
    new.prepare()
    for red in (30, 40):
        review = upload(engine, red)
        engine.decide(answer_to(review, f"n{red}", Label.NSFW), person("ann"))
    with pytest.raises(ServerReplaced):
        old.save()
    later = open_engine(second, FakeClassifier())
    for red in (110, 120):
        later.decide(answer_to(upload(later, red), f"n{red}", Label.NORMAL), person("bob"))
    new.save()
    restored(tmp_path / "third")
    assert contents(open_store(tmp_path / "third")) == contents(second)


def test_a_commit_that_arrives_late_is_refused(
    hub: UploadHub, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It was sent before the batch that was made in its place, which has more rows."""
    engine = open_engine(store, FakeClassifier())
    saver = new_saver(store)
    upload(engine, 10)
    saver.save()
    upload(engine, 20)
    sent: list[partial[None]] = []
    commit = HubRepository.commit

    def delayed(*args: Any, **named: Any) -> None:
        sent.append(partial(commit, *args, **named))
        raise HubFailed("The connection ended.")

    with monkeypatch.context() as patch:
        patch.setattr(HubRepository, "commit", delayed)
        with pytest.raises(HubFailed):
            saver.save()
    upload(engine, 30)
    saver.save()
    with pytest.raises(HubConflict):
        sent[0]()
    restored(tmp_path / "second")
    assert contents(open_store(tmp_path / "second")) == contents(store)


def test_a_save_ends_while_changes_arrive(hub: UploadHub, store: Store) -> None:
    """One commit has what was noted before it; the next minute has the rest."""
    engine = open_engine(store, FakeClassifier())
    saver = new_saver(store)
    upload(engine, 10)
    hub.before_commit += [lambda _, red=red: upload(engine, red) and None for red in (20, 30, 40)]
    saver.save()
    assert len(data_files(hub)) == 1
    assert saver.pending > 0


def test_a_server_that_was_started_earlier_does_not_take_over(
    hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    """Its start counts, not when it first reached the hub."""
    upload(open_engine(store, FakeClassifier()), 10)
    new_saver(store).save()
    again = new_saver(store)
    hub.statuses["/api/datasets/"] = 500
    with pytest.raises(HubFailed):
        again.prepare()
    hub.statuses.clear()
    restored(tmp_path / "second")
    second = open_store(tmp_path / "second")
    new = new_saver(second)
    new.prepare()
    upload(open_engine(second, FakeClassifier()), 20)
    new.save()
    upload(open_engine(store, FakeClassifier()), 30)
    with pytest.raises(ServerReplaced):
        again.prepare()
    restored(tmp_path / "third")
    assert contents(open_store(tmp_path / "third")) == contents(second)


def test_a_database_that_went_back_by_one_save_begins_a_history(
    hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    """Its next rows have the ids of those that it lost, and not their decisions."""
    upload(open_engine(store, FakeClassifier()), 10)
    saver = new_saver(store)
    saver.save()
    shutil.copytree(tmp_path / "first", tmp_path / "earlier")
    engine = open_engine(store, FakeClassifier())
    engine.decide(answer_to(upload(engine, 20), "n20", Label.NSFW), person("ann"))
    saver.save()
    earlier = open_store(tmp_path / "earlier")
    again = new_saver(earlier)
    again.prepare()
    upload(open_engine(earlier, FakeClassifier()), 200)
    again.save()
    assert again.pending == 0
    restored(tmp_path / "third")
    assert contents(open_store(tmp_path / "third")) == contents(earlier)


def test_a_restored_server_that_was_late_saves_nothing(
    hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    """Another one was restored, and saved a decision, while this one did not reach the hub."""
    upload(open_engine(store, FakeClassifier()), 10)
    new_saver(store).save()
    restored(tmp_path / "late")
    late_store = open_store(tmp_path / "late")
    late = new_saver(late_store)
    hub.statuses["/api/datasets/"] = 500
    with pytest.raises(HubFailed):
        late.prepare()
    hub.statuses.clear()
    restored(tmp_path / "second")
    second = open_store(tmp_path / "second")
    new = new_saver(second)
    new.prepare()
    engine = open_engine(second, FakeClassifier())
    engine.decide(answer_to(upload(engine, 20), "n20", Label.NSFW), person("ann"))
    new.save()
    for red in (30, 40, 50):
        upload(open_engine(late_store, FakeClassifier()), red)
        with pytest.raises(ServerReplaced):
            late.prepare()
    assert new.save() == 0
    restored(tmp_path / "third")
    assert contents(open_store(tmp_path / "third")) == contents(second)


def test_an_interrupted_rewrite_is_not_done(hub: UploadHub, store: Store) -> None:
    """It asks for nothing more, and says that something is left."""
    engine = open_engine(store, FakeClassifier())
    saver = new_saver(store)
    reviews = []
    for red in REDS[:4]:
        reviews.append(upload(engine, red))
        saver.save()
    for review in reviews:
        store.purges.purge(review.sha256, actor="root")
    saver.save()
    going = iter((True, True, True, False))
    assert not saver.roll_up(rewrite=True, go_on=lambda: next(going, False))
    requests = len(hub.requests)
    assert not saver.roll_up(rewrite=True, go_on=lambda: False)
    assert len(hub.requests) - requests <= 2  # one list
    assert saver.roll_up(rewrite=True)
    assert not any(row["preview"] for row in rows(hub))


def test_a_database_whose_file_is_missing_is_saved_again(
    hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    """One of them is enough: rows of others refer to it."""
    engine = open_engine(store, FakeClassifier())
    saver = new_saver(store)
    for red in REDS[:3]:
        upload(engine, red)
        saver.save()
    del hub.repositories[NAME].files[data_files(hub)[1].path]
    again = new_saver(store)
    again.prepare()
    again.save()
    restored(tmp_path / "second")
    assert contents(open_store(tmp_path / "second")) == contents(store)


def test_many_files_are_written_again_in_several_attempts(
    hub: UploadHub, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub limits commits; what is purged during an attempt waits for a later one."""
    monkeypatch.setattr("nsfw_app.hub_sync.saving.MAX_COMMITS", 2)
    engine = open_engine(store, FakeClassifier())
    saver = new_saver(store)
    reviews = []
    for red in REDS[:5]:
        reviews.append(upload(engine, red))
        saver.save()
    for review in reviews[:3]:
        store.purges.purge(review.sha256, actor="root")
    saver.save()
    assert not saver.roll_up(rewrite=True)
    assert sum(row["preview"] is not None for row in rows(hub)) == 3
    assert saver.roll_up(rewrite=True)
    assert sum(row["preview"] is not None for row in rows(hub)) == 2
    assert saver.roll_up(rewrite=True)


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_server_that_was_replaced_says_so(
    small_levels: None, hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    """What it saves since is kept, is not restored, and is counted."""
    engine = open_engine(store, FakeClassifier())
    upload(engine, 128)
    old = new_saver(store)
    old.save()
    restored(tmp_path / "second")
    second = open_store(tmp_path / "second")
    upload(open_engine(second, FakeClassifier()), 140)
    new_saver(second).save()
    upload(engine, 150)
    for attempt in (old.save, old.save, partial(old.roll_up, rewrite=True)):
        with pytest.raises(ServerReplaced, match="Another server was started as 'main'"):
            attempt()
    assert old.pending == 0
    new = new_saver(second)
    new.roll_up(rewrite=True)
    assert new.diverged == 1
    assert restored(tmp_path / "third").diverged == 1
    assert contents(open_store(tmp_path / "third")) == contents(second)
    assert len(data_files(hub)) == 3


def test_a_restored_server_is_known_before_its_first_change(
    hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    """The server before learns with its next save that it was replaced."""
    engine = open_engine(store, FakeClassifier())
    upload(engine, 128)
    old = new_saver(store)
    old.save()
    restored(tmp_path / "second")
    second = open_store(tmp_path / "second")
    new = new_saver(second)
    for _ in range(2):
        new.prepare()
    assert [(each.first, each.generation) for each in data_files(hub)] == [(1, 1), (2, 2)]
    upload(engine, 150)
    with pytest.raises(ServerReplaced):
        old.save()
    upload(open_engine(second, FakeClassifier()), 140)
    new.save()
    found = restored(tmp_path / "third")
    assert (found.diverged, found.incomplete) == (1, 0)
    assert contents(open_store(tmp_path / "third")) == contents(second)
    assert datasets.load_dataset(
        "parquet", data_files=[str(each) for each in downloaded(hub, tmp_path)], split="train"
    ).num_rows == len(rows(hub))


def test_of_two_that_are_restored_at_once_the_last_goes_on(
    hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    """The first one says so with its next save."""
    upload(open_engine(store, FakeClassifier()), 128)
    new_saver(store).save()
    savers = []
    for name, red in (("second", 140), ("third", 150)):
        restored(tmp_path / name)
        upload(open_engine(open_store(tmp_path / name), FakeClassifier()), red)
        savers.append(new_saver(open_store(tmp_path / name)))
    first, last = savers
    hub.before_commit.append(lambda _: first.prepare())
    last.prepare()
    last.save()
    with pytest.raises(ServerReplaced):
        first.save()
    restored(tmp_path / "fourth")
    assert contents(open_store(tmp_path / "fourth")) == contents(open_store(tmp_path / "third"))


def test_a_replaced_server_that_is_started_again_goes_on(
    hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    """A second server was only tried: the first one, with its disk, saves all of its rows again."""
    upload(open_engine(store, FakeClassifier()), 128)
    old = new_saver(store)
    old.save()
    restored(tmp_path / "second")
    second = new_saver(open_store(tmp_path / "second"))
    second.prepare()
    upload(open_engine(store, FakeClassifier()), 140)
    with pytest.raises(ServerReplaced):
        old.save()
    again = new_saver(open_store(tmp_path / "first"))
    again.prepare()
    again.save()
    upload(open_engine(open_store(tmp_path / "second"), FakeClassifier()), 150)
    with pytest.raises(ServerReplaced):
        second.save()
    restored(tmp_path / "third")
    assert contents(open_store(tmp_path / "third")) == contents(store)


@pytest.mark.parametrize("claimed", [False, True])
def test_a_roll_up_of_a_replaced_server_destroys_nothing(
    claimed: bool, small_levels: None, hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    """Also where it commits between the restore of the later server and the start of its page."""
    engine = open_engine(store, FakeClassifier())
    old = new_saver(store)
    for red in REDS[:2]:
        review = upload(engine, red)
        engine.decide(answer_to(review, f"n{red}", Label.NSFW), person("ann"))
        old.save()
    restored(tmp_path / "second")
    second = open_store(tmp_path / "second")
    new = new_saver(second)
    upload(engine, REDS[2])
    old.save()
    if claimed:  # while the earlier one downloads
        hub.before_commit.append(lambda _: new.prepare())
        with pytest.raises(ServerReplaced):
            old.roll_up(rewrite=False)
    else:
        assert old.roll_up(rewrite=False)
        new.prepare()
    upload(open_engine(second, FakeClassifier()), 200)
    new.save()
    restored(tmp_path / "third")
    assert contents(open_store(tmp_path / "third")) == contents(second)


def test_a_lost_response_to_a_restored_server_adds_one_file(
    hub: UploadHub, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts, and the next save goes on after it."""
    upload(open_engine(store, FakeClassifier()), 128)
    new_saver(store).save()
    restored(tmp_path / "second")
    second = open_store(tmp_path / "second")
    saver = new_saver(second)
    with monkeypatch.context() as patch:
        patch.setattr(HubChanges, "saved", _killed)
        with pytest.raises(KeyboardInterrupt):
            saver.prepare()
    saver.prepare()
    upload(open_engine(second, FakeClassifier()), 140)
    saver.save()
    assert [(each.first, each.generation) for each in data_files(hub)] == [(1, 1), (2, 2), (3, 2)]
    restored(tmp_path / "third")
    assert contents(open_store(tmp_path / "third")) == contents(second)


def test_a_save_that_was_not_listed_is_made_again(
    hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    """Changes are forgotten once their file was listed."""
    upload(open_engine(store, FakeClassifier()), 128)
    saver = new_saver(store)
    saver.save()
    requests = len(hub.requests)
    assert saver.save() == 0
    assert len(hub.requests) == requests
    upload(open_engine(store, FakeClassifier()), 129)
    hub.statuses["/tree/"] = 500
    for _ in range(2):
        with pytest.raises(HubFailed):
            saver.save()
    assert saver.pending > 0
    hub.statuses.clear()
    assert saver.save() > 0
    assert saver.pending == 0
    restored(tmp_path / "second")
    assert contents(open_store(tmp_path / "second")) == contents(store)


def test_an_old_database_begins_another_history(
    hub: UploadHub, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that was not restored is not mixed with what is there: the later one counts."""
    upload(open_engine(store, FakeClassifier()), 128)
    new_saver(store).save()
    other = open_store(tmp_path / "other")
    upload(open_engine(other, FakeClassifier()), 150)
    monkeypatch.setattr(hub_changes, "now", lambda: "2999-01-01T00:00:00.000Z")
    new_saver(other).save()
    assert len({each.history for each in data_files(hub)}) == 2
    found = restored(tmp_path / "second")
    assert found.history.startswith("29990101T000000000Z-")
    assert contents(open_store(tmp_path / "second")) == contents(other)


def test_nothing_is_restored_from_an_empty_repository(hub: UploadHub, tmp_path: Path) -> None:
    """It is created, private, where it is missing."""
    del hub.repositories[NAME]
    assert restored(tmp_path / "first") is None
    assert hub.repositories[NAME].private
    assert not (tmp_path / "first" / "review.db").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: {**row, "kind": "reaction"}, "rows of 'reaction', which this version"),
        (
            lambda row: {**row, "row": json.dumps({**json.loads(row["row"]), "mood": 1})},
            "the column 'mood' of 'images', which this version",
        ),
        (lambda row: row if row["kind"] != "image" else None, "contradict each other"),
    ],
)
def test_rows_that_cannot_be_restored_are_refused(
    change: Callable[[dict[str, object]], object],
    message: str,
    hub: UploadHub,
    store: Store,
    tmp_path: Path,
) -> None:
    """A newer version's rows and missing ones leave the data directory empty."""
    upload(open_engine(store, FakeClassifier()), 128)
    new_saver(store).save()
    rewrite(hub, change)
    with pytest.raises(HubDataError, match=message):
        restored(tmp_path / "second")
    assert not (tmp_path / "second" / "review.db").exists()
    assert not (tmp_path / "second" / "restoring").exists()


def test_rows_from_before_a_column_are_restored(
    hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    """Decisions that were saved before there were categories were not asked for them."""
    engine = open_engine(store, FakeClassifier())
    made = answer_to(upload(engine, 128), "n", Label.NSFW)
    engine.decide(replace(made, categories=(Category.NUDITY,)), person("ann"))
    new_saver(store).save()

    def earlier(row: dict[str, object]) -> dict[str, object]:
        values = json.loads(str(row["row"]))
        values.pop("categories", None)
        return {**row, "row": json.dumps(values)}

    rewrite(hub, earlier)
    restored(tmp_path / "second")
    (found,) = open_store(tmp_path / "second").log.rows(LogFilter())
    assert (found.reviewer_label, found.categories) == ("nsfw", None)


def test_a_damaged_file_is_refused(hub: UploadHub, store: Store, tmp_path: Path) -> None:
    """Half of the rows are not taken for all of them."""
    upload(open_engine(store, FakeClassifier()), 128)
    new_saver(store).save()
    files = hub.repositories[NAME].files
    (path,) = (path for path in files if path.endswith(".parquet"))
    files[path] = files[path][:-40]
    with pytest.raises(HubDataError, match="cannot be read"):
        restored(tmp_path / "second")


def test_a_newer_layout_is_refused(
    hub: UploadHub, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names both layouts."""
    upload(open_engine(store, FakeClassifier()), 128)
    newer = event_files.SCHEMA.with_metadata({event_files.VERSION_KEY: b"2"})
    monkeypatch.setattr(event_files, "SCHEMA", newer)
    new_saver(store).save()
    with pytest.raises(HubDataError, match=r"has layout 2, .* layouts up to 1"):
        restored(tmp_path / "second")


def test_a_restored_backup_begins_a_history(hub: UploadHub, store: Store, tmp_path: Path) -> None:
    """It lacks what was saved since, and replaces no file of it; it is what is restored next."""
    engine = open_engine(store, FakeClassifier())
    upload(engine, 128)
    new_saver(store).save()
    backup = backup_of(store)
    upload(engine, 129)
    new_saver(store).save()
    before = {path: hub.repositories[NAME].files[path] for path in hub.repositories[NAME].files}
    restore(io.BytesIO(backup), tmp_path / "second")
    second = open_store(tmp_path / "second")
    upload(open_engine(second, FakeClassifier()), 130)
    new_saver(second).save()
    assert before.items() <= hub.repositories[NAME].files.items()
    assert restored(tmp_path / "third") is not None
    assert contents(open_store(tmp_path / "third")) == contents(second)


def test_an_erased_name_is_not_restored(hub: UploadHub, store: Store, tmp_path: Path) -> None:
    """All rows are saved again, in another history, by the server that runs."""
    engine = open_engine(store, FakeClassifier())
    upload(engine, 128)
    (item,) = engine.queue.claim(
        "ann", model="fake", count=1, holding=(), order=QueueOrder.PRIORITY
    )
    engine.queue.skip(item.entry_id, "ann")
    saver = new_saver(store)
    saver.save()
    store.personal_data.erase_person("ann", actor="root")
    saver.save()
    assert restored(tmp_path / "second") is not None
    found = contents(open_store(tmp_path / "second"))
    assert found == contents(store)
    assert "ann" not in str(found["queue_skips"])


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Saver, int], None]:
    """Saves in small files, and is killed after a number of them."""

    def save(saver: Saver, commits: int) -> None:
        left = iter(range(commits))

        def commit(repository: HubRepository, *args: object, **options: object) -> None:
            if next(left, None) is None:
                raise Killed
            real(repository, *args, **options)

        real = HubRepository.commit
        with monkeypatch.context() as patched:
            patched.setattr(saving, "MAX_ROWS", 25)
            patched.setattr(HubRepository, "commit", commit)
            with pytest.raises(Killed):
                saver.save()

    return save


class Killed(BaseException):
    """The server ends."""


def test_half_a_history_is_not_restored(
    hub: UploadHub, store: Store, tmp_path: Path, killed: Callable[[Saver, int], None]
) -> None:
    """A server that is killed while it saves all rows again is restored from the history before."""
    fill(open_engine(store, FakeClassifier()), store)
    saver = new_saver(store)
    saver.save()
    before = contents(store)
    store.personal_data.erase_person("bob", actor="root")
    killed(saver, 2)
    found = restored(tmp_path / "second")
    assert (found.incomplete, found.history) == (2, data_files(hub)[0].history)
    second = open_store(tmp_path / "second")
    assert contents(second)["decisions"] == before["decisions"]
    assert contents(second)["audit"] == before["audit"]
    new_saver(second).save()
    found = restored(tmp_path / "third")
    assert found.incomplete == 0
    assert contents(open_store(tmp_path / "third")) == contents(second)


def test_half_a_save_is_not_restored(
    hub: UploadHub, store: Store, tmp_path: Path, killed: Callable[[Saver, int], None]
) -> None:
    """Rows that fit together are restored, and the server goes on after them."""
    engine = open_engine(store, FakeClassifier())
    upload(engine, 128)
    saver = new_saver(store)
    saver.save()
    before = contents(store)
    fill(engine, store)
    killed(saver, 2)
    found = restored(tmp_path / "second")
    assert (found.incomplete, found.diverged) == (2, 0)
    second = open_store(tmp_path / "second")
    assert contents(second) == before
    upload(open_engine(second, FakeClassifier()), 150)
    new_saver(second).save()
    assert datasets.load_dataset(
        "parquet", data_files=[str(each) for each in downloaded(hub, tmp_path)], split="train"
    ).num_rows == len(rows(hub))
    assert restored(tmp_path / "third").incomplete == 0
    assert contents(open_store(tmp_path / "third")) == contents(second)


def downloaded(hub: UploadHub, directory: Path) -> list[Path]:
    """The files of batches on disk."""
    found = []
    for number, each in enumerate(data_files(hub)):
        found.append(directory / f"{number}.parquet")
        found[-1].write_bytes(hub.repositories[NAME].files[each.path])
    return found


def test_half_of_a_first_save_is_refused(
    hub: UploadHub, store: Store, tmp_path: Path, killed: Callable[[Saver, int], None]
) -> None:
    """An operator decides whether to begin with an empty log."""
    fill(open_engine(store, FakeClassifier()), store)
    killed(new_saver(store), 1)
    with pytest.raises(HubDataError, match="delete data/main there"):
        restored(tmp_path / "second")
    assert not (tmp_path / "second" / "review.db").exists()


def test_a_database_of_an_earlier_state_begins_a_history(
    hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    """As after a rollback of the disk: later files have rows that it lacks, under the same keys."""
    engine = open_engine(store, FakeClassifier())
    upload(engine, 128)
    saver = new_saver(store)
    saver.prepare()
    saver.save()
    shutil.copytree(tmp_path / "first", tmp_path / "earlier")
    for red in (140, 150, 160):
        upload(engine, red)
        saver.save()
    saver.prepare()
    assert saver.pending == 0
    earlier = open_store(tmp_path / "earlier")
    upload(open_engine(earlier, FakeClassifier()), 250)
    again = new_saver(earlier)
    again.prepare()
    again.save()
    assert restored(tmp_path / "third").diverged == 0
    assert contents(open_store(tmp_path / "third")) == contents(earlier)
    with pytest.raises(HubDataError, match="Another server was started as 'main'"):
        saver.roll_up(rewrite=True)


def test_a_database_before_a_roll_up_begins_a_history(
    small_levels: None, hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    """One batch back is an interrupted save, unless that batch was rolled up since."""
    engine = open_engine(store, FakeClassifier())
    saver = new_saver(store)
    for red in (128, 140):
        upload(engine, red)
        saver.save()
    shutil.copytree(tmp_path / "first", tmp_path / "earlier")
    upload(engine, 150)
    saver.save()
    earlier = open_store(tmp_path / "earlier")
    again = new_saver(earlier)
    before = earlier.hub_changes.current_writer()
    again.prepare()
    assert earlier.hub_changes.current_writer() == before
    assert saver.roll_up(rewrite=False)
    again.prepare()
    upload(open_engine(earlier, FakeClassifier()), 250)
    again.save()
    restored(tmp_path / "third")
    assert contents(open_store(tmp_path / "third")) == contents(earlier)


def test_a_new_database_is_later_where_the_clock_is_behind(
    hub: UploadHub, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the earlier one would be restored."""
    upload(open_engine(store, FakeClassifier()), 128)
    new_saver(store).save()
    monkeypatch.setattr(hub_changes, "now", lambda: "2001-01-01T00:00:00.000Z")
    other = open_store(tmp_path / "other")
    upload(open_engine(other, FakeClassifier()), 150)
    saver = new_saver(other)
    saver.prepare()
    saver.save()
    restored(tmp_path / "second")
    assert contents(open_store(tmp_path / "second")) == contents(other)


def test_deleted_files_are_saved_again(hub: UploadHub, store: Store, tmp_path: Path) -> None:
    """At the next start: changes alone could not be restored."""
    upload(open_engine(store, FakeClassifier()), 128)
    new_saver(store).save()
    restored(tmp_path / "second")
    second = open_store(tmp_path / "second")
    for each in data_files(hub):
        del hub.repositories[NAME].files[each.path]
    saver = new_saver(second)
    saver.prepare()
    assert data_files(hub) == []
    saver.save()
    assert saver.pending == 0
    restored(tmp_path / "third")
    assert contents(open_store(tmp_path / "third")) == contents(second)


def test_a_public_repository_is_refused(hub: UploadHub, store: Store, tmp_path: Path) -> None:
    """Nothing is sent to it, nor read from it."""
    hub.repositories[NAME].private = False
    with pytest.raises(PublicRepository, match="Nothing is saved in it"):
        REPOSITORY.prepare()
    with pytest.raises(PublicRepository):
        restored(tmp_path / "second")
    assert not hub.repositories[NAME].added


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "The hub does not accept the token"),
        (403, "The token has no permission to write org/decisions"),
    ],
)
def test_a_token_without_permission_is_refused(
    status: int, message: str, hub: UploadHub, tmp_path: Path
) -> None:
    """At once, with a sentence and without the token."""
    del hub.repositories[NAME]
    hub.statuses["/api/repos/create"] = status
    with pytest.raises(PushForbidden, match=message) as raised:
        restored(tmp_path / "second", sleep=_not_called)
    assert REPOSITORY.token not in str(raised.value)


def _not_called(_: float) -> None:
    raise AssertionError


def test_a_restore_waits_for_the_hub(hub: UploadHub, store: Store, tmp_path: Path) -> None:
    """An outage at the start delays it; after some minutes it fails, and begins nothing."""
    upload(open_engine(store, FakeClassifier()), 128)
    new_saver(store).save()
    waits: list[float] = []
    hub.statuses["/resolve/"] = 503

    def recover(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            hub.statuses.clear()

    assert restored(tmp_path / "second", sleep=recover) is not None
    assert waits == [2, 5, 10]
    hub.statuses["/api/datasets/"] = 0
    with pytest.raises(HubFailed, match="cannot be reached"):
        restored(tmp_path / "third", sleep=waits.append)
    assert 200 < sum(waits[3:]) < 400
    assert not (tmp_path / "third" / "review.db").exists()
