"""Embedding models: what a provider must offer, and the models of all providers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.chassis.errors import FailedPrecondition, Unavailable
from services.embedder.documents import DEFAULT_MODEL, Failure
from services.embedder.errors import EmbeddingModelNotFound
from services.embedder.providers.tokens import TokenizingProvider, TokenLimit, estimated_limit
from services.providers.client import ProviderUnavailable


class Purpose(StrEnum):
    """What a text is embedded for: models may put different prefixes before queries and before documents."""

    DOCUMENT = "DOCUMENT"
    QUERY = "QUERY"


@dataclass(frozen=True)
class Model:
    """An embedding model.

    id: `provider/name`.
    dimension: numbers in a vector.
    max_tokens: tokens that it reads of a text; 0 for no limit, or an unknown one.
    description: what its vectors can tell apart, in a sentence.
    error: why it does not work; empty if it works.
    """

    id: str
    display_name: str
    dimension: int
    max_tokens: int
    description: str = ""
    error: str = ""


@dataclass(frozen=True)
class Embedding:
    """A text's vector, (d,) float32, and whether the model read only the beginning of the text."""

    vector: NDArray[np.float32]
    truncated: bool = False


class EmbeddingProvider(Protocol):
    """Offers embedding models. All methods raise ProviderUnavailable when the provider is down or broken."""

    async def models(self) -> list[Model]:
        """The models that it offers now."""
        ...

    async def embed(
        self, model: str, texts: Sequence[str], *, purpose: Purpose = Purpose.DOCUMENT
    ) -> list[Embedding | Failure]:
        """For each text its vector, or why the model cannot embed this text. `model` is the name without provider.

        A fault of the provider is never a Failure of a text: it raises.
        """
        ...


class EmbeddingModels:
    """The embedding models of all providers."""

    def __init__(
        self, providers: Mapping[str, EmbeddingProvider], *, unconfigured: Collection[str] = frozenset()
    ) -> None:
        """providers: by the first part of their models' ids. unconfigured: those whose absence is no fault."""
        self._providers = providers
        self._unconfigured = unconfigured

    @staticmethod
    def full_id(model: str) -> str:
        """A model's id; the default one for an empty string and for `builtin`."""
        return DEFAULT_MODEL if model in ("", "builtin") else model

    async def list(self) -> tuple[list[Model], dict[str, str]]:
        """All models, and the error message of each configured provider that is unreachable."""
        models: list[Model] = []
        unreachable: dict[str, str] = {}
        for name, provider in self._providers.items():
            try:
                models.extend(await provider.models())
            except (Unavailable, FailedPrecondition) as error:
                if name not in self._unconfigured:
                    unreachable[name] = error.message
        return models, unreachable

    async def get(self, model_id: str) -> Model:
        """A model by its full id. Raises EmbeddingModelNotFound, ProviderUnavailable, ProviderRefused."""
        for model in await self._provider(model_id).models():
            if model.id == model_id:
                if model.error:
                    raise ProviderUnavailable(model.error, metadata={"embedding_model": model_id})
                return model
        raise self._not_found(model_id)

    async def embed(
        self, model_id: str, texts: Sequence[str], *, purpose: Purpose = Purpose.DOCUMENT
    ) -> list[Embedding | Failure]:
        """For each text its vector or failure. Raises EmbeddingModelNotFound, ProviderUnavailable, ProviderRefused."""
        return await self._provider(model_id).embed(model_id.partition("/")[2], texts, purpose=purpose)

    async def token_limit(self, model_id: str) -> TokenLimit:
        """How a model cuts documents into tokens; an estimate where its provider has no tokenizer.

        Raises EmbeddingModelNotFound, ProviderUnavailable, ProviderRefused.
        """
        provider = self._provider(model_id)
        if isinstance(provider, TokenizingProvider):
            return await provider.token_limit(model_id.partition("/")[2])
        return estimated_limit((await self.get(model_id)).max_tokens)

    def _provider(self, model_id: str) -> EmbeddingProvider:
        name = model_id.partition("/")[0]
        if name not in self._providers:
            raise self._not_found(model_id)
        return self._providers[name]

    def _not_found(self, model_id: str) -> EmbeddingModelNotFound:
        return EmbeddingModelNotFound(
            f"no provider offers {model_id[:200]!r}; the providers are {', '.join(self._providers)}. "
            "ListEmbeddingModels (`prisma models`) lists their models",
            metadata={"embedding_model": model_id[:200]},
        )
