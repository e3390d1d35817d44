"""What the rows of a dataset are: passages where its texts are split, else documents."""

from __future__ import annotations

from prisma.embedder.v1.resources_pb2 import Dataset


def unit_of(dataset: Dataset) -> str:
    """What runs, jobs and searches of a dataset count: `document` or `passage`."""
    return "passage" if dataset.HasField("passages") else "document"


def counted(count: int, unit: str) -> str:
    """A number of them, such as `1 document`."""
    return f"{count:,} {unit if count == 1 else f'{unit}s'}"
