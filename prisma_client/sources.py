"""Documents from where people have them: a list, a data frame, a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 20


def chunks(source: Any) -> Iterator[bytes]:
    """The bytes of a file of documents, or of documents as JSON lines, in parts of about 1 MiB.

    source: a path of a JSON or JSONL file; a data frame with `to_dict`; or documents: dictionaries
    `{"id", "text", …}`, or plain texts, which get their place as id. Raises OSError, TypeError.
    """
    if isinstance(source, str | Path):
        with Path(source).open("rb") as file:
            while part := file.read(CHUNK_BYTES):
                yield part
        return
    gathered = bytearray()
    for line in _lines(source):
        gathered += line
        if len(gathered) >= CHUNK_BYTES:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)


def _lines(source: Any) -> Iterator[bytes]:
    rows: Iterable[Any] = source.to_dict("records") if hasattr(source, "to_dict") else source
    for place, row in enumerate(rows):
        if isinstance(row, str):
            row = {"id": str(place), "text": row}
        if not isinstance(row, Mapping):
            raise TypeError(f"document {place}: expected a dictionary or a text, got {type(row).__name__}")
        yield json.dumps(dict(row), default=str).encode() + b"\n"  # pyright: ignore[reportUnknownArgumentType]
