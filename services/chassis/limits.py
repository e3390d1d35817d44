"""How many calls may be in progress at once: in all, per caller, and by how fast this process answers."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from contextvars import ContextVar

from prisma_common.cores import core_count
from services.chassis.errors import TooManyRequests

RETRY_SECONDS = 1.0
QUEUE_SECONDS = 0.4
"""No more calls may wait for their answers than this process answers in this time: so that is how long they wait."""
RATE_SECONDS = 1.0
"""The answers of this time count."""
BURST_SECONDS = QUEUE_SECONDS / 2
"""As long as none has waited for longer, the calls that wait are a burst, and are all taken. Well below QUEUE_SECONDS:
in an overload, the call that has waited longest has waited for about that."""
SHORT_SECONDS = 2.0
"""A call that has waited for its answer for longer waits for something else than this process: a model, an upload."""
CALLS_PER_CORE = 16
"""So many calls may wait in any case, for each processor core."""


class Waiting:
    """The calls that wait for their answers, and how fast they get them.

    floor: so many may wait, however few are answered. clock: the time in seconds.
    """

    def __init__(self, *, floor: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._floor = CALLS_PER_CORE * core_count() if floor is None else floor
        self._clock = clock
        self._starts: dict[CallInProgress, float] = {}
        """The oldest first."""
        self._answers: deque[float] = deque()

    @property
    def is_full(self) -> bool:
        """Whether one more call would wait for longer than QUEUE_SECONDS (by Little's law), outside a burst."""
        now = self._clock()
        while self._starts and now - self._oldest_start > SHORT_SECONDS:
            del self._starts[next(iter(self._starts))]
        while self._answers and now - self._answers[0] > RATE_SECONDS:
            self._answers.popleft()
        if not self._starts or now - self._oldest_start <= BURST_SECONDS:
            return False
        return len(self._starts) >= max(self._floor, len(self._answers) * QUEUE_SECONDS / RATE_SECONDS)

    def begin(self, call: CallInProgress) -> None:
        """Adds a call."""
        self._starts[call] = self._clock()

    def answer(self, call: CallInProgress) -> None:
        """Counts an answer, and the call no longer."""
        self.leave(call)
        self._answers.append(self._clock())

    def leave(self, call: CallInProgress) -> None:
        """Counts a call no longer."""
        self._starts.pop(call, None)

    @property
    def _oldest_start(self) -> float:
        return next(iter(self._starts.values()))


class CallInProgress:
    """One call: counted while it is entered, and as waiting until its response begins."""

    def __init__(self, limit: CallLimit, waiting: Waiting, caller: str | None) -> None:
        self._limit = limit
        self._waiting = waiting
        self._caller = caller
        self._is_answered = False

    def __enter__(self) -> CallInProgress:
        self._limit.begin(self._caller)
        self._waiting.begin(self)
        _current.set(self)
        return self

    def __exit__(self, *_error: object) -> None:
        self.answer()
        self._limit.end(self._caller)

    def answer(self) -> None:
        """The response begins: however long it takes to be read, as a watched stream does, the call waits no longer."""
        if not self._is_answered:
            self._is_answered = True
            self._waiting.answer(self)

    def leave(self) -> None:
        """The call waits for something else than this process, and is no load meanwhile."""
        self._waiting.leave(self)


_current: ContextVar[CallInProgress | None] = ContextVar("call_in_progress", default=None)


def leave_current() -> None:
    """The call that runs this waits for another process that is not there."""
    call = _current.get()
    if call is not None:
        call.leave()


class CallLimit:
    """Counts the calls in progress.

    total: calls in progress in this process, with the streams that are watched. per_caller: of these, calls of one API
    key. waiting: counts those that wait for their answers; the usual ones by default.
    """

    def __init__(self, *, total: int, per_caller: int, waiting: Waiting | None = None) -> None:
        self._total = total
        self._per_caller = per_caller
        self._waiting = waiting or Waiting()
        self._in_progress = 0
        self._by_caller: Counter[str] = Counter()

    def check(self, caller: str | None) -> None:
        """Raises TooManyRequests if one more call of this caller would exceed a limit. None: no limit per caller."""
        if self._in_progress >= self._total:
            self._refuse(f"this server already has {self._total} calls in progress")
        if caller is not None and self._by_caller[caller] >= self._per_caller:
            self._refuse(f"the API key {caller!r} already has {self._per_caller} calls in progress")
        if self._waiting.is_full:
            self._refuse("this server has more calls than it can answer soon")

    def call(self, caller: str | None) -> CallInProgress:
        """Counts one call for as long as it is entered. Entering raises TooManyRequests."""
        return CallInProgress(self, self._waiting, caller)

    def begin(self, caller: str | None) -> None:
        """Counts one more call of a caller. Raises TooManyRequests."""
        self.check(caller)
        self._in_progress += 1
        if caller is not None:
            self._by_caller[caller] += 1

    def end(self, caller: str | None) -> None:
        """Counts one call of a caller less."""
        self._in_progress -= 1
        if caller is not None:
            self._by_caller[caller] -= 1
            if not self._by_caller[caller]:
                del self._by_caller[caller]

    def _refuse(self, message: str) -> None:
        raise TooManyRequests(f"{message}; retry in a moment", retry_seconds=RETRY_SECONDS)
