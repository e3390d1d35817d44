"""Names that cross process boundaries: kinds of jobs, events, the model of given vectors, resource names (AIP-122)."""

from __future__ import annotations

import re

SEGMENT = re.compile(r"[A-Za-z0-9._~-]{1,128}")
"""One segment of a resource name: an id."""

EMBED_DATASET = "embed-dataset"
EMBED_DATASET_PART = "embed-dataset-part"
RETRY_FAILED_DOCUMENTS = "retry-failed-documents"
DELETE_DOCUMENTS = "delete-documents"
COMPUTE_DATASET_STATISTICS = "compute-dataset-statistics"
COMPUTE_DATASET_MAP = "compute-dataset-map"
TRAIN_RUN = "train-run"
SWEEP_RUNS = "sweep-runs"
EVALUATE_RUN = "evaluate-run"
ENCODE_DATASET = "encode-dataset"
PUSH_RUN = "push-run"
COMPUTE_STATISTICS = "compute-statistics"
LABEL_FEATURES = "label-features"
LABEL_FEATURES_PART = "label-features-part"
SCORE_LABELS = "score-labels"
BUILD_FAMILIES = "build-families"
REINDEX_DATASET = "reindex-dataset"
REINDEX_RUN = "reindex-run"

DATASET_CHANGED = "dataset.changed"
DATASET_DELETED = "dataset.deleted"
RUN_CHANGED = "run.changed"
RUN_DELETED = "run.deleted"
STATISTICS_CHANGED = "statistics.changed"
LABELS_CHANGED = "labels.changed"
FAMILIES_CHANGED = "families.changed"


GIVEN_MODEL = "given"
"""The embedding model of a dataset whose vectors come with the documents; `given/NAME` also says what made them."""


def is_given(model: str) -> bool:
    """Whether a dataset with this embedding model has given vectors."""
    return model.partition("/")[0] == GIVEN_MODEL


def match(pattern: str, name: str) -> tuple[str, ...] | None:
    """The variable segments of `name` in the order of `pattern`; None where the name does not fit it."""
    expected_segments, segments = pattern.split("/"), name.split("/")
    if len(expected_segments) != len(segments):
        return None
    variables: list[str] = []
    for expected, segment in zip(expected_segments, segments, strict=True):
        if expected.startswith("{"):
            if not SEGMENT.fullmatch(segment):
                return None
            variables.append(segment)
        elif expected != segment:
            return None
    return tuple(variables)
