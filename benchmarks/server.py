"""Benchmark of the server: time to the first byte, cost of requests, throughput, memory.

The embedded model is served, as on a small machine.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.files import MEGAPIXELS, MOTIFS, jpegs
from benchmarks.processes import end_with_parent
from benchmarks.timing import durations, percentile_ms
from nsfw_app import system
from nsfw_app.accounts import Accounts
from nsfw_app.errors import NSFWReviewError
from nsfw_app.models.cards import OPEN_NSFW
from nsfw_app.rules.permissions import Permission, UserRole
from nsfw_app.settings import environment
from nsfw_app.store import Store

APP = Path(__file__).parents[1] / "app.py"
NAME, PASSWORD = "benchmark", "a password for one run"
TIMEOUT_S = 120
SETTLE_S = 2  # until memory that was needed to start is released
STOP_S = 15  # a server that does not stop is killed
CONCURRENCY = 2  # requests of the page at once
SMALL_MEGAPIXELS = 0.08


class ServerFailed(NSFWReviewError):
    """The server did not start."""

    kind = "server_failed"


def measure(folder: Path, seconds: float, uploaded: int) -> dict[str, Any]:
    """Start a server with its data in a folder, and measure it from outside."""
    key = _account(folder)
    with started(folder) as (process, address):
        start = time.perf_counter()
        with httpx2.Client(base_url=address, timeout=TIMEOUT_S, trust_env=False) as client:
            until_served(process, client, "/login")
            first_byte = time.perf_counter() - start
            until_served(process, client, "/readyz")
            ready = time.perf_counter() - start
            time.sleep(SETTLE_S)
            idle = system.memory_mb(process.pid).now
            api = _api(client, key, seconds)
            gallery = _gallery(client, uploaded)
        peak = system.memory_mb(process.pid).peak
    return {
        "page": {
            "first_byte_s": round(first_byte, 2),
            "model_ready_s": round(ready, 2),
            "idle_rss_mb": idle,
        },
        "api": api,
        "gallery_12_megapixels": gallery | {"peak_rss_mb": peak},
    }


def _account(folder: Path) -> str:
    """A user and an API key in the folder's store."""
    store = Store(folder / "review.db", previews_dir=folder / "images", journal_mode="wal")
    accounts = Accounts(store)
    accounts.add_user(NAME, PASSWORD, UserRole.REVIEWER, actor=NAME)
    return accounts.add_key(NAME, [Permission.CLASSIFY], per_minute=10**6, actor=NAME).key


@contextmanager
def started(folder: Path, *, app: Path = APP) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A server in a child process, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    chosen = environment(
        NSFW_DATA_DIR=str(folder),
        NSFW_HOST="127.0.0.1",
        NSFW_PORT=str(port),
        NSFW_MODEL=OPEN_NSFW,
    )
    process = subprocess.Popen(
        [sys.executable, str(app)],
        env=chosen,
        stdout=subprocess.DEVNULL,
        preexec_fn=partial(end_with_parent, os.getpid()),
    )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until_served(process: subprocess.Popen[bytes], client: httpx2.Client, path: str) -> None:
    """Request a path until its status is 200.

    Raises:
        ServerFailed: The process ended, or did not respond in time.
    """
    end = time.monotonic() + TIMEOUT_S
    while process.poll() is None and time.monotonic() < end:
        try:
            if client.get(path).status_code == httpx2.codes.OK:
                return
        except httpx2.ConnectError:
            pass
        time.sleep(0.01)
    raise ServerFailed("The server did not start. Its messages are above.")


def _api(client: httpx2.Client, key: str, seconds: float) -> dict[str, float]:
    """Milliseconds of a request with a new image, with a known one, and of a health check."""
    files = jpegs(SMALL_MEGAPIXELS, motifs=MOTIFS)
    headers = {"Authorization": f"Bearer {key}"}

    def classify(data: bytes) -> None:
        client.post("/v1/image-classification", content=data, headers=headers).raise_for_status()

    known = next(files)
    new = durations(lambda: classify(next(files)), seconds)
    again = durations(lambda: classify(known), seconds)
    alive = durations(lambda: client.get("/healthz").raise_for_status(), seconds / 4)
    return {
        "new_image_p50_ms": percentile_ms(new, 50),
        "new_image_p95_ms": percentile_ms(new, 95),
        "same_bytes_p50_ms": percentile_ms(again, 50),
        "same_bytes_p95_ms": percentile_ms(again, 95),
        "healthz_p50_ms": percentile_ms(alive, 50),
    }


def _gallery(client: httpx2.Client, uploaded: int) -> dict[str, float]:
    """Throughput of the page's upload route, with as many concurrent requests as the page."""
    client.post("/login", data={"username": NAME, "password": PASSWORD}).raise_for_status()
    files = islice(jpegs(MEGAPIXELS, motifs=min(uploaded, MOTIFS)), uploaded)
    return {"files": uploaded, "images_per_s": round(upload(client, files, batch_id=NAME), 2)}


def upload(client: httpx2.Client, files: Iterator[bytes], *, batch_id: str) -> float:
    """Upload files as the gallery does; images a second."""
    lock = threading.Lock()
    query = {"name": "photo.jpg", "source": "gallery", "batch_id": batch_id}

    def send() -> int:
        sent = 0
        while True:
            with lock:
                data = next(files, None)
            if data is None:
                return sent
            client.post("/desk/images", params=query, content=data).raise_for_status()
            sent += 1

    start = time.perf_counter()
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        senders = [pool.submit(send) for _ in range(CONCURRENCY)]
        sent = sum(sender.result() for sender in senders)
    return sent / (time.perf_counter() - start)
