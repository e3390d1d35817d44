"""Which model embeds texts that are compared with a dataset's vectors."""

from __future__ import annotations

from prisma_common.names import is_given
from services.chassis.errors import FailedPrecondition


class NoQueryModel(FailedPrecondition):
    """The dataset's vectors are given, and it has no model for texts."""

    reason = "NO_QUERY_MODEL"

    def __init__(self, dataset: str) -> None:
        super().__init__(
            f"the vectors of {dataset} are given and no model embeds texts for it: set its query_model, or search with "
            "a vector, by words (full text), by latents (sparse) or by a document (similar)",
            metadata={"dataset": dataset},
        )


def text_model(embedding_model: str, query_model: str) -> str | None:
    """The model for texts of a dataset with these models; None where its vectors are given and it has none."""
    return (query_model or None) if is_given(embedding_model) else embedding_model
