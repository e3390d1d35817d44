"""A run whose features stand for words planted in its texts, so that the result of an analysis can be predicted."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from prisma_common import wire
from services.interpreter.decoder import Decoder
from services.interpreter.features import Features
from services.interpreter.labels import Draft, Label, Source
from services.interpreter.runs import Interpretation, Run
from services.interpreter.scoring import Method, Score, Scores, Share
from services.interpreter.statistics import Accumulator
from services.interpreter.upstream import Encoded, Reconstruction
from tests.interpreter.owners import codes_of

TEST_PASSED = Score(auc=0.95, low=0.9, high=0.99, active_count=30, silent_count=60)
TEST_FAILED = Score(auc=0.55, low=0.4, high=0.7, active_count=30, silent_count=60)


class PlantedRun:
    """A run of one latent for each group of words: it is active where the text has all of them.

    A text's vector says for each word whether the text has it; the latent's activation is the number of its words in
    the text, less their number but one: words that stand for a feature only together can be planted.
    """

    def __init__(
        self,
        groups: Sequence[str],
        texts: Sequence[str],
        *,
        doubtful: Sequence[int] = (),
        thresholds: Mapping[int, float] | None = None,
    ) -> None:
        """groups: for each latent its words, also its label. doubtful: latents whose label failed its test."""
        self.words = sorted({word for group in groups for word in group.split()})
        self.texts = list(texts)
        self.baseline = 0.0
        """What reconstructions have of each word without any activation."""
        self._groups = np.array([[word in group.split() for word in self.words] for group in groups], np.float32)
        self.run = Run(
            uid="u",
            name="runs/r",
            dataset="datasets/d",
            dataset_uid="v",
            embedding_model="builtin",
            latent_count=len(groups),
            revision=1,
            trained=True,
            ranges=[(0, len(texts))],
        )
        self._decoder = Decoder.of(self._groups, stability=np.full(len(groups), 0.9, np.float32))
        with Accumulator(len(groups)) as accumulator:
            accumulator.add(self.encode(self.embed(texts)))
            statistics = accumulator.finish(self._decoder)
        labels = {
            index: self._label(index, group, index not in doubtful, (thresholds or {}).get(index))
            for index, group in enumerate(groups)
        }
        self.features = Features(Interpretation(run=self.run), statistics, labels, [])

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(m, words) 1 where the text has the word."""
        contents = [set(text.lower().replace(".", " ").replace(",", " ").split()) for text in texts]
        return np.array([[word in content for word in self.words] for content in contents], np.float32)

    def encode(self, vectors: NDArray[np.float32]) -> wire.Codes:
        """Codes of vectors, under row numbers from 0."""
        activations = np.maximum(vectors @ self._groups.T - (self._groups.sum(axis=1) - 1), 0)
        return codes_of(activations.astype(np.float32), np.arange(len(vectors), dtype=np.uint64))

    async def encode_text(self, run: Run, text: str) -> Encoded:
        vector = self.embed([text])
        indices, values = self.encode(vector).row(0)
        return Encoded(indices=indices, values=values, vector=vector[0], unexplained=0.0, truncated=False)

    async def reconstruction(self, run: Run, indices: NDArray[np.int64]) -> Reconstruction:
        """Latents of one word add that word; those of several, a part of each."""
        directions = self._groups[indices].astype(np.float64)
        return Reconstruction(np.full(len(self.words), self.baseline), directions)

    async def codes_of_texts(self, run: Run, texts: Sequence[str]) -> wire.Codes:
        return self.encode(self.embed(texts))

    async def codes(self, run: Run, ranges: Sequence[tuple[int, int]] = ()) -> AsyncIterator[wire.Codes]:
        """Of all texts. Different texts have slightly different activations, so that only copies have equal codes."""
        whole = self.encode(self.embed(self.texts))
        shifts = np.array([zlib.crc32(text.encode()) / 2**32 / 1000 for text in self.texts], np.float32)
        whole = replace(whole, values=whole.values * (1 + np.repeat(shifts, np.diff(whole.indptr))))
        middle = len(whole) // 2
        for part in (whole.slice(0, middle), whole.slice(middle, len(whole))):
            yield part

    async def decoder(self, run: Run, indices: Sequence[int] = ()) -> Decoder:
        return self._decoder.take(np.array(indices, np.intp)) if indices else self._decoder

    def _label(self, index: int, text: str, passed: bool, threshold: float | None) -> Label:
        scores = Scores(
            method=Method.EMBEDDING,
            threshold=threshold,
            score=TEST_PASSED if passed else TEST_FAILED,
            mentions=Share(value=0.9, low=0.8, high=0.95, document_count=40),
            near_mentions=Share(value=0.1, low=0.05, high=0.2, document_count=60),
            breadth=1.0,
            coherence=TEST_PASSED,
            embedding_hard=None,
            embedding_random=None,
            words_hard=None,
            words_random=None,
            deciles=(),
        )
        draft = Draft(index=index, text=text, description="", source=Source.KEYWORDS, scores=scores)
        return Label(draft=draft, revision=1, active=True, create_time=datetime(2026, 1, 1, tzinfo=UTC))
