"""Starts the interpreter: `python -P -m services.interpreter`."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from prisma.interpreter.v1.interpreter_service_pb2_grpc import add_InterpreterServiceServicer_to_server
from prisma_common import names
from services.chassis.blobs import Blobs, Records, Scrubber, blobs_dependency
from services.chassis.database import database_dependency, migrate_and_close, open_database, reclaim_space_hourly
from services.chassis.events import Follower
from services.chassis.server import Chassis, Parts, Servicer, run_service
from services.interpreter.analyses import Analyses
from services.interpreter.analyzer import Analyzer
from services.interpreter.evidence_reader import EvidenceReader
from services.interpreter.explorer import Explorer
from services.interpreter.family_naming import FamilyNames
from services.interpreter.feature_cache import FeatureCache
from services.interpreter.follower import RunFollower
from services.interpreter.job_starter import SERVICE, JobStarter, RequestedJobs
from services.interpreter.keyword_labeller import KeywordLabeller
from services.interpreter.label_editor import LabelEditor
from services.interpreter.label_import import LabelImports
from services.interpreter.label_scoring import LabelScoring
from services.interpreter.labellers import Labellers
from services.interpreter.labels import KEYWORDS
from services.interpreter.model_labeller import ChatProvider, ModelLabeller
from services.interpreter.ollama import OllamaChat
from services.interpreter.openai import OpenAIChat
from services.interpreter.servicer import InterpreterServicer
from services.interpreter.settings import InterpreterSettings
from services.interpreter.storage import Sweeper, prepare
from services.interpreter.store import Store
from services.interpreter.tables import BLOBS
from services.interpreter.upstream import Upstream
from services.interpreter.worker import InterpreterJobs

_FOLDER = Path(__file__).parent


def main() -> None:
    """Runs until SIGTERM."""
    settings = InterpreterSettings()
    run_service(
        SERVICE,
        settings,
        settings.interpreter_listen,
        partial(_build, settings),
        migrate=lambda files: migrate_and_close(open_database(settings, SERVICE, _FOLDER), files),
    )


async def _build(settings: InterpreterSettings, chassis: Chassis) -> Parts:
    folder = settings.data_of(SERVICE)
    scratch = folder / "scratch"
    database = open_database(settings, SERVICE, _FOLDER)
    blobs = Blobs(
        folder / "blobs",
        settings.blob_url,
        records=Records(database, BLOBS),
        cache_bytes=settings.blob_cache_bytes,
    )
    store = Store(database, blobs)
    await asyncio.to_thread(prepare, database, store, blobs)
    scratch.mkdir(exist_ok=True)
    upstream = Upstream(settings)
    ollama = OllamaChat(settings.ollama_url)
    openai = [OpenAIChat(endpoint) for endpoint in settings.read_providers().endpoints]
    providers: dict[str, ChatProvider] = {provider.name: provider for provider in (ollama, *openai)}
    reader = EvidenceReader(upstream)
    model_labellers = {name: ModelLabeller(upstream, reader, provider) for name, provider in providers.items()}
    labellers = Labellers(
        {KEYWORDS: KeywordLabeller(upstream, reader), **model_labellers},
        unconfigured=settings.unconfigured_providers,
    )
    starter = JobStarter(chassis.jobs)
    cache = FeatureCache(
        store=store,
        blobs=blobs,
        upstream=upstream,
        rebuild=starter.recompute_statistics,
        training_job=starter.training_job,
    )
    runs = RunFollower(store=store, blobs=blobs, upstream=upstream, cache=cache, starter=starter)
    events = [names.RUN_CHANGED, names.RUN_DELETED]
    follower = Follower(chassis.events, events, runs.catch_up, every=settings.catch_up_seconds)
    jobs = InterpreterJobs(
        store=store,
        blobs=blobs,
        scratch=scratch,
        upstream=upstream,
        cache=cache,
        labellers=labellers,
        family_names=FamilyNames(upstream, reader),
        scoring=LabelScoring(store=store, source=upstream, reader=reader, providers=providers),
        events=chassis.events,
        ack_wait=settings.ack_wait_seconds,
        label_part_size=settings.label_part if settings.shares_data else None,
    )
    analyzer = Analyzer(cache=cache, upstream=upstream)
    servicer = InterpreterServicer(
        explorer=Explorer(cache=cache, upstream=upstream),
        editor=LabelEditor(store=store, cache=cache, upstream=upstream, labellers=labellers, events=chassis.events),
        imports=LabelImports(store=store, cache=cache, upstream=upstream, events=chassis.events),
        labellers=labellers,
        analyzer=analyzer,
        analyses=Analyses(cache=cache, upstream=upstream, analyzer=analyzer),
        jobs=RequestedJobs(starter=starter, cache=cache, labellers=labellers),
    )

    async def close() -> None:
        await upstream.close()
        for provider in (ollama, *openai):
            await provider.close()
        await asyncio.to_thread(database.close)

    return Parts(
        servicers=[
            Servicer(add_InterpreterServiceServicer_to_server, servicer, "prisma.interpreter.v1.InterpreterService")
        ],
        kinds=jobs.kinds(),
        tasks=[
            follower.run,
            Sweeper(store=store, blobs=blobs, scratch=scratch).run,
            Scrubber(blobs, every_seconds=settings.scrub_seconds).run,
            partial(reclaim_space_hourly, database),
        ],
        dependencies=[
            database_dependency(database),
            blobs_dependency(blobs, "statistics", "statistics are computed again"),
            ollama.server.dependency(settings, ollama.ids),
            *(provider.server.dependency("chat") for provider in openai),
        ],
        close=[close],
    )


if __name__ == "__main__":
    main()
