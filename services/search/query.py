"""Searches and their results, as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, NamedTuple

from services.chassis.filters import UNFILTERED, Comparison, Filter, InvalidFilter, Leaf, leaves
from services.chassis.metadata_schema import Types
from services.search.backend import Kind, LatentQuery, Vectors
from services.search.fusion import Fusion
from services.search.snippets import Snippet

ALL_DATASETS = "datasets/-"
LATENT = "latent."
TEXT_WEIGHT = 0.7
DENSE_WEIGHT = 0.3
SPARSE_WEIGHT = 0.3
"""Where latents are given; else the codes have no part in a hybrid search."""
REACHABLE_HITS = 1000
"""Hits that can be paged through."""
_MOST_TRUSTED_FIRST = ("TRUST_TRUSTED", "TRUST_OPEN", "TRUST_DOUBTFUL", "TRUST_UNNAMED")


class Mode(Enum):
    """How documents are ranked."""

    FULL_TEXT = auto()
    SEMANTIC = auto()
    SPARSE = auto()
    HYBRID = auto()

    @property
    def is_dense(self) -> bool:
        """Whether the query's vector ranks documents."""
        return self in (Mode.SEMANTIC, Mode.HYBRID)


@dataclass(frozen=True)
class LatentCondition:
    """A latent that must be active."""

    latent: int
    minimum: float
    inclusive: bool
    """Whether the minimum itself is enough."""

    @property
    def is_true_of_inactive(self) -> bool:
        """Whether an activation of 0, that of a latent that is not active, is enough."""
        return self.minimum < 0 or (self.inclusive and self.minimum == 0)

    @staticmethod
    def of(leaf: Leaf) -> LatentCondition | None:
        """The condition of a comparison; None of one that is of metadata. Raises InvalidFilter."""
        if not isinstance(leaf, Comparison) or not leaf.field.startswith(LATENT):
            return None
        index = leaf.field.removeprefix(LATENT)
        if not (index.isascii() and index.isdecimal() and len(index) < 10 and math.isfinite(leaf.number())):
            raise InvalidFilter(
                f"filter: expected latent.<index> and a number, got {leaf.field} {leaf.op} {leaf.value}"
            )
        return LatentCondition(int(index), leaf.number(), leaf.op == ">=")


def latent_conditions(condition: Filter) -> list[LatentCondition]:
    """The conditions of latents in a filter. Raises InvalidFilter."""
    conditions = map(LatentCondition.of, leaves(condition))
    return [condition for condition in conditions if condition is not None]


@dataclass(frozen=True)
class Scoring:
    """How the parts of a hybrid search are weighed and joined."""

    fusion: Fusion = Fusion.MIN_MAX
    text_weight: float = TEXT_WEIGHT
    dense_weight: float = DENSE_WEIGHT
    sparse_weight: float = 0.0


@dataclass(frozen=True)
class SteeringSet:
    """Latents that move documents as one; often one alone."""

    latents: tuple[int, ...]
    """Ascending. None is in another set of the same search."""
    weight: float
    field: str = "steering"
    """The field of the request that it stands in: `steering` or `steering_sets`."""


@dataclass(frozen=True)
class DocumentSearch:
    """A search for documents, by names."""

    dataset: str
    run: str | None
    text: str
    mode: Mode
    vector: Vectors | None = None
    """(d,) in place of the text's."""
    latents: LatentQuery | None = None
    """Replace the query's code."""
    steering: tuple[SteeringSet, ...] = ()
    """Features that move documents up or down; none for an unsteered search."""
    condition: Filter = UNFILTERED
    """Of metadata and latents."""
    scoring: Scoring = field(default_factory=Scoring)
    offset: int = 0
    limit: int = 20
    include_tail: bool = False
    """Whether to show features that are active below their threshold, and to steer by them."""
    passages_per_document: int = 1
    """Hits of one document at most, where rows are passages."""

    @property
    def is_ranked_by_code(self) -> bool:
        """Whether the query's code, or the latents given instead, ranks documents."""
        return self.mode is Mode.SPARSE or (self.mode is Mode.HYBRID and self.scoring.sparse_weight > 0)

    @property
    def needs_codes(self) -> bool:
        """Whether nothing can be answered without the documents' codes."""
        return self.is_ranked_by_code or bool(self.steering or latent_conditions(self.condition))


@dataclass(frozen=True)
class DocumentQuery:
    """A search for documents, by uids."""

    datasets: Sequence[str]
    mode: Mode
    terms: Sequence[str] = ()
    vector: Vectors | None = None
    """(d,) of the query; None where documents are not ranked by it."""
    dense_datasets: frozenset[str] = frozenset()
    """Datasets whose vectors can be compared with the query's."""
    run: str | None = None
    """The run whose codes are searched, shown and filtered by."""
    code: LatentQuery | None = None
    """The query's code, or the latents given instead."""
    has_weights: bool = False
    """Whether `code` has weights that a person chose: these have no threshold."""
    steering: tuple[SteeringSet, ...] = ()
    """Features of the run that move documents up or down."""
    condition: Filter = UNFILTERED
    types: Mapping[str, Types] = field(default_factory=dict[str, Types])
    """Of metadata, by dataset."""
    scoring: Scoring = field(default_factory=Scoring)
    offset: int = 0
    limit: int = 20
    include_tail: bool = False
    """Whether to show features that are active below their threshold."""
    passages_per_document: int | None = None
    """Hits of one document at most, where rows are passages; None where they are documents."""


@dataclass(frozen=True)
class FeatureSearch:
    """A search for features of a run."""

    run: str
    terms: Sequence[str]
    offset: int
    limit: int
    condition: Filter = UNFILTERED
    """Of `feature_filters.FIELDS`."""


@dataclass(frozen=True)
class SimilarSearch:
    """A search for the documents closest to one."""

    dataset: str
    document: str
    run: str | None
    limit: int
    include_tail: bool = False
    """Whether to show features that are active below their threshold."""


class ScorePart(NamedTuple):
    """One part of a hit's score."""

    name: str
    score: float | None
    """None where the document cannot be scored by this part."""
    rank: int | None
    """From 1; None where the hit is not among the part's candidates."""
    contribution: float


class Reliability(NamedTuple):
    """How far a feature and its label can be relied on, as the interpreter says."""

    trust: str
    """The name of a value of Trust."""
    score: float | None
    """None where the label was not tested, as the next two."""
    score_low: float | None
    score_high: float | None


class FeatureLabel(NamedTuple):
    """The active label of a latent."""

    text: str
    threshold: float
    """The activation from which it is precise; 0 where that is not known."""
    reliability: Reliability


class QueryFeature(NamedTuple):
    """An active latent of a query."""

    latent: int
    activation: float
    """Or its weight."""
    label: FeatureLabel | None
    tail: bool
    """Whether it is below the label's threshold."""


class SteeringFeature(NamedTuple):
    """A latent that a search is steered by, and that is active in a document."""

    latent: int
    label: FeatureLabel | None
    activation: float
    contribution: float
    """What it adds to the document's score."""
    tail: bool = False
    """Whether the activation is below the label's threshold."""


class SharedFeature(NamedTuple):
    """A latent that is active in query and document."""

    latent: int
    label: FeatureLabel | None
    query_activation: float
    document_activation: float
    contribution: float
    """Its share of the dot product, 0 to 1."""
    tail: bool = False
    """Whether it is below the label's threshold in the query or in the document."""


@dataclass(frozen=True)
class Hit:
    """A document that matches."""

    dataset: str
    row: int
    rank: int
    score: float
    parts: Sequence[ScorePart]
    payload: dict[str, Any]
    """As indexed: name, key, text and metadata, and of a passage where it stands."""
    snippet: Snippet
    shared: Sequence[SharedFeature] = ()
    unsteered_rank: int | None = None
    """From 1, without steering; None where only steering brings it in, or the search is not steered."""
    steering: Sequence[SteeringFeature] = ()


@dataclass(frozen=True)
class Page:
    """Some hits."""

    hits: Sequence[Hit] = ()
    total: int = 0
    """Documents that match."""
    has_more: bool = False
    """Whether another page follows."""


@dataclass(frozen=True)
class FeatureHit:
    """A feature whose words match."""

    index: int
    score: float
    payload: dict[str, Any]
    """label, description, density, max_activation, and what `reliability_of` reads."""


def reliability_of(payload: Mapping[str, Any]) -> Reliability:
    """How far an indexed feature can be relied on; of no known trust where an older version indexed it."""
    return Reliability(
        trust=payload.get("trust", "TRUST_UNSPECIFIED"),
        score=payload.get("score"),
        score_low=payload.get("score_low"),
        score_high=payload.get("score_high"),
    )


def trust_rank(payload: Mapping[str, Any]) -> int:
    """The place of an indexed feature's trust, 0 for the most trusted; the last where an older version indexed it."""
    trust = reliability_of(payload).trust
    return _MOST_TRUSTED_FIRST.index(trust) if trust in _MOST_TRUSTED_FIRST else len(_MOST_TRUSTED_FIRST)


@dataclass(frozen=True)
class FeaturePage:
    """Some features, and how many match."""

    hits: Sequence[FeatureHit]
    total: int
    notices: Sequence[str] = ()
    """What people should know of the filter."""


@dataclass(frozen=True)
class Answer:
    """Hits, and what is missing from them."""

    page: Page
    query_features: Sequence[QueryFeature]
    """The query's active latents, the strongest first; none where there is no run or no query."""
    notices: list[str]


@dataclass(frozen=True)
class StreamStatus:
    """How far a stream of the index is."""

    kind: Kind
    resource: str
    indexed_revision: int | None
    """None before the first commit."""
    owner_revision: int | None
    """None while the owner does not answer."""
    is_current: bool
    """Whether history and revision are the owner's."""
    item_count: int
    update_time: float | None
    error: str | None
    recall: float | None = None
    """See `StreamState`."""
