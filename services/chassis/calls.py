"""What grpc gives a method about its call."""

from __future__ import annotations

from typing import Any, TypeAlias

from grpc import aio

Context: TypeAlias = "aio.ServicerContext[Any, Any]"
"""A generic for type checkers alone."""
