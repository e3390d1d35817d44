"""Weights in the layouts of others: SAELens' to write and read; sparsify's, HypotheSAEs' and PRISMA v2's to read.

All of them compute pre = (x − b) W + c, so normalisation folds into the weights and nothing is lost: what is exported
encodes as it did here, and what is imported as it did there.
"""

from __future__ import annotations

import io
import json
import pickle  # for the name of its error alone
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from services.trainer.sae.kernels import F32
from services.trainer.sae.weights import Weights

SAE_LENS_FILES = ("cfg.json", "sae_weights.safetensors")
_PICKLED = b"\x80"


class UnknownLayout(ValueError):
    """The files are no autoencoder in a layout that can be read; says what was expected."""


def to_sae_lens(weights: Weights, metadata: Mapping[str, Any]) -> dict[str, bytes]:
    """`cfg.json` and `sae_weights.safetensors`, which SAELens' `SAE.load_from_disk` takes: a `topk` one, or with a
    threshold a `jumprelu` one. Decoder rows carry the scale of the vectors, so they are not of norm 1."""
    config: dict[str, Any] = {
        "architecture": "jumprelu" if weights.threshold else "topk",
        "d_in": weights.dimension,
        "d_sae": weights.latent_count,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {**metadata, "sae_lens_training_version": None},
    }
    tensors = {
        "W_enc": np.ascontiguousarray((weights.W_enc / weights.scale).T),
        "b_enc": weights.b_enc,
        "W_dec": np.ascontiguousarray(weights.W_dec * weights.scale),
        "b_dec": weights.mean + weights.scale * weights.b_dec,
    }
    if weights.threshold:
        tensors["threshold"] = np.full(weights.latent_count, weights.threshold, dtype=np.float32)
    else:
        config |= {"k": weights.k, "rescale_acts_by_decoder_norm": False}
    return {"cfg.json": json.dumps(config, indent=1).encode(), "sae_weights.safetensors": save(tensors)}


def read(data: bytes) -> tuple[Weights, str]:
    """Weights from a file, and the name of its layout.

    A `.safetensors` of this suite; a `.zip` of a SAELens or sparsify folder; a `.pt` of HypotheSAEs or PRISMA v2, of
    which tensors and plain values alone are read, whatever else it would run. Raises UnknownLayout.
    """
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = {each.rsplit("/", 1)[-1]: each for each in archive.namelist()}
            if any(each.endswith("data.pkl") for each in names.values()):
                return _of_torch(data)
            if "cfg.json" not in names:
                raise UnknownLayout("expected a folder with cfg.json and a .safetensors file in the .zip")
            sizes = sum(archive.getinfo(each).file_size for each in names.values())
            if sizes > 64 * len(data) + (1 << 20):
                raise UnknownLayout("the .zip unpacks to far more than its size")
            config = _json(archive.read(names["cfg.json"]))
            for file, reader in (("sae_weights.safetensors", _sae_lens), ("sae.safetensors", _sparsify)):
                if file in names:
                    return reader(config, _tensors(archive.read(names[file])))
        raise UnknownLayout("expected sae_weights.safetensors (SAELens) or sae.safetensors (sparsify) beside cfg.json")
    if data[:1] == _PICKLED:
        return _of_torch(data)
    return _own(data)


def _own(data: bytes) -> tuple[Weights, str]:
    tensors = _tensors(data)
    wanted = ("W_enc", "b_enc", "W_dec", "b_dec", "mean", "scale")
    if not set(wanted) <= set(tensors):
        raise UnknownLayout(f"expected the tensors {', '.join(wanted)}, got {', '.join(sorted(tensors)) or 'none'}")
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    card = _json(header.get("__metadata__", {}).get("prisma", "{}").encode())
    if "k" not in card:
        raise UnknownLayout("the file does not say its k: expected `prisma` in its metadata")
    return _checked(*(tensors[name] for name in wanted), k=card["k"], threshold=card.get("threshold", 0.0)), "prisma"


def _sae_lens(config: dict[str, Any], tensors: dict[str, F32]) -> tuple[Weights, str]:
    kind = config.get("architecture")
    if kind not in ("topk", "jumprelu"):
        raise UnknownLayout(f"expected a SAELens autoencoder of topk or jumprelu, got {kind}")
    if config.get("normalize_activations", "none") != "none" or config.get("reshape_activations", "none") != "none":
        raise UnknownLayout("the autoencoder normalises or reshapes its input; fold that into its weights first")
    W_enc, W_dec, b_enc, b_dec = (_need(tensors, name) for name in ("W_enc", "W_dec", "b_enc", "b_dec"))
    W_enc = np.ascontiguousarray(W_enc.T)
    if not config.get("apply_b_dec_to_input", True):
        b_enc = np.add(b_enc, W_enc @ b_dec, dtype=np.float32)
    threshold = 0.0
    if kind == "jumprelu":
        found = np.unique(_need(tensors, "threshold"))
        if len(found) != 1:
            raise UnknownLayout("expected one threshold for all latents, as BatchTopK has; got one for each")
        threshold = float(found[0])
    elif config.get("rescale_acts_by_decoder_norm"):
        norm = np.linalg.norm(W_dec, axis=1)
        W_enc, b_enc, W_dec = W_enc * norm[:, None], b_enc * norm, W_dec / np.maximum(norm, 1e-12)[:, None]
    return _plain(W_enc, b_enc, W_dec, b_dec, config.get("k", 1), threshold), "sae-lens"


def _sparsify(config: dict[str, Any], tensors: dict[str, F32]) -> tuple[Weights, str]:
    if config.get("activation", "topk") != "topk" or config.get("transcode") or config.get("skip_connection"):
        raise UnknownLayout(
            "expected a sparsify autoencoder with activation topk, no transcoder and no skip connection"
        )
    W_enc, b_enc, W_dec, b_dec = (_need(tensors, name) for name in ("encoder.weight", "encoder.bias", "W_dec", "b_dec"))
    return _plain(W_enc, b_enc, W_dec, b_dec, config.get("k", 32)), "sparsify"


def _of_torch(data: bytes) -> tuple[Weights, str]:
    import torch

    try:
        # weights_only admits tensors and plain values; anything else in the pickle is refused before it is made.
        found: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UnknownLayout(f"expected a torch file of tensors and plain values alone: {_first_line(error)}") from error
    if not isinstance(found, dict) or not isinstance(found.get("config"), dict):
        raise UnknownLayout("expected a torch file with `config` and the tensors of HypotheSAEs or PRISMA v2")
    config: dict[str, Any] = found["config"]
    if "state_dict" in found:
        state = _arrays(found["state_dict"])
        threshold = float(state["threshold"]) if config.get("use_batch_topk") else 0.0
        return _plain(
            _need(state, "encoder.weight"),
            _need(state, "neuron_bias"),
            np.ascontiguousarray(_need(state, "decoder.weight").T),
            _need(state, "input_bias"),
            config.get("k_active_neurons", 1),
            threshold,
        ), "hypothesaes"
    if "model_state" in found:
        state = _arrays(found["model_state"])
        W_enc, b_dec = _need(state, "encoder.weight"), _need(state, "decoder.bias")
        # v2 encodes without taking b_dec from x first.
        b_enc = np.add(_need(state, "encoder.bias"), W_enc @ b_dec, dtype=np.float32)
        moments = _arrays({name: found[name] for name in ("zscore_mean", "zscore_std") if name in found})
        return _checked(
            W_enc,
            b_enc,
            np.ascontiguousarray(_need(state, "decoder.weight").T),
            b_dec,
            _need(moments, "zscore_mean").reshape(-1),
            _need(moments, "zscore_std").reshape(-1),
            k=config.get("k", 1),
        ), "prismadb"
    raise UnknownLayout("expected `state_dict` (HypotheSAEs) or `model_state` (PRISMA v2) in the torch file")


def _plain(W_enc: F32, b_enc: F32, W_dec: F32, b_dec: F32, k: Any, threshold: float = 0.0) -> Weights:
    """Weights that see the vectors as they are."""
    d = W_enc.shape[-1]
    zeros, ones = np.zeros(d, dtype=np.float32), np.ones(d, dtype=np.float32)
    return _checked(W_enc, b_enc, W_dec, b_dec, zeros, ones, k=k, threshold=threshold)


def _checked(
    W_enc: F32, b_enc: F32, W_dec: F32, b_dec: F32, mean: F32, scale: F32, *, k: Any, threshold: Any = 0.0
) -> Weights:
    if W_enc.ndim != 2:
        raise UnknownLayout(f"expected an encoder of (latents, dimension), got the shape {W_enc.shape}")
    n, d = W_enc.shape
    shapes = {"b_enc": (b_enc, (n,)), "W_dec": (W_dec, (n, d)), "b_dec": (b_dec, (d,))}
    shapes |= {"mean": (mean, (d,)), "scale": (scale, (d,))}
    for name, (array, shape) in shapes.items():
        if array.shape != shape:
            raise UnknownLayout(f"expected {name} of the shape {shape}, as the encoder has it, got {array.shape}")
    if not isinstance(k, int) or not 1 <= k <= n:
        raise UnknownLayout(f"expected k from 1 to {n}, the number of latents, got {k}")
    arrays = [np.ascontiguousarray(each, dtype=np.float32) for each in (W_enc, b_enc, W_dec, b_dec, mean, scale)]
    if not all(np.isfinite(each).all() for each in arrays) or not (arrays[5] > 0).all():
        raise UnknownLayout("the weights hold NaN, infinity, or a scale that is not positive")
    if not isinstance(threshold, float) or threshold < 0:
        raise UnknownLayout(f"expected a threshold of at least 0, got {threshold}")
    return Weights(*arrays, k=k, threshold=threshold)


def _tensors(data: bytes) -> dict[str, F32]:
    try:
        return load(data)
    except SafetensorError as error:
        raise UnknownLayout(f"expected a safetensors file: {_first_line(error)}") from error


def _arrays(tensors: Any) -> dict[str, F32]:
    return {name: each.float().numpy() for name, each in tensors.items() if hasattr(each, "numpy")}


def _need(tensors: Mapping[str, F32], name: str) -> F32:
    if name not in tensors:
        raise UnknownLayout(f"expected the tensor {name}, got {', '.join(sorted(tensors)) or 'none'}")
    return tensors[name]


def _json(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UnknownLayout(f"expected JSON: {error}") from error
    if not isinstance(found, dict):
        raise UnknownLayout("expected a JSON object")
    return found


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
