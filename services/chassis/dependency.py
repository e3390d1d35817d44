"""What a process needs (a database, a provider, another service), and whether it works."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from prisma.common.v1.status_pb2 import ServiceStatus
from services.chassis.errors import PrismaError

CHECK_SECONDS = 3.0
Check = Callable[[], Awaitable[Mapping[str, str]]]
"""Returns facts for people, or raises what is wrong."""


class Degraded(Exception):
    """It works, in part or not for much longer: the message says what is wrong and what to do."""


class Dependency:
    """Something that a process needs, and how to check it.

    essential: without it the process is down, otherwise degraded.
    configured: False for what the operator has not set up; its absence is shown, but is no fault.
    """

    def __init__(
        self, name: str, address: str, check: Check, *, essential: bool = True, configured: bool = True
    ) -> None:
        self.name = name
        self.essential = essential
        self.configured = configured
        self._address = address
        self._check = check

    async def state(self) -> ServiceStatus.Dependency:
        """The result of a check made now; it takes at most CHECK_SECONDS and never raises."""
        start = time.perf_counter()
        dependency = ServiceStatus.Dependency(name=self.name, address=self._address, health=ServiceStatus.HEALTH_OK)
        try:
            dependency.details.update(await asyncio.wait_for(self._check(), CHECK_SECONDS))
        except Degraded as error:
            dependency.health, dependency.message = ServiceStatus.HEALTH_DEGRADED, str(error)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong with a dependency is its status
            dependency.health = ServiceStatus.HEALTH_DOWN
            dependency.message = _description(error)
        dependency.milliseconds = (time.perf_counter() - start) * 1000
        return dependency


def _description(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no response within {CHECK_SECONDS:.0f} s"
    if isinstance(error, PrismaError):
        return error.message
    return f"{type(error).__name__}: {error}"
