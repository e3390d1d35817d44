import datetime

from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import resource_pb2 as _resource_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from prisma.embedder.v1 import resources_pb2 as _resources_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Trust(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRUST_UNSPECIFIED: _ClassVar[Trust]
    TRUST_TRUSTED: _ClassVar[Trust]
    TRUST_OPEN: _ClassVar[Trust]
    TRUST_DOUBTFUL: _ClassVar[Trust]
    TRUST_UNNAMED: _ClassVar[Trust]

class FeatureView(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FEATURE_VIEW_UNSPECIFIED: _ClassVar[FeatureView]
    FEATURE_VIEW_BASIC: _ClassVar[FeatureView]
    FEATURE_VIEW_FULL: _ClassVar[FeatureView]
TRUST_UNSPECIFIED: Trust
TRUST_TRUSTED: Trust
TRUST_OPEN: Trust
TRUST_DOUBTFUL: Trust
TRUST_UNNAMED: Trust
FEATURE_VIEW_UNSPECIFIED: FeatureView
FEATURE_VIEW_BASIC: FeatureView
FEATURE_VIEW_FULL: FeatureView

class Interpretation(_message.Message):
    __slots__ = ("name", "run_uid", "latent_count", "live_count", "dead_count", "labelled_count", "unnamed_count", "family_count", "row_count", "statistics_revision", "label_revision", "statistics_time", "families_time", "trust_counts")
    class TrustCounts(_message.Message):
        __slots__ = ("trusted", "open", "doubtful", "unnamed")
        TRUSTED_FIELD_NUMBER: _ClassVar[int]
        OPEN_FIELD_NUMBER: _ClassVar[int]
        DOUBTFUL_FIELD_NUMBER: _ClassVar[int]
        UNNAMED_FIELD_NUMBER: _ClassVar[int]
        trusted: int
        open: int
        doubtful: int
        unnamed: int
        def __init__(self, trusted: _Optional[int] = ..., open: _Optional[int] = ..., doubtful: _Optional[int] = ..., unnamed: _Optional[int] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    RUN_UID_FIELD_NUMBER: _ClassVar[int]
    LATENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    LIVE_COUNT_FIELD_NUMBER: _ClassVar[int]
    DEAD_COUNT_FIELD_NUMBER: _ClassVar[int]
    LABELLED_COUNT_FIELD_NUMBER: _ClassVar[int]
    UNNAMED_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAMILY_COUNT_FIELD_NUMBER: _ClassVar[int]
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_REVISION_FIELD_NUMBER: _ClassVar[int]
    LABEL_REVISION_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_TIME_FIELD_NUMBER: _ClassVar[int]
    FAMILIES_TIME_FIELD_NUMBER: _ClassVar[int]
    TRUST_COUNTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    run_uid: str
    latent_count: int
    live_count: int
    dead_count: int
    labelled_count: int
    unnamed_count: int
    family_count: int
    row_count: int
    statistics_revision: int
    label_revision: int
    statistics_time: _timestamp_pb2.Timestamp
    families_time: _timestamp_pb2.Timestamp
    trust_counts: Interpretation.TrustCounts
    def __init__(self, name: _Optional[str] = ..., run_uid: _Optional[str] = ..., latent_count: _Optional[int] = ..., live_count: _Optional[int] = ..., dead_count: _Optional[int] = ..., labelled_count: _Optional[int] = ..., unnamed_count: _Optional[int] = ..., family_count: _Optional[int] = ..., row_count: _Optional[int] = ..., statistics_revision: _Optional[int] = ..., label_revision: _Optional[int] = ..., statistics_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., families_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., trust_counts: _Optional[_Union[Interpretation.TrustCounts, _Mapping]] = ...) -> None: ...

class Feature(_message.Message):
    __slots__ = ("name", "index", "label", "dead", "active_count", "density", "max_activation", "mean_activation", "variance", "histogram", "decoder_neighbors", "coactive_neighbors", "families", "trust", "stability", "threshold", "dense", "precise_count", "precise_density", "missed_conditions")
    class Histogram(_message.Message):
        __slots__ = ("counts", "upper_bound")
        COUNTS_FIELD_NUMBER: _ClassVar[int]
        UPPER_BOUND_FIELD_NUMBER: _ClassVar[int]
        counts: _containers.RepeatedScalarFieldContainer[int]
        upper_bound: float
        def __init__(self, counts: _Optional[_Iterable[int]] = ..., upper_bound: _Optional[float] = ...) -> None: ...
    class Neighbor(_message.Message):
        __slots__ = ("feature", "index", "label", "score", "shared_count", "reliability")
        FEATURE_FIELD_NUMBER: _ClassVar[int]
        INDEX_FIELD_NUMBER: _ClassVar[int]
        LABEL_FIELD_NUMBER: _ClassVar[int]
        SCORE_FIELD_NUMBER: _ClassVar[int]
        SHARED_COUNT_FIELD_NUMBER: _ClassVar[int]
        RELIABILITY_FIELD_NUMBER: _ClassVar[int]
        feature: str
        index: int
        label: str
        score: float
        shared_count: int
        reliability: Reliability
        def __init__(self, feature: _Optional[str] = ..., index: _Optional[int] = ..., label: _Optional[str] = ..., score: _Optional[float] = ..., shared_count: _Optional[int] = ..., reliability: _Optional[_Union[Reliability, _Mapping]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    DEAD_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_COUNT_FIELD_NUMBER: _ClassVar[int]
    DENSITY_FIELD_NUMBER: _ClassVar[int]
    MAX_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    MEAN_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    VARIANCE_FIELD_NUMBER: _ClassVar[int]
    HISTOGRAM_FIELD_NUMBER: _ClassVar[int]
    DECODER_NEIGHBORS_FIELD_NUMBER: _ClassVar[int]
    COACTIVE_NEIGHBORS_FIELD_NUMBER: _ClassVar[int]
    FAMILIES_FIELD_NUMBER: _ClassVar[int]
    TRUST_FIELD_NUMBER: _ClassVar[int]
    STABILITY_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    DENSE_FIELD_NUMBER: _ClassVar[int]
    PRECISE_COUNT_FIELD_NUMBER: _ClassVar[int]
    PRECISE_DENSITY_FIELD_NUMBER: _ClassVar[int]
    MISSED_CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    index: int
    label: Label
    dead: bool
    active_count: int
    density: float
    max_activation: float
    mean_activation: float
    variance: float
    histogram: Feature.Histogram
    decoder_neighbors: _containers.RepeatedCompositeFieldContainer[Feature.Neighbor]
    coactive_neighbors: _containers.RepeatedCompositeFieldContainer[Feature.Neighbor]
    families: _containers.RepeatedCompositeFieldContainer[FamilyMembership]
    trust: Trust
    stability: float
    threshold: float
    dense: bool
    precise_count: int
    precise_density: float
    missed_conditions: _containers.RepeatedCompositeFieldContainer[MissedCondition]
    def __init__(self, name: _Optional[str] = ..., index: _Optional[int] = ..., label: _Optional[_Union[Label, _Mapping]] = ..., dead: _Optional[bool] = ..., active_count: _Optional[int] = ..., density: _Optional[float] = ..., max_activation: _Optional[float] = ..., mean_activation: _Optional[float] = ..., variance: _Optional[float] = ..., histogram: _Optional[_Union[Feature.Histogram, _Mapping]] = ..., decoder_neighbors: _Optional[_Iterable[_Union[Feature.Neighbor, _Mapping]]] = ..., coactive_neighbors: _Optional[_Iterable[_Union[Feature.Neighbor, _Mapping]]] = ..., families: _Optional[_Iterable[_Union[FamilyMembership, _Mapping]]] = ..., trust: _Optional[_Union[Trust, str]] = ..., stability: _Optional[float] = ..., threshold: _Optional[float] = ..., dense: _Optional[bool] = ..., precise_count: _Optional[int] = ..., precise_density: _Optional[float] = ..., missed_conditions: _Optional[_Iterable[_Union[MissedCondition, _Mapping]]] = ...) -> None: ...

class MissedCondition(_message.Message):
    __slots__ = ("condition", "explanation")
    class Condition(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CONDITION_UNSPECIFIED: _ClassVar[MissedCondition.Condition]
        CONDITION_STABILITY: _ClassVar[MissedCondition.Condition]
        CONDITION_TEST: _ClassVar[MissedCondition.Condition]
        CONDITION_DOCUMENTS: _ClassVar[MissedCondition.Condition]
        CONDITION_SCORE: _ClassVar[MissedCondition.Condition]
        CONDITION_MENTIONS: _ClassVar[MissedCondition.Condition]
        CONDITION_NEAR_MENTIONS: _ClassVar[MissedCondition.Condition]
        CONDITION_BREADTH: _ClassVar[MissedCondition.Condition]
        CONDITION_COHERENCE: _ClassVar[MissedCondition.Condition]
    CONDITION_UNSPECIFIED: MissedCondition.Condition
    CONDITION_STABILITY: MissedCondition.Condition
    CONDITION_TEST: MissedCondition.Condition
    CONDITION_DOCUMENTS: MissedCondition.Condition
    CONDITION_SCORE: MissedCondition.Condition
    CONDITION_MENTIONS: MissedCondition.Condition
    CONDITION_NEAR_MENTIONS: MissedCondition.Condition
    CONDITION_BREADTH: MissedCondition.Condition
    CONDITION_COHERENCE: MissedCondition.Condition
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    condition: MissedCondition.Condition
    explanation: str
    def __init__(self, condition: _Optional[_Union[MissedCondition.Condition, str]] = ..., explanation: _Optional[str] = ...) -> None: ...

class Reliability(_message.Message):
    __slots__ = ("trust", "score", "score_low", "score_high")
    TRUST_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SCORE_LOW_FIELD_NUMBER: _ClassVar[int]
    SCORE_HIGH_FIELD_NUMBER: _ClassVar[int]
    trust: Trust
    score: float
    score_low: float
    score_high: float
    def __init__(self, trust: _Optional[_Union[Trust, str]] = ..., score: _Optional[float] = ..., score_low: _Optional[float] = ..., score_high: _Optional[float] = ...) -> None: ...

class FamilyMembership(_message.Message):
    __slots__ = ("family", "display_name", "color", "parent_index", "is_parent", "reliability")
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    COLOR_FIELD_NUMBER: _ClassVar[int]
    PARENT_INDEX_FIELD_NUMBER: _ClassVar[int]
    IS_PARENT_FIELD_NUMBER: _ClassVar[int]
    RELIABILITY_FIELD_NUMBER: _ClassVar[int]
    family: str
    display_name: str
    color: int
    parent_index: int
    is_parent: bool
    reliability: Reliability
    def __init__(self, family: _Optional[str] = ..., display_name: _Optional[str] = ..., color: _Optional[int] = ..., parent_index: _Optional[int] = ..., is_parent: _Optional[bool] = ..., reliability: _Optional[_Union[Reliability, _Mapping]] = ...) -> None: ...

class Label(_message.Message):
    __slots__ = ("name", "index", "text", "description", "source", "model", "author", "keywords", "options", "positive_rows", "negative_rows", "active", "create_time", "carried_from", "score", "score_low", "score_high", "test", "provenance")
    class Source(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SOURCE_UNSPECIFIED: _ClassVar[Label.Source]
        SOURCE_KEYWORDS: _ClassVar[Label.Source]
        SOURCE_MODEL: _ClassVar[Label.Source]
        SOURCE_HUMAN: _ClassVar[Label.Source]
    SOURCE_UNSPECIFIED: Label.Source
    SOURCE_KEYWORDS: Label.Source
    SOURCE_MODEL: Label.Source
    SOURCE_HUMAN: Label.Source
    NAME_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    KEYWORDS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    POSITIVE_ROWS_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_ROWS_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CARRIED_FROM_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SCORE_LOW_FIELD_NUMBER: _ClassVar[int]
    SCORE_HIGH_FIELD_NUMBER: _ClassVar[int]
    TEST_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    index: int
    text: str
    description: str
    source: Label.Source
    model: str
    author: str
    keywords: _containers.RepeatedScalarFieldContainer[str]
    options: LabelOptions
    positive_rows: _containers.RepeatedScalarFieldContainer[int]
    negative_rows: _containers.RepeatedScalarFieldContainer[int]
    active: bool
    create_time: _timestamp_pb2.Timestamp
    carried_from: str
    score: float
    score_low: float
    score_high: float
    test: LabelTest
    provenance: LabelProvenance
    def __init__(self, name: _Optional[str] = ..., index: _Optional[int] = ..., text: _Optional[str] = ..., description: _Optional[str] = ..., source: _Optional[_Union[Label.Source, str]] = ..., model: _Optional[str] = ..., author: _Optional[str] = ..., keywords: _Optional[_Iterable[str]] = ..., options: _Optional[_Union[LabelOptions, _Mapping]] = ..., positive_rows: _Optional[_Iterable[int]] = ..., negative_rows: _Optional[_Iterable[int]] = ..., active: _Optional[bool] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., carried_from: _Optional[str] = ..., score: _Optional[float] = ..., score_low: _Optional[float] = ..., score_high: _Optional[float] = ..., test: _Optional[_Union[LabelTest, _Mapping]] = ..., provenance: _Optional[_Union[LabelProvenance, _Mapping]] = ...) -> None: ...

class LabelTest(_message.Message):
    __slots__ = ("method", "score", "embedding_hard", "embedding_random", "words_hard", "words_random", "deciles", "floor", "ceiling", "threshold", "measurements", "agreements", "mentions", "near_mentions", "breadth", "coherence")
    class Method(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        METHOD_UNSPECIFIED: _ClassVar[LabelTest.Method]
        METHOD_EMBEDDING: _ClassVar[LabelTest.Method]
        METHOD_WORDS: _ClassVar[LabelTest.Method]
    METHOD_UNSPECIFIED: LabelTest.Method
    METHOD_EMBEDDING: LabelTest.Method
    METHOD_WORDS: LabelTest.Method
    class Scorer(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SCORER_UNSPECIFIED: _ClassVar[LabelTest.Scorer]
        SCORER_WORDS: _ClassVar[LabelTest.Scorer]
        SCORER_EMBEDDING: _ClassVar[LabelTest.Scorer]
        SCORER_DETECTION: _ClassVar[LabelTest.Scorer]
        SCORER_FUZZING: _ClassVar[LabelTest.Scorer]
        SCORER_DECODER: _ClassVar[LabelTest.Scorer]
    SCORER_UNSPECIFIED: LabelTest.Scorer
    SCORER_WORDS: LabelTest.Scorer
    SCORER_EMBEDDING: LabelTest.Scorer
    SCORER_DETECTION: LabelTest.Scorer
    SCORER_FUZZING: LabelTest.Scorer
    SCORER_DECODER: LabelTest.Scorer
    class Score(_message.Message):
        __slots__ = ("value", "low", "high", "active_count", "silent_count")
        VALUE_FIELD_NUMBER: _ClassVar[int]
        LOW_FIELD_NUMBER: _ClassVar[int]
        HIGH_FIELD_NUMBER: _ClassVar[int]
        ACTIVE_COUNT_FIELD_NUMBER: _ClassVar[int]
        SILENT_COUNT_FIELD_NUMBER: _ClassVar[int]
        value: float
        low: float
        high: float
        active_count: int
        silent_count: int
        def __init__(self, value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., active_count: _Optional[int] = ..., silent_count: _Optional[int] = ...) -> None: ...
    class Share(_message.Message):
        __slots__ = ("value", "low", "high", "document_count")
        VALUE_FIELD_NUMBER: _ClassVar[int]
        LOW_FIELD_NUMBER: _ClassVar[int]
        HIGH_FIELD_NUMBER: _ClassVar[int]
        DOCUMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
        value: float
        low: float
        high: float
        document_count: int
        def __init__(self, value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., document_count: _Optional[int] = ...) -> None: ...
    class Correlation(_message.Message):
        __slots__ = ("value", "low", "high", "document_count")
        VALUE_FIELD_NUMBER: _ClassVar[int]
        LOW_FIELD_NUMBER: _ClassVar[int]
        HIGH_FIELD_NUMBER: _ClassVar[int]
        DOCUMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
        value: float
        low: float
        high: float
        document_count: int
        def __init__(self, value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., document_count: _Optional[int] = ...) -> None: ...
    class Measurement(_message.Message):
        __slots__ = ("scorer", "model", "hard", "random", "deciles", "floor", "correlation", "question_count", "unusable_count")
        SCORER_FIELD_NUMBER: _ClassVar[int]
        MODEL_FIELD_NUMBER: _ClassVar[int]
        HARD_FIELD_NUMBER: _ClassVar[int]
        RANDOM_FIELD_NUMBER: _ClassVar[int]
        DECILES_FIELD_NUMBER: _ClassVar[int]
        FLOOR_FIELD_NUMBER: _ClassVar[int]
        CORRELATION_FIELD_NUMBER: _ClassVar[int]
        QUESTION_COUNT_FIELD_NUMBER: _ClassVar[int]
        UNUSABLE_COUNT_FIELD_NUMBER: _ClassVar[int]
        scorer: LabelTest.Scorer
        model: str
        hard: LabelTest.Score
        random: LabelTest.Score
        deciles: _containers.RepeatedCompositeFieldContainer[LabelTest.DecileScore]
        floor: float
        correlation: LabelTest.Correlation
        question_count: int
        unusable_count: int
        def __init__(self, scorer: _Optional[_Union[LabelTest.Scorer, str]] = ..., model: _Optional[str] = ..., hard: _Optional[_Union[LabelTest.Score, _Mapping]] = ..., random: _Optional[_Union[LabelTest.Score, _Mapping]] = ..., deciles: _Optional[_Iterable[_Union[LabelTest.DecileScore, _Mapping]]] = ..., floor: _Optional[float] = ..., correlation: _Optional[_Union[LabelTest.Correlation, _Mapping]] = ..., question_count: _Optional[int] = ..., unusable_count: _Optional[int] = ...) -> None: ...
    class DecileScore(_message.Message):
        __slots__ = ("decile", "score")
        DECILE_FIELD_NUMBER: _ClassVar[int]
        SCORE_FIELD_NUMBER: _ClassVar[int]
        decile: int
        score: LabelTest.Score
        def __init__(self, decile: _Optional[int] = ..., score: _Optional[_Union[LabelTest.Score, _Mapping]] = ...) -> None: ...
    class Agreement(_message.Message):
        __slots__ = ("first", "second", "correlation")
        FIRST_FIELD_NUMBER: _ClassVar[int]
        SECOND_FIELD_NUMBER: _ClassVar[int]
        CORRELATION_FIELD_NUMBER: _ClassVar[int]
        first: LabelTest.Scorer
        second: LabelTest.Scorer
        correlation: LabelTest.Correlation
        def __init__(self, first: _Optional[_Union[LabelTest.Scorer, str]] = ..., second: _Optional[_Union[LabelTest.Scorer, str]] = ..., correlation: _Optional[_Union[LabelTest.Correlation, _Mapping]] = ...) -> None: ...
    METHOD_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_HARD_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_RANDOM_FIELD_NUMBER: _ClassVar[int]
    WORDS_HARD_FIELD_NUMBER: _ClassVar[int]
    WORDS_RANDOM_FIELD_NUMBER: _ClassVar[int]
    DECILES_FIELD_NUMBER: _ClassVar[int]
    FLOOR_FIELD_NUMBER: _ClassVar[int]
    CEILING_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MEASUREMENTS_FIELD_NUMBER: _ClassVar[int]
    AGREEMENTS_FIELD_NUMBER: _ClassVar[int]
    MENTIONS_FIELD_NUMBER: _ClassVar[int]
    NEAR_MENTIONS_FIELD_NUMBER: _ClassVar[int]
    BREADTH_FIELD_NUMBER: _ClassVar[int]
    COHERENCE_FIELD_NUMBER: _ClassVar[int]
    method: LabelTest.Method
    score: LabelTest.Score
    embedding_hard: LabelTest.Score
    embedding_random: LabelTest.Score
    words_hard: LabelTest.Score
    words_random: LabelTest.Score
    deciles: _containers.RepeatedScalarFieldContainer[float]
    floor: float
    ceiling: float
    threshold: float
    measurements: _containers.RepeatedCompositeFieldContainer[LabelTest.Measurement]
    agreements: _containers.RepeatedCompositeFieldContainer[LabelTest.Agreement]
    mentions: LabelTest.Share
    near_mentions: LabelTest.Share
    breadth: float
    coherence: LabelTest.Score
    def __init__(self, method: _Optional[_Union[LabelTest.Method, str]] = ..., score: _Optional[_Union[LabelTest.Score, _Mapping]] = ..., embedding_hard: _Optional[_Union[LabelTest.Score, _Mapping]] = ..., embedding_random: _Optional[_Union[LabelTest.Score, _Mapping]] = ..., words_hard: _Optional[_Union[LabelTest.Score, _Mapping]] = ..., words_random: _Optional[_Union[LabelTest.Score, _Mapping]] = ..., deciles: _Optional[_Iterable[float]] = ..., floor: _Optional[float] = ..., ceiling: _Optional[float] = ..., threshold: _Optional[float] = ..., measurements: _Optional[_Iterable[_Union[LabelTest.Measurement, _Mapping]]] = ..., agreements: _Optional[_Iterable[_Union[LabelTest.Agreement, _Mapping]]] = ..., mentions: _Optional[_Union[LabelTest.Share, _Mapping]] = ..., near_mentions: _Optional[_Union[LabelTest.Share, _Mapping]] = ..., breadth: _Optional[float] = ..., coherence: _Optional[_Union[LabelTest.Score, _Mapping]] = ...) -> None: ...

class LabelProvenance(_message.Message):
    __slots__ = ("origin", "rejected", "writing_rows", "choosing_rows", "scoring_rows", "hard_rows", "choosing_silent_rows", "dataset")
    class Origin(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ORIGIN_UNSPECIFIED: _ClassVar[LabelProvenance.Origin]
        ORIGIN_CONTRAST: _ClassVar[LabelProvenance.Origin]
        ORIGIN_ACTIVATION: _ClassVar[LabelProvenance.Origin]
        ORIGIN_CENTRE: _ClassVar[LabelProvenance.Origin]
        ORIGIN_MODEL: _ClassVar[LabelProvenance.Origin]
    ORIGIN_UNSPECIFIED: LabelProvenance.Origin
    ORIGIN_CONTRAST: LabelProvenance.Origin
    ORIGIN_ACTIVATION: LabelProvenance.Origin
    ORIGIN_CENTRE: LabelProvenance.Origin
    ORIGIN_MODEL: LabelProvenance.Origin
    class Rejected(_message.Message):
        __slots__ = ("text", "origin", "choice")
        TEXT_FIELD_NUMBER: _ClassVar[int]
        ORIGIN_FIELD_NUMBER: _ClassVar[int]
        CHOICE_FIELD_NUMBER: _ClassVar[int]
        text: str
        origin: LabelProvenance.Origin
        choice: float
        def __init__(self, text: _Optional[str] = ..., origin: _Optional[_Union[LabelProvenance.Origin, str]] = ..., choice: _Optional[float] = ...) -> None: ...
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    WRITING_ROWS_FIELD_NUMBER: _ClassVar[int]
    CHOOSING_ROWS_FIELD_NUMBER: _ClassVar[int]
    SCORING_ROWS_FIELD_NUMBER: _ClassVar[int]
    HARD_ROWS_FIELD_NUMBER: _ClassVar[int]
    CHOOSING_SILENT_ROWS_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    origin: LabelProvenance.Origin
    rejected: _containers.RepeatedCompositeFieldContainer[LabelProvenance.Rejected]
    writing_rows: _containers.RepeatedScalarFieldContainer[int]
    choosing_rows: _containers.RepeatedScalarFieldContainer[int]
    scoring_rows: _containers.RepeatedScalarFieldContainer[int]
    hard_rows: _containers.RepeatedScalarFieldContainer[int]
    choosing_silent_rows: _containers.RepeatedScalarFieldContainer[int]
    dataset: str
    def __init__(self, origin: _Optional[_Union[LabelProvenance.Origin, str]] = ..., rejected: _Optional[_Iterable[_Union[LabelProvenance.Rejected, _Mapping]]] = ..., writing_rows: _Optional[_Iterable[int]] = ..., choosing_rows: _Optional[_Iterable[int]] = ..., scoring_rows: _Optional[_Iterable[int]] = ..., hard_rows: _Optional[_Iterable[int]] = ..., choosing_silent_rows: _Optional[_Iterable[int]] = ..., dataset: _Optional[str] = ...) -> None: ...

class LabelOptions(_message.Message):
    __slots__ = ("model", "positive_count", "negative_count", "temperature", "system_prompt", "stop_words")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    POSITIVE_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_COUNT_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_PROMPT_FIELD_NUMBER: _ClassVar[int]
    STOP_WORDS_FIELD_NUMBER: _ClassVar[int]
    model: str
    positive_count: int
    negative_count: int
    temperature: float
    system_prompt: str
    stop_words: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[str] = ..., positive_count: _Optional[int] = ..., negative_count: _Optional[int] = ..., temperature: _Optional[float] = ..., system_prompt: _Optional[str] = ..., stop_words: _Optional[_Iterable[str]] = ...) -> None: ...

class LabelModel(_message.Message):
    __slots__ = ("id", "display_name", "is_default")
    ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    id: str
    display_name: str
    is_default: bool
    def __init__(self, id: _Optional[str] = ..., display_name: _Optional[str] = ..., is_default: _Optional[bool] = ...) -> None: ...

class Example(_message.Message):
    __slots__ = ("document", "key", "row", "activation", "text", "metadata", "decile", "tail", "passage")
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    DECILE_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    PASSAGE_FIELD_NUMBER: _ClassVar[int]
    document: str
    key: str
    row: int
    activation: float
    text: str
    metadata: _struct_pb2.Struct
    decile: int
    tail: bool
    passage: _resources_pb2.Passage
    def __init__(self, document: _Optional[str] = ..., key: _Optional[str] = ..., row: _Optional[int] = ..., activation: _Optional[float] = ..., text: _Optional[str] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., decile: _Optional[int] = ..., tail: _Optional[bool] = ..., passage: _Optional[_Union[_resources_pb2.Passage, _Mapping]] = ...) -> None: ...

class Family(_message.Message):
    __slots__ = ("name", "display_name", "color", "round", "parent_index", "members", "member_count", "description", "density", "reliability", "test")
    class Member(_message.Message):
        __slots__ = ("index", "label", "density", "parent_index", "weight", "reliability")
        INDEX_FIELD_NUMBER: _ClassVar[int]
        LABEL_FIELD_NUMBER: _ClassVar[int]
        DENSITY_FIELD_NUMBER: _ClassVar[int]
        PARENT_INDEX_FIELD_NUMBER: _ClassVar[int]
        WEIGHT_FIELD_NUMBER: _ClassVar[int]
        RELIABILITY_FIELD_NUMBER: _ClassVar[int]
        index: int
        label: str
        density: float
        parent_index: int
        weight: float
        reliability: Reliability
        def __init__(self, index: _Optional[int] = ..., label: _Optional[str] = ..., density: _Optional[float] = ..., parent_index: _Optional[int] = ..., weight: _Optional[float] = ..., reliability: _Optional[_Union[Reliability, _Mapping]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    COLOR_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    PARENT_INDEX_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    MEMBER_COUNT_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    DENSITY_FIELD_NUMBER: _ClassVar[int]
    RELIABILITY_FIELD_NUMBER: _ClassVar[int]
    TEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    display_name: str
    color: int
    round: int
    parent_index: int
    members: _containers.RepeatedCompositeFieldContainer[Family.Member]
    member_count: int
    description: str
    density: float
    reliability: Reliability
    test: LabelTest
    def __init__(self, name: _Optional[str] = ..., display_name: _Optional[str] = ..., color: _Optional[int] = ..., round: _Optional[int] = ..., parent_index: _Optional[int] = ..., members: _Optional[_Iterable[_Union[Family.Member, _Mapping]]] = ..., member_count: _Optional[int] = ..., description: _Optional[str] = ..., density: _Optional[float] = ..., reliability: _Optional[_Union[Reliability, _Mapping]] = ..., test: _Optional[_Union[LabelTest, _Mapping]] = ...) -> None: ...

class Graph(_message.Message):
    __slots__ = ("nodes", "edges")
    class Node(_message.Message):
        __slots__ = ("index", "label", "density", "families", "color", "is_parent", "is_bridge", "reliability")
        INDEX_FIELD_NUMBER: _ClassVar[int]
        LABEL_FIELD_NUMBER: _ClassVar[int]
        DENSITY_FIELD_NUMBER: _ClassVar[int]
        FAMILIES_FIELD_NUMBER: _ClassVar[int]
        COLOR_FIELD_NUMBER: _ClassVar[int]
        IS_PARENT_FIELD_NUMBER: _ClassVar[int]
        IS_BRIDGE_FIELD_NUMBER: _ClassVar[int]
        RELIABILITY_FIELD_NUMBER: _ClassVar[int]
        index: int
        label: str
        density: float
        families: _containers.RepeatedScalarFieldContainer[str]
        color: int
        is_parent: bool
        is_bridge: bool
        reliability: Reliability
        def __init__(self, index: _Optional[int] = ..., label: _Optional[str] = ..., density: _Optional[float] = ..., families: _Optional[_Iterable[str]] = ..., color: _Optional[int] = ..., is_parent: _Optional[bool] = ..., is_bridge: _Optional[bool] = ..., reliability: _Optional[_Union[Reliability, _Mapping]] = ...) -> None: ...
    class Edge(_message.Message):
        __slots__ = ("source", "target", "weight", "family")
        SOURCE_FIELD_NUMBER: _ClassVar[int]
        TARGET_FIELD_NUMBER: _ClassVar[int]
        WEIGHT_FIELD_NUMBER: _ClassVar[int]
        FAMILY_FIELD_NUMBER: _ClassVar[int]
        source: int
        target: int
        weight: float
        family: str
        def __init__(self, source: _Optional[int] = ..., target: _Optional[int] = ..., weight: _Optional[float] = ..., family: _Optional[str] = ...) -> None: ...
    NODES_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[Graph.Node]
    edges: _containers.RepeatedCompositeFieldContainer[Graph.Edge]
    def __init__(self, nodes: _Optional[_Iterable[_Union[Graph.Node, _Mapping]]] = ..., edges: _Optional[_Iterable[_Union[Graph.Edge, _Mapping]]] = ...) -> None: ...

class ActivationSample(_message.Message):
    __slots__ = ("rows", "indices", "labels", "offsets", "columns", "activations", "total_rows", "reliabilities")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    OFFSETS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    ACTIVATIONS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_ROWS_FIELD_NUMBER: _ClassVar[int]
    RELIABILITIES_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedScalarFieldContainer[int]
    indices: _containers.RepeatedScalarFieldContainer[int]
    labels: _containers.RepeatedScalarFieldContainer[str]
    offsets: _containers.RepeatedScalarFieldContainer[int]
    columns: _containers.RepeatedScalarFieldContainer[int]
    activations: _containers.RepeatedScalarFieldContainer[float]
    total_rows: int
    reliabilities: _containers.RepeatedCompositeFieldContainer[Reliability]
    def __init__(self, rows: _Optional[_Iterable[int]] = ..., indices: _Optional[_Iterable[int]] = ..., labels: _Optional[_Iterable[str]] = ..., offsets: _Optional[_Iterable[int]] = ..., columns: _Optional[_Iterable[int]] = ..., activations: _Optional[_Iterable[float]] = ..., total_rows: _Optional[int] = ..., reliabilities: _Optional[_Iterable[_Union[Reliability, _Mapping]]] = ...) -> None: ...

class FeatureMatrix(_message.Message):
    __slots__ = ("kind", "indices", "labels", "values", "row_count", "reliabilities")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[FeatureMatrix.Kind]
        KIND_DECODER_COSINE: _ClassVar[FeatureMatrix.Kind]
        KIND_CO_OCCURRENCE: _ClassVar[FeatureMatrix.Kind]
        KIND_ACTIVATION_COSINE: _ClassVar[FeatureMatrix.Kind]
    KIND_UNSPECIFIED: FeatureMatrix.Kind
    KIND_DECODER_COSINE: FeatureMatrix.Kind
    KIND_CO_OCCURRENCE: FeatureMatrix.Kind
    KIND_ACTIVATION_COSINE: FeatureMatrix.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    RELIABILITIES_FIELD_NUMBER: _ClassVar[int]
    kind: FeatureMatrix.Kind
    indices: _containers.RepeatedScalarFieldContainer[int]
    labels: _containers.RepeatedScalarFieldContainer[str]
    values: _containers.RepeatedScalarFieldContainer[float]
    row_count: int
    reliabilities: _containers.RepeatedCompositeFieldContainer[Reliability]
    def __init__(self, kind: _Optional[_Union[FeatureMatrix.Kind, str]] = ..., indices: _Optional[_Iterable[int]] = ..., labels: _Optional[_Iterable[str]] = ..., values: _Optional[_Iterable[float]] = ..., row_count: _Optional[int] = ..., reliabilities: _Optional[_Iterable[_Union[Reliability, _Mapping]]] = ...) -> None: ...

class Analysis(_message.Message):
    __slots__ = ("features", "latent_count", "unexplained_fraction", "embedding_norm", "dimension", "embedding_truncated", "document", "text", "familiarity", "passage")
    class ActiveFeature(_message.Message):
        __slots__ = ("index", "activation", "label", "description", "max_activation", "density", "families", "trust", "score", "tail", "score_low", "score_high")
        INDEX_FIELD_NUMBER: _ClassVar[int]
        ACTIVATION_FIELD_NUMBER: _ClassVar[int]
        LABEL_FIELD_NUMBER: _ClassVar[int]
        DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
        MAX_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
        DENSITY_FIELD_NUMBER: _ClassVar[int]
        FAMILIES_FIELD_NUMBER: _ClassVar[int]
        TRUST_FIELD_NUMBER: _ClassVar[int]
        SCORE_FIELD_NUMBER: _ClassVar[int]
        TAIL_FIELD_NUMBER: _ClassVar[int]
        SCORE_LOW_FIELD_NUMBER: _ClassVar[int]
        SCORE_HIGH_FIELD_NUMBER: _ClassVar[int]
        index: int
        activation: float
        label: str
        description: str
        max_activation: float
        density: float
        families: _containers.RepeatedCompositeFieldContainer[FamilyMembership]
        trust: Trust
        score: float
        tail: bool
        score_low: float
        score_high: float
        def __init__(self, index: _Optional[int] = ..., activation: _Optional[float] = ..., label: _Optional[str] = ..., description: _Optional[str] = ..., max_activation: _Optional[float] = ..., density: _Optional[float] = ..., families: _Optional[_Iterable[_Union[FamilyMembership, _Mapping]]] = ..., trust: _Optional[_Union[Trust, str]] = ..., score: _Optional[float] = ..., tail: _Optional[bool] = ..., score_low: _Optional[float] = ..., score_high: _Optional[float] = ...) -> None: ...
    class Familiarity(_message.Message):
        __slots__ = ("unexplained_percentile", "similarity", "similarity_percentile", "unknown_share", "unknown_percentile", "p_value", "out_of_distribution", "false_alarm_rate", "document_count", "min_length", "max_length", "held_out")
        UNEXPLAINED_PERCENTILE_FIELD_NUMBER: _ClassVar[int]
        SIMILARITY_FIELD_NUMBER: _ClassVar[int]
        SIMILARITY_PERCENTILE_FIELD_NUMBER: _ClassVar[int]
        UNKNOWN_SHARE_FIELD_NUMBER: _ClassVar[int]
        UNKNOWN_PERCENTILE_FIELD_NUMBER: _ClassVar[int]
        P_VALUE_FIELD_NUMBER: _ClassVar[int]
        OUT_OF_DISTRIBUTION_FIELD_NUMBER: _ClassVar[int]
        FALSE_ALARM_RATE_FIELD_NUMBER: _ClassVar[int]
        DOCUMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
        MIN_LENGTH_FIELD_NUMBER: _ClassVar[int]
        MAX_LENGTH_FIELD_NUMBER: _ClassVar[int]
        HELD_OUT_FIELD_NUMBER: _ClassVar[int]
        unexplained_percentile: float
        similarity: float
        similarity_percentile: float
        unknown_share: float
        unknown_percentile: float
        p_value: float
        out_of_distribution: bool
        false_alarm_rate: float
        document_count: int
        min_length: int
        max_length: int
        held_out: bool
        def __init__(self, unexplained_percentile: _Optional[float] = ..., similarity: _Optional[float] = ..., similarity_percentile: _Optional[float] = ..., unknown_share: _Optional[float] = ..., unknown_percentile: _Optional[float] = ..., p_value: _Optional[float] = ..., out_of_distribution: _Optional[bool] = ..., false_alarm_rate: _Optional[float] = ..., document_count: _Optional[int] = ..., min_length: _Optional[int] = ..., max_length: _Optional[int] = ..., held_out: _Optional[bool] = ...) -> None: ...
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    LATENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    UNEXPLAINED_FRACTION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_NORM_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FAMILIARITY_FIELD_NUMBER: _ClassVar[int]
    PASSAGE_FIELD_NUMBER: _ClassVar[int]
    features: _containers.RepeatedCompositeFieldContainer[Analysis.ActiveFeature]
    latent_count: int
    unexplained_fraction: float
    embedding_norm: float
    dimension: int
    embedding_truncated: bool
    document: str
    text: str
    familiarity: Analysis.Familiarity
    passage: _resources_pb2.Passage
    def __init__(self, features: _Optional[_Iterable[_Union[Analysis.ActiveFeature, _Mapping]]] = ..., latent_count: _Optional[int] = ..., unexplained_fraction: _Optional[float] = ..., embedding_norm: _Optional[float] = ..., dimension: _Optional[int] = ..., embedding_truncated: _Optional[bool] = ..., document: _Optional[str] = ..., text: _Optional[str] = ..., familiarity: _Optional[_Union[Analysis.Familiarity, _Mapping]] = ..., passage: _Optional[_Union[_resources_pb2.Passage, _Mapping]] = ...) -> None: ...
