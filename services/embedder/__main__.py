"""Starts the embedder: `python -P -m services.embedder`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from prisma.embedder.v1 import embedder_service_pb2_grpc
from services.chassis import logs
from services.chassis.blobs import Blobs
from services.chassis.database import Database, database_dependency
from services.chassis.server import Chassis, Parts, Servicer, run_service
from services.embedder.providers import EmbeddingModels
from services.embedder.providers.builtin import BuiltinProvider
from services.embedder.providers.ollama import OllamaProvider
from services.embedder.servicer import EmbedderServicer
from services.embedder.settings import EmbedderSettings
from services.embedder.store import Store
from services.embedder.worker import SERVICE, EmbedderJobs

SWEEP_SECONDS = 3600.0


def main() -> None:
    """Runs until SIGTERM."""
    settings = EmbedderSettings()

    async def build(chassis: Chassis) -> Parts:
        database = Database(settings.database_of(SERVICE), Path(__file__).parent / "migrations")
        await asyncio.to_thread(database.migrate)
        store = Store(database, Blobs(settings.data_of(SERVICE) / "blobs", settings.blob_url))
        ollama = OllamaProvider(settings.ollama_url)
        models = EmbeddingModels({"builtin": BuiltinProvider(), "ollama": ollama})
        jobs = EmbedderJobs(store, models, chassis.events, settings.embed_batch, settings.ack_wait_seconds)
        servicer = EmbedderServicer(store, models, chassis.jobs, chassis.events, settings)

        async def close() -> None:
            await ollama.close()
            await asyncio.to_thread(database.close)

        return Parts(
            servicers=[
                Servicer(
                    embedder_service_pb2_grpc.add_EmbedderServiceServicer_to_server,
                    servicer,
                    "prisma.embedder.v1.EmbedderService",
                )
            ],
            kinds=jobs.kinds(),
            tasks=[lambda: _sweep(store)],
            dependencies=[
                database_dependency(database),
                ollama.server.dependency(settings, ollama.names),
            ],
            close=[close],
        )

    run_service(SERVICE, settings, settings.embedder_listen, build)


async def _sweep(store: Store) -> None:
    """Finishes deletions that were cut short, and deletes blobs that no document names."""
    log = logs.get(__name__)
    while True:
        try:
            await asyncio.to_thread(store.sweep_deleted)
            for path in await asyncio.to_thread(store.sweep_orphans):
                log.info("orphan deleted", path=path)
        except (OSError, SQLAlchemyError):
            log.exception("sweeping failed; again in an hour")
        await asyncio.sleep(SWEEP_SECONDS)


if __name__ == "__main__":
    main()
