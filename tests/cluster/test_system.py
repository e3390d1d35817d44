"""The main path on PostgreSQL, S3, three NATS servers and OpenSearch, with two replicas of every process."""

from __future__ import annotations

import itertools
import time

import obstore
import psycopg
import pytest

from prisma_client import Prisma, sample
from prisma_client.errors import NotFound
from prisma_client.sync.datasets import Dataset
from tests.cluster_stack import Cluster
from tests.s3_server import S3Server

DOCUMENTS = 500


def until_indexed(data: Dataset, streams: int) -> None:
    """Returns once the index has all of a dataset."""
    for _ in range(600):
        status = data.index_status()
        if status.current and len(status.streams) == streams:
            return
        time.sleep(0.1)
    raise AssertionError(data.index_status())


@pytest.mark.timeout(300)
def test_the_main_path_works_through_either_gateway(cluster: Cluster, s3_server: S3Server) -> None:
    with Prisma(cluster.urls[0]) as prisma, Prisma(cluster.urls[1]) as replica:
        documents = itertools.islice(sample.documents(), DOCUMENTS)
        data = prisma.datasets.create("Standard library", documents, dataset_id="cluster")
        data.embed()
        assert replica.datasets.get("cluster").message.embedded_count == DOCUMENTS
        run = replica.datasets.get("cluster").train(run_id="cluster", expansion=1, k=8, epochs=5, siblings=0)
        run.compute_statistics()
        prisma.runs.get("cluster").label()
        run.build_families()
        for client in (prisma, replica) * 2:  # whichever replicas answer
            assert client.runs.get("cluster").features.list()
        until_indexed(data, streams=4)
        answers = [
            [hit.key for hit in client.datasets.get("cluster").search("open a file", mode=mode, run="cluster").hits]
            for mode in ("full_text", "semantic", "sparse", "hybrid")
            for client in (prisma, replica) * 2
        ]
        for mode in range(4):
            same = answers[4 * mode : 4 * mode + 4]
            assert same[0] and all(answer == same[0] for answer in same), same
        run.delete()
        data.delete()
        for client in (prisma, replica):
            with pytest.raises(NotFound):
                client.datasets.get("cluster")
    _assert_nothing_is_left(cluster, s3_server)


def _assert_nothing_is_left(cluster: Cluster, s3_server: S3Server) -> None:
    """What was deleted leaves the object store and the tables of blobs."""
    bucket = s3_server.store(cluster.environment["PRISMA_BLOB_URL"].rpartition("/")[2])
    for _ in range(300):
        paths = [item["path"] for batch in obstore.list(bucket) for item in batch]
        if not paths:
            break
        time.sleep(0.2)
    assert paths == []
    with psycopg.connect(cluster.environment["PRISMA_DATABASE_URL"]) as connection:
        for service in ("embedder", "trainer", "interpreter"):
            rows = connection.execute(f"SELECT path FROM prisma_{service}.{service}_blobs").fetchall()  # pyright: ignore
            assert rows == [], service
