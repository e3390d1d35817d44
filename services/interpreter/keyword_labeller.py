"""Labels without a language model: built in, and the same each time.

A label is the best of several candidates, is tested on documents that played no part in its making, and is not given
where none of them passes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.chassis.threads import in_thread
from services.interpreter import candidates, naming
from services.interpreter.candidates import Candidate, Pair, Phrases
from services.interpreter.errors import LabelModelNotFound
from services.interpreter.evidence import Evidence
from services.interpreter.evidence_reader import DocumentSource, EvidenceReader
from services.interpreter.features import Features
from services.interpreter.judging import Judge
from services.interpreter.keywords import Contrast, contrasts
from services.interpreter.labellers import LabelModel, Task
from services.interpreter.labels import KEYWORDS, Draft, Source
from services.interpreter.naming import Verdict
from services.interpreter.phrase_vectors import PhraseSource, PhraseVectors, unit
from services.interpreter.runs import Run

BATCH = 128
"""Features that are named, and stored, at once."""

Floats = NDArray[np.float32]


class LabelSource(DocumentSource, PhraseSource, Protocol):
    """What is read from the embedder and the trainer."""

    async def decoder(self, run: Run, indices: Sequence[int] = ()) -> Floats:
        """(m, d) unit directions of some of the run's latents."""
        ...


@dataclass(frozen=True)
class _Subject:
    """A latent to be named."""

    evidence: Evidence
    contrast: Contrast
    phrases: Phrases


class KeywordLabeller:
    """Labels by keywords. Raises what the source raises."""

    def __init__(self, source: LabelSource, reader: EvidenceReader) -> None:
        self._source = source
        self._reader = reader

    async def models(self) -> Sequence[LabelModel]:
        """The one built-in model."""
        return [LabelModel(KEYWORDS, "Keywords (built in)", is_default=True)]

    async def check(self, model: str) -> None:
        """Raises LabelModelNotFound."""
        if model != KEYWORDS:
            raise LabelModelNotFound(f"no label model {model!r}: the built-in one is `{KEYWORDS}`")

    async def drafts(self, task: Task) -> AsyncGenerator[Sequence[Draft]]:
        """Labels of 128 features at a time."""
        vectors = PhraseVectors(self._source, task.features.run)
        texts_in_use = _remaining_texts(task)
        for start in range(0, len(task.indices), BATCH):
            verdicts = await self._verdicts(task.features, task.indices[start : start + BATCH], vectors, texts_in_use)
            drafts = [naming.draft(verdict, task.options) for verdict in verdicts]
            texts_in_use.update(draft.text for draft in drafts)
            yield drafts

    async def _verdicts(
        self, features: Features, indices: Sequence[int], vectors: PhraseVectors, texts_in_use: set[str]
    ) -> list[Verdict]:
        judge, evidence = await self._reader.read(features, indices)
        words = await in_thread(contrasts, evidence, judge.documents, judge.corpus)
        subjects = [
            _Subject(own, contrast, Phrases.of(contrast)) for own, contrast in zip(evidence, words, strict=True)
        ]
        shortlists = await self._shortlists(subjects, judge, vectors)
        texts = [candidate.text for shortlist in shortlists for candidate in shortlist]
        embeds = await vectors.load(texts)
        directions = await self._source.decoder(features.run, sorted(indices))
        direction_of = dict(zip(sorted(indices), directions, strict=True))

        def judged() -> list[Verdict]:
            in_use = set(texts_in_use)
            verdicts: list[Verdict] = []
            for subject, shortlist in zip(subjects, shortlists, strict=True):
                unit_vectors = unit(vectors.of([candidate.text for candidate in shortlist])) if embeds else None
                verdict = naming.verdict(
                    judge,
                    subject.evidence,
                    contenders=naming.contenders(judge, subject.evidence, shortlist, unit_vectors),
                    keywords=[keyword.text for keyword in subject.contrast.keywords],
                    texts_in_use=in_use,
                    direction=direction_of[subject.evidence.latent],
                )
                verdicts.append(verdict)
                if verdict.named and verdict.winner:
                    in_use.add(verdict.winner.candidate.text)
            return verdicts

        return naming.with_floors(judge, await in_thread(judged))

    async def _shortlists(
        self, subjects: Sequence[_Subject], judge: Judge, vectors: PhraseVectors
    ) -> list[list[Candidate]]:
        """The candidates of all latents; where the run's model cannot embed texts, those by words alone."""
        if not await vectors.load([text for subject in subjects for text in subject.phrases.texts]):
            return [candidates.by_words(subject.contrast) for subject in subjects]
        singles = [vectors.of(subject.phrases.texts) for subject in subjects]
        codes = await vectors.codes(singles)
        centres = [judge.centre(subject.evidence) for subject in subjects]
        activations = [
            candidates.activations_of(subject.evidence.latent, code)
            for subject, code in zip(subjects, codes, strict=True)
        ]
        closeness = [_closeness(part, centre) for part, centre in zip(singles, centres, strict=True)]
        pairs = [
            subject.phrases.pairs(own, near)
            for subject, own, near in zip(subjects, activations, closeness, strict=True)
        ]
        sums = [_sums(part, places) for part, places in zip(singles, pairs, strict=True)]
        pair_codes = await vectors.codes(sums)
        return [
            candidates.shortlist(
                subject.contrast,
                subject.phrases,
                singles=(activations[number], closeness[number]),
                pairs=(
                    pairs[number],
                    candidates.activations_of(subject.evidence.latent, pair_codes[number]),
                    _closeness(sums[number], centres[number]),
                ),
            )
            for number, subject in enumerate(subjects)
        ]


def _closeness(vectors: Floats, centre: Floats) -> Floats:
    """(m,) cosine with the centre of a latent's documents."""
    return unit(vectors) @ centre if len(vectors) else np.empty(0, np.float32)


def _sums(vectors: Floats, pairs: Sequence[Pair]) -> Floats:
    """(m, d) about what the embeddings of pairs of phrases are: their sums, as long as theirs are on average."""
    if not pairs:
        return np.empty((0, 1), np.float32)
    first, second = (vectors[list(places)] for places in zip(*pairs, strict=True))
    lengths = (np.linalg.norm(first, axis=1) + np.linalg.norm(second, axis=1)) / 2
    return unit(first + second) * lengths[:, None]


def _remaining_texts(task: Task) -> set[str]:
    """The labels that stay active: those of other features, and people's."""
    renamed = set(task.indices)
    return {
        label.draft.text
        for index, label in task.features.labels.items()
        if index not in renamed or label.draft.source is Source.HUMAN
    }
