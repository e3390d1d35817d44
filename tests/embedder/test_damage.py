"""A damaged file of vectors is noticed before anything reads it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc.aio
import pytest

from prisma.common.v1 import job_pb2_grpc, status_pb2_grpc
from prisma.common.v1.status_pb2 import GetStatusRequest, ServiceStatus
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from tests import calls


async def test_damage_is_in_the_status_before_anything_reads_the_file(
    stub: embedder_service_pb2_grpc.EmbedderServiceAsyncStub,
    jobs: job_pb2_grpc.JobServiceAsyncStub,
    channel: grpc.aio.Channel,
    tmp_path: Path,
) -> None:
    await calls.fill(stub, jobs, 40)
    shard = next((tmp_path / "data/embedder/blobs").rglob("*.npy"))
    shard.unlink()
    service = status_pb2_grpc.StatusServiceStub(channel)
    status = ServiceStatus()
    for _ in range(300):
        status = await service.GetStatus(GetStatusRequest())
        if status.health != ServiceStatus.HEALTH_OK:
            break
        await asyncio.sleep(0.1)
    vectors = next(dependency for dependency in status.dependencies if dependency.name == "vectors")
    assert status.health == ServiceStatus.HEALTH_DEGRADED
    assert shard.name in vectors.message
    assert "prisma embed --again" in vectors.message
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _block in stub.ReadVectors(pb2.ReadVectorsRequest(dataset="datasets/d")):
            pass
    assert (caught.value.code(), calls.reason(caught.value)) == (grpc.StatusCode.DATA_LOSS, "BLOB_DAMAGED")
