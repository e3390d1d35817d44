"""How far a feature and its label can be relied on: one rule for every interface."""

from __future__ import annotations

from enum import StrEnum

from services.interpreter.scoring import Scores

STABLE = 0.7
"""Mean cosine over the siblings' most similar decoder rows from which a feature is found again."""
UNSTABLE = 0.5
"""Below it, a feature is that of one training."""
TRUSTED_SCORE = 0.7
"""The lower end of a trusted label's interval is at least this."""
FLOOR = 0.6
"""A label whose interval reaches below this is not shown as one where a machine wrote it."""
TRUSTED_PRECISION = 0.6
"""The lower end of the interval of a trusted label's precision is at least this."""
TRUSTED_NEAR_MENTIONS = 0.15
"""At most so large a share of similar silent documents mentions a trusted label."""
TRUSTED_BREADTH = 5 / 3
"""At most so many documents mention a trusted label for each that activates the feature."""
TRUSTED_DOCUMENTS = 15
"""A trusted label is scored on at least so many active documents."""


class Trust(StrEnum):
    """How far a feature can be relied on, the most first."""

    TRUSTED = "TRUSTED"
    OPEN = "OPEN"
    DOUBTFUL = "DOUBTFUL"
    UNNAMED = "UNNAMED"


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
    stable = stability is not None and stability >= STABLE
    return Trust.TRUSTED if stable and scores is not None and _is_tested(scores) else Trust.OPEN


def _is_tested(scores: Scores) -> bool:
    """Whether a label tells its documents from similar ones, most of them mention it, and few others do."""
    score, precision, near_mentions, breadth = scores.score, scores.precision, scores.near_mentions, scores.breadth
    if score is None or precision is None or near_mentions is None or breadth is None:
        return False
    tells = score.low >= TRUSTED_SCORE and score.active_count >= TRUSTED_DOCUMENTS
    is_narrow = near_mentions.value <= TRUSTED_NEAR_MENTIONS and breadth <= TRUSTED_BREADTH
    return tells and precision.low >= TRUSTED_PRECISION and is_narrow
