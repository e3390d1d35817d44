"""The embedded back end: the contract, and what only files can suffer."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from services.chassis.errors import StorageFull
from services.search import scoring
from services.search.backend import Kind, LatentQuery, Stream
from services.search.embedded import EmbeddedIndex, codes, segments, term_queries, vectors
from services.search.embedded import manifest as manifests
from services.search.errors import BackendUnavailable, IndexDamaged
from tests.search.contract import (
    Contract,
    Reopen,
    at,
    documents,
    item,
    random_codes,
    ranked_rows,
    rows_of,
    write_texts,
    write_vectors,
)


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


def test_ranges_of_many_terms_match_as_well(index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(term_queries, "MAX_LISTED", 0)
    stream = Stream(Kind.DOCUMENTS, "u")
    write_texts(index, stream, [], 1)
    TestEmbedded().test_all_filters_match_what_python_does(index, stream)


def fill(index: EmbeddedIndex, uid: str, *kinds: Kind) -> dict[Kind, Stream]:
    """Streams of a uid, of these kinds or of all, at revision 1."""
    streams = {kind: Stream(kind, uid) for kind in kinds or Kind}
    for kind, stream in streams.items():
        if kind is Kind.VECTORS:
            write_vectors(index, stream, rows_of(1), np.ones((1, 3), np.float32))
        elif kind is Kind.CODES:
            writer = index.code_writer(stream, at(1))
            writer.upsert(random_codes(rows_of(1), 8, 2))
            writer.commit()
        else:
            write_texts(index, stream, [item(1, "a file", kind="x")], 1)
    return streams


def flip(path: Path, place: int = -1) -> None:
    """Changes one bit of a file in place. It is never shorter meanwhile: who has mapped it would die of SIGBUS."""
    with path.open("r+b") as file:
        file.seek(place, os.SEEK_SET if place >= 0 else os.SEEK_END)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def cut(path: Path) -> None:
    """Puts a shorter file in a file's place; who has mapped the old one keeps it."""
    shorter = path.with_name(f"{path.name}.cut")
    shorter.write_bytes(path.read_bytes()[:-3])
    shorter.replace(path)


def files_of(folder: Path) -> list[Path]:
    """All files of an index that hold data."""
    locks = (".lock", ".managed.json")
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.endswith(locks)]


def test_a_second_process_is_refused(index: EmbeddedIndex, tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable, match="another process"):
        EmbeddedIndex(tmp_path / "index")


@pytest.mark.parametrize("damage", ["cut", "remove", "flip"])
def test_damage_of_any_file_is_noticed_at_the_next_start_and_only_that_stream_is_lost(
    index: EmbeddedIndex, tmp_path: Path, reopened: Reopen, damage: str
) -> None:
    intact, uid = fill(index, uuid4().hex), uuid4().hex
    fill(index, uid)
    checked = 0
    for kind in Kind:
        folder = tmp_path / "index" / uid / kind.value
        count = len(files_of(folder)) if damage == "flip" else 1
        for number in range(count):
            path = files_of(folder)[number]
            if damage == "remove":
                path.unlink()
            elif damage == "flip":
                flip(path)
            else:
                cut(path)
            index = reopened()
            assert [kind for kind in Kind if index.state(Stream(kind, uid)) is None] == [kind], path
            fill(index, uid, kind)
            checked += 1
    assert checked >= (30 if damage == "flip" else len(Kind))
    assert all(index.state(stream) is not None for stream in intact.values())


def test_a_query_that_hits_damage_says_so_and_the_stream_is_derived_again(index: EmbeddedIndex, tmp_path: Path) -> None:
    """Files are memory-mapped: a file that is cut under a reader fails only when it is read."""
    streams = fill(index, uuid4().hex)
    for path in (tmp_path / "index" / streams[Kind.DOCUMENTS].uid / "documents").rglob("*.store"):
        flip(path, place=3)
    with pytest.raises(IndexDamaged, match="being rebuilt") as caught:
        index.payloads(streams[Kind.DOCUMENTS], rows_of(1))
    assert caught.value.stream == streams[Kind.DOCUMENTS]
    assert index.state(streams[Kind.DOCUMENTS]) is None
    assert index.state(streams[Kind.VECTORS]) is not None
    write_texts(index, streams[Kind.DOCUMENTS], [item(1, "a file")], 1)
    assert ranked_rows(index, streams[Kind.DOCUMENTS], "file") == [1]


def test_a_scrub_finds_damage_that_no_query_hits(index: EmbeddedIndex, tmp_path: Path) -> None:
    damaged, intact = fill(index, uuid4().hex), fill(index, uuid4().hex)
    assert index.scrub() == []
    flip(next((tmp_path / "index" / damaged[Kind.CODES].uid / "codes").rglob("values.npy")))
    assert index.scrub() == [damaged[Kind.CODES]]
    assert index.state(damaged[Kind.CODES]) is None
    assert all(index.state(stream) is not None for stream in intact.values())


def test_a_commit_during_a_scrub_is_no_damage(index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """It merges segments, and removes files that the scrub is about to read."""
    monkeypatch.setattr(segments, "MERGED_SEGMENTS", 2)
    stream, verify = fill(index, uuid4().hex, Kind.VECTORS)[Kind.VECTORS], manifests.verify

    def slow(folder: Path, digests: dict[str, manifests.FileDigest]) -> None:
        write_vectors(index, stream, rows_of(2), np.ones((1, 3), np.float32), revision=2)
        verify(folder, digests)

    monkeypatch.setattr(manifests, "verify", slow)
    assert index.scrub() == []
    assert index.vectors(stream, rows_of(1, 2))[0].tolist() == [1, 2]


def test_an_index_of_an_older_version_is_derived_again(index: EmbeddedIndex, tmp_path: Path, reopened: Reopen) -> None:
    streams = fill(index, uuid4().hex)
    for path in (tmp_path / "index" / streams[Kind.CODES].uid).rglob("manifest.json"):
        path.write_text(json.dumps({"revision": 1, "format": 1, "parts": []}))
    index = reopened()
    assert [index.state(stream) for stream in streams.values()] == [None] * 4


def test_a_manifest_is_verified_too(index: EmbeddedIndex, tmp_path: Path, reopened: Reopen) -> None:
    stream = fill(index, uuid4().hex, Kind.VECTORS)[Kind.VECTORS]
    (path,) = (tmp_path / "index" / stream.uid).rglob("manifest.json")
    path.write_text(path.read_text().replace('"revision": 1', '"revision": 7'))
    assert reopened().state(stream) is None


def test_a_crash_before_the_manifest_leaves_the_old_revision(index: EmbeddedIndex, reopened: Reopen) -> None:
    """What a killed process leaves: files that no manifest refers to, and a tantivy commit that is ahead of it."""
    streams = fill(index, uuid4().hex)
    documents_writer = index.text_writer(streams[Kind.DOCUMENTS], at(2))
    documents_writer.upsert([item(1, "a replaced file"), item(2, "another file")])
    tantivy = documents_writer._open_index()
    tantivy.commit()  # and here the process ends
    tantivy.wait_merging_threads()
    vectors_writer = index.vector_writer(streams[Kind.VECTORS], at(2))
    vectors_writer.upsert(rows_of(1), np.zeros((1, 3), np.float32))
    vectors_writer._flush()
    index = reopened()
    for stream in streams.values():
        state = index.state(stream)
        assert state is not None and state.position == at(1)
    assert index.vectors(streams[Kind.VECTORS], rows_of(1))[1].tolist() == [[1, 1, 1]]
    write_texts(index, streams[Kind.DOCUMENTS], [item(1, "a replaced file"), item(2, "another file")], 2)
    for opened in (index, reopened()):
        assert ranked_rows(opened, streams[Kind.DOCUMENTS], "file another") == [2, 1]
        assert opened.search_text(streams[Kind.DOCUMENTS], ["file"], 10).statistics.document_count == 2


@pytest.mark.parametrize("is_rebuild", [False, True])
def test_a_disk_that_is_full_after_the_commit_of_tantivy_leaves_the_old_texts_and_a_retry_replaces_them(
    index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch, is_rebuild: bool
) -> None:
    stream = documents()
    write_texts(index, stream, [item(1, "a file")], 1)

    def failing(folder: Path, manifest: manifests.Manifest) -> None:
        raise StorageFull("no space left")

    writer = index.text_writer(stream, at(2), rebuild=is_rebuild)
    writer.upsert([item(100, "another file"), item(101, "one more file")])
    with monkeypatch.context() as full:
        full.setattr(manifests, "save", failing)
        with pytest.raises(StorageFull):
            writer.commit()
    writer.abort()
    assert writer.store.open_writers == 0
    assert ranked_rows(index, stream, "file") == [1]
    for revision, row in ((2, 100), (3, 101)):
        write_texts(index, stream, [item(row, "another file")], revision, rebuild=is_rebuild and revision == 2)
    candidates = index.search_text(stream, ["file"], 10)
    assert sorted(candidates.profiles.rows.tolist()) == ([] if is_rebuild else [1]) + [100, 101]
    assert candidates.total == len(candidates.profiles.rows)
    assert index.scrub() == []


def test_who_sees_a_position_finds_its_texts(index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while the files of the position before are still being deleted."""
    stream = documents()
    write_texts(index, stream, [item(0, "zebra")], 1)
    looks: list[tuple[int, int]] = []

    def look(store: segments.SegmentStore) -> None:
        state = index.state(stream)
        assert state is not None
        looks.append((state.position.revision, index.search_text(stream, ["quokka"], 10).total))

    monkeypatch.setattr(segments.SegmentStore, "remove_unreferenced", look)
    write_texts(index, stream, [item(0, "quokka")], 2, rebuild=True)
    assert looks == [(2, 1)]


def test_unknown_folders_of_a_crash_are_removed(index: EmbeddedIndex, tmp_path: Path, reopened: Reopen) -> None:
    stream = documents()
    write_texts(index, stream, [item(1, "file")], 1)
    leftover = tmp_path / "index" / stream.uid / "documents" / "00000009"
    leftover.mkdir()
    (leftover / "vectors.npy").write_bytes(b"x")
    reopened().state(stream)
    assert not leftover.exists()


def test_replaced_texts_do_not_lower_the_weight_of_their_words(index: EmbeddedIndex) -> None:
    """Tantivy counts them until it merges: many texts had the word, and few have it now, which are the best."""
    stream, texts = documents(), ["apple fruit"] * 210 + ["banana fruit"] * 60 + ["other fruit"] * 330
    write_texts(index, stream, [item(row, text) for row, text in enumerate(texts)], 1)
    write_texts(index, stream, [item(row, "other fruit") for row in range(200)], 2)
    assert ranked_rows(index, stream, "apple banana", depth=20)[:10] == list(range(200, 210))


@pytest.mark.parametrize("max_tied", [2048, 10])
def test_pages_of_equal_vectors_neither_repeat_nor_lose_hits(
    index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch, max_tied: int
) -> None:
    monkeypatch.setattr(vectors, "_MAX_TIED", max_tied)
    stream, random, rows = Stream(Kind.VECTORS, uuid4().hex), np.random.default_rng(0), np.arange(5000, dtype=np.uint64)
    content = random.normal(size=(5000, 24)).astype(np.float32)
    equal = np.sort(random.choice(5000, 800, replace=False))
    content[equal] = content[0]
    for number, part in enumerate((rows[1::2], rows[::2])):
        write_vectors(index, stream, part, content[part.astype(int)], revision=number + 1)
    nearest = np.union1d(equal, [0]).tolist()
    for depth in range(120, 320, 20):
        assert index.search_vectors(stream, content[0], depth, None).rows.tolist() == nearest[:depth]


class Counted:
    """Counts the rows that are written to segments."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[int] = []
        write_segment = segments.write_segment

        def counting(folder: Path, name: str, **arrays: object) -> segments.Segment:
            self.rows.append(len(arrays["rows"]))  # type: ignore[arg-type]
            return write_segment(folder, name, **arrays)  # type: ignore[arg-type]

        monkeypatch.setattr(segments, "write_segment", counting)


@pytest.mark.parametrize("commits", [16, 64])
def test_each_row_is_rewritten_once_per_size_tier(
    index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    """Growing by small commits: rows written per row stored follow the number of tiers, not that of commits."""
    monkeypatch.setattr(segments, "SMALLEST_TIER_ROWS", 4)
    monkeypatch.setattr(segments, "MERGED_SEGMENTS", 4)
    written = Counted(monkeypatch)
    stream = Stream(Kind.VECTORS, uuid4().hex)
    for number in range(commits):
        rows = np.arange(4 * number, 4 * number + 4, dtype=np.uint64)
        write_vectors(index, stream, rows, np.ones((4, 2), np.float32), revision=number + 1)
    tiers = np.log(commits) / np.log(4)
    assert sum(written.rows) <= 4 * commits * (tiers + 1)
    assert max(written.rows[-3:]) <= 4 * commits
    assert sum(count == 4 for count in written.rows) == commits
    state = index.state(stream)
    assert state is not None and state.item_count == 4 * commits
    parts = list((index._folder / stream.uid / "vectors").glob("0*"))
    assert len(parts) <= 4 * (tiers + 1)
    load = 4 * commits
    monkeypatch.setattr(vectors, "_MAX_MERGED_BYTES", 8 * load * 3 // 2)  # two of these are too many for a segment
    for number in range(1, 6):
        rows = np.arange(load * number, load * (number + 1), dtype=np.uint64)
        write_vectors(index, stream, rows, np.ones((load, 2), np.float32), revision=commits + number)
    written.rows.clear()
    for number in range(16):
        write_vectors(index, stream, rows_of(6 * load + number), np.ones((1, 2), np.float32), revision=999 + number)
    assert sum(written.rows) <= 16 * 4


def test_a_commit_writes_and_hashes_only_what_is_new(index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a stream holds, a small commit costs the same."""
    hashed: list[Path] = []
    digest_of = manifests.digest_of

    def counting(path: Path) -> manifests.FileDigest:
        hashed.append(path)
        return digest_of(path)

    monkeypatch.setattr(manifests, "digest_of", counting)
    vectors, texts, random = Stream(Kind.VECTORS, uuid4().hex), documents(), np.random.default_rng(0)
    sizes: list[tuple[int, int]] = []
    for number, count in enumerate((50, 5000)):
        rows = np.arange(100_000 * number, 100_000 * number + count, dtype=np.uint64)
        write_vectors(index, vectors, rows, random.normal(size=(count, 4)).astype(np.float32), revision=2 * number + 1)
        write_texts(index, texts, [item(row, f"file {row}") for row in rows.tolist()], 2 * number + 1)
        hashed.clear()
        new = rows_of(int(rows[-1]) + 1)
        write_vectors(index, vectors, new, np.ones((1, 4), np.float32), revision=2 * number + 2)
        write_texts(index, texts, [item(int(new[0]), "one more file")], 2 * number + 2)
        sizes.append((len(hashed), sum(path.stat().st_size for path in hashed)))
    assert sizes[1][0] == sizes[0][0]
    assert sizes[1][1] < 1.5 * sizes[0][1]


def test_segments_that_are_mostly_dead_are_rewritten(index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "MAX_DEAD_ROWS", 10)
    stream = Stream(Kind.CODES, uuid4().hex)
    rows = np.arange(3000, dtype=np.uint64)
    for revision in range(1, 4):
        writer = index.code_writer(stream, at(revision))
        writer.upsert(random_codes(rows, 16, 4, revision))
        writer.commit()
    size = index.size_bytes(stream.uid)
    writer = index.code_writer(stream, at(4))
    writer.delete(rows[:2400])
    writer.commit()
    assert index.size_bytes(stream.uid) < size / 2
    query = LatentQuery(np.arange(16, dtype=np.uint32), np.ones(16))
    assert sorted(index.search_codes(stream, query, 1000, None).rows.tolist()) == list(range(2400, 3000))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("is_filtered", [False, True])
def test_few_of_many_codes_are_the_best_and_all_are_counted(
    index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch, sign: int, is_filtered: bool
) -> None:
    """Codes whose scores tie, of which the lower rows must come first; some are deleted."""
    monkeypatch.setattr(codes, "_BLOCK_ROWS", 16)
    stream, rows = Stream(Kind.CODES, uuid4().hex), np.arange(3000, dtype=np.uint64)
    stored = random_codes(rows, 40, 3)
    tied = replace(stored, values=np.ceil(2 * stored.values))
    writer = index.code_writer(stream, at(1))
    writer.upsert(tied)
    writer.commit()
    writer = index.code_writer(stream, at(2))
    writer.delete(rows[:300])
    writer.commit()
    query = LatentQuery(np.array([3, 17, 30], np.uint32), np.array([1.0, 2.0 * sign, 0.5]))
    allowed = rows[::2] if is_filtered else rows
    remaining = [
        row for row in np.intersect1d(allowed, rows[300:]).tolist() if {3, 17, 30} & set(tied.row(row)[0].tolist())
    ]
    scores = scoring.dots(query, tied)[remaining]
    expected = scoring.order(np.array(remaining), scores)[:20]
    candidates = index.search_codes(stream, query, 20, allowed if is_filtered else None)
    assert candidates.rows.tolist() == np.array(remaining)[expected].tolist()
    assert candidates.scores.tolist() == scores[expected].tolist()
    assert candidates.total == len(remaining)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], None),
        ([10] * 7, None),
        ([10] * 8, slice(0, 8)),
        ([100_000, *[10] * 8], slice(1, 9)),
        ([*[9000] * 7, *[10] * 8], slice(7, 15)),
        ([*[9000] * 8, 10], slice(0, 9)),
        ([10, *[9000] * 7], None),
        ([10, *[9000] * 8], slice(0, 9)),
        ([9000, *[10] * 7], None),
        ([300_000] * 8, None),
        ([65_536] * 9, slice(0, 8)),
        ([100_000] * 8, slice(0, 5)),
        ([500_000, *[100_000] * 7], slice(1, 6)),
        ([500_000, *[100_000] * 6], None),
        ([*[400_000] * 8, 1], None),
        ([*[400_000] * 8, *[1] * 7], None),
        ([*[400_000] * 8, *[1] * 8], slice(8, 16)),
        ([*[400_000] * 8, 100_000], None),
        ([*[400_000] * 6, 100_000, 100_000], slice(6, 8)),
    ],
)
def test_what_is_merged(sizes: list[int], expected: slice | None) -> None:
    assert segments.tiered_run(sizes, segments.MAX_MERGED_ROWS) == expected
