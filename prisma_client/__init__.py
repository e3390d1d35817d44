"""PRISMA in Python: `Prisma` for plain programs, `AsyncPrisma` for asynchronous ones.

>>> from prisma_client import Prisma
>>> prisma = Prisma()
>>> data = prisma.datasets.create("abstracts", documents=["one text", "another"])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
_MODULES = {"AsyncPrisma": "prisma_client.aio", "Prisma": "prisma_client.sync"}


def __getattr__(name: str) -> Any:
    """Imports a name when it is first used (PEP 562): the services take `wire` alone, and start without the client."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES.get(name, "prisma_client.errors")), name)
