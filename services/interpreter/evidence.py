"""The documents that speak for or against a label, divided so that none that led to a label also judges it.

The activating documents of a latent are divided once into three parts: labels are written from the first, one of
several is chosen by the second, and the chosen one is scored on the third. The division depends on the rows alone, and
each decile of activations is divided in the same proportion. Of near-duplicates, only the strongest counts: they have
one vote, and as the others are in no part, they cannot carry words from one part to another. Documents that do not
activate the latent are divided likewise, without near-duplicates of those that do.

A label may have been made with other documents than a later division would have given it: it comes from a different
run, or the statistics are newer than the label. What it was made with, and near-duplicates of that, then tests nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.chassis.near_duplicates import Signatures, groups, mixed, signatures

WRITING, CHOOSING, SCORING = range(3)
_ACTIVE_PARTS = np.array([0, 2, 0, 1, 0, 2, 0, 1, 0, 2])
"""Half for writing, a fifth for choosing, three tenths for scoring."""
_SILENT_PARTS = np.array([2, 1, 2, 1, 2])
"""Two fifths for choosing, three fifths for scoring."""
DECILES = 10

Rows = NDArray[np.uint64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Documents of one latent, as its statistics have them."""

    top_rows: Rows
    """(t,) the strongest first."""
    top_values: Floats
    """(t,)."""
    sample_rows: Rows
    """(s,) at equal steps through the ranking of all active rows, from the strongest to the weakest."""
    sample_values: Floats
    """(s,)."""
    hard_rows: Rows
    """Silent rows near the active ones."""
    random_rows: Rows
    """Silent rows at random."""

    @property
    def rows(self) -> Rows:
        """All of them, rising."""
        return np.unique(np.concatenate([self.top_rows, self.sample_rows, self.hard_rows, self.random_rows]))

    def among(self, rows: Rows) -> Sources:
        """Those that are among some rows."""
        top, sample = np.isin(self.top_rows, rows), np.isin(self.sample_rows, rows)
        return Sources(
            top_rows=self.top_rows[top],
            top_values=self.top_values[top],
            sample_rows=self.sample_rows[sample],
            sample_values=self.sample_values[sample],
            hard_rows=self.hard_rows[np.isin(self.hard_rows, rows)],
            random_rows=self.random_rows[np.isin(self.random_rows, rows)],
        )


@dataclass(frozen=True, kw_only=True)
class Active:
    """Documents that activate a latent, the strongest first."""

    rows: Rows
    activations: Floats
    deciles: NDArray[np.int64]
    """0 for the strongest tenth of all active rows … 9."""

    def __len__(self) -> int:
        return len(self.rows)

    def above(self, threshold: float) -> Active:
        """Those with at least this activation."""
        return self.take(self.activations >= threshold)

    def take(self, mask: NDArray[np.bool_]) -> Active:
        """Some of them."""
        return Active(rows=self.rows[mask], activations=self.activations[mask], deciles=self.deciles[mask])


@dataclass(frozen=True, kw_only=True)
class Part:
    """Documents that a label is chosen by, or scored on."""

    active: Active
    """A sample of all active rows."""
    hard: Rows
    """Silent rows near active ones."""
    random: Rows
    """Silent rows at random."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The documents of one latent, divided."""

    latent: int
    density: float
    writing: Active
    """The strongest documents are in it besides the sample."""
    choosing: Part
    scoring: Part
    duplicate_count: int
    """Active documents that have no vote, as they are near-duplicates of stronger ones."""

    @property
    def rows(self) -> Rows:
        """All rows of all parts, rising."""
        parts = [self.writing.rows]
        for part in (self.choosing, self.scoring):
            parts += [part.active.rows, part.hard, part.random]
        return np.unique(np.concatenate(parts))


@dataclass(frozen=True, kw_only=True)
class SeenDocuments:
    """Documents that a label was made with, by their signatures."""

    writing: Signatures
    """(w, 32) what it was written from: in no part that chooses or scores."""
    choosing: Signatures
    """(c, 32) what it was chosen by: not in the part that scores."""


NOTHING_SEEN = SeenDocuments(writing=signatures([]), choosing=signatures([]))


def divide(
    latent: int,
    density: float,
    sources: Sources,
    signatures: Signatures,
    *,
    seen_documents: SeenDocuments = NOTHING_SEEN,
) -> Evidence:
    """Divides the documents of a latent. signatures: of `sources.rows`. seen_documents: by the label that is tested."""
    rows = sources.rows
    numbers = groups(np.concatenate([signatures, seen_documents.writing, seen_documents.choosing])).tolist()
    group_of = dict(zip(rows.tolist(), numbers, strict=False))
    written = set(numbers[len(rows) : len(rows) + len(seen_documents.writing)])
    barred = {CHOOSING: written, SCORING: {*written, *numbers[len(rows) + len(seen_documents.writing) :]}}
    active, is_sampled, duplicate_count = _active(sources, group_of)
    order = np.lexsort((_hash(active.rows), active.deciles))
    parts = np.empty(len(order), np.int64)
    parts[order] = _ACTIVE_PARTS[np.arange(len(order)) % len(_ACTIVE_PARTS)]
    in_use = {group_of[row] for row in active.rows.tolist()}
    hard = _silent(sources.hard_rows, group_of, in_use)
    random = _silent(sources.random_rows, group_of, in_use)

    def part(number: int) -> Part:
        def unseen(rows: Rows) -> NDArray[np.bool_]:
            return np.array([group_of[row] not in barred[number] for row in rows.tolist()], bool)

        own, near, other = active.take((parts == number) & is_sampled), hard[number], random[number]
        return Part(active=own.take(unseen(own.rows)), hard=near[unseen(near)], random=other[unseen(other)])

    return Evidence(
        latent=latent,
        density=density,
        writing=active.take(parts == WRITING),
        choosing=part(CHOOSING),
        scoring=part(SCORING),
        duplicate_count=duplicate_count,
    )


def _active(sources: Sources, group_of: dict[int, int]) -> tuple[Active, NDArray[np.bool_], int]:
    """The active documents with a vote, which of them are of the sample, and how many have none."""
    rows, first = np.unique(np.concatenate([sources.top_rows, sources.sample_rows]), return_index=True)
    values = np.concatenate([sources.top_values, sources.sample_values]).astype(np.float64)[first]
    order = np.lexsort((rows, -values))
    rows, values = rows[order], values[order]
    _, strongest = np.unique([group_of[row] for row in rows.tolist()], return_index=True)
    votes = np.sort(strongest)
    falling = -np.sort(-sources.sample_values.astype(np.float64))
    ranks = np.searchsorted(-falling, -values[votes])
    deciles = np.minimum(DECILES - 1, ranks * DECILES // max(1, len(falling)))
    active = Active(rows=rows[votes], activations=values[votes], deciles=deciles)
    return active, np.isin(active.rows, sources.sample_rows), len(rows) - len(votes)


def _silent(rows: Rows, group_of: dict[int, int], in_use: set[int]) -> dict[int, Rows]:
    """Rows by part, one of each group, none of a group in use; adds theirs to those in use."""
    votes: list[int] = []
    for row in rows.tolist():
        if group_of[row] not in in_use:
            in_use.add(group_of[row])
            votes.append(row)
    single = np.array(votes, np.uint64)
    order = np.argsort(_hash(single), kind="stable")
    parts = np.empty(len(order), np.int64)
    parts[order] = _SILENT_PARTS[np.arange(len(order)) % len(_SILENT_PARTS)]
    return {number: single[parts == number] for number in (CHOOSING, SCORING)}


def _hash(rows: Rows) -> NDArray[np.uint64]:
    return mixed(rows + np.uint64(0x9E3779B97F4A7C15))
