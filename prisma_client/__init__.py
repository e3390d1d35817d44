"""PRISMA in Python: `Prisma` for synchronous programs, `AsyncPrisma` for asynchronous ones.

>>> from prisma_client import Prisma
>>> prisma = Prisma()
>>> data = prisma.datasets.create("abstracts", documents=["one text", "another"])

The names are imported when they are first used: the `prisma` command must handle Ctrl-C before that takes its time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prisma_client.aio import AsyncPrisma
    from prisma_client.errors import (
        AlreadyExists,
        DocumentsRejected,
        ExportNotice,
        FailedPrecondition,
        FilterNotice,
        IncompleteExport,
        InvalidArgument,
        JobFailed,
        NotFound,
        PermissionDenied,
        PrismaError,
        ResourceExhausted,
        SomeDocumentsRejected,
        Unauthenticated,
        Unavailable,
        UnknownFamily,
    )
    from prisma_client.imports import FileOptions
    from prisma_client.sync import Prisma

__all__ = [
    "AlreadyExists",
    "AsyncPrisma",
    "DocumentsRejected",
    "ExportNotice",
    "FailedPrecondition",
    "FileOptions",
    "FilterNotice",
    "IncompleteExport",
    "InvalidArgument",
    "JobFailed",
    "NotFound",
    "PermissionDenied",
    "Prisma",
    "PrismaError",
    "ResourceExhausted",
    "SomeDocumentsRejected",
    "Unauthenticated",
    "Unavailable",
    "UnknownFamily",
]

_MODULES = {
    "AsyncPrisma": "prisma_client.aio",
    "FileOptions": "prisma_client.imports",
    "Prisma": "prisma_client.sync",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES.get(name, "prisma_client.errors")), name)


def __dir__() -> list[str]:
    return __all__
