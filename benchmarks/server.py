"""The page as it is started: how soon it answers, what a request costs, and what it takes to keep.

The embedded model is served, because its memory is the one that a small machine has to spare.
"""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.files import MEGAPIXELS, MOTIFS, jpegs
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
PATIENCE_S = 120
REST_S = 2  # until what was needed to start is put away
AT_ONCE = 2  # requests, as the page sends them
SMALL_MEGAPIXELS = 0.08


class ServerFailed(NSFWReviewError):
    """The page did not start."""

    kind = "server_failed"


def measure(folder: Path, seconds: float, uploaded: int) -> dict[str, Any]:
    """Start the page in a folder of its own, and measure it from outside."""
    key = _account(folder)
    with _started(folder) as (process, address):
        begun = time.perf_counter()
        with httpx2.Client(base_url=address, timeout=PATIENCE_S, trust_env=False) as client:
            _until_served(process, client, "/login")
            first_byte = time.perf_counter() - begun
            _until_served(process, client, "/readyz")
            ready = time.perf_counter() - begun
            time.sleep(REST_S)
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
def _started(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The page in a process of its own, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    chosen = environment(
        NSFW_DATA_DIR=str(folder),
        NSFW_HOST="127.0.0.1",
        NSFW_PORT=str(port),
        NSFW_MODEL=OPEN_NSFW,
    )
    process = subprocess.Popen(  # our own page
        [sys.executable, str(APP)], env=chosen, stdout=subprocess.DEVNULL
    )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _until_served(process: subprocess.Popen[bytes], client: httpx2.Client, path: str) -> None:
    """Ask until there is an answer.

    Raises:
        ServerFailed: The process ended, or takes too long.
    """
    end = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < end:
        try:
            if client.get(path).status_code == httpx2.codes.OK:
                return
        except httpx2.ConnectError:
            pass
        time.sleep(0.01)
    raise ServerFailed("The page did not start; what it wrote above tells why.")


def _api(client: httpx2.Client, key: str, seconds: float) -> dict[str, float]:
    """What a request costs: of a new image, and of one that was judged before."""
    files = jpegs(SMALL_MEGAPIXELS, motifs=MOTIFS)
    headers = {"Authorization": f"Bearer {key}"}

    def ask(data: bytes) -> None:
        client.post("/v1/image-classification", content=data, headers=headers).raise_for_status()

    known = next(files)
    new = durations(lambda: ask(next(files)), seconds)
    again = durations(lambda: ask(known), seconds)
    alive = durations(lambda: client.get("/healthz").raise_for_status(), seconds / 4)
    return {
        "new_image_p50_ms": percentile_ms(new, 50),
        "new_image_p95_ms": percentile_ms(new, 95),
        "same_bytes_p50_ms": percentile_ms(again, 50),
        "same_bytes_p95_ms": percentile_ms(again, 95),
        "healthz_p50_ms": percentile_ms(alive, 50),
    }


def _gallery(client: httpx2.Client, uploaded: int) -> dict[str, float]:
    """Photographs through the page's own route, as many at once as the page sends."""
    client.post("/login", data={"username": NAME, "password": PASSWORD}).raise_for_status()
    files = islice(jpegs(MEGAPIXELS, motifs=min(uploaded, MOTIFS)), uploaded)
    turn = threading.Lock()
    query = {"name": "photograph.jpg", "source": "gallery", "batch_id": NAME}

    def send() -> None:
        while True:
            with turn:
                data = next(files, None)
            if data is None:
                return
            answer = client.post("/desk/images", params=query, content=data)
            answer.raise_for_status()

    begun = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for sender in [pool.submit(send) for _ in range(AT_ONCE)]:
            sender.result()
    rate = uploaded / (time.perf_counter() - begun)
    return {"files": uploaded, "images_per_s": round(rate, 2)}
