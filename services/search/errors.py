"""Errors of the search service.

PrismaError
├── InvalidArgument
│   └── MeaninglessQuery         INVALID_ARGUMENT
├── NotFound
│   ├── DatasetNotFound          DATASET_NOT_FOUND
│   ├── RunNotFound              RUN_NOT_FOUND
│   └── DocumentNotFound         DOCUMENT_NOT_FOUND
├── FailedPrecondition
│   ├── DocumentNotEmbedded      DOCUMENT_NOT_EMBEDDED
│   └── IndexNotReady            INDEX_NOT_READY
│       └── IndexDamaged         INDEX_NOT_READY
└── Unavailable
    └── BackendUnavailable       SEARCH_BACKEND_UNAVAILABLE
        ├── BackendPaused        SEARCH_BACKEND_UNAVAILABLE
        ├── BackendRefusal       SEARCH_BACKEND_UNAVAILABLE
        └── WrittenElsewhere     SEARCH_BACKEND_UNAVAILABLE
"""

from __future__ import annotations

from services.chassis.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from services.search.backend import Stream


class MeaninglessQuery(InvalidArgument):
    """The query holds nothing that the search mode can rank by."""

    reason = "INVALID_ARGUMENT"


class DatasetNotFound(NotFound):
    """No dataset has this name, or it was deleted."""

    reason = "DATASET_NOT_FOUND"


class RunNotFound(NotFound):
    """No run has this name, or it was deleted."""

    reason = "RUN_NOT_FOUND"


class DocumentNotFound(NotFound):
    """The dataset has no such document."""

    reason = "DOCUMENT_NOT_FOUND"


class DocumentNotEmbedded(FailedPrecondition):
    """The document has no vector in the index."""

    reason = "DOCUMENT_NOT_EMBEDDED"


class IndexNotReady(FailedPrecondition):
    """The index has not reached this dataset or run yet."""

    reason = "INDEX_NOT_READY"


class IndexDamaged(IndexNotReady):
    """Files of the index are damaged. They were removed, and the index is being rebuilt from its owners."""

    reason = "INDEX_NOT_READY"

    def __init__(self, stream: Stream) -> None:
        super().__init__(
            f"the index of the {stream.kind} was damaged on disk and is being rebuilt; try again in a moment"
        )
        self.stream = stream


class BackendUnavailable(Unavailable):
    """The search back end does not answer."""

    reason = "SEARCH_BACKEND_UNAVAILABLE"


class BackendPaused(BackendUnavailable):
    """The search back end answers and refuses writes, as its disk is full or an operator has blocked them."""

    reason = "SEARCH_BACKEND_UNAVAILABLE"


class BackendRefusal(BackendUnavailable):
    """The search back end refuses a request as it is: a limit of its settings, or a defect of ours."""

    reason = "SEARCH_BACKEND_UNAVAILABLE"


class WrittenElsewhere(BackendUnavailable):
    """Another search service writes this stream at this moment."""

    reason = "SEARCH_BACKEND_UNAVAILABLE"
