"""Weights in other projects' layouts: SAELens' to write and read; sparsify's, HypotheSAEs' and PRISMA v2's to read.

All of them compute pre = (x − b) W + c, so normalisation folds into the weights and nothing is lost: exported weights
encode as they did here, imported ones as they did there.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors.numpy import save

from services.trainer.sae.kernels.dtypes import F32
from services.trainer.sae.tensor_files import Safetensors, UnreadableFile, first_line, read_torch
from services.trainer.sae.weights import Weights

MAX_BYTES = 4 << 30
"""Most bytes that an archive may unpack to."""
MAX_CONFIG_BYTES = 1 << 20
MAX_ARCHIVE_FILES = 10_000
MAX_COMPRESSION = 16
"""Trained weights hardly compress; what shrinks more is none."""
MAX_THRESHOLD = 1e6
MAX_WEIGHT, MIN_SCALE = 1e6, 1e-12
"""Beyond these, pre-activations of ordinary vectors overflow float32."""
MIN_DECODER_NORM, MAX_DECODER_NORM = 1e-4, 1e2
"""Norms of decoder rows. They are 1 when trained, and of the data's scale once that is folded in."""
_OWN_TENSORS = ("W_enc", "b_enc", "W_dec", "b_dec", "mean", "scale")
_PICKLE_START = b"\x80"


class UnknownLayout(ValueError):
    """The file is not an autoencoder in a layout that can be read; the message says what was expected."""


@dataclass(frozen=True)
class _Arrays:
    """Weights as a file contains them: W_enc (n, d), b_enc (n,), W_dec (n, d), b_dec (d,). Of matching shapes."""

    W_enc: F32
    b_enc: F32
    W_dec: F32
    b_dec: F32

    def __post_init__(self) -> None:
        if self.W_enc.ndim != 2 or not self.W_enc.size:
            raise UnknownLayout(f"expected an encoder of (latents, dimension), got the shape {self.W_enc.shape}")
        n, d = self.W_enc.shape
        for name, shape in (("b_enc", (n,)), ("W_dec", (n, d)), ("b_dec", (d,))):
            _expect_shape(name, getattr(self, name), shape)

    def with_bias_before_b_dec(self) -> _Arrays:
        """For weights that encode x itself: ours takes b_dec from x first, so b_enc gets it back."""
        return _Arrays(
            self.W_enc, np.add(self.b_enc, self.W_enc @ self.b_dec, dtype=np.float32), self.W_dec, self.b_dec
        )

    def with_unit_decoder(self) -> _Arrays:
        """For weights whose activations are scaled by the norms of the decoder's rows."""
        norms = np.linalg.norm(self.W_dec, axis=1)
        unit = self.W_dec / np.maximum(norms, 1e-12)[:, None]
        return _Arrays(self.W_enc * norms[:, None], self.b_enc * norms, unit, self.b_dec)


def to_sae_lens(weights: Weights, metadata: Mapping[str, Any]) -> dict[str, bytes]:
    """`cfg.json` and `sae_weights.safetensors`, which SAELens' `SAE.load_from_disk` reads.

    The architecture is `topk`, or with a threshold `jumprelu`. Decoder rows carry the scale of the vectors, so their
    norm is not 1.
    """
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


def zipped(folder: str, files: Mapping[str, bytes]) -> bytes:
    """A zip of a folder's files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(f"{folder}/{name}", data)
    return buffer.getvalue()


def config_of(data: bytes) -> dict[str, Any]:
    """The training's configuration that a file in this suite's own layout tells; of any other it is empty."""
    if data[:4] == b"PK\x03\x04" or data[:1] == _PICKLE_START:
        return {}
    config = _json(Safetensors(data).metadata.get("prisma", "{}").encode()).get("config")
    return config if isinstance(config, dict) else {}


def read(data: bytes) -> tuple[Weights, str]:
    """Weights from a file, and the name of its layout.

    The file is a `.safetensors` of this suite, a `.zip` of a SAELens or sparsify folder, or a `.pt` of HypotheSAEs or
    PRISMA v2, for which torch must be installed. Raises UnknownLayout, whatever is wrong with it.
    """
    try:
        if data[:4] == b"PK\x03\x04":
            return _from_archive(data)
        if data[:1] == _PICKLE_START:
            return _from_torch(data)
        return _from_own(data)
    except UnknownLayout:
        raise
    except UnreadableFile as error:
        raise UnknownLayout(str(error)) from error
    except Exception as error:  # the file is foreign: whatever it breaks, it is the file's fault
        raise UnknownLayout(f"expected an autoencoder's weights: {first_line(error)}") from error


def _from_archive(data: bytes) -> tuple[Weights, str]:
    if data.count(b"PK\x01\x02") > MAX_ARCHIVE_FILES:  # before zipfile makes an object of each
        raise UnknownLayout(f"the .zip lists more than {MAX_ARCHIVE_FILES:,} files")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except zipfile.BadZipFile as error:
        raise UnknownLayout(f"expected a complete .zip: {first_line(error)}") from error
    with archive:
        entries = {entry.filename.rsplit("/", 1)[-1]: entry for entry in archive.infolist()}
        unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > min(MAX_BYTES, MAX_COMPRESSION * len(data) + MAX_CONFIG_BYTES):
            raise UnknownLayout(f"the .zip unpacks to {unpacked:,} bytes, far more than its size")
        if any(entry.flag_bits & 1 for entry in entries.values()):
            raise UnknownLayout("expected a .zip that is not encrypted")
        if any(name.endswith("data.pkl") for name in entries):
            return _from_torch(data)
        if "cfg.json" not in entries:
            raise UnknownLayout("expected a folder with cfg.json and a .safetensors file in the .zip")
        if entries["cfg.json"].file_size > MAX_CONFIG_BYTES:
            raise UnknownLayout(f"expected a cfg.json of at most {MAX_CONFIG_BYTES:,} bytes")
        config = _json(archive.read(entries["cfg.json"]))
        for name, reader in (("sae_weights.safetensors", _from_sae_lens), ("sae.safetensors", _from_sparsify)):
            if name in entries:
                return reader(config, Safetensors(archive.read(entries[name])))
    raise UnknownLayout("expected sae_weights.safetensors (SAELens) or sae.safetensors (sparsify) beside cfg.json")


def _from_own(data: bytes) -> tuple[Weights, str]:
    tensors = Safetensors(data)
    if not set(_OWN_TENSORS) <= set(tensors):
        raise UnknownLayout(
            f"expected the tensors {', '.join(_OWN_TENSORS)}, got {', '.join(sorted(tensors)[:20]) or 'none'}"
        )
    card = _json(tensors.metadata.get("prisma", "{}").encode())
    if "k" not in card:
        raise UnknownLayout("the file does not contain its k: expected `prisma` in its metadata")
    arrays = _Arrays(*(tensors[name] for name in _OWN_TENSORS[:4]))
    moments = tensors["mean"], tensors["scale"]
    return _checked(arrays, moments, k=card["k"], threshold=card.get("threshold", 0.0)), "prisma"


def _from_sae_lens(config: dict[str, Any], tensors: Mapping[str, F32]) -> tuple[Weights, str]:
    kind = config.get("architecture")
    if kind not in ("topk", "jumprelu"):
        raise UnknownLayout(f"expected a SAELens autoencoder of topk or jumprelu, got {kind}")
    if config.get("normalize_activations", "none") != "none" or config.get("reshape_activations", "none") != "none":
        raise UnknownLayout("the autoencoder normalises or reshapes its input; fold that into its weights first")
    arrays = _Arrays(
        np.ascontiguousarray(_require(tensors, "W_enc").T),
        *(_require(tensors, name) for name in ("b_enc", "W_dec", "b_dec")),
    )
    if not config.get("apply_b_dec_to_input", True):
        arrays = arrays.with_bias_before_b_dec()
    if kind == "jumprelu":
        thresholds = np.unique(_require(tensors, "threshold"))
        if len(thresholds) != 1:
            raise UnknownLayout("expected one threshold for all latents, as BatchTopK has; got one for each")
        return _checked(arrays, k=config.get("k", 1), threshold=float(thresholds[0])), "sae-lens"
    if config.get("rescale_acts_by_decoder_norm"):
        arrays = arrays.with_unit_decoder()
    return _checked(arrays, k=config.get("k", 1)), "sae-lens"


def _from_sparsify(config: dict[str, Any], tensors: Mapping[str, F32]) -> tuple[Weights, str]:
    if config.get("activation", "topk") != "topk" or config.get("transcode") or config.get("skip_connection"):
        raise UnknownLayout(
            "expected a sparsify autoencoder with activation topk, no transcoder and no skip connection"
        )
    arrays = _Arrays(*(_require(tensors, name) for name in ("encoder.weight", "encoder.bias", "W_dec", "b_dec")))
    return _checked(arrays, k=config.get("k", 32)), "sparsify"


def _from_torch(data: bytes) -> tuple[Weights, str]:
    content = read_torch(data)
    config = content.get("config")
    if not isinstance(config, dict):
        raise UnknownLayout("expected a torch file with `config` and the tensors of HypotheSAEs or PRISMA v2")
    for name, reader in (("state_dict", _from_hypothesaes), ("model_state", _from_prisma_v2)):
        if isinstance(content.get(name), dict):
            return reader(config, content)
    raise UnknownLayout("expected `state_dict` (HypotheSAEs) or `model_state` (PRISMA v2) in the torch file")


def _from_hypothesaes(config: dict[str, Any], content: dict[str, Any]) -> tuple[Weights, str]:
    tensors = _arrays_of(content["state_dict"])
    arrays = _Arrays(
        _require(tensors, "encoder.weight"),
        _require(tensors, "neuron_bias"),
        np.ascontiguousarray(_require(tensors, "decoder.weight").T),
        _require(tensors, "input_bias"),
    )
    threshold = 0.0
    if config.get("use_batch_topk"):
        value = _require(tensors, "threshold")
        if value.size != 1:
            raise UnknownLayout(f"expected one threshold, got the shape {value.shape}")
        threshold = float(value.reshape(())[()])
    return _checked(arrays, k=config.get("k_active_neurons", 1), threshold=threshold), "hypothesaes"


def _from_prisma_v2(config: dict[str, Any], content: dict[str, Any]) -> tuple[Weights, str]:
    tensors, moments = _arrays_of(content["model_state"]), _arrays_of(content)
    arrays = _Arrays(
        _require(tensors, "encoder.weight"),
        _require(tensors, "encoder.bias"),
        np.ascontiguousarray(_require(tensors, "decoder.weight").T),
        _require(tensors, "decoder.bias"),
    ).with_bias_before_b_dec()
    mean, scale = (_require(moments, name).reshape(-1) for name in ("zscore_mean", "zscore_std"))
    return _checked(arrays, (mean, scale), k=config.get("k", 1)), "prismadb"


def _checked(arrays: _Arrays, moments: tuple[F32, F32] | None = None, *, k: Any, threshold: Any = 0.0) -> Weights:
    """Weights that can be computed with. moments: mean and scale (d,); None for vectors that are taken as they are."""
    n, d = arrays.W_enc.shape
    mean, scale = moments or (np.zeros(d, dtype=np.float32), np.ones(d, dtype=np.float32))
    _expect_shape("mean", mean, (d,))
    _expect_shape("scale", scale, (d,))
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= n:
        raise UnknownLayout(f"expected k from 1 to {n}, the number of latents, got {k!r:.40}")
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= MAX_THRESHOLD:
        raise UnknownLayout(f"expected a threshold from 0 to {MAX_THRESHOLD:g}, got {threshold!r:.40}")
    fields = {**vars(arrays), "mean": mean, "scale": scale}
    fields = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in fields.items()}
    for name, array in fields.items():
        if not np.isfinite(array).all():
            raise UnknownLayout(f"{name} contains NaN or infinity")
        if np.abs(array).max() > MAX_WEIGHT:
            raise UnknownLayout(f"expected numbers of at most {MAX_WEIGHT:g}, {name} contains {np.abs(array).max():g}")
    if not (fields["scale"] >= MIN_SCALE).all():
        raise UnknownLayout(f"expected a scale of at least {MIN_SCALE:g} in each dimension")
    norms = np.linalg.norm(fields["W_dec"].astype(np.float64), axis=1)
    if not (norms.min() >= MIN_DECODER_NORM and norms.max() <= MAX_DECODER_NORM):
        raise UnknownLayout(
            f"expected decoder rows of norms from {MIN_DECODER_NORM:g} to {MAX_DECODER_NORM:g}, "
            f"got {norms.min():g} to {norms.max():g}"
        )
    return Weights(**fields, k=k, threshold=float(threshold))


def _expect_shape(name: str, array: F32, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise UnknownLayout(f"expected {name} of the shape {shape}, which fits the encoder, got {array.shape}")


def _require(tensors: Mapping[str, F32], name: str) -> F32:
    if name not in tensors:
        raise UnknownLayout(f"expected the tensor {name}, got {', '.join(sorted(tensors)[:20]) or 'none'}")
    return tensors[name]


def _arrays_of(content: Mapping[str, Any]) -> dict[str, F32]:
    return {name: value for name, value in content.items() if isinstance(value, np.ndarray)}


def _json(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnknownLayout(f"expected JSON: {first_line(error)}") from error
    if not isinstance(value, dict):
        raise UnknownLayout("expected a JSON object")
    return value
