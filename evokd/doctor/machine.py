"""The machine: Python, system, processor, memory, disk, GPU."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from evokd.cpus import (
    CGROUP,
    cgroup_folders,
    cpu_flags,
    cpu_model,
    usable_cores,
    usable_cpus,
)
from evokd.doctor import Finding, good, warning, wrong
from evokd.doctor.child import Answer

PYTHON = (3, 11)
# What matters for speed, in the kernel's words.
FLAGS = (
    *("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8", "amx_bf16"),
    *("asimddp", "i8mm", "sve", "bf16"),
)
MEGA, GIGA = 10**6, 10**9
BUSY = 0.7  # share of the processors from which others disturb
RUN = 250 * MEGA  # bytes that a run with the standard student leaves on the disk
NVIDIA = Path("/proc/driver/nvidia/version")
CUDA_LLAMA = "CMAKE_ARGS=-DGGML_CUDA=on pip install --force-reinstall --no-cache-dir"


def findings() -> Iterator[Finding]:
    """Give what there is to say of the machine without its GPU."""
    yield python(sys.version_info[:3])
    yield system(sys.platform)
    yield processor(cpu_flags())
    yield from load()
    yield memory(free_memory())
    yield disk(shutil.disk_usage(Path.cwd()).free)


def system(name: str) -> Finding:
    """Judge the operating system, as `sys.platform` names it."""
    says = f"{platform.platform(terse=True)}, {platform.machine()}"
    if name == "win32":  # a run's lock and the service's processes are POSIX
        return wrong("system", says, "use Linux, macOS, or Linux inside Windows (WSL)")
    return good("system", says)


def python(version: tuple[int, int, int]) -> Finding:
    """Judge the interpreter's version."""
    shown = ".".join(map(str, version))
    if version < PYTHON:
        least = ".".join(map(str, PYTHON))
        return wrong("python", f"{shown} is too old", f"use Python {least} or newer", version=shown)
    return good("python", f"{shown} ({sys.executable})", version=shown)


def processor(flags: frozenset[str]) -> Finding:
    """Judge the processor; without flags the system does not tell which it has."""
    cores, cpus, all_ = usable_cores(), usable_cpus(), os.cpu_count() or 1
    known = [flag for flag in FLAGS if flag in flags]
    says = f"{cpu_model()}, {cores} {'core' if cores == 1 else 'cores'} to use"
    if cpus < all_:
        says += f" (this process may use {cpus} of {all_} processors)"
    elif cores < cpus:
        says += f" ({cpus} hyperthreads)"
    facts = {"cores": cores, "cpus": cpus, "of": all_, "flags": known}
    if known:
        says += f"; {' '.join(known)}"
    if "sse2" in flags and "avx2" not in flags:
        hint = "expect a fraction of the usual speed; ready-made wheels may not run at all"
        return warning("processor", f"{says}; no avx2", hint, **facts)
    return good("processor", says, **facts)


def load() -> Iterator[Finding]:
    """Judge how busy others keep the processors; nothing where the system does not tell."""
    if not hasattr(os, "getloadavg"):
        return
    busy, cpus = os.getloadavg()[0], usable_cpus()
    says = f"{busy:.1f} processors were busy in the last minute; {cpus} are there to use"
    if busy > BUSY * cpus:
        hint = "times mean little now; llama.cpp suffers most, as its threads wait for each other"
        yield warning("load", says, hint, busy=busy, cpus=cpus)
    else:
        yield good("load", says, busy=busy, cpus=cpus)


def memory(free: int | None) -> Finding:
    """Judge the memory that is free, in bytes."""
    if free is None:
        return good("memory", "the system does not tell how much is free")
    says = f"{free / GIGA:.1f} GB free for this process"
    if free < GIGA:
        return wrong("memory", says, "a run needs 1 GB besides the teacher's model", free=free)
    return good("memory", says, free=free)


def disk(free: int) -> Finding:
    """Judge the room for runs in the working folder, in bytes."""
    says = f"{free / GIGA:.1f} GB free here, room for {free // RUN} runs"
    if free < 2 * RUN:
        return wrong("disk", says, "make room, or work in a folder on another disk", free=free)
    if free < 8 * RUN:
        return warning("disk", says, "old runs can be deleted; keep their student/", free=free)
    return good("disk", says, free=free)


def free_memory(cgroup: Path = CGROUP, meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Return the bytes that this process can still get, None where the system does not tell."""
    left = [room for folder in cgroup_folders("memory", cgroup) for room in _left(folder)]
    try:
        lines = meminfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return min(left, default=_by_psutil())
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return min([*left, *(1024 * k for k in kilobytes)], default=None)


def room_for_model(torch: Answer, llama: Answer) -> int | None:
    """Return the bytes that a model may take: on the GPUs where llama.cpp uses them, else here."""
    devices = torch.get("devices", [])
    if devices and llama.get("gpu"):
        return sum(int(device["free"]) for device in devices)
    return free_memory()


def graphics(torch: Answer, llama: Answer) -> Finding:
    """Judge whether both engines use the GPU, if there is one."""
    devices = torch.get("devices", [])
    names = ", ".join(device["name"] for device in devices) or ("Apple" * torch.get("apple", False))
    offload = llama.get("gpu", False)
    facts = {"devices": devices, "llama_cpp": offload}
    if names and not offload and llama.parts:
        hint = f"{CUDA_LLAMA} --no-binary llama-cpp-python llama-cpp-python"
        if not devices:
            hint = hint.replace("CUDA", "METAL")
        says = f"{names}: trains the student; llama-cpp-python is built without GPU support"
        return warning("GPU", says, hint, **facts)
    if names:
        return good("GPU", f"{names}: trains the student and runs the teacher", **facts)
    if offload and torch.parts:
        says = "runs the teacher, where there is one; torch finds none"
        return warning("GPU", says, "install a build of torch for your GPU", **facts)
    if NVIDIA.exists():
        hint = "install builds of torch and llama-cpp-python for CUDA"
        return warning("GPU", "there is an NVIDIA driver, and nothing that uses it", hint, **facts)
    return good("GPU", "none found; all work is done by the processor", **facts)


def _left(folder: Path) -> list[int]:
    """Return what a cgroup (version 2, else 1) still grants; nothing when it has no limit."""
    for limit, used, reclaimable in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most, taken = ((folder / name).read_text().strip() for name in (limit, used))
            lines = (folder / "memory.stat").read_text().splitlines()
        except OSError:
            continue
        if not most.isdigit():  # "max"
            continue
        cached = sum(int(size) for name, size in map(str.split, lines) if name == reclaimable)
        return [max(0, int(most) - int(taken) + cached)]
    return []


def _by_psutil() -> int | None:
    try:
        import psutil
    except ImportError:
        return None
    return int(psutil.virtual_memory().available)
