"""What models want before queries and before documents, and which vectors may be cut: a table, by the models' names.

Each entry is from the model's card (docs/reference/embedding-models.md names them). A dataset's model keeps the name of
its prompts, `…#nomic`, so the prompts of a name never change here: other prompts get another name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from services.chassis.startup import StartRefused
from services.embedder.providers import Purpose
from services.providers.endpoints import Prompts as ConfiguredPrompts

NONE = "none"
"""The prompts of a model that gets texts as they are, though the table has others for it."""
_PASSAGES = "Represent this sentence for searching relevant passages: "
_WEB_SEARCH = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"


@dataclass(frozen=True)
class Prompts:
    """What is put before queries and before documents, for the models whose names match a pattern."""

    name: str
    pattern: str
    query: str
    document: str = ""

    def prefix(self, purpose: Purpose) -> str:
        """What is put before a text."""
        return self.query if purpose is Purpose.QUERY else self.document


TABLE = (
    Prompts("nomic", r"nomic-embed-text", "search_query: ", "search_document: "),
    Prompts("e5-instruct", r"\be5-.*instruct", f"{_WEB_SEARCH} "),
    Prompts("e5", r"\be5-(small|base|large)", "query: ", "passage: "),
    Prompts("bge", r"\bbge-(small|base|large)(-en|:|$)", _PASSAGES),
    Prompts("bge-zh", r"\bbge-(small|base|large)-zh", "为这个句子生成表示以用于检索相关文章："),
    Prompts("mxbai", r"mxbai-embed-(large|2d-large|xsmall)", _PASSAGES),
    Prompts("arctic2", r"arctic-embed(2|-[lm]-v2)", "query: "),
    Prompts("arctic", r"arctic-embed(-|:|$)", _PASSAGES),
    Prompts("qwen3", r"qwen3-embedding", _WEB_SEARCH),
    Prompts("embeddinggemma", r"embeddinggemma", "task: search result | query: ", "title: none | text: "),
)
"""The first match counts."""
_MATRYOSHKA = re.compile(
    r"nomic-embed-text(?!-v1(?!\.5))|mxbai-embed-(large|2d-large)|arctic-embed(2|-[lm]-v2|-m-v1\.5)|qwen3-embedding"
    r"|embeddinggemma|text-embedding-3-(small|large)"
)
"""Models that were trained so that the beginning of a vector is a vector, too."""


class PromptTable:
    """The table, with the operator's own entries before it."""

    def __init__(self, configured: Sequence[ConfiguredPrompts] = ()) -> None:
        """Raises StartRefused where an entry has the name of one in the table."""
        known_names = {NONE, *(entry.name for entry in TABLE)} & {entry.name for entry in configured}
        if known_names:
            raise StartRefused(
                f"PRISMA_PROVIDERS declares prompts named {min(known_names)!r}, a name of PRISMA's own table: choose "
                "another."
            )
        own = [Prompts(entry.name, _any_of(entry.models), entry.query, entry.document) for entry in configured]
        self._entries = (*own, *TABLE)
        self._by_name = {entry.name: entry for entry in (Prompts(NONE, r"(?!)", ""), *self._entries)}

    def of_model(self, model: str) -> Prompts | None:
        """What a model wants; None for a model that is not known to want anything."""
        return next((entry for entry in self._entries if re.search(entry.pattern, model.lower())), None)

    def named(self, name: str) -> Prompts | None:
        """The prompts of a name; None where there are none."""
        return self._by_name.get(name)

    @property
    def names(self) -> Sequence[str]:
        """The names of all prompts."""
        return sorted(self._by_name)


def may_be_cut(model: str) -> bool:
    """Whether a model is known for vectors whose beginnings are vectors, too."""
    return bool(_MATRYOSHKA.search(model.lower()))


def _any_of(parts: Sequence[str]) -> str:
    """A pattern that matches names with one of some parts; without parts, none."""
    return "|".join(re.escape(part.lower()) for part in parts) or r"(?!)"
