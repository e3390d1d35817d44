"""The directions of a run's latents: what their activations add to vectors, and what in vectors activates them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.interpreter.near_misses import unit_rows

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Decoder:
    """What the trainer says of the directions of m latents.

    A vector v is encoded as (v − mean) / scale. In that space, a latent's decoder row w both is added by an activation
    and measures it. In the space of v these are two directions: w · scale is added, and what w measures of v is, up to
    a constant, the inner product of v and w / scale. They are one where all scales are equal.
    """

    directions: Floats
    """(m, d) what activations add to vectors, of length 1."""
    detectors: Floats
    """(m, d) what vectors are compared with, to say how near they are to activating a latent; of length 1."""
    stability: Floats
    """(m,) cosine of the siblings' most similar decoder rows, mean over the siblings; NaN where there are none."""

    @classmethod
    def of(cls, directions: Floats, *, scales: Floats | None = None, stability: Floats | None = None) -> Decoder:
        """From (m, d) directions of any length.

        scales: (d,) what vectors are divided by; None, or (0,) as of an older trainer, for nothing. stability: (m,);
        None without siblings.
        """
        unknown = np.full(len(directions), np.nan, np.float32)
        return cls(
            directions=unit_rows(directions),
            detectors=unit_rows(directions if scales is None or not len(scales) else _divided(directions, scales)),
            stability=unknown if stability is None else stability,
        )

    def take(self, places: NDArray[np.intp]) -> Decoder:
        """Some of the latents, in this order."""
        return Decoder(self.directions[places], self.detectors[places], self.stability[places])


def _divided(directions: Floats, scales: Floats) -> Floats:
    """(m, d) directions over squares of the scales, relative to the smallest: those of small scales are no float32."""
    return (directions * np.square(scales.min() / scales.astype(np.float64))).astype(np.float32)
