"""Tables of features and of activations, to be opened elsewhere."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Protocol

from prisma_common import wire
from services.chassis.table_files import csv_rows, shortest_decimals, without_formula
from services.chassis.threads import in_thread
from services.interpreter.documents import Document
from services.interpreter.features import Features
from services.interpreter.runs import Run

COLUMNS = (
    "index",
    "label",
    "description",
    "density",
    "max_activation",
    "mean_activation",
    "variance",
    "active_count",
    "label_source",
    "label_model",
    "trust",
    "score",
    "score_low",
    "score_high",
    "stability",
    "precise_density",
    "precise_count",
    "threshold",
)
SNIPPET_CHARACTERS = 200
_BYTE_ORDER_MARK = "\ufeff"
_TABLE_ROWS = 1000
"""Rows of one part of a table."""
_DOCUMENTS = 500
"""Documents of one part of an export of activations."""


class RowSource(Protocol):
    """What is read from the trainer and the embedder."""

    def codes(self, run: Run, ranges: Sequence[tuple[int, int]] = ()) -> AsyncIterator[wire.Codes]:
        """The run's codes, block by block."""
        ...

    async def documents(self, dataset: str, rows: Sequence[int]) -> Mapping[int, Document]:
        """Documents by row, without those that were deleted."""
        ...


def features_csv(features: Features, *, byte_order_mark: bool = False) -> Iterator[bytes]:
    """CSV (RFC 4180) in UTF-8 with a header line, in parts. Some spreadsheets need a byte order mark to read UTF-8."""
    yield (_BYTE_ORDER_MARK if byte_order_mark else "").encode() + csv_rows([COLUMNS])
    for start in range(0, features.count, _TABLE_ROWS):
        indices = range(start, min(start + _TABLE_ROWS, features.count))
        yield csv_rows([_feature_row(features, index) for index in indices])


async def activations_jsonl(run: Run, source: RowSource) -> AsyncIterator[bytes]:
    """JSON lines in UTF-8, one for each row whose document still exists, in parts. Raises what `source` raises."""
    async for codes in source.codes(run):
        for start in range(0, len(codes), _DOCUMENTS):
            part = codes.slice(start, min(start + _DOCUMENTS, len(codes)))
            documents = await source.documents(run.dataset, part.rows.tolist())
            yield await in_thread(activation_lines, part, documents)


def activation_lines(codes: wire.Codes, documents: Mapping[int, Document]) -> bytes:
    """JSON lines in UTF-8, one for each row that has a document. documents: by row."""
    lines: list[str] = []
    for position, row in enumerate(codes.rows.tolist()):
        document = documents.get(row)
        if document is not None:
            indices, values = codes.row(position)
            line = {
                "document": document.name,
                "key": document.key,
                "row": row,
                "text": document.text[:SNIPPET_CHARACTERS],
                "metadata": document.metadata,
                "indices": indices.tolist(),
                "activations": shortest_decimals(values),
            }
            if document.passage is not None:
                line["passage"] = asdict(document.passage)
            lines.append(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
    return "".join(lines).encode()


def _feature_row(features: Features, index: int) -> tuple[object, ...]:
    label = features.labels.get(index)
    statistics, score, stability = features.statistics, features.score(index), features.stability(index)
    return (
        index,
        without_formula(label.draft.text) if label else "",
        without_formula(label.draft.description) if label else "",
        float(statistics.density[index]),
        float(statistics.maximum[index]),
        float(statistics.mean[index]),
        float(statistics.variance[index]),
        int(statistics.active_count[index]),
        label.draft.source.value if label else "",
        (label.draft.model or "") if label else "",
        features.trust(index).value,
        *((score.auc, score.low, score.high) if score else ("", "", "")),
        "" if stability is None else stability,
        features.precise_density(index),
        int(features.precise_counts[index]),
        "" if (threshold := features.threshold(index)) is None else threshold,
    )
