"""RPCs as HTTP requests, by the `google.api.http` annotations of the protos: the gateway's way, backwards."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor, descriptor_pool, json_format
from google.protobuf.message import Message

# Their descriptors are looked up by name.
from prisma.common.v1 import job_pb2, status_pb2  # noqa: F401  # pyright: ignore[reportUnusedImport]
from prisma.embedder.v1 import embedder_service_pb2  # noqa: F401  # pyright: ignore[reportUnusedImport]
from prisma.interpreter.v1 import interpreter_service_pb2  # noqa: F401  # pyright: ignore[reportUnusedImport]
from prisma.search.v1 import search_service_pb2  # noqa: F401  # pyright: ignore[reportUnusedImport]
from prisma.trainer.v1 import trainer_service_pb2  # noqa: F401  # pyright: ignore[reportUnusedImport]

_VARIABLE = re.compile(r"\{([\w.]+)(?:=[^{}]*)?\}")
_SERVICES = {
    name: f"prisma.{package}.v1.{name}"
    for name, package in {
        "JobService": "common",
        "StatusService": "common",
        "EmbedderService": "embedder",
        "TrainerService": "trainer",
        "InterpreterService": "interpreter",
        "SearchService": "search",
    }.items()
}


@dataclass(frozen=True)
class HttpRequest:
    """What is sent. body: JSON, or None for none."""

    verb: str
    path: str
    query: tuple[tuple[str, str], ...]
    body: bytes | None


def method(name: str) -> descriptor.MethodDescriptor:
    """The RPC `Service/Method`. Raises KeyError."""
    service, _, called = name.partition("/")
    return descriptor_pool.Default().FindServiceByName(_SERVICES[service]).methods_by_name[called]


def request(name: str, message: Message) -> HttpRequest:
    """The HTTP request that calls an RPC with a message."""
    rule: http_pb2.HttpRule = method(name).GetOptions().Extensions[annotations_pb2.http]  # pyright: ignore[reportArgumentType]
    verb = rule.WhichOneof("pattern") or ""
    held: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)

    def filled(variable: re.Match[str]) -> str:
        return quote(_take(held, variable[1].split(".")), safe="/:~")

    path = _VARIABLE.sub(filled, getattr(rule, verb))
    body = None
    if rule.body == "*":
        body, held = json.dumps(held).encode(), {}
    elif rule.body:
        body = json.dumps(held.pop(rule.body, {})).encode()
    return HttpRequest(verb.upper(), path, tuple(_flat(held, "")), body)


def _take(held: dict[str, Any], path: list[str]) -> str:
    """Takes a field out of a dictionary; empty where it isn't there, which the server refuses with its name."""
    *parents, last = path
    for parent in parents:
        held = held.get(parent, {})
    return str(held.pop(last, ""))


def _flat(held: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in held.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")  # pyright: ignore[reportUnknownArgumentType]
            continue
        for each in value if isinstance(value, list) else [value]:
            yield f"{prefix}{name}", each if isinstance(each, str) else json.dumps(each)
