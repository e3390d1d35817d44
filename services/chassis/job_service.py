"""JobService: one implementation over the shared store, so every process answers for all jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from prisma.common.v1 import job_pb2, job_pb2_grpc
from prisma.common.v1.job_pb2 import Job
from services.chassis.calls import Context
from services.chassis.filters import InvalidFilter, Term, parse_filter
from services.chassis.job_index import IndexEntry
from services.chassis.job_transitions import TERMINAL
from services.chassis.jobs import Cursor, JobQuery, Jobs
from services.chassis.paging import Page

_FIELDS = {"state": "= !=", "service": "= !=", "kind": "= !=", "resource": "= !="}
_STATES = {name.removeprefix("STATE_"): state for name, state in Job.State.items() if state != Job.STATE_UNSPECIFIED}


class JobServicer(job_pb2_grpc.JobServiceServicer):
    """Answers for all jobs."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def GetJob(self, request: job_pb2.GetJobRequest, context: Context) -> Job:
        return await self._jobs.get(request.name)

    async def ListJobs(self, request: job_pb2.ListJobsRequest, context: Context) -> job_pb2.ListJobsResponse:
        page = Page.keyset(
            request.page_size,
            request.page_token,
            columns=(int, str),
            bound_to=(request.filter,),
            default=50,
            maximum=1000,
        )
        query = parse_query(request.filter)
        after = None if page.after is None else Cursor(*page.after)
        jobs = await self._jobs.list(query, after=after, limit=page.size + 1)
        response = job_pb2.ListJobsResponse(jobs=jobs[: page.size])
        if len(jobs) > page.size:
            last = Cursor.of(jobs[page.size - 1])
            response.next_page_token = page.next_token([last.created_milliseconds, last.name])
        return response

    async def WatchJob(self, request: job_pb2.WatchJobRequest, context: Context) -> AsyncIterator[Job]:
        async for job in self._jobs.watch(request.name):
            yield job

    async def CancelJob(self, request: job_pb2.CancelJobRequest, context: Context) -> Job:
        return await self._jobs.cancel(request.name)

    async def RetryJob(self, request: job_pb2.RetryJobRequest, context: Context) -> Job:
        return await self._jobs.retry(request.name)


def parse_query(text: str) -> JobQuery:
    """The query of a filter. Raises InvalidFilter."""
    terms = parse_filter(text, _FIELDS)
    for term in terms:
        if term.field == "state" and term.value not in _STATES:
            raise InvalidFilter(f"filter: state is one of {', '.join(_STATES)}; got {term.value!r}")
    resources = [term.value for term in terms if term.field == "resource" and term.op == "="]
    states = [_STATES[term.value] for term in terms if term.field == "state" and term.op == "="]
    excluded = {_STATES[term.value] for term in terms if term.field == "state" and term.op == "!="}
    return JobQuery(
        resource=resources[0] if resources else None,
        active=any(state not in TERMINAL for state in states) or excluded.issuperset(TERMINAL),
        entry_matches=lambda entry: _entry_matches(entry, terms),
        job_matches=lambda job: all(_matches(job, term) for term in terms),
    )


def _entry_matches(entry: IndexEntry, terms: Sequence[Term]) -> bool:
    """Whether a job can match as far as its index entry says, without its record."""
    values = {"service": entry.service, "kind": entry.kind}
    return all((values[term.field] == term.value) == (term.op == "=") for term in terms if term.field in values)


def _matches(job: Job, term: Term) -> bool:
    if term.field == "resource":
        equal = term.value in job.resources
    elif term.field == "state":
        equal = job.state == _STATES[term.value]
    else:
        equal = getattr(job, term.field) == term.value
    return equal == (term.op == "=")
