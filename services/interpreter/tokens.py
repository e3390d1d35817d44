"""Words and phrases of a text, as keywords are made of them.

A term is one to three words that stand next to each other, with no stop word and no punctuation between them. Numbers
are not words. In scripts without spaces, a term is a run of Han or Katakana where the text is Japanese, and otherwise
two to four characters in a row: keywords prefer the longest that the same documents share.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from stop_words import AVAILABLE_LANGUAGES, get_stop_words

from prisma_common import words as segmenter

MAX_CHARACTERS = 4000
"""Only the start of a text is read: it says what the text is about."""
MAX_WORDS = 3
"""Words of the longest phrase."""
_MAX_CLUSTERS = 4
"""Characters of the longest term in a script without spaces."""

_BETWEEN = re.compile(r"[ \t]*\n?[ \t]*|-")
"""What may stand between the words of a phrase."""
_APOSTROPHES = ("'", "’")
_JAPANESE = re.compile(r"[\u3041-\u3096\u30a1-\u30fa]")
_HIRAGANA = re.compile(r"[\u3041-\u309f]")
_GRAMMATICAL = frozenset("的了吗呢们这那把被很也")
"""Chinese characters that join or modify words and hardly ever stand within one."""


class Word(NamedTuple):
    """text: as written; empty for a number. adjacent: whether it directly follows the word before it."""

    text: str
    adjacent: bool


def words(text: str) -> list[Word]:
    """The words of the start of a text, in its order."""
    text = unicodedata.normalize("NFC", text[:MAX_CHARACTERS])
    result: list[Word] = []
    end = -1
    for segment in segmenter.segments(text):
        part = text[segment.start : segment.end]
        if segment.kind is segmenter.Kind.UNSPACED:
            result += [Word(term, False) for term in _unspaced_terms(part, japanese=bool(_JAPANESE.search(text)))]
            end = -1
            continue
        if segment.kind is segmenter.Kind.SYMBOL:
            end = -1
            continue
        between = text[end : segment.start] if end >= 0 else ""
        if between in _APOSTROPHES and result[-1].text and not part[0].isdigit():
            result[-1] = _contraction(result[-1], between, segmenter.visible(part))
            end = segment.end
            continue
        adjacent = end >= 0 and (between == " " or _BETWEEN.fullmatch(between) is not None)
        identifier_words = _identifier_words(segmenter.visible(part), adjacent=adjacent)
        result += identifier_words
        end = segment.end if identifier_words else -1  # nothing is left of an identifier such as `_`
    return result


def terms(text: str, stop: frozenset[str]) -> list[str]:
    """All terms of a text in lower case, in the order of the text, repeated as often as they occur."""
    result: list[str] = []
    phrase: list[str] = []
    for written, adjacent in words(text):
        word = written.lower()
        if not is_term(word, stop):
            phrase = []
            continue
        phrase = [*(phrase[1 - MAX_WORDS :] if adjacent else []), word]
        result += [" ".join(phrase[-size:]) for size in range(1, len(phrase) + 1)]
    return result


def is_term(word: str, stop: frozenset[str]) -> bool:
    """Whether a word in lower case is a term of its own, and may be part of longer ones."""
    return len(word) >= 2 and word not in stop


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


def contains(phrase: str, term: str) -> bool:
    """Whether a longer term contains another whole: as words, or as characters in scripts without spaces."""
    if len(phrase) <= len(term):
        return False
    return term in phrase if segmenter.is_unspaced(term) else f" {term} " in f" {phrase} "


def alike(first: str, second: str) -> bool:
    """Whether two terms say the same.

    They do if one contains the other's words, if their words differ in the ending only, or, in scripts without spaces,
    if they share two characters in a row.
    """
    if segmenter.is_unspaced(first) and segmenter.is_unspaced(second):
        return any(first[start : start + 2] in second for start in range(len(first) - 1))
    shorter, longer = sorted((first.split(), second.split()), key=len)
    return all(any(_same_stem(word, other) for other in longer) for word in shorter)


def _unspaced_terms(run: str, *, japanese: bool) -> Iterator[str]:
    """The terms of a run of a script without spaces."""
    for part in segmenter.script_runs(run):
        if japanese:
            if not _HIRAGANA.match(part):  # Hiragana is mostly grammar: particles and endings
                yield segmenter.visible(part)
            continue
        characters = [part[start:end] for start, end in segmenter.clusters(part, 0, len(part))]
        for start in range(len(characters) - 1):
            for size in range(2, min(_MAX_CLUSTERS, len(characters) - start) + 1):
                term = characters[start : start + size]
                if _GRAMMATICAL.isdisjoint(term):
                    yield segmenter.visible("".join(term))


def _identifier_words(identifier: str, *, adjacent: bool) -> list[Word]:
    """The words of `read_all_lines`, which form a phrase."""
    parts = [part for part in identifier.split("_") if part] if "_" in identifier else [identifier]
    return [Word("" if part[0].isdigit() else part, adjacent or place > 0) for place, part in enumerate(parts)]


def _contraction(word: Word, apostrophe: str, ending: str) -> Word:
    """`don` and `t` joined; a possessive loses its `s`."""
    return word if ending.lower() == "s" else Word(f"{word.text}{apostrophe}{ending}", word.adjacent)


def _same_stem(first: str, second: str) -> bool:
    shorter, longer = sorted((first, second), key=len)
    common = 0
    while common < len(shorter) and shorter[common] == longer[common]:
        common += 1
    return common >= 4 and len(longer) - common <= 3 if shorter != longer else True


@lru_cache(maxsize=1)
def _languages() -> dict[str, frozenset[str]]:
    codes: Sequence[str] = AVAILABLE_LANGUAGES
    return {code: frozenset(_forms(get_stop_words(code))) for code in codes}


def _forms(listed: Iterable[str]) -> Iterator[str]:
    """Stop words with their parts: `didn't` is also read as `didn` and `t` where an apostrophe is lost."""
    for word in listed:
        lower = unicodedata.normalize("NFC", word.lower())
        yield lower
        yield from re.split(r"['’]", lower)
