"""Embeddings by Ollama: `/api/embed` in batches, `/api/embeddings` for servers that are too old for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from services.embedder.documents import Failure
from services.embedder.errors import EmbeddingModelNotFound
from services.embedder.providers import Embedding, Model
from services.embedder.providers.batching import PROBE, Answer, Batches, Limits
from services.embedder.providers.numbers import failure, vector_of
from services.providers.client import MAX_ATTEMPTS, ProviderRefused, ProviderUnavailable
from services.providers.ollama import NAME, TOO_LONG, OllamaModel, OllamaServer

_OK = 200
_NOT_FOUND = 404
_LIMITS = Limits(batch=512, concurrency=1, first_batch=512)
"""Ollama divides a request by itself, and by default computes one text at a time."""
_SLOTS = 16
"""Requests of all callers at a time, so that a query does not wait for the texts of a job."""
_MAX_KNOWN_MODELS = 256


class OllamaProvider:
    """The embedding models of the operator's Ollama server. All methods raise ProviderUnavailable, ProviderRefused."""

    name = NAME
    matryoshka: Sequence[str] = ()
    normalize = False

    def __init__(self, url: str) -> None:
        self.server = OllamaServer(url)
        self._slots = asyncio.Semaphore(_SLOTS)
        self._batches: dict[str, Batches] = {}
        self._dimensions: dict[str, int] = {}  # by digest: a model that is pulled again is probed again

    async def close(self) -> None:
        """Closes the connections."""
        await self.server.close()

    async def models(self) -> list[Model]:
        """The models that can embed, by id, with the dimension of their vectors. Raises ProviderUnavailable."""
        models = [await self._probed(model) for model in await self.server.models("embedding")]
        return sorted((model for model in models if model is not None), key=lambda model: model.id)

    async def find(self, model: str) -> Model | None:
        """A model that can embed, by its name with its tag."""
        listed = await self.server.models("embedding")
        matching = next((entry for entry in listed if entry.name == model), None)
        return await self._probed(matching) if matching else None

    async def embed(self, model: str, texts: Sequence[str], *, dimension: int | None = None) -> list[Answer]:
        """For each text its vector, of all its numbers, or failure. Raises EmbeddingModelNotFound."""
        if len(self._batches) >= _MAX_KNOWN_MODELS:
            self._batches.clear()  # names come from requests
        request, refused_text = partial(self._request, model), partial(self._truncated, model)
        batches = self._batches.setdefault(model, Batches(_LIMITS, self._slots, request, refused_text))
        try:
            return await batches.embed(texts)
        except ProviderRefused as error:
            if error.status != _NOT_FOUND:
                raise
            raise EmbeddingModelNotFound(
                f"Ollama: {error.detail}. `ollama pull {model}` downloads it",
                metadata={"embedding_model": f"{NAME}/{model}"},
            ) from error

    async def _request(self, model: str, texts: Sequence[str]) -> list[Answer]:
        return [vector_of(self.server, vector) for vector in await self._vectors(model, texts, truncate=False)]

    async def _truncated(self, model: str, text: str, refusal: ProviderRefused) -> Answer:
        """The answer for a text that was refused alone: truncated if it is too long for the model, else a failure."""
        if TOO_LONG not in refusal.detail:
            return failure(refusal)
        try:
            (vector,) = await self._vectors(model, [text], truncate=True)
        except ProviderRefused as error:
            return failure(error)
        answer = vector_of(self.server, vector)
        return Embedding(answer.vector, truncated=True) if isinstance(answer, Embedding) else answer

    async def _vectors(
        self, model: str, texts: Sequence[str], *, truncate: bool, attempts: int = MAX_ATTEMPTS
    ) -> list[Any]:
        """One JSON value for each text, unchecked."""
        body = {"model": model, "input": list(texts), "truncate": truncate}
        try:
            response = await self.server.post("/api/embed", body, attempts=attempts)
        except ProviderRefused as error:
            if error.status != _NOT_FOUND or "model" in error.detail:
                raise
            return [await self._vector_of_old_server(model, text) for text in texts]
        vectors: Any = response.get("embeddings")
        if not isinstance(vectors, list):  # no text is the reason for that
            raise self.server.unavailable("expected a list of embeddings in its response, got none")
        if len(vectors) > len(texts):
            raise self.server.unavailable(f"expected {len(texts)} vectors, got {len(vectors)}")
        if len(vectors) < len(texts):
            raise self.server.refused(_OK, f"expected {len(texts)} vectors, got {len(vectors)}")
        return vectors

    async def _vector_of_old_server(self, model: str, text: str) -> Any:
        return (await self.server.post("/api/embeddings", {"model": model, "prompt": text})).get("embedding") or []

    async def _probed(self, model: OllamaModel) -> Model | None:
        """The model, with dimension 0 while it does not run; None for one that cannot embed although it claims to."""
        if model.digest not in self._dimensions:
            try:
                (vector,) = await self._vectors(model.name, [PROBE], truncate=True, attempts=1)
            except ProviderUnavailable:
                return self._model(model, dimension=0)
            except ProviderRefused:
                return None
            answer = vector_of(self.server, vector)
            if isinstance(answer, Failure):
                return None
            self._dimensions[model.digest] = len(answer.vector)
        return self._model(model, dimension=self._dimensions[model.digest])

    @staticmethod
    def _model(model: OllamaModel, *, dimension: int) -> Model:
        limits = (value for key, value in model.details.items() if key.endswith(".context_length"))
        limit = next(limits, 0)
        return Model(
            id=f"{NAME}/{model.name}",
            display_name=f"{model.name} (Ollama)",
            dimension=dimension,
            max_tokens=limit if isinstance(limit, int) and 0 <= limit < 1 << 32 else 0,
        )
