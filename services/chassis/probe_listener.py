"""Probes over plain HTTP, on a port of their own: for what speaks no TLS and has no key, as a kubelet.

`/startupz`, `/livez` and `/readyz` answer 200 or 503, as gRPC's health service does under `startup`, `liveness` and the
empty name; `/readyz?service=…` asks for the name of a gRPC service. Answers hold no more than that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

from prisma_common.addresses import host_and_port
from services.chassis.probes import LIVENESS, STARTUP, Probes
from services.chassis.settings import ChassisSettings
from services.chassis.startup import StartRefused

MAX_CONNECTIONS = 64
"""Whose request has not come yet; one more ends the oldest."""
REQUEST_SECONDS = 5.0
_MAX_HEADER_BYTES = 8 << 10
_NAMES: Mapping[str, str] = {"/startupz": STARTUP, "/livez": LIVENESS, "/readyz": ""}
_STATUSES: Mapping[int, str] = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


async def listen(
    settings: ChassisSettings, service: str, probes: Probes, ready: Callable[[], bool] = lambda: True
) -> asyncio.Server:
    """Answers probes of a service. ready: a further condition of /readyz.

    In the process's own event loop: one that hangs answers no probe. Raises StartRefused.
    """
    unanswered: dict[asyncio.StreamWriter, None] = {}  # in the order in which they came

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(unanswered) >= MAX_CONNECTIONS:  # idle ones must not keep a kubelet out
            oldest = next(iter(unanswered))
            del unanswered[oldest]
            oldest.transport.abort()
        unanswered[writer] = None
        try:
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                async with asyncio.timeout(REQUEST_SECONDS):
                    header = await reader.readuntil(b"\r\n\r\n")
                    unanswered.pop(writer, None)
                    writer.write(_response(*_answer(header, probes, ready)))
                    await writer.drain()
        finally:
            unanswered.pop(writer, None)
            writer.close()

    try:
        host, port = host_and_port(settings.probe_address(service))
        return await asyncio.start_server(serve, host, port, limit=_MAX_HEADER_BYTES)
    except (OSError, ValueError) as error:
        raise StartRefused(
            f"the {service} cannot answer probes by PRISMA_PROBE_LISTEN={settings.probe_listen}: {error}"
        ) from error


def _answer(header: bytes, probes: Probes, ready: Callable[[], bool]) -> tuple[int, str]:
    """The status and text of a response."""
    method, _, remainder = header.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    target, _, protocol = remainder.rpartition(" ")
    if not protocol.startswith("HTTP/1.") or not target.startswith("/"):
        return 400, "expected a request of HTTP/1.1"
    if method not in ("GET", "HEAD"):
        return 405, "expected GET"
    url = urlsplit(f"http://probe{target}")
    if url.path not in _NAMES:
        return 404, "expected /startupz, /livez or /readyz"
    name = _NAMES[url.path] or parse_qs(url.query).get("service", [""])[0]
    serving = probes.serving(name)
    if serving is None:
        return 404, "no such service in this process"
    if not serving or (url.path == "/readyz" and not ready()):
        return 503, "not ready" if url.path == "/readyz" else "not started"
    return 200, "ok"


def _response(status: int, text: str) -> bytes:
    body = f"{text}\n"
    head = f"HTTP/1.1 {status} {_STATUSES[status]}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n{body}".encode()
