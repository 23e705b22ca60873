"""Resources of the process: no more CPUs than it may use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nsfw_app import system
from nsfw_app.system import Cpu, usable_cpus


@pytest.fixture
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that may run on sixteen CPUs."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))


def write(root: Path, files: dict[str, str]) -> None:
    """Write files below a directory."""
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
        ("0::/", {"cpu.max": "invalid"}, 16),
    ],
)
def test_the_quota_limits_cpus(
    sixteen: None, tmp_path: Path, membership: str, files: dict[str, str], cpus: int
) -> None:
    """The lowest quota of all control groups around the process counts."""
    write(tmp_path, {"proc/self/cgroup": membership})
    write(tmp_path / "cgroup", files)
    assert usable_cpus(proc=tmp_path / "proc", cgroups=tmp_path / "cgroup") == cpus


def test_without_control_groups_affinity_counts(sixteen: None, tmp_path: Path) -> None:
    """Without a quota, all CPUs of the affinity are usable."""
    assert usable_cpus(proc=tmp_path, cgroups=tmp_path) == 16


def test_this_machine_has_a_name() -> None:
    """The CPU of this machine has a name and at least one usable CPU."""
    found = system.cpu()
    assert found.name
    assert 1 <= found.usable <= (os.cpu_count() or 1)


def test_instructions_of_a_cpu() -> None:
    """Flags of the CPU show its instructions for int8 and bf16."""
    plain = Cpu("old", 2, frozenset({"avx2"}))
    new = Cpu("new", 2, frozenset({"avx2", "avx512_vnni", "avx512_bf16"}))
    assert (plain.multiplies_int8, plain.multiplies_bf16) == (False, False)
    assert (new.multiplies_int8, new.multiplies_bf16) == (True, True)


FAULTS = """
import resource
from PIL import Image
from nsfw_app import system

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    Image.new("RGB", (4000, 3000)).close()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

system.keep_heap()
faults()
kept = faults()
system.trim_heap()
print(kept, faults())
"""


def test_memory_of_an_image_is_kept_for_the_next() -> None:
    """The pixels of a second image cause no page faults, until freed memory is returned."""
    command = [sys.executable, "-c", FAULTS]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    kept, trimmed = map(int, result.stdout.split())
    assert kept < 100
    assert trimmed > 5_000  # 48 MB in pages of 4 KiB
