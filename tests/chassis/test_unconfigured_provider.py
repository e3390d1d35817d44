"""Nobody is told that a provider is missing which nobody has set up."""

from __future__ import annotations

import pytest

from services.embedder.providers import EmbeddingModels
from services.embedder.providers.ollama import OllamaProvider
from services.interpreter.evidence_reader import EvidenceReader
from services.interpreter.labellers import Labellers
from services.interpreter.model_labeller import ModelLabeller
from services.interpreter.ollama import OllamaChat
from services.interpreter.settings import InterpreterSettings
from services.interpreter.upstream import Upstream

NOBODY = "http://127.0.0.1:9"


@pytest.mark.parametrize("configured", [True, False])
async def test_only_a_provider_that_was_set_up_is_unreachable(
    monkeypatch: pytest.MonkeyPatch, configured: bool
) -> None:
    monkeypatch.setenv("PRISMA_OLLAMA_URL", NOBODY if configured else "")
    settings = InterpreterSettings()
    expected = ["ollama"] if configured else []
    embeddings, labels, upstream = OllamaProvider(NOBODY), OllamaChat(NOBODY), Upstream(settings)
    models = EmbeddingModels({"ollama": embeddings}, unconfigured=settings.unconfigured_providers)
    labellers = Labellers(
        {"ollama": ModelLabeller(upstream, EvidenceReader(upstream), labels)},
        unconfigured=settings.unconfigured_providers,
    )
    try:
        assert list((await models.list())[1]) == expected
        assert list((await labellers.models())[1]) == expected
    finally:
        await embeddings.close()
        await labels.close()
        await upstream.close()
