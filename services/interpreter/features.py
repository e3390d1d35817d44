"""All features of a run with what is known about them, to be listed, filtered and searched."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.chassis.array_filters import masks
from services.chassis.feature_filters import NUMBERS
from services.chassis.filters import UNFILTERED, Comparison, Filter, Leaf, Presence, evaluate
from services.interpreter.errors import FamilyNotFound, FeatureDead, FeatureNotFound
from services.interpreter.evidence import Sources
from services.interpreter.families import Family, Member
from services.interpreter.labels import Label, Source
from services.interpreter.runs import Interpretation, Run
from services.interpreter.scoring import Score
from services.interpreter.statistics import NO_ROW, Statistics
from services.interpreter.trust import UNSTABLE, MissedCondition, Trust, missed_conditions, trust_of

_TITLE_FEATURES = 3
"""Features that an unnamed family is called by."""
ORDERS = (*NUMBERS, "label", "trust")
COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Order:
    """How a list of features is sorted; ties by index."""

    field: str
    """One of ORDERS."""
    descending: bool


DENSEST_FIRST = Order("density", descending=True)


@dataclass(frozen=True)
class Membership:
    """A feature's place in a family."""

    family: Family
    member: Member


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
class Features:
    """A run's n features."""

    interpretation: Interpretation
    statistics: Statistics
    labels: Mapping[int, Label]
    """The active labels by index."""
    families: Sequence[Family]

    @property
    def run(self) -> Run:
        """The run that the features are of."""
        return self.interpretation.run

    @property
    def count(self) -> int:
        """n."""
        return self.statistics.latent_count

    @cached_property
    def live_count(self) -> int:
        """Latents that are active in at least one row."""
        return int((self.statistics.active_count > 0).sum())

    @cached_property
    def memberships(self) -> Mapping[int, Sequence[Membership]]:
        """The families of each feature, those of earlier rounds first, then the larger ones."""
        places: dict[int, list[Membership]] = {}
        for family in sorted(self.families, key=lambda family: (family.round, -len(family.members), family.root)):
            for member in family.members:
                places.setdefault(member.index, []).append(Membership(family, member))
        return places

    def check(self, index: int) -> int:
        """`index` if there is such a feature. Raises FeatureNotFound."""
        check_indices(self.run, [index])
        return index

    def check_alive(self, index: int) -> int:
        """`index` if the feature is active in at least one row. Raises FeatureNotFound, FeatureDead."""
        if not self.statistics.active_count[self.check(index)]:
            raise FeatureDead(
                f"{self.run.name}/features/{index} is active in no document, so it cannot be named",
                metadata={"index": str(index)},
            )
        return index

    def label_text(self, index: int) -> str:
        """The active label; empty where there is none."""
        label = self.labels.get(index)
        return label.draft.text if label else ""

    def top(self, index: int, limit: int | None = None) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
        """Rows (m,) that activate a feature most, the strongest first, and how strongly (m,)."""
        count = int((self.statistics.top_rows[index] != NO_ROW).sum())
        part = slice(0, count if limit is None else min(count, limit))
        return np.asarray(self.statistics.top_rows[index, part]), np.asarray(self.statistics.top_values[index, part])

    def sources(self, index: int) -> Sources:
        """The documents that labels are written from and tested on."""
        statistics = self.statistics
        top_rows, top_values = self.top(index)
        sample = statistics.sample_rows[index] != NO_ROW
        silent = (statistics.hard_rows[index], statistics.random_rows[index])
        hard, random = (np.asarray(rows[rows != NO_ROW]) for rows in silent)
        return Sources(
            top_rows=top_rows,
            top_values=top_values.astype(np.float64),
            sample_rows=np.asarray(statistics.sample_rows[index][sample]),
            sample_values=statistics.sample_values[index][sample].astype(np.float64),
            hard_rows=hard,
            random_rows=random,
        )

    def stability(self, index: int) -> float | None:
        """How well siblings found a feature again; None where there are none."""
        value = float(self.statistics.stability[index])
        return None if np.isnan(value) else value

    def score(self, index: int) -> Score | None:
        """That of a feature's active label; None where it has none, or was not tested."""
        label = self.labels.get(index)
        return label.draft.scores.score if label and label.draft.scores else None

    def threshold(self, index: int) -> float | None:
        """The activation from which a feature's active label is precise; None where it is not, or was not tested."""
        label = self.labels.get(index)
        return label.draft.scores.threshold if label and label.draft.text and label.draft.scores else None

    @cached_property
    def thresholds(self) -> NDArray[np.float64]:
        """(n,) the threshold of each feature; 0 where its active label is not precise, or was not tested."""
        return np.array([self.threshold(index) or 0.0 for index in range(self.count)])

    @cached_property
    def precise_counts(self) -> NDArray[np.int64]:
        """(n,) rows in which each feature reaches its threshold.

        Exact up to 300 active rows; above, to the nearest of 300 rows at equal steps through the ranking.
        """
        in_use = self.statistics.sample_rows != NO_ROW
        reached = ((self.statistics.sample_values >= self.thresholds[:, None]) & in_use).sum(axis=1)
        sampled, active = in_use.sum(axis=1), self.statistics.active_count.astype(np.int64)
        counts = np.rint(reached * active / np.maximum(1, sampled)).astype(np.int64)
        return np.where((self.thresholds > 0) & (sampled > 0), counts, active)

    def precise_density(self, index: int) -> float:
        """The share of rows in which a feature reaches its threshold."""
        return float(self.precise_counts[index] / max(1, self.statistics.row_count))

    def is_tail(self, index: int, activation: float) -> bool:
        """Whether an activation is below the feature's threshold: its label may not fit."""
        return activation < (self.threshold(index) or 0)

    def trust(self, index: int) -> Trust:
        """How far a feature and its active label can be relied on."""
        label = self.labels.get(index)
        return trust_of(self.label_text(index), label.draft.scores if label else None, self.stability(index))

    def missed_conditions(self, index: int) -> list[MissedCondition]:
        """Why a feature is open or doubtful; empty where it is trusted or unnamed."""
        label = self.labels.get(index)
        return missed_conditions(self.label_text(index), label.draft.scores if label else None, self.stability(index))

    def family_title(self, family: Family) -> str:
        """A family's name; where it has none, that it is an unnamed group of its first features."""
        if family.label and family.label.text:
            return family.label.text
        labels = [self.label_text(index) or f"feature {index}" for index in family.indices]
        more = "…" if len(labels) > _TITLE_FEATURES else ""
        return f"Unnamed group: {' · '.join(labels[:_TITLE_FEATURES])}{more}"

    def family_trust(self, family: Family) -> Trust:
        """How far a family's name can be relied on, and its features be found again."""
        if family.label is None:
            return Trust.UNNAMED
        stability = float(self.statistics.stability[family.indices].mean())
        return trust_of(family.label.text, family.label.scores, None if np.isnan(stability) else stability)

    @cached_property
    def reliable(self) -> NDArray[np.bool_]:
        """(n,) the features that are not unstable, and that no label failed to name."""
        unstable = self.statistics.stability < UNSTABLE
        unnamed = [index for index, label in self.labels.items() if not label.draft.text]
        result = ~unstable
        result[unnamed] = False
        return result

    @cached_property
    def trust_counts(self) -> Counter[Trust]:
        """How many live features there are of each trust."""
        return Counter(self._trusts[index] for index in np.flatnonzero(self.statistics.active_count).tolist())

    def select(
        self, condition: Filter = UNFILTERED, *, query: str = "", order: Order = DENSEST_FIRST
    ) -> NDArray[np.int64]:
        """Indices of the features that match a filter and a query, in order. Raises InvalidFilter, FamilyNotFound."""
        matches = self._matching_query(query) & evaluate(condition, self._matching, masks(self.count))
        indices = np.flatnonzero(matches)
        if order.field == "label":
            return self._by_label(indices, order.descending)
        values = self._trust_ranks[indices] if order.field == "trust" else self._numbers[order.field][indices]
        unknown = np.isnan(values)  # come last either way
        return indices[np.lexsort((indices, -values if order.descending else values, unknown))]

    def most_frequent(self, condition: Filter, count: int) -> NDArray[np.int64]:
        """Indices of at most `count` live features that match a filter, the most frequent first. Raises as `select`."""
        indices = self.select(condition)
        return indices[self.statistics.active_count[indices] > 0][:count]

    @cached_property
    def _numbers(self) -> Mapping[str, NDArray[np.float64]]:
        statistics = self.statistics
        return {
            "density": statistics.density,
            "precise_density": self.precise_counts / max(1, statistics.row_count),
            "max_activation": statistics.maximum,
            "mean_activation": statistics.mean,
            "variance": statistics.variance,
            "index": np.arange(self.count, dtype=np.float64),
            "score": np.array([score.auc if (score := self.score(index)) else np.nan for index in range(self.count)]),
            "stability": statistics.stability.astype(np.float64),
        }

    @cached_property
    def _trusts(self) -> Sequence[Trust]:
        """(n,) the trust in each feature."""
        return [self.trust(index) for index in range(self.count)]

    @cached_property
    def _trust_ranks(self) -> NDArray[np.float64]:
        """(n,) the most trusted first; within one kind of trust, by the lower end of the score's interval."""
        kinds = list(Trust)
        ranks = np.empty(self.count)
        for index in range(self.count):
            score = self.score(index)
            ranks[index] = kinds.index(self._trusts[index]) + (0.9 - 0.9 * score.low if score else 0.95)
        return ranks

    @cached_property
    def _searchable_texts(self) -> Sequence[str]:
        """What each feature is searched by, in lower case."""
        return [self._searchable_text(index) for index in range(self.count)]

    def _searchable_text(self, index: int) -> str:
        label = self.labels.get(index)
        if label is None or not label.draft.text:
            return ""
        return "\n".join([label.draft.text, label.draft.description, *label.draft.keywords]).lower()

    def _matching_query(self, query: str) -> NDArray[np.bool_]:
        """(n,) which features contain all words of a query, or have it as their index."""
        words = query.lower().split()
        if not words:
            return np.ones(self.count, bool)
        number = int(query) if query.strip().isdecimal() and len(query) < 20 else -1
        return self._where(
            lambda index: index == number or all(word in self._searchable_texts[index] for word in words)
        )

    def _by_label(self, indices: NDArray[np.int64], descending: bool) -> NDArray[np.int64]:
        """Indices by label, case ignored; those without a label come last either way."""
        labelled = [index for index in indices.tolist() if self.label_text(index)]
        labelled.sort(key=lambda index: self.label_text(index).lower(), reverse=descending)
        return np.array([*labelled, *(index for index in indices.tolist() if not self.label_text(index))], np.int64)

    def _matching(self, leaf: Leaf) -> NDArray[np.bool_]:
        """(n,) which features match a comparison."""
        if isinstance(leaf, Presence):
            return self._has(leaf.field)
        if leaf.field in self._numbers:
            exact = self._numbers[leaf.field].astype(np.float64)  # numpy would round the number to float32
            return COMPARISONS[leaf.op](exact, leaf.number()) & self._has(leaf.field)
        members = self._equal(leaf)
        return members if leaf.op == "=" else ~members & self._has(leaf.field)

    def _has(self, field: str) -> NDArray[np.bool_]:
        """(n,) which features have a value."""
        if field in self._numbers:
            return ~np.isnan(self._numbers[field])
        if field == "source":
            return self._where(lambda index: index in self.labels)
        if field == "family":
            members = {member.index for family in self.families for member in family.members}
            return self._where(lambda index: index in members)
        return np.ones(self.count, bool)

    def _equal(self, comparison: Comparison) -> NDArray[np.bool_]:
        """(n,) which features have the value."""
        match comparison.field:
            case "dead":
                return (self.statistics.active_count == 0) == comparison.flag()
            case "labelled":
                return self._where(lambda index: bool(self.label_text(index))) == comparison.flag()
            case "source":
                source = comparison.one_of(tuple(Source))
                return self._where(lambda index: index in self.labels and self.labels[index].draft.source == source)
            case "trust":
                trust = comparison.one_of(tuple(Trust))
                return self._where(lambda index: self._trusts[index] == trust)
            case _:
                return self._of_family(comparison.value)

    def _of_family(self, family_id: str) -> NDArray[np.bool_]:
        family = next((family for family in self.families if family.id == family_id), None)
        if family is None:
            name = f"{self.run.name}/families/{family_id[:100]}"
            raise FamilyNotFound(
                f"there is no family {name}; families may have been rebuilt", metadata={"family": name}
            )
        indices = {member.index for member in family.members}
        return self._where(indices.__contains__)

    def _where(self, holds: Callable[[int], bool]) -> NDArray[np.bool_]:
        return np.fromiter((holds(index) for index in range(self.count)), bool, self.count)
