"""Scores of labels, whoever wrote them: known answers on planted topics, leaks that are tried, judges that fail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from prisma.interpreter.v1.resources_pb2 import LabelTest
from services.chassis.blobs import Blobs, Records
from services.chassis.database import Database
from services.chassis.job_context import JobCancelled
from services.interpreter import judge_prompts, measurements, messages
from services.interpreter.evidence_reader import EvidenceReader
from services.interpreter.features import Features, Order
from services.interpreter.label_editor import RunLabel
from services.interpreter.label_judge import DOCUMENT_COUNT, Judgement, LabelJudge
from services.interpreter.label_scorer import LabelScorer, ScoredLabel
from services.interpreter.label_scoring import LabelScoring, ScoringOptions
from services.interpreter.labellers import Task
from services.interpreter.labels import Draft, Label, Options, Provenance, Source
from services.interpreter.measurements import Measurement, Scorer
from services.interpreter.model_judge import ModelJudge
from services.interpreter.model_labeller import ModelLabeller
from services.interpreter.ollama import OllamaChat
from services.interpreter.store import Store
from services.interpreter.tables import BLOBS
from services.interpreter.trust import Condition, Trust, missed_conditions, trust_of
from services.providers.client import ProviderUnavailable
from tests.broken_ollama import BrokenOllama, broken_ollama
from tests.interpreter.owners import Context, Owners
from tests.interpreter.planted_topics import FILLER, TOPICS, features_of, planted

MIGRATIONS = Path(__file__).parents[2] / "services/interpreter/migrations"
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class World:
    """A run with a right label for each planted topic, written by a person."""

    source: Owners
    words: np.ndarray
    features: Features
    reader: EvidenceReader

    def text(self, topic: int) -> str:
        """A right label."""
        return ", ".join(self.words[topic % TOPICS][:3])

    def scorer(self) -> LabelScorer:
        source: Any = self.source
        return LabelScorer(source, self.reader, self.features)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> World:
    source, words = planted()
    for row, text in source.all_texts.items():  # two sentences each: the topics, and what says nothing
        content = [word for word in text.split() if word not in FILLER]
        rest = [word for word in text.split() if word in FILLER]
        source.all_texts[row] = f"{' '.join(content)}\n\n{' '.join(rest)}"
    features = await features_of(source)
    any_source: Any = source
    world = World(source, words, features, EvidenceReader(any_source))
    labels = {topic: label_of(topic, world.text(topic)) for topic in range(TOPICS)}
    return replace(world, features=replace(features, labels=labels))


def label_of(index: int, text: str, **fields: Any) -> Label:
    values: dict[str, Any] = {"index": index, "text": text, "description": "", "source": Source.HUMAN, **fields}
    draft = Draft(**values)
    return Label(draft=draft, revision=1, active=True, create_time=MOMENT)


def by(tested: ScoredLabel, scorer: Scorer) -> Measurement:
    return next(own for own in tested.result.measurements.scorers if own.scorer is scorer)


def trust(tested: ScoredLabel) -> Trust:
    return trust_of(tested.label.draft.text, tested.result.scores, 0.95)


def missed(tested: ScoredLabel) -> set[Condition]:
    conditions = missed_conditions(tested.label.draft.text, tested.result.scores, 0.95)
    return {condition.condition for condition in conditions}


def scored_rows(tested: ScoredLabel) -> set[int]:
    part = tested.evidence.scoring
    return {*part.active.rows.tolist(), *part.hard.tolist(), *part.random.tolist()}


async def test_right_labels_by_people_are_trusted_and_wrong_ones_never(world: World) -> None:
    assert TOPICS >= 50
    right = await world.scorer().test(list(world.features.labels.values()))
    wrong = await world.scorer().test([label_of(topic, world.text(topic + 7)) for topic in range(TOPICS)])
    assert len(right) == len(wrong) == TOPICS
    assert np.mean([trust(tested) is Trust.TRUSTED for tested in right]) >= 0.9
    # A text has one topic or two and filler: those of a topic may have too little else in common, and miss only that.
    assert np.mean([not missed(tested) - {Condition.COHERENCE} for tested in right]) >= 0.95
    assert not [tested for tested in wrong if trust(tested) is Trust.TRUSTED]
    for scorer in (Scorer.WORDS, Scorer.EMBEDDING):
        areas = [score.auc for tested in wrong if (score := by(tested, scorer).hard)]
        assert len(areas) == TOPICS and max(areas) < 0.6, scorer
        right_areas = [score.auc for tested in right if (score := by(tested, scorer).hard)]
        assert np.mean(right_areas) > 0.9
    for tested in right:
        score, floor = by(tested, Scorer.EMBEDDING).hard, by(tested, Scorer.EMBEDDING).floor
        ceiling = by(tested, Scorer.DECODER).hard
        assert score and ceiling and floor is not None
        assert floor < 0.6 < score.auc <= ceiling.auc + 0.05
        counts = np.bincount(tested.evidence.scoring.active.deciles, minlength=10)
        scored = [decile is not None for decile in by(tested, Scorer.EMBEDDING).deciles]
        assert scored == (counts >= 5).tolist() or (not scored and counts.max() < 5)
        (agreement,) = tested.result.measurements.agreements
        assert agreement.correlation.low > 0.3


async def test_what_made_a_label_in_a_different_run_does_not_score_it_here(world: World) -> None:
    """Tries to leak: a label that is carried here was written from half of the documents that would score it."""
    (open_test,) = await world.scorer().test([label_of(3, world.text(3))])
    used = sorted(scored_rows(open_test))[::2]
    provenance = Provenance(
        origin=None, rejected=(), writing_rows=tuple(used), choosing_rows=(), scoring_rows=(), hard_rows=()
    )
    carried = label_of(3, world.text(3), carried_from="runs/other/features/9/labels/1", provenance=provenance)
    (tested,) = await world.scorer().test([carried])
    assert scored_rows(tested) == scored_rows(open_test) - set(used)
    assert tested.result.provenance.writing_rows == tuple(used), "a later test leaves them out too"


async def test_a_label_of_which_it_is_unknown_what_made_it_is_not_scored(world: World) -> None:
    old = label_of(1, world.text(1), source=Source.KEYWORDS, model="keywords")
    carried = label_of(2, world.text(2), source=Source.MODEL, carried_from="runs/x/features/1/labels/1")
    assert await world.scorer().test([old, carried]) == []


@pytest.fixture(scope="module")
def server() -> Iterator[BrokenOllama]:
    with broken_ollama() as running:
        yield running


@pytest.fixture
async def chat(server: BrokenOllama) -> AsyncIterator[OllamaChat]:
    provider = OllamaChat(server.url)
    yield provider
    await provider.close()


async def test_a_model_sees_no_document_that_scores_its_label(world: World, chat: OllamaChat) -> None:
    source: Any = world.source
    prompts: list[str] = []
    ask = chat.chat

    async def recorded(model: str, question: Sequence[Any], **options: Any) -> str:
        prompts.append(question[-1]["content"])
        answer = f'{{"label": "nothing", "description": "", "alternatives": ["{world.text(4)}"]}}'
        return answer if model == "good" else await ask(model, question, **options)

    chat.chat = recorded  # type: ignore[method-assign]
    labeller = ModelLabeller(source, world.reader, chat)
    task = Task(world.features, [4], Options(model="ollama/good", positive_count=50, negative_count=50))
    ((draft,),) = [batch async for batch in labeller.drafts(task)]
    assert draft.text == world.text(4), "the better one of its answers"
    assert draft.provenance and draft.scores and draft.scores.score and draft.scores.score.low > 0.6
    assert [rejected.text for rejected in draft.provenance.rejected] == ["nothing"]
    held_out = {*draft.provenance.scoring_rows, *draft.provenance.hard_rows}
    assert len(draft.positive_rows) > 10 and len(draft.negative_rows) > 10
    assert not held_out & {*draft.positive_rows, *draft.negative_rows}
    assert not [row for row in held_out if world.source.all_texts[row] in prompts[0]]


def judge_of(world: World, chat: OllamaChat, model: str, scorer: LabelScorer) -> LabelJudge:
    source: Any = world.source
    judge = ModelJudge({"ollama": chat}, f"ollama/{model}")
    return LabelJudge(source=source, scorer=scorer, judge=judge, judgement=Judgement(model=judge.model))


async def test_a_judge_that_understands_scores_labels_as_they_deserve(world: World, chat: OllamaChat) -> None:
    scorer = world.scorer()
    judge = judge_of(world, chat, "good", scorer)
    topics = range(0, TOPICS, 12)
    right = await scorer.test([world.features.labels[topic] for topic in topics])
    assert await judge.failure(right) is None
    wrong = await scorer.test([label_of(topic, world.text(topic + 7)) for topic in topics])
    for tested, bounds in [*((own, (0.85, 1.0)) for own in right), *((own, (0.35, 0.65)) for own in wrong)]:
        result = await judge.judged(tested)
        scores = {own.scorer: own for own in result.measurements.scorers}
        detection, fuzzing = scores[Scorer.DETECTION], scores[Scorer.FUZZING]
        assert detection.hard and detection.random and detection.floor is not None
        assert bounds[0] <= detection.hard.auc <= bounds[1]
        assert detection.hard.active_count == detection.hard.silent_count == DOCUMENT_COUNT
        assert detection.floor < 0.65
        assert detection.question_count + fuzzing.question_count <= judge.questions_per_label
        assert not detection.unusable_count
        assert result.scores.judge == "ollama/good"
        if tested in right:
            assert detection.correlation and detection.correlation.low > 0.3
            assert fuzzing.hard and fuzzing.hard.low > 0.6
            agreements = {(pair.first, pair.second): pair.correlation for pair in result.measurements.agreements}
            assert agreements[Scorer.WORDS, Scorer.DETECTION].value > 0.8


@pytest.mark.parametrize("model", ["constant", "placed", "excessive", "refusing", "nonsense", "chatty"])
async def test_a_broken_judge_does_not_pass(world: World, chat: OllamaChat, model: str) -> None:
    scorer = world.scorer()
    tested = await scorer.test([world.features.labels[topic] for topic in range(10)])
    failure = await judge_of(world, chat, model, scorer).failure(tested)
    assert failure and f"ollama/{model} does not judge" in failure


async def test_unusable_answers_are_counted_and_no_score(world: World, chat: OllamaChat) -> None:
    judge = ModelJudge({"ollama": chat}, "ollama/sometimes")
    texts = [f"harbour ferry {number}" for number in range(20)]
    complete = await judge.rate(judge_prompts.detection, "ferry", texts)
    assert (complete.unusable_count, complete.question_count, complete.usable) == (0, 4, True)
    some = await judge.rate(judge_prompts.detection, "ferry", ["ODD", *texts[1:]])
    assert (some.unusable_count, some.question_count, some.usable) == (5, 5, False)
    scorer = world.scorer()
    (tested,) = await scorer.test([label_of(0, f"{world.text(0)} ODD")])
    result = await judge_of(world, chat, "sometimes", scorer).judged(tested)
    detection = next(own for own in result.measurements.scorers if own.scorer is Scorer.DETECTION)
    assert (detection.hard, detection.random, detection.correlation) == (None, None, None)
    assert detection.unusable_count == 50
    assert not [pair for pair in result.measurements.agreements if pair.second is Scorer.DETECTION]


@given(st.one_of(st.text(), st.recursive(st.none() | st.floats() | st.text() | st.booleans(), st.lists).map(repr)))
def test_whatever_a_judge_writes_is_ratings_or_refused(content: str) -> None:
    for answer in (content, f'{{"ratings": {content}}}', f'{{"ratings": [{content}, 3]}}'):
        try:
            ratings = judge_prompts.read(answer, 2)
        except judge_prompts.NotRatings:
            continue
        assert len(ratings) == 2
        assert all(0 <= rating <= 10 for rating in ratings)


def test_correlations_are_those_of_the_definition() -> None:
    random = np.random.default_rng(0)
    first = random.standard_normal(200)
    second = first + random.standard_normal(200)
    measured = measurements.pearson(first, second)
    assert measured is not None
    assert measured.value == pytest.approx(np.corrcoef(first, second)[0, 1])
    assert measured.low < 2**-0.5 < measured.high
    ranked = measurements.spearman(first, np.exp(first))
    assert ranked is not None and ranked.value == pytest.approx(1)
    assert measurements.pearson(first, np.ones(200)) is None


@dataclass
class Scoring:
    """The job on a real database."""

    world: World
    store: Store
    job: LabelScoring

    @property
    def features(self) -> Features:
        labels = self.store.active_labels(self.world.features.run.uid)
        return replace(self.world.features, labels=labels)

    async def run(self, context: Context, **options: Any) -> Context:
        await self.job.run(self.features, ScoringOptions(**options), context)  # type: ignore[arg-type]
        return context


@pytest.fixture
def scoring(world: World, chat: OllamaChat, tmp_path: Path) -> Iterator[Scoring]:
    database = Database(f"sqlite:///{tmp_path}/interpreter.db", MIGRATIONS)
    database.migrate()
    store = Store(database, Blobs(tmp_path / "blobs", records=Records(database, BLOBS)))
    source: Any = world.source
    job = LabelScoring(store=store, source=source, reader=world.reader, providers={"ollama": chat})
    store.add_labels(world.features.run, [world.features.labels[topic].draft for topic in range(20)])
    yield Scoring(world, store, job)
    database.close()


def judged_by(model: str, **options: Any) -> Judgement:
    values: dict[str, Any] = {"model": f"ollama/{model}", "document_count": 10, "max_questions": 1000, **options}
    return Judgement(**values)


async def test_scores_are_stored_and_count_for_trust_until_the_label_is_edited(scoring: Scoring) -> None:
    run = scoring.world.features.run
    before = scoring.store.interpretation(run).label_revision
    assert scoring.features.trust(0) is Trust.OPEN
    context = await scoring.run(Context())
    assert "20 labels scored" in context.lines
    assert scoring.features.trust(0) is Trust.TRUSTED
    history = scoring.store.label_changes(run.uid, since=0, history="").history
    changes = scoring.store.label_changes(run.uid, since=before, history=history)
    assert set(changes.labels) == set(range(20)), "followers are told"
    (stored,) = scoring.store.label_history(run.uid, 0, limit=5)
    assert stored.draft.measurements and stored.draft.provenance and stored.draft.provenance.scoring_rows
    test = messages.label(RunLabel(run, stored)).test
    assert [LabelTest.Scorer.Name(measured.scorer) for measured in test.measurements] == [
        "SCORER_WORDS",
        "SCORER_EMBEDDING",
        "SCORER_DECODER",
    ]
    assert all(measured.hard.low <= measured.hard.value <= measured.hard.high for measured in test.measurements)
    assert (await scoring.run(Context(name="jobs/k"))).lines == ["0 labels scored"], "nothing is new"
    scoring.store.add_label(run, label_of(0, scoring.world.text(1)).draft)
    assert scoring.features.score(0) is None
    assert scoring.features.trust(0) is Trust.OPEN
    await scoring.run(Context(name="jobs/l"))
    assert scoring.features.trust(0) is Trust.DOUBTFUL, "it is a different feature's"
    scoring.store.activate(run, 0, 1)
    assert scoring.features.trust(0) is Trust.TRUSTED, "the former label has its own score"


async def test_an_interrupted_job_asks_nothing_twice(scoring: Scoring, server: BrokenOllama) -> None:
    judgement = judged_by("good")
    with pytest.raises(JobCancelled):
        await scoring.run(Context(cancel_at_checkpoint=6), judgement=judgement, limit=10)
    assert len(scoring.store.scored_by("u", "jobs/j")) == 5
    before = server.judge_questions
    context = await scoring.run(Context(), judgement=judgement, limit=10)
    assert len(scoring.store.scored_by("u", "jobs/j")) == 10
    per_label = max(scoring.store.scored_by("u", "jobs/j").values())
    assert server.judge_questions - before <= 5 * per_label + 10
    assert "5 labels scored" in context.lines
    assert context.lines[0].startswith(
        "5 labels, up to 9 questions each to ollama/good, and 10 whose answers are known: up to 55"
    )


async def test_questions_are_bounded(scoring: Scoring, server: BrokenOllama) -> None:
    before = server.judge_questions
    context = await scoring.run(Context(), judgement=judged_by("good", max_questions=40))
    assert 0 < server.judge_questions - before <= 40
    assert "20 labels scored" in context.lines
    judged = [label for label in scoring.features.labels.values() if label.draft.scores and label.draft.scores.judge]
    assert f"{20 - len(judged)} labels not judged: no questions were left" in context.lines
    assert 0 < len(judged) < 5


@pytest.mark.parametrize("model", ["constant", "refusing"])
async def test_labels_are_scored_without_a_judge_that_fails(scoring: Scoring, model: str) -> None:
    context = await scoring.run(Context(), judgement=judged_by(model))
    assert any(f"ollama/{model} does not judge" in line for line in context.lines)
    for label in scoring.store.complete_labels("u", range(20)).values():
        assert label.draft.scores and label.draft.scores.score and label.draft.scores.judge is None
        assert label.draft.measurements
        assert {own.scorer for own in label.draft.measurements.scorers} == {
            Scorer.WORDS,
            Scorer.EMBEDDING,
            Scorer.DECODER,
        }


async def test_a_judge_is_not_found_wanting_for_labels_without_documents_to_ask_about(scoring: Scoring) -> None:
    """The first labels of the job are not testable: what they were made with is not recorded."""
    strongest = scoring.features.select(order=Order("max_activation", descending=True)).tolist()
    first = [index for index in strongest if index < 20][:8]
    for index in first:
        old = label_of(index, scoring.world.text(index), source=Source.KEYWORDS, model="keywords")
        scoring.store.add_label(scoring.world.features.run, old.draft)
    context = await scoring.run(Context(), judgement=judged_by("good"), limit=10)
    assert not any("does not judge" in line for line in context.lines)
    judged = [
        index for index, label in scoring.features.labels.items() if (scores := label.draft.scores) and scores.judge
    ]
    assert len(judged) == 2
    assert not set(judged) & set(first)


async def test_an_outage_of_a_judge_is_no_score(scoring: Scoring, server: BrokenOllama) -> None:
    with pytest.raises(ProviderUnavailable):
        await scoring.run(Context(), judgement=judged_by("dead"), limit=3)
    assert scoring.store.scored_by("u", "jobs/j") == {}
    server.repaired.add("dead")
    await scoring.run(Context(), judgement=judged_by("dead"), limit=3)
    server.repaired.discard("dead")
    assert len(scoring.store.scored_by("u", "jobs/j")) == 3
