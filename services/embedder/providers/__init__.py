"""Embedding models: what a provider must offer, and the models of all providers."""

from __future__ import annotations

import asyncio
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
from services.providers.client import LISTING_SECONDS, ProviderUnavailable


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

    async def find(self, model: str) -> Model | None:
        """A model by its name, without provider here and below; None where there is none of this name."""
        ...

    def complete(self, model: str) -> str:
        """The name under which a new dataset keeps a model: with all that its vectors depend on."""
        ...

    async def embed(
        self, model: str, texts: Sequence[str], *, purpose: Purpose = Purpose.DOCUMENT
    ) -> list[Embedding | Failure]:
        """For each text its vector, or why the model cannot embed this text.

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
        listings = await asyncio.gather(*(_listing(provider) for provider in self._providers.values()))
        models: list[Model] = []
        unreachable: dict[str, str] = {}
        for name, listing in zip(self._providers, listings, strict=True):
            if not isinstance(listing, str):
                models += listing
            elif name not in self._unconfigured:
                unreachable[name] = listing
        return models, unreachable

    async def get(self, model_id: str) -> Model:
        """A model by its full id. Raises EmbeddingModelNotFound, ProviderUnavailable, ProviderRefused."""
        model = await self._provider(model_id).find(model_id.partition("/")[2])
        if model is None:
            raise self._not_found(model_id)
        if model.error:
            raise ProviderUnavailable(model.error, metadata={"embedding_model": model_id})
        return model

    async def choose(self, model_id: str) -> str:
        """The id under which a new dataset keeps a model that exists. Raises what `get` raises."""
        model_id = self.full_id(model_id)
        provider, _, name = model_id.partition("/")
        return (await self.get(f"{provider}/{self._provider(model_id).complete(name)}")).id

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


async def _listing(provider: EmbeddingProvider) -> list[Model] | str:
    """A provider's models, or its error message."""
    try:
        async with asyncio.timeout(LISTING_SECONDS):
            return await provider.models()
    except TimeoutError:
        return f"no list of its models within {LISTING_SECONDS:g} s"
    except (Unavailable, FailedPrecondition) as error:
        return error.message
