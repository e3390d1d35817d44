"""RPCs as HTTP requests, by the `google.api.http` annotations of the protos: the reverse of the gateway's routing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

# A job's error holds details of any type, which JSON names: their descriptors must be loaded.
from google.rpc import error_details_pb2  # noqa: F401  # pyright: ignore[reportUnusedImport]

from prisma_common import contract
from prisma_common.http_rule import Variable, http_bindings

_Response = TypeVar("_Response", bound=Message)


@dataclass(frozen=True)
class HttpRequest:
    """What is sent. body: JSON, or None for none."""

    verb: str
    path: str
    query: tuple[tuple[str, str], ...]
    body: bytes | None


def method(name: str) -> MethodDescriptor:
    """The RPC `Service/Method`. Raises KeyError."""
    service, _, rpc = name.partition("/")
    return contract.services()[service].methods_by_name[rpc]


def request(name: str, message: Message) -> HttpRequest:
    """The HTTP request that calls an RPC with a message."""
    binding = http_bindings(method(name).GetOptions())[0]
    fields: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)

    def segments(variable: Variable) -> str:
        return quote(_take(fields, variable.field.split(".")), safe="/:~")

    path = binding.path.expand(segments)
    body = None
    if binding.body == "*":
        body, fields = json.dumps(fields).encode(), {}
    elif binding.body is not None:
        body = json.dumps(fields.pop(binding.body, {})).encode()
    return HttpRequest(binding.verb, path, tuple(_query(fields, "")), body)


def response(data: bytes | str, message: _Response) -> _Response:
    """Fills a message from the JSON of a response. Raises ValueError for what no gateway of PRISMA sends.

    Fields of a newer gateway are ignored, but not an object without a single known field.
    """
    fields = json.loads(data)
    if not isinstance(fields, dict):
        raise ValueError("expected a JSON object")
    names = {name for field in message.DESCRIPTOR.fields for name in (field.name, field.json_name)}
    if fields and names and names.isdisjoint(fields):  # pyright: ignore[reportUnknownArgumentType]
        raise ValueError(f"expected some of the fields {', '.join(sorted(names))}")
    try:
        return json_format.ParseDict(fields, message, ignore_unknown_fields=True)
    except json_format.ParseError as error:
        raise ValueError(str(error)) from error


def _take(fields: dict[str, Any], path: list[str]) -> str:
    """Removes a field and returns it; empty where it is absent, which the server refuses with the field's name."""
    *parents, last = path
    for parent in parents:
        fields = fields.get(parent, {})
    return str(fields.pop(last, ""))


def _query(fields: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _query(value, f"{prefix}{name}.")  # pyright: ignore[reportUnknownArgumentType]
            continue
        for item in value if isinstance(value, list) else [value]:
            yield f"{prefix}{name}", item if isinstance(item, str) else json.dumps(item)
