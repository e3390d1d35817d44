"""Which features a table of documents has, and what its columns are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from prisma_common import wire
from prisma_common.table_columns import FEATURE_PREFIX
from services.chassis.feature_filters import FIELDS
from services.chassis.filters import Filter, parse_filter
from services.interpreter.features import Features
from services.interpreter.selection import TRUSTED_ONLY, SelectedFeatures, Selection, of_indices, select

_NAMED = "trust = TRUSTED OR trust = OPEN"
_LIVE = "dead = false"


@dataclass(frozen=True, kw_only=True)
class FeatureOptions:
    """Which features a table has."""

    condition: Filter | None = None
    """None for those that are trusted; where there are none, for the next best."""
    indices: Sequence[int] = ()
    """If there are any, these instead."""
    include_tail: bool = False
    """Whether activations below a feature's threshold count too."""
    column_count: int
    """Columns at most."""


@dataclass(frozen=True, kw_only=True)
class TableFeatures:
    """The features that count in a table of documents."""

    selected: SelectedFeatures
    columns: NDArray[np.int64]
    """(c,) the indices of those that are columns, in order."""
    names: Mapping[int, str]
    """Of all that count, each different, by index."""
    notices: Sequence[str]
    """What people should know of the choice."""

    def activations(self, codes: wire.Codes) -> NDArray[np.float32]:
        """(c, N) the activations that count of N documents, by column."""
        result = np.zeros((len(self.columns), len(codes)), np.float32)
        column_of = np.full(self.selected.features.count, -1)
        column_of[self.columns] = np.arange(len(self.columns))
        columns, counts, rows = column_of[codes.indices.astype(np.intp)], self._counts(codes), _rows_of(codes)
        counts &= columns >= 0
        result[columns[counts], rows[counts]] = codes.values[counts]
        return result

    def strongest(self, codes: wire.Codes, limit: int) -> list[str]:
        """(N,) the strongest features of N documents with their activations, as text."""
        counts, rows = self._counts(codes), _rows_of(codes)
        indices, values, rows = codes.indices[counts], codes.values[counts], rows[counts]
        order = np.lexsort((indices, -values, rows))
        bounds = np.searchsorted(rows, np.arange(len(codes) + 1)).tolist()
        texts: list[str] = []
        for start, end in pairwise(bounds):
            places = order[start : min(end, start + limit)]
            pairs = zip(indices[places].tolist(), values[places].tolist(), strict=True)
            texts.append("; ".join(f"{self.names[index]} ({value:.3g})" for index, value in pairs))
        return texts

    def _counts(self, codes: wire.Codes) -> NDArray[np.bool_]:
        """(nnz,) which activations are of features that count, and reach their thresholds."""
        places = self.selected.columns[codes.indices.astype(np.intp)]
        counts = places >= 0
        counts[counts] = codes.values[counts] >= self.selected.thresholds[places[counts]]
        return counts


def table_features(features: Features, options: FeatureOptions) -> TableFeatures:
    """The features of a table. Raises InvalidFilter, FamilyNotFound, FeatureNotFound."""
    notices: list[str] = []
    if options.indices:
        selected = of_indices(features, np.unique(options.indices), include_tail=options.include_tail)
        columns = np.array(options.indices, np.int64)
    else:
        selected = _selected(features, options, notices)
        frequency = features.statistics.active_count[selected.indices].astype(np.int64)
        columns = selected.indices[np.argsort(-frequency, kind="stable")][: options.column_count]
        if 0 < options.column_count < len(selected):
            notices.append(
                f"{len(selected):,} features count, of which the {len(columns):,} most frequent ones are columns"
            )
    names = column_names(features, selected.indices.tolist())
    return TableFeatures(selected=selected, columns=columns, names=names, notices=notices)


def column_names(features: Features, indices: Sequence[int]) -> dict[int, str]:
    """What features are called, each differently, whatever the case: by label, by index where there is none."""
    names = {index: features.label_text(index) or str(index) for index in indices}
    while True:
        counts = Counter(name.casefold() for name in names.values())
        repeated = [index for index, name in names.items() if counts[name.casefold()] > 1]
        if not repeated:
            return names
        names.update((index, f"{names[index]} #{index}") for index in repeated)


def column_name(name: str) -> str:
    """The name of a feature's column."""
    return f"{FEATURE_PREFIX}{name}"


def _selected(features: Features, options: FeatureOptions, notices: list[str]) -> SelectedFeatures:
    """The features that match; where no filter is given and none is trusted, the next best."""
    if options.condition is not None:
        selected = select(features, Selection(condition=options.condition, include_tail=options.include_tail))
        if not len(selected):
            notices.append(f"No feature of {features.run.name} matches the filter of features")
        return selected
    run, has_labels = features.run.name, any(label.draft.text for label in features.labels.values())
    choices = [
        (TRUSTED_ONLY, None),
        (_NAMED, f"No feature of {run} is trusted: those with a label that are not doubtful count instead"),
    ]
    if not has_labels:
        choices = [(_LIVE, f"{run} has no labels: all features count, and are called by their indices")]
    for text, notice in choices:
        selection = Selection(condition=parse_filter(text, FIELDS), include_tail=options.include_tail)
        selected = select(features, selection)
        if len(selected):
            notices.extend([notice] if notice else [])
            return selected
    notices.append(f"No feature of {run} counts: label its features, or set the filter of features")
    return of_indices(features, np.empty(0, np.int64), include_tail=options.include_tail)


def _rows_of(codes: wire.Codes) -> NDArray[np.int64]:
    """(nnz,) the place of each activation's document."""
    return np.repeat(np.arange(len(codes)), np.diff(codes.indptr.astype(np.int64)))
