"""Labels by models that behave and by models that do not."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prisma.interpreter.v1 import interpreter_service_pb2 as pb2
from prisma.interpreter.v1 import resources_pb2
from prisma_common.label_texts import clean_line, clean_text, shorten
from services.chassis import context as call_context
from services.interpreter import labellers as labellers_module
from services.interpreter import prompts
from services.interpreter.errors import LabelModelNotFound, UnusableAnswer
from services.interpreter.evidence_reader import EvidenceReader
from services.interpreter.features import Features
from services.interpreter.keyword_labeller import KeywordLabeller
from services.interpreter.labellers import Labellers, LabelModel, Task
from services.interpreter.labels import Draft, Options, Source
from services.interpreter.model_labeller import ModelLabeller
from services.interpreter.ollama import OllamaChat
from services.interpreter.requests import written_label
from services.providers.client import ProviderRefused, ProviderUnavailable
from tests.broken_ollama import BrokenOllama, broken_ollama
from tests.interpreter.owners import Owners, features_of, owners

LATENTS = 12


@pytest.fixture(scope="module")
def source() -> Owners:
    return owners(latent_count=LATENTS, row_count=60)


@pytest.fixture
async def features(source: Owners) -> Features:
    return await features_of(source)


@pytest.fixture(scope="module")
def chat() -> Iterator[BrokenOllama]:
    with broken_ollama() as server:
        yield server


@pytest.fixture
async def labellers(source: Owners, chat: BrokenOllama) -> AsyncIterator[Labellers]:
    texts: Any = source
    reader = EvidenceReader(texts)
    ollama = OllamaChat(chat.url)
    yield Labellers({"keywords": KeywordLabeller(texts, reader), "ollama": ModelLabeller(texts, reader, ollama)})
    await ollama.close()


async def drafts_of(labellers: Labellers, features: Features, model: str, indices: range = range(3)) -> list[Draft]:
    task = Task(features, indices, Options(model=model))
    return [draft async for batch in labellers.get(model).drafts(task) for draft in batch]


async def test_all_models_are_listed_by_their_ids(labellers: Labellers) -> None:
    models, unreachable = await labellers.models()
    assert [model.id for model in models][:2] == ["keywords", "ollama/chatty:latest"]
    assert [model.id for model in models if model.is_default] == ["keywords"]
    assert not unreachable
    await labellers.check("keywords")
    await labellers.check("ollama/good")
    for model in ("ollama/none", "openai/gpt", "keywords/more"):
        with pytest.raises(LabelModelNotFound):
            await labellers.check(model)


async def test_an_unreachable_provider_hides_no_other_model(source: Owners) -> None:
    texts: Any = source
    reader = EvidenceReader(texts)
    nobody = OllamaChat("http://127.0.0.1:9")
    labellers = Labellers({"keywords": KeywordLabeller(texts, reader), "ollama": ModelLabeller(texts, reader, nobody)})
    models, unreachable = await labellers.models()
    assert [model.id for model in models] == ["keywords"]
    assert list(unreachable) == ["ollama"]
    with pytest.raises(ProviderUnavailable):
        await labellers.check("ollama/good")
    await nobody.close()


async def test_a_slow_provider_hides_no_other_model(labellers: Labellers, monkeypatch: pytest.MonkeyPatch) -> None:
    async def models(_self: ModelLabeller) -> list[LabelModel]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(labellers_module, "LISTING_SECONDS", 0.1)
    monkeypatch.setattr(ModelLabeller, "models", models)
    models_now, unreachable = await labellers.models()
    assert [model.id for model in models_now] == ["keywords"]
    assert unreachable == {"ollama": "no list of its models within 0.1 s"}


async def test_a_model_labels_one_feature_after_the_other(labellers: Labellers, features: Features) -> None:
    drafts = await drafts_of(labellers, features, "ollama/good")
    assert [(draft.index, draft.text, draft.source) for draft in drafts] == [
        (index, "Ferries", Source.MODEL) for index in range(3)
    ]
    assert all(len(draft.positive_rows) == 6 and len(draft.negative_rows) == 4 for draft in drafts)


async def test_a_models_label_has_no_control_characters(labellers: Labellers, features: Features) -> None:
    draft = (await drafts_of(labellers, features, "ollama/control"))[0]
    assert (draft.text, draft.description) == ("Fer ries and ships [31m", "a b")


async def test_a_models_label_is_short(labellers: Labellers, features: Features) -> None:
    draft = (await drafts_of(labellers, features, "ollama/long"))[0]
    assert draft.text.endswith("word…")
    assert len(draft.text) <= prompts.MAX_MODEL_LABEL
    assert len(draft.description) == 2000


@pytest.mark.parametrize("model", ["nonsense", "chatty"])
async def test_answers_without_a_label_fail_the_labelling(labellers: Labellers, features: Features, model: str) -> None:
    with pytest.raises(UnusableAnswer, match="3 of 3 features"):
        await drafts_of(labellers, features, f"ollama/{model}")
    with pytest.raises(UnusableAnswer, match=f"4 of {LATENTS} features"):
        await drafts_of(labellers, features, f"ollama/{model}", range(LATENTS))  # no more are asked for


@pytest.mark.parametrize("model", ["sometimes", "filtered"])
async def test_a_few_features_without_a_usable_answer_do_not_fail_the_rest(
    labellers: Labellers, features: Features, source: Owners, model: str
) -> None:
    good_drafts = await drafts_of(labellers, features, "ollama/good", range(LATENTS))
    prompt_rows = {draft.index: {*draft.positive_rows, *draft.negative_rows} for draft in good_drafts}
    row, failing = min(
        ((row, [index for index in prompt_rows if row in prompt_rows[index]]) for row in prompt_rows[0]),
        key=lambda pair: len(pair[1]),
    )
    assert 1 <= len(failing) <= 3
    text = source.all_texts[row]
    source.all_texts[row] = f"{text} ODD"
    drafts = await drafts_of(labellers, features, f"ollama/{model}", range(LATENTS))
    source.all_texts[row] = text
    assert [draft.index for draft in drafts] == [index for index in range(LATENTS) if index not in failing]


@pytest.mark.parametrize("model", ["dead", "html"])
async def test_a_broken_server_is_an_outage(
    labellers: Labellers, features: Features, chat: BrokenOllama, model: str
) -> None:
    with pytest.raises(ProviderUnavailable):
        await drafts_of(labellers, features, f"ollama/{model}")
    chat.repaired.add(model)
    assert len(await drafts_of(labellers, features, f"ollama/{model}")) == 3


async def test_a_server_that_refuses_says_why(labellers: Labellers, features: Features) -> None:
    with pytest.raises(ProviderRefused, match="unauthorized"):
        await drafts_of(labellers, features, "ollama/denied")


@settings(max_examples=300)
@given(st.one_of(st.text(), st.recursive(st.none() | st.floats() | st.text(), st.lists).map(repr)))
def test_whatever_a_model_writes_is_a_label_or_refused(content: str) -> None:
    for answer in (content, f'{{"label": {content}}}', f'{{"label": "{content}", "description": {content}}}'):
        try:
            label = prompts.read(answer).label
        except prompts.NotALabel:
            continue
        assert 0 < len(label) <= prompts.MAX_MODEL_LABEL
        assert not [character for character in label if unicodedata.category(character) in ("Cc", "Cs", "Cn")]


@pytest.mark.parametrize("answer", ["[" * 200_000, '{"label": ' + "[" * 60_000, '{"a":' * 20_000, "{" + "9" * 60_000])
def test_deep_and_long_answers_are_refused(answer: str) -> None:
    with pytest.raises(prompts.NotALabel):
        prompts.read(answer)


@given(st.text(), st.integers(2, 50))
def test_shortened_texts_fit(text: str, limit: int) -> None:
    short = shorten(text, limit)
    assert len(short) <= limit
    assert short == text or short.endswith("…")


def test_texts_are_cleaned_without_loss_of_letters() -> None:
    assert clean_line(" a\u0000b\n\u202ec \ud800d ") == "a b c d"
    assert clean_text("one\r\ntwo\x07 ") == "one\ntwo"
    assert clean_line("می\u200cخواهم 👨\u200d👩\u200d👧 cafe\u0301") == "می\u200cخواهم 👨\u200d👩\u200d👧 café"


def test_a_label_that_a_model_wrote_elsewhere_keeps_who_brought_it() -> None:
    token = call_context.user.set("anna")
    try:
        for model, source in (("prismadb/llama3:8b", Source.MODEL), ("", Source.HUMAN)):
            label = resources_pb2.Label(text="a topic", model=model)
            _run, draft = written_label(pb2.CreateLabelRequest(parent="runs/r/features/1", label=label))
            assert (draft.source, draft.model, draft.author) == (source, model or None, "anna")
    finally:
        call_context.user.reset(token)
