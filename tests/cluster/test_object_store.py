"""A real S3 server: blobs of any size, a cache that is emptied, an outage, and a training that changes its trainer."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import grpc.aio
import obstore
import pytest

from prisma.common.v1 import job_pb2_grpc
from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma.trainer.v1 import trainer_service_pb2 as trainer_pb2
from prisma.trainer.v1 import trainer_service_pb2_grpc
from prisma.trainer.v1.resources_pb2 import Config, Run
from services.chassis.blobs import Blobs, Records
from services.chassis.database import Database
from services.chassis.errors import Code
from services.chassis.object_store import StoreUnavailable
from tests import calls
from tests.chassis.owner import BLOBS, METADATA
from tests.nats_server import NatsServer
from tests.process import ServiceProcess, start_all
from tests.s3_server import S3Server

LARGE = 40 << 20
RUN = "runs/r"


@pytest.fixture
def database(postgres_url: str, tmp_path: Path) -> Iterator[Database]:
    with closing(Database(postgres_url, tmp_path, service="test")) as opened:
        with opened.write() as connection:
            METADATA.create_all(connection)
        yield opened


def test_blobs_of_any_size_are_stored_shared_evicted_and_deleted(
    s3_server: S3Server, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    url = s3_server.url()
    one, replica = (
        Blobs(tmp_path / name, url, records=Records(database, BLOBS), cache_bytes=LARGE + 500)
        for name in ("one", "replica")
    )
    contents = {"a/large": os.urandom(LARGE), "a/empty": b"", "b/ä ö+%.npy": b"x", "ab/c": b"y"}
    for path, content in contents.items():
        blob = one.put(path, [content])
        with database.write() as connection:
            one.record(connection, [blob])
    for path, content in contents.items():
        assert replica.local(path).read_bytes() == content
    assert replica.scrub().damages == []
    for file in one.folder.rglob("*"):
        os.utime(file, (time.time() - 1000,) * 2)
    with database.write() as connection:
        one.record(connection, [one.put("d", [b"d" * 1000])])
    one.wait_for_eviction()
    assert not (one.folder / "a/large").exists()
    assert one.local("a/large").read_bytes() == contents["a/large"]
    one.delete("a")
    bucket = s3_server.store(url.rpartition("/")[2])
    assert {item["path"] for batch in obstore.list(bucket) for item in batch} == {
        "test/b/ä ö+%.npy",
        "test/ab/c",
        "test/d",
    }
    assert one.sweep({"d"}, older_than_seconds=-1) == ["ab/c", "b/ä ö+%.npy"]
    s3_server.kill()
    try:
        with pytest.raises(StoreUnavailable) as error:
            replica.local("d")
        assert error.value.code == Code.UNAVAILABLE
    finally:
        s3_server.start()
    assert replica.local("d").read_bytes() == b"d" * 1000


async def test_a_training_goes_on_in_another_trainer_where_it_was(
    s3_server: S3Server, nats_server: NatsServer, postgres_url: str, tmp_path: Path
) -> None:
    common = {
        "PRISMA_NATS_URL": nats_server.url,
        "PRISMA_DATABASE_URL": postgres_url,
        "PRISMA_DATABASE_SCHEMA": "prisma_{service}",
        "PRISMA_BLOB_URL": s3_server.url(),
        "PRISMA_ACK_WAIT_SECONDS": "3",
        **s3_server.environment,
    }
    folders = [tmp_path / name for name in ("embedder", "one", "two")]
    for folder in folders:
        folder.mkdir()
    embedder = ServiceProcess("embedder", folders[0], common)
    addresses = {"PRISMA_EMBEDDER_ADDRESS": embedder.address}
    one, two = (ServiceProcess("trainer", folder, {**common, **addresses}) for folder in folders[1:])
    try:
        start_all(embedder, one)
        async with AsyncExitStack() as stack:
            channels = [
                await stack.enter_async_context(grpc.aio.insecure_channel(process.address))
                for process in (embedder, one, two)
            ]
            jobs = job_pb2_grpc.JobServiceStub(channels[0])
            await calls.fill(embedder_service_pb2_grpc.EmbedderServiceStub(channels[0]), jobs, 600)
            trainers = [trainer_service_pb2_grpc.TrainerServiceStub(channel) for channel in channels[1:]]
            config = Config(expansion=1, k=8, epochs=400, batch_size=128, siblings=0)
            run = Run(dataset="datasets/d", config=config)
            await trainers[0].CreateRun(trainer_pb2.CreateRunRequest(run_id="r", run=run))
            job = await trainers[0].TrainRun(trainer_pb2.TrainRunRequest(name=RUN))
            await stepped(trainers[0], 40)
            one.stop()
            two.start()
            done = await calls.ended(jobs, job)
        assert done.state == Job.STATE_SUCCEEDED, done
        assert any(int(line.text.split()[-1]) >= 40 for line in done.log if "resumed at step" in line.text), done.log
        checkpoints = [
            item["path"]
            for batch in obstore.list(s3_server.store(common["PRISMA_BLOB_URL"].rpartition("/")[2]))
            for item in batch
            if "checkpoint" in item["path"]
        ]
        assert checkpoints == []
    finally:
        for process in (embedder, one, two):
            process.kill()


async def stepped(trainer: Any, step: int) -> None:
    """Returns once the training is beyond a step."""
    for _ in range(2000):
        run = await trainer.GetRun(trainer_pb2.GetRunRequest(name=RUN))
        if run.metrics.step >= step:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the training makes no progress")
