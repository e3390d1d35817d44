"""Looks after stored data: finishes deletions and deletes orphaned files."""

from __future__ import annotations

import asyncio

from sqlalchemy.exc import SQLAlchemyError

from services.chassis import logs
from services.chassis.errors import PrismaError
from services.embedder.import_records import ImportRecords
from services.embedder.statistics_records import StatisticsRecords
from services.embedder.store import Store
from services.embedder.vector_store import VectorStore

SWEEP_SECONDS = 3600.0

_log = logs.get(__name__)


class Sweeper:
    """Sweeps at start, soon after each `wake`, and every hour."""

    def __init__(
        self, store: Store, records: ImportRecords, statistics: StatisticsRecords, vectors: VectorStore
    ) -> None:
        self._store = store
        self._records = records
        self._statistics = statistics
        self._vectors = vectors
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Sweeps soon: something was deleted."""
        self._wake.set()

    async def run(self) -> None:
        """Sweeps until cancelled. Errors are logged; the next sweep tries again."""
        while True:
            self._wake.clear()
            try:
                await asyncio.to_thread(self._sweep)
            except (OSError, SQLAlchemyError, PrismaError) as error:
                _log.warning("sweep failed; the next one tries again", error=str(error))
            try:
                await asyncio.wait_for(self._wake.wait(), SWEEP_SECONDS)
            except TimeoutError:
                continue

    def _sweep(self) -> None:
        self._store.sweep_deleted()
        self._records.sweep()
        self._statistics.sweep()
        self._store.sweep_answers()
        for path in self._vectors.sweep_orphans():
            _log.info("orphan deleted", path=path)
