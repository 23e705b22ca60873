"""The real server, `app.py`, in a process of its own."""

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.preloaded import ForkedProcess, Preloader

ROOT = Path(__file__).parents[2]
APP = str(ROOT / "app.py")
START_SECONDS = 60


class Preloaded:
    """What forks the servers of the tests that run now; None where each is a new interpreter."""

    preloader: Preloader | None = None


@dataclass(frozen=True)
class Server:
    """A running server. `data` is its data directory."""

    url: str
    data: Path
    process: subprocess.Popen[bytes] | ForkedProcess
    log: Path

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """Rows of a query of its database."""
        with contextlib.closing(sqlite3.connect(self.data / "review.db")) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(sql, values)]


def free_port() -> int:
    """An unused port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def serving(
    directory: Path,
    *,
    command: tuple[str, ...] = (APP,),
    port: int | None = None,
    **environment: str,
) -> Iterator[Server]:
    """Run a server with a data directory below `directory`, until the block ends.

    Args:
        directory: Working directory of the server.
        command: Arguments of Python; `app.py` by default.
        port: An unused one by default.
        environment: Variables, in addition to those of a server with the embedded model.
    """
    port = port or free_port()
    foreign = ("NSFW_", "SPACE", "HF_", "OAUTH_", "FORWARDED_")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    settings = {
        "NSFW_DATA_DIR": str(directory / "data"),
        "NSFW_PORT": str(port),
        "NSFW_MODEL": "open-nsfw",
        "NSFW_BACKEND": "torch",  # no parity check at each start
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(directory / "hub"),
        **environment,
    }
    log = directory / "server.log"
    process = started(command, {**clean, **settings}, directory=directory, log=log)
    server = Server(f"http://127.0.0.1:{port}", directory / "data", process, log)
    try:
        wait_until_served(server)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def started(
    command: tuple[str, ...], environment: Mapping[str, str], *, directory: Path, log: Path
) -> subprocess.Popen[bytes] | ForkedProcess:
    """A new process; forked where there is a `Preloader`, and libraries read no other settings."""
    preloader = Preloaded.preloader
    if preloader is not None and command == (APP,) and "SPACE_ID" not in environment:
        return preloader.start(environment=environment, directory=directory, log=log)
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, *command],
            env=dict(environment),
            cwd=directory,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_until_served(server: Server) -> None:
    """Wait until the server responds.

    Raises:
        RuntimeError: It exited or did not respond in time; the message is its log.
    """
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{server.url}/healthz", timeout=5):
                return
        except OSError:
            if server.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(server.log.read_text()) from None
            time.sleep(0.05)


@pytest.fixture(scope="session")
def preloader() -> Iterator[Preloader]:
    """What forks servers; it ends after the last of them."""
    process = Preloader()
    yield process
    process.close()


@pytest.fixture
def forked(preloader: Preloader, monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers of this test are forked, see `Preloader`."""
    monkeypatch.setattr(Preloaded, "preloader", preloader)


@pytest.fixture(scope="session")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    preloader: Preloader,
) -> Iterator[Server]:
    """A server with the embedded model; tests share it and its database."""
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running
