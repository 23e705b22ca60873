"""When changes are saved, and what the status says about it."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nsfw_app.dataset_errors import HubFailed
from nsfw_app.hub_sync import event_files, layout
from nsfw_app.hub_sync.layout import parse
from nsfw_app.hub_sync.repository import HubRepository
from nsfw_app.hub_sync.schedule import INTERVAL_S, MAX_WAIT_S, HubSync
from nsfw_app.store import Store
from nsfw_app.store.process_lock import process_lock
from tests.support.fakes import FakeClassifier
from tests.support.hub_store import (
    REPOSITORY,
    client_hub,
    contents,
    new_saver,
    open_engine,
    open_store,
    restored,
    upload,
)
from tests.support.upload_hub import Repository, UploadHub

NAME = REPOSITORY.name
START = datetime(2026, 3, 4, 12, 3, tzinfo=UTC)


class Clock:
    """A time that tests set."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """Seconds since the start."""
        return self.seconds

    def now(self) -> datetime:
        """The time of day."""
        return START + timedelta(seconds=self.seconds)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadHub]:
    """The hub of this process, without repositories."""
    with client_hub(monkeypatch) as hub:
        yield hub


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The store of a server."""
    return open_store(tmp_path / "first")


@pytest.fixture
def clock() -> Clock:
    """The time, as tests set it."""
    return Clock()


@pytest.fixture
def sync(hub: UploadHub, store: Store, clock: Clock, tmp_path: Path) -> HubSync:
    """What saves the store, without its thread."""
    return HubSync(
        new_saver(store),
        REPOSITORY,
        lock_file=tmp_path / "lock",
        clock=clock,
        now=clock.now,
    )


def data_files(hub: UploadHub) -> list[layout.BatchFile]:
    """The files of batches."""
    return sorted(parse(hub.repositories[NAME].files))


def add(store: Store, red: int = 128) -> None:
    """Upload an image."""
    upload(open_engine(store, FakeClassifier()), red)


def test_changes_are_saved_every_minute(
    sync: HubSync, hub: UploadHub, store: Store, clock: Clock
) -> None:
    """The repository is created private; a minute without changes makes no commit."""
    assert sync.status.last_success_at is None
    add(store)
    clock.seconds = 30
    assert sync.status.pending == 5
    assert sync.attempt() == INTERVAL_S
    assert hub.repositories[NAME].private
    clock.seconds = 60
    commits, requests = len(hub.repositories[NAME].commits), len(hub.requests)
    assert sync.attempt() == INTERVAL_S
    assert len(hub.repositories[NAME].commits) == commits
    assert len(hub.requests) == requests
    status = sync.status
    assert (status.target, status.error, status.pending) == (NAME, None, 0)
    assert status.last_success_at == START + timedelta(seconds=60)
    assert sync.failures == 0


def test_one_server_of_a_data_directory_saves_at_a_time(
    sync: HubSync, hub: UploadHub, store: Store, clock: Clock, tmp_path: Path
) -> None:
    """While another process saves, nothing is; what that one saved counts as saved."""
    add(store)
    with process_lock(tmp_path / "lock") as is_locked:
        assert is_locked
        sync.attempt()
        assert NAME not in hub.repositories
        assert sync.status.last_success_at is None
    sync.attempt()
    assert len(data_files(hub)) == 1
    clock.seconds = 60
    with process_lock(tmp_path / "lock"):
        sync.attempt()
    assert sync.status.last_success_at == START + timedelta(seconds=60)


def test_the_first_save_writes_the_card(sync: HubSync, hub: UploadHub, store: Store) -> None:
    """The card is there as soon as rows are, and commits are squashed once a day."""
    add(store)
    sync.attempt()
    repository = hub.repositories[NAME]
    assert "2026-03-04 12:03 UTC" in repository.files["README.md"].decode()
    assert (repository.squashed, len(repository.commits)) == (1, 1)


def test_a_day_has_few_commits_and_files(
    sync: HubSync, hub: UploadHub, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are rolled up each hour; the history of commits is squashed each day."""
    monkeypatch.setattr("nsfw_app.hub_sync.maintenance.BATCHES_TO_ROLL_UP", 4)
    monkeypatch.setattr(layout, "LEVELS", ((4, 4), (16, 4), (64, 4)))
    for minute in range(25):
        clock.seconds = minute * 60
        add(store, 10 + minute)
        sync.attempt()
    files = [(each.first, each.last) for each in data_files(hub)]
    assert files == [(1, 17), (18, 21), (22, 25)]
    repository = hub.repositories[NAME]
    assert repository.squashed == 1
    clock.seconds += 86_400
    add(store, 99)
    sync.attempt()
    assert repository.squashed == 2
    assert len(repository.commits) == 1


def test_a_rate_limit_is_kept(sync: HubSync, hub: UploadHub, store: Store) -> None:
    """The next attempt is not before the hub allows it, and then saves everything."""
    add(store)
    sync.attempt()
    add(store, 129)
    hub.statuses["/commit/"] = 429
    hub.headers["Retry-After"] = "1800"
    assert sync.attempt() == 1800
    status = sync.status
    assert status.error is not None
    assert "status 429" in status.error
    assert status.last_success_at == START
    assert status.pending > 0
    hub.statuses.clear()
    assert sync.attempt() == INTERVAL_S
    assert (sync.status.error, sync.status.pending, sync.failures) == (None, 0, 1)


def test_the_other_header_of_a_rate_limit_is_kept(
    sync: HubSync, hub: UploadHub, store: Store
) -> None:
    """The hub's own header says in how many seconds requests are allowed again."""
    add(store)
    sync.attempt()
    add(store, 129)
    hub.statuses["/commit/"] = 429
    hub.headers["RateLimit"] = '"api";r=0;t=1234'
    assert sync.attempt() == 1234


@pytest.mark.parametrize("status", [0, 503])
def test_an_outage_loses_nothing(
    status: int, sync: HubSync, hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    """Attempts come less often, and one that succeeds saves everything."""
    add(store)
    sync.attempt()
    hub.statuses["/commit/"] = status
    waits = []
    for red in range(129, 136):
        add(store, red)
        waits.append(sync.attempt())
    assert waits == [60, 120, 240, 480, MAX_WAIT_S, MAX_WAIT_S, MAX_WAIT_S]
    assert sync.failures == 7
    hub.statuses.clear()
    sync.attempt()
    assert len(data_files(hub)) == 2
    restored(tmp_path / "second")
    assert contents(open_store(tmp_path / "second")) == contents(store)


def test_a_refused_large_file_is_a_failure(sync: HubSync, hub: UploadHub, store: Store) -> None:
    """Storage of large files may fail while the hub itself responds."""
    add(store)
    hub.statuses["/info/lfs/objects/batch"] = 500
    sync.attempt()
    assert sync.status.error is not None
    assert sync.status.pending > 0
    hub.statuses.clear()
    sync.attempt()
    assert sync.status.error is None


def test_ignored_files_are_a_failure(
    sync: HubSync, hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    """A `.gitignore` that matches them loses nothing: they are saved once it does not."""
    add(store)
    sync.attempt()
    repository = hub.repositories[NAME]
    repository.files[".gitignore"] = b"data/\n"
    files, commits = dict(repository.files), len(repository.commits)
    add(store, 129)
    assert [sync.attempt(), sync.attempt()] == [INTERVAL_S, 2 * INTERVAL_S]
    assert str(sync.status.error).startswith(f"The .gitignore of {NAME} matches data/main/")
    assert sync.status.pending > 0
    assert (repository.files, len(repository.commits), sync.failures) == (files, commits, 2)
    repository.files[".gitignore"] = b"*.log\n"
    sync.attempt()
    assert (sync.status.error, len(data_files(hub))) == (None, 2)
    restored(tmp_path / "second")
    assert contents(open_store(tmp_path / "second")) == contents(store)


def test_an_ignored_card_fails_as_a_roll_up_does(
    sync: HubSync, hub: UploadHub, store: Store
) -> None:
    """Everything is saved, and the status says that maintenance fails."""
    hub.repositories[NAME] = Repository(private=True)
    hub.repositories[NAME].files[".gitignore"] = b"*.md\n"
    add(store)
    sync.attempt()
    status = sync.status
    assert (status.error, status.pending) == (None, 0)
    assert "matches README.md, so" in str(status.maintenance_error)


def test_a_repository_that_becomes_public_is_left(
    sync: HubSync, hub: UploadHub, store: Store
) -> None:
    """It is noticed with the next save; nothing is saved from then on, as the status says."""
    add(store)
    sync.attempt()
    repository = hub.repositories[NAME]
    repository.private = False
    add(store, 129)
    sync.attempt()
    assert sync.status.error is not None
    assert "is public" in sync.status.error
    commits = len(repository.commits)
    add(store, 130)
    sync.attempt()
    assert len(repository.commits) == commits
    repository.private = True
    sync.attempt()
    assert (sync.status.error, sync.status.pending) == (None, 0)


def test_a_server_that_was_replaced_says_so_at_once(
    sync: HubSync, hub: UploadHub, store: Store, clock: Clock, tmp_path: Path
) -> None:
    """With its first save after that, and until it is the only one again."""
    add(store)
    sync.attempt()
    restored(tmp_path / "second")
    second = open_store(tmp_path / "second")
    add(second, 140)
    saver = new_saver(second)
    saver.save()
    clock.seconds = 60
    for red in (150, 160):
        add(store, red)
        sync.attempt()
        status = sync.status
        assert status.error is not None
        assert status.error.startswith("Another server was started as 'main'")
        assert (status.replaced, status.pending, status.last_success_at) == (True, 0, START)


def test_a_failed_roll_up_leaves_everything_saved(
    sync: HubSync, hub: UploadHub, store: Store, clock: Clock
) -> None:
    """The status says so, until it succeeds; that needs no new change, and waits longer each time.

    Saving is not reported as failed.
    """
    hub.statuses["/super-squash/"] = 500
    attempts = []
    add(store)
    for minute in range(90):
        clock.seconds = minute * 60
        requests = len(hub.requests)
        sync.attempt()
        status = sync.status
        assert (status.error, status.pending, status.last_success_at) == (None, 0, clock.now())
        assert "status 500" in str(status.maintenance_error)
        if any("super-squash" in each for each in hub.requests[requests:]):
            attempts.append(minute)
    assert attempts == [0, 15, 45]
    assert (sync.failures, sync.maintenance.failures) == (0, 3)
    hub.statuses.clear()
    clock.seconds = 105 * 60
    sync.attempt()
    assert sync.status.maintenance_error is None
    assert hub.repositories[NAME].squashed == 1


def test_a_roll_up_waits_for_a_rate_limit(
    sync: HubSync, hub: UploadHub, store: Store, clock: Clock
) -> None:
    """It is not tried again before the hub allows it."""
    add(store)
    hub.statuses["/super-squash/"] = 429
    hub.headers["Retry-After"] = "3600"
    assert sync.attempt() == INTERVAL_S
    hub.statuses.clear()
    for seconds, squashed in ((3_599, 0), (3_600, 1)):
        clock.seconds = seconds
        sync.attempt()
        assert hub.repositories[NAME].squashed == squashed


def test_an_unexpected_error_of_a_roll_up_is_reported(
    sync: HubSync, hub: UploadHub, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not end saving."""
    monkeypatch.setattr(layout, "roll_ups", lambda _: [][0])
    add(store)
    sync.attempt()
    assert sync.status.maintenance_error == "IndexError; the log has more."
    assert sync.status.error is None


@pytest.fixture
def due(sync: HubSync, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three files of a batch each, which the next save rolls up; maintenance ended at the first."""
    monkeypatch.setattr("nsfw_app.hub_sync.maintenance.BATCHES_TO_ROLL_UP", 3)
    monkeypatch.setattr(layout, "LEVELS", ((3, 3), (9, 3), (27, 3)))
    for minute, red in enumerate((10, 20, 30)):
        clock.seconds = 60 * minute
        add(store, red)
        sync.attempt()


def before_each_download(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Do something each time before a file is downloaded for a roll-up."""
    original = HubRepository.downloaded

    def downloaded(*args: Any) -> Any:
        act()
        return original(*args)

    monkeypatch.setattr(HubRepository, "downloaded", downloaded)


def test_changes_are_saved_during_a_roll_up(
    due: None,
    sync: HubSync,
    hub: UploadHub,
    store: Store,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Each minute, and all is restored."""
    reds = iter((100, 110, 120))
    saved = []

    def minute() -> None:
        saved.append(len(data_files(hub)))
        if red := next(reds, None):
            clock.seconds += 60
            add(store, red)

    before_each_download(monkeypatch, minute)
    add(store, 40)
    sync.attempt()
    assert saved[:4] == [4, 5, 6, 7]
    assert [(each.first, each.last) for each in data_files(hub)] == [(1, 4), (5, 7)]
    assert (sync.status.error, sync.status.maintenance_error, sync.status.pending) == (
        None,
        None,
        0,
    )
    restored(tmp_path / "second")
    assert contents(open_store(tmp_path / "second")) == contents(store)


def test_a_roll_up_ends_with_the_server(
    due: None, sync: HubSync, hub: UploadHub, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the next file, so that the last changes are saved in time."""
    before_each_download(monkeypatch, sync.close)
    add(store, 40)
    sync.attempt()
    assert len(data_files(hub)) == 4
    add(store, 50)
    sync.attempt()
    assert (len(data_files(hub)), sync.status.pending) == (5, 0)
    assert sync.status.maintenance_error is None


def test_nothing_is_rolled_up_after_a_save_that_failed(
    due: None,
    sync: HubSync,
    hub: UploadHub,
    store: Store,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The changes of a commit whose response was lost are in the next one, too."""
    commit = HubRepository.commit

    def lost(*args: Any, **named: Any) -> None:
        commit(*args, **named)
        raise HubFailed("The connection ended.")

    add(store, 40)
    with monkeypatch.context() as patch:
        patch.setattr(HubRepository, "commit", lost)
        sync.attempt()
    assert [(each.first, each.last) for each in data_files(hub)] == [(n, n) for n in range(1, 5)]
    add(store, 50)
    clock.seconds += 60
    sync.attempt()
    assert [(each.first, each.last) for each in data_files(hub)] == [(1, 5)]
    found = restored(tmp_path / "second")
    assert found is not None
    assert found.diverged == 0
    assert contents(open_store(tmp_path / "second")) == contents(store)


def test_an_error_of_any_kind_is_reported(
    sync: HubSync, hub: UploadHub, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not end the thread: the status has it, and the next attempt saves everything."""
    add(store)
    with monkeypatch.context() as patched:
        patched.setattr(event_files, "encode", lambda *_, **__: [][0])
        assert sync.attempt() == INTERVAL_S
    assert sync.status.error == "IndexError; the log has more."
    sync.attempt()
    assert (sync.status.error, sync.status.pending) == (None, 0)


@pytest.mark.parametrize(("name", "status"), [("/api/repos/create", 403), ("/api/datasets/", 401)])
def test_a_token_without_permission_is_reported(
    name: str, status: int, sync: HubSync, hub: UploadHub, store: Store
) -> None:
    """The server goes on, and the status says what the token lacks, without the token."""
    if "datasets" in name:
        hub.repositories[NAME] = Repository(private=True)
    hub.statuses[name] = status
    add(store)
    sync.attempt()
    assert "token" in str(sync.status.error)
    assert REPOSITORY.token not in str(sync.status.error)


def test_the_last_changes_are_saved_at_the_end(
    sync: HubSync, hub: UploadHub, store: Store, tmp_path: Path
) -> None:
    """What changed since the last minute is saved before the server exits."""
    sync.start()
    add(store)
    sync.close()
    assert sync.status.pending == 0
    restored(tmp_path / "second")
    assert contents(open_store(tmp_path / "second")) == contents(store)


def test_the_last_changes_are_saved_after_another_process(
    sync: HubSync, store: Store, tmp_path: Path
) -> None:
    """It holds the lock when the server ends, and does not know of the last changes."""
    add(store)
    with process_lock(tmp_path / "lock"):
        sync.start()
        ending = threading.Thread(target=sync.close)
        ending.start()
        time.sleep(0.3)
        assert store.hub_changes.pending() > 0
    ending.join()
    assert store.hub_changes.pending() == 0


def test_a_roll_up_does_not_delay_the_next_save(
    due: None, sync: HubSync, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The minute counts from the save before it."""

    def take() -> None:
        clock.seconds += 10

    before_each_download(monkeypatch, take)
    add(store, 40)
    assert sync.attempt() == INTERVAL_S - 50  # four files, then the card
