"""Words and phrases of a text, as keywords are made of them.

A term is one to three words that stand beside each other, with no stop word and no punctuation between them. Numbers
are no words. Scripts without spaces between words give pairs of characters.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

from stop_words import AVAILABLE_LANGUAGES, get_stop_words

MAX_CHARACTERS = 4000
"""Only the start of a text is read: what it is about stands there."""
MAX_WORDS = 3
"""Words of the longest phrase."""

_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\u0e00-\u0e7f"
_WORD = re.compile(rf"[{_UNSPACED}]+|\d\w*|[^\W\d_{_UNSPACED}][^\W_{_UNSPACED}]*(?:['’][^\W\d_]+)?")
_BESIDE = re.compile(r"[ \t]*\n?[ \t]*|[-_]")
_POSSESSIVE = re.compile(r"['’]s$")


def words(text: str) -> list[tuple[str, bool]]:
    """(word as written, whether it stands right behind the one before) of the start of a text; "" for a number."""
    found: list[tuple[str, bool]] = []
    end = -1
    for match in _WORD.finditer(text[:MAX_CHARACTERS]):
        beside = end >= 0 and _BESIDE.fullmatch(text, end, match.start()) is not None
        word = _POSSESSIVE.sub("", match[0])
        end = match.end()
        if re.match(rf"[{_UNSPACED}]", word):
            pairs = [word[i : i + 2] for i in range(max(1, len(word) - 1))]
            found += [(pair, False) for pair in pairs]
        else:
            found.append(("" if word[0].isdigit() else word, beside))
    return found


def terms(text: str, stop: frozenset[str]) -> list[str]:
    """All terms of a text in lower case, in the order of the text, repeated as often as they occur."""
    found: list[str] = []
    window: list[str] = []
    for written, beside in words(text):
        word = written.lower()
        if len(word) < 2 or word in stop:
            window = []
            continue
        window = [*(window[1 - MAX_WORDS :] if beside else []), word]
        found += [" ".join(window[-size:]) for size in range(1, len(window) + 1)]
    return found


def stop_words(texts: Iterable[str]) -> frozenset[str]:
    """The stop words of the languages that the texts are written in.

    A language counts as written where its own stop words make up a good share of all words: half as large as that of
    the language with the largest.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word.lower() for word, _ in words(text) if word)
    shares = {name: sum(counts[word] for word in known) for name, known in _languages().items()}
    most = max(shares.values(), default=0)
    spoken = [name for name, share in shares.items() if most and share >= most / 2]
    return frozenset().union(*(_languages()[name] for name in spoken)) | _languages()["english"]


def spelled(texts: Iterable[str]) -> dict[str, str]:
    """For words that are nearly always written in their own way (`HTTP`, `IPv6`): lower case → that way."""
    ways: dict[str, Counter[str]] = {}
    for text in texts:
        for word, _ in words(text):
            if word:
                ways.setdefault(word.lower(), Counter())[word] += 1
    special: dict[str, str] = {}
    for lower, counted in ways.items():
        best, count = max(counted.items(), key=lambda item: (item[1], item[0]))
        if best[1:] != best[1:].lower() and count * 2 > counted.total():
            special[lower] = best
    return special


def alike(first: str, second: str) -> bool:
    """Whether two terms say the same: one holds the other's words, or their words differ in the ending only."""
    ones, others = first.split(), second.split()
    short, long = sorted((ones, others), key=len)
    return all(any(_same_stem(one, other) for other in long) for one in short)


def _same_stem(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    common = 0
    while common < len(short) and short[common] == long[common]:
        common += 1
    return common >= 4 and len(long) - common <= 3 if short != long else True


@lru_cache(maxsize=1)
def _languages() -> dict[str, frozenset[str]]:
    codes: Sequence[str] = AVAILABLE_LANGUAGES
    return {code: frozenset(_parts(get_stop_words(code))) for code in codes}


def _parts(listed: Iterable[str]) -> Iterable[str]:
    """`didn't` is also read as `didn` and `t` where an apostrophe is lost."""
    for word in listed:
        yield word.lower()
        yield from re.split(r"['’]", word.lower())
