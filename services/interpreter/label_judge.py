"""Scores of labels by a language model that judges documents and parts of documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from prisma_common import sentences, wire
from services.interpreter import judge_prompts, measurements, scoring
from services.interpreter.evidence import Part
from services.interpreter.evidence_reader import TextSource
from services.interpreter.judging import Fits
from services.interpreter.label_scorer import LabelScorer, ScoredLabel
from services.interpreter.labels import LabelScores
from services.interpreter.measurements import Measurement, Measurements, Scorer
from services.interpreter.model_judge import CONTROL_QUESTIONS, PASSED, ModelJudge, Ratings, questions_for
from services.interpreter.scoring import Floats

DOCUMENT_COUNT = 20
MIN_DOCUMENT_COUNT = 10
MAX_DOCUMENT_COUNT = 100
QUESTIONS = 2000
"""Unless a request says otherwise."""
MAX_QUESTIONS = 1_000_000
_MARKED_SENTENCES = 16
"""Sentences of a document at most; in longer ones neighbouring sentences are taken together."""
_CONTROL_TEXTS = 50
_CONTROL_TEXTS_EACH = 5
"""Of one feature and kind."""

Places = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """How a language model judges labels."""

    model: str
    """`<provider>/<model>`."""
    document_count: int = DOCUMENT_COUNT
    """Active documents of a label, and as many similar silent ones."""
    max_questions: int = QUESTIONS


@dataclass(frozen=True)
class _Sample:
    """Some of the documents that a label is scored on."""

    part: Part
    texts: Sequence[str]
    """Active ones, similar silent ones, random ones."""
    places: tuple[Places, Places, Places]
    """Among all documents for scoring of each kind."""

    def fits(self, values: Floats) -> Fits:
        """Values of all texts, by kind."""
        active, hard, _random = self.places
        return Fits(*np.split(values, [len(active), len(active) + len(hard)]))

    def of(self, fits: Fits) -> Floats:
        """Of fits of all documents for scoring, those of the sample."""
        active, hard, random = self.places
        return np.concatenate([fits.active[active], fits.hard[hard], fits.random[random]])


class LabelJudge:
    """Judges the labels of one run. All methods raise what source and provider raise."""

    def __init__(self, *, source: TextSource, scorer: LabelScorer, judge: ModelJudge, judgement: Judgement) -> None:
        self._source = source
        self._scorer = scorer
        self._judge = judge
        self._count = judgement.document_count
        self._max_questions = judgement.max_questions

    @property
    def questions_per_label(self) -> int:
        """At most, if all answers are usable."""
        half = self._count // 2
        return questions_for(2 * self._count + half) + 2 * questions_for(2 * half)

    @property
    def exhausted(self) -> bool:
        """Whether the questions that are left are too few for a label."""
        return self._judge.question_count + self.questions_per_label > self._max_questions

    def estimate(self, label_count: int) -> str:
        """What judging so many labels costs, for people."""
        total = label_count * self.questions_per_label + CONTROL_QUESTIONS
        return (
            f"{label_count:,} labels, up to {self.questions_per_label} questions each to {self._judge.model}, and "
            f"{CONTROL_QUESTIONS} whose answers are known: up to {total:,}; {self._max_questions:,} may be asked"
        )

    async def failure(self, tested: Sequence[ScoredLabel]) -> str | None:
        """Why the judge cannot be relied on; None if it can. Asks questions about documents of these labels."""
        parts = [label.evidence.scoring for label in tested]
        rows = [rows for part in parts for rows in (part.active.rows, part.hard, part.random)]
        first_rows = [row for own in rows for row in own[:_CONTROL_TEXTS_EACH].tolist()]
        texts = await self._texts(list(dict.fromkeys(first_rows))[:_CONTROL_TEXTS])
        score = await self._judge.control(list(dict.fromkeys(text for text in texts if text.strip())))
        if score is None:
            return (
                f"{self._judge.model} does not judge: it gives no usable answers to questions whose answers are known"
            )
        if score.low >= PASSED:
            return None
        return (
            f"{self._judge.model} does not judge: on questions whose answers are known it scores {score.auc:.2f} "
            f"({score.low:.2f} to {score.high:.2f}; 0.5 is chance)"
        )

    async def judged(self, tested: ScoredLabel) -> LabelScores:
        """A label's scores with those by the judge."""
        sample = await self._sample(tested.evidence.scoring)
        ratings = await self._judge.rate(judge_prompts.detection, tested.label.draft.text, sample.texts)
        detection = await self._detection(tested, sample, ratings)
        fuzzing = await self._fuzzing(tested, sample)
        rated = {scorer: sample.of(fits) for scorer, fits in tested.fits.items()}
        agreements = measurements.agreements({**rated, Scorer.DETECTION: ratings.values}) if ratings.usable else ()
        result = tested.result
        return replace(
            result,
            scores=replace(result.scores, judge=self._judge.model),
            measurements=Measurements(
                scorers=(*result.measurements.scorers, detection, *([fuzzing] if fuzzing else [])),
                agreements=(
                    *result.measurements.agreements,
                    *(agreement for agreement in agreements if agreement.second is Scorer.DETECTION),
                ),
            ),
        )

    async def _detection(self, tested: ScoredLabel, sample: _Sample, ratings: Ratings) -> Measurement:
        floor, floor_questions = await self._floor(tested, sample)
        active = sample.part.active
        values, rated = ratings.values, ~np.isnan(ratings.values)
        if ratings.usable:
            deciles = active.deciles[rated[: len(active)]]
            activations = np.concatenate([active.activations, np.zeros(len(values) - len(active))])
            measured = replace(
                measurements.measured(Scorer.DETECTION, sample.fits(values).rated, deciles, floor=floor),
                correlation=measurements.pearson(values[rated], activations[rated]),
            )
        else:
            measured = Measurement(scorer=Scorer.DETECTION, hard=None)
        return replace(
            measured,
            model=self._judge.model,
            question_count=ratings.question_count + floor_questions,
            unusable_count=ratings.unusable_count,
        )

    async def _floor(self, tested: ScoredLabel, sample: _Sample) -> tuple[float | None, int]:
        """What the judge gives the label of a different feature on half of the documents, and its questions."""
        if not tested.different:
            return None, 0
        active, hard, _random = (np.arange(len(places)) for places in sample.places)
        places = np.concatenate([active[::2], len(active) + hard[::2]])
        texts: list[str] = [sample.texts[int(place)] for place in places]
        ratings = await self._judge.rate(judge_prompts.detection, tested.different[0], texts)
        parts = np.split(ratings.values, [len(active[::2])])
        area = Fits(parts[0], parts[1], np.empty(0)).rated.area
        return area if ratings.usable else None, ratings.question_count

    async def _fuzzing(self, tested: ScoredLabel, sample: _Sample) -> Measurement | None:
        """What the ratings of marked sentences give; None where too few documents have several sentences."""
        active_count = len(sample.places[0])
        pairs = await self._marked(tested.label.draft.index, sample.texts[:active_count])
        pairs = pairs[: self._count // 2]
        if not pairs:
            return None
        texts = [text for pair in pairs for text in pair]
        ratings = await self._judge.rate(judge_prompts.fuzzing, tested.label.draft.text, texts)
        fits = Fits(ratings.values[::2], ratings.values[1::2], np.empty(0)).rated
        return Measurement(
            scorer=Scorer.FUZZING,
            hard=scoring.score(fits.active, fits.hard) if ratings.usable else None,
            model=self._judge.model,
            question_count=ratings.question_count,
            unusable_count=ratings.unusable_count,
        )

    async def _marked(self, index: int, texts: Sequence[str]) -> list[tuple[str, str]]:
        """Documents twice: with the sentence marked that activates a feature most, and with one that does not."""
        starts = [text[: judge_prompts.MAX_CHARACTERS] for text in texts]
        split = [sentences.split(text, _MARKED_SENTENCES) for text in starts]
        alone = [[text[part.start : part.end] for part in parts] for text, parts in zip(starts, split, strict=True)]
        vectors = self._scorer.vectors
        if not await vectors.load([sentence for part in alone for sentence in part]):
            return []
        pairs: list[tuple[str, str]] = []
        codes = await vectors.codes([vectors.of(part) for part in alone])
        for text, parts, code in zip(starts, split, codes, strict=True):
            activations = _column(code, index)
            if len(activations) and activations.max() > 0 and activations.min() == 0:
                strongest, silent = parts[int(activations.argmax())], parts[int(activations.argmin())]
                pairs.append(
                    (
                        judge_prompts.marked(text, strongest.start, strongest.end),
                        judge_prompts.marked(text, silent.start, silent.end),
                    )
                )
        return pairs

    async def _sample(self, part: Part) -> _Sample:
        places = (
            _equal_steps(len(part.active), self._count),
            _equal_steps(len(part.hard), self._count),
            _equal_steps(len(part.random), self._count // 2),
        )
        mask = np.zeros(len(part.active), bool)
        mask[places[0]] = True
        sampled = Part(active=part.active.take(mask), hard=part.hard[places[1]], random=part.random[places[2]])
        texts = await self._texts(np.concatenate([sampled.active.rows, sampled.hard, sampled.random]).tolist())
        return _Sample(sampled, texts, places)

    async def _texts(self, rows: Sequence[int]) -> list[str]:
        texts = await self._source.texts(self._scorer.features.run.dataset, rows)
        return [texts.get(row, "") for row in rows]


def _equal_steps(total: int, count: int) -> Places:
    """At most `count` of `total` places, rising."""
    return np.unique(np.linspace(0, max(0, total - 1), min(total, count)).astype(np.intp))


def _column(codes: wire.Codes, latent: int) -> Floats:
    """(m,) the activations of a latent in m codes."""
    activations = np.zeros(len(codes))
    for place in range(len(codes)):
        indices, values = codes.row(place)
        activations[place] = values[indices == latent].sum()
    return activations
