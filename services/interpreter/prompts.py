"""The question that a language model is asked for a label, and how its answer is read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prisma_common.label_texts import MAX_DESCRIPTION, clean_line, shorten

MAX_ANSWER = 64_000
"""Characters of an answer that are read."""
MAX_MODEL_LABEL = 100
"""Characters of a model's label: two to six words are asked for."""
_TEXT_CHARACTERS = 1500
_MAX_ALTERNATIVES = 3
_QUOTES = "\"'“” ."
SYSTEM_PROMPT = (
    "You name what one latent of a sparse autoencoder responds to. The autoencoder was trained on embeddings of "
    "documents; a latent is active in documents that share one idea.\n"
    "You are given documents in which the latent is active, the strongest first, each with its activation from 0 to "
    "10, and documents in which it is not active. Find the idea that all active ones share and that the inactive ones "
    "lack. Prefer the most specific idea that fits all of them; do not name what the inactive ones share too.\n"
    "Answer in JSON: `label`, a noun phrase of two to six words, without quotation marks; `description`, one sentence "
    "that says what the documents share; `alternatives`, up to three other labels that could fit as well. Write in the "
    "language of the documents."
)
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "label": {"type": "string"},
        "description": {"type": "string"},
        "alternatives": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
    },
    "required": ["label", "description"],
}


@dataclass(frozen=True)
class ShownDocument:
    """A document as the model sees it."""

    row: int
    text: str
    activation: float
    """0 in documents in which the latent is not active."""


@dataclass(frozen=True)
class Answer:
    """A usable answer."""

    label: str
    description: str
    alternatives: tuple[str, ...] = ()
    """Different labels."""


class NotALabel(ValueError):
    """The answer holds no label; the message quotes it."""


def messages(
    positives: Sequence[ShownDocument], negatives: Sequence[ShownDocument], system_prompt: str | None
) -> list[dict[str, str]]:
    """The conversation: the system prompt and the documents."""
    strongest = max((document.activation for document in positives), default=1.0)
    lines = ["Documents in which the latent is active:"]
    for document in positives:
        activation = document.activation / strongest * 10
        lines.append(f"\n[activation {activation:.0f}]\n{document.text[:_TEXT_CHARACTERS]}")
    if negatives:
        lines.append("\n\nDocuments in which it is not active:")
        lines += [f"\n[activation 0]\n{document.text[:_TEXT_CHARACTERS]}" for document in negatives]
    return [
        {"role": "system", "content": system_prompt or SYSTEM_PROMPT},
        {"role": "user", "content": "\n".join(lines)},
    ]


def read(content: str) -> Answer:
    """The label in a model's answer, which may be in a code fence or between other words. Raises NotALabel.

    Label and description are on one line, without control characters, and not longer than a label may be.
    """
    content = content[:MAX_ANSWER]
    start, end = content.find("{"), content.rfind("}")
    try:
        fields = json.loads(content[start : end + 1])
        label, description = _line(fields["label"]), _line(fields.get("description", ""))
    except Exception:  # noqa: BLE001 - whatever a model writes is no label rather than a fault of ours
        raise NotALabel(f"expected JSON with `label` and `description`, got {content[:300]!r}") from None
    label = _label(label)
    if not label:
        raise NotALabel(f"expected a label that is not blank, got {content[:300]!r}")
    alternative_texts = fields.get("alternatives")
    texts = (
        [_label(clean_line(text)) for text in alternative_texts if isinstance(text, str)]
        if isinstance(alternative_texts, list)
        else []
    )
    alternatives = tuple(text for text in dict.fromkeys(texts) if text and text != label)
    return Answer(label, shorten(description, MAX_DESCRIPTION), alternatives[:_MAX_ALTERNATIVES])


def _label(line: str) -> str:
    return shorten(line.strip(_QUOTES) or line, MAX_MODEL_LABEL)


def _line(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return clean_line(value)
