"""Numba's compiler, with a cache for each version of the kernels.

By itself numba asks a function's own file alone whether it changed, and after an upgrade would run code into which the
older version of another file was compiled.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

from numba import config, njit, prange

__all__ = ["njit", "prange"]

_here = Path(__file__).parent
_version = sha256(b"".join(file.read_bytes() for file in sorted(_here.glob("*.py")))).hexdigest()[:16]
_settings: Any = config
_settings.CACHE_DIR = str(Path(_settings.CACHE_DIR or _here / "__pycache__") / _version)
