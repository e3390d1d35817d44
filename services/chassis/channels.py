"""Calls between PRISMA's processes: keepalive, deadlines, waiting for a service that restarts, the caller's identity.

A call waits for a service that is not reachable, up to its own deadline and to RESTART_SECONDS since the service went
away, so that a restart fails no call. Once a service has been away for longer, calls fail at once. Methods that only
read are also repeated when a connection breaks during the call.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import grpc
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from grpc import aio

from prisma_common import contract
from prisma_common.keys import Scope
from prisma_common.reasons import DOMAIN, Code
from services.chassis import certificates, context, job_time, limits, tracing
from services.chassis.certificates import Certificates
from services.chassis.errors import PrismaError, Unavailable, Violation
from services.chassis.rotating_channel import RotatingChannel
from services.chassis.settings import ChassisSettings

_Answer = TypeVar("_Answer")

REQUEST_ID = "x-request-id"
USER = "x-prisma-user"
MAX_MESSAGE_BYTES = 64 << 20
DEFAULT_SECONDS = 60.0
RESTART_SECONDS = 20.0
"""How long after a service went away calls still wait for it."""
DRAIN_SECONDS = 5.0
"""How long a server that stops lets calls in progress go on at least (PRISMA_DRAIN_SECONDS)."""
KEEPALIVE_MS = 30_000
MIN_PING_MS = 10_000
"""Servers accept pings this far apart; it must be less than any client's keepalive, Go's and Java's included."""
RESOLUTION_MS = 2_000
"""Names are looked up again this often at most. gRPC's own 30 s are longer than a rolling restart of all replicas."""
CONNECTION_GRACE_MS = 24 * 3600_000
"""How long calls in progress go on after their connection has reached its age: a watched training may take hours."""
HANDSHAKE_MS = 10_000
_STATUS_SECONDS = 5.0
_UNSENT = "Internal error from Core"
"""What grpc.aio says of a call whose message it could not send."""

_SHARED_OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
CHANNEL_OPTIONS: Sequence[tuple[str, Any]] = (
    *_SHARED_OPTIONS,
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.dns_min_time_between_resolutions_ms", RESOLUTION_MS),
)
SERVER_OPTIONS: Sequence[tuple[str, Any]] = (
    *_SHARED_OPTIONS,
    ("grpc.keepalive_time_ms", 2 * KEEPALIVE_MS),
    ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_MS),
    ("grpc.max_connection_age_grace_ms", CONNECTION_GRACE_MS),
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
    ("grpc.so_reuseport", 0),
)


class RemoteError(PrismaError, dynamic=True):
    """An error of another service, passed on with its code and reason."""

    def __init__(self, status: Status, reason: str, metadata: dict[str, str], violations: list[Violation]) -> None:
        super().__init__(status.message, metadata=metadata, violations=violations)
        self.code = Code(status.code) if status.code in set(Code) else Code.UNKNOWN
        self.reason = reason


def open_channel(address: str, settings: ChassisSettings) -> aio.Channel:
    """A channel to another process; it connects when it is first used, and reconnects by itself."""
    options = [*CHANNEL_OPTIONS, ("grpc.service_config", json.dumps(_service_config()))]
    caller = _Caller(settings)
    interceptors = [_UnaryUnary(caller), _UnaryStream(caller), _StreamUnary(caller), _StreamStream(caller)]
    files = certificates.of_process(settings)

    def open_secure(current: Certificates) -> aio.Channel:
        key, chain = (None, None) if current.pair is None else (current.pair.key, current.pair.certificate)
        credentials = grpc.ssl_channel_credentials(current.authority, key, chain)
        return aio.secure_channel(address, credentials, options, interceptors=interceptors)

    if files:
        channel: aio.Channel = RotatingChannel(files, open_secure)
    else:
        channel = aio.insecure_channel(address, options, interceptors=interceptors)
    caller.reachability = Reachability(channel)
    return channel


class Reachability:
    """Whether the other end of a channel is reachable, and since when it has not been."""

    def __init__(self, channel: aio.Channel) -> None:
        self._channel = channel
        self._away_since: float | None = None

    @property
    def restarting(self) -> bool:
        """Whether the other end is reachable, or went away so recently that it may be restarting."""
        if self._channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY:
            self._away_since = None
            return True
        if self._away_since is None:
            self._away_since = time.monotonic()
        return time.monotonic() - self._away_since < RESTART_SECONDS

    async def wait(self, seconds: float | None) -> None:
        """Returns once the other end is reachable, or has been away too long, or after `seconds`.

        The call that waits is no load: it must not keep others out that need what is reachable.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while self.restarting:
            state = self._channel.get_state(try_to_connect=True)
            if state is grpc.ChannelConnectivity.READY:
                return
            limits.leave_current()
            remaining = 1.0 if deadline is None else min(1.0, deadline - time.monotonic())
            if remaining <= 0:
                return
            try:
                async with asyncio.timeout(remaining):
                    await self._channel.wait_for_state_change(state)
            except TimeoutError:
                continue


class Ending:
    """The status with which a call that sends a stream of messages ends.

    Where a service refuses a call that still sends, grpc.aio reports the message that it could not send (INTERNAL),
    before the service's status or in its place. It calls the callbacks for both.
    """

    def __init__(self, call: Any) -> None:
        self._error: aio.AioRpcError | None = None
        self._received = asyncio.Event()
        call.add_done_callback(self._receive)

    async def error(self, reported: aio.AioRpcError) -> aio.AioRpcError:
        """The service's own error, after the call has failed with `reported`."""
        if reported.details() != _UNSENT:
            return reported
        with suppress(TimeoutError):
            async with asyncio.timeout(_STATUS_SECONDS):
                await self._received.wait()
        return self._error or reported

    def _receive(self, call: Any) -> None:
        if _result(call.details()) == _UNSENT:
            return
        trailing_metadata = _result(call.trailing_metadata())
        self._error = aio.AioRpcError(
            _result(call.code()), aio.Metadata(), trailing_metadata, details=_result(call.details())
        )
        self._received.set()


def _result(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns that does not wait, as those of a call that has ended."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("the call has not ended")


async def pages(ask: Callable[[Any], Awaitable[Any]], request: Any) -> AsyncGenerator[Any]:
    """All pages of a list, each requested with the token of the one before. Changes `request`."""
    while True:
        page = await ask(request)
        yield page
        request.page_token = page.next_page_token
        if not request.page_token:
            return


@asynccontextmanager
async def errors_of(service: str) -> AsyncGenerator[None]:
    """Raises what another service responds within as PrismaError."""
    try:
        yield
    except aio.AioRpcError as error:
        raise _error_of(service, error) from error


async def ask(service: str, call: Awaitable[_Answer]) -> _Answer:
    """The response of another service, its errors as PrismaError, as within `errors_of`."""
    try:
        return await call
    except aio.AioRpcError as error:
        raise _error_of(service, error) from error


def _error_of(service: str, error: aio.AioRpcError) -> PrismaError:
    """A service that has too many calls in progress is unavailable to a service, which retries."""
    translated = translate(error, service)
    if translated.reason == "TOO_MANY_REQUESTS":
        return Unavailable(f"the {service} is busy: {translated.message}", metadata={"service": service})
    return translated


def translate(error: aio.AioRpcError, service: str) -> PrismaError:
    """Another service's error as PrismaError: its own where it is one, else SERVICE_UNAVAILABLE or INTERNAL."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            return _remote(Status.FromString(value))
    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        return Unavailable(f"the {service} does not respond: {error.details()}", metadata={"service": service})
    status = Status(code=error.code().value[0], message=f"the {service}: {error.details()}")
    return RemoteError(status, "INTERNAL", {"service": service}, [])


def _remote(status: Status) -> RemoteError:
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    reason, metadata, violations = "INTERNAL", dict[str, str](), list[Violation]()
    seconds: float | None = None
    for detail in status.details:
        if detail.Unpack(info) and info.domain == DOMAIN:
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad_request):
            violations = [Violation(part.field, part.description) for part in bad_request.field_violations]
        elif detail.Unpack(retry):
            seconds = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    error = RemoteError(status, reason, metadata, violations)
    error.retry_seconds = seconds
    return error


def _service_config() -> Mapping[str, Any]:
    """Round robin over all addresses; methods that only read are retried on UNAVAILABLE."""
    reading = [
        {"service": method.containing_service.full_name, "method": method.name}
        for method in contract.methods()
        if contract.required_scope(method) == Scope.READ
    ]
    retry = {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return {"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": [{"name": reading, "retryPolicy": retry}]}


class _Caller:
    """What is added to every call of a channel: the service key, the request id, the user, and patience."""

    reachability: Reachability

    def __init__(self, settings: ChassisSettings) -> None:
        self._key = settings.service_key.get_secret_value() if settings.service_key else None
        self._reading = frozenset(
            contract.full_name(method) for method in contract.methods() if contract.required_scope(method) == Scope.READ
        )

    def details(self, details: Any, *, seconds: float | None, wait_for_ready: bool) -> aio.ClientCallDetails:
        """The details of a call with identity and deadline."""
        metadata = aio.Metadata(*(details.metadata or ()))
        if self._key is not None:
            metadata.add("authorization", f"Bearer {self._key}")
        caller = {
            REQUEST_ID: context.request_id.get(),
            USER: context.user.get(),
            tracing.HEADER: tracing.traceparent(),
        }
        for key, value in caller.items():
            if value:
                metadata.add(key, value)
        return aio.ClientCallDetails(
            method=details.method,
            timeout=seconds,
            metadata=metadata,
            credentials=details.credentials,
            wait_for_ready=wait_for_ready,
        )

    def only_reads(self, details: Any) -> bool:
        """Whether a call may be repeated without harm."""
        return f"/{_name_of(details)}" in self._reading


def _name_of(details: Any) -> str:
    """`package.Service/Method` of a call."""
    method = details.method.decode() if isinstance(details.method, bytes) else details.method
    return method.strip("/")


Continuation = Callable[[aio.ClientCallDetails, Any], Any]


class _UnaryUnary(aio.UnaryUnaryClientInterceptor):
    def __init__(self, caller: _Caller) -> None:
        self._caller = caller

    async def intercept_unary_unary(self, continuation: Continuation, client_call_details: Any, request: Any) -> Any:
        """Sends the request; waits and repeats as the module says."""
        name = _name_of(client_call_details)
        with job_time.during(job_time.Part.SERVICE), tracing.span(name, "client"):
            return await self._send(continuation, client_call_details, request)

    async def _send(self, continuation: Continuation, client_call_details: Any, request: Any) -> Any:
        reachability = self._caller.reachability
        timeout = client_call_details.timeout if client_call_details.timeout is not None else DEFAULT_SECONDS
        deadline = time.monotonic() + timeout
        repeatable = self._caller.only_reads(client_call_details)
        while True:
            await reachability.wait(deadline - time.monotonic())
            remaining = max(0.001, deadline - time.monotonic())
            details = self._caller.details(
                client_call_details, seconds=remaining, wait_for_ready=reachability.restarting
            )
            start = time.monotonic()
            call = await continuation(details, request)
            await _watch(call, reachability)
            seconds = time.monotonic() - start
            if remaining <= 1 or not reachability.restarting or not await _may_repeat(call, repeatable, seconds):
                return call
            await asyncio.sleep(0.2)


class _UnaryStream(aio.UnaryStreamClientInterceptor):
    def __init__(self, caller: _Caller) -> None:
        self._caller = caller

    async def intercept_unary_stream(self, continuation: Continuation, client_call_details: Any, request: Any) -> Any:
        """Sends the request once the service is reachable."""
        return await _open_stream(self._caller, continuation, client_call_details, request)


class _StreamUnary(aio.StreamUnaryClientInterceptor):
    def __init__(self, caller: _Caller) -> None:
        self._caller = caller

    async def intercept_stream_unary(
        self, continuation: Continuation, client_call_details: Any, request_iterator: Any
    ) -> Any:
        """Sends the messages once the service is reachable."""
        return await _open_stream(self._caller, continuation, client_call_details, request_iterator)


class _StreamStream(aio.StreamStreamClientInterceptor):
    def __init__(self, caller: _Caller) -> None:
        self._caller = caller

    async def intercept_stream_stream(
        self, continuation: Continuation, client_call_details: Any, request_iterator: Any
    ) -> Any:
        """Sends the messages once the service is reachable."""
        return await _open_stream(self._caller, continuation, client_call_details, request_iterator)


async def _open_stream(caller: _Caller, continuation: Continuation, client_call_details: Any, request: Any) -> Any:
    await caller.reachability.wait(client_call_details.timeout)
    return await continuation(
        caller.details(client_call_details, seconds=client_call_details.timeout, wait_for_ready=False), request
    )


async def _watch(call: Any, reachability: Reachability) -> None:
    """Returns when a call has ended; raises UNAVAILABLE when its service stays away while the call waits for it."""
    while True:
        try:
            async with asyncio.timeout(1.0):
                await call.code()
            return
        except TimeoutError:
            if reachability.restarting:
                continue
            call.cancel()
            raise aio.AioRpcError(
                grpc.StatusCode.UNAVAILABLE,
                aio.Metadata(),
                aio.Metadata(),
                details=f"not reachable for more than {RESTART_SECONDS:.0f} s",
            ) from None
        except asyncio.CancelledError:
            call.cancel()
            raise


async def _may_repeat(call: Any, only_reads: bool, seconds: float) -> bool:
    """Whether a call failed without the service's own answer, and repeating it does no harm.

    A server that stops cancels the calls that it has not begun at once, and those that it has begun after DRAIN_SECONDS
    only: one that was cancelled sooner was never begun.
    """
    code = await call.code()
    if code not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return False
    if any(key == "grpc-status-details-bin" for key, _ in await call.trailing_metadata() or ()):
        return False
    return only_reads or (code is grpc.StatusCode.CANCELLED and seconds < DRAIN_SECONDS / 2)
