"""What surrounds every call: keys, health, status, reflection, an orderly end. On the embedder's process."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from prisma.common.v1 import job_pb2, job_pb2_grpc, status_pb2, status_pb2_grpc
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from tests.calls import reason
from tests.nats_server import NatsServer
from tests.process import ServiceProcess


def embedder(tmp_path: Path, nats_url: str, **environment: str) -> ServiceProcess:
    return ServiceProcess("embedder", tmp_path, {"PRISMA_NATS_URL": nats_url, **environment})


def test_a_process_serves_health_reflection_and_status_and_ends_in_order(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    process = embedder(tmp_path, nats_server.url)
    process.start()
    with grpc.insecure_channel(process.address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)  # its types have no methods
        assert health.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
        reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answer = next(iter(reflection.ServerReflectionInfo(iter([request]))))
        listed = {service.name for service in answer.list_services_response.service}
        assert {"prisma.embedder.v1.EmbedderService", "prisma.common.v1.JobService"} <= listed
        for method in ("/prisma.trainer.v1.TrainerService/ListRuns", "/prisma.embedder.v1.EmbedderService/None", "/x"):
            with pytest.raises(grpc.RpcError, match=r"serves .*prisma\.embedder\.v1\.EmbedderService") as caught:
                channel.unary_unary(method)(b"")
            error: Any = caught.value
            assert (error.code(), reason(error)) == (grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED")
        status = status_pb2_grpc.StatusServiceStub(channel).GetStatus(status_pb2.GetStatusRequest())
        assert status.service == "embedder"
        assert status.health == status_pb2.ServiceStatus.HEALTH_OK, status
        assert {dependency.name for dependency in status.dependencies} >= {"nats", "database", "ollama"}
    began = time.monotonic()
    assert process.stop() == 0
    assert time.monotonic() - began < 10  # the promise of an orderly end, not a speed


def test_without_its_message_server_a_process_serves_and_says_what_it_cannot(tmp_path: Path) -> None:
    process = embedder(tmp_path, "nats://127.0.0.1:1")
    process.start()
    try:
        with grpc.insecure_channel(process.address) as channel:
            stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
            stub.CreateDataset(pb2.CreateDatasetRequest(dataset_id="d"))
            with pytest.raises(grpc.RpcError) as caught:
                stub.EmbedDataset(pb2.EmbedDatasetRequest(name="datasets/d"))
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
            with pytest.raises(grpc.RpcError) as caught:
                job_pb2_grpc.JobServiceStub(channel).ListJobs(job_pb2.ListJobsRequest())
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
            status = status_pb2_grpc.StatusServiceStub(channel).GetStatus(status_pb2.GetStatusRequest())
            assert status.health == status_pb2.ServiceStatus.HEALTH_DOWN
            assert "nats" in status.message
    finally:
        process.kill()


async def test_the_first_call_can_start_a_job_though_the_message_server_is_slow(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            await asyncio.sleep(0.1)
            writer.write(data)
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", nats_server.port)
        await asyncio.gather(forward(reader, server_writer), forward(server_reader, writer))

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as proxy:
        process = embedder(tmp_path, f"nats://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
        await asyncio.to_thread(process.start)
        try:
            async with grpc.aio.insecure_channel(process.address) as channel:
                jobs = job_pb2_grpc.JobServiceStub(channel)
                assert (await jobs.ListJobs(job_pb2.ListJobsRequest())).jobs == []
        finally:
            process.kill()


def test_with_keys_only_those_who_show_one_get_in_and_health_is_open(tmp_path: Path, nats_server: NatsServer) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"ada {hashlib.sha256(b'secret').hexdigest()}\n")
    process = embedder(tmp_path, nats_server.url, PRISMA_API_KEYS_FILE=str(keys), PRISMA_SERVICE_KEY="between services")
    process.start()
    try:
        with grpc.insecure_channel(process.address) as channel:
            stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)

            def list_with(*metadata: tuple[str, str]) -> grpc.StatusCode:
                try:
                    stub.ListDatasets(pb2.ListDatasetsRequest(), metadata=metadata)
                except grpc.RpcError as error:
                    return error.code()
                return grpc.StatusCode.OK

            assert list_with() == grpc.StatusCode.UNAUTHENTICATED
            with pytest.raises(grpc.RpcError, match="key"):
                channel.unary_unary("/prisma.embedder.v1.EmbedderService/None")(b"")
            assert list_with(("authorization", "Bearer wrong")) == grpc.StatusCode.UNAUTHENTICATED
            assert list_with(("authorization", "secret")) == grpc.StatusCode.UNAUTHENTICATED
            assert list_with(("authorization", "Bearer secret")) == grpc.StatusCode.OK
            assert list_with(("authorization", "Bearer between services")) == grpc.StatusCode.OK
            keys.write_text(f"bob {hashlib.sha256(b'other').hexdigest()}\n")
            assert list_with(("authorization", "Bearer secret")) == grpc.StatusCode.UNAUTHENTICATED
            assert list_with(("authorization", "Bearer other")) == grpc.StatusCode.OK
            health: Any = health_pb2_grpc.HealthStub(channel)
            health.Check(health_pb2.HealthCheckRequest())
    finally:
        process.kill()


@pytest.mark.parametrize(
    ("setting", "value", "advice"),
    [
        ("PRISMA_EMBEDDER_LISTEN", "0.0.0.0:0", "prisma keys create"),
        ("PRISMA_API_KEYS_FILE", os.devnull, "PRISMA_SERVICE_KEY"),
        ("PRISMA_SERVICE_KEY", "short", "openssl rand"),
    ],
)
def test_a_start_without_usable_keys_is_refused(tmp_path: Path, setting: str, value: str, advice: str) -> None:
    process = embedder(tmp_path, "nats://127.0.0.1:1", **{setting: value})
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "services.embedder"],
        env=process.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    assert advice in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_in_use_is_said_so(tmp_path: Path, nats_server: NatsServer) -> None:
    first = embedder(tmp_path, nats_server.url)
    first.start()
    try:
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "services.embedder"],
            env={**first.environment, "PRISMA_DATA_DIR": str(tmp_path / "other")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode != 0
        assert "PRISMA_EMBEDDER_LISTEN" in ended.stderr
    finally:
        first.kill()
