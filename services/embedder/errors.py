"""Errors of the embedder.

DatasetNotFound · DatasetExists · DocumentNotFound · EmbeddingModelNotFound · EmbeddingModelFixed
InvalidFile · FileTooLarge
"""

from __future__ import annotations

from services.chassis.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)


class DatasetNotFound(NotFound):
    """No dataset has this name, or it was deleted."""

    reason = "DATASET_NOT_FOUND"


class DatasetExists(AlreadyExists):
    """A dataset has this id."""

    reason = "DATASET_ALREADY_EXISTS"


class DocumentNotFound(NotFound):
    """The dataset has no such document."""

    reason = "DOCUMENT_NOT_FOUND"


class EmbeddingModelNotFound(NotFound):
    """No provider offers this embedding model."""

    reason = "EMBEDDING_MODEL_NOT_FOUND"


class EmbeddingModelFixed(FailedPrecondition):
    """The dataset has vectors of another model."""

    reason = "EMBEDDING_MODEL_FIXED"


class InvalidFile(InvalidArgument):
    """A file that is neither a JSON array of documents nor JSON lines, or that holds no document at all."""

    reason = "INVALID_FILE"


class FileTooLarge(ResourceExhausted):
    """A file larger than this server takes."""

    reason = "TOO_LARGE"
