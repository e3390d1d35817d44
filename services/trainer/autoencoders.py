"""Trained autoencoders at work: encoding, comparing, and reading their codes, decoders and weights."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from prisma_common import wire
from prisma_common.wire import Codes
from services.chassis import logs
from services.chassis.blobs import BlobDamaged, Blobs
from services.chassis.errors import InvalidArgument
from services.trainer.code_index import CodeFile, CodeIndex, CodeSelection
from services.trainer.errors import InvalidVector
from services.trainer.model_card import sae_lens_zip
from services.trainer.runs import Run
from services.trainer.sae import comparing
from services.trainer.sae.batches import divided
from services.trainer.sae.codes import load_codes
from services.trainer.sae.stability import Stability
from services.trainer.sae.vectors import InvalidVectors
from services.trainer.sae.weights import Weights

_log = logs.get(__name__)

_WEIGHTS_IN_MEMORY = 4
_DELETED_ROWS_PER_BLOCK = 1 << 16
_SMALL_ENCODER = 1 << 20
"""With an encoder of so many numbers, a code takes less time than a switch to a thread and back."""
_NONE = np.empty(0, dtype=np.float32)


@dataclass(frozen=True)
class Encoding:
    """Codes of vectors, and for each vector |x − x̂|² / |x − mean|², (B,) float32."""

    codes: Codes
    unexplained_fractions: NDArray[np.float32]


@dataclass(frozen=True)
class CodesPart:
    """A part of a run's codes, and the state of the run that is reached once all parts are read."""

    codes: Codes | None
    deleted_rows: Sequence[int]
    revision: int
    run_uid: str
    history: str


@dataclass(frozen=True)
class DecoderPart:
    """Some latents of a run: m of them."""

    latents: wire.Rows
    """(m,) their indices."""
    directions: wire.Vectors
    """(m, d) what they add to vectors: their decoder rows in the vectors' own space, of norm 1."""
    scales: NDArray[np.float32]
    """(d,) what vectors are divided by before they are encoded."""
    stabilities: NDArray[np.float32]
    """(m,) cosine of the most similar decoder row, mean over siblings; (0,) without siblings."""
    agreements: NDArray[np.float32]
    """(m,) cosine with that row's activations, mean over siblings; (0,) without siblings."""
    weights_digest: str
    """That of the run's weights."""


class Autoencoders:
    """The weights and codes of trained runs. All calls block."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._load = lru_cache(maxsize=_WEIGHTS_IN_MEMORY)(self._load_weights)
        self._last: tuple[str, Weights | None] = ("", None)
        """Path and weights of what was encoded last."""
        self._load_stability = lru_cache(maxsize=_WEIGHTS_IN_MEMORY)(self._read_stability)

    def weights(self, run: Run) -> Weights:
        """Weights of a trained run, from memory if they were used lately. Raises BlobDamaged."""
        return self._load(run.weights)

    def encode(self, path: str, vectors: wire.Vectors, rows: wire.Rows) -> Encoding:
        """Encodes vectors (B, d) under these row numbers with the weights at a path.

        Raises InvalidVector, BlobDamaged.
        """
        weights = self._load(path)
        encoding = _encoding(weights, vectors, rows)
        self._last = path, weights
        return encoding

    def encode_at_once(self, path: str, vectors: wire.Vectors, rows: wire.Rows) -> Encoding | None:
        """As `encode`, for one vector and the small weights of the last call; None for others. Does not block."""
        last_path, weights = self._last
        if weights is None or path != last_path or len(vectors) != 1 or weights.W_enc.size > _SMALL_ENCODER:
            return None
        return _encoding(weights, vectors, rows)

    def decode(self, run: Run, codes: Codes) -> wire.Vectors:
        """(B, d) vectors of codes, in the vectors' own space.

        Raises InvalidArgument for codes of other latents, BlobDamaged.
        """
        weights = self.weights(run)
        if codes.latent_count != weights.latent_count:
            message = f"expected codes of {weights.latent_count} latents, got {codes.latent_count}"
            raise InvalidArgument.field("codes", message)
        parts = (codes.values, codes.indices.astype(np.int64), codes.indptr.astype(np.int64))
        activations = sparse.csr_array(parts, shape=(len(codes), weights.latent_count))
        return (activations @ weights.W_dec + weights.b_dec) * weights.scale + weights.mean

    def compare(self, first: Run, second: Run, *, min_cosine: float) -> comparing.Matching:
        """Matches the latents of two runs. Raises InvalidArgument for different dimensions, BlobDamaged."""
        if first.source.dimension != second.source.dimension:
            raise InvalidArgument.field(
                "second",
                f"expected a run on vectors of {first.source.dimension} numbers, got {second.source.dimension}",
            )
        one, other = (comparing.directions(self.weights(run)) for run in (first, second))
        return comparing.match(one, other, same=min_cosine)

    def codes(self, run: Run, index: CodeIndex, selection: CodeSelection) -> Iterator[CodesPart]:
        """The selected codes in parts of about 1 MiB, at least one part.

        Reads nothing of the other codes but some row numbers, to find the selected ones. Raises BlobDamaged.
        """

        def part(codes: Codes | None, deleted_rows: Sequence[int] = ()) -> CodesPart:
            return CodesPart(codes, deleted_rows, revision=run.revision, run_uid=run.uid, history=run.history)

        is_empty = True
        trained_rows = training_rows(run) if selection.held_out else None
        for file in index.files_of(selection):
            stored = self.load(file)
            codes = index.living(stored.take(selection.places(stored.rows)), file)
            if selection.held_out:
                is_held_out = trained_rows is not None and np.isin(codes.rows, trained_rows, invert=True)
                codes = codes.take(np.flatnonzero(np.broadcast_to(is_held_out, len(codes))))
            for piece in wire.blocks_of(len(codes), 8 * int(np.diff(codes.indptr).max(initial=0)) + 12):
                is_empty = False
                yield part(codes.slice(piece.start, piece.stop))
        if selection.follower.revision:
            for rows in self._deleted_rows(index, selection.follower.revision):
                is_empty = False
                yield part(None, rows)
        if is_empty:
            yield part(None)

    def load(self, file: CodeFile) -> Codes:
        """All codes of a file, deleted ones included, mapped from it. Raises BlobDamaged."""
        path = self._blobs.local(file.path)
        try:
            return load_codes(path)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise BlobDamaged(file.path, f"cannot be read ({error})") from error

    def decoder(self, run: Run, latents: NDArray[np.uint64]) -> Iterator[DecoderPart]:
        """Directions of the latents in parts of about 1 MiB. Raises BlobDamaged.

        Where the file of stabilities is damaged, they are left out, as nothing says what they were.
        """
        weights = self.weights(run)
        stabilities, agreements = self._stability(run)
        for piece in wire.blocks_of(len(latents), 4 * weights.dimension):
            some = latents[piece]
            yield DecoderPart(
                latents=some,
                directions=comparing.directions(weights, some.astype(np.intp)),
                scales=weights.scale,
                stabilities=stabilities[some.astype(np.intp)] if len(stabilities) else stabilities,
                agreements=agreements[some.astype(np.intp)] if len(agreements) else agreements,
                weights_digest=weights.digest,
            )

    def _stability(self, run: Run) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Stabilities and agreements of all latents, (n,) each; (0,) without siblings, or where they are damaged."""
        if run.stability is None:
            return _NONE, _NONE
        try:
            stability = self._load_stability(run.stability)
        except BlobDamaged as damage:
            _log.warning("a decoder is served without stability", run=run.name, error=damage.message)
            return _NONE, _NONE
        return stability.mean, stability.agreement.mean(axis=0)

    def checked(self, run: Run) -> Run:
        """The run with what this process knows of damage to its stability."""
        return replace(run, stability_damaged=any(damage.path == run.stability for damage in self._blobs.damages))

    def _read_stability(self, path: str) -> Stability:
        try:
            return Stability.load(self._blobs.local(path))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise BlobDamaged(path, f"cannot be read ({error})") from error

    def export(self, run: Run) -> Iterator[bytes]:
        """The weights' file in parts of about 1 MiB, verified before the first and complete after the last.

        Raises BlobDamaged.
        """
        path = self._blobs.local(run.weights)
        missing = path.stat().st_size
        with path.open("rb") as file:
            while data := file.read(wire.BLOCK_BYTES):
                missing -= len(data)
                yield data
        if missing:
            raise BlobDamaged(run.weights, "changed while it was read")

    def export_sae_lens(self, run: Run) -> Iterator[bytes]:
        """A zip of the folder that SAELens loads, in parts of about 1 MiB. Raises BlobDamaged."""
        data = sae_lens_zip(run, self.weights(run))
        for start in range(0, len(data), wire.BLOCK_BYTES):
            yield data[start : start + wire.BLOCK_BYTES]

    def _deleted_rows(self, index: CodeIndex, since_revision: int) -> Iterator[Sequence[int]]:
        """Rows whose codes were deleted after a revision and not written again, in blocks."""
        deletions = index.deleted_since(since_revision)
        if not deletions:
            return
        newer = [file for file in index.files if file.revision > since_revision]
        parts = [index.living(self.load(file), file).rows for file in newer]
        present = np.concatenate([np.empty(0, np.uint64), *parts])
        for deletion in deletions:
            for start in range(deletion.first_row, deletion.last_row + 1, _DELETED_ROWS_PER_BLOCK):
                end = min(start + _DELETED_ROWS_PER_BLOCK, deletion.last_row + 1)
                rows = np.setdiff1d(np.arange(start, end, dtype=np.uint64), present)
                if len(rows):
                    yield rows.tolist()

    def _load_weights(self, path: str) -> Weights:
        file = self._blobs.local(path)
        try:
            return Weights.load(file)
        except Exception as error:
            raise BlobDamaged(path, f"cannot be read ({error})") from error


def _encoding(weights: Weights, vectors: wire.Vectors, rows: wire.Rows) -> Encoding:
    try:
        indices, values = weights.encode_dense(vectors)
    except InvalidVectors as error:
        raise InvalidVector(f"vectors: {error}", metadata={"row": str(error.row)}) from error
    unexplained = weights.unexplained(vectors, indices, values)
    return Encoding(codes=weights.sparse(indices, values, rows), unexplained_fractions=unexplained)


def training_rows(run: Run) -> wire.Rows | None:
    """The rows that a run was trained on, in any order; None for imported weights and before a training."""
    if run.imported_from is not None or run.selection is None or run.config is None:
        return None
    ranges = run.selection.ranges
    rows = np.concatenate([np.empty(0, np.uint64), *(np.arange(start, end, dtype=np.uint64) for start, end in ranges)])
    _held_out, places = divided(len(rows), run.config.held_out_fraction, run.config.seed)
    return rows[places]
