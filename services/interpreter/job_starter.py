"""Starts the interpreter's jobs."""

from __future__ import annotations

from google.protobuf.message import Message

from prisma.common.v1.job_pb2 import Job
from prisma.interpreter.v1.interpreter_service_pb2 import (
    BuildFamiliesRequest,
    ComputeStatisticsRequest,
    LabelFeaturesRequest,
    ScoreLabelsRequest,
)
from prisma_common import names
from services.chassis.errors import Unavailable
from services.chassis.jobs import Jobs
from services.interpreter.feature_cache import FeatureCache
from services.interpreter.features import check_indices
from services.interpreter.labellers import Labellers
from services.interpreter.runs import Run

SERVICE = "interpreter"


class JobStarter:
    """Starts the interpreter's jobs. All methods but `training_job` raise NatsUnavailable."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def start(self, kind: str, request: Message, run: Run, request_id: str) -> Job:
        """Starts a job, or returns the one of this request id; without one, the job of this kind that is active.

        Raises RequestIdReused.
        """
        if not request_id and (active := await self._jobs.active_for(run.name, kind)):
            return active
        return await self._submit(kind, request, run, request_id)

    async def compute_statistics(self, run: Run) -> None:
        """Computes the statistics of a run's current codes; does nothing if that was started before."""
        await self._submit_statistics(run, f"trained-{run.uid}-{run.revision}")

    async def recompute_statistics(self, run: Run, attempt: str) -> None:
        """Computes the statistics of a run again, because those of an attempt are damaged or out of date."""
        await self._submit_statistics(run, f"again-{run.uid}-{attempt}")

    async def training_job(self, run: Run) -> str | None:
        """The name of the job that trains a run now; None where none does, or while jobs cannot be looked up."""
        try:
            job = await self._jobs.training_of(run.name, run.job)
        except Unavailable:
            return None
        return None if job is None else job.name

    async def _submit_statistics(self, run: Run, request_id: str) -> None:
        await self._submit(names.COMPUTE_STATISTICS, ComputeStatisticsRequest(run=run.name), run, request_id)

    async def _submit(self, kind: str, request: Message, run: Run, request_id: str) -> Job:
        resources = [run.name, run.dataset]
        return await self._jobs.submit(SERVICE, kind, request, request_id=request_id, resources=resources)


class RequestedJobs:
    """Jobs that callers request. All methods raise RUN_NOT_FOUND, RequestIdReused and NatsUnavailable."""

    def __init__(self, *, starter: JobStarter, cache: FeatureCache, labellers: Labellers) -> None:
        self._starter = starter
        self._cache = cache
        self._labellers = labellers

    async def compute_statistics(self, request: ComputeStatisticsRequest) -> Job:
        """Computes statistics. Raises RunNotTrained."""
        run = await self._cache.trained_run(request.run)
        return await self._starter.start(names.COMPUTE_STATISTICS, request, run, request.request_id)

    async def label_features(self, request: LabelFeaturesRequest, model: str) -> Job:
        """Labels features. Raises RunNotTrained, FeatureNotFound, LabelModelNotFound, PROVIDER_UNAVAILABLE."""
        run = await self._cache.trained_run(request.run)
        check_indices(run, request.indices)
        await self._labellers.check(model)
        return await self._starter.start(names.LABEL_FEATURES, request, run, request.request_id)

    async def score_labels(self, request: ScoreLabelsRequest) -> Job:
        """Scores labels. Raises RunNotTrained, FeatureNotFound, LabelModelNotFound, PROVIDER_UNAVAILABLE."""
        run = await self._cache.trained_run(request.run)
        check_indices(run, request.indices)
        if request.HasField("judge"):
            await self._labellers.check(request.judge.model)
        return await self._starter.start(names.SCORE_LABELS, request, run, request.request_id)

    async def build_families(self, request: BuildFamiliesRequest) -> Job:
        """Builds families. Raises RunNotTrained."""
        run = await self._cache.trained_run(request.run)
        return await self._starter.start(names.BUILD_FAMILIES, request, run, request.request_id)
