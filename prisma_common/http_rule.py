"""The `google.api.http` annotations: how an RPC is called over HTTP.

The gateway reads them to route requests, the OpenAPI document to describe them, the client to send them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor_pb2 import MethodOptions

_VERBS = ("get", "put", "post", "delete", "patch")
_VARIABLE = re.compile(r"\{([\w.]+)(?:=([^{}]*))?\}")


@dataclass(frozen=True)
class Variable:
    """A field of the request that the path holds.

    field: dotted path of the field. segments: what it stands for, `*` for one id: ("datasets", "*", "documents", "*").
    """

    field: str
    segments: tuple[str, ...]


@dataclass(frozen=True)
class PathTemplate:
    """A path such as `/v1/{name=datasets/*}:embed`: literal text and variables in turn.

    Of the template syntax of google/api/http.proto, `**` is not supported.
    """

    parts: tuple[str | Variable, ...]

    @classmethod
    def parse(cls, template: str) -> PathTemplate:
        """Reads a template."""
        parts: list[str | Variable] = []
        position = 0
        for match in _VARIABLE.finditer(template):
            parts.append(template[position : match.start()])
            parts.append(Variable(match[1], tuple((match[2] or "*").split("/"))))
            position = match.end()
        parts.append(template[position:])
        return cls(tuple(part for part in parts if part))

    @cached_property
    def variables(self) -> tuple[Variable, ...]:
        """The variables, from left to right."""
        return tuple(part for part in self.parts if isinstance(part, Variable))

    @cached_property
    def literal_length(self) -> int:
        """Characters outside of variables; of two templates that match a path, the longer one is meant."""
        return sum(len(part) for part in self.parts if isinstance(part, str))

    def expand(self, value: Callable[[Variable], str]) -> str:
        """The path with each variable replaced by its value."""
        return "".join(part if isinstance(part, str) else value(part) for part in self.parts)

    def regular_expression(self, segment: str) -> re.Pattern[str]:
        """A pattern with one group per variable. `segment`: the expression that one `*` stands for."""

        def group(variable: Variable) -> str:
            return "(" + "/".join(segment if part == "*" else re.escape(part) for part in variable.segments) + ")"

        parts = (re.escape(part) if isinstance(part, str) else group(part) for part in self.parts)
        return re.compile("".join(parts))


@dataclass(frozen=True)
class HttpBinding:
    """One way to call an RPC over HTTP.

    verb: in capitals. body: the field that the body holds, `*` for the whole request, None for no body.
    """

    verb: str
    template: str
    path: PathTemplate
    body: str | None


def http_bindings(options: MethodOptions) -> tuple[HttpBinding, ...]:
    """The bindings of an RPC, the main one first; none for an RPC without the annotation."""
    rule: http_pb2.HttpRule = options.Extensions[annotations_pb2.http]  # pyright: ignore[reportArgumentType]
    bindings: list[HttpBinding] = []
    for binding in (rule, *rule.additional_bindings):
        verb = binding.WhichOneof("pattern")
        if verb in _VERBS:
            template: str = getattr(binding, verb)
            bindings.append(HttpBinding(verb.upper(), template, PathTemplate.parse(template), binding.body or None))
    return tuple(bindings)
