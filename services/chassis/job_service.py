"""JobService: one implementation over the shared store, so every process answers for all jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from prisma.common.v1 import job_pb2, job_pb2_grpc
from prisma.common.v1.job_pb2 import Job
from services.chassis import job_bottleneck
from services.chassis.calls import Context
from services.chassis.filters import (
    TRUTH,
    AnyOf,
    Comparison,
    Filter,
    Leaf,
    Logic,
    conjuncts,
    evaluate,
    leaves,
    parse_filter,
)
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
        return await self._jobs.explained(request.name)

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
        await job_bottleneck.explain(self._jobs.store, jobs[: page.size])
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
    condition = parse_filter(text, _FIELDS)
    for leaf in leaves(condition):
        if isinstance(leaf, Comparison) and leaf.field == "state":
            leaf.one_of(tuple(_STATES))
    required = conjuncts(condition)
    resources = [part.value for part in required if isinstance(part, Comparison) and _equals(part, "resource")]
    return JobQuery(
        resource=resources[0] if resources else None,
        active=_excludes_terminal(required),
        entry_matches=lambda entry: evaluate(condition, lambda leaf: _entry_leaf(entry, leaf), _POSSIBLE) is not False,
        job_matches=lambda job: evaluate(condition, lambda leaf: _job_leaf(job, leaf), TRUTH),
    )


def _equals(part: Filter, field: str) -> bool:
    return isinstance(part, Comparison) and (part.field, part.op) == (field, "=")


def _excludes_terminal(required: Sequence[Filter]) -> bool:
    """Whether parts that must all be true leave only jobs that have not ended."""
    excluded: set[int] = set()
    for part in required:
        alternatives = part.parts if isinstance(part, AnyOf) else (part,)
        states = [
            _STATES[leaf.value] for leaf in alternatives if isinstance(leaf, Comparison) and leaf.field == "state"
        ]
        if len(states) == len(alternatives) and all(_equals(leaf, "state") for leaf in alternatives):
            excluded |= set(_STATES.values()) - set(states)
        elif len(alternatives) == 1:
            excluded |= set(states)
    return excluded.issuperset(TERMINAL)


_POSSIBLE: Logic[bool | None] = Logic(
    all_of=lambda parts: False if False in parts else None if None in parts else True,
    any_of=lambda parts: True if True in parts else None if None in parts else False,
    negation=lambda value: None if value is None else not value,
)
"""Where None is not known yet."""


def _entry_leaf(entry: IndexEntry, leaf: Leaf) -> bool | None:
    """Whether a job matches a comparison, as far as its index entry says without its record."""
    assert isinstance(leaf, Comparison), "these fields are never absent"
    values = {"service": entry.service, "kind": entry.kind}
    return (values[leaf.field] == leaf.value) == (leaf.op == "=") if leaf.field in values else None


def _job_leaf(job: Job, leaf: Leaf) -> bool:
    assert isinstance(leaf, Comparison), "these fields are never absent"
    if leaf.field == "resource":
        equal = leaf.value in job.resources
    elif leaf.field == "state":
        equal = job.state == _STATES[leaf.value]
    else:
        equal = getattr(job, leaf.field) == leaf.value
    return equal == (leaf.op == "=")
