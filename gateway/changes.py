"""Whether a caller may use a method, and the audit entries of calls that the gateway refuses or answers itself."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor
from starlette.requests import ClientDisconnect

from prisma_common import contract
from prisma_common.keys import Scope
from services.chassis import audit
from services.chassis.auth import Caller
from services.chassis.errors import Code, PermissionDenied, PrismaError


@dataclass
class Change:
    """A call in progress. resource: what it changes, as soon as that is known."""

    resource: str | None = None


@contextmanager
def permitted(
    method: MethodDescriptor, caller: Caller, *, answered_here: bool, resource: str | None = None
) -> Generator[Change]:
    """Around a call. Raises PermissionDenied.

    answered_here: whether the gateway answers it itself; other changes are recorded by the service that makes them.
    """
    scope = contract.required_scope(method)
    is_recorded = answered_here and scope > Scope.READ
    change, outcome = Change(resource), Code.OK
    try:
        try:
            caller.require(scope)
        except PermissionDenied:
            is_recorded = True
            raise
        yield change
    except BaseException as error:
        outcome = _code(error)
        raise
    finally:
        if is_recorded:
            audit.record(method=contract.full_name(method), resource=change.resource, outcome=outcome.name)


def _code(error: BaseException) -> Code:
    if isinstance(error, PrismaError):
        return error.code
    if isinstance(error, TimeoutError):
        return Code.DEADLINE_EXCEEDED
    return Code.CANCELLED if isinstance(error, (ClientDisconnect, asyncio.CancelledError)) else Code.INTERNAL
