"""The store: what is unique, what is found, and that many writers at once lose nothing."""

import multiprocessing
import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nsfw_app.errors import NotFound, PolicyError, StorageError
from nsfw_app.records import (
    ImageInfo,
    JudgedImage,
    Label,
    LogFilter,
    Policy,
    Prediction,
    Preview,
    Retain,
    Upload,
)
from nsfw_app.rules.permissions import UserRole
from nsfw_app.store import Store
from nsfw_app.store.connections import Connections
from nsfw_app.store.users import Session
from tests.support.sample_records import (
    FAKE,
    HOSTILE,
    OTHER,
    SHA256,
    add,
    add_image,
    answer,
    person,
    standing,
)

POLICY = Policy(0.5, 0.2, 0.8)


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What `work` gave in each of several threads that begin together."""
    barrier = threading.Barrier(count)

    def begin(number: int) -> Any:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


def in_processes(count: int, target: Callable[..., None], directory: Path) -> None:
    """Run `target` in several new processes, and demand that each ends well."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(count, timeout=60)
    processes = [
        context.Process(target=target, args=(directory, barrier, number)) for number in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * count


def write_decisions(directory: Path, barrier: Any, number: int) -> None:
    """Forty decisions of one process."""
    store = Store(directory / "review.db", previews_dir=directory / "images", journal_mode="wal")
    barrier.wait()
    for i in range(40):
        add(store.log, answer(f"{number} {i}"), reviewer=f"process {number}")


def open_new_databases(directory: Path, barrier: Any, number: int) -> None:
    """Open databases that nobody made yet, at the same moment as the other processes do."""
    failures = []
    for i in range(40):
        barrier.wait()
        try:
            Store(directory / f"{i}.db", previews_dir=directory / "images", journal_mode="wal")
        except sqlite3.OperationalError as error:
            failures.append(f"{i}: {error}")
    assert not failures, failures


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """No file may grow over this size, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def rows(path: Path, table: str) -> int:
    """How many rows any other program finds in a table."""
    with closing(sqlite3.connect(path)) as other:
        return int(other.execute(f"select count(*) from {table}").fetchone()[0])


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_journal_is_the_one_asked_for(tmp_path: Path, mode: str) -> None:
    """The journal is the one that the settings name, for whoever opens the file."""
    path = tmp_path / "new" / "review.db"
    Store(path, previews_dir=tmp_path / "images", journal_mode=mode)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("pragma journal_mode").fetchone() == (mode,)


def test_each_thread_has_a_connection_that_survives_a_power_cut(tmp_path: Path) -> None:
    """Each thread has a connection of its own, and each writes through to the disk."""
    connections = Connections(tmp_path / "review.db", journal_mode="wal")
    seen = at_once(3, lambda _: (connections.db, connections.row("pragma synchronous")[0]))
    full = 2
    assert [synchronous for _, synchronous in seen] == [full] * 3
    assert len({id(db) for db, _ in seen}) == 3


def test_transaction_is_whole_or_absent(tmp_path: Path) -> None:
    """Of a transaction that ends in an error, nothing is written."""
    connections = Connections(tmp_path / "review.db", journal_mode="wal")

    def fail_half_way() -> None:
        row = {"migration_set": "s", "name": "half done", "applied_at": "t"}
        with connections.writing() as db:
            db.table("_sqlite_migrations").insert(row)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert connections.row("select 1 from _sqlite_migrations where name = 'half done'") is None


def test_prediction_is_found_as_it_was_made(store: Store) -> None:
    """What a model said is found again unchanged, and only under that model."""
    add_image(store)
    found = store.catalog.find(SHA256, FAKE)
    assert found is not None
    assert found.prediction == Prediction(SHA256, FAKE, {"normal": 0.1, "nsfw": 0.9}, 0.9)
    assert found.info == ImageInfo(SHA256, "PNG", 40, 30, 1_000, 1)
    assert store.catalog.find(SHA256, OTHER) is None
    assert store.catalog.find("b" * 64, FAKE) is None


@pytest.mark.parametrize("part", ["model", "revision", "backend"])
def test_one_image_has_predictions_of_several_models(
    store: Store, tmp_path: Path, part: str
) -> None:
    """Another model, revision or backend adds a prediction of the same image."""
    add_image(store)
    add_image(store, identity=replace(FAKE, **{part: "another"}))
    assert rows(tmp_path / "review.db", "predictions") == 2
    assert rows(tmp_path / "review.db", "images") == 1


def test_predictions_are_unique_by_key(store: Store, tmp_path: Path) -> None:
    """A second prediction under the same key changes nothing: the first one stays."""
    add_image(store)
    again = Prediction(SHA256, FAKE, {"normal": 0.8, "nsfw": 0.2}, 0.2)
    store.catalog.record(JudgedImage(ImageInfo(SHA256, "PNG", 1, 1, 1, 1), again))
    found = store.catalog.find(SHA256, FAKE)
    assert found is not None
    assert (found.prediction.nsfw_score, found.info.width) == (0.9, 40)
    assert store.catalog.preview(SHA256).placeholder == b"webp"
    assert rows(tmp_path / "review.db", "predictions") == 1


def test_image_belongs_to_who_brought_it(store: Store) -> None:
    """An image is owned by each person who uploaded it and by nobody else."""
    add_image(store)
    people = person("ann"), person("bob")
    assert [store.catalog.shows(SHA256, who) for who in people] == [True, False]
    upload = Upload("b.png", "api", "bob", retain=Retain.QUEUE)
    store.catalog.record(store.catalog.get(1), upload)
    assert store.catalog.shows(SHA256, people[1])


def test_a_reviewer_sees_what_they_may_decide_on(store: Store) -> None:
    """Not what others agreed on with the model: only their own decision, or a disagreement."""
    add_image(store)
    root = person("root", role=UserRole.ADMIN)
    zoe = person("zoe")
    agreed = store.log.add(answer("agreed", Label.NSFW), root)
    assert not store.catalog.shows(SHA256, zoe)
    assert store.catalog.shows(SHA256, person("root", owner="another"))  # their own decision
    assert not store.catalog.shows(SHA256, person("vera", role=UserRole.VIEWER))
    with pytest.raises(NotFound):
        store.log.add(answer("zoe"), zoe)
    store.log.undo(agreed.decision_id, reviewer="root", nonce="undo")
    store.log.add(answer("against", Label.NORMAL), root)
    assert store.catalog.shows(SHA256, zoe)
    assert not store.catalog.shows(SHA256, person("vera", role=UserRole.VIEWER))


def test_what_is_deleted_is_overwritten(store: Store, tmp_path: Path) -> None:
    """Neither an ended session nor the placeholder of a purged image is left in any file."""
    add_image(store)
    placeholder, token = b"placeholder of a purged image", "token of an ended session"
    store.catalog.record(replace(store.catalog.get(1), preview=Preview(placeholder)), jpeg=b"jpeg")
    store.accounts.add_session(token, Session("user:ann", "ann", ()), expires_at="9999")
    store._connections.overwrite_log()  # into the database itself

    def on_disk() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.glob("review.db*"))

    assert placeholder in on_disk()
    assert token.encode() in on_disk()
    store.accounts.end_session(token)
    store.purges.purge(SHA256, actor="test")
    assert placeholder not in on_disk()
    assert token.encode() not in on_disk()


def test_unknown_image_is_not_found(store: Store) -> None:
    """What is not there is an error of ours."""
    with pytest.raises(NotFound):
        store.catalog.preview(SHA256)
    with pytest.raises(NotFound):
        store.previews.get(SHA256)
    assert not store.previews.has(SHA256)


@pytest.mark.parametrize("name", ["", "..", "../review.db", "/" * 64, "a/../" * 12 + "a.db", "\0"])
def test_picture_is_asked_for_by_a_hash_only(store: Store, name: str) -> None:
    """A picture's name leads to no other file."""
    with pytest.raises(NotFound):
        store.previews.get(name)


def test_picture_is_whole_while_it_is_replaced(store: Store, tmp_path: Path) -> None:
    """Whoever reads a picture while others write it sees one of them, whole; no file is left."""
    pictures = [bytes([number]) * 300_000 for number in range(4)]
    store.previews.add(SHA256, pictures[0])

    def write_or_read(number: int) -> list[bytes]:
        if number:
            for _ in range(20):
                store.previews.add(SHA256, pictures[number])
            return []
        return [store.previews.get(SHA256) for _ in range(100)]

    assert set(at_once(4, write_or_read)[0]) <= set(pictures)
    assert [path.name for path in (tmp_path / "images").rglob("*.*")] == [f"{SHA256}.jpg"]


def test_picture_that_does_not_fit_leaves_nothing(store: Store, tmp_path: Path) -> None:
    """A picture that the disk has no room for is not there, nor is a part of it."""
    with largest_file(1_000), pytest.raises(StorageError, match="full"):
        store.previews.add(SHA256, b"x" * 100_000)
    assert not store.previews.has(SHA256)
    assert [path for path in (tmp_path / "images").rglob("*") if path.is_file()] == []


def test_policies_keep_every_version(store: Store, tmp_path: Path) -> None:
    """A policy is saved as its model's next version, and the last one is in force."""
    assert store.policies.latest("fake") is None
    changed = replace(POLICY, threshold=0.6, author="ann", reason="why")
    second = store.policies.add("fake", changed, first=POLICY)
    assert second.version == 2
    assert store.policies.latest("fake") == second == Policy(0.6, 0.2, 0.8, 2, "ann", "why")
    assert store.policies.add("fake", POLICY, first=POLICY).version == 3
    assert store.policies.add("other", changed, first=POLICY).version == 2
    assert rows(tmp_path / "review.db", "policies") == 5


def test_policies_saved_at_once_are_versions_of_their_own(store: Store) -> None:
    """Policies that several threads save at once each get a version."""
    saved = at_once(6, lambda _: store.policies.add("fake", POLICY, first=POLICY))
    assert sorted(policy.version for policy in saved) == [2, 3, 4, 5, 6, 7]


def test_of_policies_that_replace_the_same_one_only_the_first_is_saved(store: Store) -> None:
    """The others are told, however close behind they come."""

    def add(_: int) -> bool:
        try:
            store.policies.add("fake", POLICY, first=POLICY, replaces=POLICY.version)
        except PolicyError:
            return False
        return True

    assert sorted(at_once(6, add)) == [False] * 5 + [True]
    latest = store.policies.latest("fake")
    assert latest is not None
    assert latest.version == 2


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_are_values_and_never_sql(store: Store, text: str) -> None:
    """Whatever people write is kept, found and filtered by unchanged."""
    add_image(store, name=text)
    store.policies.add(text, replace(POLICY, author=text, reason=text), first=POLICY)
    made = answer("n", note=text, batch_id=text)
    add(store.log, made, reviewer=text)
    add(store.log, answer("m"), reviewer="somebody else")
    (found,) = store.log.rows(LogFilter(reviewer=text))
    assert (found.reviewer, found.name, found.note, found.batch_id) == (text,) * 4
    assert store.policies.latest(text) == replace(POLICY, version=2, author=text, reason=text)
    nothing = LogFilter(model=text, label=text)
    assert (store.log.page(nothing, limit=9), store.log.size(nothing)) == ([], 0)
    assert standing(store.log, replace(FAKE, model=text), reviewer=text) is None
    assert not store.catalog.shows(SHA256, person("zoe", owner=text, role=UserRole.VIEWER))


def test_one_nonce_from_many_threads_is_one_decision(store: Store, tmp_path: Path) -> None:
    """One nonce that many threads send at once is one row, and each is told of that one."""
    add_image(store)
    decisions = at_once(8, lambda _: add(store.log, answer("n")))
    assert len(set(decisions)) == 1
    assert rows(tmp_path / "review.db", "decisions") == 1


def test_threads_lose_nothing(store: Store) -> None:
    """Many threads that judge and answer at once leave every row behind."""
    hashes = [f"{number:064d}" for number in range(8)]

    def judge_and_answer(number: int) -> None:
        add_image(store, sha256=hashes[number])
        for i in range(25):
            add(store.log, answer(f"{number} {i}", image_sha256=hashes[number]))

    at_once(8, judge_and_answer)
    kept = [decision.image_sha256 for decision in store.log.rows(LogFilter())]
    assert sorted(kept) == sorted(hashes * 25)


def test_processes_lose_nothing(store: Store, tmp_path: Path) -> None:
    """Several processes that answer at once leave every row behind."""
    add_image(store)
    in_processes(3, write_decisions, tmp_path)
    kept = [decision.reviewer for decision in store.log.rows(LogFilter())]
    assert sorted(kept) == sorted(f"process {number}" for number in [0, 1, 2] * 40)


def test_processes_open_a_new_database_at_once(tmp_path: Path) -> None:
    """Several processes that open a database which is not there yet all succeed."""
    in_processes(4, open_new_databases, tmp_path)
    with closing(sqlite3.connect(tmp_path / "0.db")) as other:
        names = other.execute("select name from _sqlite_migrations").fetchall()
    assert len(names) == len(set(names)) > 0
