"""Numba's compiler, with a cache of machine code in the user's cache folder.

There is one folder for each version of the kernels' sources, of numba and of the processor, so that an upgrade never
runs code into which an older version of another file was compiled (numba itself checks only a function's own file), and
copies of the same version in several places share what one of them compiled.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import llvmlite.binding
import numba
from numba import config, njit, prange
from numba.core import event
from platformdirs import user_cache_path

__all__ = ["all_are_cached", "inner", "kernel", "mark_all_cached", "prange", "progress_to"]
Function = TypeVar("Function", bound=Callable[..., Any])
_COMPLETE = "complete"
UNUSED_SECONDS = 90 * 86_400
"""Machine code of another version is deleted after this time."""
_functions: list[Any] = []


def _version() -> str:
    """A digest of everything that the machine code depends on."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    processor = llvmlite.binding.get_host_cpu_name(), llvmlite.binding.get_host_cpu_features().flatten()
    digest = sha256(repr((numba.__version__, sys.version_info[:2], processor)).encode())
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _cache_folder() -> Path | None:
    """Where machine code is kept: below NUMBA_CACHE_DIR or in the user's cache; None if that cannot be written."""
    configured: str = os.environ.get("NUMBA_CACHE_DIR", "")
    parent = Path(configured) if configured else user_cache_path("prisma", appauthor=False) / "kernels"
    folder = parent / _version()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # who can write it can run code
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


_folder = _cache_folder()


class KernelCacheLocator:
    """Tells numba to keep a function in the folder of this version, wherever its source is installed.

    It has the methods of `numba.core.caching._CacheLocator`.
    """

    def __init__(self, function: Callable[..., Any], source: str) -> None:
        self._py_file = source  # numba names it in errors
        self._name = f"{Path(source).stem}-{function.__code__.co_firstlineno}"

    def ensure_cache_path(self) -> None:
        """Nothing to do: the folder is there."""

    def get_cache_path(self) -> str:
        return str(_folder)

    def get_source_stamp(self) -> str:
        return ""  # the folder is that of one version of the sources

    def get_disambiguator(self) -> str:
        return self._name

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> KernelCacheLocator:
        return cls(py_func, py_file)


def kernel(**options: Any) -> Callable[[Function], Function]:
    """Compiles a function that Python calls; other Python threads run meanwhile."""
    return _compiled(nogil=True, **options)


def inner(**options: Any) -> Callable[[Function], Function]:
    """Compiles a function that only kernels call: what Python would need to call it takes long to compile."""
    return _compiled(no_cpython_wrapper=True, **options)


def _compiled(**options: Any) -> Callable[[Function], Function]:
    decorate: Any = njit
    compiler = decorate(cache=_folder is not None, error_model="numpy", no_cfunc_wrapper=True, **options)
    settings: Any = config

    def register(function: Function) -> Function:
        configured = settings.CACHE_LOCATOR_CLASSES
        settings.CACHE_LOCATOR_CLASSES = f"{__name__}.{KernelCacheLocator.__name__}"
        try:
            compiled = compiler(function)
        finally:
            settings.CACHE_LOCATOR_CLASSES = configured
        _functions.append(compiled)
        return compiled

    return register


def all_are_cached() -> bool:
    """Whether a process has compiled and cached all kernels of this version, for this processor."""
    if _folder is None or not (_folder / _COMPLETE).exists():
        return False
    (_folder / _COMPLETE).touch()  # it is in use
    return True


def mark_all_cached() -> None:
    """Notes that all kernels are compiled and cached; deletes machine code of versions unused for UNUSED_SECONDS."""
    if _folder is None:
        return
    (_folder / _COMPLETE).touch()
    long_ago = time.time() - UNUSED_SECONDS
    for other in _folder.parent.iterdir():
        if other != _folder and (other / _COMPLETE).exists() and (other / _COMPLETE).stat().st_mtime < long_ago:
            shutil.rmtree(other, ignore_errors=True)


@contextmanager
def progress_to(report: Callable[[int, int], None]) -> Generator[None]:
    """Within it, `report` is called with the functions compiled so far and those that there are."""
    listener = _Listener(report)
    with event.install_listener("numba:compile", listener):
        yield


class _Listener(event.Listener):
    def __init__(self, report: Callable[[int, int], None]) -> None:
        self._report = report

    def on_start(self, event: Any) -> None:
        """Nothing to report yet."""

    def on_end(self, event: Any) -> None:
        self._report(sum(bool(function.signatures) for function in _functions), len(_functions))
