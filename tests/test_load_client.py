"""The load generator's HTTP client: keeps connections, notices their end, sends nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from benchmarks.http_client import Client
from gateway import http_server
from prisma_common.listening import listening_socket


async def answer(request: Request) -> PlainTextResponse:
    """The client's port as the body, which is more than one packet; the query is a header."""
    assert request.client is not None
    headers = {"connection": "close"} if request.query_params.get("close") else {}
    return PlainTextResponse(f"{request.client.port} {'x' * 200_000}", headers=headers)


@pytest.fixture
async def client() -> AsyncIterator[tuple[Client, asyncio.Task[None]]]:
    listener = listening_socket("127.0.0.1:0")
    server = http_server.http_server(Starlette(routes=[Route("/", answer)]))
    serving = asyncio.create_task(server.serve_on(listener))
    async with Client(*listener.getsockname()) as opened:
        yield opened, serving
    serving.cancel()
    await asyncio.wait([serving])


async def port(client: Client, path: str = "/") -> bytes:
    """Of the connection that a request went over."""
    response = await client.get(path)
    assert (response.status, len(response.body) > 200_000) == (200, True)
    return response.body.partition(b" ")[0]


async def test_a_connection_is_kept_until_the_server_says_that_it_ends(
    client: tuple[Client, asyncio.Task[None]],
) -> None:
    opened, _ = client
    first = await port(opened)
    assert await port(opened) == first
    assert await port(opened, "/?close=1") == first
    assert await port(opened) != first


async def test_requests_at_the_same_time_have_connections_of_their_own(
    client: tuple[Client, asyncio.Task[None]],
) -> None:
    opened, _ = client
    assert len(set(await asyncio.gather(*(port(opened) for _ in range(5))))) == 5


async def test_a_server_that_is_gone_is_an_error(client: tuple[Client, asyncio.Task[None]]) -> None:
    opened, serving = client
    await port(opened)
    serving.cancel()
    await asyncio.wait([serving])
    with pytest.raises(ConnectionError):
        await opened.get("/")
