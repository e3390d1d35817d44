"""The error responses of the OpenAPI document: each with what it means, listed where it can occur."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import MethodDescriptor

from prisma_common import contract
from prisma_common.http_rule import HttpBinding
from prisma_common.keys import Scope

ERROR: Mapping[str, Any] = {
    "type": "object",
    "description": "An error (AIP-193). Its details hold a google.rpc.ErrorInfo with `reason` and `domain` prisma.",
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "status", "message", "details"],
            "properties": {
                "code": {"type": "integer", "description": "The HTTP status."},
                "status": {"type": "string", "description": "The google.rpc.Code."},
                "message": {"type": "string", "description": "What happened, and what to do."},
                "details": {"type": "array", "items": {"type": "object", "additionalProperties": True}},
            },
        }
    },
    "required": ["error"],
}
REQUEST_ID: Mapping[str, Any] = {
    "X-Request-Id": {
        "description": "The id of the request, for the logs of all services.",
        "schema": {"type": "string"},
    }
}
_RETRY_AFTER = {
    "Retry-After": {"description": "Seconds after which to try again.", "schema": {"type": "integer", "minimum": 1}}
}
_CHALLENGE = {"WWW-Authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}}}
_RESPONSES: Mapping[int, tuple[str, str, Mapping[str, Any]]] = {
    400: ("BadRequest", "The request is wrong, or does not fit the state of what it names. Details name fields.", {}),
    401: ("Unauthorized", "No API key, or one that is unknown or has expired.", _CHALLENGE),
    403: ("Forbidden", "The key's scope is too small, or a page of another origin asks.", {}),
    404: ("NotFound", "What the request names does not exist.", {}),
    409: ("Conflict", "It exists already, or was changed by someone else at the same time.", {}),
    413: ("TooLarge", "The body is larger than the server takes.", {}),
    429: (
        "TooManyRequests",
        "More calls at a time, or more work, than the server takes from one caller.",
        _RETRY_AFTER,
    ),
    503: ("Unavailable", "A service or what it needs is down. It may help to try again.", _RETRY_AFTER),
}
"""By HTTP status: the name in the document's components, the description, and further headers."""


def components() -> dict[str, Any]:
    """The responses, by name."""
    named = {
        name: _response(description, {**REQUEST_ID, **headers}) for name, description, headers in _RESPONSES.values()
    }
    return {**named, "Error": _response("Another error, such as a deadline that passed (504).", REQUEST_ID)}


def of_method(method: MethodDescriptor, binding: HttpBinding, *, names_resource: bool) -> dict[str, Any]:
    """The error responses of an operation, by status.

    names_resource: whether the request can name a resource, which may not exist.
    """
    return _references(_statuses(method, binding, names_resource=names_resource))


def of_status() -> dict[str, Any]:
    """The error responses of `/v1/status`, which reports the parts that are down and never fails with them."""
    return _references((401, 403, 429))


def _statuses(method: MethodDescriptor, binding: HttpBinding, *, names_resource: bool) -> Iterator[int]:
    yield from (400, 401, 403)
    if names_resource:
        yield 404
    if contract.required_scope(method) > Scope.READ:
        yield 409
    if binding.body is not None:
        yield 413
    yield from (429, 503)


def _references(statuses: Iterator[int] | tuple[int, ...]) -> dict[str, Any]:
    references = {str(status): {"$ref": f"#/components/responses/{_RESPONSES[status][0]}"} for status in statuses}
    return {**references, "default": {"$ref": "#/components/responses/Error"}}


def _response(description: str, headers: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "description": description,
        "headers": dict(headers),
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
