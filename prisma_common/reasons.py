"""Each error reason with the one gRPC code it travels under.

`prisma/common/v1/error_reason.proto` documents what each reason means and what to do about it; a test keeps the two
equal, codes included.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

DOMAIN = "prisma"
"""The `domain` of every `google.rpc.ErrorInfo` of PRISMA."""


class Code(IntEnum):
    """The codes of google.rpc.Code."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


_REASONS_BY_CODE: Mapping[Code, tuple[str, ...]] = {
    Code.INVALID_ARGUMENT: (
        "INVALID_ARGUMENT",
        "INVALID_PAGE_TOKEN",
        "INVALID_FILTER",
        "INVALID_FILE",
        "INVALID_VECTOR",
        "INVALID_WEIGHTS",
    ),
    Code.UNAUTHENTICATED: ("API_KEY_MISSING", "API_KEY_INVALID", "API_KEY_EXPIRED"),
    Code.PERMISSION_DENIED: ("PERMISSION_DENIED",),
    Code.NOT_FOUND: (
        "DATASET_NOT_FOUND",
        "DOCUMENT_NOT_FOUND",
        "IMPORT_NOT_FOUND",
        "EMBEDDING_MODEL_NOT_FOUND",
        "RUN_NOT_FOUND",
        "FEATURE_NOT_FOUND",
        "LABEL_NOT_FOUND",
        "LABEL_MODEL_NOT_FOUND",
        "FAMILY_NOT_FOUND",
        "JOB_NOT_FOUND",
    ),
    Code.ALREADY_EXISTS: ("DATASET_ALREADY_EXISTS", "RUN_ALREADY_EXISTS", "REQUEST_ID_REUSED"),
    Code.FAILED_PRECONDITION: (
        "DATASET_NOT_EMBEDDED",
        "EMBEDDING_MODEL_FIXED",
        "DOCUMENT_NOT_EMBEDDED",
        "DOCUMENTS_PENDING",
        "RUN_NOT_TRAINED",
        "RUN_ALREADY_TRAINED",
        "TRAINING_DATA_CHANGED",
        "TRAINING_DIVERGED",
        "NO_PUSH_STORE",
        "PUSH_FAILED",
        "STATISTICS_NOT_COMPUTED",
        "FEATURE_DEAD",
        "FAMILIES_NOT_BUILT",
        "INDEX_NOT_READY",
        "JOB_STATE",
        "PROVIDER_REFUSED",
        "HISTORY_CHANGED",
        "NO_QUERY_MODEL",
        "GIVEN_VECTORS",
        "LABELS_OF_OTHER_LATENTS",
        "NOT_INSTALLED",
    ),
    Code.RESOURCE_EXHAUSTED: ("TOO_LARGE", "STORAGE_FULL", "TOO_MANY_REQUESTS"),
    Code.UNAVAILABLE: (
        "SEARCH_BACKEND_UNAVAILABLE",
        "SERVICE_UNAVAILABLE",
        "PROVIDER_UNAVAILABLE",
        "NATS_UNAVAILABLE",
        "STORE_UNAVAILABLE",
        "API_KEYS_UNREADABLE",
    ),
    Code.ABORTED: ("JOB_ATTEMPTS_EXHAUSTED", "CONFLICT"),
    Code.CANCELLED: ("JOB_CANCELLED", "CANCELLED"),
    Code.DEADLINE_EXCEEDED: ("DEADLINE_EXCEEDED",),
    Code.UNIMPLEMENTED: ("UNIMPLEMENTED",),
    Code.DATA_LOSS: ("BLOB_DAMAGED",),
    Code.INTERNAL: ("TRAINING_FAILED", "INTERNAL"),
}

CODES: Mapping[str, Code] = {reason: code for code, reasons in _REASONS_BY_CODE.items() for reason in reasons}
"""The code of each reason."""
