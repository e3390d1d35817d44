"""Two search services on one OpenSearch: each document is written once, and both answer alike, whichever is killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc.aio
import pytest
from opensearchpy import OpenSearch

from prisma.search.v1 import search_service_pb2 as pb2
from prisma.search.v1 import search_service_pb2_grpc
from tests.nats_server import NatsServer
from tests.process import ServiceProcess, start_all
from tests.search.conftest import Hint, hint, make_service, owners
from tests.search.owners import Owners
from tests.search.test_service import until_current

__all__ = ["hint", "owners"]
DOCUMENTS = 400


class Replicas:
    """Two search services, and the cluster that both use."""

    def __init__(self, owners: Owners, nats_server: NatsServer, folder: Path, url: str) -> None:
        self.prefix = f"test{uuid4().hex[:8]}"
        self.client = OpenSearch(url)
        environment = {"PRISMA_OPENSEARCH_URL": url, "PRISMA_OPENSEARCH_PREFIX": self.prefix}
        folders = [folder / "one", folder / "two"]
        for path in folders:
            path.mkdir()
        self.processes: list[ServiceProcess] = [
            make_service(owners, nats_server, path, **environment) for path in folders
        ]
        self.channels = [grpc.aio.insecure_channel(process.address) for process in self.processes]
        self.stubs: list[Any] = [search_service_pb2_grpc.SearchServiceStub(channel) for channel in self.channels]

    def write_counts(self) -> list[int]:
        """How many documents were written into each index since it was created."""
        stats = self.client.indices.stats(index=f"{self.prefix}-*", metric="indexing")
        return sorted(index["primaries"]["indexing"]["index_total"] for index in stats["indices"].values())

    async def close(self) -> None:
        for process in self.processes:
            process.kill()
        for channel in self.channels:
            await channel.close()
        for name in [*self.client.indices.get(index=f"{self.prefix}*")]:
            self.client.indices.delete(index=name)


@pytest.fixture
async def replicas(
    owners: Owners, nats_server: NatsServer, tmp_path: Path, opensearch_url: str
) -> AsyncIterator[Replicas]:
    replicas = Replicas(owners, nats_server, tmp_path, opensearch_url)
    yield replicas
    await replicas.close()


async def hits(stub: Any, mode: Any) -> list[tuple[int, float]]:
    request = pb2.SearchDocumentsRequest(
        parent="datasets/a", query="text number 7 of a file", mode=mode, page_size=50, run="runs/a"
    )
    response = await stub.SearchDocuments(request)
    return [(hit.row, hit.score) for hit in response.hits]


async def test_two_replicas_write_once_and_answer_alike(owners: Owners, replicas: Replicas, hint: Hint) -> None:
    data = owners.create("datasets/a")
    for number in range(DOCUMENTS):
        data.add(f"doc{number}", f"Text number {number} of a file.", number=number)
    data.embed_all()
    data.train()
    await asyncio.to_thread(start_all, *replicas.processes)
    for stub in replicas.stubs:
        await until_current(stub)
    assert replicas.write_counts() == [0, DOCUMENTS, DOCUMENTS, DOCUMENTS]
    for revision in range(3):
        data.add(f"later{revision}", "A later text.")
        data.embed_all()
        await hint("datasets/a")
        for stub in replicas.stubs:
            await until_current(stub)
    assert replicas.write_counts()[2:] == [DOCUMENTS + 3, DOCUMENTS + 3]
    modes = pb2.SearchDocumentsRequest
    for mode in (modes.MODE_FULL_TEXT, modes.MODE_SEMANTIC, modes.MODE_SPARSE, modes.MODE_HYBRID):
        pages = [await hits(stub, mode) for stub in replicas.stubs]
        assert pages[0] == pages[1] and len(pages[0]) == 50


async def test_another_replica_goes_on_where_one_is_killed(owners: Owners, replicas: Replicas) -> None:
    data = owners.create("datasets/a")
    for number in range(DOCUMENTS):
        data.add(f"doc{number}", f"Text number {number} of a file.", number=number)
    data.embed_all()
    data.train()
    owners.block_rows, owners.pause = 20, 0.05
    first, second = replicas.processes
    await asyncio.to_thread(first.start)
    while owners.blocks_sent < 8:  # noqa: ASYNC110 - the owners tell nobody
        await asyncio.sleep(0.02)
    await asyncio.to_thread(first.kill)
    owners.pause = 0
    await asyncio.to_thread(second.start)
    status = await until_current(replicas.stubs[1])
    assert [stream.item_count for stream in status.streams] == [DOCUMENTS, DOCUMENTS, DOCUMENTS, 0]
    names = replicas.client.indices.get(index=f"{replicas.prefix}-*")
    assert len(names) == 4, "nothing of the killed one is left"
