"""Weights in other layouts encode here as they did there, and no file, however broken, raises anything unexpected.

What needs torch, which HypotheSAEs' and PRISMA v2's files do, and SAELens itself, stands in tests/gpu.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save

from services.trainer.sae import exchange
from services.trainer.sae.tensor_files import Safetensors
from services.trainer.sae.weights import Weights
from tests.archives import zipped
from tests.trainer.examples import clusters, dense, mutated, trained

N, D = 96, 24


@pytest.fixture(scope="module")
def weights() -> Weights:
    return trained(clusters(600, D), expansion=4, k=6, batch_size=64, epochs=3).weights


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return clusters(300, D, seed=5)


def top_k(pre: np.ndarray, k: int) -> np.ndarray:
    """The k largest positive of each row, 0 elsewhere."""
    least = np.sort(pre, axis=1)[:, -k, None]
    return np.where((pre >= least) & (pre > 0), pre, 0)


@pytest.mark.parametrize("threshold", [0.0, 1.5])
def test_what_goes_to_sae_lens_encodes_there_as_here_and_comes_back(
    weights: Weights, vectors: np.ndarray, threshold: float
) -> None:
    ours = replace(weights, threshold=threshold)
    files = exchange.to_sae_lens(ours, {"model_name": "builtin"})
    config, tensors = json.loads(files["cfg.json"]), load(files["sae_weights.safetensors"])
    # As SAELens computes it (sae_lens/saes/topk_sae.py, jumprelu_sae.py).
    pre = (vectors - tensors["b_dec"]) @ tensors["W_enc"] + tensors["b_enc"]
    codes = np.where(pre > tensors["threshold"], pre, 0) if threshold else top_k(pre, config["k"])
    assert config["architecture"] == ("jumprelu" if threshold else "topk")
    np.testing.assert_allclose(codes, dense(ours, vectors), atol=1e-5)
    reconstructions = codes @ tensors["W_dec"] + tensors["b_dec"]
    np.testing.assert_allclose(reconstructions, ours.decode_dense(*ours.encode_dense(vectors)), atol=1e-4)
    imported, layout = exchange.read(zipped(files, "folder/"))
    assert layout == "sae-lens"
    np.testing.assert_allclose(dense(imported, vectors), codes, atol=1e-5)


def foreign(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """W_enc (n, d), b_enc (n,), W_dec (n, d), b_dec (d,) as somebody else trained them."""
    rng = np.random.default_rng(seed)
    W_enc, b_enc, W_dec, b_dec = (rng.standard_normal(s).astype(np.float32) for s in ((N, D), N, (N, D), D))
    return W_enc, b_enc, W_dec, b_dec


def sae_lens(*, apply_b_dec: bool = True, rescale: bool = False, **tensors: np.ndarray) -> dict[str, bytes]:
    W_enc, b_enc, W_dec, b_dec = foreign(1)
    config = {
        "architecture": "topk", "k": 5, "apply_b_dec_to_input": apply_b_dec, "rescale_acts_by_decoder_norm": rescale,
    }  # fmt: skip
    arrays = {"W_enc": np.ascontiguousarray(W_enc.T), "b_enc": b_enc, "W_dec": W_dec, "b_dec": b_dec, **tensors}
    return {"cfg.json": json.dumps(config).encode(), "sae_weights.safetensors": save(arrays)}


@pytest.mark.parametrize("apply_b_dec", [False, True])
@pytest.mark.parametrize("rescale", [False, True])
def test_what_sae_lens_trained_encodes_here_as_there(vectors: np.ndarray, apply_b_dec: bool, rescale: bool) -> None:
    W_enc, b_enc, W_dec, b_dec = foreign(1)
    pre = (vectors - b_dec * apply_b_dec) @ W_enc.T + b_enc
    norms = np.linalg.norm(W_dec, axis=1)
    codes = top_k(pre * norms if rescale else pre, 5)
    ours, _layout = exchange.read(zipped(sae_lens(apply_b_dec=apply_b_dec, rescale=rescale)))
    np.testing.assert_allclose(dense(ours, vectors), codes, rtol=1e-4, atol=1e-3)
    reconstructions = codes @ (W_dec / norms[:, None] if rescale else W_dec) + b_dec
    np.testing.assert_allclose(ours.decode_dense(*ours.encode_dense(vectors)), reconstructions, atol=1e-2)


def sparsify(**changes: object) -> dict[str, bytes]:
    W_enc, b_enc, W_dec, b_dec = foreign(2)
    config = {"activation": "topk", "k": 7, "d_in": D, "num_latents": N, **changes}
    tensors = {"encoder.weight": W_enc, "encoder.bias": b_enc, "W_dec": W_dec, "b_dec": b_dec}
    return {"cfg.json": json.dumps(config).encode(), "sae.safetensors": save(tensors)}


def test_what_sparsify_trained_encodes_here_as_there(vectors: np.ndarray) -> None:
    W_enc, b_enc, _W_dec, b_dec = foreign(2)
    ours, layout = exchange.read(zipped(sparsify()))
    assert (layout, ours.k) == ("sparsify", 7)
    np.testing.assert_allclose(dense(ours, vectors), top_k((vectors - b_dec) @ W_enc.T + b_enc, 7), atol=1e-3)


def test_our_own_file_comes_back(weights: Weights, vectors: np.ndarray) -> None:
    imported, layout = exchange.read(weights.to_bytes({}))
    assert layout == "prisma"
    assert imported.encode_dense(vectors)[1].tobytes() == weights.encode_dense(vectors)[1].tobytes()
    assert imported.digest == weights.digest
    assert replace(weights, W_enc=np.nextafter(weights.W_enc, 1)).digest != weights.digest


def safetensors_of(dtype: str, data: bytes, shape: list[int], metadata: dict[str, str] | None = None) -> bytes:
    header: dict[str, object] = {"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}}
    if metadata:
        header["__metadata__"] = metadata
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def small_float(bits: int, exponent_bits: int, mantissa_bits: int) -> float:
    """A finite number's value by the definition of its format."""
    bias = 2 ** (exponent_bits - 1) - 1
    sign = -1 if bits >> (exponent_bits + mantissa_bits) else 1
    exponent = bits >> mantissa_bits & (2**exponent_bits - 1)
    mantissa = (bits & (2**mantissa_bits - 1)) / 2**mantissa_bits
    return sign * (mantissa * 2.0 ** (1 - bias) if exponent == 0 else (1 + mantissa) * 2.0 ** (exponent - bias))


@pytest.mark.parametrize(
    ("dtype", "size", "exponent_bits", "mantissa_bits"),
    [("BF16", 2, 8, 7), ("F16", 2, 5, 10), ("F8_E4M3", 1, 4, 3), ("F8_E5M2", 1, 5, 2)],
)
def test_short_floats_are_read_exactly(dtype: str, size: int, exponent_bits: int, mantissa_bits: int) -> None:
    patterns = np.arange(1 << 8 * size, dtype=f"<u{size}")
    array = Safetensors(safetensors_of(dtype, patterns.tobytes(), [len(patterns)]))["a"]
    assert array.dtype == np.float32
    finite = np.isfinite(array)
    # E4M3 has no infinity and one NaN of each sign; the others' highest exponent is infinity and NaN.
    assert (~finite).sum() == (2 if dtype == "F8_E4M3" else 2 ** (mantissa_bits + 1))
    expected = [small_float(bits, exponent_bits, mantissa_bits) for bits in patterns[finite].tolist()]
    np.testing.assert_array_equal(array[finite], np.array(expected, dtype=np.float32))


def test_weights_in_bfloat16_are_imported(weights: Weights) -> None:
    tensors = {name: array for name, array in vars(weights).items() if isinstance(array, np.ndarray)}
    upper_halves = {name: (array.view(np.uint32) >> 16).astype("<u2") for name, array in tensors.items()}
    header: dict[str, object] = {"__metadata__": {"prisma": json.dumps({"k": 6})}}
    data = b""
    for name, array in upper_halves.items():
        offsets = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": "BF16", "shape": list(array.shape), "data_offsets": offsets}
        data += array.tobytes()
    text = json.dumps(header).encode()
    imported, _layout = exchange.read(len(text).to_bytes(8, "little") + text + data)
    np.testing.assert_array_equal(imported.W_enc.view(np.uint32), upper_halves["W_enc"].astype(np.uint32) << 16)


def own(k: object = 2, threshold: object = 0.0, **tensors: np.ndarray) -> bytes:
    arrays = {
        "W_enc": np.ones((8, 4), np.float32), "b_enc": np.zeros(8, np.float32),
        "W_dec": np.full((8, 4), 0.5, np.float32), "b_dec": np.zeros(4, np.float32), "mean": np.zeros(4, np.float32),
        "scale": np.ones(4, np.float32), **tensors,
    }  # fmt: skip
    return save(arrays, metadata={"prisma": json.dumps({"k": k, "threshold": threshold})})


def with_config(config: bytes) -> bytes:
    return zipped({**sae_lens(), "cfg.json": config})


def patched(local_offset: int, central_offset: int, value: int) -> bytes:
    """A zip with a byte changed in each header of a file, at its own offset in local and central ones."""
    data = bytearray(zipped(sae_lens()))
    for signature, offset in ((b"PK\x03\x04", local_offset), (b"PK\x01\x02", central_offset)):
        place = -1
        while (place := data.find(signature, place + 1)) >= 0:
            data[place + offset] = value
    return bytes(data)


def bomb() -> bytes:
    files = {"cfg.json": b"{}", "sae.safetensors": bytes(1 << 23)}
    return zipped(files, compression=zipfile.ZIP_DEFLATED)


def with_threshold(threshold: np.ndarray) -> bytes:
    return zipped({**sae_lens(threshold=threshold.astype(np.float32)), "cfg.json": JUMPRELU})


JUMPRELU = b'{"architecture": "jumprelu"}'
HOSTILE = {
    "nothing": (b"", "safetensors"),
    "text": (b"hello", "safetensors"),
    "a header longer than the file": ((1 << 62).to_bytes(8, "little") + b"{}", "safetensors"),
    "a header of brackets": ((1 << 19).to_bytes(8, "little") + b"[" * (1 << 19), "safetensors"),
    "cut": (own()[:100], "safetensors"),
    "other tensors": (save({"a": np.zeros(2, np.float32)}), "expected the tensors W_enc"),
    "a wrong shape": (own(b_enc=np.zeros(7, np.float32)), "b_enc of the shape"),
    "one number": (own(W_enc=np.zeros((), np.float32)), "encoder of"),
    "no latents": (own(W_enc=np.zeros((0, 4), np.float32)), "encoder of"),
    "integers": (own(W_enc=np.ones((8, 4), np.int64)), "got I64"),
    "NaN": (own(W_enc=np.full((8, 4), np.nan, np.float32)), "NaN"),
    "a float64 beyond float32": (own(W_enc=np.full((8, 4), 1e300)), "infinity"),
    "huge weights": (own(W_enc=np.full((8, 4), 1e30, np.float32)), "at most 1e.06"),
    "a scale of 0": (own(scale=np.zeros(4, np.float32)), "scale"),
    "decoder rows of norm 0": (own(W_dec=np.zeros((8, 4), np.float32)), "decoder rows of norms"),
    "decoder rows of norm 1,000": (own(W_dec=np.full((8, 4), 500, np.float32)), "decoder rows of norms"),
    "k of 0": (own(k=0), "expected k"),
    "k beyond n": (own(k=9), "expected k"),
    "k true": (own(k=True), "expected k"),
    "k a text": (own(k="2" * 10_000), "expected k"),
    "no k": (save({name: np.ones((8, 4), np.float32) for name in exchange._OWN_TENSORS}), "its k"),
    "threshold NaN": (own(threshold=float("nan")), "a threshold"),
    "threshold infinite": (own(threshold=float("inf")), "a threshold"),
    "threshold 1e300": (own(threshold=1e300), "a threshold"),
    "threshold negative": (own(threshold=-1.0), "a threshold"),
    "threshold true": (own(threshold=True), "a threshold"),
    "metadata that is no JSON": (safetensors_of("F32", b"", [0], {"prisma": "{"}), "expected the tensors"),
    "a zip of something else": (zipped({"readme.txt": b"x"}), "cfg.json"),
    "a cut zip": (zipped(sae_lens())[:-40], "complete .zip"),
    "a zip's first bytes": (b"PK\x03\x04", "complete .zip"),
    "an encrypted zip": (patched(6, 8, 1), "not encrypted"),
    "an unknown compression": (patched(8, 10, 99), "expected an autoencoder"),
    "a zip that unpacks to far more": (bomb(), "unpacks to"),
    "a zip that lists too many files": (b"PK\x03\x04" + b"PK\x01\x02" * 10_001, "lists more than"),
    "a long cfg.json": (with_config(b" " * (1 << 20) + b"{}"), "cfg.json of at most"),
    "a deep cfg.json": (with_config(b"[" * 200_000), "JSON"),
    "a cfg.json that is cut": (with_config(b"{"), "JSON"),
    "a cfg.json that is a list": (with_config(b"[]"), "JSON object"),
    "no weights": (zipped({"cfg.json": b"{}", "other": b""}), "sae_weights.safetensors"),
    "a gated autoencoder": (with_config(b'{"architecture": "gated"}'), "gated"),
    "normalised input": (with_config(b'{"architecture": "topk", "normalize_activations": "layer_norm"}'), "fold"),
    "shapes that do not multiply": (zipped(sae_lens(apply_b_dec=False, b_dec=np.zeros(7, np.float32))), "b_dec of the"),
    "a decoder that does not fit": (zipped(sae_lens(rescale=True, W_dec=np.ones((3, D), np.float32))), "W_dec of the"),
    "no threshold": (with_config(JUMPRELU), "tensor threshold"),
    "a threshold for each latent": (with_threshold(np.arange(N)), "one threshold"),
    "an infinite threshold": (with_threshold(np.full(N, np.inf)), "a threshold"),
    "a transcoder": (zipped(sparsify(transcode=True)), "no transcoder"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_not_an_autoencoder_is_refused_with_what_was_expected(case: str) -> None:
    data, message = HOSTILE[case]
    with pytest.raises(exchange.UnknownLayout, match=message):
        exchange.read(data)


def test_damaged_files_raise_nothing_else_and_what_is_read_can_be_computed_with(weights: Weights) -> None:
    vectors = np.ones((3, 4), np.float32)
    files = [own(), own(threshold=0.5), zipped(sae_lens()), zipped(sparsify()), zipped(sae_lens(), "deep/folder/")]
    accepted = 0
    for data in mutated(files, seed=0, count=10_000):
        try:
            imported, _layout = exchange.read(data)
        except exchange.UnknownLayout:
            continue
        accepted += 1
        vectors = np.ones((3, imported.dimension), np.float32)
        assert np.isfinite(imported.decode_dense(*imported.encode_dense(vectors))).all()
    assert accepted  # or the files are so broken that nothing behind the first check is tested
