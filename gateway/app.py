"""The HTTP application: the API, the page, and what surrounds each request."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import grpc_web, pages, problems
from gateway.doors import Doors, SessionEndpoint
from gateway.grpc_web import GrpcWeb
from gateway.openapi import FILE as OPENAPI
from gateway.overview import Overview
from gateway.transcoder import Transcoder
from services.chassis import access_log, context, tracing
from services.chassis.auth import Caller
from services.chassis.errors import Code, PrismaError
from services.chassis.interceptors import as_prisma_error
from services.chassis.limits import CallInProgress, CallLimit

_REQUESTS = Counter("prisma_http_total", "HTTP requests answered, by the route's template", ["method", "route", "code"])
_SECONDS = Histogram(
    "prisma_http_seconds",
    "Duration of HTTP requests, in seconds, watched streams included",
    ["method", "route"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300),
)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_READING = ("GET", "HEAD")
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}")
_CLIENT_GONE = 499
_SERVER_ERROR = 500
_PROBED = frozenset({"/healthz", "/readyz", "/metrics"})
"""Routes of health checks and scrapes, which the access log leaves out."""
_MAX_PATH = 300
Handler = Callable[[Request], Awaitable[Response]]


def build(
    *,
    transcoder: Transcoder,
    web_calls: GrpcWeb,
    doors: Doors,
    overview: Overview,
    limit: CallLimit,
    ready: Callable[[], bool],
) -> Starlette:
    """The application. `ready` says whether requests can be answered."""

    async def status(_request: Request) -> Response:
        return JSONResponse(await overview.status())

    async def readiness(_request: Request) -> Response:
        return PlainTextResponse("ready\n") if ready() else PlainTextResponse("not ready\n", status_code=503)

    def api(path: str, handler: Handler, methods: Sequence[str] = _READING, *, is_grpc_web: bool = False) -> Route:
        application = _as_app(handler)
        return Route(
            path,
            _Endpoint(application, route=path, methods=methods, doors=doors, limit=limit, is_grpc_web=is_grpc_web),
        )

    def open_to_all(path: str, handler: Handler) -> Route:
        return Route(path, _Endpoint(_as_app(handler), route=path, methods=_READING))

    application = Starlette(
        routes=[
            open_to_all("/healthz", _healthy),
            open_to_all("/readyz", readiness),
            Route(
                "/session", _Endpoint(SessionEndpoint, route="/session", methods=("GET", "POST", "DELETE"), limit=limit)
            ),
            api("/metrics", _metrics),
            api("/v1/status", status),
            api("/v1/openapi.json", _openapi),
            api("/v1", transcoder.answer, _METHODS),
            api("/v1/{path:path}", transcoder.answer, _METHODS),
            *(api(path, web_calls.answer, ("POST",), is_grpc_web=True) for path in web_calls.paths()),
            # The page and the documentation are the same for everyone, and hold nobody's data.
            open_to_all("/docs", pages.docs),
            open_to_all("/docs/{file}", pages.docs),
            open_to_all("/{path:path}", pages.page),
        ],
        middleware=_cross_origin(doors.origins),
    )
    application.state.doors = doors
    application.router.default = _Endpoint(_as_app(_no_such_path), route="none", methods=_METHODS)
    return application


def _cross_origin(origins: Sequence[str]) -> list[Middleware]:
    """What lets pages of these origins call with an API key; never with the cookie of a session."""
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=(*grpc_web.HEADERS, "x-prisma-timeout", tracing.HEADER),
            expose_headers=(*grpc_web.EXPOSED_HEADERS, "retry-after", "content-disposition", "x-prisma-notices"),
        )
    ]


async def _healthy(_request: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _metrics(_request: Request) -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _openapi(_request: Request) -> Response:
    return Response(OPENAPI.read_bytes(), media_type="application/json")


async def _no_such_path(request: Request) -> Response:
    raise problems.no_such_path(request.url.path)


def _as_app(handler: Handler) -> ASGIApp:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        response = await handler(Request(scope, receive, send))
        await response(scope, receive, send)

    return application


class _Endpoint:
    """What surrounds a request: request id, caller, limits, errors in the API's form, headers, metrics, a log entry.

    route: its template; the API's paths set a more exact one, `request.state.route`. doors: who may call; None for
    everyone. limit: counts the request until its response has been sent. is_grpc_web: whether its calls are gRPC-Web,
    whose errors are trailers.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        route: str,
        methods: Sequence[str],
        doors: Doors | None = None,
        limit: CallLimit | None = None,
        is_grpc_web: bool = False,
    ) -> None:
        self._app = app
        self._is_grpc_web = is_grpc_web
        self._route = route
        self._methods = methods
        self._doors = doors
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        request, traffic, status = Request(scope, receive, send), _Traffic(receive), 0
        call: CallInProgress | None = None
        _enter_context(request)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            traffic.count_sent(message)
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(message)
                if call is not None:
                    call.answer()
            await send(message)

        try:
            with self._counted(self._admitted(request)) as call:
                traffic.span = self._span(request)
                await self._app(scope, traffic.receive, send_with_headers)
        except Exception as error:
            if status:
                raise  # the response has begun: the server closes the connection
            await self._error_response(error, request)(scope, receive, send_with_headers)
        finally:
            self._record(request, traffic, status)

    def _record(self, request: Request, traffic: _Traffic, status: int) -> None:
        """Metrics and access log. A request without a response (status 0) was given up by its client."""
        seconds = time.perf_counter() - traffic.start
        method = request.method if request.method in _METHODS else "other"
        route: str = getattr(request.state, "route", self._route)
        grpc_code: Code | None = getattr(request.state, "grpc_code", None)
        outcome = status if grpc_code is None else problems.HTTP_CODES.get(grpc_code, status)
        _REQUESTS.labels(method, route, str(outcome)).inc()
        _SECONDS.labels(method, route).observe(seconds)
        traffic.span.rename(f"{method} {route}")
        traffic.span.set(http__route=route, http__request__method=method, http__response__status_code=status)
        if grpc_code is not None:
            traffic.span.set(rpc__grpc__status_code=int(grpc_code))
        if outcome >= _SERVER_ERROR:
            traffic.span.fail(str(status) if grpc_code is None else grpc_code.name)
        traffic.span.end()
        if route not in _PROBED:
            access_log.record(
                "request",
                method=method,
                route=route,
                path=request.url.path[:_MAX_PATH],
                **({} if grpc_code is None else {"grpc_code": grpc_code.name}),
                code=status,
                seconds=seconds,
                bytes_received=traffic.bytes_received,
                bytes_sent=traffic.bytes_sent,
            )

    def _admitted(self, request: Request) -> Caller | None:
        if request.method not in self._methods:
            raise problems.wrong_method(request.method, sorted(self._methods))
        if self._doors is None:
            return None
        caller = self._doors.caller(request)
        context.user.set(caller.name or "")
        request.state.caller = caller
        return caller

    def _span(self, request: Request) -> tracing.Span:
        """The span of an admitted request; strangers can neither continue a trace nor fill the collector."""
        if self._doors is None or self._route in _PROBED:
            return tracing.Span()
        parent = request.headers.get(tracing.HEADER, "")
        return tracing.begin(request.method, "server", parent=parent, request_id=context.request_id.get())

    def _counted(self, caller: Caller | None) -> AbstractContextManager[CallInProgress | None]:
        if self._limit is None:
            return nullcontext()
        return self._limit.call(None if caller is None else caller.name)

    def _error_response(self, error: Exception, request: Request) -> Response:
        if isinstance(error, ClientDisconnect):
            return Response(status_code=_CLIENT_GONE)
        if isinstance(error, HTTPException):
            return problems.response(problems.wrong_method(request.method, []))
        if not isinstance(error, PrismaError):
            error = as_prisma_error(error, method=f"{request.method} {request.url.path[:300]}")
        if self._is_grpc_web and grpc_web.is_call(request):
            return grpc_web.error_response(error, request)
        return problems.response(error)


class _Traffic:
    """A request's span, and the bytes of its bodies, as far as they were received and sent."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.span = tracing.Span()
        self.start = time.perf_counter()
        self.bytes_received = 0
        self.bytes_sent = 0

    async def receive(self) -> Message:
        """The next message of the request."""
        message = await self._receive()
        self.bytes_received += len(message.get("body", b""))
        return message

    def count_sent(self, message: Message) -> None:
        """Counts a message of the response."""
        self.bytes_sent += len(message.get("body", b""))


def _enter_context(request: Request) -> None:
    sent_id = request.headers.get("x-request-id", "")
    context.request_id.set(sent_id if _REQUEST_ID.fullmatch(sent_id) else uuid.uuid4().hex)
    context.user.set("")


def _add_headers(message: Message) -> None:
    headers = MutableHeaders(scope=message)
    headers["x-request-id"] = context.request_id.get()
    for name, value in pages.HEADERS.items():
        headers.setdefault(name, value)
