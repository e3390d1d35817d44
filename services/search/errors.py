"""What can go wrong in search.

PrismaError
├── NotFound
│   ├── DatasetNotFound          DATASET_NOT_FOUND
│   ├── RunNotFound              RUN_NOT_FOUND
│   └── DocumentNotFound         DOCUMENT_NOT_FOUND
├── FailedPrecondition
│   ├── DocumentNotEmbedded      DOCUMENT_NOT_EMBEDDED
│   └── IndexNotReady            INDEX_NOT_READY
└── Unavailable
    └── BackendUnavailable       SEARCH_BACKEND_UNAVAILABLE
"""

from __future__ import annotations

from services.chassis.errors import FailedPrecondition, NotFound, Unavailable


class DatasetNotFound(NotFound):
    """No dataset has this name, or it was deleted."""

    reason = "DATASET_NOT_FOUND"


class RunNotFound(NotFound):
    """No run has this name, or it was deleted."""

    reason = "RUN_NOT_FOUND"


class DocumentNotFound(NotFound):
    """The dataset has no such document in the index."""

    reason = "DOCUMENT_NOT_FOUND"


class DocumentNotEmbedded(FailedPrecondition):
    """The document has no vector in the index."""

    reason = "DOCUMENT_NOT_EMBEDDED"


class IndexNotReady(FailedPrecondition):
    """The index has not reached this dataset or run yet."""

    reason = "INDEX_NOT_READY"


class BackendUnavailable(Unavailable):
    """The search back end does not answer."""

    reason = "SEARCH_BACKEND_UNAVAILABLE"
