"""Whether features and labels hold: recipes, labels and families, with the peers, on texts of several kinds.

For each corpus (`benchmarks.corpora`) with the built-in embedding or, with --encoder FOLDER, a sentence encoder's (the
folder of `python -m tests.sentence_encoder FOLDER` holds MiniLM):

- recipes: `auto` for both goals, the default and `auto` of version 0 (one cycle). A tenth of the texts is the test.
  FVU on training and test rows; features that a training with another seed has too (Hungarian matching of unit decoder
  rows, cosine above .7 and .9); features that both siblings on halves of the rows have; trusted features. Labels are
  made for all features of the first recipe, and for --labelled random ones of the others: counts are scaled up.
- labels of the first recipe: see `benchmarks.truth.labels` and `benchmarks.truth.peers`.
- families of the first recipe, and with --texts FOLDER lists for readers: features to be graded, and families.

All is seeded. What is not measured is reported as left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import corpora
from benchmarks.truth import families, labels, readers, recipes
from benchmarks.truth.corpus import Corpus, Embedder, read
from benchmarks.truth.interpreted import Interpreted, sampled
from benchmarks.truth.peers import Chat
from benchmarks.truth.records import Record, Reporter
from services.chassis.errors import PrismaError

LIMIT = 22_500
"""So that a run has more than 20,000 texts where a tenth is set apart."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `python -m benchmarks truth` takes."""
    parser.add_argument("--corpora", nargs="*", default=corpora.names(), help="of " + ", ".join(corpora.names()))
    parser.add_argument("--encoder", type=Path, help="a sentence encoder's folder, instead of the built-in embedding")
    parser.add_argument("--recipes", nargs="*", default=list(recipes.RECIPES), help="the first one's labels are tested")
    parser.add_argument("--limit", type=int, default=LIMIT, help="texts of a corpus")
    parser.add_argument("--labelled", type=int, default=150, help="features of the other recipes that are labelled")
    parser.add_argument(
        "--compared", type=int, default=150, help="random features, and trusted ones, with peers' labels"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--vectors", type=Path, help="a folder in which vectors are kept for another time")
    parser.add_argument("--texts", type=Path, help="a folder for what readers are to grade")


def run(options: argparse.Namespace) -> list[Record]:
    """Records of all corpora."""
    return asyncio.run(_records(options))


async def _records(options: argparse.Namespace) -> list[Record]:
    embedder = Embedder.of_folder(options.encoder) if options.encoder else Embedder.built_in()
    records: list[Record] = []
    for name in options.corpora:
        try:
            corpus = await read(name, embedder, limit=options.limit, folder=options.vectors)
        except corpora.CorpusMissing as error:
            Reporter(records, name).leave_out("corpus", str(error))
            continue
        case = f"{corpus.name}, {len(corpus.texts):,} texts, d {corpus.vectors.shape[1]}"
        await _measure(corpus, Reporter(records, case), options)
    return records


async def _measure(corpus: Corpus, report: Reporter, options: argparse.Namespace) -> None:
    for number, recipe in enumerate(options.recipes):
        limit = options.labelled if number else None
        run = await recipes.measured(corpus, recipe, report, threads=options.threads, limit=limit)
        _write_json(report.records, options.json)
        if not number:
            await _measure_labels(run, report, options)
            _write_json(report.records, options.json)


def _write_json(records: Sequence[Record], file: Path) -> None:
    """What was measured until now, in case the rest is interrupted."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(records, indent=1) + "\n")


async def _measure_labels(run: Interpreted, report: Reporter, options: argparse.Namespace) -> None:
    features = run.features
    with_scores = [index for index, label in features.labels.items() if label.draft.scores is not None]
    indices = sampled(np.array(sorted(with_scores), np.int64), options.compared)
    if indices:
        await labels.measured(run, indices, report, await _chat(report))
    else:
        report.leave_out("labels", "no feature has enough documents to test one")
    shown_families = await families.measured(run, report)
    if options.texts is not None:
        options.texts.mkdir(parents=True, exist_ok=True)
        file_name = run.corpus.name.replace(", ", "-")
        (options.texts / f"{file_name}-features.md").write_text(await readers.features_to_grade(run))
        (options.texts / f"{file_name}-families.md").write_text(f"# {run.corpus.name}: families\n{shown_families}")


async def _chat(report: Reporter) -> Chat | None:
    """The language model of OLLAMA_URL."""
    subject, url = "HypotheSAEs' recipe", os.environ.get("OLLAMA_URL")
    if not url:
        report.leave_out(subject, "OLLAMA_URL is not set")
        return None
    try:
        chat = await Chat.at(url)
    except PrismaError as error:
        report.leave_out(subject, error.message)
        return None
    if chat is None:
        report.leave_out(subject, f"{url} has no model that can chat")
    return chat
