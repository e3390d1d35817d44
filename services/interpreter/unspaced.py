"""Words of scripts that put no spaces between them, found by ICU's dictionaries.

Chinese and Japanese share one dictionary; Thai, Lao, Khmer and Burmese have one each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from icu4py.breakers import WordBreaker

from prisma_common import words

_PARTICLE = re.compile(r"[はがをにのでともへや]|から|まで|より|など|には|では|との|への")


class Part(NamedTuple):
    """text: without characters of zero width. is_word: whether it can name something."""

    text: str
    is_word: bool


def parts(run: str) -> Iterator[Part]:
    """The parts of a run of a script without spaces, in its order.

    Hiragana is mostly grammar (particles and endings), and no word here; nor is a Han character with an ending in
    Hiragana, the stem of a verb. Katakana is not divided: it spells foreign words, which dictionaries lack.
    """
    for text, following in pairwise([*_merged(run), ""]):
        has_ending = words.is_hiragana(following) and not _PARTICLE.fullmatch(following)
        is_stem = len(text) == 1 and words.is_han(text) and has_ending
        yield Part(text, not (is_stem or words.is_hiragana(text)))


def _merged(run: str) -> Iterator[str]:
    """ICU's words; those of one run of Katakana are one."""
    katakana = ""
    for part in WordBreaker(run, "und"):
        text = words.visible(part)
        if words.is_katakana(text):
            katakana += text
            continue
        if katakana:
            yield katakana
            katakana = ""
        if text:
            yield text
    if katakana:
        yield katakana
