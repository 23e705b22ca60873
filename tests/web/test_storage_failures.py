"""Storage failures: a full disk, a held lock, a read-only, damaged, lost or replaced database.

- Each is one typed error on every entry point.
- Nothing is acknowledged that is not on disk.
- Everything recovers without a restart when the cause is gone.
"""

import io
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import gradio as gr
import httpx
import numpy as np
import pytest
from PIL import Image

from nsfw_app.cli import main
from nsfw_app.errors import NSFWReviewError, StorageError, StorageErrorKind
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.records import LogFilter, Retain, Upload
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.permissions import Permission
from nsfw_app.store import Store, connections
from nsfw_app.ui.handlers import show_errors
from nsfw_app.web import monitoring
from tests.support.application import WebApp, add, answer_to, open_app, served
from tests.support.disks import Disk, small_disk
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes
from tests.support.sample_records import SHA256, add_image, answer, person

ANN = person("ann")
T = TypeVar("T")


def opened(directory: Path) -> Store:
    """Open the store of a data directory."""
    return Store(directory / "review.db", previews_dir=directory / "images", journal_mode="wal")


def engine_over(store: Store) -> Engine:
    """An engine with the fake classifier over a store."""
    loader = ModelLoader("fake", lambda: Loaded(FakeClassifier()))
    loader.wait()
    return Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))


def kind_of(call: Callable[[], object]) -> str:
    """The kind of the storage error that a call raises."""
    with pytest.raises(StorageError) as raised:
        call()
    return raised.value.kind


def in_new_thread(call: Callable[[], T]) -> T:
    """The result of a call in a new thread, which opens a new connection."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def noise(side: int = 400) -> bytes:
    """An image of noise, whose preview has more than 100 kB."""
    pixels = np.random.default_rng(1).integers(0, 256, (side, side, 3), dtype=np.uint8)
    pixels[0, 0] = 150
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Another process holds an exclusive transaction until the block ends."""
    program = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "db.execute('begin exclusive'); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        yield
        other.communicate()


def overwrite(path: Path, data: bytes) -> None:
    """Overwrite a file in another process; closing it in this one would release its locks."""
    subprocess.run(["dd", f"of={path}", "conv=notrunc", "status=none"], input=data, check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of 2 MB."""
    with small_disk(tmp_path / "disk") as disk:
        yield disk


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short lock timeouts, and a write for each readiness check."""
    monkeypatch.setattr(connections, "LOCK_WAIT_S", 0.2)
    monkeypatch.setattr(monitoring, "PROBE_VALID_S", 0)


@pytest.fixture
def web_app(tmp_path: Path, quick: None) -> Iterator[WebApp]:
    """The application with users and a data directory."""
    store = opened(tmp_path / "data")
    with open_app(engine_over(store), store, tmp_path / "data") as web_app:
        yield web_app


def test_on_a_full_disk_every_acknowledged_decision_is_kept(disk: Disk) -> None:
    """The first decision that does not fit is refused; those before are on disk."""
    store = opened(disk.path)
    add_image(store)
    disk.fill()

    acknowledged: list[int] = []

    def decide_until_full() -> None:
        for number in range(10_000):
            text = "n" * 4_000
            acknowledged.append(store.log.add(answer(f"n{number}", note=text), ANN).decision_id)

    assert kind_of(decide_until_full) == "storage_full"
    assert [row.decision_id for row in store.log.rows(LogFilter())] == acknowledged[::-1]
    disk.clear()
    acknowledged.append(store.log.add(answer("another"), ANN).decision_id)
    kept = [row.decision_id for row in opened(disk.path).log.rows(LogFilter())]
    assert kept == acknowledged[::-1]


def test_an_upload_whose_preview_does_not_fit_leaves_nothing(disk: Disk) -> None:
    """No upload row, no placeholder, no partial file."""
    store = opened(disk.path)
    engine = engine_over(store)
    upload = Upload("a.png", "gallery", "ann", retain=Retain.QUEUE)
    disk.fill(free_bytes=80_000)
    assert kind_of(lambda: engine.review(noise(), upload)) == "storage_full"
    disk.clear()
    with closing(sqlite3.connect(disk.path / "review.db")) as db:
        assert db.execute("select count(*) from uploads").fetchone() == (0,)
        placeholders = db.execute("select placeholder from images").fetchall()
        assert placeholders in ([], [(b"",)])
        assert db.execute("select count(*) from queue").fetchone() == (0,)
    assert not [path for path in (disk.path / "images").rglob("*") if path.is_file()]
    review = engine.review(noise(), upload)
    assert engine.preview_jpeg(review.sha256 or "", ANN)


def test_a_preview_is_removed_when_its_rows_are_not_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the commit fails, the new file is deleted; an earlier one is kept."""
    store = opened(tmp_path)
    add_image(store)
    store.previews.remove(SHA256)
    image = store.catalog.get(1)
    upload = Upload("b.png", "gallery", "bob", retain=Retain.QUEUE)

    def commit_fails(self: connections._Connection, sql: str, *values: object) -> object:
        if sql == "commit":
            raise StorageError(StorageErrorKind.FULL)
        return execute(self, sql, *values)

    execute = connections._Connection.execute
    for earlier in (None, b"earlier"):
        if earlier:
            store.previews.add(SHA256, earlier)
        with monkeypatch.context() as patch:
            patch.setattr(connections._Connection, "execute", commit_fails)
            failed = kind_of(lambda: store.catalog.record(image, upload, jpeg=b"new"))
        assert failed == "storage_full"
        assert store.previews.has(SHA256) is bool(earlier)
        assert not store.visibility.is_visible(SHA256, person("bob"))


def test_on_a_full_disk_every_entry_point_responds_507(disk: Disk, quick: None) -> None:
    """Uploads and readiness report the cause; reading and liveness still work."""
    store = opened(disk.path)
    with open_app(engine_over(store), store, disk.path) as web_app:
        ann = web_app.signed_in("ann")
        card = add(ann)
        assert web_app.client.get("/readyz").status_code == 200
        disk.fill()
        query = {"name": "b.png", "source": "review"}
        refused = ann.post("/desk/images", params=query, content=image_bytes(150, size=(900, 9)))
        assert (refused.status_code, refused.json()["error"]["kind"]) == (507, "storage_full")
        assert int(refused.headers["retry-after"]) > 0
        uploaded = ann.post("/gradio_api/upload", files={"files": ("a.png", noise(150))})
        assert (uploaded.status_code, uploaded.json()["error"]["kind"]) == (507, "storage_full")
        ready = web_app.client.get("/readyz")
        assert (ready.status_code, ready.json()["storage"]) == (503, "storage_full")
        assert "disk" in ready.json()["message"]
        assert int(ready.headers["retry-after"]) > 0
        assert web_app.client.get("/healthz").status_code == 200
        assert ann.get(f"/desk/images/{card['sha256']}/picture").status_code == 200
        disk.clear()
        assert web_app.client.get("/readyz").status_code == 200
        assert add(ann, 150, "b.png", (900, 9))["kept"]


def test_a_full_temporary_directory_responds_507(
    disk: Disk, engine: Engine, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large parts of a form are written to temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(disk.path))
    large = {"file": ("a.png", b"x" * 3_000_000, "image/png")}
    with open_app(engine, store, tmp_path) as web_app:
        program = web_app.with_key(Permission.CLASSIFY)
        disk.fill()
        refused = program.post("/v1/images", files=large)
        assert (refused.status_code, refused.json()["error"]["kind"]) == (507, "storage_full")


def test_a_held_lock_is_503_after_the_timeout(web_app: WebApp, tmp_path: Path) -> None:
    """Writes respond 503 with Retry-After, reads work; afterwards writes work again."""
    ann = web_app.signed_in("ann")
    card = add(ann)
    with locked(tmp_path / "data" / "review.db"):
        refused = ann.post("/desk/decisions", json=answer_to(card))
        assert (refused.status_code, refused.json()["error"]["kind"]) == (503, "storage_busy")
        assert int(refused.headers["retry-after"]) > 0
        assert ann.get("/desk/status").status_code == 200
        assert web_app.client.get("/readyz").json()["storage"] == "storage_busy"
    assert ann.post("/desk/decisions", json=answer_to(card)).status_code == 200
    assert web_app.client.get("/readyz").status_code == 200


def test_a_held_lock_does_not_block_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While 60 writes wait, health checks take at most 250 ms and reads work.

    The 95th percentile counts, because the maximum depends on other load of the machine.
    """
    monkeypatch.setattr(connections, "LOCK_WAIT_S", 3)
    monkeypatch.setattr(monitoring, "PROBE_VALID_S", 0)
    store = opened(tmp_path / "data")
    with (
        open_app(engine_over(store), store, tmp_path / "data") as web_app,
        served(web_app.client.app) as url,
        ThreadPoolExecutor(60) as pool,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        ann = web_app.signed_in("ann")
        client.cookies = dict(ann.cookies)
        card = add(ann)

        def decide(number: int) -> httpx.Response:
            return client.post("/desk/decisions", json=answer_to(card, nonce=f"n{number}"))

        with locked(tmp_path / "data" / "review.db"):
            waiting = [pool.submit(decide, number) for number in range(60)]
            seconds = []
            while not all(future.done() for future in waiting):
                started = time.perf_counter()
                assert client.get("/healthz").status_code == 200
                seconds.append(time.perf_counter() - started)
                if len(seconds) % 20 == 0:
                    assert client.get("/readyz").json()["storage"] == "storage_busy"
                threading.Event().wait(0.02)
            assert client.get("/desk/status").status_code == 200
            refused = [future.result() for future in waiting]
        assert {response.status_code for response in refused} == {503}
        assert {response.json()["error"]["kind"] for response in refused} == {"storage_busy"}
        assert np.percentile(seconds, 95) < 0.25
        assert store.log.size(LogFilter()) == 0
        assert decide(0).status_code == 200
        assert store.log.size(LogFilter()) == 1


def test_few_threads_wait_for_a_stuck_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no thread gets the lock for a while, all but a few threads fail immediately."""
    monkeypatch.setattr(connections, "LOCK_WAIT_S", 4)
    store = opened(tmp_path)
    ended: list[float] = []

    def write(_: int) -> None:
        started = time.monotonic()
        assert kind_of(lambda: store.audit.add("ann", "export", "log")) == "storage_busy"
        ended.append(time.monotonic() - started)

    with locked(tmp_path / "review.db"), ThreadPoolExecutor(30) as pool:
        list(pool.map(write, range(30)))
    patient = [seconds for seconds in ended if seconds >= 4]
    assert 1 <= len(patient) <= 8


@pytest.mark.usefixtures("quick")
def test_readers_time_out_on_a_lock(tmp_path: Path) -> None:
    """Without a write-ahead log, a transaction also blocks readers; they get the same error."""
    path = tmp_path / "review.db"
    store = Store(path, previews_dir=tmp_path / "images", journal_mode="delete")
    with locked(path):
        assert kind_of(store.users.has_users) == "storage_busy"
        assert kind_of(lambda: in_new_thread(store.users.has_users)) == "storage_busy"
    assert not store.users.has_users()


def test_threads_are_not_refused_while_the_lock_moves_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many threads may wait longer than the timeout, as long as the lock changes hands."""
    monkeypatch.setattr(connections, "LOCK_WAIT_S", 1)  # as long as all but eight threads wait
    store = opened(tmp_path)

    def write(_: int) -> None:
        with store._connections.writing():
            threading.Event().wait(0.1)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(write, range(20)))


def test_a_read_only_disk_is_an_error_until_it_is_writable(disk: Disk) -> None:
    """Also for a connection that was opened while it was read-only."""
    store = opened(disk.path)
    add_image(store)

    def decide(nonce: str) -> int:
        return store.log.add(answer(nonce), ANN).decision_id

    if not disk.is_mounted:
        without_rights(disk.path)
        return
    store._connections._local.db.close()
    del store._connections._local.db
    disk.remount("ro")
    assert kind_of(lambda: opened(disk.path)) == "storage_read_only"
    assert kind_of(lambda: decide("n1")) == "storage_read_only"
    assert kind_of(lambda: store.previews.add(SHA256, b"jpeg")) == "storage_read_only"
    assert kind_of(store.check_writable) == "storage_read_only"
    disk.remount("rw")
    store.check_writable()
    assert decide("n1")


def without_rights(directory: Path) -> None:
    """Open a store as an account without write permission."""
    directory.chmod(0o500)
    program = (
        "import os, sys; from pathlib import Path; os.chdir('/');"
        "from test_storage_failures import kind_of, opened; os.setuid(65534);"
        "assert kind_of(lambda: opened(Path(sys.argv[1]))) == 'storage_read_only'"
    )
    path = os.pathsep.join(sys.path)
    subprocess.run(
        [sys.executable, "-c", program, str(directory)],
        env={**os.environ, "PYTHONPATH": path},
        check=True,
    )


def test_a_damaged_database_is_reported_and_recovered_from(tmp_path: Path) -> None:
    """The earlier content of the file is readable after it was restored."""
    store = opened(tmp_path)
    add_image(store)
    decision = store.log.add(answer("n1"), ANN)
    store._connections.row("pragma wal_checkpoint(truncate)")
    whole = (tmp_path / "review.db").read_bytes()
    overwrite(tmp_path / "review.db", b"x" * len(whole))
    read: Callable[[], int] = lambda: store.log.size(LogFilter())  # noqa: E731
    assert kind_of(lambda: in_new_thread(read)) == "storage_corrupt"
    assert kind_of(lambda: in_new_thread(store.check_writable)) == "storage_corrupt"
    overwrite(tmp_path / "review.db", whole)
    assert in_new_thread(lambda: store.log.page(LogFilter(), limit=9)) == [decision]


def test_a_lost_directory_is_never_replaced_by_an_empty_one(
    web_app: WebApp, tmp_path: Path
) -> None:
    """While it is moved away, everything is an error, sign-in too; moved back, all works."""
    data, away = tmp_path / "data", tmp_path / "away"
    ann = web_app.signed_in("ann")
    card = add(ann)
    data.rename(away)
    query = {"name": "b.png", "source": "review"}
    for response in (
        ann.post("/desk/decisions", json=answer_to(card)),
        ann.post("/desk/images", params=query, content=image_bytes(9)),
        ann.get("/desk/status"),
        ann.get("/"),
    ):
        assert (response.status_code, response.json()["error"]["kind"]) == (503, "storage_missing")
    assert web_app.client.get("/readyz").json()["storage"] == "storage_missing"
    assert web_app.client.get("/healthz").status_code == 200
    assert not data.exists()
    opened(data)  # as a command would create it; a store without users needs no sign-in
    lost = ann.get("/desk/status")
    assert (lost.status_code, lost.json()["error"]["kind"]) == (503, "storage_missing")
    assert kind_of(lambda: web_app.accounts.has_users) == "storage_missing"
    data.rename(tmp_path / "empty")
    away.rename(data)
    assert ann.post("/desk/decisions", json=answer_to(card)).status_code == 200
    assert web_app.client.get("/readyz").status_code == 200


def test_writes_to_a_deleted_file_are_not_acknowledged(tmp_path: Path) -> None:
    """Also if the file, or only its write-ahead log, is deleted during the transaction."""
    store = opened(tmp_path)
    add_image(store)
    for name in ("review.db-wal", "review.db"):

        def delete_concurrently(name: str = name) -> None:
            with store._connections.writing() as db:
                db.execute("pragma user_version = 1")
                (tmp_path / name).unlink()

        assert kind_of(delete_concurrently) == "storage_missing"
    assert kind_of(lambda: store.log.add(answer("n"), ANN)) == "storage_missing"


def test_a_database_that_is_emptied_in_place_is_corrupt(web_app: WebApp, tmp_path: Path) -> None:
    """Cut to nothing while the server runs, it takes no decision, and the server is not ready."""
    ann = web_app.signed_in("ann")
    card = add(ann)
    path = tmp_path / "data" / "review.db"
    os.truncate(path, 0)
    for _ in range(2):
        refused = ann.post("/desk/decisions", json=answer_to(card))
        assert (refused.status_code, refused.json()["error"]["kind"]) == (503, "storage_corrupt")
        ready = web_app.client.get("/readyz")
        assert (ready.status_code, ready.json()["storage"]) == (503, "storage_corrupt")
        assert web_app.client.get("/healthz").status_code == 200
    assert path.stat().st_size == 0, "nothing makes a new database of it"


def test_a_database_that_is_cut_short_in_place_is_corrupt(tmp_path: Path) -> None:
    """Half a file takes no decision; one that `vacuum` made shorter does."""
    store = opened(tmp_path)
    add_image(store)
    store.log.add(answer("n1"), ANN)
    path = tmp_path / "review.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("create table ballast as select randomblob(400000) as data")
        db.execute("pragma wal_checkpoint(truncate)")
        store.log.add(answer("n2"), ANN)
        db.execute("drop table ballast")
        db.execute("vacuum")
        db.execute("pragma wal_checkpoint(truncate)")
    assert store.log.add(answer("n3"), ANN)
    store._connections.overwrite_log()
    os.truncate(path, path.stat().st_size // 2)
    for _ in range(2):
        assert kind_of(lambda: store.log.add(answer("n4"), ANN)) == "storage_corrupt"
        assert kind_of(store.check_writable) == "storage_corrupt"


def test_a_restored_backup_is_used_at_once(tmp_path: Path) -> None:
    """A copy that replaces a lost database is opened without a restart."""
    store = opened(tmp_path)
    add_image(store)
    decision = store.log.add(answer("n1"), ANN)
    with (
        closing(sqlite3.connect(tmp_path / "review.db")) as db,
        closing(sqlite3.connect(tmp_path / "backup.db")) as copy,
    ):
        db.backup(copy)
    for path in tmp_path.glob("review.db*"):
        path.unlink()
    assert kind_of(lambda: store.log.size(LogFilter())) == "storage_missing"
    (tmp_path / "backup.db").rename(tmp_path / "review.db")
    assert store.log.page(LogFilter(), limit=9) == [decision]


def test_any_directory_name_is_valid(tmp_path: Path) -> None:
    """Also one with characters that are special in a URI."""
    directory = tmp_path / "a b?mode=memory#c%41&ü"
    store = opened(directory)
    add_image(store)
    assert store.log.add(answer("n"), ANN)
    assert in_new_thread(lambda: store.log.size(LogFilter())) == 1
    assert (directory / "review.db").is_file()


def test_a_deleted_previews_directory_is_created_again(tmp_path: Path) -> None:
    """The next preview creates it."""
    store = opened(tmp_path)
    store.previews.add(SHA256, b"jpeg")
    subprocess.run(["rm", "-rf", str(tmp_path / "images")], check=True)
    store.check_writable()
    store.previews.add(SHA256, b"jpeg")
    assert store.previews.get(SHA256) == b"jpeg"


@pytest.mark.parametrize(
    "command", ["export", "audit", "users list", "keys list", "purge", "classify a.png"]
)
def test_a_damaged_database_is_one_sentence_of_a_command(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    """Each command exits 1; the message says what to do."""
    (tmp_path / "review.db").write_bytes(b"x" * 8_192)
    monkeypatch.setenv("NSFW_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["nsfw_app", *command.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith(f"Error: NSFW_DATA_DIR='{tmp_path}': The database is damaged.")


def test_the_page_shows_storage_errors() -> None:
    """A Gradio handler turns a storage error into `gr.Error`, as any error of this package."""

    @show_errors
    def save() -> None:
        raise StorageError(StorageErrorKind.FULL)

    with pytest.raises(gr.Error, match="disk of the data directory or of temporary files is full"):
        save()


def test_messages_have_no_path() -> None:
    """Callers of the API read them; a command puts the directory before the message."""
    for kind in StorageErrorKind:
        error = StorageError(kind)
        assert isinstance(error, NSFWReviewError)
        assert "/" not in str(error)
        assert str(StorageError(kind, where="HERE")) == f"HERE: {error}"
