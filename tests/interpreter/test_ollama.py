"""Labels over a real Ollama: its small model tests the protocol, not the quality."""

from __future__ import annotations

import pytest

from services.interpreter import prompts
from services.interpreter.errors import LabelModelNotFound
from services.interpreter.ollama import Ollama
from services.interpreter.settings import InterpreterSettings
from tests.ollama_server import CHATS, EMBEDS


async def test_a_real_model_writes_a_label(ollama_url: str) -> None:
    ollama = Ollama(InterpreterSettings(ollama_url=ollama_url))
    try:
        assert CHATS in await ollama.models()
        assert EMBEDS not in await ollama.models()
        await ollama.check(f"ollama/{CHATS}")
        with pytest.raises(LabelModelNotFound, match="can chat"):
            await ollama.check(f"ollama/{EMBEDS}")
        shown = [prompts.Shown(row, f"The cat number {row} sleeps on the sofa.", 3.0 - row) for row in range(3)]
        beside = [prompts.Shown(9, "Interest rates rose by half a percent.", 0.0)]
        content = await ollama.chat(f"ollama/{CHATS}", prompts.messages(shown, beside, ""), prompts.SCHEMA, 0.0)
        assert prompts.read(content).label
    finally:
        await ollama.close()
