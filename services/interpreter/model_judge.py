"""A language model that judges whether labels fit documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from services.chassis.ordered import ordered
from services.interpreter import judge_prompts, scoring
from services.interpreter.judge_prompts import NotRatings
from services.interpreter.model_labeller import ChatProvider
from services.interpreter.scoring import Floats, Score
from services.providers.client import BLAMES_INPUT, ProviderRefused

QUESTION_SIZE = 5
"""Documents of one question."""
CONTROL_QUESTIONS = 10
"""Whose answers are known."""
PASSED = 0.6
"""The lower end of the interval of a judge's score on these is at least this: what a wrong label stays below."""
MAX_UNUSABLE_SHARE = 0.1
"""Of a scorer's documents, from which its answers are no score: what is missing is missing for a reason."""
_QUOTED_WORDS = 8
_TEMPERATURES = (0.0, 0.7)
"""Of the first attempt at a question and of the second."""

Question = Callable[[str, Sequence[str]], list[dict[str, str]]]
"""The messages about a label and documents: `judge_prompts.detection` or `judge_prompts.fuzzing`."""


@dataclass(frozen=True)
class Ratings:
    """A judge's answers about some documents."""

    values: Floats
    """(m,) 0 to 10; NaN for a document without a usable answer."""
    question_count: int
    """Questions that were asked, repeated ones too."""

    @property
    def unusable_count(self) -> int:
        """Documents without a usable answer."""
        return int(np.isnan(self.values).sum())

    @property
    def usable(self) -> bool:
        """Whether there are enough answers for a score."""
        return self.unusable_count <= MAX_UNUSABLE_SHARE * len(self.values)


class ModelJudge:
    """A model of a provider. All methods raise ProviderUnavailable and ProviderRefused."""

    def __init__(self, providers: Mapping[str, ChatProvider], model: str, *, question_count: int = 0) -> None:
        """providers: by name. model: `<provider>/<model>`, which a labeller has checked.

        question_count: of questions before.
        """
        name, _, self._model = model.partition("/")
        self._provider = providers[name]
        self.model = model
        self.question_count = question_count
        """Questions so far, repeated ones too."""

    async def rate(self, question: Question, label: str, texts: Sequence[str]) -> Ratings:
        """How far texts are about a label; in questions of five, shuffled so that their order says nothing.

        Documents of a question that the server declines have no rating.
        """
        order = np.random.default_rng(len(texts)).permutation(len(texts))
        parts = [order[start : start + QUESTION_SIZE] for start in range(0, len(order), QUESTION_SIZE)]
        part_texts = [[texts[int(place)] for place in places] for places in parts]
        values = np.full(len(texts), np.nan)
        rate = partial(self._ratings, question, label)
        answers = [ratings async for ratings in ordered(rate, part_texts, concurrency=self._provider.concurrency)]
        for places, ratings in zip(parts, answers, strict=True):
            values[places] = ratings.values
        question_count = sum(ratings.question_count for ratings in answers)
        self.question_count += question_count
        return Ratings(values, question_count)

    async def _ratings(self, question: Question, label: str, texts: Sequence[str]) -> Ratings:
        """The ratings of the texts of one question, which is asked again after an unusable answer."""
        unrated = np.full(len(texts), np.nan)
        for count, temperature in enumerate(_TEMPERATURES, 1):
            try:
                content = await self._provider.chat(
                    self._model,
                    question(label, texts),
                    schema=judge_prompts.schema(len(texts)),
                    temperature=temperature,
                )
                return Ratings(np.asarray(judge_prompts.read(content, len(texts)), np.float64), count)
            except NotRatings:
                continue
            except ProviderRefused as error:
                if error.status not in BLAMES_INPUT:
                    raise
                return Ratings(unrated, count)
        return Ratings(unrated, len(_TEMPERATURES))

    async def control(self, texts: Sequence[str]) -> Score | None:
        """How well it answers questions whose answers are known; None for too few texts, or unusable answers.

        Each question has five texts and the first words of one of them as the label, at each place in turn. A model
        that rates at random, all alike or by the place does not pass. texts: different ones.
        """
        if len(texts) < QUESTION_SIZE:
            return None
        step = len(texts) // QUESTION_SIZE

        async def answer(number: int) -> Ratings:
            question_texts = [texts[(number + step * other) % len(texts)] for other in range(QUESTION_SIZE)]
            label = " ".join(question_texts[number % QUESTION_SIZE].split()[:_QUOTED_WORDS])
            return await self.rate(judge_prompts.detection, label, question_texts)

        own: list[float] = []
        other_ratings: list[float] = []
        numbers = range(CONTROL_QUESTIONS)
        answers = [ratings async for ratings in ordered(answer, numbers, concurrency=self._provider.concurrency)]
        for number, ratings in zip(numbers, answers, strict=True):
            if not ratings.unusable_count:
                place = number % QUESTION_SIZE
                own.append(float(ratings.values[place]))
                other_ratings += np.delete(ratings.values, place).tolist()
        if len(own) < (1 - MAX_UNUSABLE_SHARE) * CONTROL_QUESTIONS:
            return None
        return scoring.score(np.array(own), np.array(other_ratings))


def questions_for(document_count: int) -> int:
    """Questions for so many documents, if all answers are usable."""
    return -(-document_count // QUESTION_SIZE)
