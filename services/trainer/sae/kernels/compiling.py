"""Numba's compiler, with a cache for each version of the kernels and each processor.

By itself numba asks a function's own file alone whether it changed, and after an upgrade would run code into which the
older version of another file was compiled.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import llvmlite.binding
from numba import config, njit, prange
from platformdirs import user_cache_path

__all__ = ["all_are_kept", "inner", "keep_all", "kernel", "prange"]
_HERE = Path(__file__).parent


def _folder() -> Path | None:
    """Where compiled kernels are kept: beside the source, or in the user's cache; None where neither can be written."""
    sources = b"".join(file.read_bytes() for file in sorted(_HERE.glob("*.py")))
    version = sha256(sources + llvmlite.binding.get_host_cpu_name().encode()).hexdigest()[:16]
    settings: Any = config
    chosen = Path(settings.CACHE_DIR) if settings.CACHE_DIR else _HERE / "__pycache__"
    for parent in (chosen, user_cache_path("prisma", appauthor=False) / "kernels"):
        try:
            (parent / version).mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(parent / version, os.W_OK):
            settings.CACHE_DIR = str(parent / version)
            return parent / version
    return None


_kept = _folder()
Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(**options: Any) -> Callable[[Function], Function]:
    """Compiles a function that Python calls; other Python threads run meanwhile."""
    return _compiled(nogil=True, **options)


def inner(**options: Any) -> Callable[[Function], Function]:
    """Compiles a function that only kernels call: what Python would need to call it takes long to compile."""
    return _compiled(no_cpython_wrapper=True, **options)


def _compiled(**options: Any) -> Any:
    compiled: Any = njit
    return compiled(cache=_kept is not None, error_model="numpy", no_cfunc_wrapper=True, **options)


def all_are_kept() -> bool:
    """Whether a process has compiled and kept all kernels, for this processor."""
    return _kept is not None and (_kept / "all").exists()


def keep_all() -> None:
    """Says that it did."""
    if _kept:
        (_kept / "all").touch()
