"""JobService: one implementation over the shared store, so every process answers for all jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

from grpc import aio

from prisma.common.v1 import job_pb2, job_pb2_grpc
from prisma.common.v1.job_pb2 import Job
from services.chassis.filters import InvalidFilter, Term, parse_filter
from services.chassis.jobs import Jobs
from services.chassis.paging import Page

_FIELDS = {"state": "= !=", "service": "= !=", "kind": "= !=", "resource": "= !="}
Context: TypeAlias = "aio.ServicerContext[Any, Any]"


class JobServicer(job_pb2_grpc.JobServiceServicer):
    """Answers for all jobs."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def GetJob(self, request: job_pb2.GetJobRequest, context: Context) -> Job:
        return await self._jobs.get(request.name)

    async def ListJobs(self, request: job_pb2.ListJobsRequest, context: Context) -> job_pb2.ListJobsResponse:
        page = Page.of(request.page_size, request.page_token, bound_to=(request.filter,), default=50, maximum=1000)
        terms = parse_filter(request.filter, _FIELDS)
        for term in terms:
            _check(term)
        jobs = [job for job in await self._jobs.list() if all(_matches(job, term) for term in terms)]
        if page.after is not None:
            created, name = page.after
            jobs = [job for job in jobs if (-job.create_time.ToNanoseconds(), job.name) > (created, name)]
        response = job_pb2.ListJobsResponse(jobs=jobs[: page.size])
        if len(jobs) > page.size:
            last = jobs[page.size - 1]
            response.next_page_token = page.next_token([-last.create_time.ToNanoseconds(), last.name])
        return response

    async def WatchJob(self, request: job_pb2.WatchJobRequest, context: Context) -> AsyncIterator[Job]:
        async for job in self._jobs.watch(request.name):
            yield job

    async def CancelJob(self, request: job_pb2.CancelJobRequest, context: Context) -> Job:
        return await self._jobs.cancel(request.name)

    async def RetryJob(self, request: job_pb2.RetryJobRequest, context: Context) -> Job:
        return await self._jobs.retry(request.name)


def _check(term: Term) -> None:
    states = [name.removeprefix("STATE_") for name in Job.State.keys()[1:]]
    if term.field == "state" and term.value not in states:
        raise InvalidFilter(f"filter: state is one of {', '.join(states)}; got {term.value!r}")


def _matches(job: Job, term: Term) -> bool:
    if term.field == "resource":
        equal = term.value in job.resources
    elif term.field == "state":
        equal = Job.State.Name(job.state) == f"STATE_{term.value}"
    else:
        equal = getattr(job, term.field) == term.value
    return equal == (term.op == "=")
