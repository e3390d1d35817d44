"""Several processes of one service share a job: what they give is what one gives, whichever of them are killed."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np

from prisma.common.v1 import job_pb2_grpc
from prisma.common.v1.job_pb2 import GetJobRequest, Job, ListJobsRequest
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma_client import sample
from services.chassis.job_store import TERMINAL
from tests.nats_server import NatsServer
from tests.process import ServiceProcess, start_all

DOCUMENTS = 1500
KILL_EVERY = 250
"""Documents that are embedded between two kills."""


@contextmanager
def replicas(folder: Path, nats_url: str, postgres_url: str, **settings: str) -> Iterator[list[ServiceProcess]]:
    """Two embedders on one database and one object store."""
    (folder / "objects").mkdir()
    common = {
        "PRISMA_NATS_URL": nats_url,
        "PRISMA_DATABASE_URL": postgres_url,
        "PRISMA_BLOB_URL": (folder / "objects").as_uri(),
        "PRISMA_ACK_WAIT_SECONDS": "2",
        **settings,
    }
    processes: list[ServiceProcess] = []
    for name in ("one", "two"):
        (folder / name).mkdir()
        processes.append(ServiceProcess("embedder", folder / name, common))
    start_all(*processes)
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()


class Embedder:
    """What the tests ask of any of the embedders, however often they are killed."""

    def __init__(self, processes: list[ServiceProcess]) -> None:
        addresses = ",".join(process.address for process in processes)
        options = [
            ("grpc.lb_policy_name", "round_robin"),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 200),
        ]
        self._channel = grpc.aio.insecure_channel(f"ipv4:{addresses}", options)
        self.stub = embedder_service_pb2_grpc.EmbedderServiceStub(self._channel)
        self.jobs = job_pb2_grpc.JobServiceStub(self._channel)

    async def close(self) -> None:
        await self._channel.close()

    async def call(self, method: Any, request: Any) -> Any:
        """The answer of a call that is repeated while the process that got it is dead."""
        for _ in range(200):
            try:
                return await method(request)
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
            await asyncio.sleep(0.05)
        raise TimeoutError(request)

    async def new_dataset(self, name: str) -> None:
        documents = [
            {"id": str(place), "text": f"{place}: {document['text'][:200]}"}
            for place, document in zip(range(DOCUMENTS), sample.documents(), strict=False)
        ]
        assert len(documents) == DOCUMENTS

        async def messages() -> AsyncIterator[pb2.ImportDocumentsRequest]:
            yield pb2.ImportDocumentsRequest(config={"dataset": f"datasets/{name}"})
            yield pb2.ImportDocumentsRequest(chunk=json.dumps(documents).encode())

        await self.stub.CreateDataset(pb2.CreateDatasetRequest(dataset_id=name))
        await self.stub.ImportDocuments(messages())

    async def embedded_count(self, name: str) -> int:
        dataset = await self.call(self.stub.GetDataset, pb2.GetDatasetRequest(name=f"datasets/{name}"))
        return dataset.embedded_count

    async def vectors(self, name: str) -> tuple[list[int], bytes]:
        """The rows, and the bytes of their vectors."""
        blocks = [block async for block in self.stub.ReadVectors(pb2.ReadVectorsRequest(dataset=f"datasets/{name}"))]
        rows = np.concatenate([np.asarray(block.vectors.rows, dtype=np.uint64) for block in blocks])
        return rows.tolist(), b"".join(block.vectors.data for block in blocks)


async def test_embedding_over_replicas_that_are_killed_gives_what_one_embedder_gives(
    nats_server: NatsServer, postgres_url: str, tmp_path: Path
) -> None:
    chance = random.Random(1)
    settings = {"PRISMA_EMBED_BATCH": "16", "PRISMA_EMBED_PART": "64"}
    with replicas(tmp_path, nats_server.url, postgres_url, **settings) as processes:
        embedder = Embedder(processes)
        await embedder.new_dataset("shared")
        job = await embedder.call(embedder.stub.EmbedDataset, pb2.EmbedDatasetRequest(name="datasets/shared"))
        next_kill, kills = KILL_EVERY, 0
        while job.state not in TERMINAL:
            if await embedder.embedded_count("shared") >= next_kill:
                process = chance.choice(processes)
                process.kill()
                process.start()
                next_kill, kills = next_kill + KILL_EVERY, kills + 1
            job = await embedder.call(embedder.jobs.GetJob, GetJobRequest(name=job.name))
            await asyncio.sleep(0.02)
        assert job.state == Job.STATE_SUCCEEDED, job
        assert (job.progress.done, job.progress.total) == (DOCUMENTS, DOCUMENTS)
        assert kills >= 4
        listed = await embedder.call(embedder.jobs.ListJobs, ListJobsRequest())
        assert [entry.name for entry in listed.jobs] == [job.name]
        processes[1].kill()
        await embedder.new_dataset("alone")
        alone = await embedder.stub.EmbedDataset(pb2.EmbedDatasetRequest(name="datasets/alone"))
        while alone.state not in TERMINAL:
            alone = await embedder.jobs.GetJob(GetJobRequest(name=alone.name))
            await asyncio.sleep(0.05)
        assert alone.state == Job.STATE_SUCCEEDED, alone
        rows, vectors = await embedder.vectors("shared")
        assert rows == list(range(DOCUMENTS))
        assert (rows, vectors) == await embedder.vectors("alone")
        await embedder.close()
    for process in processes:
        assert "kind=embed-dataset-part" in process.log.read_text()
