"""Errors of the embedder, beside those of the chassis.

InvalidArgument
└── InvalidFile              INVALID_FILE               a file that holds no documents in a known form
NotFound
├── DatasetNotFound          DATASET_NOT_FOUND
├── DocumentNotFound         DOCUMENT_NOT_FOUND
├── ImportNotFound           IMPORT_NOT_FOUND
└── EmbeddingModelNotFound   EMBEDDING_MODEL_NOT_FOUND
AlreadyExists
└── DatasetExists            DATASET_ALREADY_EXISTS
FailedPrecondition
├── EmbeddingModelFixed      EMBEDDING_MODEL_FIXED      the dataset has vectors of another model
├── GivenVectors             GIVEN_VECTORS              a model is needed and vectors are given, or the other way round
├── NothingEmbedded          PROVIDER_REFUSED           the model gave no document of a job a usable vector
├── StatisticsNotComputed    STATISTICS_NOT_COMPUTED
├── DatasetNotEmbedded       DATASET_NOT_EMBEDDED
└── NotInstalled             NOT_INSTALLED              a library is missing that an extra brings
Aborted
├── EmbeddingModelChanged    CONFLICT                   the model was changed while texts were embedded
└── DimensionChanged         CONFLICT                   vectors of another length were given meanwhile
ResourceExhausted
└── FileTooLarge             TOO_LARGE
"""

from __future__ import annotations

from services.chassis.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)


class InvalidFile(InvalidArgument):
    """The file has no format that can be read, is damaged, or holds no texts."""

    reason = "INVALID_FILE"


class DatasetNotFound(NotFound):
    """No dataset has this name, or it was deleted."""

    reason = "DATASET_NOT_FOUND"


class DocumentNotFound(NotFound):
    """The dataset has no such document."""

    reason = "DOCUMENT_NOT_FOUND"


class ImportNotFound(NotFound):
    """The dataset has no such import, or has forgotten it."""

    reason = "IMPORT_NOT_FOUND"


class EmbeddingModelNotFound(NotFound):
    """No provider offers this embedding model."""

    reason = "EMBEDDING_MODEL_NOT_FOUND"


class DatasetExists(AlreadyExists):
    """Another dataset has this id."""

    reason = "DATASET_ALREADY_EXISTS"


class EmbeddingModelFixed(FailedPrecondition):
    """The dataset has vectors of another model."""

    reason = "EMBEDDING_MODEL_FIXED"


class GivenVectors(FailedPrecondition):
    """No model makes the dataset's vectors, or a model makes them and none can be given."""

    reason = "GIVEN_VECTORS"


class NothingEmbedded(FailedPrecondition):
    """The model gave none of a job's documents a usable vector."""

    reason = "PROVIDER_REFUSED"


class StatisticsNotComputed(FailedPrecondition):
    """No job has computed the dataset's statistics, or its map, yet."""

    reason = "STATISTICS_NOT_COMPUTED"


class DatasetNotEmbedded(FailedPrecondition):
    """The dataset has too few vectors."""

    reason = "DATASET_NOT_EMBEDDED"


class NotInstalled(FailedPrecondition):
    """This server lacks a library."""

    reason = "NOT_INSTALLED"


class EmbeddingModelChanged(Aborted):
    """The dataset's model was changed while texts were embedded with the old one."""

    reason = "CONFLICT"


class DimensionChanged(Aborted):
    """Another import gave the dataset vectors of another length meanwhile."""

    reason = "CONFLICT"


class FileTooLarge(ResourceExhausted):
    """The file is larger than this server accepts."""

    reason = "TOO_LARGE"
