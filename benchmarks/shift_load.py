"""Load test of a shift: many reviewers work one queue while images are uploaded.

    python -m benchmarks.shift_load [--reviewers 50] [--uploads 20] [--seconds 600] [--open 100000]
        [--pace 4] [--settle 5] [--directory DIR]

`--reviewers` and `--uploads` take lists, `50,100,200`: the runs follow each other on one server,
which shows where the targets end. Prints one JSON object with, for each run, latencies in
milliseconds, refused requests, and the CPU time of server and clients in cores. Exits 1 if an entry
was leased twice, or if an acknowledged decision or undo is not in the log exactly once; never
because of a slow machine. The server is a process of its own on 127.0.0.1 with the embedded model;
uploads are JPEG files of 320 x 240 pixels, each different, all of which enter the queue.
"""

import argparse
import asyncio
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from benchmarks import store as store_benchmark
from benchmarks.files import numbered
from benchmarks.load import NumberedFiles
from benchmarks.processes import cpu_seconds
from benchmarks.reviewer_client import ReviewerClient, Shift
from nsfw_app import system
from nsfw_app.accounts import Accounts
from nsfw_app.imaging.previews import PREVIEW_SIDE
from nsfw_app.rules.permissions import Permission, UserRole
from tests.support.server import Server, serving

PASSWORD = "a password for one run"  # of a server that ends with the run
KEYS = 4  # API keys that upload; one may use a quarter of the slots
TARGETS_MS = {"claim": 50, "decision": 50, "page": 300}  # 95th percentiles
LINKS = 50_000  # hard links to one preview; ext4 allows 65,000
DECIDED_SHARE = 0.5  # of the open entries wait for a second decision


@dataclass(frozen=True, slots=True)
class Load:
    """One run: reviewers, seconds for an image, uploads a second, and its duration."""

    reviewers: int
    pace_s: float
    uploads_per_s: float
    seconds: float


def main() -> int:
    """Build the queue, run each load, check the log, print; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shift_load", description=__doc__)
    parser.add_argument("--reviewers", type=_numbers, default=[50])
    parser.add_argument("--uploads", type=_numbers, default=[20], help="a second")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--open", type=int, default=100_000, help="open entries of the queue")
    parser.add_argument("--pace", type=float, default=4.0, help="seconds of a reviewer an image")
    parser.add_argument("--settle", type=float, default=5.0, help="seconds before each run")
    parser.add_argument("--directory", type=Path, help="keep the server's data here")
    chosen = parser.parse_args()
    loads = [
        Load(reviewers, chosen.pace, uploads, chosen.seconds)
        for reviewers in chosen.reviewers
        for uploads in chosen.uploads
    ]
    with nullcontext(chosen.directory) if chosen.directory else tempfile.TemporaryDirectory() as at:
        found = run(Path(at), loads, open_entries=chosen.open, settle_s=chosen.settle)
    print(json.dumps(found, indent=2))
    return 0 if found["sound"] else 1


def run(
    directory: Path, loads: Sequence[Load], *, open_entries: int, settle_s: float
) -> dict[str, Any]:
    """Run each load on one new server; the object that is printed."""
    data = directory / "data"
    fill_queue(data, open_entries)
    keys = add_accounts(data, max(load.reviewers for load in loads))
    runs, shifts = [], []
    # Every upload is in the review band; the sign-ins come from as many addresses.
    with serving(
        directory,
        NSFW_REVIEW_FROM="0",
        NSFW_REVIEW_TO="1",
        FORWARDED_ALLOW_IPS="127.0.0.1",
        NSFW_LOG="json",
        NSFW_BACKEND="auto",
    ) as server:
        wait_until_ready(server)
        for load in loads:
            time.sleep(settle_s)
            measured, shift = measure(server, load, keys)
            runs.append(measured)
            shifts.append(shift)
            _say(json.dumps(measured))
    checked = check_log(data / "review.db", shifts)
    cpu = system.cpu()
    return {
        "machine": {"cpu": cpu.name, "cpus": cpu.usable, "system": platform.platform()},
        "open_entries": open_entries,
        "targets_p95_ms": TARGETS_MS,
        "runs": runs,
        "log": checked,
        "sound": not any(checked[name] for name in ("lost", "doubled", "undos_lost"))
        and not any(one["leased_twice"] for one in runs),
    }


def fill_queue(data: Path, open_entries: int) -> None:
    """A store with a queue of this length, half of which waits for a second decision."""
    data.mkdir(parents=True, exist_ok=True)
    decisions = round(DECIDED_SHARE * open_entries)
    store_benchmark.build(data, decisions=decisions, open_entries=open_entries)
    store_benchmark.opened(data)  # upgrades it
    with closing(sqlite3.connect(data / "review.db")) as db, db:
        db.execute("update uploads set uploaded_at = strftime('%Y-%m-%dT%H:%M:%fZ')")
        images = [row[0] for row in db.execute("select sha256 from images")]
    link_previews(data / "images", images)


def link_previews(directory: Path, images: Sequence[str]) -> None:
    """A preview file for each image: links to a few files of the usual size."""
    from nsfw_app.imaging import previews

    base = NumberedFiles().image.resize((PREVIEW_SIDE, PREVIEW_SIDE * 3 // 4))
    jpeg = previews.preview(base)
    for number, image in enumerate(images):
        if number % LINKS == 0:
            source = directory.parent / f"preview-{number}.jpg"
            source.write_bytes(jpeg)
        target = directory / image[:2] / f"{image}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(source)


def add_accounts(data: Path, reviewers: int) -> list[str]:
    """Accounts of reviewers with one password; the API keys of uploaders."""
    accounts = Accounts(store_benchmark.opened(data))
    hashed = accounts._hash(PASSWORD)  # once: hashing takes long on purpose
    for number in range(reviewers):
        accounts._users.add_user(_name(number), hashed, UserRole.REVIEWER, actor="benchmark")
    scopes = [Permission.CLASSIFY, Permission.QUEUE]
    return [
        accounts.add_key(f"uploader-{number}", scopes, per_minute=10**6, actor="benchmark").key
        for number in range(KEYS)
    ]


def wait_until_ready(server: Server) -> None:
    """Wait until the model is loaded."""
    asyncio.run(_until_ready(server.url))


def measure(server: Server, load: Load, keys: Sequence[str]) -> tuple[dict[str, Any], Shift]:
    """Run one load; its numbers and what the reviewers found."""
    shift = Shift()
    server_before, own_before = cpu_seconds(server.process.pid), time.process_time()
    started = time.perf_counter()
    lag = asyncio.run(_work(server.url, load, keys, shift))
    seconds = time.perf_counter() - started
    own = (time.process_time() - own_before) / seconds
    used = (cpu_seconds(server.process.pid) - server_before) / seconds
    return {
        "reviewers": load.reviewers,
        "seconds_an_image": load.pace_s,
        "uploads_a_second": load.uploads_per_s,
        "seconds": round(seconds, 1),
        "decisions": len(shift.decided),
        "decisions_a_second": round(len(shift.decided) / load.seconds, 2),
        "undone": len(shift.undone),
        "leases": shift.claimed,
        "leased_twice": len(shift.doubled),
        "uploaded": len(shift.seconds["upload"]),
        "ms": {what: percentiles(times) for what, times in sorted(shift.seconds.items())},
        "within_targets": all(
            percentiles(shift.seconds[what])["p95"] <= limit
            for what, limit in TARGETS_MS.items()
            if shift.seconds[what]
        ),
        "refused": dict(shift.refusals),
        "server_cores": round(used, 2),
        "client_cores": round(own, 2),
        "client_lag_ms": percentiles(lag),
        "load_average": round(os.getloadavg()[0], 2),
    }, shift


def percentiles(times: Sequence[float]) -> dict[str, float]:
    """Count, percentiles and maximum of times in seconds, in milliseconds."""
    if not times:
        return {"count": 0}
    found = np.percentile(times, (50, 95, 99, 100)) * 1_000
    names = ("p50", "p95", "p99", "max")
    return {
        "count": len(times),
        **{n: round(float(ms), 1) for n, ms in zip(names, found, strict=True)},
    }


def check_log(database: Path, shifts: Sequence[Shift]) -> dict[str, int]:
    """Compare the acknowledged decisions and undos with the log of a stopped server."""
    with closing(sqlite3.connect(database)) as db:
        rows = Counter(nonce for (nonce,) in db.execute("select nonce from decisions"))
        ids = dict(db.execute("select nonce, id from decisions"))
        undone = {row[0] for row in db.execute("select undoes from decisions where undoes > 0")}
    acknowledged = {nonce: number for shift in shifts for nonce, number in shift.decided.items()}
    undos = set().union(*(shift.undone for shift in shifts))
    return {
        "acknowledged": len(acknowledged),
        "lost": sum(ids.get(nonce) != number for nonce, number in acknowledged.items()),
        "doubled": sum(rows[nonce] > 1 for nonce in acknowledged),
        "undos": len(undos),
        "undos_lost": len(undos - undone),
        "without_response": sum(len(shift.unacknowledged) for shift in shifts),
    }


async def _work(url: str, load: Load, keys: Sequence[str], shift: Shift) -> list[float]:
    """All reviewers and uploads at once; how late the clients' event loop was, in seconds."""
    lag: list[float] = []
    watch = asyncio.create_task(_watch_lag(lag))
    clients = [
        ReviewerClient(
            url,
            _name(number),
            PASSWORD,
            address=f"10.0.{number // 250}.{number % 250 + 1}",
            pace_s=load.pace_s,
            shift=shift,
        )
        for number in range(load.reviewers)
    ]
    signed_in = asyncio.Barrier(load.reviewers + 1)

    async def upload() -> None:
        await signed_in.wait()
        for what in {*shift.seconds} - {"sign_in"}:
            del shift.seconds[what]  # of the preparation
        await _upload(url, load, keys, shift)

    await asyncio.gather(*(one.run(load.seconds, signed_in) for one in clients), upload())
    watch.cancel()
    return lag


async def _upload(url: str, load: Load, keys: Sequence[str], shift: Shift) -> None:
    """Upload at a steady rate, whether earlier uploads have a response or not."""
    if not load.uploads_per_s:
        return
    files = NumberedFiles()
    salt = time.time_ns()
    pending: set[asyncio.Task[None]] = set()
    async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=60)) as session:

        async def send(number: int) -> None:
            form = aiohttp.FormData()
            image = numbered(files.next(), salt)  # other bytes than in another run
            form.add_field("file", image, filename=f"{salt}-{number}.jpg")
            headers = {"authorization": f"Bearer {keys[number % len(keys)]}"}
            started = time.perf_counter()
            try:
                async with session.post("/v1/images?queue=true", data=form, headers=headers) as got:
                    body = await got.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                shift.refusals[f"upload: {type(error).__name__}"] += 1
                return
            shift.seconds["upload"].append(time.perf_counter() - started)
            if got.status != 200 or json.loads(body)["images"][0]["error"]:
                shift.refusals[f"upload: {got.status}"] += 1

        start, number = time.perf_counter(), 0
        while (now := time.perf_counter() - start) < load.seconds:
            if number < now * load.uploads_per_s:
                task = asyncio.create_task(send(number))
                pending.add(task)
                task.add_done_callback(pending.discard)
                number += 1
            else:
                await asyncio.sleep(max(0.0, number / load.uploads_per_s - now))
        await asyncio.gather(*pending)


async def _watch_lag(lag: list[float]) -> None:
    while True:
        started = time.perf_counter()
        await asyncio.sleep(0.05)
        lag.append(time.perf_counter() - started - 0.05)


async def _until_ready(url: str) -> None:
    async with aiohttp.ClientSession(url) as session:
        while True:
            async with session.get("/readyz") as response:
                if response.status == 200:
                    return
            await asyncio.sleep(0.1)


def _name(number: int) -> str:
    return f"shift-{number:03}"


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
