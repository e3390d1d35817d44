"""Korean words without the particles and endings that are attached to them.

The corpus decides whether the end of a word is one or belongs to the word (고양이 is a cat, not 고양 with a particle):
a stem counts where it also occurs by itself or with another ending.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

_AFTER_CONSONANT = frozenset(["은", "이", "을", "과", "으로", "이나", "이란", "이며"])
_AFTER_VOWEL = frozenset(["는", "가", "를", "와", "로", "나", "란", "며"])
_PARTICLES = frozenset(
    """의 에 에서 에게 에는 에서는 에도 도 만 까지 부터 마다 보다 처럼 으로는 들 들은 들이 들을 들의 들에 들과
    이다 입니다 인 적인 적으로""".split()  # noqa: SIM905 - reads better than a list of strings
)
_VERB_ENDINGS = frozenset(
    """하는 하고 하며 하여 하기 하게 하지 하면 하도록 한 할 함 해 해서 하다 했다 한다 합니다 했습니다 되는 되고 되며
    되어 된 될 됨 되다 된다 됩니다""".split()  # noqa: SIM905
)
"""Of 하다 and 되다, which make verbs of nouns."""
_ENDINGS = _AFTER_CONSONANT | _AFTER_VOWEL | _PARTICLES | _VERB_ENDINGS
_MAX_ENDING = max(map(len, _ENDINGS))


def stems(words: Iterable[str]) -> Mapping[str, str]:
    """The stem of each word of a corpus that has an ending; without words that have none."""
    endings: defaultdict[str, set[str]] = defaultdict(set)
    candidates: dict[str, list[str]] = {}
    for word in set(words):
        if _is_hangul(word[-1:]):
            endings[word].add("")
            candidates[word] = list(_stems_of(word))
            for stem in candidates[word]:
                endings[stem].add(word[len(stem) :])
    supported = {
        word: [stem for stem in stems if not _is_hangul(stem[-1]) or len(endings[stem]) > 1]
        for word, stems in candidates.items()
    }
    return {word: min(stems, key=len) for word, stems in supported.items() if stems}


def _stems_of(word: str) -> Iterator[str]:
    """What is left of a word without an ending: two syllables at least, or a word of another script."""
    for size in range(1, min(_MAX_ENDING, len(word) - 1) + 1):
        stem, ending = word[:-size], word[-size:]
        if ending in _ENDINGS and (not _is_hangul(stem[-1]) or (len(stem) > 1 and _fits(stem[-1], ending))):
            yield stem


def _fits(syllable: str, ending: str) -> bool:
    """Whether an ending may follow a syllable: some follow consonants only, some vowels only."""
    final_consonant = (ord(syllable) - 0xAC00) % 28
    if ending in _AFTER_CONSONANT:
        return final_consonant > 0
    return ending not in _AFTER_VOWEL or final_consonant == 0 or (ending == "로" and final_consonant == _RIEUL)


_RIEUL = 8


def _is_hangul(character: str) -> bool:
    return "\uac00" <= character <= "\ud7a3"
