"""PRISMA in Python: `Prisma` for plain programs, `AsyncPrisma` for asynchronous ones.

>>> from prisma_client import Prisma
>>> prisma = Prisma()
>>> data = prisma.datasets.create("abstracts", documents=["one text", "another"])
"""

from prisma_client.aio import AsyncPrisma
from prisma_client.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    JobFailed,
    NotFound,
    PermissionDenied,
    PrismaError,
    Unauthenticated,
    Unavailable,
)
from prisma_client.sync import Prisma

__all__ = [
    "AlreadyExists",
    "AsyncPrisma",
    "FailedPrecondition",
    "InvalidArgument",
    "JobFailed",
    "NotFound",
    "PermissionDenied",
    "Prisma",
    "PrismaError",
    "Unauthenticated",
    "Unavailable",
]
