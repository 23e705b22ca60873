"""Sixteen callers for five minutes: what the API does beside the bare model, and what it keeps.

    python -m benchmarks.load [--seconds 300] [--callers 16] [--model MODEL]

Not a test: nothing fails for a slow machine. It measures the bare network in a loop, the batcher
with one caller and with many, and then the API of a server of its own on 127.0.0.1, each image
another: p50, p95 and p99 in milliseconds, images per second, their ratio, and the server's memory
along the way. `vit-base` is a ViT of Falconsai's size with weights of chance. It ends by itself.
"""

import argparse
import io
import json
import statistics
import subprocess
import sys
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
from nsfw_app.accounts import Accounts
from nsfw_app.models.loader import load_classifier
from nsfw_app.rules.permissions import Permission, UserRole
from nsfw_app.settings import load
from nsfw_app.store import Store
from tests.support.server import Server, serving

SIZE = (320, 240)
BARE_SECONDS = 15
ALONE_SECONDS = 15  # of the lone caller
SAMPLES = 10
RANDOM_VIT = "vit-base"


def main() -> None:
    """Measure, and print the numbers as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--model", default="open-nsfw")
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.in_process:
        print(json.dumps(in_process(chosen.model, chosen.callers)))
        return
    pictures = PreviewFiles()
    with tempfile.TemporaryDirectory() as folder:
        model = chosen.model
        if model == RANDOM_VIT:
            model = str(Path(folder) / "vit")
            save_random_vit(model)
        bare = in_a_process_of_its_own(model, chosen.callers)
        key = make_key(Path(folder) / "data")
        settings = {
            "NSFW_MAX_WAITING": str(4 * chosen.callers),
            "NSFW_MODEL": model,
            "NSFW_BACKEND": "torch",  # as in the loop that it is compared with
        }
        with serving(Path(folder), **settings) as server:
            wait_until_ready(server)
            alone = one_caller(server, key, pictures)
            crowd = many_callers(server, key, pictures, chosen.callers, chosen.seconds)
    crowd["share_of_the_bare_model"] = round(crowd["images_per_s"] / bare["images_per_s"], 3)
    print(json.dumps({"model": chosen.model, **bare, "alone": alone, "crowd": crowd}, indent=2))


class PreviewFiles:
    """JPEGs that are all different, each the same photograph with another grain of noise."""

    def __init__(self) -> None:
        grain = np.random.default_rng(0).normal(0, 20, (SIZE[1], SIZE[0], 3))
        slope = np.linspace(40, 200, SIZE[0])[None, :, None]
        base = Image.fromarray((slope + grain).clip(0, 255).astype(np.uint8))
        buffer = io.BytesIO()
        base.save(buffer, "JPEG", quality=85)
        self._jpeg = buffer.getvalue()
        self._numbers = count()

    def next(self) -> bytes:
        """The photograph with a comment of its own: other bytes, the same work."""
        return numbered(self._jpeg, next(self._numbers))

    @property
    def image(self) -> Image.Image:
        """The photograph, decoded."""
        return Image.open(io.BytesIO(self._jpeg)).convert("RGB")


def in_a_process_of_its_own(model: str, callers: int) -> dict[str, float]:
    """The model's numbers without a server beside it."""
    command = [sys.executable, __file__, "--in-process", f"--model={model}"]
    done = subprocess.run(
        [*command, f"--callers={callers}"], capture_output=True, text=True, check=True
    )
    numbers: dict[str, float] = json.loads(done.stdout)
    return numbers


def in_process(model: str, callers: int) -> dict[str, float]:
    """The bare network in a loop, then the same through the batcher, by one caller and by many."""
    batcher = load_classifier(
        model, revision="main", unsafe_labels=(), threads=load().threads, max_waiting=4 * callers
    ).classifier
    image, network = PreviewFiles().image, batcher._network

    def bare() -> None:
        network.score(network.prepare(image)[None])

    def through_the_batcher() -> None:
        batcher.predict([image])

    for act in (bare, through_the_batcher):
        act()
    alone = timed(bare, BARE_SECONDS)
    batched = timed(through_the_batcher, BARE_SECONDS)
    done: list[float] = []

    def call() -> None:
        done.extend(timed(through_the_batcher, BARE_SECONDS))

    threads = [threading.Thread(target=call) for _ in range(callers)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = len(done) / (time.perf_counter() - begun)
    return {
        "p50_ms": ms(alone, 50),
        "images_per_s": round(1 / statistics.mean(alone), 1),
        "batcher_p50_ms": ms(batched, 50),
        "batcher_crowd_images_per_s": round(rate, 1),
    }


def timed(act: Callable[[], object], seconds: float) -> list[float]:
    """How long each of many calls took, in seconds."""
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        act()
        times.append(time.perf_counter() - begun)
    return times


def make_key(data: Path) -> str:
    """An API key in a new store."""
    accounts = Accounts(Store(data / "review.db", previews_dir=data / "i", journal_mode="wal"))
    accounts.add_user("load", "load test password", UserRole.ADMIN, actor="load")
    made = accounts.add_key("load", [Permission.CLASSIFY], per_minute=10**6, actor="load")
    return made.key


def wait_until_ready(server: Server) -> None:
    """Until the model is loaded."""
    while httpx.get(f"{server.url}/readyz").status_code != 200:
        time.sleep(0.1)


def client_of(server: Server, key: str) -> httpx.Client:
    """A caller with a connection of its own."""
    return httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {key}"}, timeout=60)


def ask(client: httpx.Client, image: bytes) -> float:
    """Have one image classified; the seconds that took."""
    begun = time.perf_counter()
    response = client.post("/v1/image-classification", content=image)
    assert response.status_code == 200, response.text
    return time.perf_counter() - begun


def one_caller(server: Server, key: str, pictures: PreviewFiles) -> dict[str, float]:
    """Requests one after the other."""
    with client_of(server, key) as client:
        ask(client, pictures.next())
        times = timed(lambda: ask(client, pictures.next()), ALONE_SECONDS)
    return {f"p{share}_ms": ms(times, share) for share in (50, 95, 99)}


def many_callers(
    server: Server, key: str, pictures: PreviewFiles, callers: int, seconds: int
) -> dict[str, object]:
    """Requests from many at once, and the server's memory meanwhile."""
    times: list[float] = []
    failures: list[str] = []
    end = time.perf_counter() + seconds

    def call() -> None:
        with client_of(server, key) as client:
            while time.perf_counter() < end:
                try:
                    times.append(ask(client, pictures.next()))
                except (AssertionError, httpx.HTTPError) as error:
                    failures.append(str(error))

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    memory = list(sampled(server, seconds))
    for thread in threads:
        thread.join()
    return {
        "callers": callers,
        "seconds": seconds,
        "images": len(times),
        "failures": len(failures),
        "images_per_s": round(len(times) / seconds, 1),
        **{f"p{share}_ms": ms(times, share) for share in (50, 95, 99)},
        "server_mb": memory,
    }


def sampled(server: Server, seconds: int) -> Iterator[int]:
    """The server's resident megabytes, at even intervals."""
    for _ in range(SAMPLES):
        time.sleep(seconds / SAMPLES)
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        kilobytes = next(int(line.split()[1]) for line in status.splitlines() if "VmRSS" in line)
        yield round(kilobytes / 1e3)


def ms(times: list[float], share: int) -> float:
    """A percentile, in milliseconds."""
    return round(1e3 * float(np.percentile(times, share)), 1)


if __name__ == "__main__":
    main()
