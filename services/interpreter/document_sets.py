"""Sets of documents: a dataset's, or those that match a filter on metadata and activations."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from prisma_common import wire
from services.chassis.errors import InvalidArgument
from services.chassis.filters import InvalidFilter, Term
from services.interpreter import metadata
from services.interpreter.features import COMPARISONS, check_indices
from services.interpreter.metadata import Metadata
from services.interpreter.occurrences import Occurrences, occurrences
from services.interpreter.runs import Run
from services.interpreter.selection import SelectedFeatures

FILTERS = {"metadata.": " ".join(COMPARISONS), "latent.": " ".join(COMPARISONS)}


@dataclass(frozen=True)
class Dataset:
    """A dataset of the embedder."""

    name: str
    uid: str
    embedding_model: str


@dataclass(frozen=True, kw_only=True)
class DocumentSet:
    """Documents of a dataset."""

    field: str
    """Of the request, for errors."""
    dataset: str | None
    """None for the run's."""
    terms: Sequence[Term] = ()
    """Comparisons that they match, of FILTERS."""
    names: Sequence[str] = ()
    """If there are any, only these."""

    @property
    def keys(self) -> list[str]:
        """Keys of metadata that are compared."""
        prefix = "metadata."
        return [term.field.removeprefix(prefix) for term in self.terms if term.field.startswith(prefix)]


@dataclass(frozen=True, kw_only=True)
class Members:
    """The documents of a set, with their features."""

    dataset: str
    whole: Occurrences
    """All documents of the dataset that have a code."""
    matches: NDArray[np.bool_]
    """(N,) which of them are in the set."""
    unknown_keys: Sequence[str] = ()
    """Keys of the filter that no document has."""
    missing_count: int = 0
    """Documents by name that do not exist, or have no code."""

    @cached_property
    def occurrences(self) -> Occurrences:
        """The documents of the set."""
        return self.whole.of(np.flatnonzero(self.matches))

    def rest(self) -> Members:
        """All other documents of the dataset."""
        return Members(dataset=self.dataset, whole=self.whole, matches=~self.matches)


class DocumentSource(Protocol):
    """What is read from the embedder and the trainer."""

    async def dataset(self, name: str) -> Dataset:
        """A dataset."""
        ...

    async def rows(self, dataset: str, names: Sequence[str]) -> NDArray[np.uint64]:
        """The rows of documents of a dataset, by name."""
        ...

    async def metadata(self, dataset: str, dataset_uid: str, keys: Sequence[str]) -> Metadata:
        """Some keys of the metadata of all documents of a dataset."""
        ...

    def codes(self, run: Run, ranges: Sequence[tuple[int, int]] = ()) -> AsyncIterator[wire.Codes]:
        """The run's codes, block by block."""
        ...

    def codes_of_dataset(self, run: Run, dataset: Dataset) -> AsyncIterator[wire.Codes]:
        """The codes of a different dataset's vectors, block by block."""
        ...


async def members(selected: SelectedFeatures, source: DocumentSource, documents: DocumentSet) -> Members:
    """The documents of a set. Raises DATASET_NOT_FOUND, InvalidArgument, InvalidFilter, FeatureNotFound."""
    run = selected.features.run
    dataset = Dataset(run.dataset, run.dataset_uid, run.embedding_model)
    if documents.dataset not in (None, run.dataset):
        dataset = await source.dataset(documents.dataset or "")
        if dataset.embedding_model != run.embedding_model:
            raise InvalidArgument.field(
                f"{documents.field}.dataset",
                f"expected a dataset with the run's embedding model {run.embedding_model}, got one with "
                f"{dataset.embedding_model}",
            )
    blocks = source.codes(run) if dataset.name == run.dataset else source.codes_of_dataset(run, dataset)
    conditions = [_latent_condition(run, term) for term in documents.terms if term.field.startswith("latent.")]
    masks = [np.empty(0, bool)]
    whole = await occurrences(selected, _checked(blocks, conditions, masks))
    matches = np.concatenate(masks)
    missing_count = 0
    if documents.names:
        rows = await source.rows(dataset.name, documents.names)
        matches &= np.isin(whole.rows, rows)
        missing_count = len(documents.names) - int(np.isin(rows, whole.rows).sum())
    unknown_keys: list[str] = []
    if documents.keys:
        columns = (await source.metadata(dataset.name, dataset.uid, documents.keys)).at(whole.rows).columns
        unknown_keys = [key for key in documents.keys if all(value is None for value in columns[key])]
        for term in documents.terms:
            if term.field.startswith("metadata."):
                values = columns[term.field.removeprefix("metadata.")]
                results = (matches_value(value, term.op, term.value) for value in values)
                matches &= np.fromiter(results, bool, len(values))
    return Members(
        dataset=dataset.name, whole=whole, matches=matches, unknown_keys=unknown_keys, missing_count=missing_count
    )


def matches_value(value: Any, op: str, text: str) -> bool:
    """Whether a value of metadata compares with a text: as numbers, as dates, or as texts for equality."""
    if value is None or isinstance(value, dict):
        return False
    if isinstance(value, list):
        results = [matches_value(part, op, text) for part in value]
        return all(results) if op == "!=" else any(results)
    for read in (metadata.number, metadata.date):
        first, second = read(value), read(text)
        if first is not None and second is not None:
            return bool(COMPARISONS[op](first, second))
    return op in ("=", "!=") and bool(COMPARISONS[op](metadata.text_of(value), text))


Condition = Callable[[wire.Codes], NDArray[np.bool_]]


def _latent_condition(run: Run, term: Term) -> Condition:
    """Which rows of a block match a comparison of a latent's activation."""
    text, bound = term.field.removeprefix("latent."), term.number()
    if not text.isdecimal() or not text.isascii() or len(text) > 9:
        raise InvalidFilter(f"filter: expected latent.<index>, got {term.field[:100]!r}")
    index = int(text)
    check_indices(run, [index])

    def condition(codes: wire.Codes) -> NDArray[np.bool_]:
        activations = np.zeros(len(codes), np.float32)
        entries = np.flatnonzero(codes.indices == index)
        activations[np.searchsorted(codes.indptr, entries, side="right") - 1] = codes.values[entries]
        return np.asarray(COMPARISONS[term.op](activations, np.float32(bound)), bool)

    return condition


async def _checked(
    blocks: AsyncIterator[wire.Codes], conditions: Sequence[Condition], masks: list[NDArray[np.bool_]]
) -> AsyncIterator[wire.Codes]:
    """The blocks; which of their rows match all conditions is added to `masks`."""
    async for block in blocks:
        masks.append(np.all([np.ones(len(block), bool), *(condition(block) for condition in conditions)], axis=0))
        yield block
