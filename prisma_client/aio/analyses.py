"""Analyses that are based on a run's features: by default on those that are trusted."""

from __future__ import annotations

import re
from collections.abc import Sequence

from prisma.interpreter.v1 import analyses_pb2 as pb2
from prisma_client.aio.transport import Transport

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
    ) -> pb2.SentenceAttribution:
        """Returns which sentences of a text carry its features.

        Contributions (what a feature loses without each sentence) and remainder add up to the activation.
        indices: these features instead of the strongest ones.
        """
        request = pb2.AttributeSentencesRequest(
            run=self._run, text=text, features=_selection(features, include_tail), indices=indices, limit=limit
        )
        return await self._transport.call("InterpreterService/AttributeSentences", request, pb2.SentenceAttribution)

    async def explain_similarity(
        self,
        first: str,
        second: str,
        *,
        limit: int | None = None,
        features: str | None = None,
        include_tail: bool = False,
    ) -> pb2.SimilarityExplanation:
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
        return await self._transport.call("InterpreterService/ExplainSimilarity", request, pb2.SimilarityExplanation)


def _text_source(text: str) -> pb2.TextSource:
    return pb2.TextSource(document=text) if _DOCUMENT.fullmatch(text) else pb2.TextSource(text=text)


def _selection(filter: str | None, include_tail: bool) -> pb2.FeatureSelection:
    return pb2.FeatureSelection(filter=filter, include_tail=include_tail)
