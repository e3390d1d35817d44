"""Search: how long one takes, and the CPU time it costs in each process.

Starts a local stack on free ports and a data folder of its own, loads the sample (the docstrings of the standard
library), embeds it, trains and labels a run, and waits until the index is current and all processes are idle. Then one
client sends distinct queries one after the other in each mode, over gRPC (to the search service) and over HTTP (to the
gateway, on one connection). `--command` measures another installation with the same queries.

`--opensearch URL` has PRISMA keep its index in that cluster, and measures it beside the cluster's own bare queries on
the same data (`opensearch_queries.py`).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import httpx
import numpy as np
import psutil

from benchmarks import engines
from benchmarks.opensearch_queries import BareSearch, bare_search
from prisma.search.v1 import search_service_pb2 as pb2
from prisma.search.v1 import search_service_pb2_grpc
from prisma_client import Prisma, sample
from tests.ports import free_port

Record = dict[str, Any]
Request = pb2.SearchDocumentsRequest
Search = Callable[[str, bool, str], None]
"""Searches once: mode, whether features are shown, query."""

DATASET, RUN = "sample", "sample-run"
MODES = ("full_text", "semantic", "sparse", "hybrid")
QUERY_WORDS = 6
WARM_UP = 20
IDLE_SHARE = 0.05
"""A process is idle when it uses less than this share of a core."""
SETTLE_SECONDS = 120.0
PROCESSES = ("embedder", "trainer", "interpreter", "search", "gateway", "nats")


@dataclass(frozen=True)
class Stack:
    """A running stack: its addresses, and its processes by name."""

    http: str
    search: str
    data: Path
    """PRISMA_DATA_DIR."""
    processes: Mapping[str, psutil.Process]

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time of each process and its ended children so far, user and system, in seconds."""
        times = {name: process.cpu_times() for name, process in self.processes.items()}
        return {
            name: used.user + used.system + used.children_user + used.children_system for name, used in times.items()
        }


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `python -m benchmarks search` takes."""
    parser.add_argument("--count", type=int, default=200, help="searches measured in each case")
    parser.add_argument("--documents", type=int, default=0, help="documents of the sample to load; 0 for all")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of the run's training")
    parser.add_argument("--engines", type=int, default=0, help="documents to compare engines with, without a stack")
    default = Path(sys.executable).parent / "prisma"
    parser.add_argument("--command", type=Path, default=default, help="the `prisma` command of the stack to measure")
    parser.add_argument("--opensearch", help="address of an OpenSearch that PRISMA is to use, and to be compared with")
    parser.add_argument("--subject", default="prisma", help="name of the measured installation in the records")


def run(options: argparse.Namespace) -> list[Record]:
    """All records."""
    if options.engines:
        return engines.run(options.engines, options.count)
    documents = list(islice(sample.documents(), options.documents or None))
    texts = queries_of_cases(documents, len(TRANSPORTS) * len(cases()), WARM_UP + options.count)
    records: list[Record] = []

    def record(case: str, metric: str, value: float, unit: str) -> None:
        names = {"benchmark": "search", "subject": options.subject, "case": f"{len(documents)} documents, {case}"}
        records.append({**names, "metric": metric, "value": value, "unit": unit})

    prefix = f"benchmark{uuid4().hex[:8]}"
    extra = {"PRISMA_OPENSEARCH_URL": options.opensearch or "", "PRISMA_OPENSEARCH_PREFIX": prefix}
    with tempfile.TemporaryDirectory() as folder, stack(Path(folder), options.command, extra) as running:
        record("loading", "seconds", _load(running, documents, options.epochs), "s")
        settle(running)
        if options.opensearch:
            with _grpc_search(running) as search, bare_search(options.opensearch, prefix) as bare:
                records += _beside(search, bare, texts.pop(), f"{len(documents)} documents")
            with Prisma(running.http) as prisma:
                prisma.datasets.get(DATASET).delete()
            return records
        for transport, connect in TRANSPORTS.items():
            with connect(running) as search:
                for mode, features in cases():
                    measures = measure(running, partial(search, mode, features), texts.pop())
                    for metric, value in measures.items():
                        case = f"{mode}{' with features' if features else ''}, {transport}"
                        record(case, metric, value, "ms")
    return records


def _beside(search: Search, bare: BareSearch, texts: Sequence[str], corpus: str) -> list[Record]:
    """PRISMA on OpenSearch and the bare queries, in turn, so that both meet the same moments of the machine."""
    records: list[Record] = []
    for mode in MODES:
        subjects: dict[str, Callable[[str], None]] = {
            "prisma": partial(search, mode, mode == "sparse"),
            "opensearch": partial(bare, mode),
        }
        milliseconds: dict[str, list[float]] = {subject: [] for subject in subjects}
        for query in texts:
            for subject, search_once in subjects.items():
                start = time.perf_counter()
                search_once(query)
                milliseconds[subject].append((time.perf_counter() - start) * 1000)
        measures = [
            (subject, f"p{percent}", float(np.percentile(times[WARM_UP:], percent)), "ms")
            for subject, times in milliseconds.items()
            for percent in (50, 99)
        ]
        measures.append(("prisma", "p50 ÷ bare p50", measures[0][2] / measures[2][2], "x"))
        records += [
            {
                "benchmark": "search",
                "subject": subject,
                "case": f"{corpus}, {mode} on OpenSearch, gRPC",
                "metric": metric,
                "value": value,
                "unit": unit,
            }
            for subject, metric, value, unit in measures
        ]
    return records


def cases() -> list[tuple[str, bool]]:
    """Modes, and whether features are shown."""
    return [(mode, features) for mode in MODES for features in (False, True) if features or mode != "sparse"]


def measure(stack: Stack, search: Callable[[str], None], texts: Sequence[str]) -> dict[str, float]:
    """Wall time percentiles and CPU time by process of one search, in milliseconds."""
    for query in texts[:WARM_UP]:
        search(query)
    measured = texts[WARM_UP:]
    before = stack.cpu_seconds()
    milliseconds: list[float] = []
    for query in measured:
        start = time.perf_counter()
        search(query)
        milliseconds.append((time.perf_counter() - start) * 1000)
    after = stack.cpu_seconds()
    cpu = {name: (after[name] - before[name]) * 1000 / len(measured) for name in stack.processes}
    return {
        "p50": float(np.percentile(milliseconds, 50)),
        "p99": float(np.percentile(milliseconds, 99)),
        "cpu_all": sum(cpu.values()),
        **{f"cpu_{name}": cpu[name] for name in PROCESSES if name in cpu},
    }


def queries_of_cases(documents: Iterable[Mapping[str, Any]], case_count: int, query_count: int) -> list[list[str]]:
    """The queries of each case: those of any two differ, since the service keeps vectors and codes of queries."""
    texts = list(islice(queries(documents), case_count * query_count))
    return [texts[case::case_count] for case in range(case_count)]


def queries(documents: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Distinct queries: some words out of the middle of one document after another."""
    distinct: set[str] = set()
    for number, document in enumerate(cycle(documents)):
        words = document["text"].split()
        start = (7 * number) % max(1, len(words) - QUERY_WORDS)
        query = " ".join(words[start : start + QUERY_WORDS])
        if query not in distinct:
            distinct.add(query)
            yield query


@contextlib.contextmanager
def stack(folder: Path, command: Path, settings: Mapping[str, str] | None = None) -> Generator[Stack]:
    """A stack on free ports, stopped at the end. settings: more environment variables."""
    services = ("EMBEDDER", "TRAINER", "INTERPRETER", "SEARCH", "GATEWAY", "NATS")
    addresses = {name: f"127.0.0.1:{free_port()}" for name in services}
    http = f"127.0.0.1:{free_port()}"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PRISMA_")},
        **{f"PRISMA_{name}_LISTEN": address for name, address in addresses.items()},
        "PRISMA_HTTP_LISTEN": http,
        "PRISMA_DATA_DIR": str(folder / "data"),
        "PRISMA_OLLAMA_URL": "http://127.0.0.1:9",
        **(settings or {}),
    }
    with (folder / "log").open("wb") as log:
        stack = subprocess.Popen(
            [command, "up"], env=environment, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder
        )
        try:
            assert stack.stdout is not None
            if "PRISMA is up" not in stack.stdout.readline():
                raise SystemExit(f"the stack did not start:\n{(folder / 'log').read_text()}")
            yield Stack(f"http://{http}", addresses["SEARCH"], folder / "data", _processes(stack.pid))
        finally:
            stack.terminate()
            stack.wait(30)


def _processes(parent: int) -> dict[str, psutil.Process]:
    """The stack's processes by name."""
    processes: dict[str, psutil.Process] = {}
    for process in psutil.Process(parent).children():
        command = " ".join(process.cmdline())
        name = next((name for name in PROCESSES if f"services.{name}" in command or f"-m {name}" in command), "nats")
        processes[name] = process
    return processes


def _load(stack: Stack, documents: list[dict[str, str]], epochs: int) -> float:
    """Imports, embeds, trains and labels; returns after the index is current, with the seconds that all took."""
    start = time.perf_counter()
    with Prisma(stack.http) as prisma:
        data = prisma.datasets.create("Sample", documents, dataset_id=DATASET)
        data.embed()
        trained = data.train(run_id=RUN, epochs=epochs)
        trained.compute_statistics()
        trained.label()
        while not ((status := data.index_status()).current and len(status.streams) == 4):
            time.sleep(0.1)
    return time.perf_counter() - start


def settle(stack: Stack) -> None:
    """Returns once every process is idle."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        before = stack.cpu_seconds()
        time.sleep(2)
        after = stack.cpu_seconds()
        if all(after[name] - before[name] < 2 * IDLE_SHARE for name in before):
            return
    raise SystemExit(f"the stack is not idle after {SETTLE_SECONDS:.0f} s")


@contextlib.contextmanager
def _grpc_search(stack: Stack) -> Generator[Search]:
    with grpc.insecure_channel(stack.search) as channel:
        stub = search_service_pb2_grpc.SearchServiceStub(channel)

        def search(mode: str, features: bool, query: str) -> None:
            run = f"runs/{RUN}" if features else ""
            parent = f"datasets/{DATASET}"
            stub.SearchDocuments(Request(parent=parent, query=query, mode=f"MODE_{mode.upper()}", run=run))

        yield search


@contextlib.contextmanager
def _http_search(stack: Stack) -> Generator[Search]:
    with httpx.Client(base_url=stack.http, timeout=60) as client:

        def search(mode: str, features: bool, query: str) -> None:
            body = {"query": query, "mode": f"MODE_{mode.upper()}", "run": f"runs/{RUN}" if features else ""}
            client.post(f"/v1/datasets/{DATASET}/documents:search", json=body).raise_for_status()

        yield search


TRANSPORTS = {"gRPC": _grpc_search, "HTTP": _http_search}
