"""Case is ignored by one rule: what PostgreSQL gets as replacements finds what Python's folding does."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from services.chassis.case_folding import contains, folded, replacements_for

letters = st.sampled_from("aAsSßẞﬁﬀfiİIıiΣσςΐΪ́ŉʼnKkKäÄ日")
texts = st.text(letters, max_size=12) | st.text(max_size=12)


def contains_by_replacing(text: str, folded_part: str) -> bool:
    """As PostgreSQL does it: single characters by `translate`, then `replace` for those that fold to several."""
    replacements = replacements_for(folded_part)
    text = text.translate(str.maketrans(replacements.originals, replacements.replacements))
    for original, expansion in replacements.expansions:
        text = text.replace(original, expansion)
    return folded_part in text


@given(texts, texts)
def test_replacements_find_what_folding_does(text: str, part: str) -> None:
    assert contains_by_replacing(text, folded(part)) == contains(text, folded(part))


@given(texts, st.data())
def test_a_text_contains_its_parts_in_any_case(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    part = text[start : data.draw(st.integers(start, len(text)))]
    for written in (part, part.upper(), part.lower()):
        if folded(written) == folded(part):  # İ in lower case and in upper case again is another text
            assert contains(text, folded(written))
            assert contains_by_replacing(text, folded(written))


@pytest.mark.parametrize(
    ("text", "part"),
    [("Straße", "STRASSE"), ("STRASSE", "aß"), ("Σίσυφος", "ΦΟΣ"), ("İstanbul", "i̇stan"), ("ﬁn", "FI"), ("ÄÖ", "äö")],
)
def test_known_cases(text: str, part: str) -> None:
    assert contains(text, folded(part)) and contains_by_replacing(text, folded(part))
    assert not contains(text, folded(f"{part}x"))
