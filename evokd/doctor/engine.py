"""How torch and llama-cpp-python were built. Reads what `probe` said in processes of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator

from evokd.cpus import cpu_flags
from evokd.doctor import Finding, good, warning, wrong
from evokd.doctor.child import REBUILD, Answer

NAMES = {  # the kernel's word for an instruction set -> llama.cpp's
    "avx": "AVX",
    "avx2": "AVX2",
    "fma": "FMA",
    "f16c": "F16C",
    "avx_vnni": "AVX_VNNI",
    "avx512f": "AVX512",
    "avx512_vnni": "AVX512_VNNI",
    "avx512_bf16": "AVX512_BF16",
    "amx_int8": "AMX_INT8",
    "asimddp": "DOTPROD",
    "i8mm": "MATMUL_INT8",
    "sve": "SVE",
}


def torch(answer: Answer) -> Iterator[Finding]:
    """Say whether torch works; nothing when it is not installed, which `packages` says."""
    if answer.death:
        hint = answer.hint if "processor lacks" in answer.death else "install torch again"
        yield wrong("torch", f"cannot be imported: {answer.death}", hint)
    elif answer.parts:
        built = answer.get("built_for")
        says = f"{answer.get('version')}, built for {f'CUDA or ROCm {built}' if built else 'CPUs'}"
        yield good("torch", says, **{k: answer.get(k) for k in ("version", "built_for", "threads")})


def build(answer: Answer, flags: frozenset[str] | None = None) -> Iterator[Finding]:
    """Say whether llama-cpp-python uses what this processor can do.

    Args:
        answer: what the probe said; nothing was asked when it is not installed.
        flags: the processor's instruction sets; None asks the system.
    """
    if answer.death:
        yield wrong("llama.cpp", f"cannot be imported: {answer.death}", answer.hint)
    if answer.death or not answer.parts:
        return
    system = answer.get("system")
    uses = set(re.findall(r"(\w+) = 1", system))
    has = cpu_flags() if flags is None else flags
    lacks = [name for flag, name in NAMES.items() if flag in has and name not in uses]
    beyond = [name for flag, name in NAMES.items() if has and flag not in has and name in uses]
    facts = {"system": system, "unused": lacks, "beyond": beyond, "gpu": answer.get("gpu")}
    says = f"built with {' '.join(n for n in NAMES.values() if n in uses) or 'plain C'}"
    if beyond:
        says += f"; this processor lacks {' '.join(beyond)}: it will crash"
        yield wrong("llama.cpp", says, REBUILD, **facts)
    elif lacks:
        says += f"; this processor's {' '.join(lacks)} lie idle"
        yield warning("llama.cpp", says, REBUILD, **facts)
    else:
        yield good("llama.cpp", f"{says}: all that this processor has", **facts)
