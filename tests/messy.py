"""Reviews as people have them: missing numbers and texts, empty texts, repeated ids, HTML, emoji, one huge text."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prisma_client import sample

ROWS = 5000
MISSING_RATINGS, MISSING_BODIES, EMPTY_BODIES, REPEATED_IDS, HUGE_BODIES = 136, 52, 41, 6, 1
VALID_ROWS = ROWS - MISSING_BODIES - EMPTY_BODIES - REPEATED_IDS - HUGE_BODIES
"""Rows that have a text that a server accepts, and an id of their own: 4,900."""
COLUMNS = ("review", "title", "body", "rating", "helpful", "verified", "date")
_DECORATIONS = ("<p>{}</p><br/>", "{} 👍🏽", '"{}", she said; then\ttabs', "{}\r\nsecond line", "naïve – {}", "{}")
_NAN = float("nan")


@dataclass(frozen=True)
class Reviews:
    """Rows of COLUMNS. A missing rating or body is NaN, as a frame of pandas has it."""

    rows: list[dict[str, Any]]

    @property
    def valid(self) -> dict[str, dict[str, Any]]:
        """The rows that can be imported, by id."""
        valid: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            if isinstance(row["body"], str) and row["body"].strip(" \u200b") and len(row["body"]) < 1 << 20:
                valid.setdefault(row["review"], row)
        return valid

    def with_nulls(self) -> Iterator[dict[str, Any]]:
        """The rows with None in place of NaN, as JSON has it."""
        for row in self.rows:
            yield {name: None if _is_missing(value) else value for name, value in row.items()}

    def json_lines(self) -> bytes:
        """The rows as JSON lines with nulls."""
        return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in self.with_nulls())


def reviews() -> Reviews:
    """Always the same rows. Those without a text, with a repeated id and with a huge text are all different ones."""
    chance = random.Random(12)
    texts = itertools.islice(itertools.cycle(sample.documents()), ROWS)
    rows = [_row(number, document, chance) for number, document in enumerate(texts)]
    damaged = iter(chance.sample(range(1, ROWS), MISSING_BODIES + EMPTY_BODIES + REPEATED_IDS + HUGE_BODIES))
    for index in itertools.islice(damaged, MISSING_BODIES):
        rows[index]["body"] = _NAN
    for index in itertools.islice(damaged, EMPTY_BODIES):
        rows[index]["body"] = chance.choice(["", " ", "\u200b"])
    for index in itertools.islice(damaged, REPEATED_IDS):
        rows[index]["review"] = rows[0]["review"]
    for index in damaged:
        rows[index]["body"] = "long " * 400_000
    for index in chance.sample(range(ROWS), MISSING_RATINGS):
        rows[index]["rating"] = _NAN
    return Reviews(rows)


def metadata(row: Mapping[str, Any]) -> dict[str, Any]:
    """What becomes metadata of a row: what is not missing, and neither id nor text."""
    return {name: row[name] for name in COLUMNS if name not in ("review", "body") and not _is_missing(row[name])}


def _row(number: int, document: Mapping[str, str], chance: random.Random) -> dict[str, Any]:
    return {
        "review": f"r{number:05}+{'äß'[number % 2]}",
        "title": document["id"],
        "body": chance.choice(_DECORATIONS).format(document["text"]),
        "rating": float(chance.randint(1, 5)),
        "helpful": chance.randint(0, 900),
        "verified": chance.random() < 0.7,
        "date": f"2026-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",
    }


def _is_missing(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
