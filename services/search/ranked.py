"""Ranked documents of several datasets, with the parts of their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from services.search.backend import Latents, Rows, Scores
from services.search.fusion import Part

_SCORE_DECIMALS = 12


@dataclass(frozen=True)
class Documents:
    """(C,) documents of several datasets, in any order: places of their datasets, and rows."""

    datasets: NDArray[np.intp]
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: NDArray[np.intp]) -> Documents:
        """The documents at these places."""
        return Documents(self.datasets[places], self.rows[places])


@dataclass(frozen=True)
class SteeredDocuments:
    """How (C,) documents were moved by (L,) latents."""

    latents: Latents
    activations: Scores
    """(C, L); NaN for a document without a code."""
    contributions: Scores
    """(C, L): what each latent adds to each score."""
    unsteered_ranks: NDArray[np.int64]
    """(C,) from 1: ranks without steering; 0 for documents that only steering brings in."""
    silent_latents: Sequence[int]
    """Those that are active nowhere in the index."""

    def take(self, places: NDArray[np.intp]) -> SteeredDocuments:
        """The documents at these places."""
        return SteeredDocuments(
            latents=self.latents,
            activations=self.activations[places],
            contributions=self.contributions[places],
            unsteered_ranks=self.unsteered_ranks[places],
            silent_latents=self.silent_latents,
        )


@dataclass(frozen=True)
class Ranking:
    """(C,) documents of several datasets, the best first, with the parts of their scores."""

    documents: Documents
    scores: Scores
    parts: Sequence[Part]
    contributions: Scores
    """(P, C)."""
    total: int
    steered: SteeredDocuments | None = None
    """None where the search is not steered."""
    hidden_count: int = 0
    """Passages that are left out, as better ones of their documents are hits."""

    def take(self, places: NDArray[np.intp]) -> Ranking:
        """The documents at these places."""
        return replace(
            self,
            documents=self.documents.take(places),
            scores=self.scores[places],
            parts=[Part(part.name, part.scores[places], part.ranks[places], part.weight) for part in self.parts],
            contributions=self.contributions[:, places],
            steered=self.steered.take(places) if self.steered else None,
        )


def documents_of(rows: Sequence[Rows]) -> Documents:
    """The rows of several datasets as one list."""
    datasets = np.repeat(np.arange(len(rows)), [len(part) for part in rows])
    return Documents(datasets, np.concatenate([np.empty(0, np.uint64), *rows]))


def ranks(documents: Documents, scores: Scores, candidates: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """(C,) ranks from 1, ties by dataset and row; 0 for documents that are not among the candidates."""
    result = np.zeros(len(scores), dtype=np.int64)
    places = np.arange(len(scores)) if candidates is None else np.flatnonzero(candidates)
    order = np.lexsort((documents.rows[places], documents.datasets[places], -scores[places]))
    result[places[order]] = np.arange(1, len(places) + 1)
    return result


def sums(contributions: Scores) -> Scores:
    """(C,) scores of (P, C) contributions."""
    return contributions.sum(axis=0).round(_SCORE_DECIMALS)


def ranking(
    documents: Documents,
    parts: Sequence[Part],
    contributions: Scores,
    total: int,
    *,
    steered: SteeredDocuments | None = None,
) -> Ranking:
    """Documents in order, ties by dataset and row. contributions: (P, C)."""
    scores = sums(contributions)
    order = np.lexsort((documents.rows, documents.datasets, -scores))
    return Ranking(
        documents=documents.take(order),
        scores=scores[order],
        parts=[Part(part.name, part.scores[order], part.ranks[order], part.weight) for part in parts],
        contributions=contributions[:, order],
        total=total,
        steered=steered.take(order) if steered else None,
    )
