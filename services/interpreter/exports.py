"""Activations of all documents, to be opened elsewhere."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from typing import Protocol

from prisma_common import wire
from services.chassis.table_files import shortest_decimals
from services.chassis.threads import in_thread
from services.interpreter.documents import Document
from services.interpreter.runs import Run

SNIPPET_CHARACTERS = 200
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
                "id": document.key,
                "key": document.key,
                "row": row,
                "text": document.text[:SNIPPET_CHARACTERS],
                "metadata": document.metadata,
                "indices": indices.tolist(),
                "activations": shortest_decimals(values),
            }
            if len(document.text) > SNIPPET_CHARACTERS:
                line["textTruncated"] = True
            if document.passage is not None:
                line["passage"] = asdict(document.passage)
            lines.append(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
    return "".join(lines).encode()
