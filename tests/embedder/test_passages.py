"""How texts are split into passages: what holds for any text and any tokenizer, and what readers expect."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from prisma_common.words import is_blank, is_inside_character
from services.embedder.passages import MIN_TOKENS, Span, Splitter, Tokenizer
from services.embedder.providers import EmbeddingModels, Model
from services.embedder.providers.builtin import BuiltinProvider
from services.embedder.providers.onnx import OnnxProvider
from services.embedder.providers.tokens import EstimatedTokenizer, TokenLimit
from tests.sentence_encoder import MAX_TOKENS, write_encoder

SIZE = 1_000_000
HOSTILE = {
    "no space": "a" * SIZE,
    "only newlines between": "x" + "\n" * SIZE + "y",
    "only full stops": "." * SIZE,
    "only accents": "\u0301" * SIZE,
    "only flags": "\U0001f1e9\U0001f1ea" * (SIZE // 2),
    "sentences of one character": "! " * (SIZE // 2),
    "lines of one character": "a\n" * (SIZE // 2),
    "Chinese without a sign": "\u6f22" * SIZE,
    "Chinese sentences of one character": "\u3002\u6f22" * (SIZE // 2),
    "blank and invisible": " \u200b" * (SIZE // 2) + "x",
}
ASCII_PARTS = st.sampled_from(
    ["word", "Words", " ", "  ", "\n", "\n\n", "\r\n", ". ", "! ", "3.14", "e.g. ", "longerword" * 5, "a" * 90, "\x00"]
)
OTHER_PARTS = st.sampled_from(
    ["漢字", "漢" * 40, "。", "、", "ความสุข", "हिन्दी ", "e\u0301", "\u0301", "👨\u200d👩\u200d👧", "🇩🇪", "각", "\u200b"]
)
TEXTS = st.one_of(st.text(max_size=200), st.lists(ASCII_PARTS | OTHER_PARTS, max_size=120).map("".join))


def limits_of(minilm: Path) -> dict[str, TokenLimit]:
    providers = EmbeddingModels({"builtin": BuiltinProvider(), "onnx": OnnxProvider([minilm])})
    models = ("builtin/wordllama-256", "onnx/minilm")
    return {model: asyncio.run(providers.token_limit(model)) for model in models}


@pytest.fixture(scope="module")
def limits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TokenLimit]:
    return limits_of(write_encoder(tmp_path_factory.mktemp("models") / "minilm"))


@pytest.fixture(scope="module", params=["builtin/wordllama-256", "onnx/minilm", "estimate"])
def tokenizer(request: pytest.FixtureRequest, limits: dict[str, TokenLimit]) -> Tokenizer:
    return EstimatedTokenizer() if request.param == "estimate" else limits[request.param].tokenizer


def character_around(text: str, place: int) -> str:
    """What a reader sees as one character at a place."""
    start = end = place
    while is_inside_character(text, start):
        start -= 1
    while is_inside_character(text, end):
        end += 1
    return text[start:end]


def check(text: str, spans: list[Span], splitter: Splitter) -> None:
    """What holds for the passages of any text."""

    def count(part: str) -> int:
        return len(splitter.tokenizer.token_starts(part))

    if is_blank(text):
        assert spans == [Span(0, len(text))]
        return
    covered = 0
    for span in spans:
        assert 0 <= span.start < span.end <= len(text)
        assert span.end > covered, "each passage goes on where the one before ends"
        assert is_blank(text[covered : span.start]), "only blanks are left out"
        assert count(text[span.start : span.end]) <= splitter.max_tokens
        assert count(text[span.start : covered]) <= splitter.overlap_tokens
        assert not is_blank(text[span.start : span.end])
        if is_inside_character(text, span.start):
            assert count(character_around(text, span.start)) > splitter.max_tokens, "it could have been kept whole"
        covered = span.end
    assert is_blank(text[covered:])


@given(text=TEXTS, max_tokens=st.integers(MIN_TOKENS, 60), share=st.floats(0, 0.5))
def test_passages_cover_the_text_within_the_limit(
    tokenizer: Tokenizer, text: str, max_tokens: int, share: float
) -> None:
    splitter = Splitter(tokenizer, max_tokens, int(max_tokens * share))
    check(text, splitter.spans(text), splitter)


def test_a_text_that_fits_is_one_passage_as_it_is(tokenizer: Tokenizer) -> None:
    text = "  Two sentences. With blanks around them.  \n"
    assert Splitter(tokenizer, 50, 10).spans(text) == [Span(0, len(text))]
    assert Splitter(tokenizer, 50, 10).spans("") == [Span(0, 0)]


def test_passages_end_with_sentences_and_overlap_by_sentences(tokenizer: Tokenizer) -> None:
    sentences = [f"Sentence number {number} says something of its own." for number in range(100)]
    text = " ".join(sentences)
    splitter = Splitter(tokenizer, 120, 40)
    spans = splitter.spans(text)
    assert len(spans) > 5
    for span in spans:
        passage = text[span.start : span.end]
        assert passage.startswith("Sentence number") and passage.endswith("of its own.")
    for before, behind in pairwise(spans):
        assert text[behind.start : before.end].startswith("Sentence number"), "an overlap of whole sentences"


@pytest.mark.parametrize("overlap", [0, 4, 8])
def test_a_part_of_a_token_may_have_more_tokens_than_the_whole(tokenizer: Tokenizer, overlap: int) -> None:
    """WordPiece drops U+001D and has one token for a long word, which ends with it for everyone else."""
    splitter = Splitter(tokenizer, MIN_TOKENS, overlap)
    text = "q" * 60 + "\x1d" + "z" * 60 + "!" * 300
    check(text, spans := splitter.spans(text), splitter)
    assert len(spans) < 60


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("word " * 300, "word"),
        ("漢字かな交じり文、" * 100, "、"),
        ("e\u0301" * 500, "\u0301"),
    ],
)
def test_long_sentences_are_cut_between_words_or_characters(text: str, ends: str) -> None:
    splitter = Splitter(EstimatedTokenizer(), 60, 12)
    spans = splitter.spans(text)
    assert len(spans) > 2
    assert all(text[span.start : span.end].endswith(ends) for span in spans)
    assert all(behind.start < before.end for before, behind in pairwise(spans)), "each overlaps the one before"


class Counting:
    """A tokenizer that counts the characters it is given."""

    def __init__(self) -> None:
        self.characters = 0

    def token_starts(self, text: str) -> NDArray[np.intp]:
        self.characters += len(text)
        return np.arange(len(text), dtype=np.intp)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_the_work_grows_with_the_length_whatever_the_text_is(text: str) -> None:
    splitter = Splitter(tokenizer := Counting(), 200, 40)
    spans = splitter.spans(text)
    assert spans[0].start == 0 or is_blank(text[: spans[0].start])
    assert tokenizer.characters < 4 * len(text)


def test_a_limit_is_that_of_the_model(limits: dict[str, TokenLimit]) -> None:
    special_tokens = 2
    assert limits["onnx/minilm"].max_tokens == MAX_TOKENS - special_tokens
    assert limits["builtin/wordllama-256"].max_tokens == 0, "it reads everything"


async def test_passages_of_the_models_limit_are_not_truncated(tmp_path: Path) -> None:
    models = EmbeddingModels({"onnx": OnnxProvider([write_encoder(tmp_path / "minilm")])})
    limit = await models.token_limit("onnx/minilm")
    text = "The patients received insulin, and nothing else happened on that day in the ward. " * 60
    passages = [text[start:end] for start, end in Splitter(limit.tokenizer, limit.max_tokens).spans(text)]
    answers = await models.embed("onnx/minilm", [text, *passages])
    assert [getattr(answer, "truncated", None) for answer in answers] == [True, *[False] * len(passages)]


class Remote:
    """A provider without tokenizers."""

    async def find(self, name: str) -> Model:
        return Model(id=f"remote/{name}", display_name="m", dimension=3, max_tokens=512)

    async def embed(self, model: str, texts: object, *, purpose: object = None) -> list[object]:
        raise NotImplementedError


@pytest.mark.parametrize(
    "text",
    [
        "The quick brown fox jumps over the lazy dog. ",
        "Donaudampfschifffahrtsgesellschaft ",
        "3.14159265 ",
        "我们 ",
        "ü",
    ],
)
async def test_an_estimate_is_on_the_side_of_more_tokens(limits: dict[str, TokenLimit], text: str) -> None:
    limit = await EmbeddingModels({"remote": Remote()}).token_limit("remote/m")  # pyright: ignore[reportArgumentType]
    reserve = 512 - limit.max_tokens
    estimate = len(limit.tokenizer.token_starts(text * 20)) + reserve
    assert all(estimate >= len(own.tokenizer.token_starts(text * 20)) for own in limits.values())
