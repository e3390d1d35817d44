"""What the interpreter asks of the embedder, over real gRPC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc.aio

from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma.embedder.v1.resources_pb2 import Document, Passage
from services.interpreter.settings import InterpreterSettings
from services.interpreter.upstream import Upstream

TEXT = "x" * (1 << 20)
COUNT = 70


class LongDocuments(embedder_service_pb2_grpc.EmbedderServiceServicer):
    """Documents of the longest texts, each with two passages, but the last."""

    async def BatchGetDocuments(self, request: Any, context: Any) -> pb2.BatchGetDocumentsResponse:
        documents: list[Document] = []
        for name in request.names:
            number = int(name)
            passages = [Passage(row=2 * number), Passage(row=2 * number + 1)] if number < COUNT - 1 else []
            documents.append(Document(name=name, text=TEXT, row=1000 + number, passages=passages))
        return pb2.BatchGetDocumentsResponse(documents=documents)


async def test_rows_of_long_documents_fit_into_messages(tmp_path: Path) -> None:
    server = grpc.aio.server()
    embedder_service_pb2_grpc.add_EmbedderServiceServicer_to_server(LongDocuments(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    upstream = Upstream(InterpreterSettings(data_dir=tmp_path, embedder_address=f"127.0.0.1:{port}"))
    try:
        rows = await upstream.rows("datasets/d", [str(number) for number in range(COUNT)])
    finally:
        await upstream.close()
        await server.stop(None)
    expected = [[2 * number, 2 * number + 1] for number in range(COUNT - 1)]
    assert [of_document.tolist() for of_document in rows] == [*expected, [1000 + COUNT - 1]]
