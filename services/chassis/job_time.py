"""Where the time of a job goes: what it waits for, and how long it computes.

A job's attempt has a TimeUse, which the code that it runs finds in its context, also in threads and tasks of its own.
Each moment counts once: while several parts are in progress, the first of `Part` counts; while none is, it computes.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from enum import Enum, auto
from typing import Generic, TypeVar

import psutil

from prisma.common.v1.job_pb2 import Job
from prisma_common.cores import core_count

_Item = TypeVar("_Item")
_CHILDREN_SECONDS = 1.0
"""How often the CPU time of child processes is read: it takes some milliseconds."""
_MAX_REQUESTS = 1000
"""The last requests to a model server, of which the median is taken."""


class Part(Enum):
    """What a job does at a moment, or waits for."""

    JOB = auto()
    """Another job of this process, which must end first."""
    PROVIDER = auto()
    """A model server."""
    SERVICE = auto()
    """Another service of PRISMA."""
    STORAGE = auto()
    """The database and stored files."""
    COMPUTING = auto()
    """None of these."""


_WAITS: Sequence[Part] = (Part.JOB, Part.PROVIDER, Part.SERVICE, Part.STORAGE)


class TimeUse:
    """The time of one attempt, from now on."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._active: dict[Part, int] = dict.fromkeys(_WAITS, 0)
        self._seconds = dict.fromkeys(Part, 0.0)
        self._counted_until = clock()
        self._processes = Processes()
        self._provider = ""
        self._requests: deque[float] = deque(maxlen=_MAX_REQUESTS)
        self._request_count = 0

    @contextmanager
    def during(self, part: Part) -> Generator[None]:
        """Counts the time within as that of a part."""
        self._change(part, 1)
        try:
            yield
        finally:
            self._change(part, -1)

    def note_request(self, provider: str, seconds: float) -> None:
        """Notes a request to a model server that has ended."""
        with self._lock:
            self._provider = provider
            self._requests.append(seconds)
            self._request_count += 1

    def message(self) -> Job.TimeUse:
        """The time until now."""
        with self._lock:
            self._advance()
            seconds = self._seconds
            return Job.TimeUse(
                total_seconds=sum(seconds.values()),
                job_seconds=seconds[Part.JOB],
                provider_seconds=seconds[Part.PROVIDER],
                service_seconds=seconds[Part.SERVICE],
                storage_seconds=seconds[Part.STORAGE],
                compute_seconds=seconds[Part.COMPUTING],
                cpu_seconds=self._processes.cpu_seconds(),
                cpu_cores=core_count(),
                provider=self._provider,
                provider_requests=self._request_count,
                provider_median_seconds=statistics.median(self._requests) if self._requests else 0,
            )

    def _change(self, part: Part, count: int) -> None:
        with self._lock:
            self._advance()
            self._active[part] += count

    def _advance(self) -> None:
        now = self._clock()
        current = next((part for part in _WAITS if self._active[part]), Part.COMPUTING)
        self._seconds[current] += now - self._counted_until
        self._counted_until = now


class Processes:
    """The CPU time that this process and its children, such as trainings, have used from now on."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._start = self._used()
        self._read_time = 0.0
        self._children: dict[int, float] = {}
        """CPU seconds of each, also of those that have ended."""
        self._seconds = 0.0

    def cpu_seconds(self) -> float:
        """Seconds of all cores; those of the children as they were at most a second ago."""
        if time.monotonic() - self._read_time >= _CHILDREN_SECONDS:
            self._read_time = time.monotonic()
            self._read_children()
        self._seconds = max(self._seconds, self._used() + sum(self._children.values()) - self._start)
        return self._seconds

    def _read_children(self) -> None:
        for child in self._process.children(recursive=True):
            try:
                times = child.cpu_times()
            except psutil.Error:
                continue  # it has just ended
            self._children[child.pid] = times.user + times.system

    def _used(self) -> float:
        """Seconds of this process alone: the kernel adds its children only when they have ended."""
        times = self._process.cpu_times()
        return times.user + times.system


def with_parts(own: Job.TimeUse, parts: Sequence[Job.TimeUse]) -> Job.TimeUse:
    """The time of a job that is divided into parts: theirs, and its own but for the time that it waited for them."""
    if not parts:
        return own
    total = Job.TimeUse(cpu_cores=own.cpu_cores)
    for use in (own, *parts):
        for field in ("provider_seconds", "service_seconds", "storage_seconds", "compute_seconds"):
            setattr(total, field, getattr(total, field) + getattr(use, field))
        total.provider_requests += use.provider_requests
        total.provider = use.provider or total.provider
    total.cpu_seconds = sum(part.cpu_seconds for part in parts)
    total.total_seconds = own.total_seconds - own.job_seconds + sum(part.total_seconds for part in parts)
    total.job_seconds = sum(part.job_seconds for part in parts)
    medians = [part.provider_median_seconds for part in parts if part.provider_requests]
    total.provider_median_seconds = statistics.median(medians) if medians else 0
    return total


_current: ContextVar[TimeUse | None] = ContextVar("time_use", default=None)


def begin() -> TimeUse:
    """Counts the time of the attempt that begins in this context."""
    use = TimeUse()
    _current.set(use)
    return use


def during(part: Part) -> AbstractContextManager[None]:
    """Counts the time within as that of a part, where a job runs."""
    use = _current.get()
    return nullcontext() if use is None else use.during(part)


def note_request(provider: str, seconds: float) -> None:
    """Notes a request to a model server that has ended, where a job runs."""
    use = _current.get()
    if use is not None:
        use.note_request(provider, seconds)


class Stream(AsyncIterator[_Item], Generic[_Item]):
    """The messages of another service. Only the time until the next one is there counts as waiting for the service."""

    def __init__(self, messages: AsyncIterable[_Item]) -> None:
        self._messages = aiter(messages)

    async def __anext__(self) -> _Item:
        with during(Part.SERVICE):
            return await anext(self._messages)
