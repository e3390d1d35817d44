"""Vectors and codes as documents of the cluster hold them, with every bit.

A code is one `long` for each latent: the index in the upper 32 bits, the bits of the float32 activation in the lower.
The bits of positive floats ascend with their values, so that "latent i is at least x" is one range of longs; doc values
come sorted, so that a script adds up a dot product in the order of the latents, in double, as our own code does.
(`rank_features` would keep nine bits of an activation.)
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prisma_common import wire
from prisma_common.wire import Codes
from services.search.backend import Rows, Vectors

FINGERPRINT_FORMAT = "016x"
DOT_PRODUCT = """
double sum = 0; int i = 0;
for (long code : doc['codes']) {
  int latent = (int) (code >>> 32);
  while (i < params.indices.length && params.indices[i] < latent) { i++; }
  if (i == params.indices.length) { break; }
  if (params.indices[i] == latent) { sum += params.weights[i] * Float.intBitsToFloat((int) (code & 0xffffffffL)); }
}
return sum;
"""


def pack_vector(vector: Vectors) -> dict[str, Any]:
    """A vector: its bits, and the unit vector to search by, which a zero vector does not have."""
    packed: dict[str, Any] = {"bits": base64.b64encode(vector.astype("<f4").tobytes()).decode()}
    norm = float(np.sqrt((vector.astype(np.float64) ** 2).sum()))
    if norm > 0:
        packed["unit"] = (vector.astype(np.float64) / norm).astype(np.float32).tolist()
    return packed


def unpack_vectors(bits: Sequence[str], dimension: int) -> Vectors:
    """(R, d) vectors of their bits."""
    data = b"".join(base64.b64decode(vector) for vector in bits)
    return np.frombuffer(data, dtype="<f4").reshape(len(bits), dimension).astype(np.float32, copy=False)


def pack_code(indices: NDArray[np.uint32], values: NDArray[np.float32]) -> list[int]:
    """One ascending long for each latent."""
    bits = values.astype("<f4").view("<u4").astype(np.uint64)
    return ((indices.astype(np.uint64) << np.uint64(32)) | bits).tolist()


def unpack_codes(rows: Rows, packed: Sequence[Sequence[int]], latent_count: int) -> Codes:
    """Codes of some rows, with the bits that were packed."""
    if not len(rows):
        return wire.concatenate([], latent_count)
    longs = np.array([long for code in packed for long in code], dtype=np.uint64)
    indptr = np.concatenate([[0], np.cumsum([len(code) for code in packed])]).astype(np.uint32)
    values = (longs & np.uint64(0xFFFFFFFF)).astype("<u4").view("<f4").astype(np.float32, copy=False)
    return Codes(
        rows=rows,
        indptr=indptr,
        indices=(longs >> np.uint64(32)).astype(np.uint32),
        values=values,
        latent_count=latent_count,
    )


def latent_range(latent: int, minimum: float, *, inclusive: bool) -> dict[str, int]:
    """The longs of a latent that is active at, or only above, the minimum."""
    base = latent << 32
    bound = np.float32(max(minimum, 0.0))
    exact = float(bound)
    (bits,) = struct.unpack("<I", struct.pack("<f", exact))
    if exact < minimum or (exact == minimum and not inclusive) or not bits:
        bits += 1
    return {"gte": base + bits, "lt": base + (1 << 32)}


def pack_tokens(tokens: Sequence[str]) -> str:
    """Tokens as they are stored and indexed: split at blanks, and countable by `count_tokens`."""
    return f" {'  '.join(tokens)} "


def count_tokens(packed: str, terms: Sequence[str]) -> list[int]:
    """How often each term occurs in packed tokens."""
    return [packed.count(f" {term} ") for term in terms]
