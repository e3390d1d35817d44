"""All features of a run with what is known of them, to be listed, filtered and searched."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from services.chassis.filters import InvalidFilter, Term
from services.interpreter.errors import FeatureDead, FeatureNotFound
from services.interpreter.families import Family, Member
from services.interpreter.keywords import Evidence
from services.interpreter.labels import Label, Source
from services.interpreter.runs import Interpretation, Run
from services.interpreter.statistics import NO_ROW, Statistics

NUMBERS = ("density", "max_activation", "mean_activation", "variance", "index")
FILTERS = {
    **dict.fromkeys(NUMBERS, "= != < <= > >="),
    **dict.fromkeys(("labelled", "dead"), "="),
    **dict.fromkeys(("source", "family"), "= !="),
}
ORDERS = (*NUMBERS, "label")
_COMPARE: Mapping[str, Callable[[NDArray[np.float64], float], NDArray[np.bool_]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def check_indices(run: Run, indices: Sequence[int]) -> None:
    """Raises FeatureNotFound for an index that no latent of the run has."""
    for index in indices:
        if index >= run.latent_count:
            name = f"{run.name}/features/{index}"
            raise FeatureNotFound(
                f"{name}: the run has features 0 to {run.latent_count - 1}",
                metadata={"feature": name, "count": str(run.latent_count)},
            )


@dataclass(frozen=True)
class Membership:
    """A feature's place in a family."""

    family: Family
    member: Member


@dataclass(frozen=True)
class Features:
    """A run's n features: statistics, active labels by index, families."""

    interpretation: Interpretation
    statistics: Statistics
    labels: Mapping[int, Label]
    families: Sequence[Family]

    @property
    def count(self) -> int:
        """n."""
        return self.statistics.latent_count

    @cached_property
    def memberships(self) -> Mapping[int, Sequence[Membership]]:
        """The families of each feature, those of earlier rounds first, then the larger ones."""
        places: dict[int, list[Membership]] = {}
        for family in sorted(self.families, key=lambda each: (each.round, -len(each.members), each.root)):
            for member in family.members:
                places.setdefault(member.index, []).append(Membership(family, member))
        return places

    @cached_property
    def _numbers(self) -> Mapping[str, NDArray[np.float64]]:
        statistics = self.statistics
        return {
            "density": statistics.density,
            "max_activation": statistics.maximum,
            "mean_activation": statistics.mean,
            "variance": statistics.variance,
            "index": np.arange(self.count, dtype=np.float64),
        }

    @cached_property
    def _words(self) -> Sequence[str]:
        """What each feature is searched by, in lower case."""
        return [self._words_of(index) for index in range(self.count)]

    def _words_of(self, index: int) -> str:
        label = self.labels.get(index)
        if label is None:
            return ""
        return "\n".join([label.draft.text, label.draft.description, *label.draft.keywords]).lower()

    def check(self, index: int) -> int:
        """`index` if there is such a feature. Raises FeatureNotFound."""
        check_indices(self.interpretation.run, [index])
        return index

    def label_text(self, index: int) -> str:
        """The active label; empty where there is none."""
        label = self.labels.get(index)
        return label.draft.text if label else ""

    def alive(self, index: int) -> int:
        """`index` if the feature activates. Raises FeatureNotFound, FeatureDead."""
        if not self.statistics.active_count[self.check(index)]:
            raise FeatureDead(
                f"{self.interpretation.run.name}/features/{index} never activates: nothing can be said of it",
                metadata={"index": str(index)},
            )
        return index

    def top(self, index: int, limit: int | None = None) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
        """Rows (m,) that activate a feature most, strongest first, and how strongly."""
        count = int((self.statistics.top_rows[index] != NO_ROW).sum())
        part = slice(0, count if limit is None else min(count, limit))
        return np.asarray(self.statistics.top_rows[index, part]), np.asarray(self.statistics.top_values[index, part])

    def evidence(self, index: int) -> Evidence:
        """What keywords are made of."""
        rows, activations = self.top(index)
        return Evidence(index, float(self.statistics.density[index]), rows, activations)

    def select(self, query: str, terms: Sequence[Term], order: str, descending: bool) -> NDArray[np.int64]:
        """Indices of the features that match, in order; ties by index. Raises InvalidFilter."""
        kept = np.ones(self.count, bool)
        for term in terms:
            kept &= self._matching(term)
        wanted = query.lower().split()
        if wanted:
            number = int(query) if query.strip().isdecimal() else -1
            found = [
                index == number or all(word in self._words[index] for word in wanted) for index in range(self.count)
            ]
            kept &= np.array(found)
        indices = np.flatnonzero(kept)
        if order == "label":
            # Features without a label come last, whichever way.
            named = [index for index in indices.tolist() if index in self.labels]
            named.sort(key=lambda index: self.label_text(index).lower(), reverse=descending)
            return np.array([*named, *(index for index in indices.tolist() if index not in self.labels)], np.int64)
        values = self._numbers[order][indices]
        return indices[np.lexsort((indices, -values if descending else values))]

    def _matching(self, term: Term) -> NDArray[np.bool_]:
        if term.field in self._numbers:
            return _COMPARE[term.op](self._numbers[term.field], term.number())
        if term.field == "dead":
            return (self.statistics.active_count == 0) == term.flag()
        if term.field == "labelled":
            return self._with(lambda index: index in self.labels) == term.flag()
        if term.field == "source":
            if term.value not in tuple(Source):
                raise InvalidFilter(f"filter: source is one of {', '.join(Source)}; got {term.value!r}")
            here = self._with(lambda index: index in self.labels and self.labels[index].draft.source == term.value)
        else:
            members = {member.index for family in self.families if family.id == term.value for member in family.members}
            here = self._with(members.__contains__)
        return here if term.op == "=" else ~here

    def _with(self, holds: Callable[[int], bool]) -> NDArray[np.bool_]:
        return np.fromiter((holds(index) for index in range(self.count)), bool, self.count)
