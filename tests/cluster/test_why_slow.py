"""Why is my job slow? A queued, a provider-bound and a CPU-bound job say it, and so do the metrics."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import httpx

from prisma.common.v1 import job_pb2_grpc
from prisma.common.v1.job_pb2 import GetJobRequest, Job
from prisma.embedder.v1 import embedder_service_pb2 as embedder_pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma.embedder.v1.resources_pb2 import Dataset
from prisma.trainer.v1 import trainer_service_pb2 as trainer_pb2
from prisma.trainer.v1 import trainer_service_pb2_grpc
from prisma.trainer.v1.resources_pb2 import Config, Run
from tests import calls
from tests.broken_ollama import broken_ollama
from tests.nats_server import NatsServer
from tests.ports import free_ports
from tests.process import ServiceProcess, start_all

DOCUMENTS = 400
Kind = Job.Bottleneck


async def messages(dataset: str) -> AsyncIterator[embedder_pb2.ImportDocumentsRequest]:
    yield embedder_pb2.ImportDocumentsRequest(config={"dataset": dataset})
    texts = [{"id": str(number), "text": f"text {number} of {dataset}"} for number in range(DOCUMENTS)]
    yield embedder_pb2.ImportDocumentsRequest(chunk=json.dumps(texts).encode())


async def metric(port: int, name: str, **labels: str) -> float:
    """The value of a metric of a process; 0 for one that it does not have yet."""
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    for line in text.splitlines():
        line_labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
        if re.match(rf"{name}[ {{]", line) and labels.items() <= line_labels.items():
            return float(line.rpartition(" ")[2])
    return 0.0


async def seen(jobs: Any, job: Job, kind: Any) -> Job:
    """The job as soon as it names this bottleneck; it must do so before it ends."""
    while True:
        job = await jobs.GetJob(GetJobRequest(name=job.name))
        if job.bottleneck.kind == kind:
            return job
        assert not job.HasField("end_time"), job
        await asyncio.sleep(0.1)


async def test_a_queued_a_provider_bound_and_a_cpu_bound_job(nats_server: NatsServer, tmp_path: Path) -> None:
    port = free_ports(5)
    with broken_ollama() as ollama:
        ollama.embed_seconds = 3.0
        common = {
            "PRISMA_NATS_URL": nats_server.url,
            "PRISMA_OLLAMA_URL": ollama.url,
            "PRISMA_METRICS_LISTEN": f"127.0.0.1:{port}",
        }
        embedder = ServiceProcess("embedder", tmp_path, common)
        trainer = ServiceProcess("trainer", tmp_path, {**common, "PRISMA_EMBEDDER_ADDRESS": embedder.address})
        start_all(embedder, trainer)
        try:
            async with (
                grpc.aio.insecure_channel(embedder.address) as embedder_channel,
                grpc.aio.insecure_channel(trainer.address) as trainer_channel,
            ):
                await _check_embedding(embedder_channel, port)
                ollama.embed_seconds = 0.0
                await _check_training(embedder_channel, trainer_channel)
        finally:
            embedder.kill()
            trainer.kill()


async def _check_embedding(channel: grpc.aio.Channel, port: int) -> None:
    stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
    jobs = job_pb2_grpc.JobServiceStub(channel)
    for name in ("first", "second"):
        dataset = Dataset(embedding_model="ollama/good:latest")
        await stub.CreateDataset(embedder_pb2.CreateDatasetRequest(dataset_id=name, dataset=dataset))
        await stub.ImportDocuments(messages(f"datasets/{name}"))
    first = await stub.EmbedDataset(embedder_pb2.EmbedDatasetRequest(name="datasets/first"))
    second = await stub.EmbedDataset(embedder_pb2.EmbedDatasetRequest(name="datasets/second"))

    queued = await seen(jobs, second, Kind.KIND_QUEUE)
    assert queued.bottleneck.queued_ahead == 1
    assert queued.bottleneck.explanation.startswith("Queued behind 1 job of its kind")
    labels = {"service": "embedder", "kind": "embed-dataset"}
    while not await metric(port, "prisma_jobs_queued", **labels):
        assert (await jobs.GetJob(GetJobRequest(name=second.name))).state == Job.STATE_SUBMITTED
        await asyncio.sleep(0.1)
    assert await metric(port, "prisma_jobs_oldest_queued_seconds", **labels) > 0

    bound = await seen(jobs, first, Kind.KIND_PROVIDER)
    print(bound.bottleneck.explanation)
    assert bound.bottleneck.share > 0.5
    assert "the model server ollama" in bound.bottleneck.explanation
    for job in (first, second):
        assert (await calls.ended(jobs, job)).state == Job.STATE_SUCCEEDED
    assert await metric(port, "prisma_provider_requests_total", provider="ollama", outcome="ok") > 4
    waited = await metric(port, "prisma_job_time_seconds_total", part="provider", **labels)
    computed = await metric(port, "prisma_job_time_seconds_total", part="compute", **labels)
    assert waited > computed
    assert await metric(port, "prisma_job_seconds_count", state="succeeded", **labels) == 2


async def _check_training(embedder: grpc.aio.Channel, trainer: grpc.aio.Channel) -> None:
    stub = trainer_service_pb2_grpc.TrainerServiceStub(trainer)
    config = Config(expansion=16, k=8, batch_size=32, epochs=5000, siblings=0)
    run = await stub.CreateRun(
        trainer_pb2.CreateRunRequest(run_id="run", run=Run(dataset="datasets/first", config=config))
    )
    job = await stub.TrainRun(trainer_pb2.TrainRunRequest(name=run.name))
    jobs = job_pb2_grpc.JobServiceStub(embedder)  # every process answers for all jobs
    bound = await seen(jobs, job, Kind.KIND_CPU)
    print(bound.bottleneck.explanation)
    assert bound.time_use.cpu_seconds > 0
    assert bound.bottleneck.explanation.startswith("Mostly computes")
