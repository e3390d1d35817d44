"""Who turns texts into vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.chassis.errors import FailedPrecondition, Unavailable
from services.embedder.documents import DEFAULT_MODEL, Failure
from services.embedder.errors import EmbeddingModelNotFound


@dataclass(frozen=True)
class Model:
    """A model that a provider offers: its id is `provider/name`; `max_tokens` is 0 for no limit."""

    id: str
    display_name: str
    dimension: int
    max_tokens: int


@dataclass(frozen=True)
class Embedding:
    """A text's vector, (d,) float32, finite."""

    vector: NDArray[np.float32]
    truncated: bool = False


class Provider(Protocol):
    """Offers models. Raises PROVIDER_UNAVAILABLE when it does not answer."""

    async def models(self) -> list[Model]:
        """What it offers at this moment."""
        ...

    async def embed(self, model: str, texts: Sequence[str]) -> list[Embedding | Failure]:
        """One answer for each text: a vector, or why there is none. `model` is without the provider's name."""
        ...


class Providers:
    """All providers, by name."""

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self._providers = providers

    @staticmethod
    def full_id(model: str) -> str:
        """`model` with defaults filled in."""
        return DEFAULT_MODEL if model in ("", "builtin") else model

    async def list(self) -> tuple[list[Model], dict[str, str]]:
        """All models, and why which provider does not answer."""
        found: list[Model] = []
        unreachable: dict[str, str] = {}
        for name, provider in self._providers.items():
            try:
                found.extend(await provider.models())
            except (Unavailable, FailedPrecondition) as error:
                unreachable[name] = error.message
        return found, unreachable

    async def get(self, model: str) -> Model:
        """A model by its full id. Raises EmbeddingModelNotFound, or what its provider raises."""
        provider = self._provider(model)
        for each in await provider.models():
            if each.id == model:
                return each
        raise self._not_found(model)

    async def embed(self, model: str, texts: Sequence[str]) -> list[Embedding | Failure]:
        """One answer for each text. Raises EmbeddingModelNotFound, or what the provider raises."""
        return await self._provider(model).embed(model.partition("/")[2], texts)

    def _provider(self, model: str) -> Provider:
        name = model.partition("/")[0]
        if name not in self._providers:
            raise self._not_found(model)
        return self._providers[name]

    def _not_found(self, model: str) -> EmbeddingModelNotFound:
        return EmbeddingModelNotFound(
            f"no provider offers {model[:200]!r}; providers are {', '.join(self._providers)}, "
            "ListEmbeddingModels has their models",
            metadata={"embedding_model": model[:200]},
        )
