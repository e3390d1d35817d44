"""Vectors in the JSON of model servers."""

from __future__ import annotations

from typing import Any

import numpy as np

from services.chassis.errors import Code
from services.embedder.documents import Failure
from services.embedder.providers import Embedding
from services.providers.client import ProviderClient, ProviderRefused

_OK = 200


def vector_of(server: ProviderClient, value: Any) -> Embedding | Failure:
    """A vector, (d,) float32, from a list of numbers; a failure for anything else."""
    try:
        with np.errstate(over="ignore"):  # 1e39 becomes infinity, which the caller reports
            values = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        return failure(server.refused(_OK, "expected a list of numbers"))
    if values.ndim != 1 or not len(values) or isinstance(value[0], bool):
        return failure(server.refused(_OK, "expected a vector"))
    return Embedding(values)


def failure(error: ProviderRefused) -> Failure:
    """The failure of the only text of a refused request."""
    return Failure(Code(error.code), error.reason, error.message)
