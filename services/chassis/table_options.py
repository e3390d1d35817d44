"""How a table that is requested is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from prisma.common.v1.table_pb2 import (
    TABLE_FORMAT_ARROW,
    TABLE_FORMAT_CSV,
    TABLE_FORMAT_JSON_LINES,
    TABLE_FORMAT_PARQUET,
    TABLE_FORMAT_UNSPECIFIED,
    TableFormat,
)
from services.chassis.errors import InvalidArgument
from services.chassis.table_files import FileOptions, Format

_FORMATS: Mapping[TableFormat, Format] = {
    TABLE_FORMAT_UNSPECIFIED: Format.CSV,
    TABLE_FORMAT_CSV: Format.CSV,
    TABLE_FORMAT_JSON_LINES: Format.JSON_LINES,
    TABLE_FORMAT_PARQUET: Format.PARQUET,
    TABLE_FORMAT_ARROW: Format.ARROW,
}


class TableRequest(Protocol):
    """A request for a table."""

    format: TableFormat
    byte_order_mark: bool
    keep_formulas: bool


def file_options(request: TableRequest) -> FileOptions:
    """How a table is written; as CSV by default. Raises InvalidArgument."""
    if request.format not in _FORMATS:
        raise InvalidArgument.field(
            "format", f"expected one of {', '.join(TableFormat.keys()[1:])}, got {request.format}"
        )
    format = _FORMATS[request.format]
    for field in ("byte_order_mark", "keep_formulas"):
        if getattr(request, field) and format is not Format.CSV:
            raise InvalidArgument.field(field, f"expected false: it is for CSV, and the format is {format}")
    return FileOptions(format=format, byte_order_mark=request.byte_order_mark, keeps_formulas=request.keep_formulas)
