"""Calls between services: bounded retries, keepalive, deadlines, and the caller's request id and user sent on."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from grpc import aio

from services.chassis import context
from services.chassis.errors import DOMAIN, Code, PrismaError, Unavailable, Violation
from services.chassis.interceptors import REQUEST_ID, USER
from services.chassis.settings import ChassisSettings

_Answer = TypeVar("_Answer")

MAX_MESSAGE_BYTES = 64 << 20
UNARY_SECONDS = 60.0
OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 3_000),
]
_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}


class RemoteError(PrismaError, dynamic=True):
    """An error of another service, told on as it came."""

    def __init__(self, status: Status, reason: str, metadata: dict[str, str], violations: list[Violation]) -> None:
        super().__init__(status.message, metadata=metadata, violations=violations)
        self.code = Code(status.code)
        self.reason = reason


def open_channel(address: str, settings: ChassisSettings) -> aio.Channel:
    """A channel to another service; it connects when it is first used, and again whenever it must."""
    options = [*OPTIONS, ("grpc.service_config", json.dumps(_SERVICE_CONFIG))]
    interceptors = [_UnaryUnary(settings), _UnaryStream(settings), _StreamUnary(settings)]
    if settings.tls_authority is None:
        return aio.insecure_channel(address, options, interceptors=interceptors)
    credentials = grpc.ssl_channel_credentials(
        settings.tls_authority.read_bytes(),
        settings.tls_key.read_bytes() if settings.tls_key else None,
        settings.tls_certificate.read_bytes() if settings.tls_certificate else None,
    )
    return aio.secure_channel(address, credentials, options, interceptors=interceptors)


async def pages(ask: Callable[[Any], Awaitable[Any]], request: Any) -> AsyncGenerator[Any]:
    """All pages of a list: asks again with the token of the page before, until there is none. Changes `request`."""
    while True:
        page = await ask(request)
        yield page
        request.page_token = page.next_page_token
        if not request.page_token:
            return


@asynccontextmanager
async def errors_of(service: str) -> AsyncGenerator[None]:
    """What another service answers within, as errors of ours (see `translate`)."""
    try:
        yield
    except aio.AioRpcError as error:
        raise translate(error, service) from error


async def ask(service: str, call: Awaitable[_Answer]) -> _Answer:
    """The answer of another service, its errors as ours."""
    async with errors_of(service):
        return await call


def translate(error: aio.AioRpcError, service: str) -> PrismaError:
    """Another service's error as one of ours: its own words where it has some, else that it does not answer."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            assert isinstance(value, bytes)
            return _remote(Status.FromString(value))
    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        return Unavailable(f"the {service} does not answer: {error.details()}", metadata={"service": service})
    status = Status(code=error.code().value[0], message=f"the {service}: {error.details()}")
    return RemoteError(status, "INTERNAL", {"service": service}, [])


def _remote(status: Status) -> RemoteError:
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    reason, metadata, violations = "INTERNAL", dict[str, str](), list[Violation]()
    for detail in status.details:
        if detail.Unpack(info) and info.domain == DOMAIN:
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad):
            violations = [Violation(each.field, each.description) for each in bad.field_violations]
    return RemoteError(status, reason, metadata, violations)


class _Sender:
    def __init__(self, settings: ChassisSettings) -> None:
        self._key = settings.service_key.get_secret_value() if settings.service_key else ""

    def details(self, details: Any, timeout: float | None) -> aio.ClientCallDetails:
        metadata = aio.Metadata(*(details.metadata or ()))
        if self._key:
            metadata.add("authorization", f"Bearer {self._key}")
        for key, value in ((REQUEST_ID, context.request_id.get()), (USER, context.user.get())):
            if value:
                metadata.add(key, value)
        limit = details.timeout if details.timeout is not None else timeout
        return aio.ClientCallDetails(details.method, limit, metadata, details.credentials, details.wait_for_ready)


Continuation = Callable[[aio.ClientCallDetails, Any], Any]


class _UnaryUnary(_Sender, aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Continuation, client_call_details: Any, request: Any) -> Any:
        return await continuation(self.details(client_call_details, UNARY_SECONDS), request)


class _UnaryStream(_Sender, aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Continuation, client_call_details: Any, request: Any) -> Any:
        return await continuation(self.details(client_call_details, None), request)


class _StreamUnary(_Sender, aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self, continuation: Continuation, client_call_details: Any, request_iterator: Any
    ) -> Any:
        return await continuation(self.details(client_call_details, None), request_iterator)
