"""A query is embedded and encoded once, by the model and the run that are asked for, and errors are not kept."""

from __future__ import annotations

import numpy as np
import pytest

from services.chassis.errors import Unavailable
from services.search import query_cache
from services.search.backend import LatentQuery, Position, Vectors
from services.search.owners import Run
from services.search.query_cache import QueryCache


class Away(Unavailable):
    """The encoders do not answer."""

    reason = "SERVICE_UNAVAILABLE"


class Encoders:
    """Embeds a text as the length of model and text; encodes a vector as the length of the run's name."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.is_away = False

    async def embed(self, model: str, text: str) -> Vectors:
        self._note(f"{model} {text}")
        return np.array([len(model), len(text)], dtype=np.float32)

    async def encode(self, run: str, vector: Vectors) -> LatentQuery:
        self._note(run)
        return LatentQuery(np.array([len(run)], dtype=np.uint32), np.array([float(vector[0])]))

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if self.is_away:
            raise Away("away")


def run(name: str, uid: str) -> Run:
    return Run(name=name, uid=uid, dataset="datasets/d", dataset_uid="d", position=Position("", 1), is_trained=True)


async def test_a_query_is_embedded_once_for_each_model() -> None:
    encoders = Encoders()
    cache = QueryCache(encoders)
    for _ in range(2):
        assert (await cache.vector("builtin", "a")).tolist() == [7, 1]
        assert (await cache.vector("builtin", "ab")).tolist() == [7, 2]
        assert (await cache.vector("other", "a")).tolist() == [5, 1]
    assert encoders.calls == ["builtin a", "builtin ab", "other a"]


async def test_vectors_and_codes_are_kept_for_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    encoders = Encoders()
    cache = QueryCache(encoders)
    for seconds in (60.0, 60.0, 0.0):
        monkeypatch.setattr(query_cache, "SECONDS", seconds)
        await cache.code(run("runs/r", "r"), await cache.vector("builtin", "a"))
    assert encoders.calls == ["builtin a", "runs/r"] * 2


async def test_a_code_is_that_of_its_run_even_if_another_takes_the_name() -> None:
    encoders = Encoders()
    cache = QueryCache(encoders)
    vector = np.ones(2, np.float32)
    for uid in ("first", "first", "second"):
        await cache.code(run("runs/r", uid), vector)
    await cache.code(run("runs/r", "second"), vector + 1)
    assert encoders.calls == ["runs/r"] * 3


async def test_errors_are_not_kept_and_the_oldest_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_cache, "SIZE", 2)
    encoders = Encoders()
    cache = QueryCache(encoders)
    encoders.is_away = True
    with pytest.raises(Away):
        await cache.vector("m", "a")
    encoders.is_away = False
    for text in ("a", "b", "a", "c", "a", "b"):
        await cache.vector("m", text)
    assert encoders.calls == ["m a", "m a", "m b", "m c", "m b"]
