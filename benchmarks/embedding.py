"""Embedding models: texts per second of CPU time, and whether a text's vector depends on its batch.

Embeds docstrings of the sample, whole and their first lines alone, with the built-in model and with the sentence
encoder in `--folder` (`python -m tests.sentence_encoder FOLDER` writes one). For comparison, the encoder's network also
runs on padded batches of 32 texts of similar length, as other programs do; what it then gives to a text is compared
with what it gives to the text alone.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from prisma_client import sample
from services.embedder.providers import Embedding, EmbeddingProvider
from services.embedder.providers.builtin import BuiltinProvider
from services.embedder.providers.layout import Layout, read_layout
from services.embedder.providers.onnx import OnnxProvider

Record = dict[str, Any]
Vectors = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Awaitable[Vectors]]

BATCH = 32
ROUNDS = 3
STRIDE = 7
"""Every so many texts of the sample are used: neighbours in it are alike."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--folder", type=Path, required=True, help="folder of a sentence encoder")
    parser.add_argument("--texts", type=int, default=500, help="number of texts")


def run(options: argparse.Namespace) -> list[Record]:
    """Measures each model on each kind of text."""
    texts = [document["text"] for document in islice(sample.documents(), 0, options.texts * STRIDE, STRIDE)]
    return asyncio.run(
        _measured(options.folder, {"docstrings": texts, "first lines": [_first(text) for text in texts]})
    )


def _first(text: str) -> str:
    return text.splitlines()[0]


async def _measured(folder: Path, cases: dict[str, list[str]]) -> list[Record]:
    models: dict[str, Embed] = {
        "built-in": _of_provider(BuiltinProvider(), "wordllama-256"),
        "encoder": _of_provider(OnnxProvider([folder]), folder.name),
        "in batches": _PaddedBatches(read_layout(folder)).embed,
    }
    records: list[Record] = []
    for case, texts in cases.items():
        for subject, embed in models.items():
            alone = np.concatenate([await embed([text]) for text in texts[:50]])  # loads the model, too
            records += [
                {
                    "benchmark": "embedding",
                    "subject": subject,
                    "case": case,
                    "metric": metric,
                    "value": value,
                    "unit": unit,
                }
                for metric, value, unit in await _speed(embed, texts, alone)
            ]
    return records


async def _speed(embed: Embed, texts: Sequence[str], alone: Vectors) -> list[tuple[str, float, str]]:
    cpu_rates: list[float] = []
    rates: list[float] = []
    together: Vectors = alone
    for _ in range(ROUNDS):
        cpu, start = time.process_time(), time.perf_counter()
        together = await embed(texts)
        cpu_rates.append(len(texts) / (time.process_time() - cpu))
        rates.append(len(texts) / (time.perf_counter() - start))
    differing = (together[: len(alone)] != alone).any(axis=1)
    cosines = (together[: len(alone)] * alone).sum(axis=1)
    return [
        ("texts per CPU second", statistics.median(cpu_rates), "1/s"),
        ("texts per second", statistics.median(rates), "1/s"),
        ("differ from alone", float(differing.mean()), "share"),
        ("least cosine with alone", float(cosines.min()), ""),
    ]


def _of_provider(provider: EmbeddingProvider, model: str) -> Embed:
    async def embed(texts: Sequence[str]) -> Vectors:
        answers = await provider.embed(model, texts)
        return np.stack([answer.vector for answer in answers if isinstance(answer, Embedding)])

    return embed


class _PaddedBatches:
    """The network on padded batches of texts of similar length, with mean pooling, on all cores."""

    def __init__(self, layout: Layout) -> None:
        self._tokenizer = Tokenizer.from_file(str(layout.tokenizer))
        self._tokenizer.enable_padding()
        self._tokenizer.enable_truncation(layout.max_tokens)
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # would count as CPU time
        self._session = onnxruntime.InferenceSession(str(layout.network), options, providers=["CPUExecutionProvider"])

    async def embed(self, texts: Sequence[str]) -> Vectors:
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        vectors: dict[int, Vectors] = {}
        for start in range(0, len(texts), BATCH):
            batch = order[start : start + BATCH]
            vectors.update(zip(batch, self._batch([texts[index] for index in batch]), strict=True))
        return np.stack([vectors[index] for index in range(len(texts))])

    def _batch(self, texts: list[str]) -> Vectors:
        encodings = self._tokenizer.encode_batch(texts)
        ids = np.array([encoding.ids for encoding in encodings])
        mask = np.array([encoding.attention_mask for encoding in encodings])
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        names = [value.name for value in self._session.get_inputs()]
        tokens = np.asarray(self._session.run(None, {name: feed[name] for name in names})[0])
        means = (tokens * mask[:, :, None]).sum(axis=1)
        return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)
