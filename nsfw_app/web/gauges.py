"""Gauges that are read at each scrape: queue, webhooks, storage.

- A gauge that cannot be read is omitted.
- Each is read by an index or from the file system, so that a scrape takes milliseconds however many
  entries are open.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from nsfw_app.errors import StorageError
from nsfw_app.review.engine import Engine
from nsfw_app.sync_status import SyncStatus

if TYPE_CHECKING:
    from nsfw_app.hub_sync.schedule import HubSync  # imports pyarrow


class Gauges(Collector):
    """Gauges of one engine.

    Args:
        engine: What is measured.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        parts: tuple[Callable[[], Iterable[Metric]], ...] = (
            self._queue,
            self._model,
            self._webhooks,
            self._database,
            self._write_ahead_log,
            self._previews,
            self._disk,
        )
        for part in parts:
            with suppress(StorageError):  # reported by /readyz
                yield from part()

    def _queue(self) -> Iterator[Metric]:
        queue = self._engine.queue
        yield _gauge("nsfw_queue_images", "Open queue entries.", queue.open_entries())
        ages = {str(reason): _age_s(moment) for reason, moment in queue.oldest_entries().items()}
        yield _gauges(
            "nsfw_queue_oldest_seconds",
            "Age of the oldest open queue entry, by the reason for which it waits.",
            "reason",
            ages,
        )

    def _model(self) -> Iterator[Metric]:
        waiting = self._engine.waiting
        yield _gauge("nsfw_model_waiting", "Images that wait for the model.", waiting)
        if (detail := self._engine.detail) is not None:
            classifier = detail.status.classifier
            yield _gauge(
                "nsfw_detail_ready", "Whether the detail model is loaded.", classifier is not None
            )
            yield _gauge(
                "nsfw_detail_waiting",
                "Images that wait for the detail model.",
                classifier.waiting if classifier else 0,
            )

    def _webhooks(self) -> Iterator[Metric]:
        backlog = self._engine.submissions.backlog()
        yield _gauge(
            "nsfw_webhook_pending", "Webhook messages that are not delivered yet.", backlog.pending
        )
        oldest_s = _age_s(backlog.oldest_at) if backlog.oldest_at else 0.0
        yield _gauge(
            "nsfw_webhook_oldest_seconds",
            "Age of the oldest webhook message that is not delivered yet; 0 without any.",
            oldest_s,
        )
        yield _gauge(
            "nsfw_webhook_dead_letters", "Webhook messages that were given up.", backlog.given_up
        )

    def _database(self) -> Iterator[Metric]:
        size = self._engine.usage.database_bytes()
        yield _gauge("nsfw_database_bytes", "Size of the database file.", size)

    def _write_ahead_log(self) -> Iterator[Metric]:
        size = self._engine.usage.log_bytes()
        yield _gauge("nsfw_database_wal_bytes", "Size of the write-ahead log.", size)

    def _previews(self) -> Iterator[Metric]:
        if count := self._engine.usage.previews():
            yield _gauge("nsfw_previews", "Preview files, counted once a minute.", count.files)
            yield _gauge(
                "nsfw_previews_bytes", "Size of all preview files together.", count.size_bytes
            )

    def _disk(self) -> Iterator[Metric]:
        free = self._engine.usage.free_bytes()
        yield _gauge("nsfw_disk_free_bytes", "Free space of the disk with the database.", free)


class SnapshotGauges(Collector):
    """When the last snapshot was written, and whether the last attempt failed.

    Args:
        status: The state of snapshots.
    """

    def __init__(self, status: Callable[[], SyncStatus]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        status = self._status()
        if status.last_success_at is not None:
            yield _gauge(
                "nsfw_snapshot_seconds_since_success",
                "Seconds since the last snapshot was written.",
                _age_s(status.last_success_at.isoformat()),
            )
        yield _gauge(
            "nsfw_snapshot_failing",
            "Whether the last attempt to write a snapshot failed.",
            status.error is not None,
        )


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value)


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _age_s(moment: str) -> float:
    """Seconds since a stored time; 0 where the clock was set back."""
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())


class HubSyncGauges(Collector):
    """When changes were last saved in the dataset repository, read at each scrape."""

    def __init__(self, hub_sync: "HubSync") -> None:
        self._hub_sync = hub_sync

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        status = self._hub_sync.status
        since = status.last_success_at or self._hub_sync.started_at
        yield GaugeMetricFamily(
            "nsfw_hub_sync_seconds_since_success",
            "Seconds since everything was saved in the dataset repository, or since the start.",
            (datetime.now(UTC) - since).total_seconds(),
        )
        yield GaugeMetricFamily(
            "nsfw_hub_sync_pending", "Rows that are not saved there yet.", status.pending
        )
        yield CounterMetricFamily(
            "nsfw_hub_sync_failures", "Failed attempts to save there.", self._hub_sync.failures
        )
        yield CounterMetricFamily(
            "nsfw_hub_sync_maintenance_failures",
            "Failed attempts to roll up files there.",
            self._hub_sync.maintenance.failures,
        )
