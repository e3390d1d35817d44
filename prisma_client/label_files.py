"""Labels from a file, a data frame or a dictionary, as the interpreter imports them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from prisma.interpreter.v1 import interpreter_service_pb2 as pb2
from prisma_client import sources
from prisma_client.imports import OnDuplicate

_SHOWN_REJECTIONS = 3


def chunks(source: Any) -> Iterator[bytes]:
    """Returns the bytes of a file, or of labels as JSON lines.

    source: the path of a file; a data frame with the columns `index` and `label`; dictionaries with these keys; or one
    dictionary of labels by index. Raises OSError, TypeError.
    """
    if isinstance(source, Mapping):
        labels = cast("Mapping[Any, Any]", source)
        source = [{"index": index, "label": label} for index, label in labels.items()]
    elif isinstance(source, str | Path) and Path(source).is_dir():
        raise IsADirectoryError(f"expected a file of labels, got the folder {source}")
    return sources.chunks(source, id_field="index", text_field="label")


def request(
    run: str, *, on_duplicate: OnDuplicate, validate_only: bool, ignore_weights: bool
) -> pb2.ImportLabelsRequest:
    """Returns the first message of an import. Raises ValueError."""
    kind = f"ON_DUPLICATE_{on_duplicate.upper()}"
    if kind not in pb2.ImportLabelsRequest.OnDuplicate.keys()[1:]:
        raise ValueError(f"on_duplicate: expected reject, skip or replace, got {on_duplicate!r}")
    config = pb2.ImportLabelsRequest.Config(
        run=run,
        on_duplicate=kind,
        validate_only=validate_only,
        ignore_weights=ignore_weights,
    )
    return pb2.ImportLabelsRequest(config=config)


def rejection_summary(report: pb2.ImportLabelsResponse) -> str:
    """How many rows were rejected, and why the first of them."""
    first = "; ".join(f"row {row.item}: {row.message}" for row in report.rejections[:_SHOWN_REJECTIONS])
    more = "; …" if report.rejected_count > _SHOWN_REJECTIONS else ""
    return f"{report.rejected_count:,} rows rejected: {first}{more}"
