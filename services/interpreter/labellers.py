"""Who can write labels: keywords, and the chat models of providers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.chassis.errors import FailedPrecondition, Unavailable
from services.interpreter.decoder import Decoder
from services.interpreter.errors import LabelModelNotFound, UnusableAnswer
from services.interpreter.evidence_reader import DocumentSource
from services.interpreter.features import Features
from services.interpreter.labels import Draft, Options
from services.interpreter.phrase_vectors import PhraseSource
from services.interpreter.runs import Run
from services.providers.client import LISTING_SECONDS


@dataclass(frozen=True)
class LabelModel:
    """A model that writes labels."""

    id: str
    """`keywords` or `<provider>/<model>`."""
    display_name: str
    is_default: bool = False


@dataclass(frozen=True)
class Task:
    """Which features to label, and how."""

    features: Features
    indices: Sequence[int]
    """Of live features, the most important first."""
    options: Options
    note_unusable: Callable[[UnusableAnswer], None] | None = None
    """Is told each unusable answer, and judges whether there are too many. Without it the labeller does."""


class LabelSource(DocumentSource, PhraseSource, Protocol):
    """What is read from the embedder and the trainer."""

    async def decoder(self, run: Run, indices: Sequence[int] = ()) -> Decoder:
        """The directions of some of the run's latents, in their order."""
        ...


class Labeller(Protocol):
    """Writes labels with models of one kind. All methods raise Unavailable in an outage."""

    async def models(self) -> Sequence[LabelModel]:
        """The models that it has now."""
        ...

    async def check(self, model: str) -> None:
        """Raises LabelModelNotFound for a model that it does not have."""
        ...

    def drafts(self, task: Task) -> AsyncGenerator[Sequence[Draft]]:
        """Labels batch by batch, in the order of the task's indices; each batch can be stored as it comes.

        A feature that cannot be labelled is left out, or raises UnusableAnswer if it is the only one.
        """
        ...


class Labellers:
    """All labellers, by the first part of their models' ids."""

    def __init__(self, labellers: Mapping[str, Labeller], *, unconfigured: Collection[str] = frozenset()) -> None:
        """unconfigured: labellers whose absence is no fault."""
        self._labellers = labellers
        self._unconfigured = unconfigured

    async def models(self) -> tuple[list[LabelModel], dict[str, str]]:
        """All models, and the error message of each configured provider that is unreachable."""
        listings = await asyncio.gather(*(_listing(labeller) for labeller in self._labellers.values()))
        models: list[LabelModel] = []
        unreachable: dict[str, str] = {}
        for name, listing in zip(self._labellers, listings, strict=True):
            if not isinstance(listing, str):
                models += listing
            elif name not in self._unconfigured:
                unreachable[name] = listing
        return models, unreachable

    async def check(self, model: str) -> None:
        """Raises LabelModelNotFound, PROVIDER_UNAVAILABLE."""
        await self.get(model).check(model)

    def get(self, model: str) -> Labeller:
        """The labeller that has a model. Raises LabelModelNotFound."""
        name = model.partition("/")[0]
        if name not in self._labellers:
            raise LabelModelNotFound(
                f"no provider offers {model!r}; the providers are {', '.join(self._labellers)}. "
                "ListLabelModels (`prisma models`) lists their models",
                metadata={"model": model},
            )
        return self._labellers[name]


async def _listing(labeller: Labeller) -> Sequence[LabelModel] | str:
    """A labeller's models, or its error message."""
    try:
        async with asyncio.timeout(LISTING_SECONDS):
            return await labeller.models()
    except TimeoutError:
        return f"no list of its models within {LISTING_SECONDS:g} s"
    except (Unavailable, FailedPrecondition) as error:
        return error.message
