"""Routes: which HTTP request calls which RPC, by the `google.api.http` annotations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from urllib.parse import unquote

from google.protobuf.descriptor import MethodDescriptor

from prisma_common import contract
from prisma_common.http_rule import HttpBinding, http_bindings

_SEGMENT = "[A-Za-z0-9._~%-]+"
"""A segment as it is sent: percent-encoded."""


@dataclass(frozen=True)
class Route:
    """One binding of an RPC."""

    binding: HttpBinding
    method: MethodDescriptor

    @property
    def verb(self) -> str:
        """`GET`, `POST` …"""
        return self.binding.verb

    @property
    def template(self) -> str:
        """`/v1/{name=runs/*}:train`."""
        return self.binding.template

    @property
    def body(self) -> str | None:
        """The field that the body holds, `*` for the whole request, None for no body."""
        return self.binding.body

    @property
    def fields(self) -> Sequence[str]:
        """The fields that the path holds, from left to right."""
        return [variable.field for variable in self.binding.path.variables]

    @property
    def full_name(self) -> str:
        """`/package.Service/Method`, as gRPC calls it."""
        return contract.full_name(self.method)

    @property
    def package(self) -> str:
        """`prisma.trainer.v1`."""
        return self.method.containing_service.file.package

    def match(self, path: str) -> Mapping[str, str] | None:
        """The fields that a path holds, decoded; None where the path belongs to another route."""
        match = self._pattern.fullmatch(path)
        return dict(zip(self.fields, map(unquote, match.groups()), strict=True)) if match else None

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return self.binding.path.regular_expression(_SEGMENT)


@lru_cache(maxsize=1)
def routes() -> Sequence[Route]:
    """All routes. Those with more literal text come first: `/features:export` before `/features/*`."""
    unordered = [
        Route(binding, method) for method in contract.methods() for binding in http_bindings(method.GetOptions())
    ]
    return sorted(unordered, key=lambda route: (-route.binding.path.literal_length, route.template))
