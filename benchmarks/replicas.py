"""Embedders that share one job: rows per second and CPU time of 1, 2 and 4 of them.

Each number of embedders starts on a message server, a PostgreSQL database and a folder as object store of its own. The
texts are the first lines of the sample, each with its number in front; they are embedded by the built-in model, which
needs nothing but CPU time: on fewer cores than embedders, more of them give no more rows. With `--delay`, a server that
speaks OpenAI's protocol makes the vectors, and takes that long for each request, as a remote model does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import grpc.aio
import psutil

from prisma.common.v1 import job_pb2_grpc
from prisma.common.v1.job_pb2 import GetJobRequest, Job
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma_client import sample
from tests.broken_openai import broken_openai
from tests.nats_server import NatsServer
from tests.postgres_server import HOW, PostgresServer, binaries
from tests.process import ServiceProcess, start_all

Record = dict[str, Any]
CHUNK = 1 << 20
LOOK_SECONDS = 0.2
BATCH = 128
"""Texts of a request to the remote model."""
ENDED = (Job.STATE_SUCCEEDED, Job.STATE_FAILED, Job.STATE_CANCELLED)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4], help="numbers of embedders")
    parser.add_argument("--documents", type=int, default=100_000, help="number of documents")
    parser.add_argument("--part", type=int, default=4096, help="documents of a part of the job (PRISMA_EMBED_PART)")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds of a remote model's answer")


def run(options: argparse.Namespace) -> list[Record]:
    """Measures each number of embedders."""
    programs = binaries()
    if programs is None:
        raise SystemExit(HOW)
    records: list[Record] = []
    for count in options.counts:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            nats = NatsServer(folder / "nats")
            nats.start()
            stack.callback(nats.kill)
            postgres = PostgresServer(programs)
            stack.callback(postgres.stop)
            postgres.start()
            settings = {
                "PRISMA_NATS_URL": nats.url,
                "PRISMA_DATABASE_URL": postgres.create_database(),
                "PRISMA_EMBED_PART": str(options.part),
            }
            model = ""
            if options.delay:
                server = stack.enter_context(broken_openai(request_seconds=options.delay))
                settings["PRISMA_PROVIDERS"] = str(folder / "providers.toml")
                (folder / "providers.toml").write_text(f'[providers.lab]\nurl = "{server.url}"\nmax_batch = {BATCH}\n')
                model = "lab/good"
            processes = _embedders(folder, count, settings)
            for process in processes:
                stack.callback(process.kill)
            start_all(*processes)
            records += asyncio.run(_measured(processes, options.documents, model))
    return records


def _embedders(folder: Path, count: int, settings: dict[str, str]) -> list[ServiceProcess]:
    (folder / "objects").mkdir()
    processes: list[ServiceProcess] = []
    for number in range(count):
        own = folder / f"embedder-{number}"
        own.mkdir()
        common = {**settings, "PRISMA_BLOB_URL": (folder / "objects").as_uri()}
        processes.append(ServiceProcess("embedder", own, common))
    return processes


async def _measured(processes: Sequence[ServiceProcess], document_count: int, model: str) -> list[Record]:
    async with grpc.aio.insecure_channel(processes[0].address) as channel:
        stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
        jobs = job_pb2_grpc.JobServiceStub(channel)
        await stub.CreateDataset(pb2.CreateDatasetRequest(dataset_id="d", dataset={"embedding_model": model}))
        await stub.ImportDocuments(_messages(document_count))
        start, cpu = time.perf_counter(), _cpu_seconds(processes)
        job = await stub.EmbedDataset(pb2.EmbedDatasetRequest(name="datasets/d"))
        while job.state not in ENDED:
            await asyncio.sleep(LOOK_SECONDS)
            job = await jobs.GetJob(GetJobRequest(name=job.name))
        seconds, cpu = time.perf_counter() - start, _cpu_seconds(processes) - cpu
        dataset = await stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d"))
    if job.state != Job.STATE_SUCCEEDED or dataset.embedded_count != document_count:
        raise SystemExit(f"{dataset.embedded_count} of {document_count} documents were embedded: {job}")
    metrics = [
        ("rows per second", document_count / seconds, "rows/s"),
        ("time", seconds, "s"),
        ("CPU time of the embedders", cpu, "s"),
    ]
    case = f"{document_count:,} documents, {len(processes)} embedders"
    return [
        {"benchmark": "replicas", "subject": "prisma", "case": case, "metric": metric, "value": value, "unit": unit}
        for metric, value, unit in metrics
    ]


async def _messages(document_count: int) -> AsyncIterator[pb2.ImportDocumentsRequest]:
    texts = [document["text"].partition("\n")[0] for document in sample.documents()]
    lines = (json.dumps({"text": f"{n} {text}"}) for n, text in enumerate(islice(cycle(texts), document_count)))
    yield pb2.ImportDocumentsRequest(config={"dataset": "datasets/d"})
    data = "\n".join(lines).encode()
    for start in range(0, len(data), CHUNK):
        yield pb2.ImportDocumentsRequest(chunk=data[start : start + CHUNK])


def _cpu_seconds(processes: Sequence[ServiceProcess]) -> float:
    times = [psutil.Process(process.pid).cpu_times() for process in processes]
    return sum(spent.user + spent.system for spent in times)
