"""gRPC-Web: calls of gRPC clients in browsers, over HTTP/1.1, passed on as raw bytes by their method's name.

Unary calls and server streams; browsers cannot send streams. Source: grpc/grpc, doc/PROTOCOL-WEB.md. An answer has the
status 200 and ends with a frame of trailers, which has the call's status, also where the call is refused.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any
from urllib.parse import quote

from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from grpc import aio
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway import changes, problems
from gateway.drops import answer_or_drop
from gateway.local import LocalServices
from gateway.transcoder import DEFAULT_SECONDS, MAX_SECONDS
from gateway.uploads import media_type, whole_body
from prisma_common import contract
from services.chassis import audit
from services.chassis.errors import Code, DeadlineExceeded, InvalidArgument, PrismaError, Unimplemented

HEADERS = ("content-type", "authorization", "grpc-timeout", "x-grpc-web", "x-user-agent", "x-request-id")
"""What clients send."""
EXPOSED_HEADERS = ("grpc-status", "grpc-message", "grpc-status-details-bin", "x-request-id")
"""What pages of other origins may read of an answer's headers."""
_BINARY = ("application/grpc-web", "application/grpc-web+proto")
_TEXT = ("application/grpc-web-text", "application/grpc-web-text+proto")
_COMPRESSED, _TRAILERS = 0x01, 0x80
_PREFIX_BYTES = 5
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


class GrpcWeb:
    """Answers calls at `/package.Service/Method`.

    channels: of the other processes, by service: `embedder` … local: the services that this process answers itself.
    """

    def __init__(self, channels: Mapping[str, aio.Channel], local: LocalServices, max_body_bytes: int) -> None:
        self._channels = channels
        self._local = local
        self._max_body_bytes = max_body_bytes
        self._methods = {contract.full_name(method): method for method in contract.methods() if self._serves(method)}

    def paths(self) -> list[str]:
        """The templates of the paths that are answered: one for each service."""
        return sorted({f"{method.rpartition('/')[0]}/{{method}}" for method in self._methods})

    async def answer(self, request: Request) -> Response:
        """The call's messages and trailers. Raises HttpError (415) for a body of another type, ClientDisconnect."""
        is_text = _is_text(request)
        path: str = request.url.path
        service = _service(path)
        try:
            call, first = await self._begin(self._method(path, request), request, is_text=is_text)
        except (aio.AioRpcError, PrismaError, TimeoutError) as error:
            return error_response(_as_prisma_error(error, service), request)
        frames = _frames(call, first, service, request)
        content = _as_text(frames) if is_text else frames
        return StreamingResponse(
            content, media_type=_media_type(is_text=is_text), headers={"cache-control": "no-store"}
        )

    def _serves(self, method: MethodDescriptor) -> bool:
        return _service(contract.full_name(method)) in (*self._channels, "common")

    def _method(self, path: str, request: Request) -> MethodDescriptor:
        method = self._methods.get(path)
        if method is None:
            raise Unimplemented(f"there is no method {path[:300]!r}")
        request.state.route = path
        if method.client_streaming:
            raise Unimplemented(f"{path} takes a stream, which gRPC-Web cannot send: use the HTTP API or gRPC")
        return method

    async def _begin(self, method: MethodDescriptor, request: Request, *, is_text: bool) -> tuple[_Call, Any]:
        """The call, and its first message or aio.EOF. Raises AioRpcError, PrismaError, TimeoutError."""
        name, caller = contract.full_name(method), request.state.caller
        local = self._local.method(name)
        with changes.permitted(method, caller, answered_here=local is not None) as change:
            message: Any = _message(await whole_body(request, self._max_body_bytes), is_text=is_text)
            if local is not None:
                message = _decoded(method, message)
                change.resource = audit.resource_of(message)
            start = local if local is not None else self._remote(method)
            call = _Call(method, start(message, timeout=_seconds(request, method)))
            return call, await answer_or_drop(request, call, call.read())

    def _remote(self, method: MethodDescriptor) -> Callable[..., Any]:
        """A method of another process, whose messages are bytes."""
        name = contract.full_name(method)
        channel = self._channels[_service(name)]
        return channel.unary_stream(name) if method.server_streaming else channel.unary_unary(name)


class _Call:
    """A call in progress, read like a stream of bytes also where it has one response."""

    def __init__(self, method: MethodDescriptor, call: Any) -> None:
        self._call = call
        self._is_stream = method.server_streaming
        self._answered = False

    async def read(self) -> Any:
        """The next message, or aio.EOF. Raises AioRpcError, PrismaError, TimeoutError."""
        if self._is_stream:
            message: Any = await self._call.read()
        else:
            message = aio.EOF if self._answered else await self._call
            self._answered = True
        return message.SerializeToString() if isinstance(message, Message) else message

    def cancel(self) -> None:
        """Ends it."""
        self._call.cancel()


def error_response(error: PrismaError, request: Request) -> Response:
    """An error as the whole answer to a call."""
    is_text = _is_text(request)
    request.state.grpc_code = error.code
    body = _trailers(error)
    return Response(base64.b64encode(body) if is_text else body, media_type=_media_type(is_text=is_text))


def is_call(request: Request) -> bool:
    """Whether a request is a call of gRPC-Web."""
    return media_type(request) in (*_BINARY, *_TEXT)


async def _frames(call: _Call, first: Any, service: str, request: Request) -> AsyncGenerator[bytes]:
    """Messages and trailers. A client that goes away cancels the call."""
    message, error = first, None
    request.state.grpc_code = Code.CANCELLED  # until the end is reached
    try:
        while message is not aio.EOF:
            yield _frame(0, message)
            message = await call.read()
    except (aio.AioRpcError, PrismaError, TimeoutError) as failure:
        error = _as_prisma_error(failure, service)
    finally:
        call.cancel()
    request.state.grpc_code = Code.OK if error is None else error.code
    yield _trailers(error)


async def _as_text(frames: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async for frame in frames:
        yield base64.b64encode(frame)


def _frame(flags: int, data: bytes) -> bytes:
    return bytes([flags]) + len(data).to_bytes(4, "big") + data


def _trailers(error: PrismaError | None) -> bytes:
    """The last frame: the status, its message and its details."""
    lines = ["grpc-status: 0"]
    if error is not None:
        status = error.to_status()
        details = base64.b64encode(status.SerializeToString()).decode().rstrip("=")
        lines = [
            f"grpc-status: {status.code}",
            f"grpc-message: {quote(status.message, safe=' !#$&()*+,/:;=?@[]')}",
            f"grpc-status-details-bin: {details}",
        ]
    return _frame(_TRAILERS, "".join(f"{line}\r\n" for line in lines).encode())


def _message(body: bytes, *, is_text: bool) -> bytes:
    """The one message of a request. Raises InvalidArgument, Unimplemented."""
    if is_text:
        try:
            body = base64.b64decode(body, validate=True)
        except binascii.Error as error:
            raise InvalidArgument(f"expected a body in base64: {error}") from None
    flags, length = body[:1], int.from_bytes(body[1:_PREFIX_BYTES], "big")
    if len(body) < _PREFIX_BYTES or len(body) != _PREFIX_BYTES + length:
        raise InvalidArgument(
            f"expected one frame: a byte of flags, 4 bytes with a message's length, the message; got {len(body)} bytes"
        )
    if flags[0] & _COMPRESSED:
        raise Unimplemented("compressed messages are not taken")
    if flags[0]:
        raise InvalidArgument(f"expected the flags 0, got {flags[0]}")
    return body[_PREFIX_BYTES:]


def _decoded(method: MethodDescriptor, message: bytes) -> Message:
    try:
        return message_factory.GetMessageClass(method.input_type).FromString(message)
    except DecodeError:
        raise InvalidArgument(f"expected a {method.input_type.full_name}, got bytes that are none") from None


def _seconds(request: Request, method: MethodDescriptor) -> float | None:
    """The deadline that the client sets, in seconds; only streams may have none or a long one."""
    text = request.headers.get("grpc-timeout")
    if text is None:
        return None if method.server_streaming else DEFAULT_SECONDS
    match = re.fullmatch(r"(\d{1,8})([HMSmun])", text)
    if match is None:
        raise InvalidArgument(f"grpc-timeout: expected up to 8 digits and one of H, M, S, m, u, n; got {text[:50]!r}")
    seconds = int(match[1]) * _UNITS[match[2]]
    return seconds if method.server_streaming else min(seconds, MAX_SECONDS)


def _as_prisma_error(error: Exception, service: str) -> PrismaError:
    if isinstance(error, aio.AioRpcError):
        return problems.of_call(error, service)
    return error if isinstance(error, PrismaError) else DeadlineExceeded("took longer than its deadline")


def _service(method: str) -> str:
    """`embedder` of `/prisma.embedder.v1.EmbedderService/GetDataset`; empty for a path of no package."""
    return [*method.strip("/").split("."), ""][1]


def _is_text(request: Request) -> bool:
    """Whether messages are in base64. Raises HttpError (415) for another type."""
    if not is_call(request):
        raise problems.wrong_type(media_type(request), " or ".join((_BINARY[1], _TEXT[1])))
    return media_type(request) in _TEXT


def _media_type(*, is_text: bool) -> str:
    return _TEXT[1] if is_text else _BINARY[1]
