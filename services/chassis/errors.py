"""Errors that a caller is told, each with its gRPC code and its reason.

PrismaError
├── InvalidArgument        the request is wrong in itself; names the fields
├── NotFound · AlreadyExists
├── FailedPrecondition     the request is right, but not now
├── Aborted                something else came between: read again, retry
├── ResourceExhausted      larger than this server takes, or a full disk
├── Unauthenticated · PermissionDenied
├── Unavailable            something we need does not answer: retry later
├── DeadlineExceeded · Cancelled
└── Internal               a defect of ours

A service subclasses these with its own reasons. This module imports no grpc, so that domain modules and training
processes may raise them; the interceptor turns them into `google.rpc.Status` (AIP-193).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "prisma"


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


@dataclass(frozen=True)
class Violation:
    """One field of a request that does not hold what it must."""

    field: str
    description: str


class PrismaError(Exception):
    """An error that the caller is told: what was expected, what came, what to do.

    `metadata` travels in ErrorInfo, `violations` in BadRequest.
    """

    code: Code = Code.UNKNOWN
    reason: str = "INTERNAL"

    def __init__(
        self, message: str, *, metadata: Mapping[str, str] | None = None, violations: Sequence[Violation] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)

    def to_status(self) -> status_pb2.Status:
        """This error as `google.rpc.Status`."""
        info = error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=self.metadata)
        details = [_pack(info)]
        if self.violations:
            bad = error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(field=each.field, description=each.description)
                    for each in self.violations
                ]
            )
            details.append(_pack(bad))
        return status_pb2.Status(code=int(self.code), message=self.message, details=details)


class InvalidArgument(PrismaError):
    """The request is wrong in itself."""

    code = Code.INVALID_ARGUMENT
    reason = "INVALID_ARGUMENT"

    @classmethod
    def field(cls, field: str, description: str) -> InvalidArgument:
        """The error for one wrong field."""
        return cls(f"{field}: {description}", violations=[Violation(field, description)])


class NotFound(PrismaError):
    """What the request names does not exist."""

    code = Code.NOT_FOUND


class AlreadyExists(PrismaError):
    """What the request would make exists."""

    code = Code.ALREADY_EXISTS


class FailedPrecondition(PrismaError):
    """The request is right, but not in this state."""

    code = Code.FAILED_PRECONDITION


class Aborted(PrismaError):
    """Something else came between."""

    code = Code.ABORTED
    reason = "CONFLICT"


class ResourceExhausted(PrismaError):
    """Larger than this server takes."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "TOO_LARGE"


class StorageFull(ResourceExhausted):
    """The disk is full, or a quota is used up."""

    reason = "STORAGE_FULL"


class Unauthenticated(PrismaError):
    """No API key, or one that is not known."""

    code = Code.UNAUTHENTICATED
    reason = "API_KEY_INVALID"


class PermissionDenied(PrismaError):
    """The key may not do this."""

    code = Code.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"


class Unavailable(PrismaError):
    """Something that we need does not answer."""

    code = Code.UNAVAILABLE
    reason = "SERVICE_UNAVAILABLE"


class DeadlineExceeded(PrismaError):
    """It took longer than the caller would wait."""

    code = Code.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class Cancelled(PrismaError):
    """The caller, or somebody for him, does not want it any more."""

    code = Code.CANCELLED
    reason = "CANCELLED"


class Internal(PrismaError):
    """A defect of ours; the log has the details."""

    code = Code.INTERNAL


def reason_of(status: status_pb2.Status) -> str:
    """The reason in a status's ErrorInfo; empty where it has none of ours."""
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info) and info.domain == DOMAIN:
            return info.reason
    return ""


def _pack(message: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed
