"""Embeddings by Ollama: `/api/embed` in batches, `/api/embeddings` for servers that are too old for it.

A batch that the server declines is halved until the offending text is found: that text fails, or is truncated, alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from services.chassis.errors import Code
from services.embedder.documents import Failure
from services.embedder.errors import EmbeddingModelNotFound
from services.embedder.providers import Embedding, Model, Purpose
from services.providers.client import MAX_ATTEMPTS, ProviderRefused, ProviderUnavailable
from services.providers.ollama import NAME, TOO_LONG, OllamaModel, OllamaServer

_OK = 200
_NOT_FOUND = 404
_ACCESS_DENIED = frozenset({401, 403, 407})
"""Statuses that concern every request alike, whatever its texts."""


class OllamaProvider:
    """The embedding models of the operator's Ollama server."""

    def __init__(self, url: str) -> None:
        self.server = OllamaServer(url)
        self._dimensions: dict[str, int] = {}  # by digest: a model that is pulled again is probed again

    async def close(self) -> None:
        """Closes the connections."""
        await self.server.close()

    async def models(self) -> list[Model]:
        """The models that can embed, by id, with the dimension of their vectors. Raises ProviderUnavailable."""
        models = [await self._probed(model) for model in await self.server.models("embedding")]
        return sorted((model for model in models if model is not None), key=lambda model: model.id)

    async def names(self) -> list[str]:
        """The ids of the models that can embed. Raises ProviderUnavailable."""
        return [model.id for model in await self.models()]

    async def embed(
        self, model: str, texts: Sequence[str], *, purpose: Purpose = Purpose.DOCUMENT
    ) -> list[Embedding | Failure]:
        """For each text its vector or failure. Ollama knows no prefixes, so the purpose makes no difference.

        Raises ProviderUnavailable, EmbeddingModelNotFound, ProviderRefused.
        """
        try:
            return [self._checked(vector) for vector in await self._vectors(model, texts, truncate=False)]
        except ProviderRefused as error:
            if error.status == _NOT_FOUND:
                raise EmbeddingModelNotFound(
                    f"Ollama: {error.detail}. `ollama pull {model}` downloads it",
                    metadata={"embedding_model": f"{NAME}/{model}"},
                ) from error
            if error.status in _ACCESS_DENIED:
                raise
            if len(texts) > 1:
                middle = len(texts) // 2
                return [*await self.embed(model, texts[:middle]), *await self.embed(model, texts[middle:])]
            return [await self._single(model, texts[0], error)]

    async def _single(self, model: str, text: str, refusal: ProviderRefused) -> Embedding | Failure:
        """The answer for a text that was refused alone: truncated if it is too long for the model, else a failure."""
        if TOO_LONG not in refusal.detail:
            return _failure(refusal)
        try:
            (vector,) = await self._vectors(model, [text], truncate=True)
        except ProviderRefused as error:
            return _failure(error)
        answer = self._checked(vector)
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
                (vector,) = await self._vectors(model.name, ["dimension"], truncate=True, attempts=1)
            except ProviderUnavailable:
                return self._model(model, dimension=0)
            except ProviderRefused:
                return None
            answer = self._checked(vector)
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

    def _checked(self, vector: Any) -> Embedding | Failure:
        try:
            with np.errstate(over="ignore"):  # 1e39 becomes infinity, which the caller reports
                values = np.asarray(vector, dtype=np.float32)
        except (TypeError, ValueError, OverflowError):
            return _failure(self.server.refused(_OK, "expected a list of numbers"))
        if values.ndim != 1 or not len(values) or isinstance(vector[0], bool):
            return _failure(self.server.refused(_OK, "expected a vector"))
        return Embedding(values)


def _failure(error: ProviderRefused) -> Failure:
    return Failure(Code(error.code), error.reason, error.message)
