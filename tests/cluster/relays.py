"""Forwards TCP connections, as a cluster's proxy and its way to servers outside do."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

Targets = Callable[[], Sequence[str]]


class Relays:
    """Listeners, in a thread of their own, that pass connections on to the targets of that moment, in turn."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relays", daemon=True)
        self._thread.start()

    def add(self, host: str, port: int, targets: Targets) -> None:
        """Listens on `host:port`. targets: `host:port` of those that may be connected to."""
        turn = itertools.count()

        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                addresses = targets()
                address, _, number = addresses[next(turn) % len(addresses)].rpartition(":")
                far_reader, far_writer = await asyncio.open_connection(address, int(number))
            except (OSError, ZeroDivisionError):
                writer.transport.abort()
                return
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

        asyncio.run_coroutine_threadsafe(asyncio.start_server(forward, host, port), self._loop).result()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()
