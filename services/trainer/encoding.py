"""Keeps the codes of trained runs up to date with their datasets."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prisma_common.wire import Codes, concatenate
from services.chassis import names
from services.chassis.blobs import BlobDamaged, Blobs
from services.chassis.errors import PrismaError
from services.chassis.job_context import JobContext
from services.chassis.threads import in_thread
from services.trainer.autoencoders import Autoencoders
from services.trainer.code_index import CodeIndex, ranges_of
from services.trainer.runs import Run
from services.trainer.sae.codes import CodeShard, save_codes
from services.trainer.store import NewCodes, Store
from services.trainer.upstream import HISTORY_CHANGED, Embedder

FILE_ROWS = 1 << 16
CODES_FOLDER = "codes-"
"""How the names of folders of later codes begin, beside the folder of the weights."""
Rows = NDArray[np.uint64]


@dataclass(frozen=True)
class _Changes:
    """What has changed in a dataset, encoded into files of one folder."""

    folder: str
    writer: CodeWriter
    deleted_rows: Rows
    revision: int
    history: str
    replaces_all: bool
    """Whether the files hold all rows of the dataset."""


class DatasetEncoder:
    """Encodes documents that were embedded after a run was trained, and drops codes of deleted documents."""

    def __init__(self, *, store: Store, blobs: Blobs, embedder: Embedder, autoencoders: Autoencoders) -> None:
        self._store = store
        self._blobs = blobs
        self._embedder = embedder
        self._autoencoders = autoencoders

    async def update(self, run: Run, context: JobContext) -> Run:
        """Encodes what has changed since the run's codes were written, in one commit; returns the run as it is then.

        After a restore of the dataset, and where codes are damaged, all rows are encoded again. Raises RunNotFound,
        StorageFull.
        """
        folder = f"{run.folder}/{CODES_FOLDER}{names.new_uid()}"
        is_named = False
        try:
            changes = await self._read_changes(run, folder, context)
            codes = await asyncio.to_thread(self._new_codes, run, changes)
            await context.prove()
            is_named = True  # perhaps, if the commit's answer does not arrive; otherwise the files are orphans
            updated, is_named = await in_thread(self._store.commit_codes, run, codes)
            if is_named and codes.replaces_all:
                await asyncio.to_thread(self._delete_damaged, run)
            return updated
        finally:
            if not is_named:
                await asyncio.to_thread(self._blobs.delete, folder)

    def latent_counts(self, run: Run) -> NDArray[np.int64]:
        """(n,) how many rows with a code activate each latent. Raises BlobDamaged."""
        run, index = self._store.code_index(run)
        return self._latent_counts(run, index, np.empty(0, np.uint64))

    async def _read_changes(self, run: Run, folder: str, context: JobContext) -> _Changes:
        if run.coded_history is None:  # damaged, or written by a version without histories
            return await self._encode(run, folder, context, replaces_all=True)
        try:
            return await self._encode(run, folder, context, replaces_all=False)
        except PrismaError as error:
            if error.reason != HISTORY_CHANGED:
                raise
        context.log("the dataset was restored: all rows are encoded again")
        return await self._encode(run, folder, context, replaces_all=True)

    async def _encode(self, run: Run, folder: str, context: JobContext, *, replaces_all: bool) -> _Changes:
        """Encodes vectors that appeared since the codes were written, or all of them."""
        since, history = (0, "") if replaces_all else (run.coded_revision or 0, run.coded_history or "")
        writer = CodeWriter(self._blobs.folder / folder, latent_count=run.latent_count or 0)
        deleted: list[int] = []
        total = max(0, (run.embedded_count or 0) - (0 if replaces_all else run.code_count))
        await context.progress(0, total, "rows", "encoding new documents")
        revision, new_history = since, history
        async with aclosing(self._embedder.changes(run.source, history=history, since_revision=since)) as blocks:
            async for block in blocks:
                revision, new_history = block.revision, block.history
                deleted += block.deleted_rows
                if len(block.rows):
                    encoding = await asyncio.to_thread(
                        self._autoencoders.encode, run.weights, block.vectors, block.rows
                    )
                    await asyncio.to_thread(writer.add, encoding.codes)
                    await context.progress(writer.row_count, max(total, writer.row_count), "rows")
        await asyncio.to_thread(writer.finish)
        return _Changes(
            folder=folder,
            writer=writer,
            deleted_rows=np.array(deleted, dtype=np.uint64),
            revision=revision,
            history=new_history,
            replaces_all=replaces_all,
        )

    def _new_codes(self, run: Run, changes: _Changes) -> NewCodes:
        run, index = self._store.code_index(run)
        writer = changes.writer
        present, added = self._rows(index, replaces_all=changes.replaces_all), writer.rows
        if changes.replaces_all:
            hidden, remaining = np.setdiff1d(present, added), added
            counts = writer.latent_counts
        else:
            # A row that is encoded again hides its older code.
            hidden = np.intersect1d(present, np.union1d(changes.deleted_rows, added))
            remaining = np.union1d(np.setdiff1d(present, hidden), added)
            counts = writer.latent_counts + self._latent_counts(run, index, hidden)
        return NewCodes(
            files=[(f"{changes.folder}/{shard.name}", shard) for shard in writer.shards],
            deleted=ranges_of(hidden),
            code_count=len(remaining),
            dead_count=int((counts == 0).sum()),
            coded_revision=changes.revision,
            coded_history=changes.history,
            blobs=self._blobs.adopt(changes.folder) if writer.shards else [],
            replaces_all=changes.replaces_all,
        )

    def _delete_damaged(self, run: Run) -> None:
        """Deletes damaged files of codes, which nothing names any more."""
        for damage in self._blobs.damages:
            if damage.path.startswith(f"{run.folder}/") and damage.path not in (run.weights, run.stability):
                self._blobs.delete(damage.path)

    def _rows(self, index: CodeIndex, *, replaces_all: bool) -> Rows:
        """The rows that have codes; if all are replaced, a damaged file counts as having all rows of its range."""
        parts = [np.empty(0, np.uint64)]
        for file in index.files:
            try:
                parts.append(index.living(self._autoencoders.load(file), file).rows)
            except BlobDamaged:
                first_row, last_row = file.shard.first_row, file.shard.last_row
                if not replaces_all or first_row is None or last_row is None:
                    raise
                parts.append(np.arange(first_row, last_row + 1, dtype=np.uint64))
        return np.concatenate(parts)

    def _latent_counts(self, run: Run, index: CodeIndex, without: Rows) -> NDArray[np.int64]:
        counts = np.zeros(run.latent_count or 0, dtype=np.int64)
        for file in index.files:
            codes = index.living(self._autoencoders.load(file), file)
            if len(without):
                codes = codes.take(np.flatnonzero(~np.isin(codes.rows, without)))
            counts += np.bincount(codes.indices, minlength=len(counts))
        return counts


class CodeWriter:
    """Writes codes into files of at most 65,536 rows."""

    def __init__(self, folder: Path, *, latent_count: int) -> None:
        self._folder = folder
        self._parts: list[Codes] = []
        self._all_rows: list[Rows] = []
        self.shards: list[CodeShard] = []
        self.row_count = 0
        self.latent_counts = np.zeros(latent_count, dtype=np.int64)
        """(n,) how many of the written rows activate each latent."""

    @property
    def rows(self) -> Rows:
        """The rows written so far, rising."""
        return np.unique(np.concatenate([np.empty(0, np.uint64), *self._all_rows]))

    def add(self, codes: Codes) -> None:
        """Appends codes. Raises StorageFull."""
        self._parts.append(codes)
        self._all_rows.append(codes.rows)
        self.row_count += len(codes)
        self.latent_counts += np.bincount(codes.indices, minlength=len(self.latent_counts))
        if sum(map(len, self._parts)) >= FILE_ROWS:
            self.finish()

    def finish(self) -> None:
        """Writes what is left. Raises StorageFull."""
        if not self._parts:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        codes = concatenate(self._parts, len(self.latent_counts))
        name = f"codes-{len(self.shards):05d}.npz"
        save_codes(self._folder / name, codes)
        first_row, last_row = int(codes.rows.min()), int(codes.rows.max())
        self.shards.append(CodeShard(name=name, first_row=first_row, last_row=last_row, row_count=len(codes)))
        self._parts = []
