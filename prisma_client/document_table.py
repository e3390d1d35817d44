"""A run's documents as one table: what can be chosen, and the table in memory."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, cast

from prisma.interpreter.v1.interpreter_service_pb2 import ExportTableRequest
from prisma_client.choices import TableFormat, choose
from prisma_client.libraries import library
from prisma_client.tables import html_table

SUFFIXES = {
    ".csv": TableFormat.CSV,
    ".jsonl": TableFormat.JSON_LINES,
    ".ndjson": TableFormat.JSON_LINES,
    ".parquet": TableFormat.PARQUET,
    ".pq": TableFormat.PARQUET,
    ".arrow": TableFormat.ARROW,
    ".feather": TableFormat.ARROW,
}
_SHOWN_ROWS = 20


class TableOptions(TypedDict, total=False):
    """Which documents and columns a table has. What is left out is as the server has it by default."""

    filter: str
    """Only documents that match, as in a search: `metadata.year > 2020 AND latent.12 > 0.5`."""
    feature_filter: str
    """Only features that match, as in `run.features.list`; by default trusted ones."""
    indices: Sequence[int]
    """Only these features, in this order."""
    feature_count: int
    """Columns of features at most, 200 by default."""
    strongest_count: int
    """Features in the column `features`, 5 by default; 0 for no such column."""
    include_tail: bool
    """Whether activations below a feature's threshold count too; by default they are 0."""
    text: bool
    """Whether with the texts, True by default."""
    metadata: bool | Sequence[str]
    """Whether with the metadata, True by default; or its keys."""


def table_format(path: str | Path, name: str | None) -> TableFormat:
    """The format of a name; of a file's suffix where there is none. Raises ValueError."""
    if name is not None:
        return choose(TableFormat, name, "format")
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"the name {str(path)!r} does not say how to write the table: end it with one of {', '.join(SUFFIXES)}, or "
            f"name a format, one of {', '.join(TableFormat)}"
        )
    return SUFFIXES[suffix]


def table_request(run: str, format: TableFormat, options: TableOptions) -> ExportTableRequest:
    """The request for a table. Raises ValueError for an option that does not exist."""
    if unknown := [name for name in options if name not in TableOptions.__annotations__]:
        raise ValueError(f"unknown option {', '.join(unknown)}: choose from {', '.join(TableOptions.__annotations__)}")
    metadata = options.get("metadata", True)
    return ExportTableRequest(
        run=run,
        format=f"TABLE_FORMAT_{format.name}",
        filter=options.get("filter"),
        feature_filter=options.get("feature_filter"),
        indices=options.get("indices", ()),
        feature_count=options.get("feature_count"),
        strongest_count=options.get("strongest_count"),
        include_tail=options.get("include_tail", False),
        omit_text=not options.get("text", True),
        omit_metadata=not metadata,
        metadata_keys=() if isinstance(metadata, bool) else metadata,
    )


class DocumentTable:
    """A table in memory. data: an Arrow file."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __repr__(self) -> str:
        return f"<table of {len(self._data):,} bytes: to_pandas(), to_polars(), to_arrow(), features>"

    def to_arrow(self) -> Any:
        """Returns a pyarrow.Table. Raises MissingLibrary."""
        return library("pyarrow.ipc", "to_arrow()").open_file(io.BytesIO(self._data)).read_all()

    def to_pandas(self) -> Any:
        """Returns a pandas.DataFrame. Raises MissingLibrary.

        Whole numbers, true and false can be missing in a column: they are of pandas' types Int64, UInt64 and boolean.
        """
        pandas = library("pandas", "to_pandas()")
        arrow = library("pyarrow", "to_pandas()")
        types = {
            arrow.int64(): pandas.Int64Dtype(),
            arrow.uint64(): pandas.UInt64Dtype(),
            arrow.bool_(): pandas.BooleanDtype(),
        }
        return self.to_arrow().to_pandas(types_mapper=types.get, date_as_object=False)

    def to_polars(self) -> Any:
        """Returns a polars.DataFrame. Raises MissingLibrary."""
        return library("polars", "to_polars()").read_ipc(io.BytesIO(self._data))

    @property
    def features(self) -> list[dict[str, Any]]:
        """The features that are columns: `column`, `index`, `label`, `trust`. Raises MissingLibrary."""
        return cast("list[dict[str, Any]]", self._about["features"])

    @property
    def notices(self) -> list[str]:
        """What people should know of the table. Raises MissingLibrary."""
        return cast("list[str]", self._about["notices"])

    def _repr_html_(self) -> str:
        table = self.to_arrow()
        columns = table.slice(0, _SHOWN_ROWS).to_pydict()
        return html_table(columns, f"{table.num_rows:,} rows, {table.num_columns:,} columns")

    @property
    def _about(self) -> dict[str, Any]:
        schema = library("pyarrow.ipc", "the table").open_file(io.BytesIO(self._data)).schema
        return json.loads(schema.metadata[b"prisma"])
