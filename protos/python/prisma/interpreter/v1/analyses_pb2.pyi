from google.api import field_behavior_pb2 as _field_behavior_pb2
from prisma.interpreter.v1 import resources_pb2 as _resources_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FeatureSelection(_message.Message):
    __slots__ = ("filter", "include_tail")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_TAIL_FIELD_NUMBER: _ClassVar[int]
    filter: str
    include_tail: bool
    def __init__(self, filter: _Optional[str] = ..., include_tail: _Optional[bool] = ...) -> None: ...

class AnalyzedFeature(_message.Message):
    __slots__ = ("index", "label", "trust", "score")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    TRUST_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    index: int
    label: str
    trust: _resources_pb2.Trust
    score: float
    def __init__(self, index: _Optional[int] = ..., label: _Optional[str] = ..., trust: _Optional[_Union[_resources_pb2.Trust, str]] = ..., score: _Optional[float] = ...) -> None: ...

class AttributeSentencesRequest(_message.Message):
    __slots__ = ("run", "text", "features", "indices", "limit")
    RUN_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    run: str
    text: str
    features: FeatureSelection
    indices: _containers.RepeatedScalarFieldContainer[int]
    limit: int
    def __init__(self, run: _Optional[str] = ..., text: _Optional[str] = ..., features: _Optional[_Union[FeatureSelection, _Mapping]] = ..., indices: _Optional[_Iterable[int]] = ..., limit: _Optional[int] = ...) -> None: ...

class SentenceAttribution(_message.Message):
    __slots__ = ("sentences", "attributions", "embedding_truncated")
    class Sentence(_message.Message):
        __slots__ = ("start", "end", "text")
        START_FIELD_NUMBER: _ClassVar[int]
        END_FIELD_NUMBER: _ClassVar[int]
        TEXT_FIELD_NUMBER: _ClassVar[int]
        start: int
        end: int
        text: str
        def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ..., text: _Optional[str] = ...) -> None: ...
    class Attribution(_message.Message):
        __slots__ = ("feature", "activation", "contributions", "remainder", "alone", "strongest")
        FEATURE_FIELD_NUMBER: _ClassVar[int]
        ACTIVATION_FIELD_NUMBER: _ClassVar[int]
        CONTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
        REMAINDER_FIELD_NUMBER: _ClassVar[int]
        ALONE_FIELD_NUMBER: _ClassVar[int]
        STRONGEST_FIELD_NUMBER: _ClassVar[int]
        feature: AnalyzedFeature
        activation: float
        contributions: _containers.RepeatedScalarFieldContainer[float]
        remainder: float
        alone: _containers.RepeatedScalarFieldContainer[float]
        strongest: int
        def __init__(self, feature: _Optional[_Union[AnalyzedFeature, _Mapping]] = ..., activation: _Optional[float] = ..., contributions: _Optional[_Iterable[float]] = ..., remainder: _Optional[float] = ..., alone: _Optional[_Iterable[float]] = ..., strongest: _Optional[int] = ...) -> None: ...
    SENTENCES_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    sentences: _containers.RepeatedCompositeFieldContainer[SentenceAttribution.Sentence]
    attributions: _containers.RepeatedCompositeFieldContainer[SentenceAttribution.Attribution]
    embedding_truncated: bool
    def __init__(self, sentences: _Optional[_Iterable[_Union[SentenceAttribution.Sentence, _Mapping]]] = ..., attributions: _Optional[_Iterable[_Union[SentenceAttribution.Attribution, _Mapping]]] = ..., embedding_truncated: _Optional[bool] = ...) -> None: ...

class TextSource(_message.Message):
    __slots__ = ("text", "document")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    text: str
    document: str
    def __init__(self, text: _Optional[str] = ..., document: _Optional[str] = ...) -> None: ...

class ExplainSimilarityRequest(_message.Message):
    __slots__ = ("run", "first", "second", "features", "limit")
    RUN_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    run: str
    first: TextSource
    second: TextSource
    features: FeatureSelection
    limit: int
    def __init__(self, run: _Optional[str] = ..., first: _Optional[_Union[TextSource, _Mapping]] = ..., second: _Optional[_Union[TextSource, _Mapping]] = ..., features: _Optional[_Union[FeatureSelection, _Mapping]] = ..., limit: _Optional[int] = ...) -> None: ...

class SimilarityExplanation(_message.Message):
    __slots__ = ("similarity", "contributions", "other_features", "baseline", "unexplained")
    class Contribution(_message.Message):
        __slots__ = ("feature", "first_activation", "second_activation", "contribution")
        FEATURE_FIELD_NUMBER: _ClassVar[int]
        FIRST_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
        SECOND_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
        CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
        feature: AnalyzedFeature
        first_activation: float
        second_activation: float
        contribution: float
        def __init__(self, feature: _Optional[_Union[AnalyzedFeature, _Mapping]] = ..., first_activation: _Optional[float] = ..., second_activation: _Optional[float] = ..., contribution: _Optional[float] = ...) -> None: ...
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    OTHER_FEATURES_FIELD_NUMBER: _ClassVar[int]
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    UNEXPLAINED_FIELD_NUMBER: _ClassVar[int]
    similarity: float
    contributions: _containers.RepeatedCompositeFieldContainer[SimilarityExplanation.Contribution]
    other_features: float
    baseline: float
    unexplained: float
    def __init__(self, similarity: _Optional[float] = ..., contributions: _Optional[_Iterable[_Union[SimilarityExplanation.Contribution, _Mapping]]] = ..., other_features: _Optional[float] = ..., baseline: _Optional[float] = ..., unexplained: _Optional[float] = ...) -> None: ...
