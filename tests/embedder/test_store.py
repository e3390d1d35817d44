"""Work on a deleted dataset can't be committed, though another dataset has its name by then."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from prisma.embedder.v1.embedder_service_pb2 import EmbedDatasetRequest
from services.chassis.blobs import Blobs
from services.chassis.database import Database
from services.chassis.events import Events
from services.chassis.job_context import JobContext
from services.embedder.documents import NewDocument
from services.embedder.errors import DatasetNotFound
from services.embedder.outcomes import Outcome
from services.embedder.providers import EmbeddingModels
from services.embedder.providers.builtin import BuiltinProvider
from services.embedder.store import Store
from services.embedder.worker import EmbedderJobs

MIGRATIONS = Path(__file__).parents[2] / "services/embedder/migrations"


class SlowStore(Store):
    """Writes a shard only once it is told to."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        super().__init__(database, blobs)
        self.began, self.go_on = threading.Event(), threading.Event()

    def write_shard(self, uid: str, vectors: NDArray[np.float32]) -> str:
        self.began.set()
        assert self.go_on.wait(30)
        return super().write_shard(uid, vectors)


class NoContext:
    """A job that nobody asks about."""

    async def progress(self, *_: object) -> None: ...


async def test_a_shard_that_is_written_while_its_dataset_goes_does_not_stay(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'd.db'}", MIGRATIONS)
    database.migrate()
    store = SlowStore(database, Blobs(tmp_path / "blobs"))
    dataset = store.create_dataset("d", "", "", "builtin/wordllama-256", "")
    store.add_documents("d", dataset.uid, [NewDocument("key", "a text", {})])
    jobs = EmbedderJobs(store, EmbeddingModels({"builtin": BuiltinProvider()}), cast(Events, None), 10, 30.0)
    task = asyncio.create_task(jobs.embed(EmbedDatasetRequest(name="datasets/d"), cast(JobContext, NoContext())))
    assert await asyncio.to_thread(store.began.wait, 30)
    store.delete_dataset("d")
    task.cancel()
    done, _waiting = await asyncio.wait([task], timeout=0.5)
    assert not done  # it waits for its thread
    store.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not list((tmp_path / "blobs").rglob("*.npy"))
    database.close()


def test_what_was_begun_on_a_deleted_dataset_does_not_reach_one_of_the_same_name(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'd.db'}", MIGRATIONS)
    database.migrate()
    store = Store(database, Blobs(tmp_path / "blobs"))
    old = store.create_dataset("d", "", "", "builtin/wordllama-256", "")
    store.delete_dataset("d")
    new = store.create_dataset("d", "", "", "builtin/wordllama-256", "")
    store.add_documents("d", new.uid, [NewDocument("key", "a text", {})])
    shard = store.write_shard(old.uid, np.ones((1, 4), dtype=np.float32))
    late: list[Callable[[], object]] = [
        lambda: store.add_documents("d", old.uid, [NewDocument("late", "a text", {})]),
        lambda: store.pending("d", old.uid, 10),
        lambda: store.commit_outcomes(
            "d", old.uid, shard, 4, [Outcome(row=0, position=0, truncated=False, failure=None)]
        ),
    ]
    for call in late:
        with pytest.raises(DatasetNotFound):
            call()
    assert store.pending("d", new.uid, 10) == [(0, "a text")]
    assert store.dataset("d").dimension == 0
    database.close()
