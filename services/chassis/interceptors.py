"""What surrounds each call: who calls, its request id, its deadline, its line in the log, and errors made readable."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, cast

import grpc
from google.rpc.status_pb2 import Status
from grpc import aio
from grpc_status import rpc_status

from services.chassis import context, logs, metrics
from services.chassis.auth import Keys
from services.chassis.errors import DeadlineExceeded, Internal, PrismaError, StorageFull
from services.chassis.files import is_full_disk

UNARY_SECONDS = 300.0
"""The longest a call may take that has no deadline of its own and sends no stream."""
REQUEST_ID = "x-request-id"
USER = "x-prisma-user"
_OPEN = ("/grpc.health.v1.Health/",)

_log = logs.get("services.chassis.calls")
Details = grpc.HandlerCallDetails
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # a generic for type checkers alone


class CallInterceptor(aio.ServerInterceptor):
    """Surrounds all calls of one server."""

    def __init__(self, service: str, keys: Keys) -> None:
        self._service = service
        self._keys = keys

    async def intercept_service(
        self, continuation: Callable[[Details], Awaitable[Handler | None]], handler_call_details: Details
    ) -> Any:
        """Gives the method's handler, surrounded."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        method = handler_call_details.method
        if handler.response_streaming:
            behavior = handler.stream_stream if handler.request_streaming else handler.unary_stream
            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else (grpc.unary_stream_rpc_method_handler)
            )
            surrounded: Any = self._streaming(method, behavior)
        else:
            behavior = handler.stream_unary if handler.request_streaming else handler.unary_unary
            make = (
                grpc.stream_unary_rpc_method_handler
                if handler.request_streaming
                else (grpc.unary_unary_rpc_method_handler)
            )
            surrounded = self._single(method, behavior, None if handler.request_streaming else UNARY_SECONDS)
        return make(surrounded, handler.request_deserializer, handler.response_serializer)

    def _single(self, method: str, behavior: Any, seconds: float | None) -> Any:
        async def call(request: Any, servicer_context: aio.ServicerContext[Any, Any]) -> Any:
            async with self._around(method, servicer_context):
                # Without a deadline grpc answers None, whatever its types say.
                remaining = cast("float | None", servicer_context.time_remaining())
                limit = seconds if remaining is None else None
                try:
                    async with asyncio.timeout(limit):
                        return await behavior(request, servicer_context)
                except TimeoutError as error:
                    if limit is None:
                        raise
                    raise DeadlineExceeded(f"took longer than {limit:.0f} s, the longest here") from error

        return call

    def _streaming(self, method: str, behavior: Any) -> Any:
        async def call(request: Any, servicer_context: aio.ServicerContext[Any, Any]) -> Any:
            async with self._around(method, servicer_context):
                responses = behavior(request, servicer_context)
                if not hasattr(responses, "__aiter__"):
                    await responses
                    return
                async for response in responses:
                    yield response

        return call

    @asynccontextmanager
    async def _around(self, method: str, servicer_context: aio.ServicerContext[Any, Any]) -> AsyncGenerator[None]:
        began, code = time.perf_counter(), "OK"
        metrics.IN_FLIGHT.labels(self._service).inc()
        try:
            self._identify(method, servicer_context)
            yield
        except PrismaError as error:
            code = error.code.name
            await self._abort(servicer_context, error.to_status())
        except (asyncio.CancelledError, GeneratorExit):
            code = "CANCELLED"
            raise
        except aio.AbortError:
            code = "ABORTED_BY_METHOD"
            raise
        except Exception as error:  # noqa: BLE001 - a defect becomes INTERNAL with its id; the log keeps the trace
            told = _told(error)
            code = told.code.name
            _log.error("call failed", method=method, exc_info=error)
            await self._abort(servicer_context, told.to_status())
        finally:
            seconds = time.perf_counter() - began
            metrics.IN_FLIGHT.labels(self._service).dec()
            metrics.CALLS.labels(self._service, method, code).inc()
            metrics.SECONDS.labels(self._service, method).observe(seconds)
            _log.debug("call", method=method, code=code, milliseconds=round(seconds * 1000, 1))

    def _identify(self, method: str, servicer_context: aio.ServicerContext[Any, Any]) -> None:
        sent = {key: value for key, value in servicer_context.invocation_metadata() or () if isinstance(value, str)}
        context.request_id.set(uuid.uuid4().hex)
        context.user.set("")
        if method.startswith(_OPEN):
            return
        caller = self._keys.caller(sent.get("authorization", ""))
        if caller.trusted:
            context.request_id.set(sent.get(REQUEST_ID, "")[:128] or context.request_id.get())
            context.user.set(sent.get(USER, "")[:128])
        else:
            context.user.set(caller.name)

    @staticmethod
    async def _abort(servicer_context: aio.ServicerContext[Any, Any], status: Status) -> None:
        servicer_context.set_trailing_metadata(((REQUEST_ID, context.request_id.get()),))
        await servicer_context.abort_with_status(rpc_status.to_status(status))


def _told(error: Exception) -> PrismaError:
    if is_full_disk(error):
        return StorageFull("no space left where this service keeps its data: free some, then retry")
    return Internal(f"a defect of PRISMA; the log has the details under request id {context.request_id.get()}")
