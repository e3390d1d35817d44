"""Models of servers with what belongs to their vectors: `<model>[@<dimension>][#<prompts>]`.

The whole id is stored with a dataset and its runs, so it says how all of their vectors are made: those of documents,
and later those of queries. A model without prompts in its id gets texts as they are, as it always did.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np

from services.chassis.errors import InvalidArgument
from services.embedder.documents import Failure
from services.embedder.errors import EmbeddingModelNotFound
from services.embedder.providers import Embedding, Model, Purpose
from services.embedder.providers.prompts import Prompts, PromptTable, may_be_cut
from services.providers.client import ProviderUnavailable

_PARTS = re.compile(r"(?P<model>.+?)(?:@(?P<dimension>[1-9][0-9]{0,4}))?(?:#(?P<prompts>[a-z0-9-]+))?", re.DOTALL)


@dataclass(frozen=True)
class Recipe:
    """How vectors are made. model: as its server names it. dimension: to which they are cut; None for all numbers.

    prompts: the name of what is put before texts; None for nothing.
    """

    model: str
    dimension: int | None = None
    prompts: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """The recipe in a model's id, without the provider."""
        parts = _PARTS.fullmatch(text)
        if parts is None:
            return cls(text)
        return cls(parts["model"], int(parts["dimension"]) if parts["dimension"] else None, parts["prompts"])

    def __str__(self) -> str:
        dimension = f"@{self.dimension}" if self.dimension else ""
        return f"{self.model}{dimension}{f'#{self.prompts}' if self.prompts else ''}"


class ModelServer(Protocol):
    """A server of embedding models. All methods raise ProviderUnavailable and ProviderRefused."""

    @property
    def name(self) -> str:
        """The first part of its models' ids."""
        ...

    @property
    def matryoshka(self) -> Sequence[str]:
        """Models whose vectors may be cut, beside those that are known for it."""
        ...

    @property
    def normalize(self) -> bool:
        """Whether vectors are scaled to unit norm."""
        ...

    async def models(self) -> list[Model]:
        """The models that it offers now."""
        ...

    async def find(self, model: str) -> Model | None:
        """A model by its name; None where the server has none of this name."""
        ...

    async def embed(self, model: str, texts: Sequence[str], *, dimension: int | None) -> list[Embedding | Failure]:
        """For each text its vector or failure. A vector may have more numbers than `dimension`."""
        ...


class PromptedModels:
    """A server's models as an EmbeddingProvider: with prompts, and cut vectors."""

    def __init__(self, server: ModelServer, table: PromptTable) -> None:
        self.server = server
        self._table = table

    async def models(self) -> list[Model]:
        """The models that the server offers, with the prompts that they want."""
        models = await self.server.models()
        return [self._described(model, self._complete(Recipe(self._name(model)))) for model in models]

    async def names(self) -> list[str]:
        """The ids of these models."""
        return [model.id for model in await self.models()]

    async def find(self, model: str) -> Model | None:
        """A model by its whole name.

        Raises InvalidArgument for a dimension that its vectors cannot have, EmbeddingModelNotFound for unknown prompts.
        """
        recipe = self._checked(Recipe.parse(model))
        base_model = await self.server.find(recipe.model)
        if base_model is None:
            return None
        if recipe.dimension and base_model.dimension and recipe.dimension > base_model.dimension:
            raise InvalidArgument.field(
                "embedding_model",
                f"the vectors of {base_model.id} have {base_model.dimension} numbers, fewer than {recipe.dimension}",
            )
        return self._described(base_model, recipe)

    def complete(self, model: str) -> str:
        """A model's name with the prompts that it wants, if it says nothing of prompts."""
        return str(self._complete(Recipe.parse(model)))

    async def embed(
        self, model: str, texts: Sequence[str], *, purpose: Purpose = Purpose.DOCUMENT
    ) -> list[Embedding | Failure]:
        """For each text its vector or failure. Raises what `find` raises."""
        recipe = self._checked(Recipe.parse(model))
        prompts = self._prompts(recipe)
        prefix = prompts.prefix(purpose) if prompts else ""
        answers = await self.server.embed(recipe.model, [prefix + text for text in texts], dimension=recipe.dimension)
        return [self._finished(answer, recipe) if isinstance(answer, Embedding) else answer for answer in answers]

    def _finished(self, embedding: Embedding, recipe: Recipe) -> Embedding:
        """The vector, cut and scaled. Raises ProviderUnavailable for one that is too short."""
        vector = embedding.vector
        if recipe.dimension is not None:
            if len(vector) < recipe.dimension:
                raise ProviderUnavailable(
                    f"{self.server.name}/{recipe} needs vectors of {recipe.dimension} numbers or more, and the server "
                    f"gave one of {len(vector)}: start the model on it that the dataset was created with",
                    metadata={"provider": self.server.name},
                )
            vector = vector[: recipe.dimension]
        if recipe.dimension is None and not self.server.normalize:
            return embedding
        norm = np.linalg.norm(vector.astype(np.float64))
        if not np.isfinite(norm) or norm == 0.0:
            return replace(embedding, vector=vector)  # who collects the vectors refuses it
        return replace(embedding, vector=(vector / norm).astype(np.float32))

    def _complete(self, recipe: Recipe) -> Recipe:
        prompts = self._table.of_model(recipe.model) if recipe.prompts is None else None
        return replace(recipe, prompts=prompts.name) if prompts else recipe

    def _described(self, model: Model, recipe: Recipe) -> Model:
        """The model as this recipe makes its vectors."""
        prompts = self._prompts(recipe)
        described = ""
        if prompts and (prompts.query or prompts.document):
            described = f"Before queries it gets {prompts.query!r}, before documents {prompts.document!r}."
        return replace(
            model,
            id=f"{self.server.name}/{recipe}",
            dimension=recipe.dimension or model.dimension,
            description=" ".join(filter(None, (model.description, described))),
        )

    def _prompts(self, recipe: Recipe) -> Prompts | None:
        if recipe.prompts is None:
            return None
        prompts = self._table.named(recipe.prompts)
        if prompts is None:
            raise EmbeddingModelNotFound(
                f"no prompts are named {recipe.prompts[:200]!r}; there are {', '.join(self._table.names)}",
                metadata={"embedding_model": f"{self.server.name}/{recipe}"[:200]},
            )
        return prompts

    def _checked(self, recipe: Recipe) -> Recipe:
        """The recipe, if the model's vectors may be cut to its dimension and its prompts exist."""
        self._prompts(recipe)
        if recipe.dimension and not may_be_cut(recipe.model) and recipe.model not in self.server.matryoshka:
            raise InvalidArgument.field(
                "embedding_model",
                f"{self.server.name}/{recipe.model} is not known for vectors that may be cut (Matryoshka); where it is "
                "trained for that, the operator lists it under `matryoshka` in the file of PRISMA_PROVIDERS",
            )
        return recipe

    def _name(self, model: Model) -> str:
        return model.id.removeprefix(f"{self.server.name}/")
