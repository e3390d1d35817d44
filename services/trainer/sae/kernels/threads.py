"""Threads of the kernels.

A training's are those of numba's parallel loops: between two loops they wait awake for a moment, as long as
`training.launch` says, which saves a fifth of a short step. What a service calls, encode above all, is spread over
Python's threads, since these kernels let go of the GIL: such a kernel compiles in a third of the time, and where numba
finds no OpenMP, as on macOS, its own pool ends the process when two threads call parallel loops at once.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
import scipy.linalg.cython_blas  # numba's np.dot takes its BLAS from here; loaded before its threads are limited
from threadpoolctl import threadpool_limits

from prisma_common.cores import core_count

assert scipy.linalg.cython_blas
_CORES = core_count()
_threads = [_CORES]


def set_threads(count: int) -> None:
    """Sets the threads of the kernels in this process; without it, they use all cores."""
    _threads[0] = min(count, _CORES)
    numba.set_num_threads(_threads[0])
    _pool()  # BLAS has one thread from now on


def threads() -> int:
    """Threads of the kernels in this process."""
    return _threads[0]


def spread(kernel: Callable[..., None], parts: int, *arguments: Any) -> None:
    """Calls kernel(thread, first, end, *arguments) in each thread, with its run of range(parts), and waits for all.

    Which thread takes a part depends on nothing but the number of threads.
    """
    if not parts:
        return
    pool, count = _pool(), min(threads(), parts)
    futures = [
        pool.submit(kernel, thread, parts * thread // count, parts * (thread + 1) // count, *arguments)
        for thread in range(1, count)
    ]
    try:
        kernel(0, 0, parts // count, *arguments)
    finally:
        for future in futures:
            future.result()


@cache
def _pool() -> ThreadPoolExecutor:
    threadpool_limits(1, user_api="blas")  # for good: BLAS is called inside the kernels
    return ThreadPoolExecutor(max(_CORES - 1, 1), thread_name_prefix="kernel")
