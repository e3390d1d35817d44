"""PRISMA in Python: `Prisma` for synchronous programs, `AsyncPrisma` for asynchronous ones.

>>> from prisma_client import Prisma
>>> prisma = Prisma()
>>> data = prisma.datasets.create("abstracts", documents=["one text", "another"])
"""

from prisma_client.aio import AsyncPrisma
from prisma_client.errors import (
    AlreadyExists,
    DocumentsRejected,
    FailedPrecondition,
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
)
from prisma_client.sync import Prisma

__all__ = [
    "AlreadyExists",
    "AsyncPrisma",
    "DocumentsRejected",
    "FailedPrecondition",
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
]
