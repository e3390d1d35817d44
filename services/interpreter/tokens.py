"""Words and phrases of a text, as keywords are made of them.

A term is one to three words that stand next to each other, with no stop word and no punctuation between them, in lower
case and with a space between words. Numbers are not words. Scripts without spaces are divided by dictionaries
(`unspaced`), and Korean words lose their particles (`korean`).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple, Self

import stopwordsiso
from stop_words import AVAILABLE_LANGUAGES, LANGUAGE_MAPPING, get_stop_words

from prisma_common import words as segmenter
from services.interpreter import korean, unspaced

MAX_CHARACTERS = 4000
"""Only the start of a text is read: it says what the text is about."""
REPEATED_CHARACTERS = 40
"""Longer chunks hardly occur twice: clauses of scripts without spaces, addresses."""
MIN_CHARACTERS = 2
"""Characters of the shortest term: a Chinese character by itself is more often part of a word than one."""
MAX_WORDS = 3
"""Words of the longest phrase."""

_BETWEEN = re.compile(r"[ \t]*\n?[ \t]*|-")
"""What may stand between the words of a phrase."""
_WIDE_BLANK = re.compile(r"[ \t]*(?:\n[ \t]*\n|[^\S \t\n])\s*")
"""Blanks that may not."""
_PLAIN_CHUNK = re.compile(r"([^\w+#]*)([a-z][a-z0-9]*)([^\w+#]*)", re.ASCII | re.IGNORECASE)
"""One word with punctuation around it."""
_APOSTROPHES = ("'", "’")


class Word(NamedTuple):
    """text: as written; empty for a number. adjacent: whether it directly follows the word before it."""

    text: str
    adjacent: bool


def words(text: str) -> list[Word]:
    """The words of the start of a text, in its order."""
    result: list[Word] = []
    last = Border.NO_WORD
    for piece in chunks(text):
        part = chunk(piece) if len(piece) > REPEATED_CHARACTERS else _cached_chunk(piece)
        if part.words:
            result.append(Word(part.words[0].text, forms_phrase(last, part.first)))
            result += part.words[1:]
        last = part.last
    return result


def chunks(text: str) -> list[str]:
    """The start of a text, divided at blanks. A chunk without words stands where phrases end at blanks."""
    start = _start(text)
    return (start if start.isprintable() else _WIDE_BLANK.sub(" \0 ", start)).split()  # printable: no other blank


class Border(IntEnum):
    """What a chunk begins or ends with. Two words without spaces form no phrase across a blank, all others do."""

    NO_WORD = 0
    WORD = 1
    UNSPACED = 2


class Chunk(NamedTuple):
    """The words of a chunk, and whether they can form a phrase with words beyond the blanks around it."""

    words: Sequence[Word]
    first: Border
    last: Border


def forms_phrase(last: Border, first: Border) -> bool:
    """Whether a word forms a phrase with one in the chunk before it."""
    return last > 0 and first > 0 and first + last < 2 * Border.UNSPACED


def chunk(text: str) -> Chunk:
    """Takes a chunk apart."""
    if text.isascii() and (plain := _PLAIN_CHUNK.fullmatch(text)):
        before, word, after = plain.groups()
        return Chunk([Word(word, not before)], Border(not before), Border(not after))
    _, *words, after = _words(f"a {text} a")
    if not words:
        return Chunk([], Border.NO_WORD, Border.NO_WORD)
    return Chunk(words, _border(words[0], words[0].adjacent), _border(words[-1], after.adjacent))


_cached_chunk = lru_cache(maxsize=1 << 15)(chunk)


def _border(word: Word, reaches_blank: bool) -> Border:
    if not reaches_blank:
        return Border.NO_WORD
    return Border.UNSPACED if segmenter.is_unspaced(word.text) else Border.WORD


def _start(text: str) -> str:
    return unicodedata.normalize("NFC", text[:MAX_CHARACTERS])


def _words(text: str) -> list[Word]:
    result: list[Word] = []
    end = -1
    for segment in segmenter.segments(text):
        part = text[segment.start : segment.end]
        if segment.kind is segmenter.Kind.SYMBOL:
            end = -1
            continue
        between = text[end : segment.start] if end >= 0 else ""
        adjacent = end >= 0 and (between == " " or _BETWEEN.fullmatch(between) is not None)
        if segment.kind is segmenter.Kind.UNSPACED:
            adjacent &= not result or not segmenter.is_unspaced(result[-1].text)  # a space divides two such runs
            ends_in_word = _add_unspaced(result, part, adjacent=adjacent)
            end = segment.end if ends_in_word else -1
            continue
        if between in _APOSTROPHES and result[-1].text and not part[0].isdigit():
            result[-1] = _contraction(result[-1], between, segmenter.visible(part))
            end = segment.end
            continue
        identifier_words = _identifier_words(segmenter.visible(part), adjacent=adjacent)
        result += identifier_words
        end = segment.end if identifier_words else -1  # nothing is left of an identifier such as `_`
    return result


@dataclass(frozen=True)
class Language:
    """How the words of a corpus form terms."""

    stop_words: frozenset[str]
    stems: Mapping[str, str] = field(default_factory=dict)
    """Of Korean words."""

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> Self:
        """counts: how often each word of the corpus occurs."""
        listed = stop_words(counts)
        return cls(listed, korean.stems(lower for word in counts if (lower := word.lower()) not in listed))

    def base(self, word: str) -> str:
        """A word as it stands in terms: in lower case, without particles."""
        lower = word.lower()
        return self.stems.get(lower, lower)

    def is_term(self, base: str) -> bool:
        """Whether a word may be part of a term: one Han character may, though it is none by itself."""
        return (len(base) >= MIN_CHARACTERS or segmenter.is_han(base)) and base not in self.stop_words


def terms(text: str, language: Language) -> list[str]:
    """All terms of a text, in its order, repeated as often as they occur."""
    result: list[str] = []
    phrase: list[str] = []
    for written, adjacent in words(text):
        word = language.base(written)
        if not language.is_term(word):
            phrase = []
            continue
        phrase = [*(phrase[1 - MAX_WORDS :] if adjacent else []), word]
        phrases = [" ".join(phrase[-size:]) for size in range(1, len(phrase) + 1)]
        result += [term for term in phrases if len(term) >= MIN_CHARACTERS]
    return result


def stop_words(counts: Mapping[str, int]) -> frozenset[str]:
    """The stop words of the languages that texts are written in. counts: how often each word of the texts occurs.

    A language counts if its own stop words make up a large share of all words: at least half the share of the language
    with the largest.
    """
    lower_counts: Counter[str] = Counter()
    for word, count in counts.items():
        lower_counts[word.lower()] += count
    totals = {code: sum(lower_counts[word] for word in listed) for code, listed in _languages().items()}
    highest = max(totals.values(), default=0)
    languages = [code for code, total in totals.items() if highest and total >= highest / 2]
    return frozenset().union(*(_languages()[code] for code in languages)) | _languages()["english"]


def spellings(counts: Mapping[str, int]) -> dict[str, str]:
    """For words that are nearly always written in their own way (`HTTP`, `IPv6`): lower case → that way.

    counts: how often each word occurs, as written.
    """
    by_lower: dict[str, dict[str, int]] = {}
    for word, count in counts.items():
        by_lower.setdefault(word.lower(), {})[word] = count
    result: dict[str, str] = {}
    for lower, spelling_counts in by_lower.items():
        spelling, count = max(spelling_counts.items(), key=lambda item: (item[1], item[0]))
        if spelling[1:] != spelling[1:].lower() and count * 2 > sum(spelling_counts.values()):
            result[lower] = spelling
    return result


def joined(words: Sequence[str]) -> str:
    """The words of a term as people write them: without a space where their script has none."""
    result = words[0]
    for before, word in pairwise(words):
        result += word if segmenter.is_unspaced(before) and segmenter.is_unspaced(word) else f" {word}"
    return result


def contains(phrase: str, term: str) -> bool:
    """Whether a longer term contains all words of another, in a row."""
    return len(phrase) > len(term) and f" {term} " in f" {phrase} "


def alike(first: str, second: str) -> bool:
    """Whether two terms say the same: the words of one are those of the other, but for endings.

    In scripts without spaces a word may also be part of the other.
    """
    shorter, longer = sorted((first.split(), second.split()), key=len)
    return all(any(_same_stem(word, other) for other in longer) for word in shorter)


def _add_unspaced(result: list[Word], run: str, *, adjacent: bool) -> bool:
    """Adds the words of a run of a script without spaces. adjacent: of its first. Returns whether it ends in a word."""
    for text, is_word in unspaced.parts(run):
        if is_word:
            result.append(Word(text, adjacent))
        adjacent = is_word
    return adjacent


def _identifier_words(identifier: str, *, adjacent: bool) -> list[Word]:
    """The words of `read_all_lines`, which form a phrase."""
    parts = [part for part in identifier.split("_") if part] if "_" in identifier else [identifier]
    return [Word("" if part[0].isdigit() else part, adjacent or place > 0) for place, part in enumerate(parts)]


def _contraction(word: Word, apostrophe: str, ending: str) -> Word:
    """`don` and `t` joined; a possessive loses its `s`."""
    return word if ending.lower() == "s" else Word(f"{word.text}{apostrophe}{ending}", word.adjacent)


def _same_stem(first: str, second: str) -> bool:
    shorter, longer = sorted((first, second), key=len)
    if segmenter.is_unspaced(shorter):
        return shorter == longer or (len(shorter) >= 2 and shorter in longer)
    common = 0
    while common < len(shorter) and shorter[common] == longer[common]:
        common += 1
    return common >= 4 and len(longer) - common <= 3 if shorter != longer else True


_NAMES = frozenset(
    """area areas auth bill caption click computer copy fire group groups hell help home homepage html http index
    information invention key keys member members microsoft mill modulo netscape null number numbers page pages problem
    problems research ring room rooms shed shell state states system test text webpage website width world young zero
    """.split()  # noqa: SIM905 - reads better than a list of strings
)
"""What names things, though the English list stops it."""


@lru_cache(maxsize=1)
def _languages() -> dict[str, frozenset[str]]:
    """Stop words by language: those of `stop_words`, and of `stopwordsiso` for what it lacks or has few of."""
    named: Sequence[str] = AVAILABLE_LANGUAGES
    languages = {name: frozenset(_forms(get_stop_words(name))) - _NAMES for name in named}
    further = {code for code in stopwordsiso.langs() if LANGUAGE_MAPPING.get(code) not in languages} | {"ja", "zh"}
    return languages | {code: frozenset(_forms(stopwordsiso.stopwords(code))) for code in further}


def _forms(listed: Iterable[str]) -> Iterator[str]:
    """Stop words with their parts: `didn't` is also read as `didn` and `t` where an apostrophe is lost."""
    for word in listed:
        lower = unicodedata.normalize("NFC", word.lower())
        yield lower
        yield from re.split(r"['’]", lower)
