"""The store: unique keys, lookups, transactions, and writes from many threads and processes."""

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
    LogFilter,
    Policy,
    Prediction,
    Preview,
)
from nsfw_app.rules.permissions import UserRole
from nsfw_app.store import Store
from nsfw_app.store.connections import Connections
from nsfw_app.store.sessions import Session
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


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Results of `work` from several threads that start at the same moment."""
    barrier = threading.Barrier(count)

    def run(number: int) -> Any:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def in_processes(count: int, target: Callable[..., None], directory: Path) -> None:
    """Run `target` in several new processes, and assert that each exits with status 0."""
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
    """Record forty decisions from one process."""
    store = Store(directory / "review.db", previews_dir=directory / "images", journal_mode="wal")
    barrier.wait()
    for i in range(40):
        add(store.log, answer(f"{number} {i}"), reviewer=f"process {number}")


def open_new_databases(directory: Path, barrier: Any, number: int) -> None:
    """Open databases that do not exist yet, at the same moment as the other processes."""
    failures = []
    for i in range(40):
        barrier.wait()
        try:
            Store(directory / f"{i}.db", previews_dir=directory / "images", journal_mode="wal")
        except sqlite3.OperationalError as error:
            failures.append(f"{i}: {error}")
    assert not failures, failures


@contextmanager
def file_size_limit(size_bytes: int) -> Iterator[None]:
    """Limit the size of every file, which has the effect of a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def count_rows(path: Path, table: str) -> int:
    """Number of rows in a table, as another connection reads them."""
    with closing(sqlite3.connect(path)) as other:
        return int(other.execute(f"select count(*) from {table}").fetchone()[0])


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_journal_mode_is_the_configured_one(tmp_path: Path, mode: str) -> None:
    """The database has the configured journal mode, for other programs too."""
    path = tmp_path / "new" / "review.db"
    Store(path, previews_dir=tmp_path / "images", journal_mode=mode)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("pragma journal_mode").fetchone() == (mode,)


def test_each_thread_has_its_own_durable_connection(tmp_path: Path) -> None:
    """Each thread has its own connection with full sync, which survives a power failure."""
    connections = Connections(tmp_path / "review.db", journal_mode="wal")
    seen = in_threads(3, lambda _: (connections.db, connections.row("pragma synchronous")[0]))
    full = 2
    assert [synchronous for _, synchronous in seen] == [full] * 3
    assert len({id(db) for db, _ in seen}) == 3


def test_transactions_are_atomic(tmp_path: Path) -> None:
    """A transaction that ends in an error writes nothing."""
    connections = Connections(tmp_path / "review.db", journal_mode="wal")

    def fail_midway() -> None:
        row = {"migration_set": "s", "name": "half done", "applied_at": "t"}
        with connections.writing() as db:
            db.table("_sqlite_migrations").insert(row)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_midway()
    assert connections.row("select 1 from _sqlite_migrations where name = 'half done'") is None


def test_predictions_are_found_unchanged(store: Store) -> None:
    """A stored prediction is returned unchanged, and only for its own image and model."""
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
    assert count_rows(tmp_path / "review.db", "predictions") == 2
    assert count_rows(tmp_path / "review.db", "images") == 1


def test_the_first_prediction_of_a_key_stays(store: Store, tmp_path: Path) -> None:
    """A second prediction with the same key changes neither prediction, image nor preview."""
    add_image(store)
    again = Prediction(SHA256, FAKE, {"normal": 0.8, "nsfw": 0.2}, 0.2)
    store.catalog.record(JudgedImage(ImageInfo(SHA256, "PNG", 1, 1, 1, 1), again))
    found = store.catalog.find(SHA256, FAKE)
    assert found is not None
    assert (found.prediction.nsfw_score, found.info.width) == (0.9, 40)
    assert store.catalog.preview(SHA256).placeholder == b"webp"
    assert count_rows(tmp_path / "review.db", "predictions") == 1


def test_deleted_data_is_overwritten(store: Store, tmp_path: Path) -> None:
    """No database file holds the token of an ended session or the placeholder of a purged image."""
    add_image(store)
    placeholder, token = b"placeholder of a purged image", "token of an ended session"
    store.catalog.record(replace(store.catalog.get(1), preview=Preview(placeholder)), jpeg=b"jpeg")
    store.sessions.add(token, Session("user:ann", "ann", ()), expires_at="9999")
    store._connections.overwrite_log()  # moves the log into the database file

    def on_disk() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.glob("review.db*"))

    assert placeholder in on_disk()
    assert token.encode() in on_disk()
    store.sessions.end(token)
    store.purges.purge(SHA256, actor="test")
    assert placeholder not in on_disk()
    assert token.encode() not in on_disk()


def test_unknown_images_are_not_found(store: Store) -> None:
    """Preview lookups of an unknown hash raise `NotFound`."""
    with pytest.raises(NotFound):
        store.catalog.preview(SHA256)
    with pytest.raises(NotFound):
        store.previews.get(SHA256)
    assert not store.previews.has(SHA256)


@pytest.mark.parametrize("name", ["", "..", "../review.db", "/" * 64, "a/../" * 12 + "a.db", "\0"])
def test_previews_are_found_by_hash_only(store: Store, name: str) -> None:
    """A name that is not a hash leads to no file."""
    with pytest.raises(NotFound):
        store.previews.get(name)


def test_previews_are_replaced_atomically(store: Store, tmp_path: Path) -> None:
    """A read during writes returns one complete preview; no temporary file is left."""
    previews = [bytes([number]) * 300_000 for number in range(4)]
    store.previews.add(SHA256, previews[0])

    def write_or_read(number: int) -> list[bytes]:
        if number:
            for _ in range(20):
                store.previews.add(SHA256, previews[number])
            return []
        return [store.previews.get(SHA256) for _ in range(100)]

    assert set(in_threads(4, write_or_read)[0]) <= set(previews)
    assert [path.name for path in (tmp_path / "images").rglob("*.*")] == [f"{SHA256}.jpg"]


def test_a_full_disk_leaves_no_partial_preview(store: Store, tmp_path: Path) -> None:
    """A preview for which the disk has no space is an error, and no part of it is left."""
    with file_size_limit(1_000), pytest.raises(StorageError, match="full"):
        store.previews.add(SHA256, b"x" * 100_000)
    assert not store.previews.has(SHA256)
    assert [path for path in (tmp_path / "images").rglob("*") if path.is_file()] == []


def test_policies_are_versioned(store: Store, tmp_path: Path) -> None:
    """A policy is saved as its model's next version, and the latest version is in force."""
    assert store.policies.latest("fake") is None
    changed = replace(POLICY, threshold=0.6, author="ann", reason="why")
    second = store.policies.add("fake", changed, first=POLICY)
    assert second.version == 2
    assert store.policies.latest("fake") == second == Policy(0.6, 0.2, 0.8, 2, "ann", "why")
    assert store.policies.add("fake", POLICY, first=POLICY).version == 3
    assert store.policies.add("other", changed, first=POLICY).version == 2
    assert count_rows(tmp_path / "review.db", "policies") == 5


def test_concurrent_policies_get_different_versions(store: Store) -> None:
    """Policies that several threads save concurrently each get their own version."""
    saved = in_threads(6, lambda _: store.policies.add("fake", POLICY, first=POLICY))
    assert sorted(policy.version for policy in saved) == [2, 3, 4, 5, 6, 7]


def test_only_one_policy_replaces_a_version(store: Store) -> None:
    """Of concurrent policies that replace one version, the first is saved; the others raise."""

    def add(_: int) -> bool:
        try:
            store.policies.add("fake", POLICY, first=POLICY, replaces=POLICY.version)
        except PolicyError:
            return False
        return True

    assert sorted(in_threads(6, add)) == [False] * 5 + [True]
    latest = store.policies.latest("fake")
    assert latest is not None
    assert latest.version == 2


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_are_never_interpreted_as_sql(store: Store, text: str) -> None:
    """Any text is stored, found and used as a filter unchanged."""
    add_image(store, name=text)
    store.policies.add(text, replace(POLICY, author=text, reason=text), first=POLICY)
    decision = answer("n", note=text, batch_id=text)
    add(store.log, decision, reviewer=text)
    add(store.log, answer("m"), reviewer="another")
    (found,) = store.log.rows(LogFilter(reviewer=text))
    assert (found.reviewer, found.name, found.note, found.batch_id) == (text,) * 4
    assert store.policies.latest(text) == replace(POLICY, version=2, author=text, reason=text)
    nothing = LogFilter(model=text, label=text)
    assert (store.log.page(nothing, limit=9), store.log.size(nothing)) == ([], 0)
    assert standing(store.log, replace(FAKE, model=text), reviewer=text) is None
    assert not store.visibility.is_visible(SHA256, person("zoe", owner=text, role=UserRole.VIEWER))


def test_concurrent_requests_with_one_nonce_are_one_decision(store: Store, tmp_path: Path) -> None:
    """A nonce that many threads send concurrently is one row, which each of them receives."""
    add_image(store)
    decisions = in_threads(8, lambda _: add(store.log, answer("n")))
    assert len(set(decisions)) == 1
    assert count_rows(tmp_path / "review.db", "decisions") == 1


def test_concurrent_threads_lose_no_row(store: Store) -> None:
    """Every decision of many threads that add images and decisions concurrently is stored."""
    hashes = [f"{number:064d}" for number in range(8)]

    def add_rows(number: int) -> None:
        add_image(store, sha256=hashes[number])
        for i in range(25):
            add(store.log, answer(f"{number} {i}", image_sha256=hashes[number]))

    in_threads(8, add_rows)
    kept = [decision.image_sha256 for decision in store.log.rows(LogFilter())]
    assert sorted(kept) == sorted(hashes * 25)


def test_concurrent_processes_lose_no_row(store: Store, tmp_path: Path) -> None:
    """Every decision of several processes that write concurrently is stored."""
    add_image(store)
    in_processes(3, write_decisions, tmp_path)
    kept = [decision.reviewer for decision in store.log.rows(LogFilter())]
    assert sorted(kept) == sorted(f"process {number}" for number in [0, 1, 2] * 40)


def test_processes_create_a_database_concurrently(tmp_path: Path) -> None:
    """Several processes that open a database which does not exist yet all succeed."""
    in_processes(4, open_new_databases, tmp_path)
    with closing(sqlite3.connect(tmp_path / "0.db")) as other:
        names = other.execute("select name from _sqlite_migrations").fetchall()
    assert len(names) == len(set(names)) > 0
