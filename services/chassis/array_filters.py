"""AND, OR and NOT of filters, as boolean arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.chassis.filters import Logic


def masks(length: int) -> Logic[NDArray[np.bool_]]:
    """Of arrays of this length."""
    return Logic(
        all_of=lambda parts: np.logical_and.reduce([np.ones(length, bool), *parts]),
        any_of=lambda parts: np.logical_or.reduce([np.zeros(length, bool), *parts]),
        negation=np.logical_not,
    )
