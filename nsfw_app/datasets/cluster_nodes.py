"""Nodes of a Ray cluster as it lists them: places of workers, the CPUs of each, what differs."""

from collections.abc import Mapping, Sequence
from typing import Any

from nsfw_app import __version__
from nsfw_app.datasets.cluster_worker import WorkerModel

HASH_SHOWN, HASH_LENGTHS = 12, (40, 64)  # characters of SHA-1, as of commits, and SHA-256
SHARE_OF_ONE_CPU = 0.7  # that a worker asks for on a node with one CPU

Slot = tuple[str, int]  # id of a node, number of a GPU or 0


def slots_of(node: Mapping[str, Any]) -> Sequence[Slot]:
    """The places of workers on a node: one for each GPU, or one; none without CPUs."""
    gpus, cpus = (int(node["Resources"].get(name, 0)) for name in ("GPU", "CPU"))
    return [(node["NodeID"], number) for number in range(gpus or min(1, cpus))]


def cpus_asked_for(threads: int, cpus: int) -> float:
    """CPUs that a worker asks for: fewer than the node has. Above one, Ray takes whole numbers."""
    if cpus == 0:
        return 0
    return min(threads, cpus - 1) if cpus > 1 else SHARE_OF_ONE_CPU


def differences_of(model: WorkerModel, reference: WorkerModel) -> Sequence[str]:
    """What differs from the other workers, and from this program."""
    versions = {**reference.versions, "nsfw-review": __version__}
    pairs = [
        ("model", model.identity.model, reference.identity.model),
        ("revision", model.identity.revision, reference.identity.revision),
        ("weights", model.identity.weights_sha256, reference.identity.weights_sha256),
        ("backend", model.identity.backend, reference.identity.backend),
        ("labels", _labels(model), _labels(reference)),
        ("detail model", str(model.detail), str(reference.detail)),
        *((name, model.versions.get(name, ""), versions[name]) for name in sorted(versions)),
    ]
    return [
        f"{name} {_short(own)} (not {_short(other)})" for name, own, other in pairs if own != other
    ]


def _labels(model: WorkerModel) -> str:
    return ", ".join(f"{label} ({role})" for label, role in model.roles.items())


def _short(value: str) -> str:
    """The value, the beginning of a hash."""
    return value[:HASH_SHOWN] if len(value) in HASH_LENGTHS else value or "missing"
