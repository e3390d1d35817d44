"""Errors of the interpreter.

PrismaError
├── StatisticsDamaged
├── InvalidFile
├── FileTooLarge
├── NotFound
│   ├── RunNotFound
│   ├── DatasetNotFound
│   ├── FeatureNotFound
│   ├── LabelNotFound
│   ├── LabelModelNotFound
│   └── FamilyNotFound
└── FailedPrecondition
    ├── RunNotTrained
    ├── StatisticsNotComputed
    ├── FamiliesNotBuilt
    ├── FeatureDead
    ├── DocumentNotEmbedded
    ├── LabelsOfOtherLatents
    └── UnusableAnswer
"""

from __future__ import annotations

from services.chassis.errors import (
    Code,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PrismaError,
    ResourceExhausted,
)


class InvalidFile(InvalidArgument):
    """The file is no table of labels."""

    reason = "INVALID_FILE"


class FileTooLarge(ResourceExhausted):
    """The file is larger than this server accepts."""

    reason = "TOO_LARGE"


class RunNotFound(NotFound):
    """No run has this name, or it was deleted."""

    reason = "RUN_NOT_FOUND"


class DatasetNotFound(NotFound):
    """The dataset of a run was deleted."""

    reason = "DATASET_NOT_FOUND"


class FeatureNotFound(NotFound):
    """The run has no latent with this index."""

    reason = "FEATURE_NOT_FOUND"


class LabelNotFound(NotFound):
    """The feature has no label with this revision."""

    reason = "LABEL_NOT_FOUND"


class LabelModelNotFound(NotFound):
    """No provider offers this label model."""

    reason = "LABEL_MODEL_NOT_FOUND"


class FamilyNotFound(NotFound):
    """The run has no family with this id."""

    reason = "FAMILY_NOT_FOUND"


class RunNotTrained(FailedPrecondition):
    """The run has no codes yet."""

    reason = "RUN_NOT_TRAINED"


class StatisticsNotComputed(FailedPrecondition):
    """The run has codes, but no statistics yet."""

    reason = "STATISTICS_NOT_COMPUTED"


class FamiliesNotBuilt(FailedPrecondition):
    """The run has no families yet."""

    reason = "FAMILIES_NOT_BUILT"


class FeatureDead(FailedPrecondition):
    """The latent is active in no row, so it cannot be named."""

    reason = "FEATURE_DEAD"


class DocumentNotEmbedded(FailedPrecondition):
    """The document has no vector."""

    reason = "DOCUMENT_NOT_EMBEDDED"


class LabelsOfOtherLatents(FailedPrecondition):
    """The labels of a file were made for other latents than the run has."""

    reason = "LABELS_OF_OTHER_LATENTS"


class UnusableAnswer(FailedPrecondition):
    """A language model answered twice without a usable label, or its server declined the question."""

    reason = "PROVIDER_REFUSED"


class StatisticsDamaged(PrismaError):
    """A file of a run's statistics is damaged or missing. They are being computed again."""

    code = Code.DATA_LOSS
    reason = "BLOB_DAMAGED"
