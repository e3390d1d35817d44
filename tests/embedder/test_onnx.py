"""Embeddings by a real sentence encoder in a folder, and by folders that are broken."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from services.chassis.startup import StartRefused
from services.embedder.documents import Failure
from services.embedder.errors import EmbeddingModelNotFound
from services.embedder.providers import Embedding, EmbeddingModels, Purpose
from services.embedder.providers.builtin import BuiltinProvider
from services.embedder.providers.encoder import SentenceEncoder
from services.embedder.providers.layout import BrokenFolder, read_layout
from services.embedder.providers.onnx import OnnxProvider
from services.embedder.settings import EmbedderSettings
from services.providers.client import ProviderUnavailable
from tests.sentence_encoder import CONFIGS, DIMENSION, MAX_TOKENS, write_encoder

PROMPTS = {"prompts": {"query": "question: ", "passage": "answer: ", "clustering": "cluster: "}}
TEXTS = ["A man is eating food.", "word " * 400, "Patients received insulin.", "x", "The quick brown fox. " * 9]


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("models") / "minilm")


@pytest.fixture(scope="module")
def encoder(minilm: Path) -> SentenceEncoder:
    return SentenceEncoder(read_layout(minilm))


def vectors(answers: Sequence[Embedding | Failure]) -> list[NDArray[np.float32]]:
    """The vectors of answers, none of which may be a failure."""
    assert all(isinstance(answer, Embedding) for answer in answers), answers
    return [answer.vector for answer in answers if isinstance(answer, Embedding)]


def vector(encoder: SentenceEncoder, text: str, purpose: Purpose = Purpose.DOCUMENT) -> NDArray[np.float32]:
    return vectors([encoder.embed(text, purpose)])[0]


async def test_a_text_has_the_same_bits_in_every_batch(minilm: Path) -> None:
    provider = OnnxProvider([minilm])
    together = vectors(await provider.embed("minilm", TEXTS))
    alone = [vectors(await provider.embed("minilm", [text]))[0] for text in TEXTS]
    backwards = vectors(await provider.embed("minilm", TEXTS[::-1] * 2))[::-1][: len(TEXTS)]
    at_once = await asyncio.gather(*(provider.embed("minilm", TEXTS) for _ in range(2)))
    restarted = vectors(await OnnxProvider([minilm]).embed("minilm", TEXTS))
    for batch in (alone, backwards, restarted, *map(vectors, at_once)):
        assert [value.tobytes() for value in batch] == [value.tobytes() for value in together]
    assert {value.shape for value in together} == {(DIMENSION,)}
    np.testing.assert_allclose([np.linalg.norm(value) for value in together], 1.0, rtol=1e-6)


SAME_MEANING = [
    ("It is raining heavily outside.", "There is a downpour.", "It is quiet outside."),
    ("Where can I buy cheap flights?", "Low-cost airline tickets", "Where can I buy cheap shoes?"),
    ("Macros in C", "Textual substitution by the preprocessor", "Macaroons in Cannes"),
]
"""A text, one that means nearly the same in other words, and one that means something else in the same words."""


@pytest.mark.parametrize("triple", SAME_MEANING)
def test_the_encoder_sees_meanings_and_the_built_in_model_spellings(
    encoder: SentenceEncoder, triple: tuple[str, str, str]
) -> None:
    text, paraphrase, same_words = (vector(encoder, sentence) for sentence in triple)
    assert text @ paraphrase > text @ same_words + 0.1
    text, paraphrase, same_words = vectors(BuiltinProvider().embed_now(triple))
    assert text @ paraphrase < text @ same_words - 0.1  # why its description says "spelling level"


def test_a_text_beyond_the_limit_is_truncated_and_says_so(encoder: SentenceEncoder) -> None:
    special_tokens = 2
    fitting, longer = ("word " * (MAX_TOKENS - special_tokens + count) for count in (0, 1))
    answers = [encoder.embed(text, Purpose.DOCUMENT) for text in (fitting, longer, longer * 100)]
    assert [isinstance(answer, Embedding) and answer.truncated for answer in answers] == [False, True, True]
    first, *truncated = (value.tobytes() for value in vectors(answers))
    assert truncated == [first, first]


def test_queries_and_documents_have_their_prefixes(encoder: SentenceEncoder, tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "asymmetric", {"config_sentence_transformers.json": PROMPTS})
    asymmetric = SentenceEncoder(read_layout(folder))
    for purpose, prefix in ((Purpose.QUERY, "question: "), (Purpose.DOCUMENT, "answer: ")):
        prefixed = vector(asymmetric, "heart failure", purpose)
        assert prefixed.tobytes() == vector(encoder, f"{prefix}heart failure").tobytes()
        assert prefixed.tobytes() != vector(encoder, "heart failure").tobytes()
        assert vector(encoder, "heart failure", purpose).tobytes() == vector(encoder, "heart failure").tobytes()


def test_a_prefix_can_be_left_out_of_the_pooling(encoder: SentenceEncoder, tmp_path: Path) -> None:
    pooling = {**CONFIGS["1_Pooling/config.json"], "include_prompt": False}
    configs = {"config_sentence_transformers.json": PROMPTS, "1_Pooling/config.json": pooling}
    reading = SentenceEncoder(read_layout(write_encoder(tmp_path / "instructed", configs)))
    whole = SentenceEncoder(
        read_layout(
            write_encoder(tmp_path / "whole", {**configs, "1_Pooling/config.json": CONFIGS["1_Pooling/config.json"]})
        )
    )
    texts = ("heart failure", "a river")
    similarity = {
        name: vector(one, texts[0]) @ vector(one, texts[1]) for name, one in (("part", reading), ("all", whole))
    }
    assert similarity["part"] < similarity["all"]  # what both texts share, their prefix, no longer counts


@pytest.mark.parametrize(
    "pooling",
    [{"pooling_mode": mode} for mode in ("mean", "cls", "max", "lasttoken")] + [{"pooling_mode_cls_token": True}],
)
def test_poolings(encoder: SentenceEncoder, tmp_path: Path, pooling: Mapping[str, Any]) -> None:
    configs = {"1_Pooling/config.json": pooling, "modules.json": CONFIGS["modules.json"][:2]}
    raw = vector(SentenceEncoder(read_layout(write_encoder(tmp_path / "e", configs))), TEXTS[0]).astype(np.float64)
    assert abs(np.linalg.norm(raw) - 1.0) > 0.1  # modules.json has no step that normalises
    cosine = raw @ vector(encoder, TEXTS[0]) / np.linalg.norm(raw)
    assert (cosine > 0.999999) == (pooling == {"pooling_mode": "mean"})


@pytest.mark.parametrize("network", ["onnx/model.onnx", "onnx/model_quantized.onnx"])
def test_the_network_may_be_in_a_folder_of_its_own(encoder: SentenceEncoder, tmp_path: Path, network: str) -> None:
    other = SentenceEncoder(read_layout(write_encoder(tmp_path / "e", network=network)))
    assert vector(other, "heart").tobytes() == vector(encoder, "heart").tobytes()


def test_the_least_limit_of_tokens_counts(tmp_path: Path) -> None:
    limits = {"sentence_bert_config.json": {"max_seq_length": None}, "config.json": {"max_position_embeddings": 514}}
    tokenizer = {"tokenizer_config.json": {"model_max_length": 512}}
    assert read_layout(write_encoder(tmp_path / "a", limits)).max_tokens == 514
    assert read_layout(write_encoder(tmp_path / "b", {**limits, **tokenizer})).max_tokens == 512


BROKEN: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "no-modules": ({"modules.json": None}, "no modules.json"),
    "odd-modules": ({"modules.json": [1]}, "no list of modules"),
    "dense": ({"modules.json": [*CONFIGS["modules.json"], {"path": "3_Dense", "type": "a.Dense"}]}, "module Dense"),
    "outside": ({"modules.json": [{"path": "../..", "type": "a.Pooling"}]}, "outside the folder"),
    "no-pooling": ({"1_Pooling/config.json": None}, "1_Pooling/config.json"),
    "pooling": ({"1_Pooling/config.json": {"pooling_mode": ["cls", "mean"]}}, "cls . mean"),
    "no-limit": ({"sentence_bert_config.json": None}, "max_seq_length"),
    "list": ({"sentence_bert_config.json": []}, "no JSON object"),
    "prompts": ({"config_sentence_transformers.json": {"prompts": {"query": 1}}}, "prompts"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_folder_that_cannot_be_read_correctly_is_refused(tmp_path: Path, case: str) -> None:
    configs, words = BROKEN[case]
    with pytest.raises(BrokenFolder, match=words):
        read_layout(write_encoder(tmp_path / "e", configs))


def damaged(folder: Path, file: str, data: bytes | None) -> Path:
    """An encoder whose file is replaced by other bytes, or deleted."""
    write_encoder(folder)
    (folder / file).unlink()
    if data is not None:
        (folder / file).write_bytes(data)
    return folder


async def test_broken_folders_are_listed_with_their_errors_and_the_others_work(minilm: Path, tmp_path: Path) -> None:
    folders = {
        "absent": (tmp_path / "absent", "does not exist"),
        "networkless": (damaged(tmp_path / "networkless", "model.onnx", None), "onnx/model_quantized.onnx"),
        "nonsense": (damaged(tmp_path / "nonsense", "model.onnx", b"nonsense"), "model.onnx cannot be loaded"),
        "pickle": (damaged(tmp_path / "pickle", "model.onnx", b"\x80\x04N."), "model.onnx cannot be loaded"),
        "wordless": (damaged(tmp_path / "wordless", "tokenizer.json", b"{}"), "tokenizer.json cannot be loaded"),
        "speechless": (damaged(tmp_path / "speechless", "tokenizer.json", None), "no tokenizer.json"),
        "invalid": (damaged(tmp_path / "invalid", "modules.json", b"[{"), "no valid JSON"),
    }
    provider = OnnxProvider([*(folder for folder, _words in folders.values()), minilm])
    models = EmbeddingModels({"builtin": BuiltinProvider(), "onnx": provider})
    await provider.load()
    listed = {model.id: model for model in (await models.list())[0]}
    assert {id for id, model in listed.items() if not model.error} == {"builtin/wordllama-256", "onnx/minilm"}
    assert (listed["onnx/minilm"].dimension, listed["onnx/minilm"].max_tokens) == (DIMENSION, MAX_TOKENS)
    for name, (folder, words) in folders.items():
        assert words in listed[f"onnx/{name}"].error
        assert str(folder) in listed[f"onnx/{name}"].error
        with pytest.raises(ProviderUnavailable, match=words):
            await models.get(f"onnx/{name}")
        with pytest.raises(ProviderUnavailable, match=words):
            await models.embed(f"onnx/{name}", ["a"])
    with pytest.raises(EmbeddingModelNotFound, match="PRISMA_ONNX_MODELS"):
        await models.embed(f"onnx/{minilm}", ["a"])  # a folder is never taken from a request
    state = await provider.dependency().state()
    assert "does not exist" in state.message
    assert len(vectors(await models.embed("onnx/minilm", ["a"]))) == 1


async def test_a_mended_folder_works_without_a_restart(tmp_path: Path) -> None:
    provider = OnnxProvider([tmp_path / "late"])
    assert (await provider.models())[0].error
    write_encoder(tmp_path / "late")
    (model,) = await provider.models()
    assert (model.error, model.dimension) == ("", DIMENSION)


async def test_a_network_that_fails_on_a_text_is_a_fault_of_the_model(tmp_path: Path) -> None:
    """The network has 512 positions: the limit of its files is wrong, and no text is to blame."""
    folder = write_encoder(tmp_path / "e", {"sentence_bert_config.json": {"max_seq_length": 1000}})
    provider = OnnxProvider([folder])
    with pytest.raises(ProviderUnavailable, match="does not work"):
        await provider.embed("e", ["a", "word " * 900])
    assert len(vectors(await provider.embed("e", ["a"]))) == 1


async def test_a_text_without_a_word_fails_alone(minilm: Path) -> None:
    answers = await OnnxProvider([minilm]).embed("minilm", ["\u200b", "a"])
    assert [isinstance(answer, Failure) for answer in answers] == [True, False]


def test_folders_come_from_the_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PRISMA_ONNX_MODELS", f"{tmp_path / 'a'}:{tmp_path / 'b'}/:")
    assert EmbedderSettings().onnx_folders == (tmp_path / "a", tmp_path / "b")
    monkeypatch.setenv("PRISMA_ONNX_MODELS", f"{tmp_path / 'a'}:{tmp_path / 'x/a'}")
    with pytest.raises(StartRefused, match="two folders of one name"):
        _ = EmbedderSettings().onnx_folders
    monkeypatch.setenv("PRISMA_ONNX_MODELS", "")
    assert EmbedderSettings().onnx_folders == ()


def test_configs_are_small(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "e")
    (folder / "modules.json").write_text(json.dumps([" " * (2 << 20)]))
    with pytest.raises(BrokenFolder, match="more than"):
        read_layout(folder)
