"""The interpreter's jobs lose nothing and leave nothing behind, wherever they end."""

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from prisma.common.v1.job_pb2 import Job
from prisma.interpreter.v1.interpreter_service_pb2 import (
    BuildFamiliesRequest,
    ComputeStatisticsRequest,
    LabelFeaturesRequest,
)
from prisma_common.names import LABEL_FEATURES
from services.chassis.blobs import Blobs, Records
from services.chassis.database import Database
from services.chassis.errors import Unavailable
from services.chassis.job_context import JobCancelled
from services.chassis.jobs import Jobs
from services.chassis.nats import connect
from services.interpreter import statistics_files
from services.interpreter.decoder import Decoder
from services.interpreter.errors import RunNotTrained, StatisticsDamaged, UnusableAnswer
from services.interpreter.evidence_reader import EvidenceReader
from services.interpreter.families import Family
from services.interpreter.family_naming import FamilyNames
from services.interpreter.feature_cache import FeatureCache
from services.interpreter.features import Features, Order
from services.interpreter.follower import RunFollower
from services.interpreter.keyword_labeller import BATCH, KeywordLabeller
from services.interpreter.label_scoring import LabelScoring
from services.interpreter.labellers import Labeller, Labellers
from services.interpreter.labels import Draft, Options, Source
from services.interpreter.model_labeller import ChatProvider, ModelLabeller
from services.interpreter.runs import Interpretation, Run
from services.interpreter.scoring import Method, Scores
from services.interpreter.store import Store
from services.interpreter.tables import BLOBS
from services.interpreter.worker import InterpreterJobs
from tests.broken_openai import broken_openai
from tests.chassis.test_jobs import ended, working
from tests.interpreter.owners import Context, Owners, owners
from tests.interpreter.test_openai import chat
from tests.nats_server import NatsServer

LATENTS, ROWS = 300, 2000
MIGRATIONS = Path(__file__).parents[2] / "services/interpreter/migrations"
STATISTICS = ComputeStatisticsRequest(run="runs/r")
LABELS = LabelFeaturesRequest(run="runs/r")


class Events:
    async def publish(self, *_what: object) -> None:
        pass


class Starter:
    """Remembers which computations were requested."""

    def __init__(self) -> None:
        self.requested: list[str] = []

    async def compute_statistics(self, run: Run) -> None:
        self.requested.append(f"revision {run.revision}")

    async def recompute_statistics(self, run: Run, attempt: str) -> None:
        self.requested.append(attempt)

    async def training_job(self, run: Run) -> str | None:
        return run.job


@dataclass
class Interpreter:
    """The parts of the interpreter that jobs need, on real files and SQL."""

    owners: Owners
    store: Store
    blobs: Blobs
    cache: FeatureCache
    starter: Starter
    jobs: InterpreterJobs
    follower: RunFollower
    scratch: Path

    @property
    def run(self) -> Run:
        return self.owners.current_run

    def labels(self) -> dict[int, str]:
        """The answers of all features: labels, or why there is none. Most of these features are noise."""
        labels = self.store.active_labels(self.run.uid)
        return {index: label.draft.text or label.draft.description for index, label in labels.items()}


@pytest.fixture
def interpreter(tmp_path: Path) -> Iterator[Interpreter]:
    with interpreter_on(tmp_path) as opened:
        yield opened


@contextmanager
def interpreter_on(
    folder: Path, model_provider: ChatProvider | None = None, label_part_size: int | None = None
) -> Iterator[Interpreter]:
    """An interpreter whose data is in a folder. model_provider: of more label models than keywords."""
    upstream: Any = owners(LATENTS, ROWS)
    database = Database(f"sqlite:///{folder}/interpreter.db", MIGRATIONS)
    database.migrate()
    blobs = Blobs(folder / "blobs", records=Records(database, BLOBS))
    store, starter = Store(database, blobs), Starter()
    cache = FeatureCache(
        store=store,
        blobs=blobs,
        upstream=upstream,
        rebuild=starter.recompute_statistics,
        training_job=starter.training_job,
    )
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    events: Any = Events()
    reader = EvidenceReader(upstream)
    labellers: dict[str, Labeller] = {"keywords": KeywordLabeller(upstream, reader)}
    if model_provider is not None:
        labellers[model_provider.name] = ModelLabeller(upstream, reader, model_provider)
    jobs = InterpreterJobs(
        store=store,
        blobs=blobs,
        scratch=scratch,
        upstream=upstream,
        cache=cache,
        labellers=Labellers(labellers),
        family_names=FamilyNames(upstream, reader),
        scoring=LabelScoring(store=store, source=upstream, reader=reader, providers={}),
        events=events,
        ack_wait=30,
        label_part_size=label_part_size,
    )
    any_starter: Any = starter
    follower = RunFollower(store=store, blobs=blobs, upstream=upstream, cache=cache, starter=any_starter)
    yield Interpreter(
        owners=upstream,
        store=store,
        blobs=blobs,
        cache=cache,
        starter=starter,
        jobs=jobs,
        follower=follower,
        scratch=scratch,
    )
    database.close()


async def run_statistics(interpreter: Interpreter, **options: Any) -> None:
    context: Any = Context(**options)
    await interpreter.jobs.statistics(STATISTICS, context)


async def label(interpreter: Interpreter, request: LabelFeaturesRequest = LABELS, **options: Any) -> Context:
    context: Any = Context(**options)
    await interpreter.jobs.label(request, context)
    return context


async def test_cancelled_labels_stay_and_the_rest_is_labelled_once(interpreter: Interpreter) -> None:
    await run_statistics(interpreter)
    with pytest.raises(JobCancelled):
        await label(interpreter, cancel_at_checkpoint=3)
    labels = interpreter.labels()
    assert len(labels) == 2 * BATCH

    await label(interpreter)
    complete = interpreter.labels()
    assert complete.items() >= labels.items()
    assert len(complete) == LATENTS, "each live feature has an answer"
    assert all(len(interpreter.store.label_history("u", index, limit=5)) == 1 for index in complete), "labelled twice"


async def test_labels_do_not_depend_on_where_a_job_was_interrupted(interpreter: Interpreter) -> None:
    await run_statistics(interpreter)
    await label(interpreter)
    undisturbed = interpreter.labels()
    relabel = LabelFeaturesRequest(run="runs/r", relabel=True)
    for _ in range(2):
        with pytest.raises(JobCancelled):
            await label(interpreter, relabel, name="jobs/k", cancel_at_checkpoint=2)
    await label(interpreter, relabel, name="jobs/k")
    assert interpreter.labels() == undisturbed
    again = await label(interpreter, relabel, name="jobs/k")
    assert again.checkpoints == 0, "this job has labelled all"


async def test_interpreters_that_share_their_data_share_a_labelling_by_a_model(
    interpreter: Interpreter, nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many unusable answers fail the job as a whole, by their share of all; no single part is too small for one."""
    await run_statistics(interpreter)
    order = Order("max_activation", descending=True)
    ranked = (await interpreter.cache.features("runs/r")).select(order=order).tolist()
    unusable = set(ranked[:12])
    draft = ModelLabeller._draft  # pyright: ignore[reportPrivateUsage]

    async def draft_or_none(labeller: ModelLabeller, features: Features, index: int, options: Options) -> Draft:
        if index in unusable:
            raise UnusableAnswer(f"feature {index}: no usable label")
        return await draft(labeller, features, index, options)

    monkeypatch.setattr(ModelLabeller, "_draft", draft_or_none)
    link = await connect(nats_server.url)
    jobs = Jobs(link)
    with broken_openai() as server:
        async with chat(server.url) as lab:
            with interpreter_on(tmp_path, lab, 32) as first, interpreter_on(tmp_path, lab, 32) as second:
                request = LabelFeaturesRequest(run="runs/r", limit=96, options={"model": "lab/chat-good"})
                job = await jobs.submit("interpreter", LABEL_FEATURES, request, resources=["runs/r"])
                async with working(link, jobs, *first.jobs.kinds()), working(link, jobs, *second.jobs.kinds()):
                    failed = await ended(jobs, job.name)
                    partitions = (await jobs.store.get(job.name)).record.partitions
                    unusable &= set(ranked[:4])
                    await jobs.retry(job.name)
                    done = await ended(jobs, job.name)
    await link.close()
    assert [index for part in partitions for index in part.indices] == ranked[:96]
    assert [part.size for part in partitions] == [32, 32, 32]
    assert failed.state == Job.STATE_FAILED
    assert re.match(r"1\d of 96 features have no label: feature \d+: no usable label", failed.error.message)
    assert done.state == Job.STATE_SUCCEEDED, done.error
    assert done.progress.unit == "features"
    assert done.log[-1].text.startswith("4 of "), done.log
    labels = interpreter.store.active_labels("u")
    assert set(labels) == set(ranked[4:96])
    assert {label.draft.job for label in labels.values()} == {job.name}
    assert all(len(interpreter.store.label_history("u", index, limit=5)) == 1 for index in labels), "labelled twice"


async def test_statistics_keep_the_stability_that_the_trainer_has_lost(
    interpreter: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file was deleted by an earlier version, or is damaged."""
    decoder = await interpreter.owners.decoder(interpreter.run)
    stability = np.linspace(0.1, 0.9, LATENTS, dtype=np.float32)

    async def with_stability(run: Run, indices: Sequence[int] = ()) -> Decoder:
        return replace(decoder, stability=stability)

    with monkeypatch.context() as patch:
        patch.setattr(interpreter.owners, "decoder", with_stability)
        await run_statistics(interpreter)
    await run_statistics(interpreter)
    statistics = (await interpreter.cache.features("runs/r")).statistics
    np.testing.assert_array_equal(statistics.stability, stability)
    version = interpreter.store.interpretation(interpreter.run).statistics
    assert version is not None
    folder = statistics_files.folder_of(interpreter.run.uid, version.attempt)
    (interpreter.blobs.folder / folder / "stability.npy").unlink()
    await run_statistics(interpreter)
    assert np.isnan((await interpreter.cache.features("runs/r")).statistics.stability).all()


async def test_an_outage_of_the_embedder_is_no_failure_of_the_job(interpreter: Interpreter) -> None:
    await run_statistics(interpreter)
    interpreter.owners.down = True
    with pytest.raises(Unavailable):
        await label(interpreter)
    interpreter.owners.down = False
    await label(interpreter)
    assert len(interpreter.labels()) == LATENTS


@pytest.mark.parametrize(("job", "advice"), [(None, "train it first"), ("jobs/t", "it is in training .jobs/t")])
async def test_a_run_without_codes_is_in_training_or_needs_one(
    interpreter: Interpreter, job: str | None, advice: str
) -> None:
    interpreter.owners.current_run = replace(interpreter.run, trained=False, job=job)
    for read in (interpreter.cache.features, interpreter.cache.trained_run):
        with pytest.raises(RunNotTrained, match=advice):
            await read("runs/r")


async def test_a_limit_is_kept_across_attempts(interpreter: Interpreter) -> None:
    await run_statistics(interpreter)
    request = LabelFeaturesRequest(run="runs/r", limit=BATCH + 10)
    with pytest.raises(JobCancelled):
        await label(interpreter, request, cancel_at_checkpoint=2)
    await label(interpreter, request)
    assert len(interpreter.labels()) == BATCH + 10


@pytest.mark.parametrize("moment", ["reading codes", "667 rows read", "computing"])
async def test_cancelled_statistics_leave_no_thread_no_file_and_no_error(interpreter: Interpreter, moment: str) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
    with pytest.raises(JobCancelled):
        await run_statistics(interpreter, cancel_at=moment)
    assert asyncio.all_tasks() == {asyncio.current_task()}, "work that nobody awaits"
    assert not any(interpreter.scratch.iterdir())
    gc.collect()
    assert not reported
    assert interpreter.store.interpretation(interpreter.run).statistics is None


async def test_a_task_that_is_cancelled_twice_still_waits_for_its_thread(interpreter: Interpreter) -> None:
    task = asyncio.ensure_future(run_statistics(interpreter))
    while not any(interpreter.scratch.iterdir()):  # noqa: ASYNC110 - a folder has no event to wait for
        await asyncio.sleep(0)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not any(interpreter.scratch.iterdir())


async def test_statistics_that_are_replaced_while_they_are_read_are_no_damage(
    interpreter: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run_statistics(interpreter)
    current = interpreter.cache.interpretation
    outdated = [await current(interpreter.run)] * 2
    await run_statistics(interpreter)

    async def interpretation(run: Run) -> Interpretation:
        return outdated.pop() if outdated else await current(run)

    monkeypatch.setattr(interpreter.cache, "interpretation", interpretation)
    features = await interpreter.cache.features_of(interpreter.run)
    assert not outdated
    assert features is not None
    assert features.interpretation == await current(interpreter.run)
    assert not interpreter.starter.requested


@pytest.mark.parametrize("damage", ["deleted", "cut", "flipped"])
async def test_damaged_statistics_are_told_and_computed_again(interpreter: Interpreter, damage: str) -> None:
    await run_statistics(interpreter)
    ((uid, attempt),) = interpreter.store.statistics_folders()
    file = interpreter.blobs.folder / statistics_files.folder_of(uid, attempt) / "density.npy"
    content = file.read_bytes()
    file.unlink()
    if damage != "deleted":
        file.write_bytes(content[:100] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(StatisticsDamaged) as caught:
        await interpreter.cache.features("runs/r")
    assert caught.value.reason == "BLOB_DAMAGED"
    assert caught.value.metadata["blob"].endswith("density.npy")
    assert interpreter.starter.requested == [attempt]
    await run_statistics(interpreter)
    assert (await interpreter.cache.features("runs/r")).count == LATENTS


@pytest.mark.parametrize("kind", ["label", "families"])
async def test_a_job_waits_while_damaged_statistics_are_computed_again(interpreter: Interpreter, kind: str) -> None:
    await run_statistics(interpreter)
    ((uid, attempt),) = interpreter.store.statistics_folders()
    (interpreter.blobs.folder / statistics_files.folder_of(uid, attempt) / "density.npy").unlink()
    work = {
        "label": lambda: interpreter.jobs.label(LABELS, cast("Any", Context())),
        "families": lambda: interpreter.jobs.families(BuildFamiliesRequest(run="runs/r"), cast("Any", Context())),
    }[kind]
    with pytest.raises(Unavailable, match="computed again"):
        await work()
    assert interpreter.starter.requested == [attempt]
    await run_statistics(interpreter)
    await work()


async def test_damage_that_a_scrub_finds_is_computed_again(interpreter: Interpreter) -> None:
    await run_statistics(interpreter)
    ((uid, attempt),) = interpreter.store.statistics_folders()
    await interpreter.follower.catch_up(None)
    assert interpreter.starter.requested == []
    (interpreter.blobs.folder / statistics_files.folder_of(uid, attempt) / "density.npy").unlink()
    interpreter.blobs.scrub()
    await interpreter.follower.catch_up(None)
    assert interpreter.starter.requested == [attempt]


async def test_statistics_follow_new_codes_and_restored_ones(interpreter: Interpreter) -> None:
    await interpreter.follower.catch_up(None)
    assert interpreter.starter.requested == ["revision 1"]
    await run_statistics(interpreter)
    ((_uid, attempt),) = interpreter.store.statistics_folders()

    async def requested_after(revision: int, history: str) -> list[str]:
        interpreter.starter.requested.clear()
        interpreter.owners.grow(revision, history)
        await interpreter.follower.catch_up(None)
        return interpreter.starter.requested

    assert await requested_after(1, "after a restart") == []
    version = interpreter.store.interpretation(interpreter.run).statistics
    assert version is not None
    assert version.history == "after a restart"
    assert await requested_after(2, "after a restart") == ["revision 2"]
    assert await requested_after(0, "of an older copy") == [attempt], "the trainer went back"


async def test_statistics_of_codes_that_were_replaced_are_computed_again(interpreter: Interpreter) -> None:
    interpreter.owners.grow(1, "of another copy")
    await run_statistics(interpreter)
    ((_uid, attempt),) = interpreter.store.statistics_folders()
    interpreter.owners.grow(1, "restored")
    await interpreter.follower.catch_up(None)
    assert interpreter.starter.requested == [attempt]


async def test_cached_labels_are_the_stored_ones(interpreter: Interpreter) -> None:
    await run_statistics(interpreter)
    assert (await interpreter.cache.features("runs/r")).labels == {}
    for number in range(3):
        draft = Draft(index=number, text=f"label {number}", description="", source=Source.HUMAN)
        interpreter.store.add_label(interpreter.run, draft)
        features = await interpreter.cache.features("runs/r")
        assert features.labels == interpreter.store.active_labels("u")
        assert features.interpretation.labelled_count == number + 1


async def test_families_are_of_activations_above_thresholds_unless_the_tail_is_included(
    interpreter: Interpreter,
) -> None:
    await run_statistics(interpreter)
    pairs = BuildFamiliesRequest(run="runs/r", method=BuildFamiliesRequest.METHOD_PUBLISHED, threshold=0.05)
    with_tail = BuildFamiliesRequest(
        run="runs/r", method=BuildFamiliesRequest.METHOD_PUBLISHED, threshold=0.05, include_tail=True
    )

    async def built(request: BuildFamiliesRequest) -> list[Family]:
        await interpreter.jobs.families(request, cast("Any", Context()))
        return interpreter.store.families(interpreter.run.uid)

    unlabelled = await built(pairs)
    assert unlabelled
    assert await built(with_tail) == unlabelled
    # No activation reaches the thresholds of these labels.
    scores = Scores(
        method=Method.EMBEDDING,
        threshold=1e6,
        score=None,
        embedding_hard=None,
        embedding_random=None,
        words_hard=None,
        words_random=None,
        deciles=(),
    )
    drafts = [
        Draft(index=index, text="a label", description="", source=Source.KEYWORDS, scores=scores)
        for index in range(LATENTS)
    ]
    interpreter.store.add_labels(interpreter.run, drafts)
    assert await built(pairs) == []
    assert await built(with_tail) == unlabelled


async def test_the_top_of_a_family_reaches_its_threshold_most_often(interpreter: Interpreter) -> None:
    await run_statistics(interpreter)
    scores = Scores(
        method=Method.EMBEDDING,
        threshold=None,
        score=None,
        embedding_hard=None,
        embedding_random=None,
        words_hard=None,
        words_random=None,
        deciles=(),
    )
    thresholds = np.random.default_rng(0).uniform(0.1, 2, LATENTS)
    drafts = [
        Draft(
            index=index,
            text="a label",
            description="",
            source=Source.KEYWORDS,
            scores=replace(scores, threshold=float(threshold)),
        )
        for index, threshold in enumerate(thresholds)
    ]
    interpreter.store.add_labels(interpreter.run, drafts)
    request = BuildFamiliesRequest(run="runs/r", threshold=0.02, rounds=1)
    await interpreter.jobs.families(request, cast("Any", Context()))
    families = interpreter.store.families(interpreter.run.uid)
    assert families
    counts = np.zeros(LATENTS, np.int64)
    async for codes in interpreter.owners.codes(interpreter.run):
        np.add.at(counts, codes.indices[codes.values >= thresholds[codes.indices]], 1)
    for family in families:
        assert family.root == max(family.indices, key=lambda index: (counts[index], -index))
