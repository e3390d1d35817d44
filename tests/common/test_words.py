"""Words of many scripts: what belongs to one, where it ends, and what may be left out of it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prisma_common import words
from prisma_common.words import Kind

LETTERS = st.sampled_from("abzÄßéжяדلहनिटकดमเ東京のカ가힣ꀀ1٣_")
MARKS = st.sampled_from("\u0301\u0308\u093f\u094d\u0902\u05b8\u064e\u0e31\u0e48\u3099")
ZERO_WIDTH = st.sampled_from("\u200b\u200d\u200c\u00ad\ufeff\u2060\ufe0f")
PUNCTUATION = st.sampled_from(" \n.,;-–'’・。、/()👍🏽🇩🇪€→+#\ue000")
TEXTS = st.one_of(st.text(), st.text(st.one_of(LETTERS, MARKS, ZERO_WIDTH, PUNCTUATION), max_size=40))


def words_of(text: str) -> list[str]:
    return [words.visible(text[segment.start : segment.end]) for segment in words.segments(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("हिन्दी भाषा में", ["हिन्दी", "भाषा", "में"]),  # vowel signs, a virama, a nasal mark
        ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
        ("שָׁלוֹם عَرَبِيّ", ["שָׁלוֹם", "عَرَبِيّ"]),
        ("pass\u200bword soft\u00adhyphen \ufeffstart", ["password", "softhyphen", "start"]),
        ("می\u200cخواهم", ["میخواهم"]),
        ("x\u200b \u200by", ["x", "y"]),
        ("cafe\u0301 café", ["café", "café"]),
        ("C, C++ and C#; F#. C++17", ["C", "C++", "and", "C#", "F#", "C++", "17"]),
        ("a++b C#m value++ #tag 5#", ["a", "b", "C", "m", "value", "tag", "5"]),
        ("Great 👍🏽 day 🇩🇪🇫🇷 5 €", ["Great", "👍", "day", "🇩🇪", "🇫🇷", "5", "€"]),
        ("│ a │ ███ ──", ["a"]),
        ("부산항의 여객선은", ["부산항의", "여객선은"]),
        ("ꀀꀁ ꀂ", ["ꀀꀁ", "ꀂ"]),
        ("豈 鶴", ["豈", "鶴"]),  # Han from U+F900 on
        ("iPhone用カバー", ["iPhone", "用カバー"]),
        ("read_all utf8 don't", ["read_all", "utf8", "don", "t"]),
        ("。。。 !?* \u0301", []),
    ],
)
def test_words_end_where_readers_end_them(text: str, expected: list[str]) -> None:
    assert words_of(text) == [unicodedata.normalize("NFC", word) for word in expected]


def test_kinds() -> None:
    kinds = {
        text: next(words.segments(text)).kind for text in ("हि", "가", "ꀀ", "C++", "東", "ก", "が", "👍", "\ue000")
    }
    assert kinds == {
        **dict.fromkeys(("हि", "가", "ꀀ", "C++"), Kind.WORD),
        **dict.fromkeys(("東", "ก", "が"), Kind.UNSPACED),
        **dict.fromkeys(("👍", "\ue000"), Kind.SYMBOL),
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("東京の", ["東", "京", "の"]),
        ("か\u3099く", ["か\u3099", "く"]),
        ("เรือข้ามฟากเวลา", ["เรื", "อ", "ข้า", "ม", "ฟา", "ก", "เว", "ลา"]),
    ],
)
def test_clusters_are_what_readers_see_as_one_character(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in words.clusters(text, 0, len(text))] == expected


@pytest.mark.parametrize(
    ("word", "scripts"),
    [("日本", "han"), ("データー", "katakana"), ("である", "hiragana"), ("日本の", ""), ("abc", "")],
)
def test_the_script_of_a_word(word: str, scripts: str) -> None:
    names = {"han": words.is_han, "katakana": words.is_katakana, "hiragana": words.is_hiragana}
    assert [name for name, is_script in names.items() if is_script(word)] == scripts.split()


def test_marks_that_writers_leave_out_are_told_from_those_that_make_a_letter() -> None:
    assert words.unaccented("שָׁלוֹם") == "שלום"
    assert words.unaccented("عَرَبِيّ") == "عربي"
    assert words.unaccented("q\u0307") == "q"
    assert words.unaccented("हिन्दी") == "हिन्दी"
    assert words.unaccented("ที่") == "ที่"


@given(TEXTS)
def test_segments_rise_and_hold_each_letter_once(text: str) -> None:
    end = 0
    inside: set[int] = set()
    for segment in words.segments(text):
        assert end <= segment.start < segment.end
        inside.update(range(segment.start, segment.end))
        end = segment.end
    assert all(place in inside for place, character in enumerate(text) if character.isalnum() or character == "_")


@given(TEXTS)
def test_no_segment_begins_with_a_mark_or_ends_before_one(text: str) -> None:
    for segment in words.segments(text):
        assert unicodedata.category(text[segment.start])[0] != "M"
        if segment.kind is not Kind.SYMBOL and not text[segment.start : segment.end].endswith(("+", "#")):
            following = text[segment.end : segment.end + 1]
            assert not following or unicodedata.category(following)[0] != "M" or not words.visible(following)


@given(TEXTS)
def test_normalising_first_changes_no_word(text: str) -> None:
    assert words_of(text) == words_of(unicodedata.normalize("NFC", text))


@given(st.text(st.sampled_from("abcहनिकдé"), min_size=2, max_size=10), ZERO_WIDTH, st.data())
def test_a_character_of_zero_width_hides_no_word(word: str, zero_width: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(1, len(word) - 1))
    assert words_of(word[:place] + zero_width + word[place:]) == words_of(word)


@given(TEXTS)
def test_clusters_cover_an_unspaced_run(text: str) -> None:
    for segment in words.segments(text):
        if segment.kind is Kind.UNSPACED:
            parts = words.clusters(text, segment.start, segment.end)
            assert "".join(text[start:end] for start, end in parts) == text[segment.start : segment.end]


@given(TEXTS)
def test_what_is_left_of_a_word_is_never_empty(text: str) -> None:
    for segment in words.segments(text):
        assert words.unaccented(words.visible(text[segment.start : segment.end]))


@pytest.mark.parametrize(
    "text", ["", " \t\n", "\u00a0", "\x00\x1f", "\u200b\ufeff", "\u3164", "\u2800", "\ufe0f", "\U000e0101"]
)
def test_a_text_without_anything_to_read_is_blank(text: str) -> None:
    assert words.is_blank(text)


@given(st.text(LETTERS, min_size=1))
def test_a_text_with_a_letter_is_not_blank(text: str) -> None:
    assert not words.is_blank(f"\u3164 {text}")
