"""Speed of `scan --cluster`: two nodes of one core each against one.

    python -m benchmarks.cluster --model vit-base --images 300

Prints one JSON object. The nodes are Ray nodes of this machine, each with one core, and listen on
its loopback address only; `vit-base` is a ViT of Falconsai's size with random weights.

- A rate is that of the scan, from the first unit to the last part: start of nodes, workers and
  model is excluded. Both measurements scan the same images in units of about four.
- One node and two alternate, and the fastest round of each counts.
- The machine needs two idle cores: `load` is that before the first measurement. `cpu_ms` is the CPU
  time of the workers for an image; compare it on a machine with other load.
"""

import argparse
import json
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.backends import save_random_vit
from benchmarks.processes import cpu_seconds, in_new_process
from benchmarks.scan import BAND, RANDOM_VIT, write_small
from nsfw_app import settings
from nsfw_app.bootstrap import image_limits, models_elsewhere
from nsfw_app.datasets import units
from nsfw_app.datasets.cluster import RayCluster
from nsfw_app.datasets.scan_directory import ScanDirectory
from nsfw_app.datasets.scan_record import ScanRecord
from nsfw_app.datasets.units import find_units
from nsfw_app.models.cards import first_policy

CHECKOUT = Path(__file__).parents[1]
OBJECT_STORE_BYTES = 100_000_000
FILES_PER_CUT, MAX_FILES = 4, 6  # so that the end of a scan, where a node waits, is short
# Read by ray: nothing is reported to its authors, only this run can use the cluster, and nodes
# listen on the loopback address.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "PYTHONPATH": str(CHECKOUT),
}


@contextmanager
def started_nodes(count: int, directory: Path) -> Iterator[Any]:
    """A cluster of nodes with one core each, until the block ends."""
    os.environ["RAY_TMPDIR"] = str(directory)  # read by ray, also for its file of addresses
    from ray.cluster_utils import Cluster

    node = {
        "num_cpus": 1,
        "object_store_memory": OBJECT_STORE_BYTES,
        "node_ip_address": "127.0.0.1",
    }
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        for _ in range(count - 1):
            cluster.add_node(**node)
        yield cluster
    finally:
        cluster.shutdown()


def scan(count: int, model: str, images: Path, output: Path) -> dict[str, Any]:
    """Scan images on this many nodes, in a process of its own."""
    units.FILES_PER_CUT, units.MAX_FILES = FILES_PER_CUT, MAX_FILES
    chosen = settings.load().model_copy(update={"model": model, "data_dir": images.parent})
    policy = first_policy(model, threshold=chosen.threshold, band=BAND)
    with (
        tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as directory,
        started_nodes(count, Path(directory)) as nodes,
        RayCluster(
            str(nodes.address), open_model=models_elsewhere(chosen, lambda _: policy)
        ) as cluster,
    ):
        found = cluster.model
        record = ScanRecord(
            sources=(str(images),),
            model=found.identity,
            roles=found.roles,
            policy=policy,
            limits=image_limits(chosen),
            started_at="",
        )
        with ScanDirectory.opened(output, record) as opened:
            scanner = cluster.scanner(opened, redo=frozenset(), probes=[])
            listed = list(find_units([str(images)], left_out=scanner.left_out))
            workers = [
                actor["Pid"] for actor in nodes.global_state.actor_table(*[None] * 3).values()
            ]
            start, start_cpu_s = time.perf_counter(), sum(map(cpu_seconds, workers))
            rows = sum(part.footer.rows for part in scanner.scan(listed))
            elapsed_s = time.perf_counter() - start
            cpu_s = sum(map(cpu_seconds, workers)) - start_cpu_s
    return {
        "images": rows,
        "errors": scanner.progress.errors.total(),
        "backend": found.identity.backend,
        "workers": len(workers),
        "images_per_s": round(rows / elapsed_s, 2),
        "cpu_ms": round(1e3 * cpu_s / rows, 1),
    }


def measure(model: str, count: int, rounds: int) -> dict[str, Any]:
    """Rates of one node and of two, alternating."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="nsfw-benchmark-") as name:
        folder = Path(name)
        if model == RANDOM_VIT:
            model = str(folder / "vit")
            in_new_process(save_random_vit, model)
        write_small(folder / "images", count)
        run = _runs(model, folder)
        found = [(run(1), run(2)) for _ in range(rounds)]
    one, two = (max(each, key=lambda run: run["images_per_s"]) for each in zip(*found, strict=True))
    times = two["images_per_s"] / one["images_per_s"]
    return {"load": load, "rounds": rounds, "one": one, "two": two, "times": round(times, 2)}


def _runs(model: str, folder: Path) -> Callable[[int], dict[str, Any]]:
    numbers = iter(range(10**6))

    def run(count: int) -> dict[str, Any]:
        output = folder / f"out{next(numbers)}"
        return dict(in_new_process(scan, count, model, folder / "images", output))

    return run


def main() -> None:
    """Measure, and print the numbers as JSON."""
    parser = argparse.ArgumentParser(description="Speed of scans on a cluster.")
    parser.add_argument("--model", default=RANDOM_VIT)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    os.environ.update(ENVIRONMENT)  # of this process and those that it starts
    results = measure(options.model, options.images, options.rounds)
    print(json.dumps({"model": options.model, **results}, indent=2))


if __name__ == "__main__":
    main()
