"""The embedded back end: a folder for each uid, in it a folder for each stream."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from prisma_common.wire import Codes
from services.search.embedded.codes import CodeStore, CodeStoreWriter
from services.search.embedded.manifest import TornIndex
from services.search.embedded.texts import TextStore, TextStoreWriter
from services.search.embedded.vectors import VectorStore, VectorStoreWriter
from services.search.errors import BackendUnavailable, IndexNotReady
from services.search.index import (
    Candidates,
    Kind,
    LatentQuery,
    Rows,
    Stream,
    StreamState,
    TextCandidates,
    TextProfiles,
    Vectors,
)

_log = logging.getLogger(__name__)
_Store = TypeVar("_Store", TextStore, VectorStore, CodeStore)
_TRASH = ".trash"


class EmbeddedIndex:
    """Files under one folder, used by one process: a second one is refused.

    A stream that is torn (a damaged disk, a copy cut short) is deleted when it is opened, and so derived again.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._lock = folder, threading.RLock()
        self._stores: dict[Stream, TextStore | VectorStore | CodeStore] = {}
        self._held = (folder / "lock").open("w")
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BackendUnavailable(f"another process uses the index in {folder}; give each its own folder") from error
        shutil.rmtree(folder / _TRASH, ignore_errors=True)

    @property
    def name(self) -> str:
        return "embedded"

    def check(self) -> str:
        return f"files in {self._folder}"

    def state(self, stream: Stream) -> StreamState | None:
        store = self._store(stream)
        if store is None or store.manifest is None:
            return None
        return StreamState(store.manifest.revision, store.manifest.item_count, store.manifest.update_time)

    def uids(self) -> set[str]:
        return {path.name for path in self._folder.iterdir() if path.is_dir() and path.name != _TRASH}

    def size_bytes(self, uid: str) -> int:
        return sum(_size(path) for path in (self._folder / uid).rglob("*"))

    def delete(self, uid: str) -> None:
        folder = self._folder / uid
        with self._lock:
            for stream in [stream for stream in self._stores if stream.uid == uid]:
                del self._stores[stream]
            if folder.exists():  # out of the way in one step, then at leisure
                trash = self._folder / _TRASH
                trash.mkdir(exist_ok=True)
                shutil.rmtree(trash / uid, ignore_errors=True)
                folder.replace(trash / uid)
        shutil.rmtree(self._folder / _TRASH / uid, ignore_errors=True)

    def text_writer(self, stream: Stream, revision: int, *, anew: bool = False) -> TextStoreWriter:
        return TextStoreWriter(self._open(stream, TextStore), revision, anew=anew)

    def vector_writer(self, stream: Stream, revision: int, *, anew: bool = False) -> VectorStoreWriter:
        return VectorStoreWriter(self._open(stream, VectorStore), revision, anew=anew)

    def code_writer(self, stream: Stream, revision: int, *, anew: bool = False) -> CodeStoreWriter:
        return CodeStoreWriter(self._open(stream, CodeStore), revision, anew=anew)

    def search_text(self, stream: Stream, terms: Sequence[str], depth: int, allowed: Rows | None) -> TextCandidates:
        return self._ready(stream, TextStore).search(terms, depth, allowed)

    def profile_texts(self, stream: Stream, terms: Sequence[str], rows: Rows) -> TextProfiles:
        return self._ready(stream, TextStore).profile(terms, rows)

    def payloads(self, stream: Stream, rows: Rows) -> dict[int, dict[str, Any]]:
        return self._ready(stream, TextStore).payloads(rows)

    def rows_with_facets(self, stream: Stream, facets: Sequence[str]) -> Rows:
        return self._ready(stream, TextStore).rows_with(facets)

    def search_vectors(self, stream: Stream, query: Vectors, depth: int, allowed: Rows | None) -> Candidates:
        return self._ready(stream, VectorStore).search(query, depth, allowed)

    def vectors(self, stream: Stream, rows: Rows) -> tuple[Rows, Vectors]:
        return self._ready(stream, VectorStore).fetch(rows)

    def search_codes(self, stream: Stream, query: LatentQuery, depth: int, allowed: Rows | None) -> Candidates:
        return self._ready(stream, CodeStore).search(query, depth, allowed)

    def codes(self, stream: Stream, rows: Rows) -> Codes:
        return self._ready(stream, CodeStore).fetch(rows)

    def rows_with_latent(self, stream: Stream, latent: int, minimum: float, *, inclusive: bool) -> Rows:
        return self._ready(stream, CodeStore).rows_with(latent, minimum, inclusive=inclusive)

    def close(self) -> None:
        with self._lock:
            self._stores.clear()
            self._held.close()

    def _ready(self, stream: Stream, make: Callable[[Path], _Store]) -> _Store:
        store = self._store(stream)
        if store is None or store.manifest is None:
            raise IndexNotReady(f"the index has not reached the {stream.kind} yet; try again in a moment")
        return store  # pyright: ignore[reportReturnType]  # the kind of a stream says which store it has

    def _store(self, stream: Stream) -> TextStore | VectorStore | CodeStore | None:
        """The store of a stream where its folder exists: a question makes no folders."""
        if stream not in self._stores and not self._path(stream).exists():
            return None
        kinds = {Kind.VECTORS: VectorStore, Kind.CODES: CodeStore}
        return self._open(stream, kinds.get(stream.kind, TextStore))  # pyright: ignore[reportArgumentType]

    def _open(self, stream: Stream, make: Callable[[Path], _Store]) -> _Store:
        with self._lock:
            store = self._stores.get(stream)
            if store is None:
                store = self._load(self._path(stream), make)
                self._stores[stream] = store
            return store  # pyright: ignore[reportReturnType]  # as in _ready

    def _load(self, path: Path, make: Callable[[Path], _Store]) -> _Store:
        try:
            return make(path)
        except TornIndex as error:
            _log.warning("a torn index is deleted and will be derived again: %s", error)
            shutil.rmtree(path)
            return make(path)

    def _path(self, stream: Stream) -> Path:
        return self._folder / stream.uid / stream.kind.value


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if os.path.isfile(path) else 0  # noqa: PTH113  # one call, no error when it goes
    except FileNotFoundError:
        return 0
