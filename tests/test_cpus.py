from __future__ import annotations

import os
from pathlib import Path

import pytest

from evokd import cpus
from evokd.cpus import (
    cgroup_folders,
    cpu_flags,
    cpu_model,
    fast_bfloat16,
    usable_cores,
    usable_cpus,
)


@pytest.mark.parametrize(
    ("quota", "count"), [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1), ("", 8)]
)
def test_a_quota_caps_the_affinity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, count: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    if quota:
        (tmp_path / "cpu.max").write_text(quota + "\n")
    assert usable_cpus(tmp_path) == count


@pytest.mark.parametrize(("quota", "count"), [("-1", 8), ("300000", 3)])
def test_quotas_of_version_1_count_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, count: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert usable_cpus(tmp_path) == count


def twins(topology: Path, *pairs: str) -> None:
    """Write which processors are one core's hyperthreads, such as "0,4"."""
    for pair in pairs:
        for cpu in pair.split(","):
            folder = topology / f"cpu{cpu}" / "topology"
            folder.mkdir(parents=True)
            (folder / "thread_siblings_list").write_text(pair + "\n")


@pytest.mark.parametrize(
    ("mine", "quota", "cores"),
    [
        ({0, 1, 2, 3}, "", 2),
        ({0, 1}, "", 2),
        ({0, 2}, "", 1),
        ({3}, "", 1),
        ({0, 1, 7, 8}, "", 4),  # 7 and 8 tell nothing
        ({0, 1, 2, 3}, "150000 100000", 1),
        ({0, 1, 2, 3}, "300000 100000", 2),
    ],
)
def test_hyperthreads_of_a_core_count_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mine: set[int], quota: str, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: mine, raising=False)
    twins(tmp_path / "cpu", "0,2", "1,3")
    if quota:
        (tmp_path / "cpu.max").write_text(quota)
    assert usable_cores(tmp_path, tmp_path / "cpu") == cores


def test_limits_of_the_cgroups_above_hold_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.write_text("4:memory:/job/7\n0::/user/task\n")
    monkeypatch.setattr(cpus, "OWN_CGROUPS", own)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    (tmp_path / "user" / "task").mkdir(parents=True)
    (tmp_path / "user" / "cpu.max").write_text("300000 100000")
    (tmp_path / "user" / "task" / "cpu.max").write_text("max 100000")
    assert usable_cpus(tmp_path) == 3
    folders = [str(folder.relative_to(tmp_path)) for folder in cgroup_folders("memory", tmp_path)]
    assert folders == ["user/task", "user", ".", "memory/job/7", "memory/job", "memory"]


def test_what_the_kernel_says_of_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cpuinfo"
    monkeypatch.setattr(cpus, "CPUINFO", info)
    assert cpu_flags() == frozenset()
    assert cpu_model()
    info.write_text("processor : 0\nmodel name\t: Z80: the best\nflags\t\t: sse2 avx2\n\n")
    assert cpu_model() == "Z80: the best"
    assert cpu_flags() == {"sse2", "avx2"}
    info.write_text("processor : 0\nFeatures : asimd asimddp\n")
    assert cpu_flags() == {"asimd", "asimddp"}


@pytest.mark.parametrize(
    ("info", "fast"),
    [
        ("vendor_id : AuthenticAMD\nflags : avx512f avx512_bf16", True),
        ("vendor_id : GenuineIntel\nflags : avx512f avx512_bf16", False),
        ("vendor_id : GenuineIntel\nflags : avx512f avx512_bf16 amx_bf16", True),
        ("vendor_id : AuthenticAMD\nflags : avx512f", False),
        ("CPU implementer : 0x41\nFeatures : asimd bf16", True),
        ("", False),
    ],
)
def test_bfloat16_is_for_processors_that_gain_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, info: str, fast: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(info)
    monkeypatch.setattr("evokd.cpus.CPUINFO", tmp_path / "cpuinfo")
    assert fast_bfloat16() is fast
