"""Embeddings by Ollama: `/api/embed` in batches, `/api/embeddings` where the server is too old for it.

A batch that is refused is halved until the text is found that can't be embedded: that one fails, or is cut, alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from services.chassis.ollama import NAME, Offered, OllamaServer
from services.chassis.provider import ProviderRefused
from services.embedder.documents import Failure
from services.embedder.errors import EmbeddingModelNotFound
from services.embedder.providers import Embedding, Model

_TOO_LONG = "input length exceeds"
_NOT_FOUND = 404


class OllamaProvider:
    """The operator's Ollama server. Raises ProviderUnavailable when it does not answer."""

    def __init__(self, url: str) -> None:
        self.server = OllamaServer(url)
        self._dimensions: dict[str, int] = {}  # by digest: a model that is pulled anew is probed anew

    async def close(self) -> None:
        """Closes the connections."""
        await self.server.close()

    async def models(self) -> list[Model]:
        """The models that can embed, with the dimension that they answer with."""
        found = [await self._model(each) for each in await self.server.offered("embedding")]
        return sorted((each for each in found if each is not None), key=lambda each: each.id)

    async def names(self) -> list[str]:
        """Their ids."""
        return [each.id for each in await self.models()]

    async def embed(self, model: str, texts: Sequence[str]) -> list[Embedding | Failure]:
        """One answer for each text."""
        try:
            return [self._checked(vector) for vector in await self._vectors(model, texts, truncate=False)]
        except ProviderRefused as error:
            if error.status == _NOT_FOUND:  # of the model, not of a text: documents stay as they are
                raise EmbeddingModelNotFound(
                    f"Ollama: {error.said}. `ollama pull {model}` fetches it", metadata={"embedding_model": model}
                ) from error
            if len(texts) > 1:
                middle = len(texts) // 2
                return [*await self.embed(model, texts[:middle]), *await self.embed(model, texts[middle:])]
            return [await self._alone(model, texts[0], error)]

    async def _alone(self, model: str, text: str, refused: ProviderRefused) -> Embedding | Failure:
        """A text that was refused: cut at the model's limit where it is too long for it, else a failure."""
        if _TOO_LONG not in refused.said:
            return _failure(refused)
        try:
            (vector,) = await self._vectors(model, [text], truncate=True)
        except ProviderRefused as error:
            return _failure(error)
        checked = self._checked(vector)
        return Embedding(checked.vector, truncated=True) if isinstance(checked, Embedding) else checked

    async def _vectors(self, model: str, texts: Sequence[str], *, truncate: bool) -> list[Any]:
        body = {"model": model, "input": list(texts), "truncate": truncate}
        try:
            answer = await self.server.post("/api/embed", body)
        except ProviderRefused as error:
            if error.status != _NOT_FOUND or "model" in error.said:
                raise
            return [await self._old_way(model, text) for text in texts]
        vectors: list[Any] = answer.get("embeddings") or []
        if len(vectors) != len(texts):
            raise self._odd(f"expected {len(texts)} vectors, got {len(vectors)}")
        return vectors

    async def _old_way(self, model: str, text: str) -> Any:
        """One vector by the path of older servers."""
        return (await self.server.post("/api/embeddings", {"model": model, "prompt": text})).get("embedding") or []

    async def _model(self, offered: Offered) -> Model | None:
        """What is known of a model; None for one that is broken: it is not really offered."""
        if offered.digest not in self._dimensions:
            try:
                (vector,) = await self._vectors(offered.name, ["dimension"], truncate=True)
            except ProviderRefused:
                return None
            self._dimensions[offered.digest] = len(vector)
        limit = next((value for key, value in offered.about.items() if key.endswith(".context_length")), 0)
        dimension = self._dimensions[offered.digest]
        return Model(f"{NAME}/{offered.name}", f"{offered.name} (Ollama)", dimension, int(limit))

    def _checked(self, vector: Any) -> Embedding | Failure:
        try:
            values = np.asarray(vector, dtype=np.float32)
        except (TypeError, ValueError):
            return _failure(self._odd("expected a list of numbers"))
        if values.ndim != 1 or not len(values):
            return _failure(self._odd("expected a vector"))
        return Embedding(values)

    def _odd(self, said: str) -> ProviderRefused:
        return ProviderRefused(f"{NAME}: {said}", status=200, said=said, provider=NAME)


def _failure(error: ProviderRefused) -> Failure:
    return Failure(int(error.code), error.reason, error.message)
