"""Reading the codes of some rows costs as much as these rows, however many there are in all."""

from __future__ import annotations

import tracemalloc
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from prisma_common.wire import Codes, concatenate
from services.chassis.blobs import BlobDamaged, Blobs
from services.trainer.autoencoders import Autoencoders
from services.trainer.code_index import CodeFile, CodeIndex, CodeSelection, Deletion
from services.trainer.encoding import CodeWriter
from services.trainer.runs import Run
from services.trainer.sae.codes import load_codes, save_codes

LATENTS, K = 512, 8
RUN = cast(Run, SimpleNamespace(revision=1, uid="u", history="h"))


def codes_of(count: int) -> Codes:
    """Codes with K active latents, of every second row."""
    generator = np.random.default_rng(0)
    firsts = generator.integers(0, LATENTS - K, count)
    return Codes(
        rows=np.arange(0, 2 * count, 2, dtype=np.uint64),
        indptr=np.arange(0, K * count + 1, K, dtype=np.uint32),
        indices=(firsts[:, None] + np.arange(K)).astype(np.uint32).reshape(-1),
        values=generator.random(K * count, np.float32) + 1,
        latent_count=LATENTS,
    )


class Stored:
    """Codes in files, as a run has them."""

    def __init__(self, folder: Path, codes: Codes, deletions: Sequence[Deletion] = ()) -> None:
        writer = CodeWriter(folder / "codes", latent_count=LATENTS)
        for start in range(0, len(codes), 1000):
            writer.add(codes.slice(start, min(start + 1000, len(codes))))
        writer.finish()
        files = [CodeFile(f"codes/{shard.name}", 1, shard) for shard in writer.shards]
        self.index = CodeIndex(files, deletions)
        self.files = [folder / file.path for file in files]
        self._autoencoders = Autoencoders(Blobs(folder))

    def read(self, selection: CodeSelection) -> Codes:
        parts = list(self._autoencoders.codes(RUN, self.index, selection))
        return concatenate([part.codes for part in parts if part.codes is not None], LATENTS)

    def peak_bytes(self, selection: CodeSelection) -> int:
        """The most memory that reading takes; what is read of the files is copied there, and nothing else is."""
        self.read(selection)
        tracemalloc.start()
        self.read(selection)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak


def same(first: Codes, second: Codes) -> bool:
    arrays = ("rows", "indptr", "indices", "values")
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in arrays)


@pytest.mark.parametrize("step", [1, 97])
def test_a_hundred_rows_cost_the_same_among_ten_thousand_and_a_hundred_thousand(tmp_path: Path, step: int) -> None:
    peaks: list[int] = []
    for count in (10_000, 100_000):
        codes = codes_of(count)
        stored = Stored(tmp_path / str(count), codes)
        places = 2000 + step * np.arange(min(100, 8000 // step))
        ranges = [(int(row), int(row) + 1) for row in codes.rows[places]]
        selection = CodeSelection(ranges=ranges if step > 1 else [(ranges[0][0], ranges[-1][1])])
        assert same(stored.read(selection), codes.take(places))
        peaks.append(stored.peak_bytes(selection))
        assert peaks[-1] < stored.files[0].stat().st_size / 4
    assert peaks[1] < 1.5 * peaks[0]


def test_any_rows_are_those_of_a_slow_reader(tmp_path: Path) -> None:
    codes = codes_of(3000)
    deletions = [Deletion(2, 100, 131), Deletion(3, 5000, 5000)]
    stored = Stored(tmp_path, codes, deletions)
    generator = np.random.default_rng(1)
    for count in (0, 1, 2, 5, 40, 400):
        starts = generator.integers(0, 6200, count)
        ranges = [(int(start), int(start) + int(generator.integers(1, 30))) for start in starts]
        start_row = int(generator.integers(0, 200))
        is_selected = codes.rows >= start_row
        if ranges:
            is_selected &= np.any([(codes.rows >= start) & (codes.rows < end) for start, end in ranges], axis=0)
        for deletion in deletions:
            is_selected &= (codes.rows < deletion.first_row) | (codes.rows > deletion.last_row)
        expected = codes.take(np.flatnonzero(is_selected))
        assert same(stored.read(CodeSelection(ranges=ranges, start_row=start_row)), expected)


def test_files_without_numbers_are_read(tmp_path: Path) -> None:
    empty = concatenate([], LATENTS)
    save_codes(tmp_path / "empty.npz", empty)
    assert same(load_codes(tmp_path / "empty.npz"), empty)
    silent = Codes(np.arange(3, dtype=np.uint64), np.zeros(4, np.uint32), empty.indices, empty.values, LATENTS)
    save_codes(tmp_path / "silent.npz", silent)
    loaded = load_codes(tmp_path / "silent.npz")
    assert (same(loaded, silent), loaded.latent_count) == (True, LATENTS)


def test_damaged_files_are_reported(tmp_path: Path) -> None:
    stored = Stored(tmp_path, codes_of(2000))
    [file] = stored.files
    data = file.read_bytes()
    arrays = dict(np.load(file))
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("rows.npy", b"no array")
    without_arrays = file.read_bytes()
    np.savez_compressed(file, **arrays)
    compressed = file.read_bytes()
    header = data.replace(b"'shape': (2000,)", b"'shape': (9999,)")
    for damaged in (b"", data[:100], data[: len(data) // 2], b"no zip", without_arrays, compressed, header):
        file.write_bytes(damaged)
        with pytest.raises(BlobDamaged, match="cannot be read"):
            stored.read(CodeSelection())
    file.write_bytes(data)
    assert len(stored.read(CodeSelection())) == 2000
