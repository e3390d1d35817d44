"""Errors of the client, as the server tells them.

PrismaError                  what was expected, what came, what to do; with code, reason, metadata, request_id
├── InvalidArgument          the request is wrong in itself: `violations` names the fields
├── NotFound · AlreadyExists · FailedPrecondition · Unauthenticated · PermissionDenied
├── Unavailable              something does not answer; the gateway itself, where `reason` is GATEWAY_UNAVAILABLE
└── JobFailed                a job ended otherwise than well: `job` says how
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from prisma.common.v1.job_pb2 import Job


class PrismaError(Exception):
    """An error of the server. code: of google.rpc.Code, by name. reason: of prisma.common.v1.ErrorReason."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "UNKNOWN",
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[tuple[str, str]] = (),
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.violations = list(violations)
        self.request_id = request_id


class InvalidArgument(PrismaError):
    """The request is wrong in itself."""


class NotFound(PrismaError):
    """What the request names does not exist."""


class AlreadyExists(PrismaError):
    """What the request would make exists."""


class FailedPrecondition(PrismaError):
    """The request is right, but not in this state."""


class Unauthenticated(PrismaError):
    """No API key, or one that is not known."""


class PermissionDenied(PrismaError):
    """This caller may not do that."""


class Unavailable(PrismaError):
    """Something does not answer. Ask again later."""


class JobFailed(PrismaError):
    """A job has failed or was cancelled."""

    def __init__(self, job: Job) -> None:
        state = Job.State.Name(job.state).removeprefix("STATE_").lower()
        super().__init__(
            f"{job.kind} ({job.name}) has {state}: {job.error.message}"
            if job.error.message
            else f"{job.name}: {state}",
            code="FAILED_PRECONDITION",
            reason="JOB_STATE",
        )
        self.job = job


_CLASSES: Mapping[str, type[PrismaError]] = {
    "INVALID_ARGUMENT": InvalidArgument,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": AlreadyExists,
    "FAILED_PRECONDITION": FailedPrecondition,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied,
    "UNAVAILABLE": Unavailable,
}


def of_answer(status: int, data: bytes) -> PrismaError:
    """The error in an answer of the gateway, or of something before it that speaks otherwise."""
    try:
        return of_json(json.loads(data)["error"])
    except (ValueError, KeyError, TypeError):
        text = data[:300].decode(errors="replace").strip()
        return PrismaError(f"expected an answer of PRISMA, got HTTP {status}: {text}", code="UNKNOWN")


def of_json(error: Mapping[str, Any]) -> PrismaError:
    """The error in `{"code", "status", "message", "details"}`. Raises KeyError, TypeError for anything else."""
    details = {each["@type"].rpartition(".")[2]: each for each in error["details"]}
    info = details.get("ErrorInfo", {})
    violations = details.get("BadRequest", {}).get("fieldViolations", ())
    return _CLASSES.get(error["status"], PrismaError)(
        error["message"],
        code=error["status"],
        reason=info.get("reason", ""),
        metadata=info.get("metadata"),
        violations=[(each["field"], each["description"]) for each in violations],
        request_id=details.get("RequestInfo", {}).get("requestId", ""),
    )
