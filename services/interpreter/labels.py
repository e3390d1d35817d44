"""What a label is, and how it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

KEYWORDS = "keywords"
"""The built-in model: words alone."""


class Source(StrEnum):
    """Who wrote a label."""

    KEYWORDS = "KEYWORDS"
    MODEL = "MODEL"
    HUMAN = "HUMAN"


@dataclass(frozen=True)
class Options:
    """How labels are made. model: `keywords` or `ollama/<model>`; the rest is for language models."""

    model: str = KEYWORDS
    positive_count: int = 6
    negative_count: int = 4
    temperature: float = 0.2
    system_prompt: str = ""


@dataclass(frozen=True)
class Draft:
    """A label that is not kept yet. job: the job that made it, if one did; carried_from: the label
    of another run that it is a copy of."""

    index: int
    text: str
    description: str
    source: Source
    model: str = ""
    author: str = ""
    keywords: Sequence[str] = ()
    options: Options | None = None
    positive_rows: Sequence[int] = ()
    negative_rows: Sequence[int] = ()
    job: str = ""
    carried_from: str = ""


@dataclass(frozen=True)
class Label:
    """A label of the history. revision: counts from 1 within the feature. Nothing of it ever changes but `active`."""

    draft: Draft
    revision: int
    active: bool
    create_time: datetime
