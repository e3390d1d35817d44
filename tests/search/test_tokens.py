"""How text becomes tokens."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from prisma_common import words
from services.search import snippets, tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Opening files", ["open", "file"]),
        ("readFile", ["read", "file", "readfil"]),
        ("read_all_lines", ["read", "all", "line", "readalllin"]),
        ("utf8", ["utf", "8", "utf8"]),
        ("naïve café", ["naiv", "cafe"]),
        ("東京", ["東", "京"]),
        ("부산항의", ["부", "산", "항", "의", "부산항의"]),
        ("서울 GPU칩", ["서", "울", "서울", "gpu", "칩", "gpu칩"]),
        ("हिन्दी", ["हिन्दी"]),
        ("C++ and C# and C", ["c++", "and", "c#", "and", "c"]),
        ("pass\u200bword", ["password"]),
        ("👍 great", ["👍", "great"]),
        ("__init__", ["init"]),
        ("1\u200b_2", ["1", "2", "12"]),
        ("___ !!!", []),
    ],
)
def test_words_and_their_parts_are_tokens(text: str, expected: list[str]) -> None:
    assert tokens.tokens(tokens.normalize(text)) == expected


@given(st.text())
@example("1\u0301 _\u200b_ a\u0301_\u0301")
def test_no_text_fails_and_each_token_can_be_located(text: str) -> None:
    text = tokens.normalize(text)
    all_tokens = tokens.tokens(text)
    matcher = tokens.TermMatcher(all_tokens)
    located = matcher.tokens(text)
    assert [token.text for token in located] == all_tokens
    assert all(0 <= token.start < token.end <= len(text) for token in located)
    assert snippets.make(text, matcher).text in text


@given(st.text(st.characters(max_codepoint=127)))
@example("a++b C++17 c#x f##")
def test_ascii_words_are_the_words_of_all_scripts(text: str) -> None:
    assert list(words.segments(text)) == list(words.segments(f"{text} é"))[:-1]


@given(st.text(st.sampled_from("aB1_+# .,")))
@example("C++, C#.x a+bB C+++ #c ab##")
def test_ascii_text_gives_the_tokens_and_locations_of_all_scripts(text: str) -> None:
    expected = [
        tokens.Token(stem, start + first, start + last)
        for start, parts in tokens.words_of(text)
        for stem, first, last in parts
    ]
    assert tokens.TermMatcher(tokens.tokens(text)).tokens(text) == expected


@given(st.lists(st.text(st.sampled_from("aAb_ "), max_size=12)), st.lists(st.sampled_from(["a", "ab", "b", "aab"])))
def test_what_was_learned_or_forgotten_of_other_texts_changes_nothing(texts: list[str], terms: list[str]) -> None:
    vocabulary = tokens.Vocabulary(max_size=3)
    for text in texts:
        pieces = text.split()
        expected = {piece for piece in pieces if set(tokens.tokens(piece)) & set(terms)}
        assert vocabulary.giving(frozenset(terms), text, pieces) & set(pieces) == expected
