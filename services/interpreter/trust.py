"""How far a feature and its label can be relied on: one rule for every interface."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from services.interpreter.scoring import Score, Scores, Share

STABLE = 0.7
"""Mean cosine over the siblings' most similar decoder rows from which a feature is found again."""
UNSTABLE = 0.5
"""Below it, a feature is that of one training."""
TRUSTED_SCORE = 0.7
"""The lower end of a trusted label's interval is at least this."""
FLOOR = 0.6
"""A label whose interval reaches below this is not shown as one where a machine wrote it."""
TRUSTED_MENTIONS = 0.6
"""The lower end of the interval of the share of documents that mention a trusted label is at least this."""
TRUSTED_NEAR_MENTIONS = 0.15
"""At most so large a share of similar silent documents mentions a trusted label."""
TRUSTED_BREADTH = 5 / 3
"""At most so many documents mention a trusted label for each that activates the feature."""
TRUSTED_COHERENCE = 0.6
"""The lower end of the interval of a trusted label's coherence is at least this: of pairs of documents that mention it,
so many are, apart from it, more alike than random ones."""
TRUSTED_DOCUMENTS = 15
"""A trusted label is scored on at least so many active documents."""


class Trust(StrEnum):
    """How far a feature can be relied on, the most first."""

    TRUSTED = "TRUSTED"
    OPEN = "OPEN"
    DOUBTFUL = "DOUBTFUL"
    UNNAMED = "UNNAMED"


class Condition(StrEnum):
    """What a trusted feature needs."""

    STABILITY = "STABILITY"
    TEST = "TEST"
    """A label that was tested by this rule."""
    DOCUMENTS = "DOCUMENTS"
    """Enough of them in the test."""
    SCORE = "SCORE"
    MENTIONS = "MENTIONS"
    NEAR_MENTIONS = "NEAR_MENTIONS"
    BREADTH = "BREADTH"
    COHERENCE = "COHERENCE"


@dataclass(frozen=True)
class MissedCondition:
    """A condition that a feature or its label does not meet."""

    condition: Condition
    explanation: str
    """What was measured and what is needed, for people."""


def trust_of(text: str, scores: Scores | None, stability: float | None) -> Trust:
    """The trust in a feature with this label.

    text: empty where there is no label. scores: of the label, None where it was not tested. stability: None where no
    sibling was trained.
    """
    if not text:
        return Trust.UNNAMED
    score = scores.score if scores else None
    if (stability is not None and stability < UNSTABLE) or (score is not None and score.low < FLOOR):
        return Trust.DOUBTFUL
    return Trust.TRUSTED if next(_missed(scores, stability), None) is None else Trust.OPEN


def missed_conditions(text: str, scores: Scores | None, stability: float | None) -> list[MissedCondition]:
    """Why a feature is open or doubtful, in the order of the rule; empty where it is trusted or unnamed.

    text, scores, stability: as for `trust_of`.
    """
    return list(_missed(scores, stability)) if text else []


def _missed(scores: Scores | None, stability: float | None) -> Iterator[MissedCondition]:
    if stability is None or stability < STABLE:
        yield MissedCondition(Condition.STABILITY, _stability(stability))
    if scores is None:
        yield MissedCondition(Condition.TEST, "the label was not tested")
        return
    if _is_of_earlier_rule(scores):
        yield MissedCondition(
            Condition.TEST, "the label was tested by an earlier version, which did not count the texts that mention it"
        )
    yield from _missed_by_score(scores.score)
    yield from _missed_by_mentions(scores)


def _is_of_earlier_rule(scores: Scores) -> bool:
    """Whether a test did not count mentions. Without active documents there are none to count, and no score."""
    counted = scores.mentions is not None and scores.near_mentions is not None
    return scores.breadth is None or (scores.score is not None and not counted)


def _missed_by_score(score: Score | None) -> Iterator[MissedCondition]:
    """What a label's score, by embedding or words, does not reach."""
    if score is None:
        yield MissedCondition(
            Condition.DOCUMENTS, f"too few texts to score the label on; trusted needs at least {TRUSTED_DOCUMENTS}"
        )
        return
    if score.active_count < TRUSTED_DOCUMENTS:
        yield MissedCondition(
            Condition.DOCUMENTS,
            f"scored on {score.active_count} texts that activate the feature; trusted needs at least "
            f"{TRUSTED_DOCUMENTS}",
        )
    if score.low < TRUSTED_SCORE:
        doubtful = f", and below {FLOOR:.2f} a feature is doubtful" if score.low < FLOOR else ""
        low = _apart(score.low, FLOOR if doubtful else TRUSTED_SCORE, digits=2)
        yield MissedCondition(
            Condition.SCORE,
            f"score {score.auc:.2f} (interval {low} to {score.high:.2f}); trusted needs an interval that "
            f"begins at {TRUSTED_SCORE:.2f} or above{doubtful}",
        )


def _missed_by_mentions(scores: Scores) -> Iterator[MissedCondition]:
    """Too few documents that the label stands for mention it, or too many others."""
    mentions, near_mentions, breadth = scores.mentions, scores.near_mentions, scores.breadth
    if mentions is not None and mentions.low < TRUSTED_MENTIONS:
        which = "that activate the feature" if scores.threshold is None else "above the threshold"
        low = _apart(100 * mentions.low, 100 * TRUSTED_MENTIONS, digits=0)
        yield MissedCondition(
            Condition.MENTIONS,
            f"mentioned by {_counts(mentions)} texts {which} (interval {low} to {100 * mentions.high:.0f} %); trusted "
            f"needs an interval that begins at {100 * TRUSTED_MENTIONS:.0f} % or above",
        )
    if near_mentions is not None and near_mentions.value > TRUSTED_NEAR_MENTIONS:
        value, limit = 100 * near_mentions.value, 100 * TRUSTED_NEAR_MENTIONS
        yield MissedCondition(
            Condition.NEAR_MENTIONS,
            f"mentioned by {_counts(near_mentions)} similar texts that do not activate the feature "
            f"({_apart(value, limit, digits=0)} %); trusted allows at most {limit:.0f} %",
        )
    if breadth is not None and breadth > TRUSTED_BREADTH:
        yield MissedCondition(
            Condition.BREADTH,
            f"its most frequent phrase is in {_apart(breadth, TRUSTED_BREADTH, digits=2)} texts for each that "
            f"activates the feature; trusted allows at most {TRUSTED_BREADTH:.2f}",
        )
    yield from _missed_by_coherence(scores.coherence)


def _missed_by_coherence(coherence: Score | None) -> Iterator[MissedCondition]:
    """Documents that mention a label have too little in common but the label, as those of its senses."""
    if coherence is not None and coherence.low < TRUSTED_COHERENCE:
        low = _apart(100 * coherence.low, 100 * TRUSTED_COHERENCE, digits=0)
        yield MissedCondition(
            Condition.COHERENCE,
            "texts that mention it may have little else in common, as those of a word in several senses: apart from "
            f"the label, two of them are more alike than two random texts in {100 * coherence.auc:.0f} % of cases "
            f"(interval {low} to {100 * coherence.high:.0f} %); trusted needs an interval that begins at "
            f"{100 * TRUSTED_COHERENCE:.0f} % or above",
        )


def _stability(stability: float | None) -> str:
    if stability is None:
        return f"stability is unknown, as no other training was compared; trusted needs at least {STABLE:.2f}"
    doubtful = f", and below {UNSTABLE:.2f} a feature is doubtful" if stability < UNSTABLE else ""
    value = _apart(stability, UNSTABLE if doubtful else STABLE, digits=2)
    return f"stability {value}; trusted needs at least {STABLE:.2f}{doubtful}"


def _counts(share: Share) -> str:
    return f"{round(share.value * share.document_count):,} of {share.document_count:,}"


def _apart(value: float, limit: float, *, digits: int) -> str:
    """A value with as many more decimals as tell it from the limit that it misses."""
    while digits < 9 and f"{value:.{digits}f}" == f"{limit:.{digits}f}":
        digits += 1
    return f"{value:.{digits}f}"
