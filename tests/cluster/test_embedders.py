"""Two embedders on one PostgreSQL and one object store: writers that meet lose nothing and get no errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import psycopg
import pytest

from prisma.common.v1 import job_pb2_grpc
from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from tests import calls
from tests.nats_server import NatsServer
from tests.process import ServiceProcess, start_all

IMPORTS, DOCUMENTS = 32, 40


TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True)
class Replicas:
    """Two embedders."""

    stubs: list[Any]
    jobs: Any
    database_url: str

    async def check(self, stub: Any, name: str, *, count: int, next_row: int) -> None:
        """A dataset has `count` of its rows, all embedded and each once, and its counters say the same."""
        dataset = await stub.GetDataset(pb2.GetDatasetRequest(name=f"datasets/{name}"))
        assert (dataset.document_count, dataset.embedded_count, dataset.next_row) == (count, count, next_row)
        blocks = [block async for block in stub.ReadDocuments(pb2.ReadDocumentsRequest(dataset=dataset.name))]
        rows = [document.row for block in blocks for document in block.documents]
        assert len(rows) == len(set(rows)) == count
        assert rows == sorted(rows) and set(rows) <= set(range(next_row))
        vectors = [block async for block in stub.ReadVectors(pb2.ReadVectorsRequest(dataset=dataset.name))]
        assert {block.revision for block in vectors} == {dataset.revision}


async def messages(number: int, dataset: str = "d") -> AsyncIterator[pb2.ImportDocumentsRequest]:
    """One import's file: DOCUMENTS of its own, and one that all imports have."""
    documents = [{"id": f"{number}-{place}", "text": f"text {place} of {number}"} for place in range(DOCUMENTS)]
    yield pb2.ImportDocumentsRequest(config={"dataset": f"datasets/{dataset}"})
    yield pb2.ImportDocumentsRequest(chunk=json.dumps([*documents, {"id": "shared", "text": "of all"}]).encode())


@pytest.fixture
async def replicas(nats_server: NatsServer, postgres_url: str, tmp_path: Path) -> AsyncIterator[Replicas]:
    (tmp_path / "objects").mkdir()
    common = {
        "PRISMA_NATS_URL": nats_server.url,
        "PRISMA_DATABASE_URL": postgres_url,
        "PRISMA_BLOB_URL": (tmp_path / "objects").as_uri(),
        "PRISMA_ACK_WAIT_SECONDS": "3",
    }
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    processes = [ServiceProcess("embedder", folder, common) for folder in folders]
    start_all(*processes)  # both find the database empty
    try:
        async with AsyncExitStack() as stack:
            channels = [
                await stack.enter_async_context(grpc.aio.insecure_channel(process.address)) for process in processes
            ]
            stubs = [embedder_service_pb2_grpc.EmbedderServiceStub(channel) for channel in channels]
            yield Replicas(stubs, job_pb2_grpc.JobServiceStub(channels[0]), postgres_url)
    finally:
        for process in processes:
            process.kill()


async def test_concurrent_imports_over_two_embedders(replicas: Replicas) -> None:
    stubs = replicas.stubs
    await stubs[0].CreateDataset(pb2.CreateDatasetRequest(dataset_id="d"))
    reports = await asyncio.gather(*(stubs[number % 2].ImportDocuments(messages(number)) for number in range(IMPORTS)))
    total = IMPORTS * DOCUMENTS + 1
    assert sum(report.imported_count for report in reports) == total
    assert sum(report.rejected_count for report in reports) == IMPORTS - 1
    job = await stubs[1].EmbedDataset(pb2.EmbedDatasetRequest(name="datasets/d"))
    assert (await calls.ended(replicas.jobs, job)).state == Job.STATE_SUCCEEDED
    for stub in stubs:
        await replicas.check(stub, "d", count=total, next_row=total)


async def test_imports_embeddings_and_deletions_that_meet(replicas: Replicas) -> None:
    """32 clients, four of them at a time on the same dataset, each through another replica than the one before."""
    names = [f"d{number}" for number in range(8)]
    for name in names:
        await replicas.stubs[0].CreateDataset(pb2.CreateDatasetRequest(dataset_id=name))

    async def work(client: int) -> None:
        dataset = names[client % len(names)]
        stub, replica = replicas.stubs[client % 2], replicas.stubs[(client + 1) % 2]
        report = await stub.ImportDocuments(messages(client, dataset))
        assert report.imported_count in (DOCUMENTS, DOCUMENTS + 1)
        await calls.ended(
            replicas.jobs, await replica.EmbedDataset(pb2.EmbedDatasetRequest(name=f"datasets/{dataset}"))
        )
        request = pb2.DeleteDocumentsRequest(parent=f"datasets/{dataset}", filter=f'key = "{client}-0"', force=True)
        answer = await stub.DeleteDocuments(request)
        job = await calls.ended(replicas.jobs, answer.job)
        assert job.state == Job.STATE_SUCCEEDED, job

    await asyncio.gather(*(work(client) for client in range(32)))
    for name in names:
        job = await replicas.stubs[0].EmbedDataset(pb2.EmbedDatasetRequest(name=f"datasets/{name}"))
        assert (await calls.ended(replicas.jobs, job)).state == Job.STATE_SUCCEEDED
        for stub in replicas.stubs:
            await replicas.check(stub, name, count=4 * (DOCUMENTS - 1) + 1, next_row=4 * DOCUMENTS + 1)


async def test_nothing_is_lost_or_taken_twice_when_sessions_of_the_database_end(replicas: Replicas) -> None:
    """As in a failover, or when a pooler restarts: imports and jobs in progress go on."""
    await replicas.stubs[0].CreateDataset(pb2.CreateDatasetRequest(dataset_id="d"))
    imports = asyncio.gather(
        *(replicas.stubs[number % 2].ImportDocuments(messages(number)) for number in range(IMPORTS))
    )
    with psycopg.connect(replicas.database_url, autocommit=True) as admin:
        for _ in range(3):
            admin.execute(TERMINATE)
            await asyncio.wait([imports], timeout=0.5)
        total = IMPORTS * DOCUMENTS + 1
        assert sum(report.imported_count for report in await imports) == total
        job = await replicas.stubs[0].EmbedDataset(pb2.EmbedDatasetRequest(name="datasets/d"))
        for _ in range(10):
            admin.execute(TERMINATE)
            await asyncio.sleep(0.05)
    done = await calls.ended(replicas.jobs, job)
    assert done.state == Job.STATE_SUCCEEDED, done
    for stub in replicas.stubs:
        await replicas.check(stub, "d", count=total, next_row=total)
