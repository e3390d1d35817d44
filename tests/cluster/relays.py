"""Forwards TCP connections, as a cluster's proxy and its way to servers outside do."""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import os
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

_CLONE_NEWNET = 0x40000000
Targets = Callable[[], Sequence[str]]


class Relays:
    """Listeners, in a thread of their own, that pass connections on to the targets of that moment, in turn."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relays", daemon=True)
        self._thread.start()

    def add(self, host: str, port: int, targets: Targets, *, namespace: str | None = None) -> None:
        """Listens on `host:port`, in another network namespace if need be. targets: `host:port` of those that may be
        connected to."""
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

        listener = _listener(host, port, namespace)
        asyncio.run_coroutine_threadsafe(asyncio.start_server(forward, sock=listener), self._loop).result()

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


def _listener(host: str, port: int, namespace: str | None) -> socket.socket:
    """A socket that listens: it belongs to the namespace of the thread that creates it, wherever it is used."""

    def create() -> socket.socket:
        if namespace is not None:
            descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
            finally:
                os.close(descriptor)
        return socket.create_server((host, port))

    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(create).result()
