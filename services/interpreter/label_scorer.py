"""Scores of labels, whoever wrote them, by their words and by their embedding, on documents that none was made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from services.chassis.threads import in_thread
from services.interpreter import measurements
from services.interpreter.evidence import Evidence, SeenDocuments
from services.interpreter.evidence_reader import EvidenceReader
from services.interpreter.features import Features
from services.interpreter.judging import Fits, Judge, Vector
from services.interpreter.labellers import LabelSource
from services.interpreter.labels import Label, LabelScores, Provenance, seen_rows
from services.interpreter.measurements import Measurements, Scorer
from services.interpreter.phrase_vectors import PhraseVectors, unit

_FLOOR_LABELS = 5
"""Labels of different features that are scored on a label's documents."""


@dataclass(frozen=True, kw_only=True)
class ScoredLabel:
    """A label with what words and embeddings say of it, and what it was tested on."""

    label: Label
    different: Sequence[str]
    """Labels of different features."""
    evidence: Evidence
    fits: Mapping[Scorer, Fits]
    """How it fits the documents for scoring."""
    result: LabelScores


class LabelScorer:
    """Scores the labels of one run. Raises what the source raises."""

    def __init__(self, source: LabelSource, reader: EvidenceReader, features: Features) -> None:
        self.features = features
        self.vectors = PhraseVectors(source, features.run)
        self._source = source
        self._reader = reader
        self._labelled = [index for index in sorted(features.labels) if features.label_text(index)]

    async def test(self, labels: Sequence[Label]) -> list[ScoredLabel]:
        """Labels with their scores. labels: complete ones, of different features.

        Without those of which it is not recorded what they were made with: any document may have been among it.
        """
        testable_labels, seen_documents = await self._with_seen(labels)
        if not testable_labels:
            return []
        indices = [label.draft.index for label in testable_labels]
        judge, evidence = await self._reader.read(self.features, indices, seen_documents)
        different = [self._different_texts(index) for index in indices]
        texts = [label.draft.text for label in testable_labels] + [text for part in different for text in part]
        embeds = await self.vectors.load(texts)
        decoder = await self._source.decoder(self.features.run, sorted(indices))
        direction_of = dict(zip(sorted(indices), decoder.detectors, strict=True))

        def tested() -> list[ScoredLabel]:
            return [
                _Test(judge, own, direction_of[label.draft.index], self.vectors if embeds else None).of(
                    label, different_texts
                )
                for own, label, different_texts in zip(evidence, testable_labels, different, strict=True)
            ]

        return await in_thread(tested)

    async def _with_seen(self, labels: Sequence[Label]) -> tuple[list[Label], dict[int, SeenDocuments]]:
        """The labels of which it is known what they were made with, and that, by index."""
        testable_labels: list[Label] = []
        seen_documents: dict[int, SeenDocuments] = {}
        for label in labels:
            rows = seen_rows(label.draft)
            own = None if rows is None else await self._reader.seen_documents(self.features.run, rows)
            if own is not None:
                testable_labels.append(label)
                seen_documents[label.draft.index] = own
        return testable_labels, seen_documents

    def _different_texts(self, index: int) -> list[str]:
        """Labels of up to five different features, at equal steps through the list of labelled ones."""
        count, own = len(self._labelled), self.features.label_text(index)
        place = int(np.searchsorted(self._labelled, index))
        steps = [1 + step * max(0, count - 2) // _FLOOR_LABELS for step in range(_FLOOR_LABELS)]
        texts = [self.features.label_text(self._labelled[(place + step) % count]) for step in steps if count]
        return [text for text in dict.fromkeys(texts) if text != own]


@dataclass(frozen=True)
class _Test:
    """What one label is tested with."""

    judge: Judge
    evidence: Evidence
    direction: Vector
    vectors: PhraseVectors | None
    """None where texts cannot be embedded."""

    def of(self, label: Label, different: Sequence[str]) -> ScoredLabel:
        text, deciles = label.draft.text, self.evidence.scoring.active.deciles
        scorers = [Scorer.WORDS, Scorer.EMBEDDING] if self.vectors else [Scorer.WORDS]
        fits = {scorer: self._fits(text, scorer) for scorer in scorers}
        measured = [
            measurements.measured(scorer, own, deciles, floor=self._floor(different, scorer))
            for scorer, own in fits.items()
        ]
        decoder = self.judge.fits(self.evidence, text, self.direction)
        scores = self.judge.scores(self.evidence, text, self._vector(text))
        floors = [
            self.judge.auc(self.evidence, vector, scores.threshold)
            for other in different
            if (vector := self._vector(other)) is not None
        ]
        result = LabelScores(
            index=label.draft.index,
            revision=label.revision,
            scores=replace(
                scores,
                floor=float(np.mean(floors)) if floors else None,
                ceiling=self.judge.auc(self.evidence, self.direction, scores.threshold),
            ),
            measurements=Measurements(
                scorers=(*measured, measurements.measured(Scorer.DECODER, decoder, deciles)),
                agreements=measurements.agreements({scorer: own.all for scorer, own in fits.items()}),
            ),
            provenance=_provenance(label, self.evidence),
        )
        return ScoredLabel(label=label, different=different, evidence=self.evidence, fits=fits, result=result)

    def _fits(self, text: str, scorer: Scorer) -> Fits:
        return self.judge.fits(self.evidence, text, self._vector(text) if scorer is Scorer.EMBEDDING else None)

    def _floor(self, different: Sequence[str], scorer: Scorer) -> float | None:
        areas = [self._fits(text, scorer).area for text in different]
        return float(np.mean(areas)) if areas else None

    def _vector(self, text: str) -> Vector | None:
        return unit(self.vectors.of([text]))[0] if self.vectors else None


def _provenance(label: Label, evidence: Evidence) -> Provenance:
    """What a label was made with, as it was, and what it was scored on."""
    nothing = Provenance(origin=None, rejected=(), writing_rows=(), choosing_rows=(), scoring_rows=(), hard_rows=())
    return replace(
        label.draft.provenance or nothing,
        scoring_rows=tuple(evidence.scoring.active.rows.tolist()),
        hard_rows=tuple(evidence.scoring.hard.tolist()),
    )
