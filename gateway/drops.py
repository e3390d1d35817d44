"""Clients that go away before their answer: the RPC behind it is cancelled, so that nothing works for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from starlette.requests import ClientDisconnect, Request


async def answer_or_drop(
    request: Request, call: Any, answer: Awaitable[Any], body_taken: asyncio.Event | None = None
) -> Any:
    """What `answer` of a call gives. body_taken: set once nobody else receives the request's body; none for at once.

    Raises ClientDisconnect where the client goes first; the call is then cancelled, as it is when we are.
    """
    answering = asyncio.ensure_future(answer)
    dropping = asyncio.ensure_future(_dropped(request, body_taken))
    try:
        await asyncio.wait([answering, dropping], return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise ClientDisconnect
        return answering.result()
    finally:
        dropping.cancel()
        if not answering.done():
            call.cancel()
            answering.cancel()


async def _dropped(request: Request, body_taken: asyncio.Event | None) -> None:
    if body_taken is not None:
        await body_taken.wait()
    while (await request.receive())["type"] != "http.disconnect":
        pass
