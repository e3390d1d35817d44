"""Labels by a real Ollama: its small model tests the protocol, not the quality."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from services.interpreter import judge_prompts, prompts
from services.interpreter.errors import LabelModelNotFound
from services.interpreter.evidence_reader import EvidenceReader
from services.interpreter.model_judge import ModelJudge
from services.interpreter.model_labeller import ModelLabeller
from services.interpreter.ollama import OllamaChat
from tests.interpreter.owners import owners
from tests.ollama_server import CHATS, EMBEDS


@pytest.fixture
async def ollama(ollama_url: str) -> AsyncIterator[OllamaChat]:
    provider = OllamaChat(ollama_url)
    yield provider
    await provider.close()


async def test_a_real_model_writes_a_label(ollama: OllamaChat) -> None:
    source: Any = owners(latent_count=8, row_count=10)
    labeller = ModelLabeller(source, EvidenceReader(source), ollama)
    ids = [model.id for model in await labeller.models()]
    assert f"ollama/{CHATS}" in ids
    assert f"ollama/{EMBEDS}" not in ids
    await labeller.check(f"ollama/{CHATS}")
    with pytest.raises(LabelModelNotFound, match=f"can chat.*`ollama pull {EMBEDS}`"):
        await labeller.check(f"ollama/{EMBEDS}")

    documents = [prompts.ShownDocument(row, f"The cat number {row} sleeps on the sofa.", 3.0 - row) for row in range(3)]
    beside = [prompts.ShownDocument(9, "Interest rates rose by half a percent.", 0.0)]
    messages = prompts.messages(documents, beside, None)
    content = await ollama.chat(CHATS, messages, schema=prompts.SCHEMA, temperature=0.0)
    assert prompts.read(content).label


async def test_a_real_model_judges_or_is_found_out(ollama: OllamaChat) -> None:
    judge = ModelJudge({"ollama": ollama}, f"ollama/{CHATS}")
    texts = [
        f"The {animal} number {number} sleeps on the sofa." for number in range(2) for animal in ("cat", "owl", "eel")
    ]
    ratings = await judge.rate(judge_prompts.detection, "cats", texts)
    assert ratings.question_count >= 2
    assert len(ratings.values) == 6
    usable = ratings.values[~np.isnan(ratings.values)]
    assert ((usable >= 0) & (usable <= 10)).all()
    score = await judge.control(texts)
    assert score is None or 0 <= score.low <= score.auc <= score.high <= 1
