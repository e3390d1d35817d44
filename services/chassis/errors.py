"""Errors that a caller receives, each with its gRPC code and its reason.

PrismaError
├── InvalidArgument        a field of the request does not hold what it must; names the fields
├── NotFound               the request names something that does not exist (abstract)
├── AlreadyExists          the request would create something that exists (abstract)
│   └── RequestIdReused    the request id was used for a different request
├── FailedPrecondition     the request is correct, but not in this state (abstract)
├── Aborted                the resource changed meanwhile: read it again, then retry
├── ResourceExhausted      larger than this server accepts
│   ├── StorageFull        the disk is full, or a quota is used up
│   └── TooManyRequests    too many calls in progress; says when to retry
├── Unauthenticated        an unknown API key
├── PermissionDenied       the key's scope does not include this call
├── Unavailable            something that this service needs does not respond: retry later
├── DeadlineExceeded       the call took longer than allowed
├── Cancelled              cancelled by or for the caller
├── Unimplemented          this server has no such method
└── Internal               a defect of PRISMA

A service subclasses these and gives each subclass its reason. Every reason has one code (`prisma_common.reasons`): a
class whose reason is missing, unknown or of another code fails when it is defined. This module imports no grpc, so
that domain modules and training processes may raise these errors; the interceptor turns them into
`google.rpc.Status` (AIP-193).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from prisma_common.reasons import CODES, DOMAIN, Code

__all__ = [
    "DOMAIN",
    "Aborted",
    "AlreadyExists",
    "Cancelled",
    "Code",
    "DeadlineExceeded",
    "FailedPrecondition",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "PermissionDenied",
    "PrismaError",
    "RequestIdReused",
    "ResourceExhausted",
    "StorageFull",
    "TooManyRequests",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Violation",
    "reason_of",
]


MAX_CHARACTERS = 500
"""Of a message: errors travel in gRPC's trailing metadata, which may have 16 KiB, and quote what they refuse."""


@dataclass(frozen=True)
class Violation:
    """One field of a request that does not hold what it must."""

    field: str
    description: str


class PrismaError(Exception):
    """An error that the caller receives: what was expected, what came, what to do.

    `metadata` is sent in ErrorInfo, `violations` in BadRequest, `retry_seconds` in RetryInfo.
    """

    code: Code
    reason: str
    abstract: ClassVar[bool] = True

    def __init_subclass__(cls, *, abstract: bool = False, dynamic: bool = False) -> None:
        """Checks the class's reason.

        abstract: a base class without a reason, never raised itself. dynamic: each instance sets its code and reason.
        """
        super().__init_subclass__()
        cls.abstract = abstract
        if abstract or dynamic:
            return
        reason: str | None = getattr(cls, "reason", None)
        if reason is None or reason not in CODES:
            raise TypeError(f"{cls.__qualname__} needs a reason of prisma_common.reasons, has {reason!r}")
        if CODES[reason] != cls.code:
            raise TypeError(f"{cls.__qualname__}: {reason} has the code {CODES[reason].name}, not {cls.code.name}")

    def __init__(
        self,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        retry_seconds: float | None = None,
    ) -> None:
        if self.abstract:
            raise TypeError(f"{type(self).__qualname__} is abstract: raise a subclass with a reason")
        message = _shortened(message)
        super().__init__(message)
        self.message = message
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_seconds = retry_seconds

    def to_status(self) -> status_pb2.Status:
        """This error as `google.rpc.Status`."""
        details: list[Any] = [
            _pack(error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=self.metadata))
        ]
        if self.violations:
            violations = [
                error_details_pb2.BadRequest.FieldViolation(
                    field=_shortened(violation.field), description=_shortened(violation.description)
                )
                for violation in self.violations
            ]
            details.append(_pack(error_details_pb2.BadRequest(field_violations=violations)))
        if self.retry_seconds is not None:
            delay = Duration(nanos=round(1e9 * (self.retry_seconds % 1)) % 10**9, seconds=int(self.retry_seconds))
            details.append(_pack(error_details_pb2.RetryInfo(retry_delay=delay)))
        return status_pb2.Status(code=int(self.code), message=self.message, details=details)


class InvalidArgument(PrismaError):
    """The request is wrong in itself."""

    code = Code.INVALID_ARGUMENT
    reason = "INVALID_ARGUMENT"

    @classmethod
    def field(cls, field: str, description: str) -> InvalidArgument:
        """The error for one wrong field."""
        return cls(f"{field}: {description}", violations=[Violation(field, description)])


class NotFound(PrismaError, abstract=True):
    """What the request names does not exist."""

    code = Code.NOT_FOUND


class AlreadyExists(PrismaError, abstract=True):
    """What the request would create exists."""

    code = Code.ALREADY_EXISTS


class RequestIdReused(AlreadyExists):
    """The `request_id` was used for a different request."""

    reason = "REQUEST_ID_REUSED"


class FailedPrecondition(PrismaError, abstract=True):
    """The request is correct, but not in this state."""

    code = Code.FAILED_PRECONDITION


class Aborted(PrismaError):
    """The resource changed meanwhile."""

    code = Code.ABORTED
    reason = "CONFLICT"


class ResourceExhausted(PrismaError):
    """Larger than this server accepts."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "TOO_LARGE"


class StorageFull(ResourceExhausted):
    """The disk is full, or a quota is used up."""

    reason = "STORAGE_FULL"


class TooManyRequests(ResourceExhausted):
    """Too many calls are in progress; `retry_seconds` says how long to wait."""

    reason = "TOO_MANY_REQUESTS"


class Unauthenticated(PrismaError):
    """An API key that is not known."""

    code = Code.UNAUTHENTICATED
    reason = "API_KEY_INVALID"


class PermissionDenied(PrismaError):
    """The key's scope does not include this call."""

    code = Code.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"


class Unavailable(PrismaError):
    """Something that this service needs does not respond."""

    code = Code.UNAVAILABLE
    reason = "SERVICE_UNAVAILABLE"


class DeadlineExceeded(PrismaError):
    """The call took longer than allowed."""

    code = Code.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class Cancelled(PrismaError):
    """Cancelled by or for the caller."""

    code = Code.CANCELLED
    reason = "CANCELLED"


class Unimplemented(PrismaError):
    """This server has no such method."""

    code = Code.UNIMPLEMENTED
    reason = "UNIMPLEMENTED"


class Internal(PrismaError):
    """A defect of PRISMA; the log has the details."""

    code = Code.INTERNAL
    reason = "INTERNAL"


def reason_of(status: status_pb2.Status) -> str:
    """The reason in a status's ErrorInfo; empty where it has none of PRISMA's."""
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info) and info.domain == DOMAIN:
            return info.reason
    return ""


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 1]}…"


def _pack(message: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed
