"""Weights go to SAELens and come from it, HypotheSAEs and PRISMA v2, and encode as they did there."""

from __future__ import annotations

import io
import pickle
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from services.trainer.sae import exchange
from services.trainer.sae.tensor_files import Safetensors
from services.trainer.sae.weights import Weights
from tests.archives import zipped
from tests.trainer.examples import clusters, dense, mutated, trained


@pytest.fixture(scope="module")
def weights() -> Weights:
    return trained(clusters(600, 24), expansion=4, k=6, batch_size=64, epochs=3).weights


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return clusters(300, 24, seed=5)


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
        reconstructions = theirs.decode(codes).numpy()
    expected = dense(ours, vectors)
    np.testing.assert_allclose(codes.numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(reconstructions, ours.decode_dense(*ours.encode_dense(vectors)), atol=1e-4)
    imported, layout = exchange.read(zipped({file.name: file.read_bytes() for file in tmp_path.iterdir()}, "folder/"))
    assert layout == "sae-lens"
    np.testing.assert_allclose(dense(imported, vectors), expected, atol=1e-5)


@pytest.mark.parametrize("rescale", [False, True])
def test_what_sae_lens_trained_encodes_here_as_there(vectors: np.ndarray, tmp_path: Path, rescale: bool) -> None:
    from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig

    torch.manual_seed(1)
    theirs = TopKSAE(TopKSAEConfig(d_in=24, d_sae=96, k=5, rescale_acts_by_decoder_norm=rescale))
    with torch.no_grad():
        theirs.W_dec *= 1 + torch.rand(96, 1)
        theirs.b_dec += torch.randn(24)
        theirs.b_enc += 0.1 * torch.randn(96)
    theirs.save_model(tmp_path)
    ours, _layout = exchange.read(zipped({file.name: file.read_bytes() for file in tmp_path.iterdir()}))
    with torch.no_grad():
        codes = theirs.encode(torch.tensor(vectors))
        reconstructions = theirs.decode(codes)
    np.testing.assert_allclose(dense(ours, vectors), codes.numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ours.decode_dense(*ours.encode_dense(vectors)), reconstructions.numpy(), atol=1e-4)


def top_k(x: torch.Tensor, W: torch.Tensor, b: torch.Tensor, k: int) -> np.ndarray:
    pre = torch.relu(x @ W.T + b)
    values, indices = pre.topk(k, dim=1)
    return torch.zeros_like(pre).scatter(1, indices, values).numpy()


def torch_file(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def hypothesaes(**changes: object) -> dict[str, object]:
    """The content of a file of HypotheSAEs."""
    torch.manual_seed(3)
    state = {
        "encoder.weight": torch.randn(48, 24),
        "decoder.weight": torch.randn(24, 48),
        "neuron_bias": torch.randn(48),
        "input_bias": torch.randn(24),
        "threshold": torch.tensor(0.0),
    }
    return {"config": {"k_active_neurons": 5, "use_batch_topk": False}, "state_dict": {**state, **changes}}


def test_what_hypothesaes_trained_encodes_here_as_there(vectors: np.ndarray) -> None:
    content = hypothesaes()
    state = content["state_dict"]
    assert isinstance(state, dict)
    ours, layout = exchange.read(torch_file(content))
    assert layout == "hypothesaes"
    codes = top_k(torch.tensor(vectors) - state["input_bias"], state["encoder.weight"], state["neuron_bias"], 5)
    np.testing.assert_allclose(dense(ours, vectors), codes, atol=1e-4)


def test_what_prisma_v2_trained_encodes_here_as_there(vectors: np.ndarray) -> None:
    torch.manual_seed(3)
    W, D, b, c = torch.randn(48, 24), torch.randn(24, 48), torch.randn(48), torch.randn(24)
    mean, std = torch.randn(24), torch.rand(24) + 0.5
    state = {"encoder.weight": W, "encoder.bias": b, "decoder.weight": D, "decoder.bias": c}
    content = {"model_state": state, "config": {"k": 6, "d_in": 24}, "zscore_mean": mean, "zscore_std": std}
    ours, layout = exchange.read(torch_file(content))
    assert layout == "prismadb"
    codes = top_k((torch.tensor(vectors) - mean) / std, W, b, 6)
    np.testing.assert_allclose(dense(ours, vectors), codes, atol=1e-4)
    expected = (torch.tensor(dense(ours, vectors)) @ D.T + c) * std + mean
    np.testing.assert_allclose(ours.decode_dense(*ours.encode_dense(vectors)), expected.numpy(), atol=1e-3)


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.float64, torch.float8_e5m2, torch.float8_e4m3fn]
)
def test_each_float_type_is_read_as_torch_reads_it(dtype: torch.dtype) -> None:
    size = torch.finfo(dtype).bits // 8
    numbers = torch.arange(1 << min(16, 8 * size), dtype=torch.int64)
    if size == 8:
        tensor = torch.randn(1000, dtype=dtype)
    else:
        tensor = numbers.to(torch.uint8 if size == 1 else torch.int16).view(dtype)
    ours = Safetensors(save({"a": tensor}))["a"]
    np.testing.assert_array_equal(ours, tensor.float().numpy())


@dataclass
class Evil:
    """What a pickle may do when it is read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("import sys; sys.exploited = True",))


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing() -> None:
    for data in (pickle.dumps({"config": Evil()}), torch_file({"config": Evil(), "state_dict": {}})):
        with pytest.raises(exchange.UnknownLayout, match="only tensors and plain values"):
            exchange.read(data)
    assert not hasattr(sys, "exploited")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "a dictionary"),
        ({"config": {}}, "state_dict"),
        ({"config": {"k": 1}, "state_dict": [1]}, "state_dict"),
        ({"config": 1, "state_dict": {}}, "config"),
        (hypothesaes(**{"encoder.weight": torch.randn(48, 24).to_sparse()}), "dense tensors"),
        (hypothesaes(**{"encoder.weight": torch.empty(48, 24, device="meta")}), "dense tensors"),
        (hypothesaes(**{"encoder.weight": torch.zeros(1).expand(1 << 20, 1 << 20)}), "does not fit into the file"),
        (hypothesaes(**{"decoder.weight": torch.randn(24, 47)}), "W_dec of the shape"),
        (hypothesaes(**{"neuron_bias": torch.full((48,), torch.nan)}), "NaN"),
        ({**hypothesaes(threshold=torch.tensor(torch.inf)), "config": {"use_batch_topk": True}}, "a threshold"),
        ({**hypothesaes(threshold=torch.zeros(2)), "config": {"use_batch_topk": True}}, "one threshold"),
    ],
)
def test_what_is_not_an_autoencoder_is_refused_with_what_was_expected(content: object, message: str) -> None:
    with pytest.raises(exchange.UnknownLayout, match=message):
        exchange.read(torch_file(content))


def test_a_tensor_that_needs_a_gradient_is_read() -> None:
    weights, _layout = exchange.read(
        torch_file(hypothesaes(**{"encoder.weight": torch.ones(48, 24, requires_grad=True)}))
    )
    assert (weights.W_enc == 1).all()


def test_damaged_files_raise_nothing_else() -> None:
    for data in mutated([torch_file(hypothesaes())], seed=0, count=300):
        try:
            weights, _layout = exchange.read(data)
        except exchange.UnknownLayout:
            continue
        assert np.isfinite(weights.W_dec).all()
