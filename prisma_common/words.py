"""Where the words of a text stand: the one rule for search and labels.

A word is a run of letters, digits and `_`, with the combining marks that belong to them (the vowel signs of Hindi,
accents that are characters of their own). Characters of zero width stand within words without ending them. Scripts
that put no spaces between words (Chinese, Japanese, Thai …) form runs of their own, which callers cut by `clusters`.
Korean puts spaces between words: a run of Hangul is a word. Emoji and other symbols beyond ASCII stand alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from typing import NamedTuple


class Kind(Enum):
    """What a segment is."""

    WORD = auto()
    """Letters, digits and `_` of a script that separates words, or a name such as `C++` or `F#`."""
    UNSPACED = auto()
    """A run of a script without spaces between words: a clause more often than a word."""
    SYMBOL = auto()
    """One emoji or other symbol."""


class Segment(NamedTuple):
    """A half-open range of characters of a text."""

    start: int
    end: int
    kind: Kind


def segments(text: str) -> Iterator[Segment]:
    """The words, unspaced runs and symbols of a text, in its order. What stands between them belongs to no word."""
    if text.isascii():
        for match in ASCII_WORD.finditer(text):
            yield Segment(match.start(), match.end(), Kind.WORD)
        return
    for match in _SEGMENT.finditer(text):
        assert match.lastgroup is not None, "each alternative is a named group"
        yield Segment(match.start(), match.end(), _KINDS[match.lastgroup])


def word_count(text: str) -> int:
    """How many words a text has. Of scripts without spaces between words, each character counts; symbols do not."""
    if text.isascii():
        return len(ASCII_WORD.findall(text))
    count = 0
    for start, end, kind in segments(text):
        if kind is Kind.WORD:
            count += 1
        elif kind is Kind.UNSPACED:
            count += len(clusters(text, start, end))
    return count


def clusters(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """The half-open ranges of what a reader sees as one character of an unspaced run: a base with its marks.

    Thai and Lao vowels that are written before or after their consonant belong to its cluster.
    """
    return [match.span() for match in _CLUSTER.finditer(text, start, end)]


def is_inside_character(text: str, place: int) -> bool:
    """Whether a reader sees what stands before and behind a place of a text as one character.

    As the grapheme clusters of Unicode (UAX #29), for flags as far as 64 of their letters in front of the place tell.
    """
    before, behind = text[place - 1 : place], text[place : place + 1]
    if behind.isascii() or before in "\r\n":
        return before == "\r" and behind == "\n"
    if _FLAG_LETTER.match(behind):
        letters = _FLAG_LETTERS.search(text, max(0, place - _MAX_FLAG_LETTERS), place)
        return letters is not None and len(letters[0]) % 2 == 1
    return _EXTENDING.match(behind) is not None or _JOINED.match(before + behind) is not None


def is_blank(text: str) -> bool:
    """Whether a text has nothing to read: only white space, control and format characters, fillers and blank signs."""
    return all(unicodedata.category(character) in _BLANK_CATEGORIES or _BLANK.match(character) for character in text)


def visible(word: str) -> str:
    """A word without its characters of zero width, in NFC: `pass\\u200bword` → `password`."""
    if word.isascii():
        return word
    return unicodedata.normalize("NFC", _IGNORABLES.sub("", word))


def unaccented(word: str) -> str:
    """A word without the marks that writers leave out at will: accents, Hebrew points, Arabic vowels.

    Marks that make another letter stay: vowel signs of Indic scripts and of Thai, and what NFC composes (é, й).
    """
    return word if word.isascii() else _OPTIONAL_MARKS.sub("", word)


def is_unspaced(word: str) -> bool:
    """Whether a word begins with a character of a script without spaces between words."""
    return _UNSPACED_START.match(word) is not None


def is_hangul(word: str) -> bool:
    """Whether a word begins with a Hangul syllable."""
    return "\uac00" <= word[:1] <= "\ud7a3"


def is_han(word: str) -> bool:
    """Whether a word is of Han characters alone: Chinese, and the Chinese characters of Japanese."""
    return _HAN_WORD.fullmatch(word) is not None


def is_hiragana(word: str) -> bool:
    """Whether a word is of Hiragana alone."""
    return _HIRAGANA_WORD.fullmatch(word) is not None


def is_katakana(word: str) -> bool:
    """Whether a word is of Katakana alone."""
    return _KATAKANA_WORD.fullmatch(word) is not None


def _ranges(codes: Iterable[int]) -> str:
    """The inside of a regular expression's character class that holds these code points, which rise."""
    parts: list[list[int]] = []
    for code in codes:
        if parts and parts[-1][1] == code - 1:
            parts[-1][1] = code
        else:
            parts.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in parts)


# Zero width: soft hyphen, joiners, marks of direction, variation selectors, tags. They carry no letter.
_IGNORABLE = (
    "\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff"
    "\U000e0001\U000e0020-\U000e007f\U000e0100-\U000e01ef"
)
_HAN = "\u3005\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_HIRAGANA = "\u3041-\u3096\u309d-\u309f\U0001b001-\U0001b11f\U0001b150-\U0001b152"
_KATAKANA = "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f\U0001b000\U0001b164-\U0001b167"
_BOPOMOFO = "\u3105-\u312f\u31a0-\u31bf"
# Letters of Thai, Lao, Myanmar, Khmer, Tai Le, New Tai Lue, Tai Tham, Myanmar's extensions and Tai Viet.
_SOUTH_EAST_ASIAN = (
    "\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46\u0e81-\u0eb0\u0eb2\u0eb3\u0ebd-\u0ec6\u0edc-\u0edf"
    "\u1000-\u102a\u103f\u1050-\u1055\u105a-\u105d\u1061\u1065\u1066\u106e-\u1070\u1075-\u1081\u108e"
    "\u1780-\u17b3\u17d7\u17dc\u1950-\u19ab\u19b0-\u19c9\u1a20-\u1a54\ua9e0-\ua9e4\ua9e6-\ua9ef\ua9fa-\ua9fe"
    "\uaa60-\uaa76\uaa7a\uaa7e-\uaaaf\uaab1\uaab5\uaab6\uaab9-\uaabd\uaac0\uaac2\uaadb-\uaadd"
)
_UNSPACED = f"{_HAN}{_HIRAGANA}{_KATAKANA}{_BOPOMOFO}{_SOUTH_EAST_ASIAN}"
_HIGHEST = 0x1FFFF
"""Beyond this code point there are Han characters, which need no category, and ignorable variation selectors."""
_IGNORABLES = re.compile(f"[{_IGNORABLE}]+")
_BLANK_CATEGORIES = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
"""Unicode's categories of control and format characters and of separators."""
# Beside those: Hangul's fillers, Khmer's inherent vowels, and the Braille pattern without a dot.
_BLANK = re.compile(f"[{_IGNORABLE}\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0]")
_CATEGORIES = {code: unicodedata.category(chr(code)) for code in range(0xA1, _HIGHEST)}
_MARK = _ranges(
    code for code, category in _CATEGORIES.items() if category[0] == "M" and not _IGNORABLES.match(chr(code))
)
# Box drawing and block elements (U+2500 to U+259F) are lines, not words; ASCII symbols are punctuation.
_SYMBOL = _ranges(
    code
    for code, category in _CATEGORIES.items()
    if category in ("So", "Sc", "Sm", "Co") and not 0x2500 <= code <= 0x259F
)
_UNSPACED_START = re.compile(f"[{_UNSPACED}]")
_LETTER = rf"[^\W{_UNSPACED}]"
_SEGMENT = re.compile(
    # An ASCII letter or two with `++` or `#` behind, and no letter behind that: C++17, but not a++b.
    r"(?P<name>[A-Za-z]{1,2}(?:\+\+|\#)(?![^\W\d]|[+#]))"
    rf"|(?P<word>{_LETTER}+(?:(?:[{_MARK}]|[{_IGNORABLE}]+(?={_LETTER}|[{_MARK}])){_LETTER}*)*)"
    rf"|(?P<unspaced>[{_UNSPACED}][{_UNSPACED}{_MARK}]*(?:[{_IGNORABLE}]+[{_UNSPACED}{_MARK}]+)*)"
    rf"|(?P<symbol>[\U0001f1e6-\U0001f1ff]{{2}}|[{_SYMBOL}])"
)
ASCII_WORD = re.compile(r"[A-Za-z]{1,2}(?:\+\+|\#)(?![^\W\d]|[+#])|\w+", re.ASCII)
"""The segments of ASCII text, all of which are words. Most texts are ASCII; large character classes cost them much."""
_KINDS = {"name": Kind.WORD, "word": Kind.WORD, "unspaced": Kind.UNSPACED, "symbol": Kind.SYMBOL}
_ATTACHED = f"[{_MARK}{_IGNORABLE}]*"
_CLUSTER = re.compile(
    rf"[\u0e40-\u0e44\u0ec0-\u0ec4]?[{_UNSPACED}]{_ATTACHED}(?:[\u0e30\u0e32\u0e33\u0e45\u0eb0\u0eb2\u0eb3]{_ATTACHED})*"
)
_EXTENDING = re.compile(f"[{_MARK}{_IGNORABLE}\U0001f3fb-\U0001f3ff\u0e33\u0eb3]")
# What a joiner joins; consonants, vowels and finals of a Hangul syllable that is spelled out.
_JOINED = re.compile(
    "\u200d[\u00a9-\U0001faff]|[\u1100-\u115f\ua960-\ua97c][\u1100-\u11a7\ua960-\ua97c\uac00-\ud7a3]"
    "|[\u1160-\u11ff\uac00-\ud7a3\ud7b0-\ud7fb][\u1160-\u11ff\ud7b0-\ud7fb]"
)
_FLAG_LETTER = re.compile("[\U0001f1e6-\U0001f1ff]")
_FLAG_LETTERS = re.compile("[\U0001f1e6-\U0001f1ff]+\\Z")
_MAX_FLAG_LETTERS = 64
_HAN_WORD, _HIRAGANA_WORD, _KATAKANA_WORD = (
    re.compile(f"[{script}{_MARK}]+") for script in (_HAN, f"{_HIRAGANA}ー", _KATAKANA)
)
_OPTIONAL_MARKS = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+"
)
