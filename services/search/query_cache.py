"""Vectors and codes of the latest queries: another page of a query, or another mode, asks no service again."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from services.search.backend import LatentQuery, Vectors
from services.search.owners import Run

SIZE = 1024
"""Queries that are kept; vectors of 1,024 numbers take 4 MiB."""
SECONDS = 60.0
"""How long a result is kept: a model may be replaced under its name, and a restored run be trained again."""

_Value = TypeVar("_Value")


class Encoders(Protocol):
    """Who embeds and encodes queries."""

    async def embed(self, model: str, text: str) -> Vectors: ...

    async def encode(self, run: str, vector: Vectors) -> LatentQuery: ...


class QueryCache:
    """Embeds and encodes queries, each once. Errors are not kept. Raises what the encoders raise."""

    def __init__(self, encoders: Encoders) -> None:
        self._encoders = encoders
        self._vectors = _Latest[Vectors]()
        self._codes = _Latest[LatentQuery]()

    async def vector(self, model: str, text: str) -> Vectors:
        """(d,) the vector of a text, read-only."""
        vector = self._vectors.get((model, text))
        if vector is None:
            vector = (await self._encoders.embed(model, text)).copy()
            vector.flags.writeable = False
            self._vectors.put((model, text), vector)
        return vector

    async def code(self, run: Run, vector: Vectors) -> LatentQuery:
        """The code of a vector by a trained run."""
        key = (run.uid, vector.tobytes())
        code = self._codes.get(key)
        if code is None:
            code = await self._encoders.encode(run.name, vector)
            self._codes.put(key, code)
        return code


class _Latest(Generic[_Value]):
    """The SIZE values used last, by key, each for SECONDS."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, tuple[float, _Value]] = OrderedDict()

    def get(self, key: Hashable) -> _Value | None:
        moment, value = self._entries.get(key, (0.0, None))
        if value is None or time.monotonic() - moment >= SECONDS:
            return None
        self._entries.move_to_end(key)
        return value

    def put(self, key: Hashable, value: _Value) -> None:
        self._entries[key] = (time.monotonic(), value)
        self._entries.move_to_end(key)
        if len(self._entries) > SIZE:
            self._entries.popitem(last=False)
