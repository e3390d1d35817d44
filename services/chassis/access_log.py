"""One log entry per request, at the level info: HTTP requests in the gateway, gRPC calls in every process.

The request id and the user are in each entry, as in all entries of the log. Health checks and scrapes have none.
PRISMA_ACCESS_LOG=false turns the entries off.
"""

from __future__ import annotations

import logging

from services.chassis import logs

_log = logs.get(logs.ACCESS)


def record(
    event: str, *, code: str | int, seconds: float = 0.0, bytes_received: int = 0, bytes_sent: int = 0, **names: str
) -> None:
    """Writes the entry of a request that has ended. The bytes are those of messages or bodies. names: of its route."""
    if logging.getLogger(logs.ACCESS).isEnabledFor(logging.INFO):  # composing an entry costs as much as a call
        milliseconds = round(seconds * 1000, 1)
        sizes = {"received_bytes": bytes_received, "sent_bytes": bytes_sent}
        _log.info(event, **names, code=code, milliseconds=milliseconds, **sizes)
