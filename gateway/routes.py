"""Routes from the `google.api.http` annotations: which HTTP request is which RPC (google/api/http.proto)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from urllib.parse import unquote

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor, descriptor_pool

MODULES = (
    "prisma.common.v1.job_pb2",
    "prisma.common.v1.status_pb2",
    "prisma.embedder.v1.embedder_service_pb2",
    "prisma.trainer.v1.trainer_service_pb2",
    "prisma.interpreter.v1.interpreter_service_pb2",
    "prisma.search.v1.search_service_pb2",
)
_VERBS = ("get", "put", "post", "delete", "patch")
_VARIABLE = re.compile(r"\{([\w.]+)(?:=([^{}]*))?\}")
_SEGMENT = "[A-Za-z0-9._~%-]+"


@dataclass(frozen=True)
class Route:
    """One binding of an RPC. body: "*", a field's name, or "" for none."""

    verb: str
    template: str
    pattern: re.Pattern[str]
    fields: Sequence[str]
    body: str
    method: descriptor.MethodDescriptor

    @property
    def full_name(self) -> str:
        """`/package.Service/Method`, as gRPC calls it."""
        return f"/{self.method.containing_service.full_name}/{self.method.name}"

    @property
    def package(self) -> str:
        """`prisma.trainer.v1`."""
        return self.method.containing_service.file.package

    def match(self, path: str) -> Mapping[str, str] | None:
        """The fields that a path gives, decoded; None where it is another route's."""
        found = self.pattern.fullmatch(path)
        return dict(zip(self.fields, map(unquote, found.groups()), strict=True)) if found else None


@lru_cache(maxsize=1)
def routes() -> Sequence[Route]:
    """All routes. Those with more fixed words come first: `/features:export` before `/features/*`."""
    found = [route for module in MODULES for route in _of(import_module(module).DESCRIPTOR)]
    return sorted(found, key=lambda route: (-len(_VARIABLE.sub("", route.template)), route.template))


def compile_template(template: str) -> tuple[re.Pattern[str], list[str]]:
    """The pattern of a template's paths and the names of its fields, in order.

    `*` stands for one segment; a field without a pattern is one segment (google.api.HttpRule, path template syntax).
    """
    fields: list[str] = []
    parts: list[str] = []
    position = 0
    for variable in _VARIABLE.finditer(template):
        parts.append(re.escape(template[position : variable.start()]))
        fields.append(variable[1])
        parts.append(f"({_SEGMENT.join(re.escape(part) for part in (variable[2] or '*').split('*'))})")
        position = variable.end()
    parts.append(re.escape(template[position:]))
    return re.compile("".join(parts)), fields


def bindings(method: descriptor.MethodDescriptor) -> Iterator[tuple[str, str, str]]:
    """(verb, template, body) of each binding of an RPC."""
    rule: http_pb2.HttpRule = method.GetOptions().Extensions[annotations_pb2.http]  # pyright: ignore[reportArgumentType]
    for each in (rule, *rule.additional_bindings):
        verb = each.WhichOneof("pattern")
        if verb in _VERBS:
            yield verb.upper(), getattr(each, verb), each.body


def _of(file: descriptor.FileDescriptor) -> Iterator[Route]:
    for service in descriptor_pool.Default().FindFileByName(file.name).services_by_name.values():
        for method in service.methods:
            for verb, template, body in bindings(method):
                pattern, fields = compile_template(template)
                yield Route(verb, template, pattern, fields, body, method)
