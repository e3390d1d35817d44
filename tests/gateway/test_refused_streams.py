"""A service that refuses a file while it is still sent: its status and reason arrive, over gRPC and over HTTP."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma_common.reasons import DOMAIN
from tests.calls import reason
from tests.nats_server import NatsServer
from tests.ports import free_port
from tests.process import ServiceProcess

CALLS = 200
AT_ONCE = 4
CHUNK = b"x" * 1000
CHUNKS = 200
BLOCK = b"x" * (1 << 20)
BLOCKS = 6
"""The gateway passes on what it receives over HTTP by the MiB."""


def refuse_after_first_message() -> grpc.GenericRpcHandler:
    """An embedder that refuses every file after its first message, up to 3 ms later."""
    delays = random.Random(0)

    def refuse(messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        next(messages)
        time.sleep(delays.uniform(0, 0.003))
        status = Status(code=5, message="no dataset d")
        status.details.add().Pack(ErrorInfo(reason="DATASET_NOT_FOUND", domain=DOMAIN))
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(grpc.StatusCode.NOT_FOUND, status.message)

    handlers = {"ImportDocuments": grpc.stream_unary_rpc_method_handler(refuse)}
    return grpc.method_handlers_generic_handler("prisma.embedder.v1.EmbedderService", handlers)


@dataclass(frozen=True)
class Gateway:
    address: str
    url: str


@pytest.fixture
def gateway(nats_server: NatsServer, tmp_path: Path) -> Iterator[Gateway]:
    embedder = grpc.server(ThreadPoolExecutor(2 * AT_ONCE))
    embedder.add_generic_rpc_handlers((refuse_after_first_message(),))
    port = embedder.add_insecure_port("127.0.0.1:0")
    embedder.start()
    http = f"127.0.0.1:{free_port()}"
    settings = {
        "PRISMA_NATS_URL": nats_server.url,
        "PRISMA_EMBEDDER_ADDRESS": f"127.0.0.1:{port}",
        "PRISMA_HTTP_LISTEN": http,
    }
    process = ServiceProcess("gateway", tmp_path, settings)
    process.start()
    yield Gateway(process.address, f"http://{http}")
    process.kill()
    embedder.stop(None)


def test_a_refusal_arrives_over_grpc_while_the_file_is_sent(gateway: Gateway) -> None:
    def messages() -> Iterator[pb2.ImportDocumentsRequest]:
        yield pb2.ImportDocumentsRequest(config=pb2.ImportDocumentsRequest.Config(dataset="datasets/d"))
        for _ in range(CHUNKS):
            yield pb2.ImportDocumentsRequest(chunk=CHUNK)

    with grpc.insecure_channel(gateway.address) as channel, ThreadPoolExecutor(AT_ONCE) as pool:
        stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)

        def answer(_: int) -> tuple[grpc.StatusCode, str]:
            with pytest.raises(grpc.RpcError) as caught:
                stub.ImportDocuments(messages())
            error: Any = caught.value
            return error.code(), reason(error)

        answers = Counter(pool.map(answer, range(CALLS)))
    assert answers == {(grpc.StatusCode.NOT_FOUND, "DATASET_NOT_FOUND"): CALLS}


def test_a_refusal_arrives_over_http_while_the_file_is_sent(gateway: Gateway) -> None:
    def answer(_: int) -> tuple[int, str]:
        body = (BLOCK for _ in range(BLOCKS))
        response = httpx.post(f"{gateway.url}/v1/datasets/d/documents:import", content=body, trust_env=False)
        return response.status_code, response.json()["error"]["details"][0].get("reason")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = Counter(pool.map(answer, range(CALLS)))
    assert answers == {(404, "DATASET_NOT_FOUND"): CALLS}
