"""The embedded back end: a folder for each uid, in it a folder for each stream."""

from __future__ import annotations

import fcntl
import logging
import shutil
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from prisma_common.folders import files_below
from prisma_common.wire import Codes
from services.chassis.errors import PrismaError
from services.search.backend import (
    Candidates,
    Fingerprints,
    Kind,
    LatentQuery,
    Latents,
    Position,
    Rows,
    Scores,
    Stream,
    StreamState,
    TextCandidates,
    TextProfiles,
    Vectors,
    WrongDimension,
)
from services.search.embedded.codes import CodeStore, CodeStoreWriter
from services.search.embedded.manifest import DamagedFiles
from services.search.embedded.screening import ScreenBuilder
from services.search.embedded.segments import SegmentStore
from services.search.embedded.texts import TextStore, TextStoreWriter
from services.search.embedded.vectors import VectorStore, VectorStoreWriter
from services.search.errors import BackendUnavailable, IndexDamaged, IndexNotReady
from services.search.where import EVERYWHERE, Where

_log = logging.getLogger(__name__)
_Store = TypeVar("_Store", TextStore, VectorStore, CodeStore)
_AnyStore = TypeVar("_AnyStore", bound=SegmentStore)
_TRASH = ".trash"
_STORES: dict[Kind, Callable[[Path], SegmentStore]] = {
    Kind.DOCUMENTS: TextStore,
    Kind.LABELS: TextStore,
    Kind.VECTORS: VectorStore,
    Kind.CODES: CodeStore,
}


class EmbeddedIndex:
    """Files under one folder, used by one process: a second one is refused.

    A stream whose files are damaged is deleted when that is noticed, and so derived again.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._lock = folder, threading.RLock()
        self._stores: dict[Stream, SegmentStore] = {}
        self.screens = ScreenBuilder()
        self._lock_file = (folder / "lock").open("w")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BackendUnavailable(f"another process uses the index in {folder}; give each its own folder") from error
        shutil.rmtree(folder / _TRASH, ignore_errors=True)

    @property
    def name(self) -> str:
        return "embedded"

    def check(self) -> str:
        return f"files in {self._folder}"

    def scrub(self) -> list[Stream]:
        streams = [Stream(kind, uid) for uid in sorted(self.uids()) for kind in Kind]
        return [stream for stream in streams if self._is_damaged(stream)]

    def state(self, stream: Stream) -> StreamState | None:
        store = self._store(stream)
        if store is None or store.manifest is None:
            return None
        recall = store.recall if isinstance(store, VectorStore) else None
        return StreamState(store.manifest.position, store.manifest.item_count, store.manifest.update_time, recall)

    def uids(self) -> set[str]:
        return {path.name for path in self._folder.iterdir() if path.is_dir() and path.name != _TRASH}

    def size_bytes(self, uid: str) -> int:
        return sum(_size(path) for path in files_below(self._folder / uid))

    def delete(self, uid: str) -> None:
        with self._lock:
            for stream in [stream for stream in self._stores if stream.uid == uid]:
                del self._stores[stream]
            self._discard(self._folder / uid)

    def claim(self, stream: Stream) -> None:
        """Nothing to do: no other process uses the folder."""

    def renew(self, stream: Stream) -> None:
        """Nothing to do."""

    def release(self, stream: Stream) -> None:
        """Nothing to do."""

    def text_writer(self, stream: Stream, position: Position, *, rebuild: bool = False) -> TextStoreWriter:
        return TextStoreWriter(self._open(stream, TextStore), position, rebuild=rebuild)

    def vector_writer(self, stream: Stream, position: Position, *, rebuild: bool = False) -> VectorStoreWriter:
        return VectorStoreWriter(self._open(stream, VectorStore), position, rebuild=rebuild)

    def code_writer(self, stream: Stream, position: Position, *, rebuild: bool = False) -> CodeStoreWriter:
        return CodeStoreWriter(self._open(stream, CodeStore), position, rebuild=rebuild)

    def unchanged(self, stream: Stream, rows: Rows, fingerprints: Fingerprints) -> NDArray[np.bool_]:
        with self._reading(stream, TextStore) as store:
            return store.unchanged(rows, fingerprints)

    def search_text(
        self, stream: Stream, terms: Sequence[str], depth: int, where: Where = EVERYWHERE
    ) -> TextCandidates:
        with self._reading(stream, TextStore) as store:
            return store.search(terms, depth, where)

    def profile_texts(self, stream: Stream, terms: Sequence[str], rows: Rows) -> TextProfiles:
        with self._reading(stream, TextStore) as store:
            return store.profile(terms, rows)

    def payloads(self, stream: Stream, rows: Rows) -> dict[int, dict[str, Any]]:
        with self._reading(stream, TextStore) as store:
            return store.payloads(rows)

    def rows(self, stream: Stream) -> Rows:
        with self._reading(stream, SegmentStore) as store:
            return store.segments.rows()

    def existing(self, stream: Stream, rows: Rows) -> NDArray[np.bool_]:
        with self._reading(stream, SegmentStore) as store:
            return store.segments.existing(rows)

    def find_row(self, stream: Stream, name: str) -> int | None:
        with self._reading(stream, TextStore) as store:
            return store.find_row(name)

    def rows_where(self, stream: Stream, where: Where) -> Rows:
        with self._reading(stream, TextStore) as store:
            return store.rows_where(where)

    def search_vectors(self, stream: Stream, query: Vectors, depth: int, allowed: Rows | None) -> Candidates:
        with self._reading(stream, VectorStore) as store:
            return store.search(query, depth, allowed)

    def vectors(self, stream: Stream, rows: Rows) -> tuple[Rows, Vectors]:
        with self._reading(stream, VectorStore) as store:
            return store.fetch(rows)

    def search_codes(self, stream: Stream, query: LatentQuery, depth: int, allowed: Rows | None) -> Candidates:
        with self._reading(stream, CodeStore) as store:
            return store.search(query, depth, allowed)

    def codes(self, stream: Stream, rows: Rows) -> Codes:
        with self._reading(stream, CodeStore) as store:
            return store.fetch(rows)

    def rows_with_latent(self, stream: Stream, latent: int, minimum: float, *, inclusive: bool) -> Rows:
        with self._reading(stream, CodeStore) as store:
            return store.rows_with(latent, minimum, inclusive=inclusive)

    def max_activations(self, stream: Stream, latents: Latents) -> Scores:
        with self._reading(stream, CodeStore) as store:
            return store.max_activations(latents)

    def latent_count(self, stream: Stream) -> int:
        with self._reading(stream, CodeStore) as store:
            return store.latent_count

    def close(self) -> None:
        self.screens.close()
        with self._lock:
            self._stores.clear()
            self._lock_file.close()

    @contextmanager
    def _reading(self, stream: Stream, kind: type[_AnyStore]) -> Generator[_AnyStore]:
        """A committed store to read. An error while reading is taken for damage if a digest confirms it."""
        store = self._store(stream)
        if store is None or store.manifest is None:
            raise IndexNotReady(f"the index has not reached the {stream.kind} yet; try again in a moment")
        assert isinstance(store, kind), "the kind of a stream decides which store it has"
        try:
            yield store
        except (PrismaError, WrongDimension):
            raise
        except BaseException as error:  # tantivy's panics derive from BaseException
            if not isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit) and self._is_damaged(stream):
                raise IndexDamaged(stream) from error
            raise

    def _is_damaged(self, stream: Stream) -> bool:
        """Whether a stored file is not what was written; such a stream is deleted.

        While it is written, files come and go, and nothing is said about it: nor when a writer came while it was read.
        """
        store = self._store(stream)
        if store is None:
            return False
        writer_count = store.writer_count
        if store.open_writers:
            return False
        try:
            store.verify()
        except DamagedFiles as error:
            with self._lock:
                if self._stores.get(stream) is not store:
                    return True  # already deleted by another reader
                if store.writer_count != writer_count:
                    return False
                del self._stores[stream]
                self._discard_damaged(self._path(stream), error)
            return True
        return False

    def _store(self, stream: Stream) -> SegmentStore | None:
        """The store of a stream if its folder exists: a question creates no folders."""
        store = self._stores.get(stream)
        if store is not None or not self._path(stream).exists():
            return store
        return self._load(stream)

    def _open(self, stream: Stream, kind: type[_Store]) -> _Store:
        store = self._load(stream)
        assert isinstance(store, kind), "the kind of a stream decides which store it has"
        return store

    def _load(self, stream: Stream) -> SegmentStore:
        with self._lock:
            store = self._stores.get(stream)
            if store is None:
                path, make = self._path(stream), _STORES[stream.kind]
                try:
                    store = make(path)
                except DamagedFiles as error:
                    self._discard_damaged(path, error)
                    store = make(path)
                self._stores[stream] = store
                if isinstance(store, VectorStore):
                    store.on_commit = partial(self.screens.schedule, store)
                    self.screens.schedule(store)
            return store

    def _discard_damaged(self, path: Path, error: DamagedFiles) -> None:
        _log.warning("deleted a damaged index, which will be derived again: %s", error)
        self._discard(path)

    def _discard(self, path: Path) -> None:
        """Deletes a folder: renamed away in one step, then removed."""
        if path.exists():
            trash = self._folder / _TRASH
            trash.mkdir(exist_ok=True)
            target = trash / path.relative_to(self._folder).as_posix().replace("/", ".")
            shutil.rmtree(target, ignore_errors=True)
            path.replace(target)
            shutil.rmtree(target, ignore_errors=True)

    def _path(self, stream: Stream) -> Path:
        return self._folder / stream.uid / stream.kind.value


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
