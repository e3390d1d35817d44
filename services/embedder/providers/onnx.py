"""Sentence encoders of the folders that the operator configured. A request names a model, never a folder."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

from prisma_common.cores import core_count
from services.chassis import logs
from services.chassis.dependency import Dependency
from services.embedder.documents import Failure
from services.embedder.errors import EmbeddingModelNotFound
from services.embedder.providers import Embedding, Model, Purpose
from services.embedder.providers.encoder import SentenceEncoder
from services.embedder.providers.layout import read_layout
from services.embedder.providers.tokens import TokenLimit
from services.providers.client import ProviderUnavailable

NAME = "onnx"
SPARE_THREADS = 4
"""Beyond one for each core, so that a query does not queue behind the texts of a job."""

_log = logs.get(__name__)


class OnnxProvider:
    """One model for each folder, named after it. A folder that does not work is tried again by each call."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """folders: of different names."""
        self._threads = ThreadPoolExecutor(core_count() + SPARE_THREADS, thread_name_prefix=NAME)
        self._models = {folder.name: _FolderModel(folder, self._threads) for folder in folders}

    async def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def load(self) -> None:
        """Loads all models, and logs which folders do not work."""
        for name, model in self._models.items():
            try:
                encoder = await model.encoder()
            except ProviderUnavailable as error:
                _log.warning("an embedding model does not work", model=f"{NAME}/{name}", error=error.message)
            else:
                _log.info("an embedding model is loaded", model=f"{NAME}/{name}", dimension=encoder.dimension)

    async def models(self) -> list[Model]:
        """All models, with an error where the folder does not work."""
        return [await model.description() for model in self._models.values()]

    async def find(self, model: str) -> Model | None:
        """A model by its name."""
        return await self._models[model].description() if model in self._models else None

    def complete(self, model: str) -> str:
        """The name as it is."""
        return model

    async def embed(
        self, model: str, texts: Sequence[str], *, purpose: Purpose = Purpose.DOCUMENT
    ) -> list[Embedding | Failure]:
        """For each text its vector or failure. Raises EmbeddingModelNotFound, ProviderUnavailable."""
        return await self._model(model).embed(texts, purpose)

    async def token_limit(self, model: str) -> TokenLimit:
        """A model's tokens of documents. Raises EmbeddingModelNotFound, ProviderUnavailable."""
        return await asyncio.to_thread((await self._model(model).encoder()).token_limit)

    def _model(self, model: str) -> _FolderModel:
        if model not in self._models:
            raise EmbeddingModelNotFound(
                f"no folder {model[:200]!r} is configured; PRISMA_ONNX_MODELS lists the folders",
                metadata={"embedding_model": f"{NAME}/{model[:200]}"},
            )
        return self._models[model]

    def dependency(self) -> Dependency:
        """The folders' entry in this process's status. They are no fault of the others' models."""

        async def facts() -> Mapping[str, str]:
            models = await self.models()
            if errors := [model.error for model in models if model.error]:
                raise ProviderUnavailable("; ".join(errors), metadata={"provider": NAME})
            return {"models": ", ".join(model.id for model in models)}

        folders = os.pathsep.join(str(model.folder) for model in self._models.values())
        return Dependency(NAME, folders, facts, essential=False, configured=bool(self._models))


class _FolderModel:
    """The model in a folder, loaded once by the first call that needs it."""

    def __init__(self, folder: Path, threads: Executor) -> None:
        self.folder = folder
        self._threads = threads
        self._loading: asyncio.Task[SentenceEncoder] | None = None

    async def encoder(self) -> SentenceEncoder:
        """The encoder. Raises ProviderUnavailable."""
        task = self._loading
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = self._loading = asyncio.create_task(asyncio.to_thread(_load, self.folder))
        try:
            return await asyncio.shield(task)  # who stops waiting leaves the load to those who still wait
        except Exception as error:
            raise self._unavailable(str(error) or type(error).__name__) from error

    async def description(self) -> Model:
        """The model as it is listed."""
        dimension, max_tokens, message = 0, 0, ""
        try:
            encoder = await self.encoder()
            dimension, max_tokens = encoder.dimension, encoder.max_tokens
        except ProviderUnavailable as error:
            message = error.message
        return Model(
            id=f"{NAME}/{self.folder.name}",
            display_name=f"{self.folder.name} (sentence encoder)",
            dimension=dimension,
            max_tokens=max_tokens,
            description="A sentence encoder on this server: texts are close when they mean similar things.",
            error=message,
        )

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> list[Embedding | Failure]:
        """For each text its vector or failure, on all cores. Raises ProviderUnavailable."""
        encoder = await self.encoder()
        count = min(len(texts), core_count())
        stop = threading.Event()

        def share(part: int) -> list[Embedding | Failure]:
            """The answers to every count-th text."""
            return [encoder.embed(text, purpose) for text in texts[part::count] if not stop.is_set()]

        try:
            loop = asyncio.get_running_loop()
            shares = await asyncio.gather(*(loop.run_in_executor(self._threads, share, part) for part in range(count)))
        except Exception as error:
            raise self._unavailable(str(error)) from error
        finally:
            stop.set()  # threads outlive a cancelled call by one text
        return [shares[index % count][index // count] for index in range(len(texts))]

    def _unavailable(self, detail: str) -> ProviderUnavailable:
        message = f"the sentence encoder in {self.folder} does not work: {detail}"
        return ProviderUnavailable(message, metadata={"provider": NAME})


def _load(folder: Path) -> SentenceEncoder:
    return SentenceEncoder(read_layout(folder))
