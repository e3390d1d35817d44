"""The folder of a sentence encoder, in the layout of sentence-transformers with the network as ONNX.

    modules.json                        the steps: Transformer, Pooling, Normalize
    model.onnx, or in onnx/             the network; see NETWORKS
    tokenizer.json                      the tokenizer
    sentence_bert_config.json           max_seq_length, do_lower_case
    1_Pooling/config.json               how vectors of tokens become one vector
    config_sentence_transformers.json   prompts: prefixes of queries and of documents

Only JSON is read here. A folder whose files ask for something that is not implemented is refused: the vectors would
be others than the model's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.embedder.providers import Purpose

NETWORKS = ("model.onnx", "onnx/model.onnx", "onnx/model_quantized.onnx")
"""Where the network may be; the first one that exists is used."""
POOLINGS = ("mean", "cls", "max", "lasttoken")
"""Poolings that are implemented, by the names of sentence-transformers."""
MAX_CONFIG_BYTES = 1 << 20
_STEPS = {"Transformer", "Pooling", "Normalize"}
_OLDER_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
_UNLIMITED = 1 << 24
"""Tokenizers without a limit of their own have a huge number instead of none."""


class BrokenFolder(Exception):
    """The folder holds no encoder that works; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class Layout:
    """What the files of a folder say.

    network, tokenizer: files.
    pooling: one of POOLINGS.
    pools_prompt: whether the tokens of the prefix count in the pooling.
    normalizes: whether vectors are scaled to unit norm.
    max_tokens: tokens that the encoder reads of a text with its prefix, special tokens included.
    lower_case: whether texts are put into lower case first.
    prompts: the prefix of texts of each purpose.
    """

    network: Path
    tokenizer: Path
    pooling: str
    pools_prompt: bool
    normalizes: bool
    max_tokens: int
    lower_case: bool
    prompts: Mapping[Purpose, str]


def read_layout(folder: Path) -> Layout:
    """The layout of a folder. Raises BrokenFolder."""
    if not folder.is_dir():
        raise BrokenFolder("it does not exist, or is no folder that this process can read")
    network = next((folder / name for name in NETWORKS if (folder / name).is_file()), None)
    if network is None:
        raise BrokenFolder(f"it has none of {', '.join(NETWORKS)}: export the model to ONNX")
    if not (folder / "tokenizer.json").is_file():
        raise BrokenFolder("it has no tokenizer.json: save the model with its fast tokenizer")
    steps = _steps(folder)
    sentence = _config(folder / "sentence_bert_config.json")
    pooling = _config(folder / steps["Pooling"] / "config.json") if "Pooling" in steps else None
    if not pooling:
        raise BrokenFolder("it has no configuration of its pooling: copy 1_Pooling/config.json from the original model")
    return Layout(
        network=network,
        tokenizer=folder / "tokenizer.json",
        pooling=_pooling(pooling),
        pools_prompt=pooling.get("include_prompt", True) is not False,
        normalizes="Normalize" in steps,
        max_tokens=_max_tokens(folder, sentence),
        lower_case=sentence.get("do_lower_case") is True,
        prompts=_prompts(_config(folder / "config_sentence_transformers.json")),
    )


def _steps(folder: Path) -> Mapping[str, str]:
    """The folder of each step, by the last part of its type, from modules.json."""
    modules = _json(folder / "modules.json")
    if modules is None:
        raise BrokenFolder("it has no modules.json, which says how to pool: copy it from the original model")
    try:
        steps = {str(module["type"]).rpartition(".")[2]: str(module["path"]) for module in modules}
    except (TypeError, KeyError):
        raise BrokenFolder("modules.json is no list of modules with a type and a path") from None
    if unknown := sorted(set(steps) - _STEPS):
        raise BrokenFolder(f"modules.json has the module {', '.join(unknown)}, which is not supported")
    for path in steps.values():
        if not (folder / path).resolve().is_relative_to(folder.resolve()):
            raise BrokenFolder(f"modules.json names {path!r}, which is outside the folder")
    return steps


def _pooling(config: Mapping[str, Any]) -> str:
    mode = config.get("pooling_mode") or [name for key, name in _OLDER_POOLINGS.items() if config.get(key)] or "mean"
    modes: Sequence[Any] = [mode] if isinstance(mode, str) else mode
    if len(modes) != 1 or modes[0] not in POOLINGS:
        names = " + ".join(str(name) for name in modes)
        raise BrokenFolder(f"its pooling is {names}; supported is one of {', '.join(POOLINGS)}")
    return str(modes[0])


def _max_tokens(folder: Path, sentence: Mapping[str, Any]) -> int:
    """The least of the limits that the files name."""
    limits = (
        sentence.get("max_seq_length"),
        _config(folder / "tokenizer_config.json").get("model_max_length"),
        _config(folder / "config.json").get("max_position_embeddings"),
    )
    usable = [int(limit) for limit in limits if isinstance(limit, int | float) and 2 < limit < _UNLIMITED]
    if not usable:
        raise BrokenFolder(
            "it does not say how many tokens the model reads: set max_seq_length in sentence_bert_config.json"
        )
    return min(usable)


def _prompts(config: Mapping[str, Any]) -> Mapping[Purpose, str]:
    prompts = config.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(text, str | None) for text in prompts.values()):
        raise BrokenFolder("the prompts of config_sentence_transformers.json are no object of texts")
    return {
        Purpose.QUERY: prompts.get("query") or "",
        Purpose.DOCUMENT: next((prompts[name] for name in _DOCUMENT_PROMPTS if prompts.get(name)), ""),
    }


def _config(file: Path) -> Mapping[str, Any]:
    """The object in a file; an empty one where there is no file."""
    value = _json(file)
    if not isinstance(value, dict | None):
        raise BrokenFolder(f"{file.name} is no JSON object")
    return value or {}


def _json(file: Path) -> Any:
    """The value in a file; None where there is no file."""
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_CONFIG_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BrokenFolder(f"{file.name} cannot be read: {error.strerror}") from error
    if len(data) > MAX_CONFIG_BYTES:
        raise BrokenFolder(f"{file.name} has more than {MAX_CONFIG_BYTES:,} bytes")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise BrokenFolder(f"{file.name} is no valid JSON") from None
