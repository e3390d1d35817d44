"""A service's own copy of its jobs that have not ended, in a file: from it they are restored if the message server
loses its data."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from google.protobuf.message import DecodeError

from prisma.common.v1.job_pb2 import JobRecord, JobRecords
from services.chassis import logs
from services.chassis.files import whole

MAX_AGE_SECONDS = 30 * 24 * 3600.0
"""Older jobs are not restored: they may have ended, and been forgotten, while this process was stopped."""

_log = logs.get(__name__)


class JobJournal:
    """The file, and what it holds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.records = self._load()
        """Records of the jobs that have not ended, by name, as they were when last seen."""

    def replace(self, records: Iterable[JobRecord]) -> None:
        """Stores these records in place of the former ones. Raises StorageFull."""
        replaced = {record.job.name: record for record in records}
        if replaced == self.records:
            return
        with whole(self._path) as file:
            file.write(JobRecords(records=replaced.values()).SerializeToString())
        self.records = replaced

    def _load(self) -> dict[str, JobRecord]:
        try:
            stored = JobRecords.FromString(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except DecodeError:
            _log.warning("the copy of this service's jobs cannot be read; it is written again", path=str(self._path))
            return {}
        oldest = time.time() - MAX_AGE_SECONDS
        return {record.job.name: record for record in stored.records if record.job.update_time.seconds > oldest}
