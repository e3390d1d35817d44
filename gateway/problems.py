"""Errors over HTTP: `{"error": {code, status, message, details}}` (AIP-193, HTTP/1.1+JSON representation)."""

from __future__ import annotations

import math
from typing import Any

import grpc
from google.protobuf import json_format
from google.rpc.status_pb2 import Status
from grpc import aio
from starlette.responses import JSONResponse

from services.chassis import context
from services.chassis.channels import translate
from services.chassis.errors import (
    Cancelled,
    Code,
    InvalidArgument,
    PrismaError,
    ResourceExhausted,
    Unimplemented,
)

_RETRY_SECONDS = 2
HTTP_CODES = {
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}
"""What google.rpc.Code says in its own comments."""


class HttpError(PrismaError, dynamic=True):
    """An error that HTTP has a code of its own for."""

    def __init__(self, error: PrismaError, status: int, headers: dict[str, str] | None = None) -> None:
        super().__init__(error.message, metadata=error.metadata, violations=error.violations)
        self.code = error.code
        self.reason = error.reason
        self.status = status
        self.headers = headers or {}


def no_such_path(path: str) -> HttpError:
    """The error for a path that the API does not have."""
    return HttpError(Unimplemented(f"the API has no path {path[:300]!r}; /docs lists all"), 404)


def wrong_method(verb: str, allowed: list[str]) -> HttpError:
    """The error for a path that takes other methods."""
    methods = ", ".join(allowed)
    return HttpError(Unimplemented(f"this path takes {methods}; got {verb}"), 405, {"Allow": methods})


def too_large(limit: int) -> HttpError:
    """The error for a body beyond the limit."""
    return HttpError(ResourceExhausted(f"expected a body of at most {limit:,} bytes"), 413)


def wrong_type(got: str, expected: str) -> HttpError:
    """The error for a body of a type that is not taken here."""
    return HttpError(InvalidArgument(f"expected a body of type {expected}, got {got[:100]!r}"), 415)


def of_call(error: aio.AioRpcError, service: str) -> PrismaError:
    """A service's error as it is translated over HTTP."""
    if error.code() is grpc.StatusCode.CANCELLED:
        return Cancelled("the call was cancelled")
    translated = translate(error, service)
    if translated.code == Code.UNAVAILABLE and translated.reason == "SERVICE_UNAVAILABLE":
        translated.message = (
            f"{translated.message}. What does not need the {service} goes on; /v1/status says how all are."
        )
    return translated


def body(error: PrismaError) -> dict[str, Any]:
    """The JSON of an error, details with `@type`; the request id is among them."""
    status = error.to_status()
    return {
        "error": {
            "code": http_code(error),
            "status": Code(status.code).name,
            "message": status.message,
            "details": [*_details(status), _request_info()],
        }
    }


def http_code(error: PrismaError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, HttpError):
        return error.status
    if error.reason == "TOO_LARGE":
        return 413
    if error.reason == "STORAGE_FULL":
        return 507
    return HTTP_CODES.get(error.code, 500)


def response(error: PrismaError) -> JSONResponse:
    """An error as the whole answer."""
    headers = dict(error.headers) if isinstance(error, HttpError) else {}
    code = http_code(error)
    if code == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if code in (429, 503):
        headers["Retry-After"] = str(math.ceil(error.retry_seconds or _RETRY_SECONDS))
    return JSONResponse(body(error), status_code=code, headers=headers)


def _details(status: Status) -> list[dict[str, Any]]:
    return [json_format.MessageToDict(detail) for detail in status.details]


def _request_info() -> dict[str, str]:
    return {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": context.request_id.get()}
