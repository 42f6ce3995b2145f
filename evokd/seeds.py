"""Seeds for every random choice, derived by name, so that no choice depends on another's order."""

from __future__ import annotations

import hashlib


def derive(seed: int, *names: object) -> int:
    """Return a seed in [0, 2**31) that is a function of the run's seed and the names alone."""
    named = "\x1f".join([str(seed), *map(str, names)])
    digest = hashlib.blake2b(named.encode("utf-8"), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1
