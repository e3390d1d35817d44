"""Names of families, tested as the labels of features are.

A family is active in a document where one of its features reaches its threshold, as strongly as these features
together. Its name is written from a part of these documents, chosen by another and scored on a third, against similar
documents in which none of its features is active at all. A name must be mentioned, by at least 5 percentage points more
than in similar documents, in documents of at least half of the features: an embedding that knows spellings finds a name
for whatever looks alike. Labels of its features are no candidates: documents for scoring may have led to them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from prisma_common import wire
from services.chassis.threads import in_thread
from services.interpreter import naming, topics
from services.interpreter.evidence import Evidence, Sources
from services.interpreter.evidence_reader import EvidenceReader
from services.interpreter.families import Family, FamilyLabel
from services.interpreter.features import Features
from services.interpreter.judging import Judge, Vector
from services.interpreter.labellers import LabelSource
from services.interpreter.naming import Verdict
from services.interpreter.phrase_vectors import PhraseVectors, unit
from services.interpreter.runs import Run
from services.interpreter.topics import Topic

BATCH = 32
"""Families whose documents are read at once."""
_ACTIVE_ROWS = 300
"""Documents of a family, about so many at most, of each of its features as many; …"""
_TOP_ROWS = 60
"""… besides the strongest of them; …"""
_SILENT_ROWS = 240
"""… and silent ones of either kind."""
_MIN_ROWS = 2
"""Of each feature, however many there are."""
_MIN_COVERED = 0.5
"""At least so large a share of a family's features have documents that mention its name: …"""
_MIN_MENTIONS = 0.05
"""… at least so much larger a share of them than of similar documents."""

Rows = NDArray[np.uint64]
Floats = NDArray[np.float64]


class FamilySource(LabelSource, Protocol):
    """What is read from the embedder and the trainer."""

    def codes(self, run: Run) -> AsyncIterator[wire.Codes]:
        """All codes of a run."""
        ...

    async def raw_vectors(self, run: Run, rows: Rows) -> tuple[Rows, NDArray[np.float32]]:
        """Those of some rising rows that have a vector (m,), and their vectors (m, d)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How many features of a family have documents for scoring that mention a name more often than similar ones."""

    covered: int
    tested: int
    """Features with documents for scoring."""

    @property
    def suffices(self) -> bool:
        """Whether the name stands for the family."""
        return self.tested > 0 and self.covered >= _MIN_COVERED * self.tested


CoverageOf: TypeAlias = Callable[[Verdict], Coverage]
"""That of a family by the best name."""


class FamilyNames:
    """Names families. All methods raise what the source raises."""

    def __init__(self, source: FamilySource, reader: EvidenceReader) -> None:
        self._source = source
        self._reader = reader

    async def named(
        self, features: Features, families: Sequence[Family], thresholds: Floats
    ) -> AsyncGenerator[Sequence[Family]]:
        """Families with their names, or with the reason why they have none, some at a time.

        thresholds: (n,) the activations from which features count as active.
        """
        if not families:
            return
        vectors = PhraseVectors(self._source, features.run)
        texts_in_use: set[str] = set()
        densities = await self._densities(features, families, thresholds)
        for start in range(0, len(families), BATCH):
            batch = families[start : start + BATCH]
            sources, rows, reached = await self._sources(features, batch, thresholds)
            judge, evidence = await self._reader.divided(
                features.run,
                [(family.root, float(densities[start + place]), sources[place]) for place, family in enumerate(batch)],
            )
            directions = await self._directions(features.run, batch)
            coverages = [
                partial(coverage_by, judge=judge, reached=sparse.csr_array(reached[:, family.indices]), rows=rows)
                for family in batch
            ]
            subjects = [
                _topic(family, own, direction, coverage_of)
                for family, own, direction, coverage_of in zip(batch, evidence, directions, coverages, strict=True)
            ]
            verdicts = await topics.verdicts(subjects, judge, vectors, texts_in_use)
            labels = await in_thread(partial(_labels, verdicts, coverages))
            texts_in_use.update(label.text for label in labels)
            yield [replace(family, label=label) for family, label in zip(batch, labels, strict=True)]

    async def _densities(self, features: Features, families: Sequence[Family], thresholds: Floats) -> Floats:
        """(f,) the share of rows in which each family is active."""
        memberships = _memberships(features.count, families)
        counts = np.zeros(len(families), np.int64)

        def add(codes: wire.Codes) -> None:
            active = _matrix(codes.at_least(thresholds)) @ memberships
            np.add.at(counts, active.tocoo().coords[1], 1)

        async for codes in self._source.codes(features.run):
            await in_thread(add, codes)
        return counts / max(1, features.statistics.row_count)

    async def _sources(
        self, features: Features, families: Sequence[Family], thresholds: Floats
    ) -> tuple[Sequence[Sources], Rows, sparse.csr_array]:
        """The documents of families, by what their codes say of them; all of these rows, (m,) rising, and (m, n) codes.

        Codes are from the thresholds on.
        """
        candidates = [_candidates(features, family) for family in families]
        rows = np.unique(np.concatenate([source.rows for source in candidates]))
        rows, vectors = await self._source.raw_vectors(features.run, rows)
        codes = await self._source.codes_of(features.run, vectors)

        reached = _matrix(codes.at_least(thresholds))

        def by_codes() -> list[Sources]:
            memberships = _memberships(features.count, families)
            strength = (reached @ memberships).toarray()
            contact = (_matrix(codes) @ memberships).toarray()
            return [
                _by_codes(source, rows, strength[:, place], contact[:, place])
                for place, source in enumerate(candidates)
            ]

        return await in_thread(by_codes), rows, reached

    async def _directions(self, run: Run, families: Sequence[Family]) -> NDArray[np.float32]:
        """(f, d) the mean detector of each family's features, of length 1."""
        indices = sorted({index for family in families for index in family.indices})
        detectors = (await self._source.decoder(run, indices)).detectors
        return unit(np.stack([detectors[np.searchsorted(indices, family.indices)].mean(axis=0) for family in families]))


def _matrix(codes: wire.Codes) -> sparse.csr_array:
    """(m, n)."""
    return sparse.csr_array((codes.values, codes.indices, codes.indptr), shape=(len(codes), codes.latent_count))


def _memberships(latent_count: int, families: Sequence[Family]) -> sparse.csr_array:
    """(n, f) 1 where a latent belongs to a family."""
    latents = np.concatenate([family.indices for family in families])
    columns = np.repeat(np.arange(len(families)), [len(family.members) for family in families])
    return sparse.csr_array((np.ones(len(latents), np.float32), (latents, columns)), (latent_count, len(families)))


def _candidates(features: Features, family: Family) -> Sources:
    """Documents that may be active or silent, as many of each feature, with values of 0 until codes are read."""
    sources = [features.sources(index) for index in family.indices]

    def share(limit: int) -> int:
        return max(_MIN_ROWS, limit // len(sources))

    top = np.unique(np.concatenate([source.top_rows[: share(_TOP_ROWS)] for source in sources]))
    sample, hard, random = (
        np.unique(np.concatenate([_spread(rows, share(limit)) for rows in parts]))
        for limit, parts in (
            (_ACTIVE_ROWS, [source.sample_rows for source in sources]),
            (_SILENT_ROWS, [source.hard_rows for source in sources]),
            (_SILENT_ROWS, [source.random_rows for source in sources]),
        )
    )
    return Sources(
        top_rows=top,
        top_values=np.zeros(len(top)),
        sample_rows=sample,
        sample_values=np.zeros(len(sample)),
        hard_rows=hard,
        random_rows=random,
    )


def _spread(rows: Rows, limit: int) -> Rows:
    """At most so many, at equal steps."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(limit, len(rows))).round().astype(np.int64))]


def _by_codes(candidates: Sources, rows: Rows, strength: Floats, contact: Floats) -> Sources:
    """Candidates divided by what their codes say: active, with the family's activation, or silent.

    rows: (m,) rising. strength: (m,) a family's activation. contact: (m,) likewise, activations below thresholds too.
    """
    active, silent = rows[strength > 0], rows[contact == 0]

    def falling(part: Rows) -> tuple[Rows, Floats]:
        own = np.intersect1d(part, active)
        values = strength[np.searchsorted(rows, own)].astype(np.float64)
        order = np.lexsort((own, -values))
        return own[order], values[order]

    top_rows, top_values = falling(candidates.top_rows)
    sample_rows, sample_values = falling(candidates.sample_rows)
    return Sources(
        top_rows=top_rows,
        top_values=top_values,
        sample_rows=sample_rows,
        sample_values=sample_values,
        hard_rows=np.intersect1d(candidates.hard_rows, silent),
        random_rows=np.intersect1d(candidates.random_rows, silent),
    )


def _topic(family: Family, evidence: Evidence, direction: Vector, coverage_of: CoverageOf) -> Topic:
    """A family as what is named: a name that covers too few of its features is none."""
    return Topic(
        evidence=evidence,
        latents=family.indices,
        direction=direction,
        max_density=1.0,
        accepts=lambda verdict: coverage_of(verdict).suffices,
    )


def _labels(verdicts: Sequence[Verdict], coverages: Sequence[CoverageOf]) -> list[FamilyLabel]:
    """What is said of families."""
    return [label_of(verdict, coverage_of(verdict)) for verdict, coverage_of in zip(verdicts, coverages, strict=True)]


def label_of(verdict: Verdict, coverage: Coverage) -> FamilyLabel:
    """What is said of a family, of whose features the best name covers some."""
    text, description = naming.text_and_description(verdict)
    if text and not coverage.suffices:
        text, description = "", _uncovered(text, coverage)
    return FamilyLabel(text=text, description=description, density=verdict.evidence.density, scores=verdict.scores)


def _uncovered(text: str, coverage: Coverage) -> str:
    """Why a name that passed its test is none."""
    return (
        f"Not named: the best candidate, “{text}”, is mentioned clearly more often than in similar documents for only "
        f"{coverage.covered} of its {coverage.tested} features that have held-out documents."
    )


def coverage_by(verdict: Verdict, judge: Judge, reached: sparse.csr_array, rows: Rows) -> Coverage:
    """That of a family by its best name: of how many features documents mention it.

    reached: (m, f) the activations of the family's features from their thresholds on, in documents `rows`, rising.
    """
    if verdict.winner is None:
        return Coverage(covered=0, tested=0)
    own, text = verdict.evidence.scoring.active.rows, verdict.winner.candidate.text
    active = reached[np.searchsorted(rows, own)].toarray() > 0
    active = active[:, active.any(axis=0)]
    mentions = judge.mentions(own, text)
    near = verdict.evidence.scoring.hard
    least = _MIN_MENTIONS + (judge.mentions(near, text).mean() if len(near) else 0.0)
    shares = (active & mentions[:, None]).sum(axis=0) / active.sum(axis=0)
    return Coverage(covered=int((shares >= least).sum()), tested=len(shares))
