"""What calls answer, and what many of them do first."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import grpc.aio
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from grpc_status.rpc_status import GRPC_DETAILS_METADATA_KEY  # pyright: ignore[reportAttributeAccessIssue]

from prisma.common.v1.job_pb2 import GetJobRequest, Job
from prisma.embedder.v1 import embedder_service_pb2 as embedder_pb2
from prisma_client import sample
from services.chassis.errors import reason_of
from services.chassis.job_store import TERMINAL
from tests import planted


def reason(error: grpc.aio.AioRpcError) -> str:
    """The reason in an error's ErrorInfo; empty where it has none of ours."""
    return reason_of(_status(error))


def assert_resource_is_named(error: grpc.aio.AioRpcError) -> None:
    """An error about a dataset, run or document has its resource name in ErrorInfo.metadata."""
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in _status(error).details), error
    if info.reason.startswith(("DATASET_", "RUN_", "DOCUMENT_")):
        kind = info.reason.partition("_")[0].lower()
        assert info.metadata[kind].startswith("runs/" if kind == "run" else "datasets/"), info


def _status(error: grpc.aio.AioRpcError) -> Status:
    for key, value in error.trailing_metadata() or ():
        if key == GRPC_DETAILS_METADATA_KEY and isinstance(value, bytes):
            return Status.FromString(value)
    return Status()


async def ended(jobs: Any, job: Job) -> Job:
    """The job once it has ended, however often what answers for it dies meanwhile."""
    for _ in range(4000):
        try:
            job = await jobs.GetJob(GetJobRequest(name=job.name))
            if job.state in TERMINAL:
                return job
        except grpc.aio.AioRpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error
        await asyncio.sleep(0.1)
    raise AssertionError(f"the job did not end: {job}")


def texts(count: int) -> list[dict[str, str]]:
    """The documents that `fill` imports: of the sample, and the last one with planted secrets."""
    return [*itertools.islice(sample.documents(), count - 1), planted.DOCUMENT]


async def fill(embedder: Any, jobs: Any, count: int) -> None:
    """A dataset `d` of `texts(count)`, all embedded; called again with more, it grows."""
    try:
        await embedder.CreateDataset(embedder_pb2.CreateDatasetRequest(dataset_id="d"))
    except grpc.aio.AioRpcError as error:
        assert error.code() == grpc.StatusCode.ALREADY_EXISTS, error
    await add(embedder, texts(count))
    job = await ended(jobs, await embedder.EmbedDataset(embedder_pb2.EmbedDatasetRequest(name="datasets/d")))
    assert job.state == Job.STATE_SUCCEEDED, job


async def add(embedder: Any, documents: Sequence[Mapping[str, Any]], dataset_id: str = "d") -> None:
    """Imports documents into a dataset."""

    async def messages() -> AsyncIterator[embedder_pb2.ImportDocumentsRequest]:
        yield embedder_pb2.ImportDocumentsRequest(config={"dataset": f"datasets/{dataset_id}"})
        yield embedder_pb2.ImportDocumentsRequest(chunk=json.dumps(documents).encode())

    await embedder.ImportDocuments(messages())
