"""What the client shows of long calls: a bar by default, or what the caller's function makes of a job."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prisma.common.v1.job_pb2 import Job
from prisma_common.progress import Report, bar

JobReport = Callable[[Job], None]
Progress = JobReport | bool | None
"""A function that is called with the job after each change; False for no bar; None for one where a person watches."""


@contextmanager
def job_progress(progress: Progress) -> Generator[JobReport]:
    """Yields the function to call with a job after each change."""
    if callable(progress):
        yield progress
        return
    with bar("waiting", enabled=progress) as report:
        yield lambda job: _report_job(report, job)


@contextmanager
def upload_progress(chunks: Iterable[bytes], source: object, progress: bool | None) -> Generator[Iterable[bytes]]:
    """Yields the chunks of an upload, shown as they are sent. source: a path, whose size is known, or documents."""
    size = Path(source).stat().st_size if isinstance(source, str | Path) and Path(source).is_file() else None
    with bar("import", enabled=progress) as report:
        yield _reported(chunks, report, size)


def _reported(chunks: Iterable[bytes], report: Report, size: int | None) -> Iterator[bytes]:
    done = 0
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        of_all = "" if size is None else f" of {size / 1e6:,.1f}"
        report(done, size, f"{done / 1e6:,.1f}{of_all} MB")


def _report_job(report: Report, job: Job) -> None:
    state = job.progress
    count = f"{state.done:,} of {state.total:,} {state.unit}" if state.total else ""
    waiting = f"waiting: {job.error.message}" if job.state == Job.STATE_WAITING else state.message
    report(
        state.done, state.total or None, " ".join(filter(None, (count, waiting)))[:80], title=job.kind.replace("-", " ")
    )
