"""How far a feature and its label can be relied on: one rule for every interface."""

from __future__ import annotations

from enum import StrEnum

from services.interpreter.scoring import Score

STABLE = 0.7
"""Mean cosine over the siblings' most similar decoder rows from which a feature is found again."""
UNSTABLE = 0.5
"""Below it, a feature is that of one training."""
TRUSTED_SCORE = 0.7
"""The lower end of a trusted label's interval is at least this."""
FLOOR = 0.6
"""A label whose interval reaches below this is not shown as one where a machine wrote it."""
TRUSTED_DOCUMENTS = 15
"""A trusted label is scored on at least so many active documents."""


class Trust(StrEnum):
    """How far a feature can be relied on, the most first."""

    TRUSTED = "TRUSTED"
    OPEN = "OPEN"
    DOUBTFUL = "DOUBTFUL"
    UNNAMED = "UNNAMED"


def trust_of(text: str, score: Score | None, stability: float | None) -> Trust:
    """The trust in a feature with this label.

    text: empty where there is no label. score: of the label, None where it was not scored. stability: None where no
    sibling was trained.
    """
    if not text:
        return Trust.UNNAMED
    if (stability is not None and stability < UNSTABLE) or (score is not None and score.low < FLOOR):
        return Trust.DOUBTFUL
    stable = stability is not None and stability >= STABLE
    tested = score is not None and score.low >= TRUSTED_SCORE and score.active_count >= TRUSTED_DOCUMENTS
    return Trust.TRUSTED if stable and tested else Trust.OPEN
