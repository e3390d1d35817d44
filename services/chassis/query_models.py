"""Which model embeds the texts of queries, so that they can be compared with a dataset's vectors."""

from __future__ import annotations

from prisma.embedder.v1.resources_pb2 import Dataset
from prisma_common.names import is_given
from services.chassis.errors import FailedPrecondition


class NoQueryModel(FailedPrecondition):
    """The dataset's vectors are given, and it has no model for texts."""

    reason = "NO_QUERY_MODEL"


def query_model(dataset: Dataset) -> str | None:
    """The model for texts that are compared with a dataset's vectors; None where there is none."""
    return (dataset.query_model or None) if is_given(dataset.embedding_model) else dataset.embedding_model


def no_query_model(dataset: str) -> NoQueryModel:
    """What to say of a dataset whose vectors no text can be compared with."""
    return NoQueryModel(
        f"the vectors of {dataset} are given and no model embeds texts for it: set its query_model, or search with a "
        "vector, by words (full text), by latents (sparse) or by a document (similar)",
        metadata={"dataset": dataset},
    )
