"""Metrics that are read at each scrape, metrics of batches, and the table of all metrics."""

import os
import re
import shutil
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from nsfw_app.accounts import Accounts
from nsfw_app.errors import StorageError, StorageErrorKind
from nsfw_app.hub_sync.schedule import HubSync
from nsfw_app.models.classifier import Pixels
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.models.scheduler import DynamicBatcher
from nsfw_app.records import Retain, Upload
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.permissions import Permission
from nsfw_app.store import Store
from nsfw_app.sync_status import SyncStatus
from nsfw_app.web.gauges import Gauges, HubSyncGauges
from nsfw_app.web.monitoring import Monitor, batch_range
from tests.support.detail import FakeDetail, detail_engine
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes
from tests.support.sample_records import add_image

DOCS = Path(__file__).parents[2] / "docs"
WAITING = 150  # the red of an image in the review band


class Reported:
    """A state of saving, as `HubSync` reports it."""

    status = SyncStatus("org/name", datetime.now(UTC), None, 0)
    failures = 0
    maintenance = SimpleNamespace(failures=0)
    started_at = datetime.now(UTC)


@pytest.fixture
def monitor(engine: Engine) -> Monitor:
    """The metrics of the engine."""
    return Monitor(engine)


def scraped(monitor: Monitor) -> dict[tuple[str, ...], float]:
    """All samples by name and label values."""
    text = generate_latest(monitor.registry).decode()
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped_with_previews(monitor: Monitor) -> dict[tuple[str, ...], float]:
    """All samples, once the previews have been counted in the background."""
    for _ in range(1_000):
        if ("nsfw_previews",) in (samples := scraped(monitor)):
            return samples
        time.sleep(0.01)
    raise AssertionError("The previews were not counted.")


def upload(engine: Engine, red: int = WAITING) -> str:
    """Classify an image that enters the queue; its hash."""
    review = engine.review(image_bytes(red), Upload("a.png", "gallery", "ann", retain=Retain.QUEUE))
    return review.sha256 or ""


def test_every_metric_is_documented(store: Store) -> None:
    """The table in docs/monitoring.md has each metric of a server with both models, no other."""
    engine = detail_engine(store, FakeDetail())
    monitor = Monitor(engine, snapshot_status=lambda: Reported.status)
    table = (DOCS / "monitoring.md").read_text().partition("## Metrics")[2]
    documented = re.findall(r"^\| `(nsfw_\w+)` \|", table, re.MULTILINE)
    upload(engine)
    scraped_with_previews(monitor)
    monitor.registry.register(HubSyncGauges(cast(HubSync, Reported())))
    text = generate_latest(monitor.registry).decode()
    found = re.findall(r"^# TYPE (nsfw_\w+) \w+$", text, re.MULTILINE)
    found = [name for name in found if not name.endswith("_created")]
    assert sorted(documented) == sorted(found)


def test_snapshots_are_measured(engine: Engine) -> None:
    """Before the first one there is no time; a failure keeps that of the last success."""
    status = SyncStatus("/mnt", None, None, 0)
    monitor = Monitor(engine, snapshot_status=lambda: status)
    samples = scraped(monitor)
    assert ("nsfw_snapshot_seconds_since_success",) not in samples
    assert samples["nsfw_snapshot_failing",] == 0
    status = SyncStatus("/mnt", datetime.now(UTC) - timedelta(hours=1), "The disk is full.", 0)
    samples = scraped(monitor)
    assert samples["nsfw_snapshot_seconds_since_success",] == pytest.approx(3_600, abs=60)
    assert samples["nsfw_snapshot_failing",] == 1


def test_storage_is_measured(
    engine: Engine, monitor: Monitor, store: Store, tmp_path: Path
) -> None:
    """Database, write-ahead log, previews and free disk, in bytes; previews as a number, too."""
    image = upload(engine)
    samples = scraped_with_previews(monitor)
    assert samples["nsfw_database_bytes",] == (tmp_path / "review.db").stat().st_size
    assert samples["nsfw_database_wal_bytes",] > 0
    assert samples["nsfw_previews",] == 1
    assert samples["nsfw_previews_bytes",] == len(store.previews.get(image))
    free = shutil.disk_usage(tmp_path).free
    assert samples["nsfw_disk_free_bytes",] == pytest.approx(free, rel=0.2)


def test_previews_are_counted_again_where_they_changed(engine: Engine, store: Store) -> None:
    """Added and deleted files are in the next count."""
    images = [upload(engine, red) for red in range(100, 110)]
    assert store.usage.count_previews().files == len(images)
    store.previews.remove(images[0])
    assert store.usage.count_previews().files == len(images) - 1
    assert store.usage.count_previews().size_bytes == sum(
        len(store.previews.get(image)) for image in images[1:]
    )


def test_a_directory_that_did_not_change_is_not_read_again(engine: Engine, store: Store) -> None:
    """Its count is kept, once its last change is too old for another one at the same time."""
    path = store.previews._path(upload(engine))
    os.utime(path.parent, (1, 1))
    assert store.usage.count_previews().files == 1
    path.unlink()
    os.utime(path.parent, (1, 1))  # as if nothing had changed
    assert store.usage.count_previews().files == 1
    os.utime(path.parent, (2, 2))
    assert store.usage.count_previews().files == 0


def test_the_age_of_the_oldest_entry_is_measured_by_reason(
    engine: Engine, monitor: Monitor, store: Store
) -> None:
    """Open entries only."""
    upload(engine, WAITING)
    upload(engine, WAITING + 1)
    with store._connections.writing() as db:
        db.execute(
            "update queue set entered_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 hour') "
            "where id = (select min(id) from queue)"
        )
    key = "nsfw_queue_oldest_seconds", "review"
    assert scraped(monitor)[key] == pytest.approx(3_600, abs=60)
    with store._connections.writing() as db:
        db.execute("update queue set settled_at = '2026-01-01' where id = 1")
    assert 0 <= scraped(monitor)[key] < 60


def test_the_backlog_of_webhooks_is_measured(monitor: Monitor, store: Store) -> None:
    """Pending messages, the age of the oldest, and those that were given up."""
    assert scraped(monitor)["nsfw_webhook_oldest_seconds",] == 0
    Accounts(store).add_key(
        "bot", [Permission.QUEUE], per_minute=9, actor="t", webhook_url="http://127.0.0.1/"
    )
    add_image(store)
    with store._connections.writing() as db:
        db.execute(
            "insert into submissions (id, prediction_id, owner, name, key_name, submitted_at) "
            "values ('s', 1, 'x', 'x', 'bot', '2026')"
        )
        for number, given_up_at in enumerate((None, None, "2026-01-01")):
            db.execute(
                "insert into deliveries (id, submission_id, created_at, next_at, given_up_at) "
                "values (?, 's', strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-2 hours'), '2026', ?)",
                (str(number), given_up_at),
            )
    samples = scraped(monitor)
    assert samples["nsfw_webhook_pending",] == 2
    assert samples["nsfw_webhook_dead_letters",] == 1
    assert samples["nsfw_webhook_oldest_seconds",] == pytest.approx(7_200, abs=60)


def test_a_gauge_that_cannot_be_read_is_absent(
    engine: Engine, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are there."""

    def fail(_: object) -> int:
        raise StorageError(StorageErrorKind.MISSING)

    monkeypatch.setattr(type(engine.usage), "database_bytes", fail)
    samples = scraped(monitor)
    assert ("nsfw_database_bytes",) not in samples
    assert ("nsfw_disk_free_bytes",) in samples
    assert ("nsfw_queue_images",) in samples


def test_a_scrape_reads_by_index_only(engine: Engine, store: Store) -> None:
    """Its time does not grow with the queue, nor with the messages that were delivered."""
    connections = store._connections
    statements: list[str] = []
    connections.db.conn.set_trace_callback(statements.append)
    try:
        list(Gauges(engine).collect())
    finally:
        connections.db.conn.set_trace_callback(None)
    selects = [sql for sql in statements if sql.lstrip().startswith("select")]
    assert len(selects) >= 3
    for sql in selects:
        plan = [row["detail"] for row in connections.db.execute(f"explain query plan {sql}")]
        reads = [line for line in plan if line.startswith(("SCAN", "SEARCH"))]
        # `queue_counts`, alias g, has a row for each group of entries; of q one row is read.
        small = [line for line in reads if line.split()[1] in {"queue_counts", "g"}]
        small += [line for line in reads if line.startswith("SEARCH q USING INDEX")]
        assert all("COVERING INDEX" in line for line in reads if line not in small), plan


def test_batches_of_the_model_are_timed(store: Store) -> None:
    """By their number of images, also where the model was loaded after the metrics were made."""
    batcher = DynamicBatcher(RedBackend(), max_waiting=9)
    may_load = threading.Event()

    def load() -> Loaded:
        assert may_load.wait(10)
        return Loaded(batcher)

    loader = ModelLoader("fake", load)
    loader.start()
    engine = Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))
    monitor = Monitor(engine)
    may_load.set()
    loader.wait()
    pixels = [np.zeros(1, dtype=np.float32)]
    for images in (1, 1, 5):
        batcher.predict_prepared(pixels * images)
    samples = scraped(monitor)
    assert samples["nsfw_model_batch_seconds_count", "1"] == 2
    assert samples["nsfw_model_batch_seconds_count", "5-8"] == 1
    assert samples["nsfw_model_batch_seconds_sum", "5-8"] >= 0


@pytest.mark.parametrize(
    ("images", "label"), [(1, "1"), (2, "2"), (3, "3-4"), (4, "3-4"), (8, "5-8"), (9, "9-16")]
)
def test_batches_are_counted_by_range(images: int, label: str) -> None:
    """A few labels, however large batches are."""
    assert batch_range(images) == label


class RedBackend:
    """A backend that calls every image unsafe."""

    identity = FakeClassifier.identity
    roles = FakeClassifier.roles
    max_concurrency = 1
    supports_batching = True
    downscale_rules = FakeClassifier.downscale_rules

    def prepare(self, image: Image.Image) -> Pixels:
        """Nothing of the image counts."""
        return np.zeros(1, dtype=np.float32)

    def score(self, batch: Pixels) -> NDArray[np.float64]:
        """Zero and one for each image."""
        return np.tile([0.0, 1.0], (len(batch), 1))
