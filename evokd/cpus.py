"""The processors: their name, and how many this process may use. Knows containers, not models."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
CPUINFO = Path("/proc/cpuinfo")
TOPOLOGY = Path("/sys/devices/system/cpu")


def usable_cpus(cgroup: Path = CGROUP) -> int:
    """Return the processors this process may use: its affinity, capped by the cgroup's quota."""
    return _capped(len(_affinity()), cgroup)


def usable_cores(cgroup: Path = CGROUP, topology: Path = TOPOLOGY) -> int:
    """Return the physical cores among them: the twins of hyperthreading count once.

    Twins share the units that multiply matrices, so a thread for each gains nothing there. Where
    the system does not tell which processors are twins, each counts as a core.
    """
    return _capped(len({_core(cpu, topology) for cpu in _affinity()}), cgroup)


def cpu_model() -> str:
    """Return the processor's name, as far as the system tells it."""
    names = _cpuinfo("model name")
    return names[0] if names else platform.processor() or platform.machine()


def cpu_flags() -> frozenset[str]:
    """Return the processor's instruction sets as Linux spells them; empty where it does not."""
    return frozenset(flag for line in _cpuinfo("flags", "Features")[:1] for flag in line.split())


def fast_bfloat16() -> bool:
    """Return whether the processor gains by multiplying matrices in bfloat16.

    Matrix units do (AMX), and the vector units of AMD and Arm, at twice the pace of float32.
    Intel's vector unit is no faster with it, and the conversions cost: training takes half as long
    again (benchmarks/LOG.md).
    """
    flags = cpu_flags()
    amd = "AuthenticAMD" in _cpuinfo("vendor_id")
    return bool(flags & {"amx_bf16", "bf16"}) or (amd and "avx512_bf16" in flags)


def cgroup_folders(controller: str, cgroup: Path = CGROUP) -> Iterator[Path]:
    """Give the folders whose limits hold for this process: its own cgroup's and all above it.

    Args:
        controller: such as "cpu"; version 1 has a tree for each.
        cgroup: where cgroups are mounted.
    """
    try:
        lines = OWN_CGROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    own = {names: path for _, names, path in (line.split(":", 2) for line in lines)}
    mine = next((path for names, path in own.items() if controller in names.split(",")), "/")
    for root, path in ((cgroup, own.get("", "/")), (cgroup / controller, mine)):
        inner = root / path.lstrip("/")
        yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(root))


def _affinity() -> set[int]:
    affinity = getattr(os, "sched_getaffinity", None)
    return set(affinity(0)) if affinity else set(range(os.cpu_count() or 1))


def _capped(count: int, cgroup: Path) -> int:
    quotas = [q for folder in cgroup_folders("cpu", cgroup) if (q := _quota(folder)) is not None]
    return max(1, int(min([count, *quotas])))


def _quota(folder: Path) -> float | None:
    """Return the processors that a cgroup (version 2, else 1) grants, None when unlimited."""
    try:
        limit, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not limit.isdigit() or not period.isdigit():  # "max" or -1: no limit
        return None
    return int(limit) / int(period)


def _core(cpu: int, topology: Path) -> str:
    """Return the twins that the processor is one of, such as "0,4"; else its own number."""
    try:
        return (topology / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)


def _cpuinfo(*keys: str) -> list[str]:
    """Return what the kernel says under one of the keys, a line for each processor."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return [value.strip() for key, value in pairs if key.strip() in keys]
