"""The whole stack at several numbers of documents: time, CPU time, memory and disk of each step, and of a search.

For each size it starts a local stack as `benchmarks search` does, sends short texts over HTTP, embeds them with the
default model, and waits each time until the search index is current; sizes that are searched are trained, interpreted
and searched too. CPU time is given by process, so that a step and the indexing that goes on beside it can be told
apart: `search` indexes, the others import and embed. Memory is what processes have of their own, mapped files left out.
Texts are those of a file, or drawn from the words of the sample (the docstrings of the standard library), each as often
as it occurs there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import psutil

from benchmarks import search
from benchmarks.search import DATASET, RUN, Stack
from prisma_client import Prisma, sample
from prisma_client.sync.datasets import Dataset

Record = dict[str, Any]
_Result = TypeVar("_Result")

TEXT_WORDS = 9
CHUNK_LINES = 2000
POLL_SECONDS = 1.0
MEMORY_SECONDS = 0.25


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `python -m benchmarks scale` takes."""
    parser.add_argument("--sizes", type=int, nargs="+", default=[5_000, 10_000, 100_000], help="numbers of documents")
    parser.add_argument("--searched", type=int, nargs="*", default=[5_000, 100_000], help="sizes that are searched too")
    parser.add_argument("--texts", type=Path, help="a file with one text a line, in place of drawn words")
    parser.add_argument("--epochs", type=int, help="of the training; with it, the size is 4 times the dimension")
    parser.add_argument("--count", type=int, default=200, help="searches measured in each case")
    parser.add_argument("--folder", type=Path, help="where to keep the data while it runs; a temporary one by default")
    default = Path(sys.executable).parent / "prisma"
    parser.add_argument("--command", type=Path, default=default, help="the `prisma` command of the stack to measure")
    parser.add_argument("--subject", default="prisma", help="name of the measured installation in the records")


def run(options: argparse.Namespace) -> list[Record]:
    """Measures each size."""
    records: list[Record] = []
    for size in options.sizes:
        with (
            tempfile.TemporaryDirectory(dir=options.folder) as folder,
            search.stack(Path(folder), options.command) as stack,
        ):
            records += _Measurement(options, stack, size).run()
    return records


class _Measurement:
    """One number of documents in a stack of its own."""

    def __init__(self, options: argparse.Namespace, stack: Stack, size: int) -> None:
        self._options = options
        self._stack = stack
        self._size = size
        self._records: list[Record] = []

    def run(self) -> list[Record]:
        """All steps, in the order in which a user takes them."""
        with Prisma(self._stack.http, seconds=3600) as prisma:
            data = prisma.datasets.create("Scale", dataset_id=DATASET)
            self._step("import", data, lambda: data.add_chunks(self._chunks()))
            self._step("embedding", data, data.embed)
            assert data.refresh().message.embedded_count == self._size
            if self._size in self._options.searched:
                self._interpret(data)
                self._search()
        for name, process in self._stack.processes.items():
            self._record("at the end", f"memory of {name}", process.memory_info().rss / 2**20, "MiB")
            self._record("at the end", f"disk of {name}", _disk_mib(self._stack.data / name), "MiB")
        return self._records

    def _interpret(self, data: Dataset) -> None:
        """Training and all that follows it, step by step."""
        epochs = self._options.epochs
        config = {"auto": False, "expansion": 4, "k": 32, "epochs": epochs} if epochs else {}
        run = self._step("training and indexing of codes", data, partial(data.train, run_id=RUN, **config))
        self._step("statistics", data, run.compute_statistics)
        self._step("keyword labels", data, run.label)
        self._step("families", data, run.build_families)

    def _step(self, step: str, data: Dataset, work: Callable[[], _Result]) -> _Result:
        """Time of a step until the index is current again, CPU time and peak memory by process."""
        start, before = time.perf_counter(), self._stack.cpu_seconds()
        with _PeakMemory(self._stack.processes) as peak:
            result = work()
            self._record(step, "wall time", 1e6 * (time.perf_counter() - start) / self._size, "us/row")
            while not data.index_status().current:
                time.sleep(POLL_SECONDS)
        self._record(step, "wall time with indexing", time.perf_counter() - start, "s")
        after = self._stack.cpu_seconds()
        for name in before:
            self._record(step, f"cpu_{name}", 1e6 * (after[name] - before[name]) / self._size, "us/row")
            self._record(step, f"peak memory of {name}", peak.mib[name], "MiB")
        return result

    def _search(self) -> None:
        search.settle(self._stack)
        queries = list(islice(search.queries(self._documents()), search.WARM_UP + self._options.count))
        for transport, connect in search.TRANSPORTS.items():
            with connect(self._stack) as send:
                for mode, features in search.cases():
                    measures = search.measure(self._stack, partial(send, mode, features), queries)
                    for metric, value in measures.items():
                        self._record(f"{mode}{' with features' if features else ''}, {transport}", metric, value, "ms")

    def _record(self, case: str, metric: str, value: float, unit: str) -> None:
        names = {"benchmark": "scale", "subject": self._options.subject, "case": f"{self._size:,} documents, {case}"}
        self._records.append({**names, "metric": metric, "value": value, "unit": unit})

    def _chunks(self) -> Iterator[bytes]:
        """The documents as JSONL."""
        documents = iter(self._documents())
        while lines := [json.dumps(document).encode() + b"\n" for document in islice(documents, CHUNK_LINES)]:
            yield b"".join(lines)

    def _documents(self) -> Iterator[dict[str, Any]]:
        """Short texts, the same ones in each run."""
        texts = _read_texts(self._options.texts) if self._options.texts else _draw_texts()
        for number, text in enumerate(islice(texts, self._size)):
            yield {"id": f"text-{number}", "text": text, "source": "even" if number % 2 == 0 else "odd"}


class _PeakMemory:
    """The most memory that each process and its children have of their own at one time, in MiB, by name."""

    def __init__(self, processes: Mapping[str, psutil.Process]) -> None:
        self.mib = dict.fromkeys(processes, 0.0)
        self._processes = processes
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(MEMORY_SECONDS):
            for name, process in self._processes.items():
                family = [process, *process.children(recursive=True)]
                self.mib[name] = max(self.mib[name], sum(map(_own_memory, family)) / 2**20)


def _own_memory(process: psutil.Process) -> int:
    """Bytes of a process that it shares with no file or process; 0 once it has ended."""
    try:
        memory = process.memory_info()
    except psutil.NoSuchProcess:
        return 0
    return memory.rss - getattr(memory, "shared", 0)


def _disk_mib(folder: Path) -> float:
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file()) / 2**20


def _read_texts(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        yield from (line.rstrip("\n") for line in file)


def _draw_texts() -> Iterator[str]:
    frequencies = Counter(word for document in sample.documents() for word in document["text"].split())
    words = sorted(frequencies)
    shares = np.array([frequencies[word] for word in words], dtype=np.float64)
    generator = np.random.default_rng(0)
    while True:
        for places in generator.choice(len(words), (CHUNK_LINES, TEXT_WORDS), p=shares / shares.sum()):
            yield " ".join(words[place] for place in places)
