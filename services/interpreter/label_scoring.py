"""The job that scores labels: which ones, how far it is, what it costs, and what it stores after each part."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from services.chassis.job_context import JobContext
from services.interpreter.evidence_reader import EvidenceReader
from services.interpreter.features import Features, Order
from services.interpreter.label_judge import Judgement, LabelJudge
from services.interpreter.label_scorer import LabelScorer, ScoredLabel
from services.interpreter.labellers import LabelSource
from services.interpreter.labels import LabelScores
from services.interpreter.measurements import Measurement, Scorer, spearman
from services.interpreter.model_judge import ModelJudge
from services.interpreter.model_labeller import ChatProvider
from services.interpreter.store import Store

BATCH = 64
"""Labels that are tested at once."""
_UNIT = "labels"
_JUDGED_BATCH = 8
"""As a judge takes minutes for them, and what is stored is not done again."""
_COMPARED_LABELS = 5
"""From which scorers are compared over labels."""
_MOST_IMPORTANT_FIRST = Order("max_activation", descending=True)


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """Which labels are scored, and how."""

    indices: Sequence[int] = ()
    """Empty for all."""
    limit: int | None = None
    rescore: bool = False
    judgement: Judgement | None = None


@dataclass
class _Progress:
    """What was done."""

    total: int
    done: int = 0
    scored: int = 0
    unjudged: int = 0
    """Labels for which no question was left."""
    questions: int = 0
    unusable: int = 0
    results: list[Sequence[Measurement]] = field(default_factory=list)


class LabelScoring:
    """Scores labels. Raises what source, providers and context raise."""

    def __init__(
        self, *, store: Store, source: LabelSource, reader: EvidenceReader, providers: Mapping[str, ChatProvider]
    ) -> None:
        self._store = store
        self._source = source
        self._reader = reader
        self._providers = providers

    async def run(self, features: Features, options: ScoringOptions, context: JobContext) -> None:
        """Scores labels part by part. What is stored stays, and is not done again by a repeated attempt."""
        job, uid = context.job.name, features.run.uid
        by_this_job = await asyncio.to_thread(self._store.scored_by, uid, job)
        indices = self._remaining(features, options, set(by_this_job))
        scorer = LabelScorer(self._source, self._reader, features)
        judge = self._judge(scorer, options.judgement, question_count=sum(by_this_job.values()))
        if judge:
            context.log(judge.estimate(len(indices)))
        progress = _Progress(total=len(indices))
        size = _JUDGED_BATCH if judge else BATCH
        for start in range(0, len(indices), size):
            part = indices[start : start + size]
            labels = await asyncio.to_thread(self._store.complete_labels, uid, part)
            tested = await scorer.test([labels[index] for index in part if index in labels])
            if judge and tested and not progress.results and (failure := await judge.failure(tested)):
                context.log(f"{failure}; labels are scored without it")
                judge = None
            for results in _one_by_one(tested) if judge else [tested]:
                scores = [await self._judged(label, judge, progress) for label in results]
                await self._commit(features, scores, context, progress)
            progress.done = start + len(part)
        _report(progress, context)

    def _remaining(self, features: Features, options: ScoringOptions, done: set[int]) -> list[int]:
        """The features whose labels to score, those with the highest maximum first, without those that this job did.

        `limit` counts those that it has scored already.
        """
        requested = set(options.indices)
        judge = options.judgement.model if options.judgement else None

        def is_new(index: int) -> bool:
            scores = features.labels[index].draft.scores
            return scores is None or (judge is not None and scores.judge != judge)

        indices = [
            index
            for index in features.select(order=_MOST_IMPORTANT_FIRST).tolist()
            if features.label_text(index)
            and features.statistics.active_count[index]
            and (not requested or index in requested)
            and (options.rescore or index in done or is_new(index))
        ]
        return [index for index in indices[: options.limit] if index not in done]

    def _judge(self, scorer: LabelScorer, judgement: Judgement | None, *, question_count: int) -> LabelJudge | None:
        if judgement is None:
            return None
        judge = ModelJudge(self._providers, judgement.model, question_count=question_count)
        return LabelJudge(source=self._source, scorer=scorer, judge=judge, judgement=judgement)

    async def _judged(self, tested: ScoredLabel, judge: LabelJudge | None, progress: _Progress) -> LabelScores:
        """A label's scores, with those by a judge while it has questions left."""
        if judge is None:
            return tested.result
        if judge.exhausted:
            progress.unjudged += 1
            return tested.result
        return await judge.judged(tested)

    async def _commit(
        self, features: Features, results: Sequence[LabelScores], context: JobContext, progress: _Progress
    ) -> None:
        await context.checkpoint()
        await asyncio.to_thread(self._store.score_labels, features.run, results, context.job.name)
        for result in results:
            scorers = result.measurements.scorers
            progress.questions += sum(measurement.question_count for measurement in scorers)
            progress.unusable += sum(measurement.unusable_count for measurement in scorers)
            progress.results.append(scorers)
        progress.scored += len(results)
        progress.done += len(results)
        text = features.label_text(results[-1].index) if results else ""
        await context.progress(progress.done, progress.total, _UNIT, text)


def _one_by_one(tested: Sequence[ScoredLabel]) -> list[Sequence[ScoredLabel]]:
    """Each alone: what a judge says of it is stored before the next one is judged."""
    return [[label] for label in tested]


def _report(progress: _Progress, context: JobContext) -> None:
    """Says in the job's log what became of the labels, and how far scorers agree about them."""
    context.log(f"{progress.scored:,} labels scored")
    if left := progress.total - progress.scored:
        context.log(
            f"{left:,} labels not scored: it is not recorded which documents they were made with; label the features "
            "again, or carry the labels again"
        )
    if progress.questions:
        context.log(f"{progress.questions:,} questions; {progress.unusable:,} documents without a usable answer")
    if progress.unjudged:
        context.log(f"{progress.unjudged:,} labels not judged: no questions were left")
    areas = {
        scorer: np.array([_area(scorers, scorer) for scorers in progress.results])
        for scorer in (Scorer.WORDS, Scorer.EMBEDDING, Scorer.DETECTION, Scorer.FUZZING)
    }
    for first, second in (
        (Scorer.WORDS, Scorer.EMBEDDING),
        (Scorer.EMBEDDING, Scorer.DETECTION),
        (Scorer.DETECTION, Scorer.FUZZING),
    ):
        both = ~(np.isnan(areas[first]) | np.isnan(areas[second]))
        correlation = spearman(areas[first][both], areas[second][both])
        if correlation is not None and correlation.document_count >= _COMPARED_LABELS:
            context.log(
                f"{first.lower()} and {second.lower()} agree about {correlation.document_count:,} labels: Spearman "
                f"{correlation.value:.2f} ({correlation.low:.2f} to {correlation.high:.2f})"
            )


def _area(scorers: Sequence[Measurement], scorer: Scorer) -> float:
    """What a scorer gave a label; NaN where it gave nothing."""
    return next((own.hard.auc for own in scorers if own.scorer is scorer and own.hard), np.nan)
