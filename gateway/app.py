"""The HTTP application: the API, the page, and what surrounds each request."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gateway import pages, problems
from gateway.doors import Doors
from gateway.openapi import FILE as OPENAPI
from gateway.overview import Overview
from gateway.transcoder import Transcoder
from services.chassis import context, logs
from services.chassis.errors import Internal, PrismaError

_REQUESTS = Counter("prisma_http_total", "HTTP requests answered", ["method", "code"])
_SECONDS = Histogram("prisma_http_seconds", "How long HTTP requests took to their first byte, in seconds", ["method"])
_VERBS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_ID = re.compile(r"[\w.:-]{1,128}")
_log = logs.get(__name__)
Handler = Callable[[Request], Awaitable[Response]]


def build(transcoder: Transcoder, doors: Doors, overview: Overview, ready: Callable[[], Awaitable[bool]]) -> Starlette:
    """The application. `ready` says whether requests can be answered."""

    async def api(request: Request) -> Response:
        return await transcoder.answer(request)

    async def status(_request: Request) -> Response:
        return JSONResponse(await overview.look())

    async def openapi(_request: Request) -> Response:
        return Response(OPENAPI.read_bytes(), media_type="application/json")

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    async def healthy(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readiness(_request: Request) -> Response:
        fine = await ready()
        return PlainTextResponse("ready\n" if fine else "not ready\n", status_code=200 if fine else 503)

    return Starlette(
        routes=[
            _at("/healthz", healthy, None),
            _at("/readyz", readiness, None),
            _at("/session", doors.session, None, ["GET", "POST", "DELETE"]),
            _at("/metrics", metrics, doors),
            _at("/v1/status", status, doors),
            _at("/v1/openapi.json", openapi, doors),
            _at("/v1", api, doors, _VERBS),
            _at("/v1/{path:path}", api, doors, _VERBS),
            # The page and the documents are the same for all, and hold nothing of anybody.
            _at("/docs", pages.docs, None),
            _at("/docs/{file}", pages.docs, None),
            _at("/{path:path}", pages.page, None),
        ]
    )


def _at(path: str, handler: Handler, doors: Doors | None, methods: Sequence[str] = ("GET", "HEAD")) -> Route:
    """A route that answers other methods itself: an error in the API's form, and no path falls to a later route."""

    async def answer(request: Request) -> Response:
        if request.method not in methods:
            raise problems.wrong_method(request.method, sorted(methods))
        return await handler(request)

    return Route(path, _surrounded(answer, doors), methods=_VERBS)


def _surrounded(handler: Handler, doors: Doors | None) -> Handler:
    """A handler with who calls, a request id, errors made readable, headers, a line in the log."""

    async def answer(request: Request) -> Response:
        began = time.perf_counter()
        sent = request.headers.get("x-request-id", "")
        context.request_id.set(sent if _ID.fullmatch(sent) else uuid.uuid4().hex)
        context.user.set("")
        try:
            if doors is not None:
                context.user.set(doors.caller(request))
            response = await handler(request)
        except PrismaError as error:
            response = problems.response(error)
        except ClientDisconnect:
            response = Response(status_code=499)
        except Exception as error:  # noqa: BLE001 - a defect is told with its id; the log keeps the trace
            _log.error("request failed", path=request.url.path, exc_info=error)
            told = f"a defect of PRISMA; the log has the details under request id {context.request_id.get()}"
            response = problems.response(Internal(told))
        response.headers["x-request-id"] = context.request_id.get()
        for name, value in pages.HEADERS.items():
            response.headers.setdefault(name, value)
        seconds = time.perf_counter() - began
        _REQUESTS.labels(request.method, str(response.status_code)).inc()
        _SECONDS.labels(request.method).observe(seconds)
        _note(request, response, seconds)
        return response

    return answer


def _note(request: Request, response: Response, seconds: float) -> None:
    facts: dict[str, Any] = {
        "method": request.method,
        "path": request.url.path,
        "status": response.status_code,
        "milliseconds": round(seconds * 1000, 1),
    }
    _log.debug("request", **facts)
