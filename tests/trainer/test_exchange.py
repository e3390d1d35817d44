"""Weights go to SAELens and come from it, sparsify, HypotheSAEs and PRISMA v2, and encode as they did there."""

from __future__ import annotations

import io
import json
import pickle
import sys
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from services.trainer.sae import exchange
from services.trainer.sae.weights import Weights
from tests.trainer.test_sae import clusters, trained


@pytest.fixture(scope="module")
def weights() -> Weights:
    return trained(clusters(600, 24), expansion=4, k=6, batch_size=64, epochs=3).weights


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return clusters(300, 24, seed=5)


def dense(weights: Weights, vectors: np.ndarray) -> np.ndarray:
    indices, values = weights.encode_dense(vectors)
    codes = np.zeros((len(vectors), weights.latent_count), dtype=np.float32)
    row, slot = np.nonzero(indices >= 0)
    codes[row, indices[row, slot]] = values[row, slot]
    return codes


def zipped(files: dict[str, bytes], folder: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(folder + name, data)
    return buffer.getvalue()


@pytest.mark.parametrize("threshold", [0.0, 1.5])
def test_sae_lens_gives_the_same_codes_and_reconstructions(
    weights: Weights, vectors: np.ndarray, tmp_path: Path, threshold: float
) -> None:
    from sae_lens.saes.sae import SAE

    ours = replace(weights, threshold=threshold)
    for name, data in exchange.to_sae_lens(ours, {"model_name": "builtin"}).items():
        (tmp_path / name).write_bytes(data)
    theirs = SAE.load_from_disk(tmp_path)
    with torch.no_grad():
        codes = theirs.encode(torch.tensor(vectors))
        again = theirs.decode(codes).numpy()
    expected = dense(ours, vectors)
    np.testing.assert_allclose(codes.numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(again, ours.decode_dense(*ours.encode_dense(vectors)), atol=1e-4)
    back, layout = exchange.read(zipped({each.name: each.read_bytes() for each in tmp_path.iterdir()}, "folder/"))
    assert layout == "sae-lens"
    np.testing.assert_allclose(dense(back, vectors), expected, atol=1e-5)


def test_what_sae_lens_trained_encodes_here_as_there(vectors: np.ndarray, tmp_path: Path) -> None:
    from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig

    for rescale in (False, True):
        torch.manual_seed(1)
        theirs = TopKSAE(TopKSAEConfig(d_in=24, d_sae=96, k=5, rescale_acts_by_decoder_norm=rescale))
        with torch.no_grad():
            theirs.W_dec *= 1 + torch.rand(96, 1)
            theirs.b_dec += torch.randn(24)
            theirs.b_enc += 0.1 * torch.randn(96)
        theirs.save_model(tmp_path)
        ours, _layout = exchange.read(zipped({each.name: each.read_bytes() for each in tmp_path.iterdir()}))
        with torch.no_grad():
            codes = theirs.encode(torch.tensor(vectors))
            again = theirs.decode(codes)
        np.testing.assert_allclose(dense(ours, vectors), codes.numpy(), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(ours.decode_dense(*ours.encode_dense(vectors)), again.numpy(), atol=1e-4)


def plain(x: torch.Tensor, W: torch.Tensor, b: torch.Tensor, k: int) -> np.ndarray:
    pre = torch.relu(x @ W.T + b)
    top, where = pre.topk(k, dim=1)
    return torch.zeros_like(pre).scatter(1, where, top).numpy()


def test_what_sparsify_trained_encodes_here_as_there(vectors: np.ndarray) -> None:
    torch.manual_seed(2)
    W, b, b_dec = torch.randn(48, 24), torch.randn(48), torch.randn(24)
    tensors = {"encoder.weight": W, "encoder.bias": b, "W_dec": W.clone(), "b_dec": b_dec}
    config = {"activation": "topk", "k": 7, "d_in": 24, "num_latents": 48}
    files = {
        "cfg.json": json.dumps(config).encode(),
        "sae.safetensors": save({n: t.numpy() for n, t in tensors.items()}),
    }
    ours, layout = exchange.read(zipped(files))
    assert (layout, ours.k) == ("sparsify", 7)
    np.testing.assert_allclose(dense(ours, vectors), plain(torch.tensor(vectors) - b_dec, W, b, 7), atol=1e-4)


def test_what_hypothesaes_and_prisma_v2_trained_encodes_here_as_there(vectors: np.ndarray) -> None:
    torch.manual_seed(3)
    W, D, b, c = torch.randn(48, 24), torch.randn(24, 48), torch.randn(48), torch.randn(24)
    x = torch.tensor(vectors)
    buffer = io.BytesIO()
    state = {
        "encoder.weight": W,
        "decoder.weight": D,
        "neuron_bias": b,
        "input_bias": c,
        "threshold": torch.tensor(0.0),
    }
    torch.save({"config": {"k_active_neurons": 5, "use_batch_topk": False}, "state_dict": state}, buffer)
    ours, layout = exchange.read(buffer.getvalue())
    assert layout == "hypothesaes"
    np.testing.assert_allclose(dense(ours, vectors), plain(x - c, W, b, 5), atol=1e-4)
    buffer = io.BytesIO()
    mean, std = torch.randn(24), torch.rand(24) + 0.5
    state = {"encoder.weight": W, "encoder.bias": b, "decoder.weight": D, "decoder.bias": c}
    torch.save({"model_state": state, "config": {"k": 6, "d_in": 24}, "zscore_mean": mean, "zscore_std": std}, buffer)
    ours, layout = exchange.read(buffer.getvalue())
    assert layout == "prismadb"
    np.testing.assert_allclose(dense(ours, vectors), plain((x - mean) / std, W, b, 6), atol=1e-4)
    again = torch.tensor(dense(ours, vectors)) @ D.T + c
    np.testing.assert_allclose(ours.decode_dense(*ours.encode_dense(vectors)), (again * std + mean).numpy(), atol=1e-3)


def test_our_own_file_comes_back(weights: Weights, vectors: np.ndarray) -> None:
    back, layout = exchange.read(weights.to_bytes({}))
    assert layout == "prisma"
    assert back.encode_dense(vectors)[1].tobytes() == weights.encode_dense(vectors)[1].tobytes()


@dataclass
class Evil:
    """What a pickle may do when it is read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("import sys; sys.exploited = True",))


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing() -> None:
    for data in (pickle.dumps({"config": Evil()}), _torch_file({"config": Evil(), "state_dict": {}})):
        with pytest.raises(exchange.UnknownLayout, match="tensors and plain values alone"):
            exchange.read(data)
    assert not hasattr(sys, "exploited")


def _torch_file(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _own(**changed: np.ndarray) -> bytes:
    d, n = 4, 8
    tensors = {
        "W_enc": np.ones((n, d), np.float32), "b_enc": np.zeros(n, np.float32), "W_dec": np.ones((n, d), np.float32),
        "b_dec": np.zeros(d, np.float32), "mean": np.zeros(d, np.float32), "scale": np.ones(d, np.float32), **changed,
    }  # fmt: skip
    return save(tensors, metadata={"prisma": json.dumps({"k": 2})})


SAE_LENS = {
    "W_enc": np.ones((4, 8), np.float32),
    "b_enc": np.zeros(8, np.float32),
    "W_dec": np.ones((8, 4), np.float32),
}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "safetensors"),
        (b"hello", "safetensors"),
        (_own()[:100], "safetensors"),
        (save({"a": np.zeros(2, np.float32)}), "expected the tensors W_enc"),
        (_own(b_enc=np.zeros(7, np.float32)), "b_enc of the shape"),
        (_own(W_enc=np.full((8, 4), np.nan, np.float32)), "NaN"),
        (_own(scale=np.zeros(4, np.float32)), "scale"),
        (save({k: np.zeros(1, np.float32) for k in ("W_enc", "b_enc", "W_dec", "b_dec", "mean", "scale")}), "its k"),
        (zipped({"readme.txt": b"x"}), "cfg.json"),
        (zipped({"cfg.json": b"{", "sae.safetensors": b""}), "JSON"),
        (zipped({"cfg.json": b"{}", "other": b""}), "sae_weights.safetensors"),
        (zipped({"cfg.json": b'{"architecture": "gated"}', "sae_weights.safetensors": save(SAE_LENS)}), "gated"),
        (zipped({"cfg.json": b'{"architecture": "topk", "k": 2}', "sae_weights.safetensors": save(SAE_LENS)}), "b_dec"),
        (_torch_file([1, 2]), "config"),
        (_torch_file({"config": {}}), "state_dict"),
    ],
)  # fmt: skip
def test_what_is_no_autoencoder_is_refused_with_what_was_expected(data: bytes, told: str) -> None:
    with pytest.raises(exchange.UnknownLayout, match=told):
        exchange.read(data)
