"""The whole stack at several numbers of documents: CPU time per row of import, embedding and indexing, and of a search.

For each size it starts a local stack as `benchmarks search` does, sends short texts over HTTP, embeds them with the
default model, and waits each time until the search index is current. CPU time is given by process, so that a step and
the indexing that goes on beside it can be told apart: `search` indexes, the others import and embed. Texts are drawn
from the words of the sample (the docstrings of the standard library), each as often as it occurs there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import search
from benchmarks.search import DATASET, RUN, Stack
from prisma_client import Prisma, sample
from prisma_client.sync.datasets import Dataset

Record = dict[str, Any]

TEXT_WORDS = 9
CHUNK_LINES = 2000
POLL_SECONDS = 1.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `python -m benchmarks scale` takes."""
    parser.add_argument("--sizes", type=int, nargs="+", default=[5_000, 10_000, 100_000], help="numbers of documents")
    parser.add_argument("--searched", type=int, nargs="*", default=[5_000, 100_000], help="sizes that are searched too")
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
            self._step("import", data, lambda: data.add_chunks(_chunks(self._size)))
            self._step("embedding", data, data.embed)
            assert data.refresh().message.embedded_count == self._size
            if self._size in self._options.searched:
                train = partial(data.train, run_id=RUN, epochs=1, expansion=4, k=32)
                self._step("training and indexing of codes", data, train)
                self._search()
        for name, process in self._stack.processes.items():
            self._record("at the end", f"memory of {name}", process.memory_info().rss / 2**20, "MiB")
        return self._records

    def _step(self, step: str, data: Dataset, work: Callable[[], object]) -> None:
        """CPU time per row of a step, until the index is current again, by process."""
        start, before = time.perf_counter(), self._stack.cpu_seconds()
        work()
        self._record(step, "wall time", 1e6 * (time.perf_counter() - start) / self._size, "us/row")
        while not data.index_status().current:
            time.sleep(POLL_SECONDS)
        after = self._stack.cpu_seconds()
        for name in before:
            self._record(step, f"cpu_{name}", 1e6 * (after[name] - before[name]) / self._size, "us/row")

    def _search(self) -> None:
        search.settle(self._stack)
        queries = list(islice(search.queries(_documents(self._size)), search.WARM_UP + self._options.count))
        for transport, connect in search.TRANSPORTS.items():
            with connect(self._stack) as send:
                for mode, features in search.cases():
                    measures = search.measure(self._stack, partial(send, mode, features), queries)
                    for metric, value in measures.items():
                        self._record(f"{mode}{' with features' if features else ''}, {transport}", metric, value, "ms")

    def _record(self, case: str, metric: str, value: float, unit: str) -> None:
        names = {"benchmark": "scale", "subject": self._options.subject, "case": f"{self._size:,} documents, {case}"}
        self._records.append({**names, "metric": metric, "value": value, "unit": unit})


def _chunks(count: int) -> Iterator[bytes]:
    """The documents as JSONL."""
    documents = iter(_documents(count))
    while lines := [json.dumps(document).encode() + b"\n" for document in islice(documents, CHUNK_LINES)]:
        yield b"".join(lines)


def _documents(count: int) -> Iterator[dict[str, Any]]:
    """Short texts, the same ones in each run."""
    frequencies = Counter(word for document in sample.documents() for word in document["text"].split())
    words = sorted(frequencies)
    shares = np.array([frequencies[word] for word in words], dtype=np.float64)
    generator = np.random.default_rng(0)
    for start in range(0, count, CHUNK_LINES):
        size = min(CHUNK_LINES, count - start)
        for number, places in enumerate(generator.choice(len(words), (size, TEXT_WORDS), p=shares / shares.sum())):
            text = " ".join(words[place] for place in places)
            yield {"id": f"text-{start + number}", "text": text, "source": "even" if number % 2 == 0 else "odd"}
