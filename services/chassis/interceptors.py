"""What surrounds each call: the caller's key and scope, limits, the request id, the deadline, errors, log and audit.

A call is authenticated before its first message is received. Order: key, scope, limits, parsing, method.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from grpc import aio
from grpc_status import rpc_status

from prisma_common import contract
from prisma_common.keys import Scope
from prisma_common.wire import WireError
from services.chassis import access_log, audit, context, logs, metrics, tracing
from services.chassis.auth import Caller, Keys
from services.chassis.calls import Context
from services.chassis.channels import REQUEST_ID, USER
from services.chassis.decoding import Decoder, decode
from services.chassis.errors import (
    Cancelled,
    Code,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    PrismaError,
    StorageFull,
    Unimplemented,
)
from services.chassis.files import is_full_disk
from services.chassis.limits import CallLimit

MAX_UNARY_SECONDS = 300.0
"""The longest that a call may take which has no deadline of its own and no stream."""
MESSAGE_SECONDS = 120.0
"""The longest wait for the next message of a client's stream."""
MAX_HEADER = 128
MAX_METHOD = 200
"""Characters of an unknown method's name that its error repeats."""
_OPEN = "/grpc.health.v1.Health/"
"""Health needs no key: load balancers have none."""
_UNKNOWN_METHOD = "unknown"
"""The label of metrics for all methods that are not served: callers choose their names."""

_log = logs.get("services.chassis.calls")
Details = grpc.HandlerCallDetails
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # a generic for type checkers alone
Encode = Callable[[Any], bytes]


@dataclass
class _Call:
    """One call while it is in progress."""

    method: str
    scope: Scope
    caller: Caller
    request_id: str
    user: str
    request: Message | None = None
    """The first message of the request."""
    response: Message | None = None
    """None until there is one, and for streams."""
    outcome: str = "OK"
    traceparent: str = ""
    """The caller's span."""
    span: tracing.Span = field(default_factory=tracing.Span)
    bytes_received: int = 0
    """Bytes of the messages received."""
    bytes_sent: int = 0
    """Bytes of the messages sent."""
    start: float = field(default_factory=time.perf_counter)

    @classmethod
    def of(cls, method: str, caller: Caller, headers: Mapping[str, str]) -> _Call:
        """A call as its headers describe it; what they say of user and request id counts for trusted callers only."""
        request_id, user = "", caller.name or ""
        if caller.trusted:
            request_id = headers.get(REQUEST_ID, "")[:MAX_HEADER]
            user = headers.get(USER, "")[:MAX_HEADER]
        request_id = request_id or uuid.uuid4().hex
        return cls(
            method=method,
            scope=scope_of(method),
            caller=caller,
            request_id=request_id,
            user=user,
            traceparent=headers.get(tracing.HEADER, "")[:MAX_HEADER],
        )

    def enter_context(self) -> None:
        """Makes this the call that log entries and calls to other services belong to."""
        context.request_id.set(self.request_id)
        context.user.set(self.user)


class CallInterceptor(aio.ServerInterceptor):
    """Surrounds all calls of one server, health excepted.

    served: full names of the server's gRPC services, which the error for another one lists.
    """

    def __init__(self, service: str, keys: Keys, limit: CallLimit, served: Sequence[str] = ()) -> None:
        self._service = service
        self._served = served
        self._keys = keys
        self._limit = limit

    async def intercept_service(
        self, continuation: Callable[[Details], Awaitable[Handler | None]], handler_call_details: Details
    ) -> Any:
        """Returns the method's handler, surrounded; for a caller that is refused, one that receives no message.

        An unknown method is refused by such a handler too: gRPC's own answer would have no ErrorInfo.
        """
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if method.startswith(_OPEN):
            return handler
        headers = {
            key: value for key, value in handler_call_details.invocation_metadata or () if isinstance(value, str)
        }
        try:
            call = _Call.of(method, self._keys.caller(headers.get("authorization", "")), headers)
            call.enter_context()
            if handler is None:
                raise self._unknown(method)
            self._admit(call)
        except PrismaError as error:
            context.request_id.set(context.request_id.get() or uuid.uuid4().hex)
            label = _UNKNOWN_METHOD if handler is None else method
            return grpc.stream_stream_rpc_method_handler(self._refusal(label, error))
        return self._surround(handler, call)

    def _unknown(self, method: str) -> Unimplemented:
        """The error for a method that this server does not have: often a call to the port of another service."""
        service, _, name = method[:MAX_METHOD].strip("/").rpartition("/")
        requested = (
            f"{service} has no method {name!r}" if service in self._served else f"{service!r} is not served here"
        )
        gateway = "" if self._service == "gateway" else "; the gateway serves all services on one port"
        return Unimplemented(
            f"{requested}; this port is the {self._service}'s and serves {', '.join(self._served)}{gateway}",
            metadata={"method": method[:MAX_METHOD], "service": self._service},
        )

    def _admit(self, call: _Call) -> None:
        try:
            call.caller.require(call.scope)
        except PrismaError as error:
            audit.record(method=call.method, resource=None, outcome=error.code.name)
            raise
        self._limit.check(_limited_name(call.caller))

    def _refusal(self, method: str, error: PrismaError) -> Any:
        async def refuse(_requests: AsyncIterator[bytes], servicer_context: Context) -> AsyncIterator[bytes]:
            metrics.calls(self._service, method, error.code.name).inc()
            access_log.record("call", method=method, code=error.code.name)
            await _abort(servicer_context, error.to_status())
            yield b""  # never reached: makes this a stream

        return refuse

    def _surround(self, handler: Handler, call: _Call) -> Handler:
        decoder = cast("Decoder | None", handler.request_deserializer)
        encode = _encoder_of(call, handler.response_serializer)
        if handler.request_streaming and handler.response_streaming:
            read = _messages_of(call, decoder)
            streaming = self._stream(call, cast(Any, handler.stream_stream), read=read, encode=encode)
            return grpc.stream_stream_rpc_method_handler(streaming)
        if handler.response_streaming:
            read = _message_of(call, decoder)
            streaming = self._stream(call, cast(Any, handler.unary_stream), read=read, encode=encode)
            return grpc.unary_stream_rpc_method_handler(streaming)
        if handler.request_streaming:
            read = _messages_of(call, decoder)
            single = self._single(call, cast(Any, handler.stream_unary), read=read, encode=encode, seconds=None)
            return grpc.stream_unary_rpc_method_handler(single)
        read = _message_of(call, decoder)
        single = self._single(call, cast(Any, handler.unary_unary), read=read, encode=encode, seconds=MAX_UNARY_SECONDS)
        return grpc.unary_unary_rpc_method_handler(single)

    def _single(
        self, call: _Call, behavior: Any, *, read: Callable[[Any], Any], encode: Encode, seconds: float | None
    ) -> Any:
        async def respond(request: Any, servicer_context: Context) -> bytes:
            self._begin(call)
            try:
                with self._limit.call(_limited_name(call.caller)):
                    # Without a deadline grpc returns None, whatever its types say.
                    remaining = cast("float | None", servicer_context.time_remaining())
                    if remaining is None and seconds is not None:
                        call.response = await _within(seconds, behavior(read(request), servicer_context))
                    else:
                        call.response = await behavior(read(request), servicer_context)
                    return encode(call.response)
            except BaseException as error:
                await self._fail(call, servicer_context, error)
                raise
            finally:
                self._end(call)

        return respond

    def _stream(self, call: _Call, behavior: Any, *, read: Callable[[Any], Any], encode: Encode) -> Any:
        async def respond(request: Any, servicer_context: Context) -> AsyncIterator[bytes]:
            self._begin(call)
            try:
                with self._limit.call(_limited_name(call.caller)) as counted:
                    async for response in behavior(read(request), servicer_context):
                        counted.answer()
                        yield encode(response)
            except BaseException as error:
                await self._fail(call, servicer_context, error)
                raise
            finally:
                self._end(call)

        return respond

    def _begin(self, call: _Call) -> None:
        call.enter_context()
        call.span = tracing.begin(call.method.strip("/"), "server", parent=call.traceparent, request_id=call.request_id)
        metrics.in_flight(self._service).inc()

    async def _fail(self, call: _Call, servicer_context: Context, error: BaseException) -> None:
        """Ends a call with the status of an error; returns for one that goes on as it is."""
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            call.outcome = Code.CANCELLED.name
        elif isinstance(error, aio.AbortError):
            call.outcome = "ABORTED_BY_METHOD"
        elif isinstance(error, Exception):
            answer = as_prisma_error(error, method=call.method)
            call.outcome = answer.code.name
            await _abort(servicer_context, answer.to_status())

    def _end(self, call: _Call) -> None:
        seconds = time.perf_counter() - call.start
        metrics.in_flight(self._service).dec()
        metrics.calls(self._service, call.method, call.outcome).inc()
        metrics.seconds(self._service, call.method).observe(seconds)
        access_log.record(
            "call",
            method=call.method,
            code=call.outcome,
            seconds=seconds,
            bytes_received=call.bytes_received,
            bytes_sent=call.bytes_sent,
        )
        if call.outcome != Code.OK.name:
            call.span.fail(call.outcome)
        call.span.end()
        if call.scope > Scope.READ:
            resource = audit.resource_of(call.request, call.response)
            audit.record(method=call.method, resource=resource, outcome=call.outcome)


async def _within(seconds: float, response: Awaitable[Any]) -> Any:
    """A response that comes in time. Raises DeadlineExceeded."""
    try:
        async with asyncio.timeout(seconds):
            return await response
    except TimeoutError as error:
        raise DeadlineExceeded(f"took longer than {seconds:.0f} s, the longest a call may take") from error


def scope_of(method: str) -> Scope:
    """The scope that `/package.Service/Method` requires; reflection requires READ, what declares none ADMIN."""
    if method.startswith("/grpc.reflection."):
        return Scope.READ
    try:
        descriptor = descriptor_pool.Default().FindMethodByName(method.strip("/").replace("/", "."))
        return contract.required_scope(descriptor)
    except (KeyError, ValueError):
        return Scope.ADMIN


def as_prisma_error(error: Exception, *, method: str) -> PrismaError:
    """What the caller receives for any error. Only a defect is logged with its traceback."""
    if isinstance(error, PrismaError):
        return error
    if isinstance(error, WireError):
        return InvalidArgument(str(error))
    if is_full_disk(error):
        _log.warning("no space left", method=method)
        return StorageFull("no space left where this service stores its data: free some, then retry")
    if isinstance(error, (BrokenPipeError, ConnectionResetError)):
        return Cancelled("the connection was closed")
    _log.error("call failed", method=method, exc_info=error)
    return Internal(f"a defect of PRISMA; the log has the details under request id {context.request_id.get()}")


def _limited_name(caller: Caller) -> str | None:
    """Who counts against the limit per caller: holders of API keys; the gateway counts those whom it serves itself."""
    return None if caller.trusted else caller.name


def _encoder_of(call: _Call, encoder: Callable[[Any], bytes] | None) -> Encode:
    """What makes bytes of a call's responses; they are bytes already where the handler has no serializer."""

    def encode(response: Any) -> bytes:
        data: bytes = response if encoder is None else encoder(response)
        call.bytes_sent += len(data)
        return data

    return encode


def _message_of(call: _Call, decoder: Decoder | None) -> Callable[[bytes], Message | bytes]:
    def read(data: bytes) -> Message | bytes:
        call.bytes_received += len(data)
        return data if decoder is None else _noted(call, decode(decoder, data))

    return read


def _noted(call: _Call, message: Message) -> Message:
    if call.request is None:
        call.request = message
    return message


def _messages_of(
    call: _Call, decoder: Decoder | None
) -> Callable[[AsyncIterator[bytes]], AsyncIterator[Message | bytes]]:
    async def read(stream: AsyncIterator[bytes]) -> AsyncIterator[Message | bytes]:
        while True:
            try:
                async with asyncio.timeout(MESSAGE_SECONDS):
                    data = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise DeadlineExceeded(f"no message came for {MESSAGE_SECONDS:.0f} s") from error
            call.bytes_received += len(data)
            yield data if decoder is None else _noted(call, decode(decoder, data))

    return read


async def _abort(servicer_context: Context, status: Status) -> None:
    servicer_context.set_trailing_metadata(((REQUEST_ID, context.request_id.get()),))
    await servicer_context.abort_with_status(rpc_status.to_status(status))
