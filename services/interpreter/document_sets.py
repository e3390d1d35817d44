"""Sets of documents: a dataset's, or those that match a filter on metadata and activations."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from prisma_common import wire
from services.chassis.array_filters import masks
from services.chassis.errors import InvalidArgument
from services.chassis.filters import UNFILTERED, Comparison, Filter, InvalidFilter, Leaf, evaluate, leaves
from services.chassis.metadata_filters import (
    METADATA,
    OPERATORS,
    TermTest,
    is_metadata,
    key_of,
    metadata_test,
    notices,
    passes,
)
from services.chassis.metadata_schema import Types
from services.chassis.metadata_terms import Type, terms_of
from services.chassis.threads import in_thread
from services.interpreter.features import COMPARISONS, check_indices
from services.interpreter.metadata import Metadata
from services.interpreter.occurrences import Occurrences, occurrences
from services.interpreter.runs import Run
from services.interpreter.selection import SelectedFeatures

FILTERS = {METADATA: OPERATORS, "latent.": " ".join(COMPARISONS)}
_LATENT = "latent."


@dataclass(frozen=True)
class Dataset:
    """A dataset of the embedder."""

    name: str
    uid: str
    embedding_model: str
    types: Types = dataclasses.field(default_factory=dict[str, Type])
    """Of the fields that its documents' metadata have."""
    has_passages: bool = False
    """Whether its rows are passages of documents."""


@dataclass(frozen=True, kw_only=True)
class DocumentSet:
    """Documents of a dataset."""

    field: str
    """Of the request, for errors."""
    dataset: str | None
    """None for the run's."""
    condition: Filter = UNFILTERED
    """What they match, of FILTERS."""
    names: Sequence[str] = ()
    """If there are any, only these."""

    @property
    def keys(self) -> list[str]:
        """Keys of metadata that are compared."""
        fields = dict.fromkeys(leaf.field for leaf in leaves(self.condition) if leaf.field.startswith(METADATA))
        return [field.removeprefix(METADATA) for field in fields]

    @property
    def latents(self) -> list[Comparison]:
        """Comparisons of latents' activations."""
        return [
            leaf for leaf in leaves(self.condition) if isinstance(leaf, Comparison) and leaf.field.startswith(_LATENT)
        ]


@dataclass(frozen=True, kw_only=True)
class Members:
    """The documents of a set, with their features."""

    dataset: str
    whole: Occurrences
    """All documents of the dataset that have a code."""
    matches: NDArray[np.bool_]
    """(N,) which of them are in the set."""
    notices: Sequence[str] = ()
    """What people should know of the filter."""
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

    async def rows(self, dataset: str, names: Sequence[str]) -> Sequence[NDArray[np.uint64]]:
        """The rows of each of these documents of a dataset that exists, in no order."""
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
    latents = _LatentMatches(run, documents.latents)
    whole = await occurrences(selected, latents.watched(blocks))
    logic = masks(len(whole.rows))
    columns: Mapping[str, Sequence[Any]] = {}
    if documents.keys:
        columns = (await source.metadata(dataset.name, dataset.uid, documents.keys)).at(whole.rows).columns
        dataset = await source.dataset(dataset.name)

    terms_by_key: dict[str, list[set[str]]] = {}

    def matching(leaf: Leaf) -> NDArray[np.bool_]:
        if isinstance(leaf, Comparison) and leaf.field.startswith(_LATENT):
            return latents.of(leaf)
        key = key_of(leaf)
        if key not in terms_by_key:
            terms_by_key[key] = [set(terms_of({key: value})) for value in columns[key]]
        terms = terms_by_key[key]

        def test(test: TermTest) -> NDArray[np.bool_]:
            return np.fromiter((passes(document, test) for document in terms), bool, len(terms))

        return metadata_test(leaf, dataset.types, test, logic)

    matches = await in_thread(partial(evaluate, documents.condition, matching, logic))
    filter_notices = notices(documents.condition, [dataset.types]) if documents.keys else []
    missing_count = 0
    if documents.names:
        rows = await source.rows(dataset.name, documents.names)
        matches &= np.isin(whole.rows, np.concatenate([np.empty(0, np.uint64), *rows]))
        present_count = sum(bool(np.isin(of_document, whole.rows).any()) for of_document in rows)
        missing_count = len(set(documents.names)) - present_count
    return Members(
        dataset=dataset.name, whole=whole, matches=matches, notices=filter_notices, missing_count=missing_count
    )


def check_condition(run: Run, condition: Filter) -> None:
    """Raises InvalidFilter, FeatureNotFound."""
    for leaf in leaves(condition):
        if isinstance(leaf, Comparison) and leaf.field.startswith(_LATENT):
            _latent_of(run, leaf)


def matching_rows(
    condition: Filter, *, run: Run, types: Types, codes: wire.Codes, metadata: Sequence[Mapping[str, Any]]
) -> NDArray[np.bool_]:
    """(N,) which documents match a filter of FILTERS that was checked.

    types: of the fields of metadata. codes: of the N documents. metadata: theirs.
    """
    logic = masks(len(codes))
    terms = [set(terms_of(values)) for values in metadata] if any(map(is_metadata, leaves(condition))) else []

    def matching(leaf: Leaf) -> NDArray[np.bool_]:
        if isinstance(leaf, Comparison) and leaf.field.startswith(_LATENT):
            return _compared(codes, _latent_of(run, leaf), leaf)

        def test(test: TermTest) -> NDArray[np.bool_]:
            return np.fromiter((passes(document, test) for document in terms), bool, len(terms))

        return metadata_test(leaf, types, test, logic)

    return evaluate(condition, matching, logic)


class _LatentMatches:
    """Which documents match comparisons of latents' activations, found as their codes pass by."""

    def __init__(self, run: Run, comparisons: Sequence[Comparison]) -> None:
        """Raises InvalidFilter, FeatureNotFound."""
        self._latents = [_latent_of(run, comparison) for comparison in comparisons]
        self._comparisons = comparisons
        self._masks: dict[Comparison, list[NDArray[np.bool_]]] = {comparison: [] for comparison in comparisons}

    async def watched(self, blocks: AsyncIterator[wire.Codes]) -> AsyncIterator[wire.Codes]:
        """The blocks, unchanged."""
        async for block in blocks:
            for comparison, latent in zip(self._comparisons, self._latents, strict=True):
                self._masks[comparison].append(_compared(block, latent, comparison))
            yield block

    def of(self, comparison: Comparison) -> NDArray[np.bool_]:
        """(N,) which of the documents that passed by match one of the comparisons."""
        return np.concatenate([np.empty(0, bool), *self._masks[comparison]])


def _latent_of(run: Run, comparison: Comparison) -> int:
    """The latent that is compared with a number. Raises InvalidFilter, FeatureNotFound."""
    text = comparison.field.removeprefix(_LATENT)
    if not (text.isdecimal() and text.isascii() and len(text) < 10 and math.isfinite(comparison.number())):
        raise InvalidFilter(
            f"filter: expected latent.<index> and a number, got {comparison.field} {comparison.op} {comparison.value}"
        )
    check_indices(run, [int(text)])
    return int(text)


def _compared(codes: wire.Codes, latent: int, comparison: Comparison) -> NDArray[np.bool_]:
    """(N,) in which rows of a block the activation of a latent compares so, exactly, as in searches."""
    exact = _activations(codes, latent).astype(np.float64)  # numpy would round the bound to float32
    return np.asarray(COMPARISONS[comparison.op](exact, comparison.number()), bool)


def _activations(codes: wire.Codes, latent: int) -> NDArray[np.float32]:
    """(N,) activations of a latent in the rows of a block; 0 where it is not active."""
    activations = np.zeros(len(codes), np.float32)
    entries = np.flatnonzero(codes.indices == latent)
    activations[np.searchsorted(codes.indptr, entries, side="right") - 1] = codes.values[entries]
    return activations
