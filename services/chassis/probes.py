"""What probes learn from gRPC's health service, by the name that they ask for.

- `startup`: SERVING once the data is migrated and the process listens.
- `liveness`: SERVING as long as the process responds; restart it if it does not.
- The empty name, and the full name of a gRPC service: whether calls succeed now (readiness). NOT_SERVING while
  something essential for them does not work, and from the beginning of an orderly end.

The message server is essential for JobService alone: without it, everything else is served.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from itertools import chain

from grpc_health.v1 import health, health_pb2

from prisma.common.v1.status_pb2 import ServiceStatus
from services.chassis.dependency import Dependency

STARTUP = "startup"
LIVENESS = "liveness"
CHECK_SECONDS = 5.0
"""Between two checks of what is essential."""
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Probes:
    """Sets the statuses of a health servicer.

    needs: what is essential, by the name that is asked for; dependencies that are not essential are ignored.
    """

    def __init__(self, needs: Mapping[str, Collection[Dependency]]) -> None:
        self.servicer = health.aio.HealthServicer()
        self._reported: dict[str, bool] = {}
        self._stopped = False
        self._needs = {
            name: [dependency for dependency in dependencies if dependency.essential]
            for name, dependencies in needs.items()
        }

    def serving(self, name: str) -> bool | None:
        """What is reported under a name; None for a name that there is not."""
        return self._reported.get(name)

    async def prepare(self) -> None:
        """Reports that the process is alive and not ready: before it listens, so that no name is ever unknown."""
        for name in (STARTUP, *self._needs):
            await self._report(name, serving=False)
        await self._report(LIVENESS, serving=True)

    async def start(self) -> None:
        """Reports that the process has started, and what works."""
        await self._report(STARTUP, serving=True)
        await self.check()

    async def run(self) -> None:
        """Checks what is essential until cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self.check()

    async def check(self) -> None:
        """Checks everything essential once, and reports the result under each name."""
        dependencies = list(set(chain.from_iterable(self._needs.values())))
        states = await asyncio.gather(*(dependency.state() for dependency in dependencies))
        working = {
            dependency
            for dependency, state in zip(dependencies, states, strict=True)
            if state.health != ServiceStatus.HEALTH_DOWN
        }
        for name, needs in self._needs.items():
            await self._report(name, serving=working.issuperset(needs))

    async def stop(self) -> None:
        """Reports that no more calls are taken; the process is still alive."""
        self._reported.update(dict.fromkeys(self._needs, False))
        self._stopped = True
        await self.servicer.enter_graceful_shutdown()

    async def _report(self, name: str, *, serving: bool) -> None:
        if not self._stopped:
            self._reported[name] = serving
            await self.servicer.set(name, _SERVING if serving else _NOT_SERVING)
