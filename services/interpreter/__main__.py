"""Starts the interpreter: `python -P -m services.interpreter`."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

from prisma.interpreter.v1 import interpreter_service_pb2_grpc
from services.chassis.blobs import ORPHAN_SECONDS, Blobs
from services.chassis.database import Database, database_dependency
from services.chassis.events import Follower
from services.chassis.server import Chassis, Parts, Servicer, run_service
from services.interpreter.labelling import Labelling
from services.interpreter.ollama import Ollama
from services.interpreter.servicer import InterpreterServicer
from services.interpreter.settings import InterpreterSettings
from services.interpreter.store import Store
from services.interpreter.upstream import Upstream
from services.interpreter.views import Views
from services.interpreter.worker import SERVICE, Following, InterpreterJobs


def main() -> None:
    """Runs until SIGTERM."""
    settings = InterpreterSettings()

    async def build(chassis: Chassis) -> Parts:
        folder = settings.data_of(SERVICE)
        database = Database(settings.database_of(SERVICE), Path(__file__).parent / "migrations")
        await asyncio.to_thread(database.migrate)
        blobs = Blobs(folder / "blobs", settings.blob_url)
        store = Store(database)
        upstream = Upstream(settings)
        views = Views(store, blobs, upstream)
        ollama = Ollama(settings)
        labelling = Labelling(upstream, ollama)
        scratch = folder / "scratch"
        scratch.mkdir(exist_ok=True)
        await asyncio.to_thread(_sweep, scratch)
        jobs = InterpreterJobs(
            store, blobs, scratch, upstream, views, labelling, chassis.events, settings.ack_wait_seconds
        )
        following = Following(store, blobs, upstream, views, chassis.jobs)
        follower = Follower(
            chassis.events, ["run.changed", "run.deleted"], following.catch_up, every=settings.catch_up_seconds
        )

        async def close() -> None:
            await upstream.close()
            await ollama.close()
            await asyncio.to_thread(database.close)

        return Parts(
            servicers=[
                Servicer(
                    interpreter_service_pb2_grpc.add_InterpreterServiceServicer_to_server,
                    InterpreterServicer(store, views, upstream, labelling, ollama, chassis.jobs, chassis.events),
                    "prisma.interpreter.v1.InterpreterService",
                )
            ],
            kinds=jobs.kinds(),
            tasks=[follower.run],
            dependencies=[
                database_dependency(database),
                ollama.server.dependency(settings, ollama.models),
            ],
            close=[close],
        )

    run_service(SERVICE, settings, settings.interpreter_listen, build)


def _sweep(scratch: Path) -> None:
    """Deletes what a killed process has left behind; what is younger may be another's at work."""
    for left in scratch.iterdir():
        if left.stat().st_mtime < time.time() - ORPHAN_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


if __name__ == "__main__":
    main()
