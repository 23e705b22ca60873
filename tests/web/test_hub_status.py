"""What page, readiness check and metrics say about saving in the dataset repository."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from nsfw_app.hub_sync.schedule import HubSync
from nsfw_app.review.engine import Engine
from nsfw_app.store import Store
from nsfw_app.sync_status import SyncStatus
from nsfw_app.web.monitoring import Monitor
from tests.support.application import WebApp, open_app
from tests.support.hub_store import REPOSITORY, client_hub, new_saver
from tests.support.upload_hub import Repository


class Reported:
    """A state of saving, as `HubSync` reports it."""

    def __init__(self) -> None:
        moment = datetime.now(UTC) - timedelta(seconds=90)
        self.status = SyncStatus("org/name", moment, None, 0)
        self.failures = 2
        self.started_at = moment - timedelta(seconds=60)
        self.maintenance = SimpleNamespace(failures=1)


@pytest.fixture
def reported() -> Reported:
    """A state in which everything is saved."""
    return Reported()


@pytest.fixture
def app(engine: Engine, store: Store, tmp_path: Path, reported: Reported) -> Iterator[WebApp]:
    """An application that saves in a repository."""
    with open_app(engine, store, tmp_path, hub_sync=reported) as running:
        yield running


def test_the_heartbeat_says_when_everything_was_saved(app: WebApp, reported: Reported) -> None:
    """With the repository, the error and the number of rows; the time is in UTC."""
    found = app.signed_in("ann").get("/desk/heartbeat").json()["saved"]
    assert found.pop("last_success_at").endswith("Z")
    assert found == {
        "target": "org/name",
        "error": None,
        "maintenance_error": None,
        "pending": 0,
        "replaced": False,
    }
    reported.status = replace(reported.status, error="It failed.", pending=7, replaced=True)
    found = app.signed_in("vera").get("/desk/heartbeat").json()["saved"]
    assert (found["error"], found["pending"], found["replaced"]) == ("It failed.", 7, True)


def test_anonymous_visitors_do_not_learn_where(
    engine: Engine, store: Store, tmp_path: Path, reported: Reported
) -> None:
    """On a Space they may try the page; the name of the repository is not theirs to know."""
    with open_app(
        engine, store, tmp_path, hub_sync=reported, space_id="org/space", space_host="review.test"
    ) as app:
        response = app.anonymous().get("/desk/heartbeat")
        assert response.status_code == 200
        assert response.json()["saved"] is None


def test_the_readiness_check_reports_it(app: WebApp, reported: Reported) -> None:
    """Without names and messages, which may be read without signing in; failures do not matter."""
    reported.status = replace(reported.status, error="org/name failed", pending=7)
    response = app.anonymous().get("/readyz")
    assert response.status_code == 200
    found = response.json()["hub_sync"]
    assert found.pop("last_success_at").endswith("Z")
    assert found == {"failing": True, "maintenance_failing": False, "pending": 7}
    assert "org/name" not in response.text
    reported.status = replace(reported.status, error=None, maintenance_error="org/name failed")
    response = app.anonymous().get("/readyz")
    found = response.json()["hub_sync"]
    assert (found["failing"], found["maintenance_failing"]) == (False, True)
    assert "org/name" not in response.text


def metrics(monitor: Monitor) -> dict[str, float]:
    """The metrics of saving."""
    text = generate_latest(monitor.registry).decode()
    return {
        family.name: family.samples[0].value
        for family in text_string_to_metric_families(text)
        if family.name.startswith("nsfw_hub")
    }


def test_metrics_have_the_age_of_the_last_save(engine: Engine, reported: Reported) -> None:
    """And pending rows and failures; before the first save since the start.

    That is how a server that never saved is noticed. There is nothing without a repository.
    """
    monitor = Monitor(engine, reported)
    found = metrics(monitor)
    assert 90 <= found.pop("nsfw_hub_sync_seconds_since_success") < 150
    counts = {"nsfw_hub_sync_failures": 2, "nsfw_hub_sync_maintenance_failures": 1}
    assert found == {"nsfw_hub_sync_pending": 0, **counts}
    reported.status = replace(reported.status, last_success_at=None, pending=3)
    found = metrics(monitor)
    assert 150 <= found.pop("nsfw_hub_sync_seconds_since_success") < 210
    assert found == {"nsfw_hub_sync_pending": 3, **counts}
    assert metrics(Monitor(engine)) == {}


def test_ignored_files_are_reported_as_other_failures(
    engine: Engine, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page, readiness check and metrics say that nothing is saved, and the page says why."""
    with client_hub(monkeypatch) as hub:
        repository = hub.repositories[REPOSITORY.name] = Repository(private=True)
        repository.files[".gitignore"] = b"data/"
        sync = HubSync(new_saver(store), REPOSITORY, lock_file=tmp_path / "lock")
        store.team.set_reviews("ann", reviews=False)
        sync.attempt()
    with open_app(engine, store, tmp_path, hub_sync=sync) as app:
        saved = app.signed_in("ann").get("/desk/heartbeat").json()["saved"]
        assert saved["error"].startswith("The .gitignore of org/decisions matches data/main/")
        ready = app.anonymous().get("/readyz").json()["hub_sync"]
    assert (ready["failing"], saved["last_success_at"]) == (True, None)
    assert min(ready["pending"], saved["pending"]) > 0
    found = metrics(Monitor(engine, sync))
    assert found["nsfw_hub_sync_failures"] == 1
    assert found["nsfw_hub_sync_pending"] > 0
