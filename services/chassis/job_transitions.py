"""How a job's record changes from one state to the next. Pure functions on the record; others write it.

SUBMITTED → RUNNING → SUCCEEDED | FAILED | CANCELLED
             ├─ hand_back ─→ SUBMITTED   its worker is stopping: not counted as an attempt
             ├─ put_back ──→ SUBMITTED   an error that another attempt may not meet: counted
             └─ wait ──────→ WAITING     an outage of something that the job needs: not counted
FAILED | CANCELLED | WAITING ─ resubmit → SUBMITTED
"""

from __future__ import annotations

import time
import uuid
from datetime import timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from prisma.common.v1.job_pb2 import Job, JobRecord
from services.chassis.errors import Aborted, PrismaError

TERMINAL = frozenset({Job.STATE_SUCCEEDED, Job.STATE_FAILED, Job.STATE_CANCELLED})
"""States that a job leaves only by RetryJob."""
MAX_ATTEMPTS = 5
"""Attempts without a checkpoint between them."""
MIN_WAIT_SECONDS = 1.0
MAX_WAIT_SECONDS = 60.0
MAX_OUTAGE = timedelta(hours=24)
"""How long a job waits for what it needs before it fails."""


class AttemptsExhausted(Aborted):
    """The job made no progress in five attempts, or waited for 24 hours for something unavailable."""

    reason = "JOB_ATTEMPTS_EXHAUSTED"


def now() -> Timestamp:
    """This moment."""
    stamp = Timestamp()
    stamp.GetCurrentTime()
    return stamp


def from_now(seconds: float) -> Timestamp:
    """The moment `seconds` from now."""
    stamp = Timestamp()
    stamp.FromNanoseconds(now().ToNanoseconds() + int(seconds * 1e9))
    return stamp


def seconds_until(moment: Timestamp) -> float:
    """Seconds from now until a moment; negative for the past."""
    return moment.ToNanoseconds() / 1e9 - time.time()


def is_leased(record: JobRecord) -> bool:
    """Whether a worker holds the job now."""
    return bool(record.lease) and seconds_until(record.lease_expire_time) > 0


def begin(record: JobRecord, lease_seconds: float) -> None:
    """A worker has taken the job, under a new lease."""
    record.job.state = Job.STATE_RUNNING
    record.job.attempt += 1
    record.job.start_time.CopyFrom(now())
    record.job.ClearField("error")
    record.job.ClearField("retry_time")
    record.attempts_without_checkpoint += 1
    record.lease = uuid.uuid4().hex
    record.lease_expire_time.CopyFrom(from_now(lease_seconds))


def note_checkpoint(record: JobRecord) -> None:
    """The job has made progress that outlives a crash: attempts and outages are counted from here."""
    record.attempts_without_checkpoint = 0
    record.outage_count = 0
    record.ClearField("outage_start_time")


def hand_back(record: JobRecord) -> None:
    """The job's worker is stopping: as if it had not been taken."""
    record.job.state = Job.STATE_SUBMITTED
    _forget_attempt(record)


def put_back(record: JobRecord, error: PrismaError) -> None:
    """The attempt failed, and another may not."""
    record.job.state = Job.STATE_SUBMITTED
    record.job.error.CopyFrom(error.to_status())
    record.lease = ""


def wait(record: JobRecord, error: PrismaError) -> None:
    """Something that the job needs is unavailable: retried after 1 s, doubling to 60 s, and given up after 24 hours."""
    record.outage_count += 1
    if record.outage_count == 1:
        record.outage_start_time.CopyFrom(now())
    elif -seconds_until(record.outage_start_time) > MAX_OUTAGE.total_seconds():
        hours = MAX_OUTAGE.total_seconds() / 3600
        end(record, Job.STATE_FAILED, AttemptsExhausted(f"given up after {hours:.0f} hours; the last: {error.message}"))
        return
    doublings = min(record.outage_count - 1, 16)
    record.job.state = Job.STATE_WAITING
    record.job.error.CopyFrom(error.to_status())
    record.job.retry_time.CopyFrom(from_now(min(MAX_WAIT_SECONDS, MIN_WAIT_SECONDS * 2**doublings)))
    _forget_attempt(record)


def end(record: JobRecord, state: Job.State, error: PrismaError | None = None) -> None:
    """The job has ended."""
    record.job.state = state
    record.job.end_time.CopyFrom(now())
    record.lease = ""
    record.job.ClearField("error")
    record.job.ClearField("retry_time")
    if error is not None:
        record.job.error.CopyFrom(error.to_status())
    if state == Job.STATE_SUCCEEDED and record.job.progress.total:
        record.job.progress.done = record.job.progress.total
    record.job.progress.seconds_left = 0


def resubmit(record: JobRecord) -> None:
    """The job is started again by a person, from its last checkpoint."""
    record.job.state = Job.STATE_SUBMITTED
    record.job.cancel_requested = False
    for field in ("error", "end_time", "retry_time"):
        record.job.ClearField(field)
    note_checkpoint(record)
    record.lease = ""
    record.resubmit_count += 1


def copy_of(record: JobRecord) -> JobRecord:
    """A record that can be changed without changing this one."""
    copied = JobRecord()
    copied.CopyFrom(record)
    return copied


def add_line(record: JobRecord, line: str) -> None:
    """Adds a line to the job's log."""
    record.job.log.append(log_line(line))
    del record.job.log[:-MAX_LOG_LINES]


def log_line(line: str) -> Job.LogLine:
    """A line of a job's log, of this moment."""
    return Job.LogLine(time=now(), text=line.replace("\n", " ")[:MAX_LINE_CHARACTERS])


MAX_LOG_LINES = 50
MAX_LINE_CHARACTERS = 1000


def _forget_attempt(record: JobRecord) -> None:
    record.job.attempt -= min(1, record.job.attempt)
    record.attempts_without_checkpoint -= min(1, record.attempts_without_checkpoint)
    record.lease = ""
