"""What the machine gives: no more CPUs than the process may really use."""

import os
from pathlib import Path

import pytest

from nsfw_app import system
from nsfw_app.system import Cpu, usable_cpus


@pytest.fixture
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that may run on sixteen CPUs."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))


def write(root: Path, files: dict[str, str]) -> None:
    """Files below a directory."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("membership", "files", "cpus"),
    [
        ("0::/", {}, 16),
        ("0::/", {"cpu.max": "max 100000"}, 16),
        ("0::/", {"cpu.max": "200000 100000"}, 2),
        ("0::/", {"cpu.max": "250000 100000"}, 2),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/pod/app", {"pod/app/cpu.max": "400000 100000", "pod/cpu.max": "300000 100000"}, 3),
        ("0::/not/visible/here", {"cpu.max": "400000 100000"}, 4),
        (
            "4:cpu,cpuacct:/app\n3:memory:/app",
            {"cpu/app/cpu.cfs_quota_us": "150000", "cpu/app/cpu.cfs_period_us": "100000"},
            1,
        ),
        (
            "4:cpu,cpuacct:/",
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            16,
        ),
        ("0::/", {"cpu.max": "what is this"}, 16),
    ],
)
def test_a_quota_is_the_limit(
    sixteen: None, tmp_path: Path, membership: str, files: dict[str, str], cpus: int
) -> None:
    """Of the CPUs in sight, as many count as the control groups leave time for."""
    write(tmp_path, {"proc/self/cgroup": membership})
    write(tmp_path / "cgroup", files)
    assert usable_cpus(proc=tmp_path / "proc", cgroups=tmp_path / "cgroup") == cpus


def test_without_control_groups_the_affinity_counts(sixteen: None, tmp_path: Path) -> None:
    """A system that knows no quota gives what it shows."""
    assert usable_cpus(proc=tmp_path, cgroups=tmp_path) == 16


def test_this_machine_has_a_name() -> None:
    """Whatever runs this is described."""
    found = system.cpu()
    assert found.name
    assert 1 <= found.usable <= (os.cpu_count() or 1)


def test_what_a_cpu_can() -> None:
    """Instructions for small numbers are told by their names."""
    plain = Cpu("old", 2, frozenset({"avx2"}))
    new = Cpu("new", 2, frozenset({"avx2", "avx512_vnni", "avx512_bf16"}))
    assert (plain.multiplies_int8, plain.multiplies_bf16) == (False, False)
    assert (new.multiplies_int8, new.multiplies_bf16) == (True, True)
