"""Errors of the interpreter.

RunNotFound · FeatureNotFound · LabelNotFound · LabelModelNotFound
RunNotTrained · StatisticsNotComputed · FamiliesNotBuilt · FeatureDead · DocumentNotEmbedded
UnusableAnswer
"""

from __future__ import annotations

from services.chassis.errors import FailedPrecondition, NotFound


class RunNotFound(NotFound):
    """No run has this name, or it was deleted."""

    reason = "RUN_NOT_FOUND"


class FeatureNotFound(NotFound):
    """The run has no latent with this index."""

    reason = "FEATURE_NOT_FOUND"


class LabelNotFound(NotFound):
    """The feature has no label with this revision."""

    reason = "LABEL_NOT_FOUND"


class LabelModelNotFound(NotFound):
    """No provider has this model."""

    reason = "LABEL_MODEL_NOT_FOUND"


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
    """The latent never activates: nothing can be said of it."""

    reason = "FEATURE_DEAD"


class DocumentNotEmbedded(FailedPrecondition):
    """The document has no vector."""

    reason = "DOCUMENT_NOT_EMBEDDED"


class UnusableAnswer(FailedPrecondition):
    """A language model answered, twice, what is no label."""

    reason = "PROVIDER_REFUSED"
