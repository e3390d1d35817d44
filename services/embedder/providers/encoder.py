"""A sentence encoder: tokenizer, network in ONNX Runtime, pooling.

Each text goes through the network alone, without padding and on one thread, so that its vector has the same bits in
every batch (on one machine, with one release of ONNX Runtime). In a batch it would not: a dynamically quantised network
scales all texts of a batch, and their padding, together. Threads of the caller work on several texts at a time.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from services.chassis.errors import Code
from services.embedder.documents import Failure
from services.embedder.providers import Embedding, Purpose
from services.embedder.providers.layout import BrokenFolder, Layout
from services.embedder.providers.tokens import ModelTokenizer, TokenLimit

_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
_TOKEN_OUTPUTS = ("token_embeddings", "last_hidden_state")
_ERRORS_ONLY = 3
"""The level of ONNX Runtime's log: it warns of graph optimisations that it skips."""
_TOKENS_DIMENSIONS = 3
_PROBE = "dimension"


class SentenceEncoder:
    """Embeds texts, one at a time; several threads may call it at the same time."""

    def __init__(self, layout: Layout) -> None:
        """Loads the network and embeds a word. Raises BrokenFolder."""
        self._layout = layout
        self._tokenizer = _tokenizer(layout)
        self._session = _session(layout)
        self._inputs: dict[str, str] = {value.name: value.type for value in self._session.get_inputs()}
        if unknown := sorted(set(self._inputs) - _INPUTS):
            raise BrokenFolder(f"its network wants the input {', '.join(unknown)}, which is not supported")
        self._output = _token_output(self._session)
        self._prompt_tokens = {purpose: self._count(prompt) for purpose, prompt in layout.prompts.items()}
        try:
            answer = self.embed(_PROBE, Purpose.DOCUMENT)
        except Exception as error:
            raise BrokenFolder(f"its network fails on the word {_PROBE!r}: {_first_line(error)}") from error
        if isinstance(answer, Failure) or answer.vector.ndim != 1:
            raise BrokenFolder(f"its network gives no vector for the word {_PROBE!r}")
        self.dimension = len(answer.vector)

    @property
    def max_tokens(self) -> int:
        """Tokens that it reads of a text."""
        return self._layout.max_tokens

    def token_limit(self) -> TokenLimit:
        """The tokens of a document that it reads: without those of the prefix and the special ones around it."""
        own = len(self._tokenizer.encode(self._prepared(self._layout.prompts[Purpose.DOCUMENT])).ids)
        tokenizer = ModelTokenizer(self._tokenizer, lower_case=self._layout.lower_case)
        return TokenLimit(tokenizer, max(1, self._layout.max_tokens - own))

    def embed(self, text: str, purpose: Purpose) -> Embedding | Failure:
        """The vector of a text, with the prefix of its purpose. Raises what ONNX Runtime raises."""
        encoding = self._tokenizer.encode(self._prepared(self._layout.prompts[purpose] + text))
        if all(encoding.special_tokens_mask):
            return Failure(Code.INVALID_ARGUMENT, "INVALID_ARGUMENT", "the model knows no word of the text")
        (tokens,) = self._session.run([self._output], self._feed(encoding))[0]
        start = 0 if self._layout.pools_prompt else min(self._prompt_tokens[purpose], len(tokens) - 1)
        vector = _pooled(np.asarray(tokens[start:], dtype=np.float64), self._layout.pooling)
        norm = np.sqrt(np.square(vector).sum())
        if self._layout.normalizes and norm > 0.0:
            vector = vector / norm
        return Embedding(vector.astype(np.float32), truncated=bool(encoding.overflowing))

    def _prepared(self, text: str) -> str:
        return text.lower() if self._layout.lower_case else text

    def _feed(self, encoding: Encoding) -> dict[str, NDArray[Any]]:
        """The inputs of the network, (1, tokens)."""
        columns = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        types = {"tensor(int32)": np.int32}
        return {
            name: np.asarray([columns[name]], dtype=types.get(kind, np.int64)) for name, kind in self._inputs.items()
        }

    def _count(self, prompt: str) -> int:
        """Tokens of a prefix, without a special token at their end."""
        if not prompt:
            return 0
        mask = self._tokenizer.encode(self._prepared(prompt)).special_tokens_mask
        return len(mask) - mask[-1]


def _tokenizer(layout: Layout) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(layout.tokenizer))
        tokenizer.no_padding()
        tokenizer.enable_truncation(layout.max_tokens)
    except Exception as error:  # tokenizers raises bare Exceptions
        raise BrokenFolder(f"tokenizer.json cannot be loaded: {_first_line(error)}") from error
    return tokenizer


def _session(layout: Layout) -> Any:
    try:
        runtime: Any = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise BrokenFolder(
            "ONNX Runtime is not installed: `pip install 'prisma-suite[embedder-onnx]'`, in a checkout "
            "`uv pip install -e '.[embedder-onnx]'`"
        ) from error
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    try:
        return runtime.InferenceSession(str(layout.network), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's classes have no common base of their own
        raise BrokenFolder(f"{layout.network.name} cannot be loaded: {_first_line(error)}") from error


def _token_output(session: Any) -> str:
    """The name of the output with a vector for each token."""
    outputs = {value.name: len(value.shape) for value in session.get_outputs()}
    names = [name for name, dimensions in outputs.items() if dimensions == _TOKENS_DIMENSIONS]
    for name in (*_TOKEN_OUTPUTS, *names):
        if name in names:
            return name
    raise BrokenFolder(f"its network has no output with a vector for each token, but {', '.join(outputs)}")


def _pooled(tokens: NDArray[np.float64], pooling: str) -> NDArray[np.float64]:
    """(d,) of (tokens, d)."""
    match pooling:
        case "cls":
            return tokens[0]
        case "lasttoken":
            return tokens[-1]
        case "max":
            return tokens.max(axis=0)
        case _:
            return tokens.mean(axis=0)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
