"""Results of analyses as messages."""

from __future__ import annotations

from prisma.interpreter.v1 import analyses_pb2 as pb2
from services.interpreter.attribution import SentenceAttribution
from services.interpreter.features import Features
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
    )


def analyzed_feature(features: Features, index: int) -> pb2.AnalyzedFeature:
    """A feature that an analysis is about."""
    score = features.score(index)
    return pb2.AnalyzedFeature(
        index=index,
        label=features.label_text(index),
        trust=f"TRUST_{features.trust(index)}",
        score=None if score is None else score.auc,
    )
