"""Starts the trainer: `python -P -m services.trainer`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from prisma.trainer.v1 import trainer_service_pb2_grpc
from services.chassis.blobs import Blobs
from services.chassis.channels import open_channel
from services.chassis.database import Database, database_dependency
from services.chassis.events import Follower
from services.chassis.server import Chassis, Parts, Servicer, run_service
from services.trainer.sae.kernels import device_of
from services.trainer.servicer import TrainerServicer
from services.trainer.settings import TrainerSettings
from services.trainer.store import Store
from services.trainer.upstream import Embedder
from services.trainer.vector_files import VectorFiles
from services.trainer.worker import DELETED, SERVICE, TrainerJobs


def main() -> None:
    """Runs until SIGTERM."""
    settings = TrainerSettings()

    async def build(chassis: Chassis) -> Parts:
        database = Database(settings.database_of(SERVICE), Path(__file__).parent / "migrations")
        await asyncio.to_thread(database.migrate)
        folder = settings.data_of(SERVICE) / "blobs"
        blobs = Blobs(folder, settings.blob_url)
        store = Store(database)
        channel = open_channel(settings.embedder_address, settings)
        embedder = Embedder(channel)
        files = VectorFiles(folder)
        device = await asyncio.to_thread(device_of, settings.trainer_device)
        jobs = TrainerJobs(
            store,
            blobs,
            folder,
            files,
            embedder,
            chassis.events,
            device,
            settings.trainer_group,
            settings.ack_wait_seconds,
            settings.trainer_push_url,
        )

        def sweep() -> None:
            files.sweep(store.fingerprints())
            for uid in store.deleted_uids():
                blobs.delete(f"runs/{uid}")

        servicer = TrainerServicer(
            store,
            folder,
            embedder,
            chassis.jobs,
            chassis.events,
            sweep,
            settings.trainer_max_weights_bytes,
            bool(settings.trainer_push_url),
        )

        async def follow_deletions(_names: frozenset[str] | None) -> None:
            """Deletes runs of datasets that were deleted: tombstones say so, never absence."""
            await asyncio.to_thread(sweep)
            gone = await embedder.deleted_datasets()
            for run in await asyncio.to_thread(store.runs, None, 1_000_000, [], False):
                if run.source.dataset_uid in gone:
                    await asyncio.to_thread(store.delete, run.id)
                    await chassis.events.publish(DELETED, run.name)
                    await chassis.jobs.cancel_for(run.name)
            await asyncio.to_thread(sweep)

        async def close() -> None:
            await channel.close()
            await asyncio.to_thread(database.close)

        follower = Follower(chassis.events, ["dataset.deleted"], follow_deletions, every=settings.catch_up_seconds)
        return Parts(
            servicers=[
                Servicer(
                    trainer_service_pb2_grpc.add_TrainerServiceServicer_to_server,
                    servicer,
                    "prisma.trainer.v1.TrainerService",
                )
            ],
            kinds=jobs.kinds(),
            tasks=[follower.run, jobs.compile_kernels],
            dependencies=[database_dependency(database)],
            close=[close],
        )

    run_service(SERVICE, settings, settings.trainer_listen, build)


if __name__ == "__main__":
    main()
