"""A server behind TLS and a key that breaks calls off, as a restart of a gateway does, and counts what it receives."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from prisma.common.v1 import job_pb2_grpc
from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma.embedder.v1.resources_pb2 import Dataset, Document

KEY = "prisma_key_of_the_clients_tests"
LARGE = 6 << 20
"""Bytes of a text that no client receives with gRPC's own limit."""


def _abort(context: grpc.ServicerContext, code: int, reason: str) -> Any:
    status = Status(code=code, message=f"refused with {reason}")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="prisma"))
    context.abort_with_status(rpc_status.to_status(status))


class Relay:
    """Passes connections on to a port, and cuts them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:{1}".format(*self._listener.getsockname())
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Ends all connections, without a farewell."""
        while self._sockets:
            connection = self._sockets.pop()
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends all connections, and takes no more."""
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                self._sockets |= {client, server}
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=_pass_on, args=(source, target), daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


class Jobs(job_pb2_grpc.JobServiceServicer):
    """jobs/broken: its connection is cut, its stream ends early and is refused before the job has succeeded.

    jobs/failing fails. cut: cuts the connections.
    """

    def __init__(self, cut: Callable[[], None]) -> None:
        self.watched: Counter[str] = Counter()
        self._cut = cut

    def WatchJob(self, request: Any, context: grpc.ServicerContext) -> Iterator[Job]:
        self.watched[request.name] += 1
        job = Job(name=request.name, kind="train-run", state=Job.STATE_RUNNING)
        yield job
        if request.name == "jobs/failing":
            job.state = Job.STATE_FAILED
            job.error.code, job.error.message = 13, "out of memory"
            job.error.details.add().Pack(error_details_pb2.ErrorInfo(reason="TRAINING_FAILED", domain="prisma"))
            yield job
            return
        match self.watched[request.name]:
            case 1:
                self._cut()
            case 2:
                return
            case 3:
                _abort(context, 14, "NATS_UNAVAILABLE")
            case _:
                job.state = Job.STATE_SUCCEEDED
                yield job


class Embedder(embedder_service_pb2_grpc.EmbedderServiceServicer):
    """Documents 0 to 4. The first call of GetDataset and of CreateDataset does not get through.

    cut: cuts the connections.
    """

    def __init__(self, cut: Callable[[], None]) -> None:
        self.calls: Counter[str] = Counter()
        self._cut = cut

    def GetDataset(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.calls["GetDataset"] += 1
        if self.calls["GetDataset"] == 1:
            self._cut()
        return Dataset(name=request.name, display_name="read again")

    def CreateDataset(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.calls["CreateDataset"] += 1
        if self.calls["CreateDataset"] == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
        return Dataset(name="datasets/twice")

    def ListDocuments(self, request: Any, context: grpc.ServicerContext) -> Any:
        start = int(request.page_token or 0)
        end = min(start + request.page_size, 5)
        documents = [Document(key=str(number)) for number in range(start, end)]
        return pb2.ListDocumentsResponse(documents=documents, next_page_token=str(end) if end < 5 else "")

    def GetDocument(self, request: Any, context: grpc.ServicerContext) -> Any:
        return Document(name=request.name, text="x" * LARGE)

    def ImportDocuments(self, request_iterator: Iterator[Any], context: grpc.ServicerContext) -> Any:
        config = next(request_iterator).config
        chunks = [message.chunk for message in request_iterator]
        documents = [json.loads(line) for line in b"".join(chunks).splitlines()]
        whole = config.dataset == "datasets/d" and len(chunks) >= 2 and all(len(chunk) <= 4 << 20 for chunk in chunks)
        valid = whole and all(document["text"] == "é" * (1 << 18) for document in documents)
        return pb2.ImportDocumentsResponse(imported_count=len(documents) if valid else 0)


class Keys(grpc.ServerInterceptor):
    """Refuses calls without the key."""

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        if ("authorization", f"Bearer {KEY}") in handler_call_details.invocation_metadata:
            return continuation(handler_call_details)
        return grpc.unary_unary_rpc_method_handler(lambda _, context: _abort(context, 16, "API_KEY_INVALID"))


class BreakingServer:
    """The server, with a certificate of `certificates`."""

    def __init__(self, certificates: Path) -> None:
        self.jobs, self.embedder = Jobs(lambda: self._relay.cut()), Embedder(lambda: self._relay.cut())
        limits = [("grpc.max_send_message_length", 64 << 20), ("grpc.max_receive_message_length", 64 << 20)]
        self._server = grpc.server(futures.ThreadPoolExecutor(8), interceptors=[Keys()], options=limits)
        job_pb2_grpc.add_JobServiceServicer_to_server(self.jobs, self._server)
        embedder_service_pb2_grpc.add_EmbedderServiceServicer_to_server(self.embedder, self._server)
        key, certificate = ((certificates / name).read_bytes() for name in ("key.pem", "certificate.pem"))
        credentials = grpc.ssl_server_credentials([(key, certificate)])
        self._relay = Relay(self._server.add_secure_port("127.0.0.1:0", credentials))
        self.address = self._relay.address
        self._server.start()

    def stop(self) -> None:
        self._relay.close()
        self._server.stop(None).wait()
