"""Hostile files of weights: each is refused with INVALID_WEIGHTS, none ends in another error."""

from __future__ import annotations

import asyncio
import json
import random
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from services.trainer.errors import FileTooLarge, InvalidWeights
from services.trainer.sae import exchange
from services.trainer.sae.weights import Weights
from services.trainer.weight_import import IMPORTS_AT_ONCE, WeightImports, read_weights
from tests.archives import zipped

LIMIT = 1 << 20
D, N = 4, 8


def weights() -> Weights:
    rng = np.random.default_rng(0)
    decoder = rng.standard_normal((N, D)).astype(np.float32)
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    zeros, ones = np.zeros(D, np.float32), np.ones(D, np.float32)
    return Weights(
        W_enc=decoder, b_enc=np.zeros(N, np.float32), W_dec=decoder, b_dec=zeros, mean=zeros, scale=ones, k=2
    )


def sae_lens(**changes: object) -> bytes:
    files = exchange.to_sae_lens(weights(), {})
    config = {**json.loads(files["cfg.json"]), **changes}
    return zipped({**files, "cfg.json": json.dumps(config).encode()})


HOSTILE = {
    "empty": b"",
    "text": b"no weights",
    "cut zip": sae_lens()[:200],
    "zip of nothing": zipped({}),
    "pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94\x93\x94.",
    "deep json": zipped({"cfg.json": b"[" * 100_000, "sae_weights.safetensors": b""}),
    "deep object": zipped({"cfg.json": b'{"a":' * 100_000, "sae_weights.safetensors": b""}),
    "k is a string": sae_lens(k="2"),
    "k is huge": sae_lens(k=10**400),
    "architecture is a list": sae_lens(architecture=["topk"]),
    "header longer than the file": (1 << 40).to_bytes(8, "little") + b"{}",
    "shapes do not fit": save({"W_enc": np.ones((3, 4, 5), np.float32)}),
    "metadata is no JSON": save({name: np.ones(2, np.float32) for name in ("W_enc", "b_enc")}, {"prisma": "{"}),
    "zip bomb": zipped(
        {"cfg.json": b"{}", "sae_weights.safetensors": b"\0" * (LIMIT + 1)}, compression=zipfile.ZIP_DEFLATED
    ),
}


def read(folder: Path, data: bytes) -> Weights:
    (folder / "file").write_bytes(data)
    return read_weights(folder / "file", max_bytes=LIMIT).weights


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidWeights) as caught:
        read(tmp_path, HOSTILE[name])
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("seed", range(4))
def test_no_mutation_of_a_good_file_ends_in_another_error(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    originals = [sae_lens(), weights().to_bytes({})]
    refused = 0
    for _ in range(150):
        data = bytearray(rng.choice(originals))
        for _ in range(rng.randint(1, 8)):
            position = rng.randrange(len(data))
            data[position : position + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
        try:
            read(tmp_path, bytes(data))
        except InvalidWeights:
            refused += 1
    assert refused > 50


async def chunks(*data: bytes) -> AsyncIterator[bytes]:
    for chunk in data:
        yield chunk


async def test_a_file_is_received_on_disk_and_does_not_stay(tmp_path: Path) -> None:
    imports = WeightImports(folder=tmp_path, max_bytes=LIMIT)
    data = weights().to_bytes({})
    async with imports.receive(chunks(data[:10], data[10:])) as upload:
        async with imports.read(upload.path, dimension=D) as imported:
            assert imported.layout == "prisma"
            assert imported.weights.latent_count == N
        with pytest.raises(InvalidWeights, match="5"):
            async with imports.read(upload.path, dimension=5):
                pass
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_is_too_large_is_refused_while_it_is_received(tmp_path: Path) -> None:
    imports = WeightImports(folder=tmp_path, max_bytes=100)
    with pytest.raises(FileTooLarge):
        async with imports.receive(chunks(b"x" * 60, b"x" * 60)):
            pass
    assert list(tmp_path.iterdir()) == []


async def test_only_a_few_imports_are_in_memory_at_once(tmp_path: Path) -> None:
    imports = WeightImports(folder=tmp_path, max_bytes=LIMIT)
    in_memory, most = 0, 0
    pair = asyncio.Barrier(IMPORTS_AT_ONCE)

    async def load() -> None:
        nonlocal in_memory, most
        async with imports.receive(chunks(weights().to_bytes({}))) as upload, imports.read(upload.path, dimension=D):
            in_memory += 1
            most = max(most, in_memory)
            await pair.wait()  # the test would never end if fewer were let in
            await asyncio.sleep(0.05)  # time for others to come in, if they are let in
            in_memory -= 1

    await asyncio.gather(*(load() for _ in range(8)))
    assert most == IMPORTS_AT_ONCE
