"""The choice among candidates, and what is said of the chosen one: a tested label, or that there is none."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from prisma_common.label_texts import MAX_TEXT
from services.interpreter import tokens
from services.interpreter.candidates import Candidate
from services.interpreter.evidence import Evidence
from services.interpreter.judging import Judge, Vector
from services.interpreter.keywords import Keyword
from services.interpreter.labels import KEYWORDS, Draft, Options, Provenance, Rejected, Source
from services.interpreter.scoring import Scores
from services.interpreter.trust import FLOOR

DENSE = 0.2
"""A latent that is active in a larger share of documents is not named: it stands for no narrow topic."""
_ALMOST = 0.02
"""A candidate that is worse by less is chosen where the better one is already the label of a different feature."""
_LENGTH_COST = 0.025
"""What a candidate must be better by for each further phrase."""
_USUAL_SHARE = 0.85
"""Of the documents that mention a phrase, so many mention the longer one that replaces it."""
_MIN_ADDED_SHARE = 0.15
"""Of the documents for choosing, so many mention each further phrase of a label and no other one."""
_STATED_PHRASES = 3
_MAX_REJECTED = 12


@dataclass(frozen=True)
class Contender:
    """A candidate with its embedding, and how good it is on the documents for choosing."""

    candidate: Candidate
    vector: Vector | None
    choice: float


@dataclass(frozen=True)
class Mentions:
    """How many documents for scoring mention a text."""

    text: str
    active_count: int
    """Active ones from the label's threshold on."""
    silent_count: int
    """Hard silent ones."""


@dataclass(frozen=True)
class Verdict:
    """What is said of a latent."""

    evidence: Evidence
    winner: Contender | None
    scores: Scores | None
    """Of the winner."""
    rejected: Sequence[Contender]
    keywords: Sequence[str]
    mentions: Sequence[Mentions]
    """Of the winner, then of its phrases where it has several; none where nothing was tested."""
    dense: bool = False
    """Whether nothing was tested, as the topic is active in too many documents."""

    @property
    def named(self) -> bool:
        """Whether the winner passed the test."""
        score = self.scores.score if self.scores else None
        return score is not None and score.low >= FLOOR


def refined(
    judge: Judge, evidence: Evidence, shortlist: Sequence[Candidate], phrases: Sequence[Keyword]
) -> list[Candidate]:
    """Candidates of whole phrases, each of which has documents of its own; none twice.

    A longer phrase replaces a shorter one where nearly all documents that mention the shorter one mention it (“larry
    wall” for “wall”). A further phrase is dropped where hardly any document for choosing mentions it and no other one.
    phrases: those that speak for the latent.
    """
    rows = np.concatenate([evidence.choosing.active.rows, evidence.writing.rows])
    choosing_count = len(evidence.choosing.active)
    mentions: dict[str, NDArray[np.bool_]] = {}

    def mentioning(phrase: str) -> NDArray[np.bool_]:
        if phrase not in mentions:
            mentions[phrase] = judge.mentions(rows, phrase)
        return mentions[phrase]

    def whole(phrase: str) -> str:
        longer = [other.text for other in phrases if tokens.contains(other.term, phrase.lower())]
        least = max(1, _USUAL_SHARE * mentioning(phrase).sum())
        usual = [other for other in longer if mentioning(other).sum() >= least]
        return max(usual, key=lambda other: (len(other.split()), mentioning(other).sum()), default=phrase)

    result: dict[str, Candidate] = {}
    for candidate in shortlist:
        parts = list(dict.fromkeys(whole(phrase) for phrase in candidate.text.split(", ")))
        for phrase in reversed(parts[1:]):
            remaining = np.logical_or.reduce([mentioning(other) for other in parts if other != phrase])
            added = (mentioning(phrase) & ~remaining)[:choosing_count]
            if added.sum() < _MIN_ADDED_SHARE * choosing_count:
                parts.remove(phrase)
        text = ", ".join(parts)
        result.setdefault(text, Candidate(text, candidate.origin))
    return list(result.values())


def contenders(
    judge: Judge, evidence: Evidence, shortlist: Sequence[Candidate], vectors: NDArray[np.float32] | None
) -> list[Contender]:
    """Candidates, the best first. vectors: (m, d) of their texts, of length 1; None if texts cannot be embedded."""
    rated: list[Contender] = []
    for number, candidate in enumerate(shortlist):
        vector = None if vectors is None else vectors[number]
        length_cost = _LENGTH_COST * candidate.text.count(", ")
        rated.append(Contender(candidate, vector, judge.choice(evidence, candidate.text, vector) - length_cost))
    return sorted(rated, key=lambda contender: (-contender.choice, contender.candidate.text))


def verdict(
    judge: Judge,
    evidence: Evidence,
    *,
    contenders: Sequence[Contender],
    keywords: Sequence[str],
    texts_in_use: Collection[str],
    direction: Vector,
    max_density: float = DENSE,
) -> Verdict:
    """The test of the best contender; of a topic with a higher density, nothing is tested. direction: of the topic."""
    dense = evidence.density > max_density
    if dense or not contenders:
        return Verdict(
            evidence=evidence,
            winner=None,
            scores=None,
            rejected=contenders,
            keywords=keywords,
            mentions=[],
            dense=dense,
        )
    best = contenders[0]
    spare = (
        contender
        for contender in contenders
        if contender.candidate.text not in texts_in_use and contender.choice >= best.choice - _ALMOST
    )
    winner = next(spare, best)
    scores = judge.scores(evidence, winner.candidate.text, winner.vector)
    ceiling = judge.auc(evidence, direction, scores.threshold)
    text = winner.candidate.text
    phrases = text.split(", ")[:_STATED_PHRASES] if ", " in text else []
    mentions = [Mentions(part, *judge.counts(evidence, part, scores.threshold)) for part in (text, *phrases)]
    return Verdict(
        evidence=evidence,
        winner=winner,
        scores=replace(scores, ceiling=ceiling),
        rejected=[contender for contender in contenders if contender is not winner],
        keywords=keywords,
        mentions=mentions,
    )


def with_floors(judge: Judge, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts with what the label of the next latent would have scored."""
    tested = [place for place, item in enumerate(verdicts) if item.scores and item.winner]
    result = list(verdicts)
    for number, place in enumerate(tested):
        item, next_item = verdicts[place], verdicts[tested[(number + 1) % len(tested)]]
        if next_item is item or next_item.winner is None or next_item.winner.vector is None or item.scores is None:
            continue
        floor = judge.auc(item.evidence, next_item.winner.vector, item.scores.threshold)
        result[place] = replace(item, scores=replace(item.scores, floor=floor))
    return result


def draft(verdict: Verdict, options: Options) -> Draft:
    """The label of a latent, or the answer that it has none."""
    named = verdict.named
    text, description = text_and_description(verdict)
    return Draft(
        index=verdict.evidence.latent,
        text=text,
        description=description,
        source=Source.KEYWORDS,
        model=KEYWORDS,
        keywords=tuple(verdict.keywords),
        options=options,
        positive_rows=tuple(verdict.evidence.writing.rows[:50].tolist()),
        scores=verdict.scores,
        provenance=provenance(
            verdict.evidence,
            origin=verdict.winner.candidate.origin if verdict.winner and named else None,
            rejected=verdict.rejected if named or not verdict.winner else [verdict.winner, *verdict.rejected],
        ),
    )


def text_and_description(verdict: Verdict) -> tuple[str, str]:
    """The name and what speaks for it; no name and the reason why there is none."""
    if verdict.named and verdict.winner is not None:
        return verdict.winner.candidate.text[:MAX_TEXT], _evidence(verdict)
    return "", _reason(verdict)


def provenance(evidence: Evidence, *, origin: str | None, rejected: Sequence[Contender] = ()) -> Provenance:
    """What a label was made and tested with."""
    return Provenance(
        origin=origin,
        rejected=tuple(
            Rejected(
                text=contender.candidate.text, origin=contender.candidate.origin, choice=round(contender.choice, 4)
            )
            for contender in rejected[:_MAX_REJECTED]
        ),
        writing_rows=tuple(evidence.writing.rows.tolist()),
        choosing_rows=tuple(evidence.choosing.active.rows.tolist()),
        scoring_rows=tuple(evidence.scoring.active.rows.tolist()),
        hard_rows=tuple(evidence.scoring.hard.tolist()),
        choosing_silent_rows=(*evidence.choosing.hard.tolist(), *evidence.choosing.random.tolist()),
    )


def percent(share: float) -> str:
    """A share as people read it."""
    if share == 0:
        return "none"
    if share < 0.0001:
        return "< 0.01 %"
    digits = 2 if share < 0.01 else 1 if share < 0.1 else 0
    return f"{share * 100:.{digits}f} %"


def _evidence(verdict: Verdict) -> str:
    """What speaks for a label, in counts of documents that had no part in its making."""
    evidence, threshold = verdict.evidence, verdict.scores.threshold if verdict.scores else None
    active, silent_count = evidence.scoring.active, len(evidence.scoring.hard)
    label, *phrases = verdict.mentions
    count = len(active.above(threshold or 0))
    sentences = [f"Active in {percent(evidence.density)} of documents."]
    if threshold is not None:
        sentences.append(f"{count} of {len(active)} held-out documents that activate it reach its threshold.")
    if label.active_count:
        documents = f"of these {count}" if threshold is not None else f"of {count} held-out documents that activate it"
        parts = [f"“{phrase.text}” in {phrase.active_count}" for phrase in phrases if phrase.active_count]
        details = f" ({', '.join(parts)})" if parts else ""
        sentences.append(
            f"{label.active_count} {documents} mention the label{details}; so do "
            f"{label.silent_count} of {silent_count} similar documents that do not activate it."
        )
    else:
        sentences.append("It is no wording of theirs, but close to their embeddings.")
    return " ".join(sentences)


def _reason(verdict: Verdict) -> str:
    """Why a latent has no label."""
    evidence = verdict.evidence
    share = f"Active in {percent(evidence.density)} of documents"
    if verdict.dense:
        return f"Dense, not named. {share}: it stands for no narrow topic."
    score = verdict.scores.score if verdict.scores else None
    if verdict.winner is None or score is None:
        few = len(evidence.writing) + len(evidence.choosing.active) + len(evidence.scoring.active)
        if verdict.winner is None and len(evidence.scoring.active):
            return f"Not named: its texts share no word that other texts lack. {share}."
        return f"Not named: {few} different documents are too few to test a label. {share}."
    return (
        f"Not named: its texts have nothing in common that other texts lack. {share}. The best candidate, "
        f"“{verdict.winner.candidate.text}”, fits a held-out document that activates it better than a similar one that "
        f"does not in {percent(score.auc)} of cases ({percent(score.low)} to {percent(score.high)}; 50 % is chance)."
    )
