"""What a language model is asked for a label, and what it may answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_LABEL = 200
MAX_DESCRIPTION = 2000
_TEXT_CHARACTERS = 1500
SYSTEM_PROMPT = (
    "You name what one latent of a sparse autoencoder responds to. The autoencoder was trained on embeddings of "
    "documents; a latent is active in documents that share one idea.\n"
    "You are given documents in which the latent is active, the strongest first, each with its activation from 0 to "
    "10, and documents in which it is not active. Find the idea that all active ones share and that the inactive ones "
    "lack. Prefer the most specific idea that fits all of them; do not name what the inactive ones share too.\n"
    "Answer in JSON: `label`, a noun phrase of two to six words, without quotation marks; `description`, one sentence "
    "that says what the documents share. Write in the language of the documents."
)
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"label": {"type": "string"}, "description": {"type": "string"}},
    "required": ["label", "description"],
}


@dataclass(frozen=True)
class Shown:
    """A document shown to the model. activation: 0 in those in which the latent is silent."""

    row: int
    text: str
    activation: float


@dataclass(frozen=True)
class Answer:
    """A usable answer."""

    label: str
    description: str


class NotALabel(ValueError):
    """The answer holds no label; says what came."""


def messages(positives: Sequence[Shown], negatives: Sequence[Shown], system_prompt: str) -> list[dict[str, str]]:
    """The conversation: system prompt, and the documents."""
    strongest = max((each.activation for each in positives), default=1.0)
    lines = ["Documents in which the latent is active:"]
    for each in positives:
        lines.append(f"\n[activation {each.activation / strongest * 10:.0f}]\n{each.text[:_TEXT_CHARACTERS]}")
    if negatives:
        lines.append("\n\nDocuments in which it is not active:")
        lines += [f"\n[activation 0]\n{each.text[:_TEXT_CHARACTERS]}" for each in negatives]
    return [
        {"role": "system", "content": system_prompt or SYSTEM_PROMPT},
        {"role": "user", "content": "\n".join(lines)},
    ]


def read(content: str) -> Answer:
    """The label in a model's answer, which may stand in a code fence or in other words. Raises NotALabel."""
    start, end = content.find("{"), content.rfind("}")
    try:
        held = json.loads(content[start : end + 1])
        label, description = held["label"], held.get("description", "")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise NotALabel(f"expected JSON with `label` and `description`, got {content[:300]!r}") from None
    if not isinstance(label, str) or not label.strip() or not isinstance(description, str):
        raise NotALabel(f"expected a label that is not blank, got {content[:300]!r}")
    return Answer(
        _one_line(label).strip("\"'“” .")[:MAX_LABEL] or _one_line(label), _one_line(description)[:MAX_DESCRIPTION]
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
