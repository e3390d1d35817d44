"""What requests for tables may hold: each function returns checked values, or raises InvalidArgument."""

from __future__ import annotations

from prisma.interpreter.v1 import interpreter_service_pb2 as pb2
from services.chassis.errors import InvalidArgument
from services.chassis.feature_filters import FIELDS
from services.chassis.filters import parse_filter
from services.chassis.metadata_filters import check_literals
from services.chassis.table_options import file_options
from services.interpreter import document_sets
from services.interpreter.document_tables import TableRequest
from services.interpreter.requests import run_name
from services.interpreter.table_features import FeatureOptions

MAX_FEATURES = 2000
"""Columns of features."""
MAX_STRONGEST = 50
MAX_KEYS = 1000


def document_table(request: pb2.ExportTableRequest) -> TableRequest:
    """Which documents and columns a table has. Raises InvalidFilter."""
    if len(request.metadata_keys) > MAX_KEYS:
        raise InvalidArgument.field(
            "metadata_keys", f"expected at most {MAX_KEYS:,}, got {len(request.metadata_keys):,}"
        )
    if request.metadata_keys and request.omit_metadata:
        raise InvalidArgument.field("metadata_keys", "expected none, as the metadata is left out (omit_metadata)")
    condition = parse_filter(request.filter, document_sets.FILTERS)
    check_literals(condition)
    return TableRequest(
        run=run_name(request.run),
        file=file_options(request),
        condition=condition,
        features=_features(request),
        strongest_count=_count(request, "strongest_count", default=5, maximum=MAX_STRONGEST),
        has_text=not request.omit_text,
        has_metadata=not request.omit_metadata,
        metadata_keys=list(dict.fromkeys(request.metadata_keys)),
    )


def _features(request: pb2.ExportTableRequest) -> FeatureOptions:
    indices = list(dict.fromkeys(request.indices))
    if len(indices) > MAX_FEATURES:
        raise InvalidArgument.field("indices", f"expected at most {MAX_FEATURES:,}, got {len(indices):,}")
    for field in ("feature_filter", "feature_count"):
        is_set = bool(request.feature_filter) if field == "feature_filter" else request.HasField("feature_count")
        if indices and is_set:
            raise InvalidArgument.field(field, "expected none, as `indices` names the features")
    return FeatureOptions(
        condition=parse_filter(request.feature_filter, FIELDS) if request.feature_filter.strip() else None,
        indices=indices,
        include_tail=request.include_tail,
        column_count=_count(request, "feature_count", default=200, maximum=MAX_FEATURES),
    )


def _count(request: pb2.ExportTableRequest, field: str, *, default: int, maximum: int) -> int:
    value: int = getattr(request, field) if request.HasField(field) else default
    if value > maximum:
        raise InvalidArgument.field(field, f"expected at most {maximum:,}, got {value:,}")
    return value
