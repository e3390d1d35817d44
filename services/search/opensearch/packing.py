"""Vectors, codes and counts of words as documents of the cluster hold them, with every bit.

A code is one `long` for each latent: the index in the upper 32 bits, the bits of the float32 activation in the lower.
The bits of positive floats ascend with their values, so that "latent i is at least x" is one range of longs; doc values
come sorted, so that a script adds up a dot product in the order of the latents, in double, as our own code does.
`rank_features`, whose postings let the cluster skip what cannot be among the best, have nine bits of an activation, so
they choose candidates that are then scored exactly.

The counts of a text's words are longs as well: 47 bits of a digest of the word, then 16 of the count. A script looks up
those of a query's words, so that texts are scored exactly and not sent. A query's word and another one of a text are
confused once in 10¹² texts.
"""

from __future__ import annotations

import base64
import struct
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prisma_common import wire
from prisma_common.wire import Codes
from services.search.backend import Rows, Scores, Vectors

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


COUNTS = """
List counts = new ArrayList(); counts.add(doc['length'].value); int i = 0; int n = params.words.length;
for (long code : doc['counts']) {
  long word = code >>> 16;
  while (i < n && params.words[i] < word) { i++; }
  if (i == n) { break; }
  if (params.words[i] == word) { counts.add(((long) i << 16) | (code & 0xffffL)); }
}
return counts;
"""
"""The length of a text, then the place and count of each of its words that are among `words`, ascending digests."""
_MAX_COUNT = 0xFFFF


def pack_vector(vector: Vectors) -> dict[str, Any]:
    """A vector: its bits, and the unit vector to search by, which a zero vector does not have."""
    packed: dict[str, Any] = {"bits": base64.b64encode(vector.astype("<f4").tobytes()).decode()}
    norm = float(np.sqrt((vector.astype(np.float64) ** 2).sum()))
    if norm > 0:
        packed["unit"] = (vector.astype(np.float64) / norm).astype(np.float32).tolist()
    else:
        packed["zero"] = True
    return packed


def unpack_vectors(bits: Sequence[str], dimension: int) -> Vectors:
    """(R, d) vectors of their bits."""
    data = b"".join(base64.urlsafe_b64decode(vector + "==") for vector in bits)  # doc values come without padding
    return np.frombuffer(data, dtype="<f4").reshape(len(bits), dimension).astype(np.float32, copy=False)


def pack_code(indices: NDArray[np.uint32], values: NDArray[np.float32]) -> list[int]:
    """One ascending long for each latent."""
    bits = values.astype("<f4").view("<u4").astype(np.uint64)
    return ((indices.astype(np.uint64) << np.uint64(32)) | bits).tolist()


FEATURE_ERROR = 2.0**-8
"""How much smaller, relatively, an activation may be as a feature."""
_LEAST_FEATURE = float(np.finfo(np.float32).tiny)


def pack_features(indices: NDArray[np.uint32], values: NDArray[np.float32]) -> dict[str, float]:
    """Activations by latent, for `rank_features`, which refuse numbers below the normal ones."""
    features = zip(indices.tolist(), values.tolist(), strict=True)
    return {str(latent): max(value, _LEAST_FEATURE) for latent, value in features}


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
    """Tokens as they are indexed: split at blanks."""
    return " ".join(tokens)


def pack_counts(tokens: Sequence[str]) -> list[int]:
    """One ascending long for each distinct token."""
    counts: Counter[int] = Counter()
    for token, count in Counter(tokens).items():
        counts[digest(token)] += count
    return sorted(word << 16 | min(count, _MAX_COUNT) for word, count in counts.items())


def unpack_counts(packed: Sequence[Sequence[int]], terms: Sequence[str]) -> tuple[Scores, Scores]:
    """(C, T) frequencies of terms and (C,) lengths of texts, from what COUNTS returns of each."""
    lengths = np.array([counts[0] for counts in packed], dtype=np.float64)
    words = np.repeat(np.arange(len(packed)), [len(counts) - 1 for counts in packed])
    longs = np.array([long for counts in packed for long in counts[1:]], dtype=np.int64)
    columns = np.argsort(np.array([digest(term) for term in terms], dtype=np.int64))
    frequencies = np.zeros((len(packed), len(terms)))
    if len(longs):
        frequencies[words, columns[longs >> 16]] = longs & _MAX_COUNT
    return frequencies, lengths


def digest(token: str) -> int:
    """47 bits."""
    return int.from_bytes(blake2b(token.encode(), digest_size=8).digest()) >> 17
