"""A run's documents as one table: id, text, metadata and the activations of features, block by block."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from prisma_common import wire
from prisma_common.table_columns import FEATURE_PREFIX, FEATURES, ID, PASSAGE_COLUMNS, TEXT
from services.chassis import metadata_filters
from services.chassis.errors import Aborted
from services.chassis.filters import UNFILTERED, Filter, text_of
from services.chassis.metadata_columns import MetadataColumn, MetadataColumns, is_reserved
from services.chassis.metadata_schema import nearest_key
from services.chassis.table_files import Batch, Column, FileOptions, ValueType, open_writer, write_table
from services.chassis.threads import in_thread
from services.interpreter.document_sets import Dataset, check_condition, matching_rows
from services.interpreter.documents import Document
from services.interpreter.features import Features
from services.interpreter.runs import Run
from services.interpreter.table_features import FeatureOptions, TableFeatures, column_name, table_features

CODE_ROWS = 4096
"""Documents that are read in one request, at most."""
BATCH_ROWS = 1000
BATCH_CELLS = 1 << 20
"""Activations of a batch, at most."""


@dataclass(frozen=True, kw_only=True)
class TableRequest:
    """Which documents and columns a table has, and how it is written."""

    run: str
    file: FileOptions
    condition: Filter = UNFILTERED
    """What the documents match, of `document_sets.FILTERS`."""
    features: FeatureOptions
    strongest_count: int
    """Features in the column of the strongest; 0 for no such column."""
    has_text: bool = True
    has_metadata: bool = True
    metadata_keys: Sequence[str] = ()
    """If there are any, only these."""


class TableSource(Protocol):
    """What is read from the trainer and the embedder."""

    async def dataset(self, name: str) -> Dataset:
        """A dataset."""
        ...

    def codes(self, run: Run, ranges: Sequence[tuple[int, int]] = ()) -> AsyncIterator[wire.Codes]:
        """The run's codes, block by block."""
        ...

    def document_blocks(
        self, run: Run, fields: Sequence[str], ranges: Sequence[tuple[int, int]] = ()
    ) -> AsyncIterator[Sequence[Document]]:
        """Documents of the run's dataset, block by block, in the order of their rows."""
        ...


@dataclass(frozen=True, kw_only=True)
class DocumentTable:
    """A table that can be written: its columns are known, its rows are read as they are written."""

    request: TableRequest
    dataset: Dataset
    features: TableFeatures
    metadata: MetadataColumns
    metadata_columns: Sequence[MetadataColumn]
    source: TableSource

    @property
    def run(self) -> Run:
        """The run."""
        return self.features.selected.features.run

    @property
    def notices(self) -> list[str]:
        """What people should know of the table."""
        result = metadata_filters.notices(self.request.condition, [self.dataset.types])
        for key in self.metadata.missing_keys:
            nearest = nearest_key(key, self.dataset.types)
            hint = f"; did you mean {nearest!r}?" if nearest else ""
            result.append(f"no document has the metadata key {key[:200]!r}{hint}")
        return [*result, *self.features.notices]

    @property
    def columns(self) -> list[Column]:
        """The columns in their order."""
        columns = [Column(name=ID, type=ValueType.TEXT)]
        if self.dataset.has_passages:
            columns += [Column(name=name, type=ValueType.INTEGER) for name in PASSAGE_COLUMNS]
        if self.request.has_text:
            columns.append(Column(name=TEXT, type=ValueType.TEXT))
        columns += [part.column for part in self.metadata_columns]
        if self.request.strongest_count:
            columns.append(Column(name=FEATURES, type=ValueType.TEXT))
        for index in self.features.columns.tolist():
            name = column_name(self.features.names[index])
            columns.append(Column(name=name, type=ValueType.FLOAT32, attributes={"prisma.feature": str(index)}))
        return columns

    async def file(self) -> AsyncIterator[bytes]:
        """The file in parts.

        Raises Aborted where a document changed so that it does not fit the columns; InvalidArgument where the format
        cannot be written here.
        """
        options = replace(self.request.file, attributes={"prisma": json.dumps(self._attributes(), ensure_ascii=False)})
        writer = open_writer(self.columns, options)
        try:
            async for part in write_table(writer, self.batches()):
                yield part
        except ValueError as error:
            raise Aborted(
                f"a document of {self.dataset.name} changed while the table was written ({error}): export it again"
            ) from error

    async def batches(self) -> AsyncIterator[Batch]:
        """The rows of the documents that match."""
        width = max(1, len(self.features.columns))
        row_count = max(1, min(BATCH_ROWS, BATCH_CELLS // width))
        async for codes in self.source.codes(self.run):
            for start in range(0, len(codes), CODE_ROWS):
                part = codes.slice(start, min(start + CODE_ROWS, len(codes)))
                async for documents in self._documents(part):
                    for place in range(0, len(documents), row_count):
                        batch = await in_thread(self._batch, part, documents[place : place + row_count])
                        if len(batch[0]):
                            yield batch

    async def _documents(self, codes: wire.Codes) -> AsyncIterator[Sequence[Document]]:
        """The documents of some codes."""
        fields = ["key"]
        if self.request.has_text:
            fields.append("text")
        if self._needs_metadata:
            fields.append("metadata")
        missing, count = codes.rows, len(codes)
        while count and len(missing):  # those that change while others are read are read again, at their new revision
            ranges, count = [(part.start, part.end) for part in wire.ranges_of(missing)], 0
            async for documents in self.source.document_blocks(self.run, fields, ranges):
                rows = np.array([document.row for document in documents], np.uint64)
                missing, count = np.setdiff1d(missing, rows, assume_unique=True), count + len(documents)
                yield documents

    @property
    def _needs_metadata(self) -> bool:
        return self.request.has_metadata or self.request.condition is not UNFILTERED

    def _batch(self, codes: wire.Codes, documents: Sequence[Document]) -> Batch:
        """The rows of those documents that match. codes: theirs, and others'."""
        rows = np.array([document.row for document in documents], np.uint64)
        codes = codes.take(np.searchsorted(codes.rows, rows))
        if self.request.condition is not UNFILTERED:
            metadata = [document.metadata for document in documents]
            matches = matching_rows(
                self.request.condition, run=self.run, types=self.dataset.types, codes=codes, metadata=metadata
            )
            places = np.flatnonzero(matches)
            codes, documents = codes.take(places), [documents[place] for place in places.tolist()]
        batch: list[Any] = [[document.key for document in documents]]
        if self.dataset.has_passages:
            batch += zip(*map(_passage_cells, documents), strict=True) if documents else [[]] * len(PASSAGE_COLUMNS)
        if self.request.has_text:
            batch.append([document.text for document in documents])
        if self.metadata_columns:
            values = [self.metadata.row_of(document.metadata) for document in documents]
            batch += [part.cells(values) for part in self.metadata_columns]
        if self.request.strongest_count:
            batch.append(self.features.strongest(codes, self.request.strongest_count))
        return [*batch, *self.features.activations(codes)]

    def _attributes(self) -> dict[str, object]:
        """What files that can say so say of the table."""
        features: Features = self.features.selected.features
        return {
            "run": self.run.name,
            "dataset": self.dataset.name,
            "filter": "" if self.request.condition is UNFILTERED else text_of(self.request.condition),
            "notices": self.notices,
            "features": [
                {
                    "column": column_name(self.features.names[index]),
                    "index": index,
                    "label": features.label_text(index),
                    "trust": features.trust(index).value,
                }
                for index in self.features.columns.tolist()
            ],
        }


async def document_table(request: TableRequest, features: Features, source: TableSource) -> DocumentTable:
    """The table of a run's documents, whose metadata are read once to find its columns.

    Raises InvalidArgument, InvalidFilter, FeatureNotFound, FamilyNotFound, DatasetNotFound.
    """
    run = features.run
    check_condition(run, request.condition)
    counted = table_features(features, request.features)
    dataset = await source.dataset(run.dataset)
    metadata = MetadataColumns(
        request.file.format,
        dataset.types,
        request.metadata_keys,
        advice="name those that you need (metadata_keys), leave the metadata out (omit_metadata), or ",
    )
    if request.has_metadata:
        async for documents in source.document_blocks(run, ["metadata"]):
            await in_thread(partial(_observe, metadata, documents))
    return DocumentTable(
        request=request,
        dataset=dataset,
        features=counted,
        metadata=metadata,
        metadata_columns=metadata.columns(_is_taken),
        source=source,
    )


def _is_taken(folded_key: str) -> bool:
    """Whether another column is, or may be, called like a key of metadata."""
    is_name = folded_key in (ID, TEXT, FEATURES, *PASSAGE_COLUMNS)
    return is_name or folded_key.startswith(FEATURE_PREFIX) or is_reserved(folded_key)


def _observe(metadata: MetadataColumns, documents: Sequence[Document]) -> None:
    for document in documents:
        metadata.observe(document.metadata)


def _passage_cells(document: Document) -> tuple[int | None, ...]:
    passage = document.passage
    if passage is None:
        return (None,) * len(PASSAGE_COLUMNS)
    return passage.index, passage.count, passage.start, passage.end
