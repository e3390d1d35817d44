"""Embeddings by servers that speak OpenAI's protocol: `/v1/embeddings`.

Vectors are asked for in base64, and in numbers where a server refuses that. Each vector is matched with its text by its
`index`. Texts that are too long for a model are cut until it takes them.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from services.chassis import logs
from services.embedder.documents import Failure
from services.embedder.errors import EmbeddingModelNotFound
from services.embedder.providers import Embedding, Model
from services.embedder.providers.batching import PROBE, Answer, Batches, Limits
from services.embedder.providers.numbers import failure, vector_of
from services.providers.client import ProviderRefused, ProviderUnavailable
from services.providers.endpoints import Endpoint
from services.providers.openai import TOO_LONG, OpenAIServer

_OK = 200
_NOT_FOUND = 404
_PROBED_SECONDS = 60.0
"""How long a model's dimension is kept: a server can be started again with another model."""
_LISTED_SECONDS = 15.0
"""That a model may take for its first vector in a list of models."""
_MAX_KNOWN_MODELS = 256
_OPTIONS = {"dimensions": "vectors are cut here", "encoding_format": "vectors come as lists of numbers"}
"""Fields of a request without which it means the same, and what happens without them: a server that refuses one is
asked without it."""
_BLAMES_OPTIONS = frozenset({400, 415, 422, 501})
_DENIED = frozenset({401, 403, 407})
_MIN_CHARACTERS = 8

_log = logs.get(__name__)


class OpenAIProvider:
    """The embedding models of one endpoint. All methods raise ProviderUnavailable and ProviderRefused."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.server = OpenAIServer(endpoint)
        self.name = endpoint.name
        self.matryoshka = endpoint.matryoshka
        self.normalize = endpoint.normalize
        self._endpoint = endpoint
        self._slots = asyncio.Semaphore(endpoint.concurrency)
        self._batches: dict[tuple[str, int | None], Batches] = {}
        self._refused_options: dict[str, set[str]] = {}
        self._accepted_options: dict[str, set[str]] = {}
        self._dimensions: dict[str, tuple[float, int]] = {}

    async def close(self) -> None:
        """Closes the connections."""
        await self.server.close()

    async def models(self) -> list[Model]:
        """The models that can embed, by id, with the dimension of their vectors."""
        names = await self.server.model_names("embeddings")
        results = await asyncio.gather(*map(self._listed, names))
        errors = [result for result in results if isinstance(result, Exception)]
        if errors and len(errors) == len(names):
            raise errors[0]  # that of each model is the server's
        models = [
            self._model(name, error=result.message) if isinstance(result, Exception) else result
            for name, result in zip(names, results, strict=True)
        ]
        return [model for model in models if model is not None]

    async def find(self, model: str) -> Model | None:
        """A model that the operator lists, or, without a list, any that the server has."""
        if not self._is_offered(model):
            return None
        return await self._probed(model)

    async def embed(self, model: str, texts: Sequence[str], *, dimension: int | None = None) -> list[Answer]:
        """For each text its vector or failure. Raises EmbeddingModelNotFound."""
        if not self._is_offered(model):
            raise self._not_found(model, f"the operator lists {', '.join(self._endpoint.embeddings or ())}")
        try:
            return await self._batches_of(model, dimension).embed(texts)
        except ProviderRefused as error:
            if error.status == _NOT_FOUND:
                raise self._not_found(model, error.detail) from error
            raise

    def _is_offered(self, model: str) -> bool:
        listed = self._endpoint.embeddings
        return listed is None or model in listed

    def _not_found(self, model: str, detail: str) -> EmbeddingModelNotFound:
        return EmbeddingModelNotFound(
            f"{self.name} has no embedding model {model[:200]!r}: {detail}",
            metadata={"embedding_model": f"{self.name}/{model[:200]}"},
        )

    def _batches_of(self, model: str, dimension: int | None) -> Batches:
        if len(self._batches) >= _MAX_KNOWN_MODELS:
            self._batches.clear()  # names come from requests
        return self._batches.setdefault(
            (model, dimension),
            Batches(
                Limits(batch=self._endpoint.max_batch, concurrency=self._endpoint.concurrency),
                self._slots,
                request=partial(self._request, model, dimension),
                refused_text=partial(self._shortened, model, dimension),
            ),
        )

    async def _request(self, model: str, dimension: int | None, texts: Sequence[str]) -> list[Answer]:
        """An answer for each text, by one request; by several, while the server refuses options."""
        refused, accepted = self._refused_options.get(model, set()), self._accepted_options.get(model, set())
        body: dict[str, Any] = {"model": model, "input": list(texts), "encoding_format": "base64"}
        if dimension is not None:
            body["dimensions"] = dimension
        while True:
            request = {name: value for name, value in body.items() if name not in refused}
            try:
                response = await self.server.post("/embeddings", request)
            except ProviderRefused as error:
                option = _blamed_option(error, request, accepted)
                if option is None:
                    raise
                refused = refused | {option}
                continue
            self._learn(model, refused=refused, accepted=accepted | (request.keys() & set(_OPTIONS)))
            return [self._answer(value) for value in self._in_order(response.get("data"), len(texts))]

    def _learn(self, model: str, *, refused: set[str], accepted: set[str]) -> None:
        """Keeps which options of a request a model's server takes."""
        for option in sorted(refused - self._refused_options.get(model, set())):
            _log.warning("refused option", model=f"{self.name}/{model}", option=option, instead=_OPTIONS[option])
        if len(self._refused_options) >= _MAX_KNOWN_MODELS:
            self._refused_options.clear()
            self._accepted_options.clear()
        self._refused_options[model] = refused
        self._accepted_options[model] = accepted

    def _in_order(self, data: Any, count: int) -> list[Any]:
        """The unchecked vectors of so many texts, in their order. Raises ProviderUnavailable, ProviderRefused."""
        if not isinstance(data, list) or not all(isinstance(entry, dict) for entry in data):
            raise self.server.unavailable("expected a list of embeddings in its response, got none")
        if len(data) > count:
            raise self.server.unavailable(f"expected {count} vectors, got {len(data)}")
        if len(data) < count:
            raise self.server.refused(_OK, f"expected {count} vectors, got {len(data)}")
        indices = [entry.get("index") for entry in data]
        if count > 1 and any(index is not None for index in indices):
            if not all(type(index) is int for index in indices) or sorted(indices) != list(range(count)):
                raise self.server.refused(_OK, "its response does not say which vector belongs to which text")
            vectors = dict(zip(indices, (entry.get("embedding") for entry in data), strict=True))
            return [vectors[index] for index in range(count)]
        return [entry.get("embedding") for entry in data]

    def _answer(self, value: Any) -> Answer:
        if not isinstance(value, str):
            return vector_of(self.server, value)
        try:
            vector = np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4").astype(np.float32)
        except (ValueError, binascii.Error):
            return failure(self.server.refused(_OK, "expected a vector of 32-bit numbers in base64"))
        return Embedding(vector) if len(vector) else failure(self.server.refused(_OK, "expected a vector"))

    async def _shortened(self, model: str, dimension: int | None, text: str, error: ProviderRefused) -> Answer:
        """The answer for a text that was refused alone: its beginning's if it is too long for the model."""
        while _is_too_long(error) and len(text) >= _MIN_CHARACTERS:
            text = text[: len(text) // 2]
            try:
                (answer,) = await self._request(model, dimension, [text])
            except ProviderRefused as next_error:
                error = next_error
                continue
            return Embedding(answer.vector, truncated=True) if isinstance(answer, Embedding) else answer
        return failure(error)

    async def _listed(self, model: str) -> Model | ProviderUnavailable | ProviderRefused | None:
        """The model for a list, in which it hides no other: what `_probed` gives, or raises."""
        try:
            async with asyncio.timeout(_LISTED_SECONDS):
                return await self._probed(model)
        except TimeoutError:
            return self.server.unavailable(f"no vector by {model} within {_LISTED_SECONDS:g} s")
        except (ProviderUnavailable, ProviderRefused) as error:
            return error

    async def _probed(self, model: str) -> Model | None:
        """The model with its dimension, or with what is wrong with it; None for one that cannot embed.

        A model that the operator lists is never left out.
        """
        now = time.monotonic()
        until, dimension = self._dimensions.get(model, (0.0, 0))
        if until <= now:
            try:
                (answer,) = await self._request(model, None, [PROBE])
            except ProviderRefused as error:
                if error.status in _DENIED:
                    raise
                return self._model(model, error=error.message) if self._endpoint.embeddings is not None else None
            if isinstance(answer, Failure):
                return self._model(model, error=answer.message) if self._endpoint.embeddings is not None else None
            dimension = len(answer.vector)
            if len(self._dimensions) >= _MAX_KNOWN_MODELS:
                self._dimensions.clear()
            self._dimensions[model] = (now + _PROBED_SECONDS, dimension)
        return self._model(model, dimension=dimension)

    def _model(self, model: str, *, dimension: int = 0, error: str = "") -> Model:
        return Model(
            id=f"{self.name}/{model}",
            display_name=f"{model} ({self.name})",
            dimension=dimension,
            max_tokens=0,
            error=error,
        )


def _blamed_option(error: ProviderRefused, body: dict[str, Any], accepted: set[str]) -> str | None:
    """The option that a refusal is about: one that it names, else one that the model's server never took."""
    if error.status not in _BLAMES_OPTIONS:
        return None
    detail = error.detail.lower().replace("matryoshka", "dimensions")  # vLLM's word for it
    options = [option for option in _OPTIONS if option in body]
    named = next((option for option in options if option in detail), None)
    return named or next((option for option in options if option not in accepted), None)


def _is_too_long(error: ProviderRefused) -> bool:
    return any(part in error.detail.lower() for part in TOO_LONG)
