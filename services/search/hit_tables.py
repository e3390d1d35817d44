"""The hits of a search as a table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from prisma_common.table_columns import FEATURES, ID, PASSAGE_COLUMNS
from services.chassis.metadata_columns import MetadataColumns, is_reserved
from services.chassis.metadata_schema import Types
from services.chassis.table_files import Batch, Column, FileOptions, ValueType, open_writer, write_table
from services.chassis.threads import in_thread
from services.search.query import REACHABLE_HITS, Answer, Hit

_TEXT, _INTEGER, _NUMBER = ValueType.TEXT, ValueType.INTEGER, ValueType.NUMBER
_PARTS = ("text", "dense", "sparse", "steering")
_COLUMNS = (
    Column(name="rank", type=_INTEGER),
    Column(name=ID, type=_TEXT),
    Column(name="score", type=_NUMBER),
    *(Column(name=f"score.{part}", type=_NUMBER) for part in _PARTS),
    Column(name="unsteered_rank", type=_INTEGER),
    Column(name="snippet", type=_TEXT),
    Column(name=FEATURES, type=_TEXT, is_list=True),
    Column(name="row", type=_INTEGER),
    Column(name="document", type=_TEXT),
    *(Column(name=name, type=_INTEGER) for name in PASSAGE_COLUMNS),
)
_NAMES = frozenset(column.name for column in _COLUMNS)


async def hits_file(answer: Answer, types: Types, options: FileOptions) -> AsyncIterator[bytes]:
    """A table of hits, in parts. types: of the fields of their metadata.

    Raises InvalidArgument where the format cannot be written here, and for too many keys of metadata.
    """
    columns, batch = await in_thread(_table, answer.page.hits, types, options)

    async def batches() -> AsyncIterator[Batch]:
        if answer.page.hits:
            yield batch

    async for part in write_table(open_writer(columns, options), batches()):
        yield part


def truncation(answer: Answer) -> list[str]:
    """That more matches than the table has hits; nothing where it has all."""
    count, total = len(answer.page.hits), answer.page.total
    if not answer.page.has_more and not (count == REACHABLE_HITS and total > count):
        return []
    return [f"these are the first {count:,} hits of a search with {total:,} matches"]


def _table(hits: Sequence[Hit], types: Types, options: FileOptions) -> tuple[list[Column], Batch]:
    """The columns of hits, and their cells. Columns of parts and passages that no hit has are left out."""
    metadata = MetadataColumns(options.format, types)
    for hit in hits:
        metadata.observe(hit.payload["metadata"])
    metadata_columns = metadata.columns(_is_taken)
    rows = [metadata.row_of(hit.payload["metadata"]) for hit in hits]
    cells: list[Sequence[Any]] = list(zip(*map(_cells, hits), strict=True)) or [()] * len(_COLUMNS)
    table = [
        (column, values)
        for column, values in zip(_COLUMNS, cells, strict=True)
        if column.name not in _OPTIONAL or any(value is not None for value in values)
    ]
    table += [(part.column, part.cells(rows)) for part in metadata_columns]
    return [column for column, _ in table], [values for _, values in table]


_OPTIONAL = frozenset([*(f"score.{part}" for part in _PARTS), "unsteered_rank", *PASSAGE_COLUMNS])


def _is_taken(folded_key: str) -> bool:
    """Whether another column is, or may be, called like a key of metadata."""
    return folded_key in _NAMES or is_reserved(folded_key)


def _cells(hit: Hit) -> tuple[Any, ...]:
    contributions = {part.name: part.contribution for part in hit.parts}
    passage = hit.payload.get("passage")
    places = [passage[name] for name in ("index", "count", "start", "end")] if passage else [None] * 4
    return (
        hit.rank,
        hit.payload["key"],
        hit.score,
        *(contributions.get(part) for part in _PARTS),
        hit.unsteered_rank,
        hit.snippet.text,
        [feature.label.text for feature in hit.shared if feature.label and feature.label.text],
        hit.row,
        hit.payload["name"],
        *places,
    )
