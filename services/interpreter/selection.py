"""Which features analyses count, and from which activation on they count as active."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from services.chassis.filters import Filter
from services.interpreter.features import Features
from services.interpreter.naming import DENSE

TRUSTED_ONLY = "trust = TRUSTED"
"""The filter of a selection that names none."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What a request says of the features that count."""

    condition: Filter
    include_tail: bool = False
    """Whether activations below a feature's threshold count too."""


@dataclass(frozen=True)
class SelectedFeatures:
    """m of a run's n features."""

    features: Features
    indices: NDArray[np.int64]
    """(m,) rising."""
    thresholds: NDArray[np.float32]
    """(m,) the activations from which they count as active; 0 for all."""

    def __len__(self) -> int:
        return len(self.indices)

    def labelled(self) -> SelectedFeatures:
        """Those that have a label."""
        named = np.array([bool(self.features.label_text(index)) for index in self.indices.tolist()], bool)
        return SelectedFeatures(self.features, self.indices[named], self.thresholds[named])

    @cached_property
    def columns(self) -> NDArray[np.int64]:
        """(n,) for each of the run's features its place among the selected ones; -1 for the others."""
        columns = np.full(self.features.count, -1)
        columns[self.indices] = np.arange(len(self.indices))
        return columns


def select(features: Features, selection: Selection) -> SelectedFeatures:
    """The features that count: live, not dense, and matching. Raises InvalidFilter, FamilyNotFound."""
    indices = np.sort(features.select(selection.condition))
    density = features.statistics.density[indices]
    return of_indices(features, indices[(density > 0) & (density <= DENSE)], include_tail=selection.include_tail)


def of_indices(features: Features, indices: NDArray[np.int64], *, include_tail: bool) -> SelectedFeatures:
    """Some features, whatever they are. indices: rising. Raises FeatureNotFound."""
    places = [features.check(index) for index in indices.tolist()]
    thresholds = [0.0 if include_tail else features.threshold(index) or 0.0 for index in places]
    return SelectedFeatures(features, indices, np.array(thresholds, np.float32))
