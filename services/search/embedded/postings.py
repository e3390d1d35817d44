"""How many live rows of a segment have a key, such as a word: frequent keys are bitmaps, so they cost little.

The rows that have a key are ascending places in the segment. A key that many rows have is packed into bits when it is
first asked for, and stays so for as long as the segment is loaded: at most half of what its places take on disk.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.search.embedded.segments import Segment, packed

Bits = NDArray[np.uint64]
"""(⌈R / 64⌉,) a bit for each row."""
Places = NDArray[np.uint32]

_FREQUENT = 32
"""A key that one of so many rows has is a bitmap."""


def count_live(segment: Segment, key: int, places: Places) -> int:
    """How many live rows have a key. places: of all rows that have it."""
    if segment.is_whole:
        return len(places)
    if len(places) * _FREQUENT < len(segment.rows):
        return int(segment.live[places].sum())
    return int(np.bitwise_count(_bits_of(segment, key, places) & segment.live_bits).sum(dtype=np.int64))


def _bits_of(segment: Segment, key: int, places: Places) -> Bits:
    bits = segment.bitmaps.get(key)
    if bits is None:
        mask = np.zeros(len(segment.rows), dtype=bool)
        mask[places] = True
        bits = segment.bitmaps[key] = packed(mask)
    return bits
