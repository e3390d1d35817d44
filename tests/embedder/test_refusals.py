"""A job in which the provider refuses many documents says so, and one in which it refuses a few does not."""

from __future__ import annotations

from pathlib import Path

import grpc.aio
import pytest

from prisma.common.v1 import job_pb2_grpc
from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from tests import calls
from tests.broken_ollama import broken_ollama
from tests.nats_server import NatsServer
from tests.process import ServiceProcess


@pytest.mark.parametrize(("refused", "is_reported"), [(1, False), (5, True)])
async def test_a_job_says_when_more_than_a_tenth_is_refused(
    nats_server: NatsServer, tmp_path: Path, refused: int, is_reported: bool
) -> None:
    with broken_ollama() as ollama:
        environment = {"PRISMA_NATS_URL": nats_server.url, "PRISMA_OLLAMA_URL": ollama.url}
        process = ServiceProcess("embedder", tmp_path, environment)
        process.start()
        try:
            async with grpc.aio.insecure_channel(process.address) as channel:
                stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
                dataset = {"embedding_model": "ollama/dims:latest"}
                await stub.CreateDataset(pb2.CreateDatasetRequest(dataset_id="d", dataset=dataset))
                texts = [f"text {number}" if number >= refused else f"ZERO {number}" for number in range(20)]
                await calls.add(stub, [{"id": str(number), "text": text} for number, text in enumerate(texts)])
                job = await stub.EmbedDataset(pb2.EmbedDatasetRequest(name="datasets/d"))
                job = await calls.ended(job_pb2_grpc.JobServiceStub(channel), job)
                assert job.state == Job.STATE_SUCCEEDED
                assert (f"{refused} of 20 documents were refused" in job.progress.message) is is_reported, job
                counts = await stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d"))
                assert (counts.embedded_count, counts.failed_count) == (20 - refused, refused)
        finally:
            process.kill()
