"""Two embedders on one PostgreSQL and one object store: writers that meet lose nothing and get no errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio

from prisma.common.v1 import job_pb2_grpc
from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from tests import calls
from tests.nats_server import NatsServer
from tests.process import ServiceProcess, start_all

IMPORTS, DOCUMENTS = 32, 40


async def messages(number: int) -> AsyncIterator[pb2.ImportDocumentsRequest]:
    """One import's file: DOCUMENTS of its own, and one that all imports have."""
    documents = [{"id": f"{number}-{place}", "text": f"text {place} of {number}"} for place in range(DOCUMENTS)]
    yield pb2.ImportDocumentsRequest(config={"dataset": "datasets/d"})
    yield pb2.ImportDocumentsRequest(chunk=json.dumps([*documents, {"id": "shared", "text": "of all"}]).encode())


async def test_concurrent_imports_over_two_embedders(
    nats_server: NatsServer, postgres_url: str, tmp_path: Path
) -> None:
    (tmp_path / "objects").mkdir()
    common = {
        "PRISMA_NATS_URL": nats_server.url,
        "PRISMA_DATABASE_URL": postgres_url,
        "PRISMA_BLOB_URL": (tmp_path / "objects").as_uri(),
    }
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    first, second = (ServiceProcess("embedder", folder, common) for folder in folders)
    start_all(first, second)  # both find the database empty
    try:
        async with grpc.aio.insecure_channel(first.address) as one, grpc.aio.insecure_channel(second.address) as two:
            stubs = [embedder_service_pb2_grpc.EmbedderServiceStub(channel) for channel in (one, two)]
            await stubs[0].CreateDataset(pb2.CreateDatasetRequest(dataset_id="d"))
            reports = await asyncio.gather(
                *(stubs[number % 2].ImportDocuments(messages(number)) for number in range(IMPORTS))
            )
            total = IMPORTS * DOCUMENTS + 1
            assert sum(report.imported_count for report in reports) == total
            assert sum(report.rejected_count for report in reports) == IMPORTS - 1
            job = await stubs[1].EmbedDataset(pb2.EmbedDatasetRequest(name="datasets/d"))
            assert (await calls.ended(job_pb2_grpc.JobServiceStub(one), job)).state == Job.STATE_SUCCEEDED
            for stub in stubs:
                dataset = await stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d"))
                assert (dataset.document_count, dataset.embedded_count, dataset.next_row) == (total, total, total)
                blocks = [block async for block in stub.ReadDocuments(pb2.ReadDocumentsRequest(dataset="datasets/d"))]
                assert [document.row for block in blocks for document in block.documents] == list(range(total))
                vectors = [block async for block in stub.ReadVectors(pb2.ReadVectorsRequest(dataset="datasets/d"))]
                assert {block.revision for block in vectors} == {dataset.revision}
    finally:
        for process in (first, second):
            process.kill()
