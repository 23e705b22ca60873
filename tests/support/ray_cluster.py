"""A Ray cluster of two nodes with one CPU each on this machine, which only it can reach."""

import os
import secrets
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.records import ModelIdentity
from nsfw_app.review.detail import Models
from tests.support.fakes import FakeClassifier
from tests.support.server import free_port

ROOT = Path(__file__).parents[2]
OBJECT_STORE_BYTES = 100_000_000
TIMEOUT_S = 60
# Read by ray: nothing is reported to its authors, only tests can use the cluster, and nodes listen
# on the loopback address, also where ray would take that of a network.
AUTH = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
ENVIRONMENT = {
    **AUTH,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
# A node counts as dead after a second, not ten.
HEALTH = {
    "health_check_initial_delay_ms": 1_000,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 2,
}


class RayNodes:
    """The nodes of a cluster; `address` and `client_address` are what `--cluster` takes.

    Args:
        directory: Of the files that Ray writes: logs, sockets.
    """

    def __init__(self, directory: Path) -> None:
        from ray.cluster_utils import Cluster

        self.directory = directory
        port = free_port()
        self.client_address = f"ray://127.0.0.1:{port}"
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={
                **_node(),
                "include_dashboard": False,
                "ray_client_server_port": port,
                "_system_config": HEALTH,
            },
        )
        self.address = str(self._cluster.address)
        self._paused: list[int] = []
        self.add()

    def add(self, **options: Any) -> Any:
        """A further node."""
        return self._cluster.add_node(**_node(), **options)

    def remove(self, node: Any) -> None:
        """Kill all processes of a node."""
        self._cluster.remove_node(node, allow_graceful=False)

    def workers(self) -> dict[str, int]:
        """Process ids of the workers that run, by the id of their node."""
        actors = self._cluster.global_state.actor_table(None, None, None).values()
        return {
            actor["Address"]["NodeID"]: actor["Pid"]
            for actor in actors
            if actor["State"] == "ALIVE"
        }

    def command_lines(self) -> list[str]:
        """The command lines that the cluster stores, of all programs that have used it."""
        return [job["Entrypoint"] for job in self._cluster.global_state.job_table()]

    def report(self, text: str) -> None:
        """Send an error to all programs that use the cluster, as its nodes do."""
        from ray import JobID
        from ray._raylet import GcsClient

        job = JobID.nil()
        client = GcsClient(address=self.address)
        client.publish_error(job.hex().encode(), "worker_died", text, job, TIMEOUT_S)

    def pause(self, worker: int) -> None:
        """Stop a process, until it is continued or the cluster ends."""
        os.kill(worker, signal.SIGSTOP)
        self._paused.append(worker)

    def shutdown(self) -> None:
        """End all nodes."""
        self._cluster.shutdown()
        for worker in self._paused:  # which do not see that their nodes are gone
            with suppress(OSError):
                if b"ScanWorker" in Path(f"/proc/{worker}/cmdline").read_bytes():
                    os.kill(worker, signal.SIGKILL)


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    """Two nodes, for all tests of a file."""
    # Not pytest's directory: the names of sockets must be short.
    with (
        tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as directory,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in {
            **ENVIRONMENT,
            "RAY_TMPDIR": directory,
            "PYTHONPATH": str(ROOT),
        }.items():
            patch.setenv(name, value)
        handler = signal.getsignal(signal.SIGTERM)  # which ray replaces
        started = RayNodes(Path(directory))
        try:
            yield started
        finally:
            started.shutdown()
            signal.signal(signal.SIGTERM, handler)


def wait_until(condition: Callable[[], Any]) -> Any:
    """Wait until a condition holds; its value."""
    deadline = time.monotonic() + TIMEOUT_S
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def open_fake(threads: int) -> Models:
    """The fake model."""
    return Models(ModelLoader("fake", lambda: Loaded(FakeClassifier())))


def open_model_of_process(threads: int) -> Models:
    """A fake model whose weights are other ones in each process."""

    class Own(FakeClassifier):
        identity = ModelIdentity("fake", "r1", f"{os.getpid():<064}", "test")

    return Models(ModelLoader("fake", lambda: Loaded(Own())))


def _node() -> dict[str, Any]:
    return {
        "num_cpus": 1,
        "object_store_memory": OBJECT_STORE_BYTES,
        "node_ip_address": "127.0.0.1",
    }
