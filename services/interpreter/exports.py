"""Features as a table to be opened elsewhere."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from prisma_common import wire
from services.interpreter.features import Features

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
)
SNIPPET_CHARACTERS = 200
_LINES = 1000


def features_csv(features: Features) -> Iterator[bytes]:
    """CSV (RFC 4180) in UTF-8, a header line first, in parts of some lines."""
    yield _lines([COLUMNS])
    for start in range(0, features.count, _LINES):
        yield _lines([_row(features, index) for index in range(start, min(start + _LINES, features.count))])


def activation_lines(codes: wire.Codes, documents: Mapping[int, tuple[str, str]]) -> bytes:
    """JSON lines in UTF-8, one for each row that has a document. documents: (name, text) by row."""
    lines: list[str] = []
    for place, row in enumerate(codes.rows.tolist()):
        if row in documents:
            name, text = documents[row]
            indices, values = codes.row(place)
            line = {
                "document": name,
                "row": row,
                "text": text[:SNIPPET_CHARACTERS],
                "indices": indices.tolist(),
                "activations": shortest(values),
            }
            lines.append(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
    return "".join(lines).encode()


def shortest(values: NDArray[np.float32]) -> list[float]:
    """The shortest decimals that are read back as the same float32."""
    return [float(text) for text in values.astype(str)]


def _row(features: Features, index: int) -> tuple[object, ...]:
    label = features.labels.get(index)
    statistics = features.statistics
    return (
        index,
        _harmless(label.draft.text) if label else "",
        _harmless(label.draft.description) if label else "",
        float(statistics.density[index]),
        float(statistics.maximum[index]),
        float(statistics.mean[index]),
        float(statistics.variance[index]),
        int(statistics.active_count[index]),
        label.draft.source.value if label else "",
        label.draft.model if label else "",
    )


def _harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _lines(rows: list[tuple[object, ...]]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()
