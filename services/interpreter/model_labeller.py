"""Labels by a language model of a provider, one feature at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Protocol

from services.chassis import logs
from services.interpreter import prompts
from services.interpreter.errors import LabelModelNotFound, UnusableAnswer
from services.interpreter.evidence_reader import TextSource
from services.interpreter.features import Features
from services.interpreter.labellers import LabelModel, Task
from services.interpreter.labels import Draft, Options, Source
from services.interpreter.prompts import ShownDocument

_ATTEMPTS = 2
"""Questions per feature before its answers count as unusable."""
MAX_FAILED_SHARE = 0.1
"""Share of features without a usable answer from which labelling fails as a whole."""
_MIN_FAILED = 3
"""Features without a usable answer that never fail it."""

_log = logs.get(__name__)


class ChatProvider(Protocol):
    """A server of chat models. All methods raise ProviderUnavailable and ProviderRefused."""

    name: str
    """The first part of its models' ids."""

    async def models(self) -> list[LabelModel]:
        """The models that can chat, by id."""
        ...

    def how_to_add(self, model: str) -> str:
        """A sentence that says how the operator adds a model. model: without provider, here and below."""
        ...

    async def chat(
        self, model: str, messages: Sequence[Mapping[str, str]], *, schema: Mapping[str, Any], temperature: float
    ) -> str:
        """The text of a model's answer, which follows the JSON schema unless it was cut."""
        ...


class ModelLabeller:
    """Labels by the models of one provider. Raises what the source and the provider raise."""

    def __init__(self, source: TextSource, provider: ChatProvider) -> None:
        self._source = source
        self._provider = provider

    async def models(self) -> Sequence[LabelModel]:
        """The provider's models."""
        return await self._provider.models()

    async def check(self, model: str) -> None:
        """Raises LabelModelNotFound, ProviderUnavailable."""
        known_ids = [offered.id for offered in await self._provider.models()]
        if model not in known_ids and f"{model}:latest" not in known_ids:
            raise LabelModelNotFound(
                f"{self._provider.name} has no model {model!r} that can chat; it has: "
                f"{', '.join(known_ids) or 'none'}. {self._provider.how_to_add(model.partition('/')[2])}",
                metadata={"model": model},
            )

    async def drafts(self, task: Task) -> AsyncGenerator[Sequence[Draft]]:
        """Labels one by one. A feature without a usable answer is left out; too many raise UnusableAnswer."""
        failed: list[UnusableAnswer] = []
        for index in task.indices:
            try:
                draft = await self._draft(task.features, index, task.options)
            except UnusableAnswer as error:
                failed.append(error)
                _log.warning("no usable label", feature=index, model=task.options.model)
                yield []
                continue
            yield [draft]
        allowed = max(_MIN_FAILED, MAX_FAILED_SHARE * len(task.indices))
        if failed and (len(failed) > allowed or len(failed) == len(task.indices)):
            message = f"{len(failed)} of {len(task.indices)} features have no label: {failed[-1].message}"
            raise UnusableAnswer(message, metadata=failed[-1].metadata)

    async def _draft(self, features: Features, index: int, options: Options) -> Draft:
        rows, activations = features.top(index, options.positive_count)
        negative_rows = features.negatives(index, options.negative_count)
        texts = await self._source.texts(features.run.dataset, [*rows.tolist(), *negative_rows])
        positives = [
            ShownDocument(row, texts[row], activation)
            for row, activation in zip(rows.tolist(), activations.tolist(), strict=True)
            if row in texts
        ]
        negatives = [ShownDocument(row, texts[row], 0.0) for row in negative_rows if row in texts]
        answer = await self._ask(index, prompts.messages(positives, negatives, options.system_prompt), options)
        return Draft(
            index=index,
            text=answer.label,
            description=answer.description,
            source=Source.MODEL,
            model=options.model,
            options=options,
            positive_rows=tuple(document.row for document in positives),
            negative_rows=tuple(document.row for document in negatives),
        )

    async def _ask(self, index: int, messages: Sequence[Mapping[str, str]], options: Options) -> prompts.Answer:
        problem = ""
        model = options.model.partition("/")[2]
        for _ in range(_ATTEMPTS):
            content = await self._provider.chat(model, messages, schema=prompts.SCHEMA, temperature=options.temperature)
            try:
                return prompts.read(content)
            except prompts.NotALabel as error:
                problem = str(error)
        raise UnusableAnswer(
            f"feature {index}: {options.model} answered {_ATTEMPTS} times without a usable label: {problem}",
            metadata={"model": options.model, "index": str(index)},
        )
