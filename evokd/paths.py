"""Paths as a user names them."""

from __future__ import annotations

import os
from pathlib import Path


def expanded(name: str) -> Path:
    """Return the path of a name; ~ is the home folder, and an unknown user's stays as it is.

    `Path.expanduser` raises RuntimeError there, in place of being a file that there is not.
    """
    return Path(os.path.expanduser(name))
