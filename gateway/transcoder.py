"""HTTP requests as RPCs, by the annotations alone: no route of the API has code of its own."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.api.httpbody_pb2 import HttpBody
from google.protobuf import message_factory
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import LocalizedMessage
from grpc import aio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from gateway import binding, changes, problems, proto_json
from gateway.drops import answer_or_drop
from gateway.local import LocalServices
from gateway.routes import Route, routes
from gateway.uploads import Upload, chunks, media_type, whole_body
from services.chassis.auth import Caller
from services.chassis.channels import Ending
from services.chassis.errors import DeadlineExceeded, InvalidArgument, PrismaError

DEFAULT_SECONDS = 120.0
MAX_SECONDS = 600.0
_OWN = "gateway"
_PING_SECONDS = 15.0
_LARGE_BYTES = 64 << 10
_DRAINED_BYTES = 64 << 20
_SUFFIXES = {
    "text/csv": "csv",
    "application/jsonl": "jsonl",
    "application/zip": "zip",
    "application/octet-stream": "safetensors",
    "application/vnd.apache.parquet": "parquet",
    "application/vnd.apache.arrow.file": "arrow",
}
_NOTICES_HEADER = "x-prisma-notices"
_MAX_NOTICES = 4096
"""Bytes of the header: servers and proxies take 8 KiB of all headers."""


@dataclass(frozen=True)
class _Call:
    """A request as an RPC. service: the process that answers, for messages about it."""

    request: Request
    route: Route
    fields: Mapping[str, str]
    service: str
    seconds: float | None


class Transcoder:
    """Answers the API's paths.

    channels: of the other processes, by service: `embedder` … local: the services that this process answers itself.
    """

    def __init__(self, channels: Mapping[str, aio.Channel], local: LocalServices, max_body_bytes: int) -> None:
        self._channels = channels
        self._local = local
        self._max_body_bytes = max_body_bytes

    async def answer(self, request: Request) -> Response:
        """The RPC's response. Raises PrismaError."""
        route, fields = _find_route(request)
        request.state.route = route.template
        call = _Call(request, route, fields, service=self._service(route, fields), seconds=_seconds(request))
        caller: Caller = request.state.caller
        resource = next(iter(fields.values()), None)
        with changes.permitted(route.method, caller, answered_here=call.service == _OWN, resource=resource):
            return await self._answer(call)

    async def _answer(self, call: _Call) -> Response:
        try:
            if call.route.method.client_streaming:
                return await self._upload(call)
            message = await self._message(call)
            if call.route.method.server_streaming:
                return await self._stream(call, message)
            response = self._rpc(call)(message, timeout=call.seconds or DEFAULT_SECONDS)
            return Response(
                await _json(await answer_or_drop(call.request, response, response)), media_type="application/json"
            )
        except aio.AioRpcError as error:
            raise problems.of_call(error, call.service) from error
        except TimeoutError as error:
            raise DeadlineExceeded(f"took longer than {call.seconds or DEFAULT_SECONDS:g} s") from error

    def _service(self, route: Route, fields: Mapping[str, str]) -> str:
        service = route.package.split(".")[1]
        if service != "common":
            return service
        return fields["service"] if fields.get("service") in self._channels else _OWN

    def _rpc(self, call: _Call) -> Callable[..., Any]:
        route = call.route
        if call.service == _OWN:
            method = self._local.method(route.full_name)
            assert method is not None, route.full_name
            return method
        kind = ("stream" if route.method.client_streaming else "unary") + (
            "_stream" if route.method.server_streaming else "_unary"
        )
        return getattr(self._channels[call.service], kind)(
            route.full_name,
            request_serializer=message_factory.GetMessageClass(route.method.input_type).SerializeToString,
            response_deserializer=message_factory.GetMessageClass(route.method.output_type).FromString,
        )

    async def _message(self, call: _Call) -> Message:
        request, route = call.request, call.route
        body = None
        if route.body:
            body = binding.parse_json(await self._body(request))
        elif request.headers.get("content-length", "0") != "0":
            raise InvalidArgument.field("body", f"{request.method} takes no body here; use the query")
        return binding.message(
            route.method.input_type,
            path=call.fields,
            query=request.query_params.multi_items(),
            body=body,
            body_field=route.body,
        )

    async def _body(self, request: Request) -> bytes:
        data = await whole_body(request, self._max_body_bytes)
        body_type = media_type(request)
        # `curl -d` says form, whatever it sends; a foreign page's form is refused by its Origin before it comes here.
        if data and body_type not in ("application/json", "application/x-www-form-urlencoded", ""):
            raise problems.wrong_type(body_type, "application/json")
        return data

    async def _upload(self, call: _Call) -> Response:
        upload = Upload(call.request, _further_files(call.route))
        failures: list[PrismaError | ClientDisconnect] = []
        body_read = asyncio.Event()

        async def messages() -> AsyncIterator[Message]:
            try:
                async for message in self._upload_messages(call, upload):
                    yield message
                body_read.set()
            except (PrismaError, ClientDisconnect) as error:
                failures.append(error)
                raise

        response = self._rpc(call)(messages(), timeout=call.seconds)
        ending = Ending(response)
        try:
            message = await answer_or_drop(call.request, response, response, body_read)
        except aio.AioRpcError as error:
            await _drain(call.request)
            raise failures[0] if failures else problems.of_call(await ending.error(error), call.service) from error
        except asyncio.CancelledError:
            if failures:  # grpc cancels a call whose messages raise
                await _drain(call.request)
                raise failures[0] from None
            raise
        return Response(await _json(message), media_type="application/json")

    async def _upload_messages(self, call: _Call, upload: Upload) -> AsyncIterator[Message]:
        """The config, then the file in chunks. The config comes once the form's fields are known."""
        request_class = message_factory.GetMessageClass(call.route.method.input_type)
        assert call.route.body is not None
        configured = False
        async for name, chunk in chunks(upload.files()):
            if not configured:
                yield _config(call, upload)
                configured = True
            yield request_class(**{name or call.route.body: chunk})
        if not configured:
            yield _config(call, upload)

    async def _stream(self, call: _Call, message: Message) -> Response:
        rpc = self._rpc(call)(message, timeout=call.seconds)
        # An error before the first message is a response of its own.
        first = await answer_or_drop(call.request, rpc, rpc.read())
        if first is not aio.EOF and isinstance(first, HttpBody):
            name = _file_name(call.fields, call.route, first.content_type)
            headers = {"content-disposition": f'attachment; filename="{name}"', **_notices(first)}
            return StreamingResponse(_raw(rpc, first), media_type=first.content_type, headers=headers)
        headers = {"cache-control": "no-store"}
        if "text/event-stream" in call.request.headers.get("accept", ""):
            events = _events(rpc, first, call.service)
            return StreamingResponse(events, media_type="text/event-stream", headers=headers)
        lines = _lines(rpc, first, call.service)
        return StreamingResponse(lines, media_type="application/x-ndjson", headers=headers)


def _find_route(request: Request) -> tuple[Route, Mapping[str, str]]:
    # As sent, so that an encoded slash splits no segment; some clients encode the colon of a verb.
    path = re.sub("%3[aA]", ":", request.scope["raw_path"].decode("latin-1"))
    allowed_methods: set[str] = set()
    for route in routes():
        fields = route.match(path)
        if fields is not None:
            method = "GET" if request.method == "HEAD" else request.method
            if route.verb == method:
                return route, fields
            allowed_methods.add(route.verb)
    if allowed_methods:
        raise problems.wrong_method(request.method, sorted(allowed_methods))
    raise problems.no_such_path(path)


def _further_files(route: Route) -> list[str]:
    """The fields of an upload's messages that take pieces of files beside that of the body."""
    fields = route.method.input_type.fields
    return [field.name for field in fields if field.type == field.TYPE_BYTES and field.name != route.body]


def _config(call: _Call, upload: Upload) -> Message:
    """The first message of an upload. Its fields may be written without `config.` in front."""
    values = [*call.request.query_params.multi_items(), *upload.fields]
    query = [(name if name.startswith("config.") else f"config.{name}", value) for name, value in values]
    message: Any = binding.message(call.route.method.input_type, path=call.fields, query=query)
    message.config.SetInParent()  # also without a field
    return message


async def _lines(call: Any, first: Any, service: str) -> AsyncGenerator[bytes]:
    """Newline-delimited JSON; an error in the middle of the stream is the last line."""
    async for kind, text in _messages(call, first, service, None):
        if kind:
            yield text + b"\n"


async def _events(call: Any, first: Any, service: str) -> AsyncGenerator[bytes]:
    """Server-sent events; an error in the middle of the stream is an event `error`."""
    async for kind, text in _messages(call, first, service, _PING_SECONDS):
        yield b"event: %s\ndata: %s\n\n" % (kind, text) if kind else b": \n\n"
    yield b"event: end\ndata: {}\n\n"


async def _messages(
    call: Any, first: Any, service: str, ping_seconds: float | None
) -> AsyncGenerator[tuple[bytes, bytes]]:
    """(kind, JSON) of each message; an empty pair when none came for a while. A client that disconnects cancels."""
    message = first
    try:
        while message is not aio.EOF:
            yield b"message", await _json(message)
            reading = asyncio.ensure_future(call.read())
            while not (await asyncio.wait([reading], timeout=ping_seconds))[0]:
                yield b"", b""
            message = reading.result()
    except aio.AioRpcError as error:
        yield b"error", json.dumps(problems.body(problems.of_call(error, service))).encode()
    except PrismaError as error:
        yield b"error", json.dumps(problems.body(error)).encode()
    finally:
        call.cancel()


async def _raw(call: Any, first: HttpBody) -> AsyncGenerator[bytes]:
    """The bytes of a download. An error in its middle breaks the connection: a cut file must not look complete."""
    message = first
    try:
        while message is not aio.EOF:
            yield message.data
            message = await call.read()
    finally:
        call.cancel()


async def _json(message: Message) -> bytes:
    if message.ByteSize() > _LARGE_BYTES:
        return await asyncio.to_thread(proto_json.dump, message)
    return proto_json.dump(message)


def _seconds(request: Request) -> float | None:
    """The deadline that the caller sets, in seconds."""
    text = request.headers.get("x-prisma-timeout")
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", text) or not 0 < float(text) <= MAX_SECONDS:
        raise InvalidArgument.field("X-Prisma-Timeout", f"expected seconds, more than 0, at most {MAX_SECONDS:g}")
    return float(text)


def _notices(first: HttpBody) -> dict[str, str]:
    """The header with what people should know of a download: a JSON array in ASCII; no header for nothing."""
    texts: list[str] = []
    for extension in first.extensions:
        notice = LocalizedMessage()
        if extension.Unpack(notice):
            texts.append(notice.message)
    while len(header := json.dumps(texts)) > _MAX_NOTICES:
        texts.pop()
    return {_NOTICES_HEADER: header} if texts else {}


def _file_name(fields: Mapping[str, str], route: Route, content_type: str) -> str:
    """`{run}-features.csv` of `runs/{run}/features:export`."""
    resource = next(iter(fields.values()), "").rpartition("/")[2] or "prisma"
    noun = route.template.rpartition("/")[2].partition(":")[0]
    suffix = _SUFFIXES.get(content_type.partition(";")[0], "bin")
    return re.sub(r"[^\w.~-]", "_", f"{resource}-{noun}.{suffix}")


async def _drain(request: Request) -> None:
    """Reads a part of what a client still sends, so that it comes to read the response."""
    byte_count = 0
    try:
        async for part in request.stream():
            byte_count += len(part)
            if byte_count > _DRAINED_BYTES:
                return
    except (ClientDisconnect, RuntimeError):
        return  # gone, or read to its end
