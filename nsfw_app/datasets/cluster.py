"""Scans on a Ray cluster: one worker on each node. The only module that imports ray.

- A worker is an actor with most of its node's CPUs, or with a GPU. It never asks for all CPUs of a
  node, so that other work is not starved.
- Nodes that join get a worker; units of workers that are lost are assigned to others.
- Actors are created with the name of the model and numbers; units, whose URLs may hold credentials,
  are arguments of calls, which Ray neither stores nor shows. It does so with the command line: see
  `cluster_arguments`.
"""

import logging
import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nsfw_app import __version__
from nsfw_app.dataset_errors import ClusterError, NodeDiffers, NotShared
from nsfw_app.datasets import output_file
from nsfw_app.datasets.cluster_address import LOCAL, check_address, connection_problem
from nsfw_app.datasets.cluster_nodes import Slot, cpus_asked_for, differences_of, slots_of
from nsfw_app.datasets.cluster_scan import TICK_S, ClusterScanner, Event, UnitEnded, WorkerLost
from nsfw_app.datasets.cluster_worker import Failure, FailureKind, ScanJob, ScanWorker, WorkerModel
from nsfw_app.datasets.entries import Entry, Unit
from nsfw_app.datasets.scan import Redo
from nsfw_app.datasets.scan_directory import ScanDirectory
from nsfw_app.datasets.scan_progress import ScanProgress
from nsfw_app.datasets.unit_assignments import IN_FLIGHT
from nsfw_app.review.detail import Models
from nsfw_app.system import usable_cpus

log = logging.getLogger(__name__)

OBJECT_STORE_BYTES = 100_000_000  # of a local cluster; units and counts are small
CONNECT_ATTEMPTS = 3  # where the head node's process for this client ends while it starts
CLIENT_SERVER_FAILED = "Starting Ray client server failed"
NODES_S = 2.0  # between two looks at the nodes
PROGRESS_S = 1.0  # between two looks at the counts of a worker
START_S = 600.0  # until the first worker has loaded its model
GRACE_S = 60.0  # for which the first worker waits for the others before the scan starts
VISIBLE_S = 10.0  # until a file is visible on all nodes; NFS caches directories for some seconds
MAX_STARTS = 3  # of a worker that ends each time before it has loaded the model
MISSING = "No module named 'nsfw_app'"  # in an error of Ray
NO_RAY = "A cluster needs the package ray: pip install '.[cluster]'"


class _Call(Enum):
    """What a worker was asked."""

    LOAD = auto()
    BEGIN = auto()
    SCAN = auto()
    PROGRESS = auto()


@dataclass(slots=True)
class _Worker:
    """A worker as the cluster knows it. `calls` are those without a result, by reference."""

    name: str
    slot: Slot
    host: str
    actor: Any
    calls: dict[Any, tuple[_Call, int]] = field(default_factory=dict)
    model: WorkerModel | None = None
    is_ready: bool = False
    progress: Mapping[int, ScanProgress] = field(default_factory=dict)
    asked_at: float = 0.0  # for its progress

    def is_asked(self, *kinds: _Call) -> bool:
        return any(call in kinds for call, _ in self.calls.values())


class RayCluster:
    """A Ray cluster whose nodes have the model of the settings; a `Workers`.

    Args:
        address: `local`, `auto`, `ray://host:port` or `host:port`.
        open_model: Opens the models on a node with a number of CPU threads. Pickled.
        threads: CPU threads of a worker; None for as many as its node has CPUs.
    """

    def __init__(
        self, address: str, *, open_model: Callable[[int], Models], threads: int | None = None
    ) -> None:
        self._address = address
        self._open_model = open_model
        self._threads = threads
        self._ray: Any = None
        self._workers: dict[str, _Worker] = {}
        self._starts: dict[Slot, int] = {}  # of workers that have not loaded a model
        self._excluded: set[Slot] = set()
        self._events: list[Event] = []
        self._is_starting = True  # nodes that cannot scan end the command, not only the worker
        self._reference: WorkerModel | None = None
        self._job: ScanJob | None = None
        self._marker: Path | None = None
        self._looked_at = -NODES_S
        self._problem = ""

    def __enter__(self) -> Self:
        self._ray = _connected(self._address)
        try:
            self._wait_for_models()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, and the cluster if it is a local one."""
        for worker in self._workers.values():
            self._kill(worker)
        self._workers.clear()
        if self._marker is not None:
            with suppress(OSError):
                self._marker.unlink()
        self._ray.shutdown()

    @property
    def model(self) -> WorkerModel:
        """The model that the workers have."""
        if self._reference is None:
            raise ClusterError("No worker has loaded the model.")
        return self._reference

    def summary(self) -> str:
        """A sentence about the workers."""
        loaded = sum(worker.model is not None for worker in self._workers.values())
        loading = len(self._workers) - loaded
        rest = f"; {loading:,} still load it, and join the scan then" if loading else ""
        return f"Workers that have loaded the model: {loaded:,}{rest}."

    def scanner(
        self, directory: ScanDirectory, *, redo: frozenset[Redo], probes: Sequence[Entry]
    ) -> ClusterScanner:
        """What scans units with these workers into a directory.

        Args:
            directory: Of the scan.
            redo: Which rows of existing part files are made again.
            probes: An image or container of each source.

        Raises:
            NotShared: A node cannot reach output or sources.
            ClusterError: No worker is left.
        """
        token, record = uuid.uuid4().hex, directory.record
        self._marker = directory.path.absolute() / f"{output_file.PARTIAL}{token}"
        output_file.write(self._marker, token.encode())
        self._job = ScanJob(
            output=directory.path.absolute(),
            marker=self._marker.name,
            token=token,
            probes=probes,
            labels=tuple(record.roles),
            policy=replace(record.policy, author="", reason=""),
            limits=record.limits,
            redo=redo,
            visible_s=VISIBLE_S,
        )
        for worker in self._workers.values():
            self._begin(worker)
        while any(worker.is_asked(_Call.BEGIN) for worker in self._workers.values()):
            self._collect(TICK_S)
        if not self.ready():
            raise ClusterError(f"No worker of the cluster is left. {self._problem}")
        self._is_starting = False
        return ClusterScanner(self, directory.parts, redo=redo)

    def update(self) -> None:
        """Start workers on nodes that have joined, and drop those of nodes that have left.

        Raises:
            ClusterError: No node can scan.
        """
        if time.monotonic() - self._looked_at < NODES_S:
            return
        self._looked_at = time.monotonic()
        nodes = {node["NodeID"]: node for node in self._ray.nodes() if node["Alive"]}
        for worker in [*self._workers.values()]:
            if worker.slot[0] not in nodes:
                self._lose(worker, f"The node {worker.host} has left the cluster.")
        slots = {slot: node for node in nodes.values() for slot in slots_of(node)}
        taken = {worker.slot for worker in self._workers.values()}
        for slot in slots.keys() - taken - self._excluded:
            self._start(slot, slots[slot])
        if not self._workers and slots:
            raise ClusterError(f"No node of the cluster can scan. {self._problem}")

    def ready(self) -> Sequence[str]:
        """See `Workers.ready`."""
        return [name for name, worker in self._workers.items() if worker.is_ready]

    def send(self, worker: str, number: int, unit: Unit) -> None:
        """See `Workers.send`."""
        to = self._workers[worker]
        to.calls[to.actor.scan.remote(number, unit)] = _Call.SCAN, number

    def events(self, timeout_s: float) -> Sequence[Event]:
        """See `Workers.events`."""
        self._collect(0 if self._events else timeout_s)
        events, self._events = self._events, []
        return events

    def dismiss(self, worker: str, reason: str) -> None:
        """See `Workers.dismiss`."""
        if dismissed := self._workers.get(worker):
            self._exclude(dismissed, ClusterError(f"{dismissed.host}: {reason}"))

    def progress(self) -> Mapping[int, ScanProgress]:
        """See `Workers.progress`."""
        return {
            number: counts
            for worker in self._workers.values()
            for number, counts in worker.progress.items()
            if (_Call.SCAN, number) in worker.calls.values()
        }

    def stop(self) -> None:
        """See `Workers.stop`."""
        for worker in self._workers.values():
            worker.actor.stop.remote()

    def problem(self) -> str:
        """See `Workers.problem`."""
        return self._problem

    def _wait_for_models(self) -> None:
        """Wait until each worker has loaded the model, or the first one has for a while."""
        started_at = time.monotonic()
        first_at = None
        while True:
            self.update()
            self._collect(TICK_S)
            now = time.monotonic()
            if self._reference is not None:
                first_at = first_at or now
                is_loading = any(w.is_asked(_Call.LOAD) for w in self._workers.values())
                if not is_loading or now - first_at > GRACE_S:
                    return
            elif now - started_at > START_S:
                raise ClusterError(
                    f"No worker has started within {START_S / 60:.0f} minutes. Do nodes have "
                    f"free CPUs? `ray status` shows them. {self._problem}".strip()
                )

    def _start(self, slot: Slot, node: Mapping[str, Any]) -> None:
        count = self._starts[slot] = self._starts.get(slot, 0) + 1
        resources = node["Resources"]
        gpus = int(resources.get("GPU", 0))
        cpus = int(resources.get("CPU", 0)) // max(1, gpus)
        threads = min(filter(None, (cpus or 1, self._threads)))
        strategy = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            slot[0], soft=False
        )
        actor_class = self._ray.remote(ScanWorker).options(
            num_cpus=cpus_asked_for(threads, cpus),
            num_gpus=min(1, gpus),
            max_concurrency=IN_FLIGHT + 2,  # and progress, and stop
            max_restarts=0,
            scheduling_strategy=strategy,
        )
        name = f"{slot[0]}/{slot[1]}/{count}"
        actor = actor_class.remote(self._open_model, threads)
        worker = _Worker(name, slot, str(node["NodeManagerHostname"]), actor)
        worker.calls[actor.load.remote()] = _Call.LOAD, 0
        self._workers[name] = worker

    def _begin(self, worker: _Worker) -> None:
        if worker.model is not None and self._job is not None:
            worker.calls[worker.actor.begin.remote(self._job)] = _Call.BEGIN, 0

    def _collect(self, timeout_s: float) -> None:
        """Wait for results, and note them."""
        self._ask_for_progress()
        calls = {ref: worker for worker in self._workers.values() for ref in worker.calls}
        if not calls:
            time.sleep(timeout_s)
            return
        references = list(calls)
        if self._ray.wait(references, timeout=timeout_s)[0]:
            ended, _ = self._ray.wait(references, num_returns=len(references), timeout=0)
            for reference in ended:
                if calls[reference].name in self._workers:
                    self._note(calls[reference], reference)

    def _ask_for_progress(self) -> None:
        now = time.monotonic()
        for worker in self._workers.values():
            is_due = worker.is_ready and now - worker.asked_at > PROGRESS_S
            if is_due and not worker.is_asked(_Call.PROGRESS):
                worker.asked_at = now
                worker.calls[worker.actor.progress.remote()] = _Call.PROGRESS, 0

    def _note(self, worker: _Worker, reference: Any) -> None:
        """Note the result of a call."""
        call, number = worker.calls.pop(reference)
        try:
            result = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            log.info("A worker on %s was lost: %s", worker.host, error)
            if MISSING in str(error):
                reason = f"nsfw-review {__version__} is not installed on {worker.host}."
                self._exclude(worker, ClusterError(reason))
            else:
                reason = f"The worker on {worker.host} has ended ({type(error).__name__})."
                self._lose(worker, reason)
            return
        if call is _Call.SCAN:
            self._events.append(UnitEnded(worker.name, number, result))
        elif call is _Call.PROGRESS:
            worker.progress = result
        elif isinstance(result, Failure):
            kind = NotShared if result.kind is FailureKind.NOT_SHARED else ClusterError
            self._exclude(worker, kind(f"{worker.host}: {result.message}"))
        elif call is _Call.BEGIN:
            worker.is_ready = True
        else:
            self._loaded(worker, result)

    def _loaded(self, worker: _Worker, model: WorkerModel) -> None:
        self._starts[worker.slot] = 0
        worker.model = model
        reference = self._reference = self._reference or model
        if differences := differences_of(model, reference):
            other = "this machine" if model is reference else reference.host
            self._exclude(
                worker,
                NodeDiffers(
                    f"{worker.host} has {', '.join(differences)}, unlike {other}. All nodes need "
                    "the same model and packages, and must choose the same backend: "
                    "NSFW_BACKEND=torch is the same on all CPUs."
                ),
            )
        else:
            self._begin(worker)

    def _exclude(self, worker: _Worker, error: ClusterError) -> None:
        """Start no worker on this node any more; at the start, end the command.

        Raises:
            ClusterError: The error, at the start.
        """
        if self._is_starting:
            raise error
        self._excluded.add(worker.slot)
        log.warning("The scan goes on without a node. %s", error)
        self._lose(worker, str(error))

    def _lose(self, worker: _Worker, reason: str) -> None:
        self._problem = reason
        self._kill(worker)
        del self._workers[worker.name]
        self._events.append(WorkerLost(worker.name, reason))
        if self._starts[worker.slot] >= MAX_STARTS:
            log.warning("No worker is started on %s any more: %s", worker.host, reason)
            self._excluded.add(worker.slot)

    def _kill(self, worker: _Worker) -> None:
        """End a worker, also one that only seems to be lost."""
        with suppress(Exception):  # it may have ended, and so may the cluster
            self._ray.kill(worker.actor)


def _connected(address: str) -> Any:
    """The package ray, connected to a cluster.

    Raises:
        ClusterError: It is not installed, or there is no cluster that it could use.
    """
    if address == LOCAL:
        # Read when ray is imported: it takes the loopback address, which other machines cannot
        # reach, in place of that of the network.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise ClusterError(NO_RAY) from error
    check_address(address)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is sent to the authors of ray
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == LOCAL:
        options |= {
            "num_cpus": usable_cpus(),
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
            "_node_ip_address": "127.0.0.1",
        }
    attempts = CONNECT_ATTEMPTS
    while True:
        attempts -= 1
        try:
            ray.init(address=address, **options)
        except Exception as error:  # ray has no base class for them
            ray.shutdown()  # what it has started or reached before it failed
            if not attempts or CLIENT_SERVER_FAILED not in str(error):
                raise ClusterError(connection_problem(address, error)) from error
        except BaseException:  # Ctrl+C
            ray.shutdown()
            raise
        else:
            return ray
