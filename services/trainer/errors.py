"""The trainer's errors.

PrismaError
├── InvalidArgument
│   ├── InvalidVector          INVALID_VECTOR          a vector of the wrong dimension, with NaN or infinity
│   └── InvalidWeights         INVALID_WEIGHTS         a file that holds no usable autoencoder
├── NotFound
│   └── RunNotFound            RUN_NOT_FOUND
├── AlreadyExists
│   └── RunExists              RUN_ALREADY_EXISTS
├── FailedPrecondition
│   ├── RunNotTrained          RUN_NOT_TRAINED
│   ├── RunAlreadyTrained      RUN_ALREADY_TRAINED
│   ├── DatasetNotEmbedded     DATASET_NOT_EMBEDDED
│   ├── DocumentsPending       DOCUMENTS_PENDING       a run would silently leave out documents
│   ├── TrainingDataChanged    TRAINING_DATA_CHANGED
│   ├── TrainingDiverged       TRAINING_DIVERGED
│   ├── NoPushStore            NO_PUSH_STORE
│   └── PushFailed             PUSH_FAILED
├── ResourceExhausted
│   └── FileTooLarge           TOO_LARGE
└── TrainingFailed             TRAINING_FAILED         the training process died (INTERNAL)
"""

from __future__ import annotations

from services.chassis.errors import (
    AlreadyExists,
    Code,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PrismaError,
    ResourceExhausted,
)


class RunNotFound(NotFound):
    """No run has this name, or it was deleted."""

    reason = "RUN_NOT_FOUND"


class RunExists(AlreadyExists):
    """A run has this id."""

    reason = "RUN_ALREADY_EXISTS"


class RunNotTrained(FailedPrecondition):
    """The run has no weights yet."""

    reason = "RUN_NOT_TRAINED"


class NoPushStore(FailedPrecondition):
    """No object store is configured to push runs to."""

    reason = "NO_PUSH_STORE"

    def __init__(self) -> None:
        super().__init__("no object store is configured to push runs to; set PRISMA_TRAINER_PUSH_URL on the trainer")


class PushFailed(FailedPrecondition):
    """The object store refused a run, after its client's retries."""

    reason = "PUSH_FAILED"


class RunAlreadyTrained(FailedPrecondition):
    """The run is trained already."""

    reason = "RUN_ALREADY_TRAINED"


class DatasetNotEmbedded(FailedPrecondition):
    """The dataset has no vectors."""

    reason = "DATASET_NOT_EMBEDDED"


class DocumentsPending(FailedPrecondition):
    """Documents of the dataset wait to be embedded, and the run would leave them out."""

    reason = "DOCUMENTS_PENDING"


class TrainingDataChanged(FailedPrecondition):
    """Vectors that the run was resolved to are gone."""

    reason = "TRAINING_DATA_CHANGED"


class InvalidVector(InvalidArgument):
    """A vector of the wrong dimension, or with NaN or infinity."""

    reason = "INVALID_VECTOR"


class InvalidWeights(InvalidArgument):
    """A file that holds no autoencoder, or one of another dimension than the dataset."""

    reason = "INVALID_WEIGHTS"


class FileTooLarge(ResourceExhausted):
    """A file larger than this server accepts."""

    reason = "TOO_LARGE"


class TrainingDiverged(FailedPrecondition):
    """The loss became infinite or NaN: the learning rate is too high for the data."""

    reason = "TRAINING_DIVERGED"


class TrainingFailed(PrismaError):
    """The training process died."""

    code = Code.INTERNAL
    reason = "TRAINING_FAILED"
