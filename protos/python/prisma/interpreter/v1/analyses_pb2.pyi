from google.api import field_behavior_pb2 as _field_behavior_pb2
from prisma.embedder.v1 import resources_pb2 as _resources_pb2
from prisma.interpreter.v1 import resources_pb2 as _resources_pb2_1
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
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
    __slots__ = ("index", "label", "trust", "score", "score_low", "score_high")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    TRUST_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SCORE_LOW_FIELD_NUMBER: _ClassVar[int]
    SCORE_HIGH_FIELD_NUMBER: _ClassVar[int]
    index: int
    label: str
    trust: _resources_pb2_1.Trust
    score: float
    score_low: float
    score_high: float
    def __init__(self, index: _Optional[int] = ..., label: _Optional[str] = ..., trust: _Optional[_Union[_resources_pb2_1.Trust, str]] = ..., score: _Optional[float] = ..., score_low: _Optional[float] = ..., score_high: _Optional[float] = ...) -> None: ...

class AttributeSentencesRequest(_message.Message):
    __slots__ = ("run", "text", "document", "features", "indices", "limit")
    RUN_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    run: str
    text: str
    document: str
    features: FeatureSelection
    indices: _containers.RepeatedScalarFieldContainer[int]
    limit: int
    def __init__(self, run: _Optional[str] = ..., text: _Optional[str] = ..., document: _Optional[str] = ..., features: _Optional[_Union[FeatureSelection, _Mapping]] = ..., indices: _Optional[_Iterable[int]] = ..., limit: _Optional[int] = ...) -> None: ...

class SentenceAttribution(_message.Message):
    __slots__ = ("sentences", "attributions", "embedding_truncated", "passage")
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
    PASSAGE_FIELD_NUMBER: _ClassVar[int]
    sentences: _containers.RepeatedCompositeFieldContainer[SentenceAttribution.Sentence]
    attributions: _containers.RepeatedCompositeFieldContainer[SentenceAttribution.Attribution]
    embedding_truncated: bool
    passage: _resources_pb2.Passage
    def __init__(self, sentences: _Optional[_Iterable[_Union[SentenceAttribution.Sentence, _Mapping]]] = ..., attributions: _Optional[_Iterable[_Union[SentenceAttribution.Attribution, _Mapping]]] = ..., embedding_truncated: _Optional[bool] = ..., passage: _Optional[_Union[_resources_pb2.Passage, _Mapping]] = ...) -> None: ...

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
    __slots__ = ("similarity", "contributions", "other_features", "baseline", "unexplained", "first_passage", "second_passage")
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
    FIRST_PASSAGE_FIELD_NUMBER: _ClassVar[int]
    SECOND_PASSAGE_FIELD_NUMBER: _ClassVar[int]
    similarity: float
    contributions: _containers.RepeatedCompositeFieldContainer[SimilarityExplanation.Contribution]
    other_features: float
    baseline: float
    unexplained: float
    first_passage: _resources_pb2.Passage
    second_passage: _resources_pb2.Passage
    def __init__(self, similarity: _Optional[float] = ..., contributions: _Optional[_Iterable[_Union[SimilarityExplanation.Contribution, _Mapping]]] = ..., other_features: _Optional[float] = ..., baseline: _Optional[float] = ..., unexplained: _Optional[float] = ..., first_passage: _Optional[_Union[_resources_pb2.Passage, _Mapping]] = ..., second_passage: _Optional[_Union[_resources_pb2.Passage, _Mapping]] = ...) -> None: ...

class AssociateMetadataRequest(_message.Message):
    __slots__ = ("run", "key", "kind", "features", "max_q", "limit")
    RUN_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    MAX_Q_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    run: str
    key: str
    kind: MetadataAssociations.Kind
    features: FeatureSelection
    max_q: float
    limit: int
    def __init__(self, run: _Optional[str] = ..., key: _Optional[str] = ..., kind: _Optional[_Union[MetadataAssociations.Kind, str]] = ..., features: _Optional[_Union[FeatureSelection, _Mapping]] = ..., max_q: _Optional[float] = ..., limit: _Optional[int] = ...) -> None: ...

class MetadataAssociations(_message.Message):
    __slots__ = ("kind", "associations", "feature_count", "test_count", "discovered_count", "confirmed_count", "discovery_document_count", "confirmation_document_count", "notices")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[MetadataAssociations.Kind]
        KIND_CATEGORY: _ClassVar[MetadataAssociations.Kind]
        KIND_NUMBER: _ClassVar[MetadataAssociations.Kind]
        KIND_DATE: _ClassVar[MetadataAssociations.Kind]
    KIND_UNSPECIFIED: MetadataAssociations.Kind
    KIND_CATEGORY: MetadataAssociations.Kind
    KIND_NUMBER: MetadataAssociations.Kind
    KIND_DATE: MetadataAssociations.Kind
    class Association(_message.Message):
        __slots__ = ("feature", "category", "confirmed", "effect", "effect_low", "effect_high", "p_value", "q_value", "discovery_effect", "discovery_q_value", "inside_count", "inside_total", "outside_count", "outside_total")
        FEATURE_FIELD_NUMBER: _ClassVar[int]
        CATEGORY_FIELD_NUMBER: _ClassVar[int]
        CONFIRMED_FIELD_NUMBER: _ClassVar[int]
        EFFECT_FIELD_NUMBER: _ClassVar[int]
        EFFECT_LOW_FIELD_NUMBER: _ClassVar[int]
        EFFECT_HIGH_FIELD_NUMBER: _ClassVar[int]
        P_VALUE_FIELD_NUMBER: _ClassVar[int]
        Q_VALUE_FIELD_NUMBER: _ClassVar[int]
        DISCOVERY_EFFECT_FIELD_NUMBER: _ClassVar[int]
        DISCOVERY_Q_VALUE_FIELD_NUMBER: _ClassVar[int]
        INSIDE_COUNT_FIELD_NUMBER: _ClassVar[int]
        INSIDE_TOTAL_FIELD_NUMBER: _ClassVar[int]
        OUTSIDE_COUNT_FIELD_NUMBER: _ClassVar[int]
        OUTSIDE_TOTAL_FIELD_NUMBER: _ClassVar[int]
        feature: AnalyzedFeature
        category: str
        confirmed: bool
        effect: float
        effect_low: float
        effect_high: float
        p_value: float
        q_value: float
        discovery_effect: float
        discovery_q_value: float
        inside_count: int
        inside_total: int
        outside_count: int
        outside_total: int
        def __init__(self, feature: _Optional[_Union[AnalyzedFeature, _Mapping]] = ..., category: _Optional[str] = ..., confirmed: _Optional[bool] = ..., effect: _Optional[float] = ..., effect_low: _Optional[float] = ..., effect_high: _Optional[float] = ..., p_value: _Optional[float] = ..., q_value: _Optional[float] = ..., discovery_effect: _Optional[float] = ..., discovery_q_value: _Optional[float] = ..., inside_count: _Optional[int] = ..., inside_total: _Optional[int] = ..., outside_count: _Optional[int] = ..., outside_total: _Optional[int] = ...) -> None: ...
    KIND_FIELD_NUMBER: _ClassVar[int]
    ASSOCIATIONS_FIELD_NUMBER: _ClassVar[int]
    FEATURE_COUNT_FIELD_NUMBER: _ClassVar[int]
    TEST_COUNT_FIELD_NUMBER: _ClassVar[int]
    DISCOVERED_COUNT_FIELD_NUMBER: _ClassVar[int]
    CONFIRMED_COUNT_FIELD_NUMBER: _ClassVar[int]
    DISCOVERY_DOCUMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    CONFIRMATION_DOCUMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    kind: MetadataAssociations.Kind
    associations: _containers.RepeatedCompositeFieldContainer[MetadataAssociations.Association]
    feature_count: int
    test_count: int
    discovered_count: int
    confirmed_count: int
    discovery_document_count: int
    confirmation_document_count: int
    notices: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, kind: _Optional[_Union[MetadataAssociations.Kind, str]] = ..., associations: _Optional[_Iterable[_Union[MetadataAssociations.Association, _Mapping]]] = ..., feature_count: _Optional[int] = ..., test_count: _Optional[int] = ..., discovered_count: _Optional[int] = ..., confirmed_count: _Optional[int] = ..., discovery_document_count: _Optional[int] = ..., confirmation_document_count: _Optional[int] = ..., notices: _Optional[_Iterable[str]] = ...) -> None: ...

class DocumentSet(_message.Message):
    __slots__ = ("dataset", "filter", "documents")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    filter: str
    documents: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, dataset: _Optional[str] = ..., filter: _Optional[str] = ..., documents: _Optional[_Iterable[str]] = ...) -> None: ...

class CompareDatasetsRequest(_message.Message):
    __slots__ = ("run", "first", "second", "features", "max_q", "limit")
    RUN_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    MAX_Q_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    run: str
    first: DocumentSet
    second: DocumentSet
    features: FeatureSelection
    max_q: float
    limit: int
    def __init__(self, run: _Optional[str] = ..., first: _Optional[_Union[DocumentSet, _Mapping]] = ..., second: _Optional[_Union[DocumentSet, _Mapping]] = ..., features: _Optional[_Union[FeatureSelection, _Mapping]] = ..., max_q: _Optional[float] = ..., limit: _Optional[int] = ...) -> None: ...

class DatasetComparison(_message.Message):
    __slots__ = ("differences", "feature_count", "significant_count", "first_document_count", "second_document_count", "notices")
    class Difference(_message.Message):
        __slots__ = ("feature", "first_share", "second_share", "difference", "difference_low", "difference_high", "p_value", "q_value")
        FEATURE_FIELD_NUMBER: _ClassVar[int]
        FIRST_SHARE_FIELD_NUMBER: _ClassVar[int]
        SECOND_SHARE_FIELD_NUMBER: _ClassVar[int]
        DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
        DIFFERENCE_LOW_FIELD_NUMBER: _ClassVar[int]
        DIFFERENCE_HIGH_FIELD_NUMBER: _ClassVar[int]
        P_VALUE_FIELD_NUMBER: _ClassVar[int]
        Q_VALUE_FIELD_NUMBER: _ClassVar[int]
        feature: AnalyzedFeature
        first_share: float
        second_share: float
        difference: float
        difference_low: float
        difference_high: float
        p_value: float
        q_value: float
        def __init__(self, feature: _Optional[_Union[AnalyzedFeature, _Mapping]] = ..., first_share: _Optional[float] = ..., second_share: _Optional[float] = ..., difference: _Optional[float] = ..., difference_low: _Optional[float] = ..., difference_high: _Optional[float] = ..., p_value: _Optional[float] = ..., q_value: _Optional[float] = ...) -> None: ...
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    FEATURE_COUNT_FIELD_NUMBER: _ClassVar[int]
    SIGNIFICANT_COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_DOCUMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    SECOND_DOCUMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    differences: _containers.RepeatedCompositeFieldContainer[DatasetComparison.Difference]
    feature_count: int
    significant_count: int
    first_document_count: int
    second_document_count: int
    notices: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, differences: _Optional[_Iterable[_Union[DatasetComparison.Difference, _Mapping]]] = ..., feature_count: _Optional[int] = ..., significant_count: _Optional[int] = ..., first_document_count: _Optional[int] = ..., second_document_count: _Optional[int] = ..., notices: _Optional[_Iterable[str]] = ...) -> None: ...

class CorrelateFeaturesRequest(_message.Message):
    __slots__ = ("run", "features", "max_label_similarity_rank", "max_q", "limit")
    RUN_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    MAX_LABEL_SIMILARITY_RANK_FIELD_NUMBER: _ClassVar[int]
    MAX_Q_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    run: str
    features: FeatureSelection
    max_label_similarity_rank: float
    max_q: float
    limit: int
    def __init__(self, run: _Optional[str] = ..., features: _Optional[_Union[FeatureSelection, _Mapping]] = ..., max_label_similarity_rank: _Optional[float] = ..., max_q: _Optional[float] = ..., limit: _Optional[int] = ...) -> None: ...

class FeatureCorrelations(_message.Message):
    __slots__ = ("correlations", "feature_count", "significant_count", "explained_count", "document_count", "notices")
    class Correlation(_message.Message):
        __slots__ = ("first", "second", "shared_count", "first_count", "second_count", "expected_count", "odds_ratio", "odds_ratio_low", "odds_ratio_high", "p_value", "q_value", "label_similarity", "label_similarity_rank")
        FIRST_FIELD_NUMBER: _ClassVar[int]
        SECOND_FIELD_NUMBER: _ClassVar[int]
        SHARED_COUNT_FIELD_NUMBER: _ClassVar[int]
        FIRST_COUNT_FIELD_NUMBER: _ClassVar[int]
        SECOND_COUNT_FIELD_NUMBER: _ClassVar[int]
        EXPECTED_COUNT_FIELD_NUMBER: _ClassVar[int]
        ODDS_RATIO_FIELD_NUMBER: _ClassVar[int]
        ODDS_RATIO_LOW_FIELD_NUMBER: _ClassVar[int]
        ODDS_RATIO_HIGH_FIELD_NUMBER: _ClassVar[int]
        P_VALUE_FIELD_NUMBER: _ClassVar[int]
        Q_VALUE_FIELD_NUMBER: _ClassVar[int]
        LABEL_SIMILARITY_FIELD_NUMBER: _ClassVar[int]
        LABEL_SIMILARITY_RANK_FIELD_NUMBER: _ClassVar[int]
        first: AnalyzedFeature
        second: AnalyzedFeature
        shared_count: int
        first_count: int
        second_count: int
        expected_count: float
        odds_ratio: float
        odds_ratio_low: float
        odds_ratio_high: float
        p_value: float
        q_value: float
        label_similarity: float
        label_similarity_rank: float
        def __init__(self, first: _Optional[_Union[AnalyzedFeature, _Mapping]] = ..., second: _Optional[_Union[AnalyzedFeature, _Mapping]] = ..., shared_count: _Optional[int] = ..., first_count: _Optional[int] = ..., second_count: _Optional[int] = ..., expected_count: _Optional[float] = ..., odds_ratio: _Optional[float] = ..., odds_ratio_low: _Optional[float] = ..., odds_ratio_high: _Optional[float] = ..., p_value: _Optional[float] = ..., q_value: _Optional[float] = ..., label_similarity: _Optional[float] = ..., label_similarity_rank: _Optional[float] = ...) -> None: ...
    CORRELATIONS_FIELD_NUMBER: _ClassVar[int]
    FEATURE_COUNT_FIELD_NUMBER: _ClassVar[int]
    SIGNIFICANT_COUNT_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_COUNT_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    correlations: _containers.RepeatedCompositeFieldContainer[FeatureCorrelations.Correlation]
    feature_count: int
    significant_count: int
    explained_count: int
    document_count: int
    notices: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, correlations: _Optional[_Iterable[_Union[FeatureCorrelations.Correlation, _Mapping]]] = ..., feature_count: _Optional[int] = ..., significant_count: _Optional[int] = ..., explained_count: _Optional[int] = ..., document_count: _Optional[int] = ..., notices: _Optional[_Iterable[str]] = ...) -> None: ...

class FindFeaturesRequest(_message.Message):
    __slots__ = ("run", "positives", "negatives", "features", "limit")
    RUN_FIELD_NUMBER: _ClassVar[int]
    POSITIVES_FIELD_NUMBER: _ClassVar[int]
    NEGATIVES_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    run: str
    positives: _containers.RepeatedCompositeFieldContainer[TextSource]
    negatives: _containers.RepeatedCompositeFieldContainer[TextSource]
    features: FeatureSelection
    limit: int
    def __init__(self, run: _Optional[str] = ..., positives: _Optional[_Iterable[_Union[TextSource, _Mapping]]] = ..., negatives: _Optional[_Iterable[_Union[TextSource, _Mapping]]] = ..., features: _Optional[_Union[FeatureSelection, _Mapping]] = ..., limit: _Optional[int] = ...) -> None: ...

class FeatureSeparations(_message.Message):
    __slots__ = ("separations", "feature_count", "positive_total", "negative_total", "notices")
    class Separation(_message.Message):
        __slots__ = ("feature", "area", "area_low", "area_high", "p_value", "q_value", "positive_count", "negative_count")
        FEATURE_FIELD_NUMBER: _ClassVar[int]
        AREA_FIELD_NUMBER: _ClassVar[int]
        AREA_LOW_FIELD_NUMBER: _ClassVar[int]
        AREA_HIGH_FIELD_NUMBER: _ClassVar[int]
        P_VALUE_FIELD_NUMBER: _ClassVar[int]
        Q_VALUE_FIELD_NUMBER: _ClassVar[int]
        POSITIVE_COUNT_FIELD_NUMBER: _ClassVar[int]
        NEGATIVE_COUNT_FIELD_NUMBER: _ClassVar[int]
        feature: AnalyzedFeature
        area: float
        area_low: float
        area_high: float
        p_value: float
        q_value: float
        positive_count: int
        negative_count: int
        def __init__(self, feature: _Optional[_Union[AnalyzedFeature, _Mapping]] = ..., area: _Optional[float] = ..., area_low: _Optional[float] = ..., area_high: _Optional[float] = ..., p_value: _Optional[float] = ..., q_value: _Optional[float] = ..., positive_count: _Optional[int] = ..., negative_count: _Optional[int] = ...) -> None: ...
    SEPARATIONS_FIELD_NUMBER: _ClassVar[int]
    FEATURE_COUNT_FIELD_NUMBER: _ClassVar[int]
    POSITIVE_TOTAL_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_TOTAL_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    separations: _containers.RepeatedCompositeFieldContainer[FeatureSeparations.Separation]
    feature_count: int
    positive_total: int
    negative_total: int
    notices: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, separations: _Optional[_Iterable[_Union[FeatureSeparations.Separation, _Mapping]]] = ..., feature_count: _Optional[int] = ..., positive_total: _Optional[int] = ..., negative_total: _Optional[int] = ..., notices: _Optional[_Iterable[str]] = ...) -> None: ...

class FitClassifierRequest(_message.Message):
    __slots__ = ("run", "positive", "negative", "features", "feature_count")
    RUN_FIELD_NUMBER: _ClassVar[int]
    POSITIVE_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    FEATURE_COUNT_FIELD_NUMBER: _ClassVar[int]
    run: str
    positive: DocumentSet
    negative: DocumentSet
    features: FeatureSelection
    feature_count: int
    def __init__(self, run: _Optional[str] = ..., positive: _Optional[_Union[DocumentSet, _Mapping]] = ..., negative: _Optional[_Union[DocumentSet, _Mapping]] = ..., features: _Optional[_Union[FeatureSelection, _Mapping]] = ..., feature_count: _Optional[int] = ...) -> None: ...

class FeatureClassifier(_message.Message):
    __slots__ = ("terms", "intercept", "area", "area_low", "area_high", "training_area", "training_positive_count", "training_negative_count", "held_out_positive_count", "held_out_negative_count", "notices")
    class Term(_message.Message):
        __slots__ = ("feature", "weight", "area", "threshold")
        FEATURE_FIELD_NUMBER: _ClassVar[int]
        WEIGHT_FIELD_NUMBER: _ClassVar[int]
        AREA_FIELD_NUMBER: _ClassVar[int]
        THRESHOLD_FIELD_NUMBER: _ClassVar[int]
        feature: AnalyzedFeature
        weight: float
        area: float
        threshold: float
        def __init__(self, feature: _Optional[_Union[AnalyzedFeature, _Mapping]] = ..., weight: _Optional[float] = ..., area: _Optional[float] = ..., threshold: _Optional[float] = ...) -> None: ...
    TERMS_FIELD_NUMBER: _ClassVar[int]
    INTERCEPT_FIELD_NUMBER: _ClassVar[int]
    AREA_FIELD_NUMBER: _ClassVar[int]
    AREA_LOW_FIELD_NUMBER: _ClassVar[int]
    AREA_HIGH_FIELD_NUMBER: _ClassVar[int]
    TRAINING_AREA_FIELD_NUMBER: _ClassVar[int]
    TRAINING_POSITIVE_COUNT_FIELD_NUMBER: _ClassVar[int]
    TRAINING_NEGATIVE_COUNT_FIELD_NUMBER: _ClassVar[int]
    HELD_OUT_POSITIVE_COUNT_FIELD_NUMBER: _ClassVar[int]
    HELD_OUT_NEGATIVE_COUNT_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    terms: _containers.RepeatedCompositeFieldContainer[FeatureClassifier.Term]
    intercept: float
    area: float
    area_low: float
    area_high: float
    training_area: float
    training_positive_count: int
    training_negative_count: int
    held_out_positive_count: int
    held_out_negative_count: int
    notices: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, terms: _Optional[_Iterable[_Union[FeatureClassifier.Term, _Mapping]]] = ..., intercept: _Optional[float] = ..., area: _Optional[float] = ..., area_low: _Optional[float] = ..., area_high: _Optional[float] = ..., training_area: _Optional[float] = ..., training_positive_count: _Optional[int] = ..., training_negative_count: _Optional[int] = ..., held_out_positive_count: _Optional[int] = ..., held_out_negative_count: _Optional[int] = ..., notices: _Optional[_Iterable[str]] = ...) -> None: ...
