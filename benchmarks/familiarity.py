"""How often the analyzer calls a text unlike the corpus: gibberish, other languages, other domains, new documents.

For each corpus (`benchmarks.corpora`, built-in embedding) an autoencoder is trained; a tenth of the rows are held out.
Half of these calibrate, the others count as new documents: false alarms. Texts of the other corpora are another domain,
or another language for `german` against the others. Random letters are gibberish. `unexplained` is the share of texts
beyond the 95th percentile of the unexplained share, for comparison.
"""

from __future__ import annotations

import argparse
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import corpora
from benchmarks.sae_data import F32
from services.embedder.providers import Embedding
from services.embedder.providers.builtin import BuiltinProvider
from services.interpreter import familiarity
from services.interpreter.familiarity import Calibration, CorpusSample, Reference
from services.interpreter.near_misses import Vectors
from services.trainer.sae.config import Config
from services.trainer.sae.training import Training

Record = dict[str, Any]
CORPORA = ("docstrings", "fortunes", "german")
FOREIGN = (*CORPORA, "kernel")
FOREIGN_TEXTS = 1500


@dataclass(frozen=True)
class Texts:
    """Texts with their vectors, (m, d)."""

    texts: list[str]
    vectors: F32


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `python -m benchmarks familiarity` takes."""
    parser.add_argument("--limit", type=int, default=8000, help="texts of a corpus")


def run(options: argparse.Namespace) -> list[Record]:
    """Records of all corpora."""
    texts = {name: _embedded([text.text for text in corpora.read(name, options.limit)]) for name in FOREIGN}
    texts["gibberish"] = _embedded(_gibberish(500))
    return [record for name in CORPORA for record in _measured(name, texts)]


def _measured(corpus: str, texts: Mapping[str, Texts]) -> list[Record]:
    own, vectors = texts[corpus].texts, texts[corpus].vectors
    settings = {"latent_count": 512, "k": 8, "epochs": 40, "cycles": 8}
    training = Training(vectors, Config.resolve(len(vectors), vectors.shape[1], 2, **settings))
    while training.step < training.total_steps:
        training.advance()
    weights = training.weights

    def unexplained(vectors: F32) -> np.ndarray[Any, np.dtype[np.float64]]:
        return weights.unexplained(vectors, *weights.encode_dense(vectors)).astype(np.float64)

    rows = Vectors.of_length_1(np.arange(len(own), dtype=np.uint64), vectors)
    held_out = np.random.default_rng(0).permutation(training.held_out).astype(np.uint64)
    calibration, new = np.sort(held_out[: len(held_out) // 2]), held_out[len(held_out) // 2 :]
    is_known = np.isin(rows.rows, new, invert=True)
    sample, calibration = familiarity.divided(rows.rows[is_known], calibration)
    compared = Vectors(sample, rows.of(sample))
    corpus_sample = CorpusSample.of(familiarity.sampled_vectors(compared), [own[row] for row in sample.tolist()])
    reference = Reference(
        corpus_sample,
        Calibration.of(
            corpus_sample,
            texts=[own[row] for row in calibration.tolist()],
            vectors=rows.of(calibration),
            unexplained=unexplained(vectors[calibration]),
            held_out=True,
        ),
    )
    cases = {"new documents": Texts([own[row] for row in new.tolist()], vectors[new])}
    cases |= {name: foreign for name, foreign in texts.items() if name != corpus}
    records: list[Record] = []
    for name, foreign in cases.items():
        part = slice(0, FOREIGN_TEXTS)
        shares = unexplained(foreign.vectors[part])
        places = [
            familiarity.familiarity(reference, text=text, vector=vector, unexplained=float(share))
            for text, vector, share in zip(foreign.texts[part], foreign.vectors[part], shares, strict=True)
        ]
        values = {
            "flagged": float(np.mean([place.out_of_distribution for place in places if place])),
            "unexplained": float(np.mean([place.unexplained_percentile >= 0.95 for place in places if place])),
        }
        records += [
            {
                "benchmark": "familiarity",
                "subject": "prisma",
                "case": f"{corpus}: {name}",
                "metric": metric,
                "value": value,
                "unit": "1",
            }
            for metric, value in values.items()
        ]
    return records


def _embedded(texts: Sequence[str]) -> Texts:
    results = BuiltinProvider().embed_now(texts)
    pairs = [
        (text, result.vector) for text, result in zip(texts, results, strict=True) if isinstance(result, Embedding)
    ]
    return Texts([text for text, _ in pairs], np.stack([vector for _, vector in pairs]).astype(np.float32))


def _gibberish(count: int) -> list[str]:
    """Texts of 5 to 40 words of 3 to 9 random letters."""
    source = np.random.default_rng(3)

    def word() -> str:
        return "".join(source.choice(list(string.ascii_lowercase), source.integers(3, 10)))

    return [" ".join(word() for _ in range(source.integers(5, 41))) for _ in range(count)]
