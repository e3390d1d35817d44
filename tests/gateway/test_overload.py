"""Beyond what it can answer soon, the gateway refuses with 429 and a time to wait; watched streams are no load."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from gateway import app
from gateway.doors import Doors
from gateway.grpc_web import GrpcWeb
from gateway.http_server import http_server
from gateway.local import LocalServices
from gateway.overview import Overview
from gateway.settings import GatewaySettings
from gateway.transcoder import Transcoder
from prisma_common.listening import listening_socket
from services.chassis.limits import QUEUE_SECONDS, CallLimit, Waiting
from services.chassis.status import StatusServicer


class Scripted(Transcoder):
    """Answers `/v1/watch` with a stream that stays silent after its first line, `/v1/read` when told to."""

    def __init__(self) -> None:
        super().__init__({}, LocalServices({}), 0)
        self.reading = asyncio.Semaphore(0)
        self.may_answer = asyncio.Event()

    async def answer(self, request: Request) -> Response:
        if request.url.path == "/v1/watch":
            return StreamingResponse(self._lines())
        self.reading.release()
        await self.may_answer.wait()
        return PlainTextResponse("read")

    async def _lines(self) -> AsyncIterator[str]:
        yield "first\n"
        await self.may_answer.wait()


@pytest.mark.timeout(60)
async def test_a_request_too_many_is_refused_and_a_watched_stream_is_not_one(tmp_path: Path) -> None:
    settings, transcoder = GatewaySettings(data_dir=tmp_path), Scripted()
    now = 0.0
    limit = CallLimit(total=10, per_caller=10, waiting=Waiting(floor=2, clock=lambda: now))
    overview = Overview({}, {}, StatusServicer("gateway", tmp_path, [], lambda: 0))
    doors = Doors(settings, settings.data_of("gateway"))
    web_calls = GrpcWeb({}, LocalServices({}), 0)
    application = app.build(
        transcoder=transcoder, web_calls=web_calls, doors=doors, overview=overview, limit=limit, ready=lambda: True
    )
    listener = listening_socket("127.0.0.1:0")
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    serving = asyncio.create_task(http_server(application).serve_on(listener))
    async with (
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
        client.stream("GET", "/v1/watch") as first,
        client.stream("GET", "/v1/watch") as second,
    ):
        assert [await anext(stream.aiter_text()) for stream in (first, second)] == ["first\n"] * 2
        reads = [asyncio.create_task(client.get("/v1/read")) for _ in range(2)]
        for _ in reads:
            await transcoder.reading.acquire()
        now = 2 * QUEUE_SECONDS
        refused = await client.get("/v1/read")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        transcoder.may_answer.set()
        assert [(await read).status_code for read in reads] == [200, 200]
    serving.cancel()
    await asyncio.wait([serving])
