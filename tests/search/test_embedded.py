"""The embedded back end: the contract, and what only files can suffer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from services.search.embedded import EmbeddedIndex
from services.search.errors import BackendUnavailable
from services.search.index import Kind, Stream
from tests.search.contract import Contract, Reopen, documents, found, item, random_codes, rows_of, write_texts


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[list[EmbeddedIndex]]:
    indices = [EmbeddedIndex(tmp_path / "index")]
    yield indices
    indices[-1].close()


@pytest.fixture
def index(opened: list[EmbeddedIndex]) -> EmbeddedIndex:
    return opened[-1]


@pytest.fixture
def reopened(opened: list[EmbeddedIndex], tmp_path: Path) -> Reopen:
    def reopen() -> EmbeddedIndex:
        opened[-1].close()
        opened.append(EmbeddedIndex(tmp_path / "index"))
        return opened[-1]

    return reopen


class TestEmbedded(Contract):
    """The contract."""


def fill(index: EmbeddedIndex, uid: str) -> dict[Kind, Stream]:
    """All kinds of streams of a uid, at revision 1."""
    streams = {kind: Stream(kind, uid) for kind in Kind}
    write_texts(index, streams[Kind.DOCUMENTS], [item(1, "a file")], 1)
    write_texts(index, streams[Kind.LABELS], [item(1, "files")], 1)
    vectors = index.vector_writer(streams[Kind.VECTORS], 1)
    vectors.upsert(rows_of(1), np.ones((1, 3), np.float32))
    vectors.commit()
    codes = index.code_writer(streams[Kind.CODES], 1)
    codes.upsert(random_codes(rows_of(1), 8, 2))
    codes.commit()
    return streams


def test_a_second_process_is_refused(index: EmbeddedIndex, tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable, match="another process"):
        EmbeddedIndex(tmp_path / "index")


@pytest.mark.parametrize("damage", ["cut", "remove", "garbage"])
def test_a_torn_stream_is_gone_and_the_others_are_whole(
    index: EmbeddedIndex, tmp_path: Path, reopened: Reopen, damage: str
) -> None:
    streams = fill(index, uuid4().hex)
    whole = fill(index, uuid4().hex)
    for path in sorted((tmp_path / "index" / streams[Kind.CODES].uid).rglob("*")):
        if path.name in ("meta.json", "vectors.npy", "values.npy"):
            if damage == "remove":
                path.unlink()
            else:
                path.write_bytes(path.read_bytes()[:-3] if damage == "cut" else b"?" * 7)
    index = reopened()
    assert [index.state(stream) for stream in streams.values()] == [None] * 4
    assert all(index.state(stream) is not None for stream in whole.values())
    again = fill(index, streams[Kind.CODES].uid)
    assert all(index.state(stream) is not None for stream in again.values())


def test_a_torn_manifest_is_a_torn_stream(index: EmbeddedIndex, tmp_path: Path, reopened: Reopen) -> None:
    streams = fill(index, uuid4().hex)
    for path in (tmp_path / "index" / streams[Kind.CODES].uid).rglob("manifest.json"):
        path.write_text("{")
    index = reopened()
    assert [index.state(stream) for stream in streams.values()] == [None] * 4


def test_a_crash_before_the_manifest_leaves_the_old_revision(index: EmbeddedIndex, reopened: Reopen) -> None:
    """What a killed process leaves: files that no manifest names, and a tantivy commit that is ahead of it."""
    streams = fill(index, uuid4().hex)
    documents_writer = index.text_writer(streams[Kind.DOCUMENTS], 2)
    documents_writer.upsert([item(2, "another file")])
    documents_writer._writer.commit()  # and here the process ends
    documents_writer._writer.wait_merging_threads()
    vectors_writer = index.vector_writer(streams[Kind.VECTORS], 2)
    vectors_writer.upsert(rows_of(1), np.zeros((1, 3), np.float32))
    vectors_writer._flush()
    index = reopened()
    for stream in streams.values():
        state = index.state(stream)
        assert state is not None and state.revision == 1
    assert index.vectors(streams[Kind.VECTORS], rows_of(1))[1].tolist() == [[1, 1, 1]]
    write_texts(index, streams[Kind.DOCUMENTS], [item(2, "another file")], 2)
    assert found(index, streams[Kind.DOCUMENTS], "file") == [1, 2]


def test_unknown_folders_of_a_crash_are_removed(index: EmbeddedIndex, tmp_path: Path, reopened: Reopen) -> None:
    stream = documents()
    write_texts(index, stream, [item(1, "file")], 1)
    left = tmp_path / "index" / stream.uid / "documents" / "00000009"
    left.mkdir()
    (left / "vectors.npy").write_bytes(b"x")
    reopened().state(stream)
    assert not left.exists()
