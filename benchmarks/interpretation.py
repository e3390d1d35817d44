"""The interpretation of a run at several numbers of documents: what each step, each analysis and a steered search cost.

For each size it starts a local stack as `benchmarks search` does, imports descriptions of Debian packages (or another
corpus of `benchmarks truth`) with the packages' families as metadata, embeds them, trains a run as `auto` sizes it,
computes statistics, labels 320 features, then the others, labels them a second time, builds families, analyses, steers,
and adds 1,000 documents, which codes, statistics, exports and searches then cover. `cpu` is that of all processes of
the stack and of those that they have ended, what goes on beside a step (indexing) included.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks import corpora, search
from benchmarks.search import DATASET, RUN, Stack
from prisma.interpreter.v1 import resources_pb2
from prisma_client import Prisma
from prisma_client.sync.datasets import Dataset
from prisma_client.sync.runs import Run

Record = dict[str, Any]
Result = TypeVar("Result")

LABELLED = 320
ADDED = 1000
STEERED = 50
TOP = 20
WEIGHTS = (-2, 0, 2)
QUERIES = ("library for reading images", "server for mail", "tools for the terminal", "game with cards")


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `python -m benchmarks interpretation` takes."""
    parser.add_argument("--sizes", type=int, nargs="+", default=[5_000, 60_000], help="numbers of documents")
    parser.add_argument("--folder", type=Path, help="where to keep the data while it runs; a temporary one by default")
    parser.add_argument("--corpus", choices=corpora.names(), default="debian-long", help="what the documents are")
    default = Path(sys.executable).parent / "prisma"
    parser.add_argument("--command", type=Path, default=default, help="the `prisma` command of the stack to measure")
    parser.add_argument("--subject", default="prisma", help="name of the measured installation in the records")


def run(options: argparse.Namespace) -> list[Record]:
    """Measures each size."""
    texts = corpora.read(options.corpus)
    groups = Counter(text.group for text in texts)
    documents = [
        {"id": str(number), "text": text.text, "family": text.group if groups[text.group] > ADDED // 20 else "other"}
        for number, text in enumerate(texts)
    ]
    records: list[Record] = []
    for size in options.sizes:
        places = np.random.default_rng(0).permutation(len(documents))[: size + ADDED].tolist()
        with (
            tempfile.TemporaryDirectory(dir=options.folder) as folder,
            search.stack(Path(folder), options.command) as stack,
            Prisma(stack.http, seconds=3600) as prisma,
        ):
            measurement = _Measurement(options.subject, stack, len(places) - ADDED)
            records += measurement.run(prisma, [documents[place] for place in places], Path(folder))
    return records


class _Measurement:
    """One number of documents in a stack of its own."""

    def __init__(self, subject: str, stack: Stack, size: int) -> None:
        self._subject = subject
        self._stack = stack
        self._size = size
        self._records: list[Record] = []

    def run(self, prisma: Prisma, documents: list[dict[str, str]], folder: Path) -> list[Record]:
        """All steps, in the order in which a user takes them. documents: the last ones are added after labelling."""
        data = self._step(
            "import", lambda: prisma.datasets.create("Debian", documents[: self._size], dataset_id=DATASET)
        )
        self._step("embedding", data.embed)
        trained = self._step("training with pilots and siblings", lambda: data.train(run_id=RUN))
        self._step("statistics", trained.compute_statistics)
        self._step(f"{LABELLED} labels", lambda: trained.label(limit=LABELLED))
        self._step("all other labels", trained.label)
        self._step(f"{LABELLED} labels, again", lambda: trained.label(limit=LABELLED, relabel=True))
        self._step("families", trained.build_families)
        self._analyses(data, trained, documents[0]["text"], documents[1]["text"])
        self._steering(data, trained, folder)
        labels = _labels(trained)
        self._step(f"{ADDED} more documents, embedded", lambda: (data.add(documents[self._size :]), data.embed()))
        search.settle(self._stack)
        self._step(f"statistics with {ADDED} more", trained.compute_statistics)
        self._coverage(data, trained, documents[self._size :], folder)
        changed = sum(text != labels.get(index) for index, text in _labels(trained).items())
        self._record(f"with {ADDED} more", "labels that changed by themselves", changed, "")
        self._step(f"{LABELLED} labels with {ADDED} more", lambda: trained.label(limit=LABELLED, relabel=True))
        counts = trained.interpretation().trust_counts
        for name in ("trusted", "open", "doubtful", "unnamed"):
            self._record("features", name, getattr(counts, name), "")
        return self._records

    def _analyses(self, data: Dataset, run: Run, first: str, second: str) -> None:
        analyses = run.analyses
        document = next(iter(data.documents(limit=1))).name
        calls: Mapping[str, Callable[[], object]] = {
            "AnalyzeText": lambda: run.explain(first),
            "AttributeSentences": lambda: analyses.attribute_sentences(f"{first}. {second}."),
            "ExplainSimilarity": lambda: analyses.explain_similarity(first, second),
            "AssociateMetadata": lambda: analyses.associate_metadata("family"),
            "CompareDatasets": lambda: analyses.compare_datasets('metadata.family = "lib"'),
            "CorrelateFeatures": analyses.correlate_features,
            "FindFeatures": lambda: analyses.find_features([document, first], [second]),
            "FitClassifier": lambda: analyses.fit_classifier('metadata.family = "python3"'),
        }
        for name, call in calls.items():
            self._step(name, call)

    def _steering(self, data: Dataset, run: Run, folder: Path) -> None:
        """The share of the first hits that have a trusted feature, by its weight, and how exactly parts add up."""
        trusted = list(run.features.list(filter="trust = TRUSTED", limit=1000))
        places = np.random.default_rng(0).permutation(len(trusted))[:STEERED].tolist()
        holders = _holders([trusted[place] for place in places], run, folder)
        for mode in search.MODES:
            shares: dict[int, list[float]] = {weight: [] for weight in WEIGHTS}
            remainder = 0.0
            for number, (feature, documents) in enumerate(holders.items()):
                query = QUERIES[number % len(QUERIES)]
                for weight in WEIGHTS:
                    boost: dict[int | str | tuple[int, ...], float] | None = (
                        {feature: float(weight)} if weight else None
                    )
                    hits = data.search(query, mode=mode, run=run, limit=TOP, boost=boost).hits
                    shares[weight].append(sum(hit.key in documents for hit in hits) / max(1, len(hits)))
                    for hit in hits:
                        remainder = max(remainder, abs(hit.score - sum(part.contribution for part in hit.parts)))
            for weight, values in shares.items():
                self._record(f"steering, {mode}", f"share at {weight:+}", float(np.mean(values)), "")
            self._record(f"steering, {mode}", "largest remainder of the parts", remainder, "")

    def _coverage(self, data: Dataset, run: Run, added: Sequence[Mapping[str, str]], folder: Path) -> None:
        """How many documents have codes, statistics and a place in exports, and whether searches find those added."""
        case = f"with {len(added):,} more"
        file = folder / "covered.jsonl"
        run.export_activations(file)
        keys = {json.loads(line)["key"] for line in file.read_text(encoding="utf-8").splitlines()}
        texts = added[:: max(1, len(added) // 100)]
        hits = [data.search(text["text"], mode="sparse", run=run, limit=TOP).hits for text in texts]
        is_found = [text["id"] in {hit.key for hit in page} for text, page in zip(texts, hits, strict=True)]
        self._record(case, "documents with codes", run.refresh().message.code_count, "")
        self._record(case, "documents in statistics", run.interpretation().row_count, "")
        self._record(case, "documents in the export", len(keys), "")
        self._record(case, "added documents in the export", len(keys & {text["id"] for text in added}), "")
        self._record(
            case, f"added among the first {TOP} of a sparse search for their text", float(np.mean(is_found)), ""
        )

    def _step(self, step: str, work: Callable[[], Result]) -> Result:
        start, before = time.perf_counter(), self._cpu_seconds()
        result = work()
        seconds = time.perf_counter() - start
        self._record(step, "wall time", seconds, "s")
        self._record(step, "cpu", self._cpu_seconds() - before, "s")
        return result

    def _cpu_seconds(self) -> float:
        """CPU time of all processes and of those that they have started and that have ended."""
        times = [process.cpu_times() for process in self._stack.processes.values()]
        return sum(used.user + used.system + used.children_user + used.children_system for used in times)

    def _record(self, case: str, metric: str, value: float, unit: str) -> None:
        names = {"benchmark": "interpretation", "subject": self._subject, "case": f"{self._size:,} documents, {case}"}
        self._records.append({**names, "metric": metric, "value": value, "unit": unit})


def _labels(run: Run) -> dict[int, str]:
    """The texts of all labels, by feature."""
    return {feature.index: feature.label.text for feature in run.features.list(limit=10_000)}


def _holders(features: Sequence[resources_pb2.Feature], run: Run, folder: Path) -> dict[int, set[str]]:
    """For each feature the keys of the documents in which it reaches its threshold."""
    thresholds = {feature.index: feature.threshold for feature in features}
    holders: dict[int, set[str]] = {feature.index: set() for feature in features}
    file = folder / "activations.jsonl"
    run.export_activations(file)
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            document = json.loads(line)
            for index, activation in zip(document["indices"], document["activations"], strict=True):
                if index in holders and activation >= thresholds[index]:
                    holders[index].add(document["key"])
    return holders
