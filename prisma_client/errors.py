"""Errors of the client, as the server reports them.

PrismaError                  message, code, reason, metadata, violations, request_id
├── InvalidArgument          the request itself is wrong: `violations` names the fields
│   └── DocumentsRejected    an import in which every document was rejected: `report` says why
├── NotFound · AlreadyExists · FailedPrecondition · Unauthenticated · PermissionDenied
├── ResourceExhausted        a limit is reached: `retry_after` says how long to wait, if waiting helps
├── Unavailable              a service is unreachable; with reason GATEWAY_UNAVAILABLE, the gateway itself
└── JobFailed                a job failed or was cancelled: `job` says why

UnknownFamily                a ValueError: the run has no family of this name
SomeDocumentsRejected        a warning: an import took some documents and rejected others
SomeLabelsRejected           a warning: an import of labels took some rows and rejected others
ExportNotice                 a warning: what people should know of an export
IncompleteExport             a warning, an ExportNotice: documents are missing from an export, as they have no code yet
FilterNotice                 a warning: what to know of a filter, such as a key that no document has

`reason` is a name of prisma.common.v1.ErrorReason; match on it, never on the message.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from google.rpc import code_pb2, error_details_pb2

from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1.embedder_service_pb2 import ImportDocumentsResponse

_PROXY_OUTAGES = {502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "UNAVAILABLE"}
"""Answers of a proxy in front of the gateway that mean the gateway is unreachable."""


class PrismaError(Exception):
    """An error that the server reported.

    code: the name of a google.rpc.Code. reason: the name of a prisma.common.v1.ErrorReason, or None for an answer that
    is not PRISMA's. violations: pairs of a field and what is wrong with it.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "UNKNOWN",
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[tuple[str, str]] = (),
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.violations = list(violations)
        self.request_id = request_id
        self.retry_after = retry_after
        """Seconds to wait before trying again, where the server says so."""


class InvalidArgument(PrismaError):
    """The request itself is wrong."""


class DocumentsRejected(InvalidArgument):
    """Every document of an import was rejected; `report` has each item's reason."""

    def __init__(self, report: ImportDocumentsResponse) -> None:
        super().__init__(f"no document was imported: {rejection_summary(report)}", code="INVALID_ARGUMENT")
        self.report = report


class UnknownFamily(ValueError):
    """A run has no family of this name: `family` is `runs/{run}/families/{family}`."""

    def __init__(self, family: str) -> None:
        super().__init__(f"there is no family {family!r}; `run.families()` lists families")
        self.family = family


class SomeDocumentsRejected(UserWarning):
    """Some documents of an import were rejected; `Dataset.report` has each item's reason."""


class SomeLabelsRejected(UserWarning):
    """Some rows of a file of labels were rejected; `rejections` of the response has the reasons."""


class ExportNotice(UserWarning):
    """What people should know of an export, such as that a filter names a key that no document has."""


class IncompleteExport(ExportNotice):
    """Some documents are missing from an export: they were embedded after the training and have no code yet."""


class FilterNotice(UserWarning):
    """What to know of a filter: a key that no document has, with the nearest one, or a value of another type."""


class NotFound(PrismaError):
    """The resource does not exist."""


class AlreadyExists(PrismaError):
    """A resource of this name exists."""


class FailedPrecondition(PrismaError):
    """The request is valid, but not in the current state."""


class Unauthenticated(PrismaError):
    """The API key is missing, unknown or expired."""


class PermissionDenied(PrismaError):
    """The API key's scope does not include this call."""


class ResourceExhausted(PrismaError):
    """A limit is reached: requests, size or storage."""


class Unavailable(PrismaError):
    """A service is unreachable. Retry later."""


class JobFailed(PrismaError):
    """A job failed or was cancelled. `reason` and `metadata` are those of the job's own error."""

    def __init__(self, job: Job) -> None:
        name = job.name.removeprefix("jobs/")
        if job.state == Job.STATE_CANCELLED:
            message = f"{job.kind} was cancelled (job {name})"
        else:
            message = f"{job.kind} failed: {job.error.message or 'no reason was recorded'} (job {name})"
        info = error_info(job)
        super().__init__(
            message,
            code=code_pb2.Code.Name(job.error.code) if job.error.code else "UNKNOWN",
            reason=info.reason if info else None,
            metadata=info.metadata if info else None,
        )
        self.job = job


_CLASSES: Mapping[str, type[PrismaError]] = {
    "INVALID_ARGUMENT": InvalidArgument,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": AlreadyExists,
    "FAILED_PRECONDITION": FailedPrecondition,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied,
    "RESOURCE_EXHAUSTED": ResourceExhausted,
    "UNAVAILABLE": Unavailable,
}


def error_info(job: Job) -> error_details_pb2.ErrorInfo | None:
    """Returns the reason of a job's error, or None where it has none."""
    info = error_details_pb2.ErrorInfo()
    return info if any(detail.Unpack(info) for detail in job.error.details) else None


def rejection_summary(report: ImportDocumentsResponse) -> str:
    """Says in one line how many documents were rejected, and why."""
    reasons = ImportDocumentsResponse.Rejection.Reason
    counts = ", ".join(
        f"{count.count:,} × {reasons.Name(count.reason).removeprefix('REASON_')}" for count in report.rejection_counts
    )
    first = f"; item {report.rejections[0].item}: {report.rejections[0].message}" if report.rejections else ""
    return f"{report.rejected_count:,} rejected ({counts}){first}"


def from_response(status: int, data: bytes) -> PrismaError:
    """Returns the error in a response of the gateway, or of a proxy in front of it."""
    try:
        return from_json(json.loads(data)["error"])
    except (ValueError, KeyError, TypeError):
        text = data[:300].decode(errors="replace").strip()
        code = _PROXY_OUTAGES.get(status, "UNKNOWN")
        return _CLASSES.get(code, PrismaError)(f"expected a response of PRISMA, got HTTP {status}: {text}", code=code)


def from_json(error: Mapping[str, Any]) -> PrismaError:
    """Returns the error in `{"code", "status", "message", "details"}`. Raises KeyError, TypeError for anything else."""
    details = {detail["@type"].rpartition(".")[2]: detail for detail in error.get("details", ())}
    info = details.get("ErrorInfo", {})
    violations = details.get("BadRequest", {}).get("fieldViolations", ())
    delay = details.get("RetryInfo", {}).get("retryDelay")
    return _CLASSES.get(error["status"], PrismaError)(
        error["message"],
        code=error["status"],
        reason=info.get("reason"),
        metadata=info.get("metadata"),
        violations=[(violation["field"], violation["description"]) for violation in violations],
        request_id=details.get("RequestInfo", {}).get("requestId"),
        retry_after=float(delay.removesuffix("s")) if delay else None,
    )
