"""HTTP requests as RPCs, by the annotations alone: no route of the API has code of its own."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

from google.api.httpbody_pb2 import HttpBody
from google.protobuf import json_format, message_factory
from google.protobuf.message import Message
from grpc import aio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from gateway import binding, problems
from gateway.drops import answer_or_drop
from gateway.routes import Route, routes
from gateway.uploads import Upload, chunks, whole_body
from services.chassis.errors import InvalidArgument, PrismaError

UNARY_SECONDS = 120.0
MAX_SECONDS = 600.0
_PING_SECONDS = 15.0
_LARGE_BYTES = 64 << 10
_DRAINED_BYTES = 64 << 20
_SUFFIXES = {
    "text/csv": "csv",
    "application/jsonl": "jsonl",
    "application/zip": "zip",
    "application/octet-stream": "safetensors",
}


class Transcoder:
    """Answers the API's paths. channels: by service, `embedder` …; `common` is the gateway's own."""

    def __init__(self, channels: Mapping[str, aio.Channel], max_body_bytes: int) -> None:
        self._channels = channels
        self._max_body_bytes = max_body_bytes

    async def answer(self, request: Request) -> Response:
        """The RPC's answer. Raises PrismaError."""
        route, fields = self._route(request)
        service = self._service(route, fields)
        seconds = _seconds(request)
        try:
            if route.method.client_streaming:
                return await self._upload(request, route, fields, service)
            message = await self._message(request, route, fields)
            if route.method.server_streaming:
                return await self._stream(request, route, fields, service, message, seconds)
            call = self._call(route, service)(message, timeout=seconds or UNARY_SECONDS)
            answered = await answer_or_drop(request, call, call)
            return Response(await _json(answered), media_type="application/json")
        except aio.AioRpcError as error:
            raise problems.of_call(error, service) from error

    def _route(self, request: Request) -> tuple[Route, Mapping[str, str]]:
        # As sent, so that an encoded slash splits no segment; some clients encode the colon of a verb.
        path = re.sub("%3[aA]", ":", request.scope["raw_path"].decode("latin-1"))
        allowed: list[str] = []
        for route in routes():
            fields = route.match(path)
            if fields is not None:
                verb = "GET" if request.method == "HEAD" else request.method
                if route.verb == verb:
                    return route, fields
                allowed.append(route.verb)
        raise problems.wrong_method(request.method, sorted(set(allowed))) if allowed else problems.no_such_path(path)

    def _service(self, route: Route, fields: Mapping[str, str]) -> str:
        service = route.package.split(".")[1]
        if service == "common" and fields.get("service") in self._channels:
            return fields["service"]
        return service

    def _call(self, route: Route, service: str) -> Any:
        kind = ("stream" if route.method.client_streaming else "unary") + (
            "_stream" if route.method.server_streaming else "_unary"
        )
        return getattr(self._channels[service], kind)(
            route.full_name,
            request_serializer=message_factory.GetMessageClass(route.method.input_type).SerializeToString,
            response_deserializer=message_factory.GetMessageClass(route.method.output_type).FromString,
        )

    async def _message(self, request: Request, route: Route, fields: Mapping[str, str]) -> Message:
        body = None
        if route.body:
            body = binding.parse_json(await self._body(request))
        elif int(request.headers.get("content-length") or 0):
            raise InvalidArgument.field("body", f"{request.method} takes no body here; use the query")
        return binding.message(route.method.input_type, fields, request.query_params.multi_items(), body, route.body)

    async def _body(self, request: Request) -> bytes:
        data = await whole_body(request, self._max_body_bytes)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        # `curl -d` says form, whatever it sends; a foreign page's form is refused by its Origin before it comes here.
        if data and kind not in ("application/json", "application/x-www-form-urlencoded", ""):
            raise problems.wrong_type(kind, "application/json")
        return data

    async def _upload(self, request: Request, route: Route, fields: Mapping[str, str], service: str) -> Response:
        upload = Upload(request)
        failed: list[PrismaError | ClientDisconnect] = []
        sent = asyncio.Event()

        async def messages() -> AsyncIterator[Message]:
            assert route.body
            made = message_factory.GetMessageClass(route.method.input_type)
            first = True
            try:
                async for chunk in chunks(upload.file()):
                    if first:
                        yield self._config(request, route, fields, upload)
                        first = False
                    yield made(**{route.body: chunk})
                if first:
                    yield self._config(request, route, fields, upload)
                sent.set()
            except (PrismaError, ClientDisconnect) as error:
                failed.append(error)
                raise

        call = self._call(route, service)(messages())
        try:
            answered = await answer_or_drop(request, call, call, sent)
        except aio.AioRpcError as error:
            await _drain(request)
            raise failed[0] if failed else problems.of_call(error, service) from error
        except asyncio.CancelledError:
            if failed:  # grpc cancels a call whose messages raise
                await _drain(request)
                raise failed[0] from None
            raise
        return Response(await _json(answered), media_type="application/json")

    def _config(self, request: Request, route: Route, fields: Mapping[str, str], upload: Upload) -> Message:
        """The first message. Its fields may be written without `config.` in front."""
        given = [*request.query_params.multi_items(), *upload.fields]
        named = [(name if name.startswith("config.") else f"config.{name}", value) for name, value in given]
        return binding.message(route.method.input_type, fields, named)

    async def _stream(
        self,
        request: Request,
        route: Route,
        fields: Mapping[str, str],
        service: str,
        message: Message,
        seconds: float | None,
    ) -> Response:
        call = self._call(route, service)(message, timeout=seconds)
        first = await answer_or_drop(
            request, call, call.read()
        )  # an error before the first message is an answer of its own
        if first is not aio.EOF and isinstance(first, HttpBody):
            name = _file_name(fields, route, first.content_type)
            headers = {"content-disposition": f'attachment; filename="{name}"'}
            return StreamingResponse(_raw(call, first), media_type=first.content_type, headers=headers)
        if "text/event-stream" in request.headers.get("accept", ""):
            return StreamingResponse(
                _events(call, first, service), media_type="text/event-stream", headers={"cache-control": "no-store"}
            )
        return StreamingResponse(
            _lines(call, first, service), media_type="application/x-ndjson", headers={"cache-control": "no-store"}
        )


async def _lines(call: Any, first: Any, service: str) -> AsyncGenerator[bytes]:
    """Newline-delimited JSON; an error in mid-stream is the last line."""
    async for kind, text in _messages(call, first, service, None):
        if kind:
            yield text + b"\n"


async def _events(call: Any, first: Any, service: str) -> AsyncGenerator[bytes]:
    """Server-sent events; an error in mid-stream is an event `error`."""
    async for kind, text in _messages(call, first, service, _PING_SECONDS):
        yield b"event: %s\ndata: %s\n\n" % (kind, text) if kind else b": \n\n"
    yield b"event: end\ndata: {}\n\n"


async def _messages(
    call: Any, first: Any, service: str, ping_seconds: float | None
) -> AsyncGenerator[tuple[bytes, bytes]]:
    """(what it is, JSON) of each message; an empty pair where none came for a while. A dropped client cancels."""
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
    finally:
        call.cancel()


async def _raw(call: Any, first: HttpBody) -> AsyncGenerator[bytes]:
    """The bytes of a download. An error in mid-stream breaks the connection: a cut file must not look whole."""
    message = first
    try:
        while message is not aio.EOF:
            yield message.data
            message = await call.read()
    finally:
        call.cancel()


async def _json(message: Message) -> bytes:
    if message.ByteSize() > _LARGE_BYTES:
        return await asyncio.to_thread(_dump, message)
    return _dump(message)


def _dump(message: Message) -> bytes:
    """proto3 JSON on one line; fields without presence are always there, so that 0 and empty lists are seen."""
    return json_format.MessageToJson(
        message, indent=None, always_print_fields_with_no_presence=True, ensure_ascii=False
    ).encode()


def _seconds(request: Request) -> float | None:
    """The deadline that the caller wants."""
    wanted = request.headers.get("x-prisma-timeout")
    if wanted is None:
        return None
    if not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", wanted) or not 0 < float(wanted) <= MAX_SECONDS:
        raise InvalidArgument.field("X-Prisma-Timeout", f"expected seconds, more than 0, at most {MAX_SECONDS:g}")
    return float(wanted)


def _file_name(fields: Mapping[str, str], route: Route, content_type: str) -> str:
    """`{run}-features.csv` of `runs/{run}/features:export`."""
    resource = next(iter(fields.values()), "").rpartition("/")[2] or "prisma"
    noun = route.template.rpartition("/")[2].partition(":")[0]
    suffix = _SUFFIXES.get(content_type.partition(";")[0], "bin")
    return re.sub(r"[^\w.~-]", "_", f"{resource}-{noun}.{suffix}")


async def _drain(request: Request) -> None:
    """Takes in a little of what a client still sends, so that it comes to read the answer."""
    taken = 0
    try:
        async for part in request.stream():
            taken += len(part)
            if taken > _DRAINED_BYTES:
                return
    except (ClientDisconnect, RuntimeError):
        return  # gone, or read to its end
