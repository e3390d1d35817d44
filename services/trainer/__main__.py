"""Starts the trainer: `python -P -m services.trainer`."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from obstore.store import from_url

from prisma.trainer.v1.trainer_service_pb2_grpc import add_TrainerServiceServicer_to_server
from prisma_common import names
from services.chassis.blobs import Blobs, Records, Scrubber, blobs_dependency
from services.chassis.channels import open_channel
from services.chassis.database import (
    Database,
    database_dependency,
    migrate_and_close,
    open_database,
    reclaim_space_hourly,
)
from services.chassis.events import Follower
from services.chassis.server import Chassis, Parts, Servicer, run_service
from services.trainer.autoencoders import Autoencoders
from services.trainer.encoding import DatasetEncoder
from services.trainer.following import DatasetFollower
from services.trainer.housekeeping import Housekeeping
from services.trainer.lifecycle import Runs
from services.trainer.sae.devices import device_of
from services.trainer.servicer import TrainerServicer
from services.trainer.settings import SERVICE, TrainerSettings
from services.trainer.store import Store
from services.trainer.tables import BLOBS
from services.trainer.upstream import Embedder
from services.trainer.vector_cache import VectorCache
from services.trainer.weight_import import WeightImports
from services.trainer.worker import TrainerJobs

_ADVICE = (
    "codes are written again, weights come back from a backup (`prisma restore`); without its stability.npz, a run "
    "works, but no feature is trusted unless its statistics were computed before"
)
_FOLDER = Path(__file__).parent


def main() -> None:
    """Runs until SIGTERM."""
    settings = TrainerSettings()
    run_service(
        SERVICE,
        settings,
        settings.trainer_listen,
        partial(_build, settings),
        migrate=lambda files: migrate_and_close(open_database(settings, SERVICE, _FOLDER), files),
    )


async def _build(settings: TrainerSettings, chassis: Chassis) -> Parts:
    data = settings.data_of(SERVICE)
    database = open_database(settings, SERVICE, _FOLDER)
    blobs = Blobs(
        data / "blobs",
        settings.blob_url,
        records=Records(database, BLOBS),
        cache_bytes=settings.blob_cache_bytes,
    )
    store = Store(database, blobs)
    await asyncio.to_thread(lambda: _prepare(database, blobs, store, data))
    channel = open_channel(settings.embedder_address, settings)
    embedder = Embedder(channel)
    cache = VectorCache(data / "vectors")
    autoencoders = Autoencoders(blobs)
    housekeeping = Housekeeping(
        store=store, blobs=blobs, cache=cache, embedder=embedder, events=chassis.events, jobs=chassis.jobs
    )
    device, push_url = await asyncio.to_thread(device_of, settings.trainer_device), settings.trainer_push_url
    jobs = TrainerJobs(
        store=store,
        blobs=blobs,
        cache=cache,
        embedder=embedder,
        autoencoders=autoencoders,
        encoder=DatasetEncoder(store=store, blobs=blobs, embedder=embedder, autoencoders=autoencoders),
        events=chassis.events,
        device=device,
        group=settings.trainer_group,
        ack_wait=settings.ack_wait_seconds,
        push_store=None if push_url is None else from_url(push_url),
        push_url=push_url,
    )
    runs = Runs(
        store=store,
        blobs=blobs,
        embedder=embedder,
        jobs=chassis.jobs,
        events=chassis.events,
        imports=WeightImports(folder=data / "imports", max_bytes=settings.trainer_max_weights_bytes),
        housekeeping=housekeeping,
        can_push=push_url is not None,
    )

    async def close() -> None:
        await channel.close()
        await asyncio.to_thread(database.close)

    seconds = settings.catch_up_seconds
    changes = DatasetFollower(store=store, blobs=blobs, embedder=embedder, jobs=chassis.jobs)
    tasks = [
        Follower(chassis.events, [names.DATASET_DELETED], housekeeping.follow_deletions, every=seconds).run,
        Follower(chassis.events, [names.DATASET_CHANGED, names.RUN_CHANGED], changes.follow, every=seconds).run,
        jobs.compile_kernels,
        Scrubber(blobs, every_seconds=settings.scrub_seconds).run,
        partial(reclaim_space_hourly, database),
    ]
    servicer = TrainerServicer(runs=runs, autoencoders=autoencoders, store=store)
    return Parts(
        servicers=[Servicer(add_TrainerServiceServicer_to_server, servicer, "prisma.trainer.v1.TrainerService")],
        kinds=jobs.kinds(),
        tasks=tasks,
        dependencies=[database_dependency(database), blobs_dependency(blobs, "weights and codes", _ADVICE)],
        close=[close],
    )


def _prepare(database: Database, blobs: Blobs, store: Store, data: Path) -> None:
    """Brings the data to this version's form, and begins new histories."""
    database.prepare(beside=data / "blobs" / "runs")
    store.begin_histories()
    blobs.adopt_unrecorded(store.blobs_of_runs())


if __name__ == "__main__":
    main()
