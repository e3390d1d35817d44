"""Analyses that are based on a run's features: by default on those that are trusted."""

from __future__ import annotations

import re
from collections.abc import Sequence

from prisma.interpreter.v1 import analyses_pb2 as pb2
from prisma_client import choices
from prisma_client.aio.transport import Transport
from prisma_client.tables import Answer

_DOCUMENT = re.compile(r"datasets/[^/\s]+/documents/[^/\s]+")


class Analyses:
    """Analyses on the features of a run. run: its name.

    All take `features`, a filter such as `trust = TRUSTED` (the default) or `dead = false` (all but dense ones), and
    `include_tail`, which also counts activations below a feature's threshold. All raise InvalidArgument for a wrong
    filter and FailedPrecondition before statistics are computed.
    """

    def __init__(self, transport: Transport, run: str) -> None:
        self._transport = transport
        self._run = run

    async def attribute_sentences(
        self,
        text: str,
        *,
        indices: Sequence[int] = (),
        limit: int | None = None,
        features: str | None = None,
        include_tail: bool = False,
    ) -> Answer[pb2.SentenceAttribution]:
        """Returns which sentences of a text or document carry its features.

        text: a text, or the name of a document (`datasets/{dataset}/documents/{document}`).
        Contributions (what a feature loses without each sentence) and remainder add up to the activation.
        indices: these features instead of the strongest ones.
        """
        is_document = _DOCUMENT.fullmatch(text) is not None
        request = pb2.AttributeSentencesRequest(
            run=self._run,
            text=None if is_document else text,
            document=text if is_document else None,
            features=_selection(features, include_tail),
            indices=indices,
            limit=limit,
        )
        message = await self._transport.call("InterpreterService/AttributeSentences", request, pb2.SentenceAttribution)
        return Answer(message, "attributions")

    async def explain_similarity(
        self,
        first: str,
        second: str,
        *,
        limit: int | None = None,
        features: str | None = None,
        include_tail: bool = False,
    ) -> Answer[pb2.SimilarityExplanation]:
        """Returns why two texts or documents are similar.

        The cosine of their embeddings is the sum of the contributions, other_features, baseline and unexplained.
        first, second: texts, or names of documents (`datasets/{dataset}/documents/{document}`).
        """
        request = pb2.ExplainSimilarityRequest(
            run=self._run,
            first=_text_source(first),
            second=_text_source(second),
            features=_selection(features, include_tail),
            limit=limit,
        )
        message = await self._transport.call("InterpreterService/ExplainSimilarity", request, pb2.SimilarityExplanation)
        return Answer(message, "contributions")

    async def associate_metadata(
        self,
        key: str,
        *,
        kind: str | None = None,
        max_q: float | None = None,
        limit: int | None = None,
        features: str | None = None,
        include_tail: bool = False,
    ) -> Answer[pb2.MetadataAssociations]:
        """Returns which features go with a key of the documents' metadata, confirmed ones first.

        Half of the documents discovers, the other half confirms; effects, intervals and counts are those of the latter.
        kind: `category`, `number` or `date`; by default what the values suggest. max_q: share of false discoveries.
        Raises ValueError for another kind, InvalidArgument where no document has the key.
        """
        request = pb2.AssociateMetadataRequest(
            run=self._run,
            key=key,
            kind=choices.metadata_kind(kind),
            features=_selection(features, include_tail),
            max_q=max_q,
            limit=limit,
        )
        message = await self._transport.call("InterpreterService/AssociateMetadata", request, pb2.MetadataAssociations)
        return Answer(message, "associations")

    async def compare_datasets(
        self,
        first: str | Sequence[str] | None = None,
        second: str | Sequence[str] | None = None,
        *,
        first_dataset: str | None = None,
        second_dataset: str | None = None,
        max_q: float | None = None,
        limit: int | None = None,
        features: str | None = None,
        include_tail: bool = False,
    ) -> Answer[pb2.DatasetComparison]:
        """Returns the features that are more frequent in one set of documents than in another.

        first, second: filters such as `metadata.date < 2024 AND metadata.section = "games"`, or names of documents;
        without a second set, the first is compared with all other documents of its dataset. first_dataset,
        second_dataset: ids, by default that of the run's dataset. Raises NotFound for an unknown dataset.
        """
        has_second = second is not None or second_dataset is not None
        request = pb2.CompareDatasetsRequest(
            run=self._run,
            first=_document_set(first, first_dataset),
            second=_document_set(second, second_dataset) if has_second else None,
            features=_selection(features, include_tail),
            max_q=max_q,
            limit=limit,
        )
        message = await self._transport.call("InterpreterService/CompareDatasets", request, pb2.DatasetComparison)
        return Answer(message, "differences")

    async def correlate_features(
        self,
        *,
        max_label_similarity_rank: float | None = None,
        max_q: float | None = None,
        limit: int | None = None,
        features: str | None = None,
        include_tail: bool = False,
    ) -> Answer[pb2.FeatureCorrelations]:
        """Returns pairs of features that occur together more often than by chance although their labels are not alike.

        max_label_similarity_rank: the share of pairs of labels that may be less similar than a pair's, 0.5 by default;
        1 for all pairs.
        """
        request = pb2.CorrelateFeaturesRequest(
            run=self._run,
            features=_selection(features, include_tail),
            max_label_similarity_rank=max_label_similarity_rank,
            max_q=max_q,
            limit=limit,
        )
        message = await self._transport.call("InterpreterService/CorrelateFeatures", request, pb2.FeatureCorrelations)
        return Answer(message, "correlations")

    async def find_features(
        self,
        positives: Sequence[str],
        negatives: Sequence[str] = (),
        *,
        limit: int | None = None,
        features: str | None = None,
        include_tail: bool = False,
    ) -> Answer[pb2.FeatureSeparations]:
        """Returns the features of a concept: those that tell texts that have it from texts that do not.

        positives, negatives: texts, or names of documents (`datasets/{dataset}/documents/{document}`); without
        negatives, documents of the run at random.
        """
        request = pb2.FindFeaturesRequest(
            run=self._run,
            positives=[_text_source(text) for text in positives],
            negatives=[_text_source(text) for text in negatives],
            features=_selection(features, include_tail),
            limit=limit,
        )
        message = await self._transport.call("InterpreterService/FindFeatures", request, pb2.FeatureSeparations)
        return Answer(message, "separations")

    async def fit_classifier(
        self,
        positive: str | Sequence[str],
        negative: str | Sequence[str] | None = None,
        *,
        feature_count: int | None = None,
        features: str | None = None,
        include_tail: bool = False,
    ) -> Answer[pb2.FeatureClassifier]:
        """Returns a classifier on a few features that tells documents apart, measured on documents not used for it.

        positive, negative: filters such as `metadata.section = "games"`, or names of documents; without negative ones,
        all other documents. Nothing is stored. Its terms rank documents in a sparse search:
        `data.search("", mode="sparse", run=run, latents={term.feature.index: term.weight for term in answer.terms})`.
        """
        request = pb2.FitClassifierRequest(
            run=self._run,
            positive=_document_set(positive),
            negative=None if negative is None else _document_set(negative),
            features=_selection(features, include_tail),
            feature_count=feature_count,
        )
        message = await self._transport.call("InterpreterService/FitClassifier", request, pb2.FeatureClassifier)
        return Answer(message, "terms")


def _document_set(documents: str | Sequence[str] | None, dataset: str | None = None) -> pb2.DocumentSet:
    name = f"datasets/{dataset.removeprefix('datasets/')}" if dataset else None
    if documents is None or isinstance(documents, str):
        return pb2.DocumentSet(dataset=name, filter=documents)
    return pb2.DocumentSet(dataset=name, documents=documents)


def _text_source(text: str) -> pb2.TextSource:
    return pb2.TextSource(document=text) if _DOCUMENT.fullmatch(text) else pb2.TextSource(text=text)


def _selection(filter: str | None, include_tail: bool) -> pb2.FeatureSelection:
    return pb2.FeatureSelection(filter=filter, include_tail=include_tail)
