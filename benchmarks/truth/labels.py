"""Labels tested on documents that had no part in their making, against documents near those that do not activate.

The services' own division, tests and trust. A label is tested on all active documents for scoring, on the strongest
third of them, and on those above the feature's threshold (that of PRISMA's label, for all labels). `unseen` are active
documents of the test texts, which neither the run nor a label has seen, above the threshold, against the same silent
ones: they show how much a score gains because trust is decided by it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.sae_data import F32
from benchmarks.truth import peers
from benchmarks.truth.interpreted import Interpreted, sampled
from benchmarks.truth.peers import Chat
from benchmarks.truth.records import Reporter, median, paired, summary
from services.interpreter import scoring
from services.interpreter.evidence import Active, Evidence
from services.interpreter.judging import Judge
from services.interpreter.labels import Draft
from services.interpreter.phrase_vectors import unit
from services.interpreter.trust import TRUSTED_SCORE, Trust, trust_of

OWN = "prisma"
CHAT_FEATURES = 40
"""Features that a language model is asked about: each answer takes about a second."""
_CLUSTERS = 200
_CEILING, _FLOOR = "ceiling: decoder", "floor: next feature's label"
_NAMED = tuple(trust for trust in Trust if trust is not Trust.UNNAMED)
_METRICS = [f"{how}, {what}" for what in ("all", "third", "above", "unseen") for how in ("embedding", "words")]

Areas = Mapping[str, float | None]
"""Areas under the curve by what a label was tested on and how; None where there are too few documents."""


async def measured(run: Interpreted, sample: Collection[int], report: Reporter, chat: Chat | None) -> None:
    """Tests PRISMA's and the peers' labels of a sample and of as many trusted features, and k-means clusters."""
    _report_trust(run, report)
    labels = run.features.labels
    trusted = np.array([index for index in sorted(labels) if run.features.trust(index) is Trust.TRUSTED], np.int64)
    judge, evidence = await run.evidence(sorted({*sample, *sampled(trusted, len(sample))}))
    areas = await _areas(run, judge, evidence, chat, report)
    indices = [own.latent for own in evidence]
    sets = {
        "trusted": [run.features.trust(index) is Trust.TRUSTED for index in indices],
        "named": [index in sample and bool(run.features.label_text(index)) for index in indices],
        "all": [index in sample for index in indices],
    }
    for name, is_member in sets.items():
        places = np.flatnonzero(is_member).tolist()
        _report(report, name, {who: [tests[place] for place in places] for who, tests in areas.items()})
    await _report_wrong(run, judge, evidence, report)
    await _report_clusters(run, report)


def best_candidate(draft: Draft) -> str:
    """The label; where the feature was not named, the best of those that were tested, or nothing."""
    if draft.text or draft.scores is None or draft.provenance is None or not draft.provenance.rejected:
        return draft.text
    return draft.provenance.rejected[0].text


def areas_of(judge: Judge, evidence: Evidence, text: str, vector: F32, *, threshold: float) -> Areas:
    """Tests of a label. vector: (d,) of length 1."""
    active = evidence.scoring.active
    third = max(scoring.MIN_DOCUMENTS, -(-len(active) // 3))
    parts = {"all": active, "third": active.take(np.arange(len(active)) < third), "above": active.above(threshold)}
    areas: dict[str, float | None] = {}
    for name, part in parts.items():
        scores = judge.scores(_scored_on(evidence, part), text, vector)
        areas[f"embedding, {name}"] = scores.embedding_hard.auc if scores.embedding_hard else None
        areas[f"words, {name}"] = scores.words_hard.auc if scores.words_hard else None
    return areas


async def _areas(
    run: Interpreted, judge: Judge, evidence: Sequence[Evidence], chat: Chat | None, report: Reporter
) -> dict[str, list[Areas]]:
    """What tests gave, by who wrote the labels, in the order of the evidence."""
    drafts = [run.features.labels[own.latent].draft for own in evidence]
    labels: dict[str, Sequence[str]] = {
        OWN: [best_candidate(draft) for draft in drafts],
        "c-TF-IDF": [peers.c_tf_idf(judge, own) for own in evidence],
        "KeyBERT": await peers.keybert(run, judge, evidence),
    }
    labels[_FLOOR] = [*labels[OWN][1:], *labels[OWN][:1]]
    if chat is not None:
        texts = dict(enumerate(run.corpus.texts))
        answers = [await chat.label(texts, own) or "" for own in evidence[:CHAT_FEATURES]]
        labels["HypotheSAEs' recipe"] = answers
        report.add("HypotheSAEs' recipe", {"asked": len(answers), "answered": sum(map(bool, answers))}, unit="features")
    areas: dict[str, list[Areas]] = {}
    unseen = _Unseen(run)
    for who, texts in labels.items():
        vectors = unit(await run.corpus.embedder.embed(texts))
        areas[who] = [{} for _ in evidence]
        for place, (own, text, vector) in enumerate(zip(evidence, texts, vectors, strict=False)):
            if text:
                threshold = run.features.threshold(own.latent) or 0.0
                tests = areas_of(judge, own, text, vector, threshold=threshold)
                areas[who][place] = {**tests, "embedding, unseen": unseen.area(judge, own, vector, threshold)}
    decoder = await run.source.decoder(run.features.run, [own.latent for own in evidence])
    areas[_CEILING] = [
        {
            f"embedding, {name}": judge.auc(own, direction, threshold)
            for name, threshold in {"all": None, "above": run.features.threshold(own.latent)}.items()
        }
        for own, direction in zip(evidence, decoder.detectors, strict=True)
    ]
    return areas


class _Unseen:
    """The test texts' activations."""

    def __init__(self, run: Interpreted) -> None:
        self._vectors = unit(run.corpus.test_vectors)
        self._indices, self._values = run.source.encode(run.corpus.test_vectors)

    def area(self, judge: Judge, evidence: Evidence, vector: F32, threshold: float) -> float | None:
        """By embedding, of test texts in which the feature reaches the threshold; None for fewer than five."""
        reached = ((self._indices == evidence.latent) & (self._values >= threshold)).any(axis=1)
        if reached.sum() < scoring.MIN_DOCUMENTS or len(evidence.scoring.hard) < scoring.MIN_DOCUMENTS:
            return None
        active, silent = self._vectors[reached] @ vector, judge.vectors.of(evidence.scoring.hard) @ vector
        return scoring.auc(active.astype(np.float64), silent.astype(np.float64))


def _scored_on(evidence: Evidence, active: Active) -> Evidence:
    return replace(evidence, scoring=replace(evidence.scoring, active=active))


def _report(report: Reporter, features: str, areas: Mapping[str, Sequence[Areas]]) -> None:
    """Medians of each subject's areas, and PRISMA's paired with the others'. features: which they are."""
    for metric in _METRICS:
        for who, tests in areas.items():
            values = [test.get(metric) for test in tests]
            if all(value is None for value in values):
                continue
            report.add(who, summary(values), about=f"{features}, {metric}: ")
            if OWN in areas and who not in (OWN, _CEILING, _FLOOR):
                own = [test.get(metric) for test in areas[OWN]]
                report.add(f"{OWN} - {who}", paired(own, values), about=f"{features}, {metric}: ")


def _report_trust(run: Interpreted, report: Reporter) -> None:
    """Of all labelled features: how many are trusted, named and not; the scores as the product shows them."""
    features = run.features
    indices = sorted(features.labels)
    trusts = {index: features.trust(index) for index in indices}
    counts = {trust.lower(): float(sum(value is trust for value in trusts.values())) for trust in Trust}
    report.add(OWN, {"labelled": float(len(indices)), **counts}, unit="features")
    for name, kinds in {"trusted": (Trust.TRUSTED,), "named": _NAMED}.items():
        scores = [score for index in indices if trusts[index] in kinds and (score := features.score(index))]
        report.add(OWN, summary([score.auc for score in scores]), about=f"all {name}, score shown: ")
        below = sum(score.low < TRUSTED_SCORE for score in scores)
        report.add(OWN, {f"{name} with a lower end below {TRUSTED_SCORE}": float(below)}, unit="features")


async def _report_wrong(run: Interpreted, judge: Judge, evidence: Sequence[Evidence], report: Reporter) -> None:
    """Whether the next feature's label would be trusted."""
    texts = [best_candidate(run.features.labels[own.latent].draft) for own in evidence]
    texts = [*texts[1:], *texts[:1]]
    vectors = unit(await run.corpus.embedder.embed(texts))
    scores = [judge.scores(own, text, vector) for own, text, vector in zip(evidence, texts, vectors, strict=True)]
    trusts = [
        trust_of(text, tested, run.features.stability(own.latent))
        for own, text, tested in zip(evidence, texts, scores, strict=True)
    ]
    report.add("wrong label", median([tested.score.auc for tested in scores if tested.score]), about="score: ")
    report.add("wrong label", {"trusted": float(trusts.count(Trust.TRUSTED))}, unit="features")


async def _report_clusters(run: Interpreted, report: Reporter) -> None:
    """k-means clusters, as many as live features, with c-TF-IDF labels."""
    clusters = await peers.clustered(run, run.features.live_count)
    live = np.flatnonzero(clusters.features.statistics.active_count)
    indices = np.sort(np.random.default_rng(6).permutation(live)[:_CLUSTERS]).tolist()
    judge, evidence = await clusters.evidence(indices)
    texts = [peers.c_tf_idf(judge, own) for own in evidence]
    vectors = unit(await run.corpus.embedder.embed(texts))
    tests = [
        areas_of(judge, own, text, vector, threshold=judge.scores(own, text, vector).threshold or 0.0)
        for own, text, vector in zip(evidence, texts, vectors, strict=True)
        if text
    ]
    _report(report, "clusters", {"k-means, c-TF-IDF": tests})
