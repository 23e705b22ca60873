"""Resources of this process: usable CPUs, their instructions, and memory.

A container often shows all CPUs of its host but lets a process use only a fraction of their time;
more threads than that slow each other down.
"""

import ctypes
import os
import platform
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
INT8_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
VECTOR_FLAGS = INT8_FLAGS | BF16_FLAGS | {"avx2", "avx512f", "avx512bw", "asimd", "sve"}

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
KEPT_BYTES = 128 << 20  # the pixels of two images of 12 megapixels, and their reduced versions
HEAP_BYTES = 32 << 20  # glibc's maximum; Pillow allocates pixels in blocks of 16 MiB


@dataclass(frozen=True, slots=True)
class Cpu:
    """The CPUs of this process. `features` are the vector instructions that models use."""

    name: str
    usable: int
    features: frozenset[str]

    @property
    def multiplies_int8(self) -> bool:
        """Whether it has instructions for 8-bit dot products."""
        return bool(self.features & INT8_FLAGS)

    @property
    def multiplies_bf16(self) -> bool:
        """Whether it has instructions for 16-bit dot products."""
        return bool(self.features & BF16_FLAGS)


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of a process, in megabytes; None where the system does not report it."""

    now: int | None
    peak: int | None


def memory_mb(pid: int | None = None) -> Memory:
    """The memory of a process, by default of this one."""
    values = _entries(PROC / str(pid or "self") / "status")
    return Memory(_megabytes(values.get("VmRSS")), _megabytes(values.get("VmHWM")))


def total_memory_mb() -> int | None:
    """The memory of the machine, in megabytes; None where the system does not report it."""
    return _megabytes(_entries(PROC / "meminfo").get("MemTotal"))


def keep_heap() -> None:
    """Keep freed heap memory for the next image, until `trim_heap`.

    By default glibc returns the pixels of each image to the system, and the page faults of the
    next one cost 5 % of the CPU time of uploads of 12 megapixels.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, HEAP_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def trim_heap() -> None:
    """Return freed heap memory to the system, which glibc would otherwise keep."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def cpu() -> Cpu:
    """The CPUs that this process may use."""
    info = _entries(PROC / "cpuinfo")
    flags = frozenset(info.get("flags", info.get("Features", "")).split())
    name = info.get("model name") or platform.processor() or platform.machine()
    return Cpu(name, usable_cpus(), flags & VECTOR_FLAGS)


def usable_cpus(*, proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """How many CPUs this process may use, at least 1.

    The minimum of its CPU affinity and the CPU quotas of its control groups, version 2 or 1.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quotas = [count, *_quotas(proc / "self" / "cgroup", cgroups)]
    return max(1, int(min(quotas)))


def _quotas(membership: Path, cgroups: Path) -> list[float]:
    """The CPU quota of each control group that contains this process, in CPUs."""
    found = []
    for line in _text(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            found += [_quota_v2(group) for group in _with_parents(cgroups, path)]
        elif "cpu" in controllers.split(","):
            found += [_quota_v1(group) for group in _with_parents(cgroups / "cpu", path)]
    return [quota for quota in found if quota is not None]


def _with_parents(root: Path, path: str) -> list[Path]:
    """A group's directory and its parents. In a container the path may not exist."""
    inner = root / path.strip("/")
    return [group for group in (inner, *inner.parents) if group.is_relative_to(root)]


def _quota_v2(group: Path) -> float | None:
    quota, _, period = _text(group / "cpu.max").strip().partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _quota_v1(group: Path) -> float | None:
    quota = _text(group / "cpu.cfs_quota_us").strip()
    period = _text(group / "cpu.cfs_period_us").strip()
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _entries(path: Path) -> dict[str, str]:
    """Names and values of a file's first paragraph; empty where there is no such file."""
    pairs = (line.partition(":") for line in _text(path).split("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _megabytes(text: str | None) -> int | None:
    """Megabytes from a text in kilobytes."""
    return None if text is None else round(int(text.split()[0]) / 1e3)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
