"""Starts the embedder: `python -P -m services.embedder`."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from prisma.embedder.v1.embedder_service_pb2_grpc import add_EmbedderServiceServicer_to_server
from services.chassis.blobs import Blobs, Records, Scrubber, blobs_dependency
from services.chassis.data_folder import SCRATCH
from services.chassis.database import (
    Database,
    database_dependency,
    migrate_and_close,
    open_database,
    reclaim_space_hourly,
)
from services.chassis.server import Chassis, Parts, Servicer, run_service
from services.embedder.comparing import Comparing
from services.embedder.datasets import Datasets
from services.embedder.deleting import Deletion, DeletionJob
from services.embedder.embedding import Embedding
from services.embedder.import_records import ImportRecords
from services.embedder.imports import Imports
from services.embedder.map_job import MapJob, Maps
from services.embedder.providers import EmbeddingModels
from services.embedder.providers.builtin import BuiltinProvider
from services.embedder.providers.ollama import OllamaProvider
from services.embedder.providers.onnx import OnnxProvider
from services.embedder.providers.openai import OpenAIProvider
from services.embedder.providers.prompts import PromptTable
from services.embedder.providers.recipes import PromptedModels
from services.embedder.servicer import EmbedderServicer
from services.embedder.settings import EmbedderSettings
from services.embedder.statistics_job import Statistics, StatisticsJob
from services.embedder.statistics_records import StatisticsRecords
from services.embedder.store import Store
from services.embedder.streams import Streams
from services.embedder.sweeping import Sweeper
from services.embedder.tables import BLOBS
from services.embedder.vector_store import VectorStore
from services.embedder.worker import SERVICE, EmbedderJobs

_ADVICE = "`prisma embed --again` embeds their documents again"
_FOLDER = Path(__file__).parent


def main() -> None:
    """Runs until SIGTERM."""
    settings = EmbedderSettings()
    run_service(
        SERVICE,
        settings,
        settings.embedder_listen,
        partial(_build, settings),
        migrate=lambda files: migrate_and_close(open_database(settings, SERVICE, _FOLDER), files),
    )


async def _build(settings: EmbedderSettings, chassis: Chassis) -> Parts:
    folder = settings.data_of(SERVICE)
    database = open_database(settings, SERVICE, _FOLDER)
    blobs = Blobs(
        folder / "blobs",
        settings.blob_url,
        records=Records(database, BLOBS),
        cache_bytes=settings.blob_cache_bytes,
    )
    store, vectors = Store(database, blobs), VectorStore(database, blobs)
    await asyncio.to_thread(lambda: _prepare(database, store, vectors, folder))
    declared = settings.read_providers()
    prompts = PromptTable(declared.prompts)
    ollama = OllamaProvider(settings.ollama_url)
    onnx = OnnxProvider(settings.onnx_folders)
    openai = [OpenAIProvider(endpoint) for endpoint in declared.endpoints]
    servers = {server.name: PromptedModels(server, prompts) for server in (ollama, *openai)}
    models = EmbeddingModels(
        {"builtin": BuiltinProvider(), "onnx": onnx, **servers}, unconfigured=settings.unconfigured_providers
    )
    records, statistics = ImportRecords(database), StatisticsRecords(database)
    sweeper = Sweeper(store, records, statistics, vectors)
    datasets = Datasets(
        store=store, vectors=vectors, models=models, jobs=chassis.jobs, events=chassis.events, sweep=sweeper.wake
    )
    servicer = EmbedderServicer(
        datasets=datasets,
        imports=Imports(
            store=store,
            records=records,
            vectors=vectors,
            models=models,
            folder=folder,
            max_bytes=settings.max_import_bytes,
        ),
        streams=Streams(store, vectors),
        comparing=Comparing(store, vectors),
        embedding=Embedding(store=store, models=models, jobs=chassis.jobs),
        deletion=Deletion(store=store, jobs=chassis.jobs),
        statistics=Statistics(store=store, records=statistics, jobs=chassis.jobs),
        maps=Maps(store=store, vectors=vectors, records=statistics, jobs=chassis.jobs),
        models=models,
        settings=settings,
    )
    jobs = EmbedderJobs(
        store=store,
        vectors=vectors,
        models=models,
        events=chassis.events,
        batch_size=settings.embed_batch,
        part_size=settings.embed_part if settings.shares_data else None,
        ack_wait_seconds=settings.ack_wait_seconds,
    )

    async def close() -> None:
        for server in (ollama, *openai):
            await server.close()
        await onnx.close()
        await asyncio.to_thread(database.close)

    providers = [ollama.server.dependency(settings, servers[ollama.name].names)]
    providers += [provider.server.dependency("embeddings") for provider in openai]
    if settings.onnx_folders:
        providers.append(onnx.dependency())
    return Parts(
        servicers=[Servicer(add_EmbedderServiceServicer_to_server, servicer, "prisma.embedder.v1.EmbedderService")],
        kinds=[
            *jobs.kinds(),
            DeletionJob(store, chassis.events).kind(settings.ack_wait_seconds),
            StatisticsJob(store=store, vectors=vectors, records=statistics).kind(settings.ack_wait_seconds),
            MapJob(store=store, vectors=vectors, records=statistics, folder=folder / SCRATCH).kind(
                settings.ack_wait_seconds
            ),
        ],
        tasks=[
            sweeper.run,
            onnx.load,
            Scrubber(blobs, every_seconds=settings.scrub_seconds).run,
            partial(reclaim_space_hourly, database),
        ],
        dependencies=[database_dependency(database), blobs_dependency(blobs, "vectors", _ADVICE), *providers],
        close=[close],
    )


def _prepare(database: Database, store: Store, vectors: VectorStore, folder: Path) -> None:
    """Brings the data to this version's form, and begins new histories."""
    database.prepare(beside=folder / "blobs")
    vectors.adopt_unrecorded()
    store.begin_histories()


if __name__ == "__main__":
    main()
