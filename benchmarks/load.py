"""Load test of the API: concurrent callers, compared with the bare model.

    python -m benchmarks.load [--seconds 300] [--callers 16] [--model MODEL]

Prints one JSON object: latency percentiles in milliseconds, images per second, their share of the
bare model's, and the server's memory over time. Measures the model in a loop, its scheduler with
one caller and with many, then the API of a server of its own on 127.0.0.1. Each request has
different bytes. `vit-base` is a ViT of Falconsai's size with random weights. Nothing fails on a
slow machine, and it ends by itself.
"""

import argparse
import io
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from benchmarks.backends import save_random_vit
from benchmarks.files import numbered
from benchmarks.processes import in_new_process
from nsfw_app.accounts import Accounts
from nsfw_app.models.loader import load_classifier
from nsfw_app.models.scheduler import QueuedClassifier
from nsfw_app.rules.permissions import Permission, UserRole
from nsfw_app.settings import load
from nsfw_app.store import Store
from tests.support.server import Server, serving

SIZE = (320, 240)
BARE_SECONDS = 15  # for each measurement without a server
SINGLE_SECONDS = 15  # of the single caller
SAMPLES = 10  # of the server's memory
RANDOM_VIT = "vit-base"


def main() -> None:
    """Measure, and print the numbers as JSON."""
    parser = argparse.ArgumentParser(description="Load test of the API.")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--model", default="open-nsfw")
    options = parser.parse_args()
    files = NumberedFiles()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model
        if model == RANDOM_VIT:
            model = str(Path(folder) / "vit")
            save_random_vit(model)
        bare = in_new_process(measure_without_server, model, options.callers)
        key = make_key(Path(folder) / "data")
        settings = {
            "NSFW_MAX_WAITING": str(4 * options.callers),
            "NSFW_MODEL": model,
            "NSFW_BACKEND": "torch",  # as in the loop that it is compared with
        }
        with serving(Path(folder), **settings) as server:
            wait_until_ready(server)
            single = one_caller(server, key, files)
            many = many_callers(server, key, files, options.callers, options.seconds)
    many["share_of_the_bare_model"] = round(many["images_per_s"] / bare["images_per_s"], 3)
    print(json.dumps({"model": options.model, **bare, "alone": single, "crowd": many}, indent=2))


class NumberedFiles:
    """An endless series of JPEGs that differ only in their comment, so each costs the same."""

    def __init__(self) -> None:
        grain = np.random.default_rng(0).normal(0, 20, (SIZE[1], SIZE[0], 3))
        slope = np.linspace(40, 200, SIZE[0])[None, :, None]
        base = Image.fromarray((slope + grain).clip(0, 255).astype(np.uint8))
        buffer = io.BytesIO()
        base.save(buffer, "JPEG", quality=85)
        self._jpeg = buffer.getvalue()
        self._numbers = count()

    def next(self) -> bytes:
        """The image with another comment."""
        return numbered(self._jpeg, next(self._numbers))

    @property
    def image(self) -> Image.Image:
        """The image, decoded."""
        return Image.open(io.BytesIO(self._jpeg)).convert("RGB")


def measure_without_server(model: str, callers: int) -> dict[str, float]:
    """The bare model in a loop, then its scheduler with one caller and with many."""
    classifier = load_classifier(
        model, revision="main", unsafe_labels=(), threads=load().threads, max_waiting=4 * callers
    ).classifier
    assert isinstance(classifier, QueuedClassifier)
    image, backend = NumberedFiles().image, classifier._backend

    def bare() -> None:
        backend.score(backend.prepare(image)[None])

    def scheduled() -> None:
        classifier.predict([image])

    for warm_up in (bare, scheduled):
        warm_up()
    bare_times = durations(bare, BARE_SECONDS)
    scheduled_times = durations(scheduled, BARE_SECONDS)
    done: list[float] = []

    def call() -> None:
        done.extend(durations(scheduled, BARE_SECONDS))

    threads = [threading.Thread(target=call) for _ in range(callers)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = len(done) / (time.perf_counter() - start)
    return {
        "p50_ms": percentile_ms(bare_times, 50),
        "images_per_s": round(1 / statistics.mean(bare_times), 1),
        "batcher_p50_ms": percentile_ms(scheduled_times, 50),
        "batcher_crowd_images_per_s": round(rate, 1),
    }


def durations(act: Callable[[], object], seconds: float) -> list[float]:
    """Duration of each of many calls, in seconds."""
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        act()
        times.append(time.perf_counter() - start)
    return times


def make_key(data: Path) -> str:
    """An API key in a new store."""
    accounts = Accounts(Store(data / "review.db", previews_dir=data / "i", journal_mode="wal"))
    accounts.add_user("load", "load test password", UserRole.ADMIN, actor="load")
    new_key = accounts.add_key("load", [Permission.CLASSIFY], per_minute=10**6, actor="load")
    return new_key.key


def wait_until_ready(server: Server) -> None:
    """Wait until the model is loaded."""
    while httpx.get(f"{server.url}/readyz").status_code != 200:
        time.sleep(0.1)


def client_of(server: Server, key: str) -> httpx.Client:
    """A client with a connection of its own."""
    return httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {key}"}, timeout=60)


def classify(client: httpx.Client, image: bytes) -> float:
    """Classify an image; returns the seconds that it took."""
    start = time.perf_counter()
    response = client.post("/v1/image-classification", content=image)
    assert response.status_code == 200, response.text
    return time.perf_counter() - start


def one_caller(server: Server, key: str, files: NumberedFiles) -> dict[str, float]:
    """Requests one after the other."""
    with client_of(server, key) as client:
        classify(client, files.next())
        times = durations(lambda: classify(client, files.next()), SINGLE_SECONDS)
    return {f"p{share}_ms": percentile_ms(times, share) for share in (50, 95, 99)}


def many_callers(
    server: Server, key: str, files: NumberedFiles, callers: int, seconds: int
) -> dict[str, object]:
    """Concurrent requests, and the server's memory during them."""
    times: list[float] = []
    failures: list[str] = []
    end = time.perf_counter() + seconds

    def call() -> None:
        with client_of(server, key) as client:
            while time.perf_counter() < end:
                try:
                    times.append(classify(client, files.next()))
                except (AssertionError, httpx.HTTPError) as error:
                    failures.append(str(error))

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    memory = list(memory_samples(server, seconds))
    for thread in threads:
        thread.join()
    return {
        "callers": callers,
        "seconds": seconds,
        "images": len(times),
        "failures": len(failures),
        "images_per_s": round(len(times) / seconds, 1),
        **{f"p{share}_ms": percentile_ms(times, share) for share in (50, 95, 99)},
        "server_mb": memory,
    }


def memory_samples(server: Server, seconds: int) -> Iterator[int]:
    """The server's resident megabytes, at even intervals."""
    for _ in range(SAMPLES):
        time.sleep(seconds / SAMPLES)
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        kilobytes = next(int(line.split()[1]) for line in status.splitlines() if "VmRSS" in line)
        yield round(kilobytes / 1e3)


def percentile_ms(times: list[float], share: int) -> float:
    """A percentile of times in seconds, in milliseconds."""
    return round(1e3 * float(np.percentile(times, share)), 1)


if __name__ == "__main__":
    main()
