"""Decisions during a purge of many previews: `python -m benchmarks.purge`.

    python -m benchmarks.purge [--previews 100000] [--kilobytes 8] [--rate 50] [--directory DIR]

Prints one JSON object: durations of decisions in milliseconds, alone and while a thread of the same
process deletes the previews, as the server's daily purge does; those of a bare write of as many
bytes with `fdatasync` before each of them; and the purge's own duration. A decision waits for the
disk, and cannot be faster than the bare write.
"""

import argparse
import json
import os
import sqlite3
import tempfile
import threading
import time
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from benchmarks import store as store_benchmark
from benchmarks.shift_load import percentiles
from nsfw_app.decision import NewDecision
from nsfw_app.records import Label
from nsfw_app.rules.permissions import PERMISSIONS, Caller, UserRole
from nsfw_app.store import Store

REVIEWER = Caller("reviewer", "local", PERMISSIONS[UserRole.ADMIN])
ALONE_S = 10.0  # of decisions without a purge
OPEN = 20_000  # entries that wait for a decision
LONGEST_S = 1_200.0
# Of 100 decided images, so many agree with the model, so that their previews are not kept.
AGREED_SHARE = 0.9
DECISIONS_AN_IMAGE = 1.35
AGE = "-3 days"  # of uploads and decisions: past every grace period


def main() -> None:
    """Build, measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.purge", description=__doc__)
    parser.add_argument("--previews", type=int, default=100_000, help="that the purge deletes")
    parser.add_argument("--kilobytes", type=int, default=8, help="size of a preview")
    parser.add_argument("--rate", type=float, default=50, help="decisions a second")
    parser.add_argument("--directory", type=Path, help="keep the data here")
    chosen = parser.parse_args()
    with nullcontext(chosen.directory) if chosen.directory else tempfile.TemporaryDirectory() as at:
        directory = Path(at)
        build(directory, chosen.previews, chosen.kilobytes * 1_000)
        print(json.dumps(measure(directory, chosen.rate), indent=2))


def build(directory: Path, previews: int, size_bytes: int) -> None:
    """A store with this many previews to delete, and others of images that wait."""
    directory.mkdir(parents=True, exist_ok=True)
    decisions = round(previews / AGREED_SHARE * DECISIONS_AN_IMAGE) + OPEN // 2
    store_benchmark.build(directory, decisions=decisions, open_entries=OPEN)
    store_benchmark.opened(directory)
    with closing(sqlite3.connect(directory / "review.db")) as db, db:
        moment = f"strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '{AGE}')"
        db.execute(f"update uploads set uploaded_at = {moment}")  # a constant
        images = [row[0] for row in db.execute("select sha256 from images")]
    jpeg = os.urandom(size_bytes)
    for image in images:
        path = directory / "images" / image[:2] / f"{image}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(jpeg)


def measure(directory: Path, rate: float) -> dict[str, Any]:
    """Decide at a steady rate, alone and during a purge."""
    store = store_benchmark.opened(directory)
    decisions = Decisions(store, directory, rate)
    alone = decisions.made(until=time.monotonic() + ALONE_S)
    purge = Purge(store)
    purge.start()
    during = decisions.made(until=time.monotonic() + LONGEST_S, while_alive=purge)
    purge.join()
    left = sum(1 for _ in store.previews.all())
    return {
        "decisions_alone_ms": alone,
        "decisions_during_the_purge_ms": during,
        "previews_deleted": purge.deleted,
        "previews_left": left,
        "purge_s": round(purge.seconds, 1),
        "previews_a_second": round(purge.deleted / purge.seconds),
    }


class Purge(threading.Thread):
    """The purge, in a thread of this process."""

    def __init__(self, store: Store) -> None:
        super().__init__(name="purge", daemon=True)
        self._store = store
        self.deleted, self.seconds = 0, 0.0

    def run(self) -> None:
        """Delete the previews; see `Engine.tidy_up`."""
        started = time.monotonic()
        self.deleted = self._store.purges.run(actor="benchmark")
        self.seconds = time.monotonic() - started


class Decisions:
    """Decisions about images that wait, at a steady rate.

    Args:
        store: The store.
        directory: Where the bare writes go.
        rate: Decisions a second.
    """

    def __init__(self, store: Store, directory: Path, rate: float) -> None:
        self._store, self._pause_s = store, 1 / rate
        self._content = os.urandom(store_benchmark.DECISION_BYTES)
        self._bare = (directory / "bare").open("wb", buffering=0)
        with closing(sqlite3.connect(directory / "review.db")) as db:
            self._images = db.execute(
                "select p.image_sha256, p.nsfw_score >= 0.5, p.model, p.revision, p.backend "
                "from queue q join predictions p on p.id = q.prediction_id "
                "where q.settled_at is null"
            ).fetchall()

    def made(
        self, *, until: float, while_alive: threading.Thread | None = None
    ) -> dict[str, dict[str, float]]:
        """Decide until a time, or while a thread is alive; times of decisions and bare writes."""
        times, bare_times = [], []
        while time.monotonic() < until and (while_alive is None or while_alive.is_alive()):
            image, flagged, model, revision, backend = self._images.pop()
            self._store.views.add(image, REVIEWER.name)
            label = Label.NSFW if flagged else Label.NORMAL
            nonce = f"purge-{time.time_ns()}"
            made = NewDecision(nonce, image, label, 0.5, model, revision, backend)
            start = time.perf_counter()
            self._bare.write(self._content)
            os.fdatasync(self._bare.fileno())
            between = time.perf_counter()
            self._store.log.add(made, REVIEWER)
            end = time.perf_counter()
            bare_times.append(between - start)
            times.append(end - between)
            time.sleep(max(0.0, self._pause_s - (end - start)))
        return {"decision": percentiles(times), "bare_write": percentiles(bare_times)}


if __name__ == "__main__":
    main()
