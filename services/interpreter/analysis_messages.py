"""Results of analyses as messages."""

from __future__ import annotations

from prisma.interpreter.v1 import analyses_pb2 as pb2
from services.interpreter.analyses import (
    DatasetComparison,
    FeatureClassifier,
    FeatureCorrelations,
    FeatureSeparations,
    MetadataAssociations,
)
from services.interpreter.associations import Association
from services.interpreter.attribution import SentenceAttribution
from services.interpreter.features import Features
from services.interpreter.messages import passage
from services.interpreter.selection import SelectedFeatures
from services.interpreter.similarity import SimilarityExplanation


def sentence_attribution(value: SentenceAttribution) -> pb2.SentenceAttribution:
    """Which sentences of a text carry its features."""
    return pb2.SentenceAttribution(
        sentences=[
            pb2.SentenceAttribution.Sentence(start=part.start, end=part.end, text=value.text[part.start : part.end])
            for part in value.sentences
        ],
        attributions=[
            pb2.SentenceAttribution.Attribution(
                feature=analyzed_feature(value.selected.features, entry.index),
                activation=entry.activation,
                contributions=entry.contributions,
                remainder=entry.remainder,
                alone=entry.alone,
                strongest=entry.strongest,
            )
            for entry in value.attributions
        ],
        embedding_truncated=value.truncated,
        passage=passage(value.passage),
    )


def similarity_explanation(value: SimilarityExplanation) -> pb2.SimilarityExplanation:
    """A cosine and its parts."""
    return pb2.SimilarityExplanation(
        similarity=value.similarity,
        contributions=[
            pb2.SimilarityExplanation.Contribution(
                feature=analyzed_feature(value.selected.features, entry.index),
                first_activation=entry.first_activation,
                second_activation=entry.second_activation,
                contribution=entry.share,
            )
            for entry in value.contributions
        ],
        other_features=value.other_features,
        baseline=value.baseline,
        unexplained=value.unexplained,
        first_passage=passage(value.passages[0]),
        second_passage=passage(value.passages[1]),
    )


def metadata_associations(value: MetadataAssociations, limit: int) -> pb2.MetadataAssociations:
    """Which features go with a key of the documents' metadata."""
    result = value.result
    return pb2.MetadataAssociations(
        kind=f"KIND_{result.kind}",
        associations=[_association(value.selected, entry) for entry in result.discovered[:limit]],
        feature_count=len(value.selected),
        test_count=result.test_count,
        discovered_count=len(result.discovered),
        confirmed_count=sum(entry.confirmed for entry in result.discovered),
        discovery_document_count=result.document_counts[0],
        confirmation_document_count=result.document_counts[1],
        notices=value.notices,
    )


def _association(selected: SelectedFeatures, entry: Association) -> pb2.MetadataAssociations.Association:
    return pb2.MetadataAssociations.Association(
        feature=analyzed_feature(selected.features, int(selected.indices[entry.column])),
        category=entry.category or "",
        confirmed=entry.confirmed,
        effect=entry.effect,
        effect_low=entry.low,
        effect_high=entry.high,
        p_value=entry.p_value,
        q_value=entry.q_value,
        discovery_effect=entry.discovery_effect,
        discovery_q_value=entry.discovery_q_value,
        inside_count=entry.inside[0],
        inside_total=entry.inside[1],
        outside_count=entry.outside[0],
        outside_total=entry.outside[1],
    )


def dataset_comparison(value: DatasetComparison, limit: int) -> pb2.DatasetComparison:
    """How two sets of documents differ."""
    result, (first, second) = value.result, value.sets
    return pb2.DatasetComparison(
        differences=[
            pb2.DatasetComparison.Difference(
                feature=analyzed_feature(value.selected.features, int(value.selected.indices[entry.column])),
                first_share=entry.first_share,
                second_share=entry.second_share,
                difference=entry.value,
                difference_low=entry.low,
                difference_high=entry.high,
                p_value=entry.p_value,
                q_value=entry.q_value,
            )
            for entry in result.differences[:limit]
        ],
        feature_count=result.test_count,
        significant_count=len(result.differences),
        first_document_count=len(first.occurrences),
        second_document_count=len(second.occurrences),
        notices=value.notices,
    )


def feature_correlations(value: FeatureCorrelations, limit: int) -> pb2.FeatureCorrelations:
    """Features that occur together although their labels are not alike."""
    result, selected = value.result, value.selected
    return pb2.FeatureCorrelations(
        correlations=[
            pb2.FeatureCorrelations.Correlation(
                first=analyzed_feature(selected.features, int(selected.indices[entry.first])),
                second=analyzed_feature(selected.features, int(selected.indices[entry.second])),
                shared_count=entry.shared,
                first_count=entry.first_count,
                second_count=entry.second_count,
                expected_count=entry.expected,
                odds_ratio=entry.odds_ratio,
                odds_ratio_low=entry.low,
                odds_ratio_high=entry.high,
                p_value=entry.p_value,
                q_value=entry.q_value,
                label_similarity=entry.similarity,
                label_similarity_rank=entry.similarity_rank,
            )
            for entry in result.unexplained[:limit]
        ],
        feature_count=len(selected),
        significant_count=result.significant_count,
        explained_count=result.significant_count - len(result.unexplained),
        document_count=result.document_count,
        notices=value.notices,
    )


def feature_separations(value: FeatureSeparations) -> pb2.FeatureSeparations:
    """Features that tell positive texts from negative ones."""
    return pb2.FeatureSeparations(
        separations=[
            pb2.FeatureSeparations.Separation(
                feature=analyzed_feature(value.selected.features, int(value.selected.indices[entry.column])),
                area=entry.area,
                area_low=entry.low,
                area_high=entry.high,
                p_value=entry.p_value,
                q_value=entry.q_value,
                positive_count=entry.positive_count,
                negative_count=entry.negative_count,
            )
            for entry in value.separators
        ],
        feature_count=value.feature_count,
        positive_total=value.positive_total,
        negative_total=value.negative_total,
        notices=value.notices,
    )


def feature_classifier(value: FeatureClassifier) -> pb2.FeatureClassifier:
    """A classifier on a few features."""
    result, selected = value.result, value.selected
    return pb2.FeatureClassifier(
        terms=[
            pb2.FeatureClassifier.Term(
                feature=analyzed_feature(selected.features, int(selected.indices[member.column])),
                weight=member.weight,
                area=member.area,
                threshold=selected.thresholds[member.column],
            )
            for member in result.members
        ],
        intercept=result.intercept,
        area=result.area,
        area_low=result.low,
        area_high=result.high,
        training_area=result.training_area,
        training_positive_count=result.training_counts[0],
        training_negative_count=result.training_counts[1],
        held_out_positive_count=result.held_out_counts[0],
        held_out_negative_count=result.held_out_counts[1],
        notices=value.notices,
    )


def analyzed_feature(features: Features, index: int) -> pb2.AnalyzedFeature:
    """A feature that an analysis is about."""
    score = features.score(index)
    return pb2.AnalyzedFeature(
        index=index,
        label=features.label_text(index),
        trust=f"TRUST_{features.trust(index)}",
        score=score.auc if score else None,
        score_low=score.low if score else None,
        score_high=score.high if score else None,
    )
