"""PRISMA's trainer against its peers: on the same vectors, split, d, n, k and batch, in one process, epochs in turn.

Measured: speed at n = 4d, 8d and 32d on synthetic vectors (the data does not change it), as medians of interleaved
epochs; held-out FVU, L0 and dead latents after 20 epochs on the sample, on synthetic vectors and on a file of your own;
PRISMA's seconds to PRISMA v2's FVU at the end; on synthetic vectors the share of true directions that some latent has
at a cosine above .9; with --cold, a whole first training before and after its kernels are compiled, and SAELens's. FVU
is in the vectors' own space; a latent is dead if no training row activates it. Left out: reading data, checkpoints and
logging of all subjects. Peers need torch: `make bench` installs them.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sae_data import F32, sample_vectors, synthetic
from benchmarks.sae_subjects import BATCH, Prisma, Subject
from services.trainer.sae.devices import torch_is_installed
from services.trainer.sae.warming import warm

Record = dict[str, Any]
K, EPOCHS, TIMED_EPOCHS = 32, 20, 5
FIRST_K, FIRST_EPOCHS = 8, 60
FIRST = f"first training N=5000 d=256 n=512 k={FIRST_K} epochs={FIRST_EPOCHS}"
SETTLE_SECONDS = 0.5
"""Threads of torch and BLAS spin for a while after their last work; nobody is measured beside another's."""
SAE_LENS_RATES = (3e-4, 1e-3, 2e-3, 3e-3, 6e-3)
UNITS = {
    "samples_per_second": "samples/s",
    "times_slower": "ratio",
    "gemm_ms": "ms",
    "step_per_gemm": "ratio",
    "held_out_fvu": "1",
    "l0": "latents",
    "dead_share": "1",
    "train_seconds": "s",
    "cpu_seconds": "s",
    "seconds_to_prismadb_fvu": "s",
    "recovered_share": "1",
    "mean_max_cosine": "1",
    "learning_rate": "1",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `python -m benchmarks trainer` takes."""
    parser.add_argument("--peers", default="prismadb", help="of prismadb and sae-lens, separated by commas")
    parser.add_argument("--expansions", default="4,8,32", help="n / d of the speed test")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cold", action="store_true", help="also a first training without compiled kernels")
    parser.add_argument("--no-quality", action="store_true", help="speed alone, in three minutes")
    parser.add_argument("--vectors", type=Path, help="a .npy file of (N, d) float32, measured too")


def run(options: argparse.Namespace) -> list[Record]:
    """All records."""
    peers = [name for name in options.peers.split(",") if name]
    if peers:
        from benchmarks.sae_peers import set_threads

        set_threads(options.threads)
    vectors, directions = synthetic()
    records: list[Record] = cold_start(peers) if options.cold else []
    for expansion in (int(text) for text in options.expansions.split(",") if text):
        records += speed(vectors, expansion, peers, options.threads)
    if options.no_quality:
        return records
    records += quality("sample", sample_vectors(), peers=peers, threads=options.threads)
    records += quality("synthetic", vectors, peers=peers, threads=options.threads, directions=directions)
    if options.vectors:
        records += quality(
            options.vectors.stem,
            np.load(options.vectors, allow_pickle=False),
            peers=peers,
            threads=options.threads,
        )
    return records


def speed(vectors: F32, expansion: int, peers: list[str], threads: int) -> list[Record]:
    """Samples per second by interleaved epochs, and the step's time over that of the bare encoder product."""
    latents = expansion * vectors.shape[1]
    ours = Prisma(vectors, expansion=expansion, k=K, epochs=EPOCHS, threads=threads)
    train = vectors[ours.training.train_rows]
    subjects: list[Subject] = [ours]
    if "prismadb" in peers:
        from benchmarks.sae_peers import PrismaDb

        subjects.append(PrismaDb(train, latents, K))
    if "sae-lens" in peers:
        from benchmarks.sae_peers import SaeLens

        subjects.append(SaeLens(train, latents, K, epochs=EPOCHS, learning_rate=1e-3))
    ours.training.advance()  # compiles the kernels
    seconds: dict[str, list[float]] = {subject.name: [] for subject in subjects}
    products: list[float] = []
    for _ in range(TIMED_EPOCHS):
        for subject in subjects:
            time.sleep(SETTLE_SECONDS)
            began = time.perf_counter()
            subject.epoch()
            seconds[subject.name].append(time.perf_counter() - began)
        time.sleep(SETTLE_SECONDS)
        products.append(_product_seconds(latents, vectors.shape[1], threads))
    case = f"speed d={vectors.shape[1]} n={latents} k={K} batch={BATCH} threads={threads}"
    steps = ours.training.steps_per_epoch
    records: list[Record] = []
    ours_rate = steps * BATCH / statistics.median(seconds["prisma"])
    for subject in subjects:
        samples = len(train) if subject.name == "prismadb" else steps * BATCH
        rate = samples / statistics.median(seconds[subject.name])
        records.append(_record(subject.name, case, "samples_per_second", rate))
        if subject is not ours:
            records.append(_record(subject.name, case, "times_slower", ours_rate / rate))
    product = statistics.median(products)
    records.append(_record("prisma", case, "gemm_ms", 1e3 * product))
    records.append(_record("prisma", case, "step_per_gemm", statistics.median(seconds["prisma"]) / steps / product))
    return records


def quality(name: str, vectors: F32, *, peers: list[str], threads: int, directions: F32 | None = None) -> list[Record]:
    """What is reached after the same epochs, n = 4d."""
    expansion, latents = 4, 4 * vectors.shape[1]
    ours = Prisma(vectors, expansion=expansion, k=K, epochs=EPOCHS, threads=threads)
    train, held_out = vectors[ours.training.train_rows], vectors[ours.training.held_out]
    case = f"{name} N={len(vectors)} d={vectors.shape[1]} n={latents} k={K} epochs={EPOCHS}"
    records: list[Record] = []

    def measure(subject: Subject, extra: dict[str, float]) -> dict[str, float]:
        began = time.perf_counter()
        for _ in range(EPOCHS):
            subject.epoch()
        values = {
            "train_seconds": time.perf_counter() - began,
            **_measures(subject, train, held_out, directions),
            **extra,
        }
        records.extend(_record(subject.name, case, metric, value) for metric, value in values.items())
        return values

    target: float | None = None
    if "prismadb" in peers:
        from benchmarks.sae_peers import PrismaDb

        target = measure(PrismaDb(train, latents, K), {})["held_out_fvu"]
    if "sae-lens" in peers:
        from benchmarks.sae_peers import SaeLens

        for rate in SAE_LENS_RATES:
            sae_lens = SaeLens(train, latents, K, epochs=EPOCHS, learning_rate=rate)
            measure(sae_lens, {"learning_rate": rate})
    if target is not None:
        records.append(_record("prisma", case, "seconds_to_prismadb_fvu", _seconds_to(target, vectors, threads)))
    measure(ours, {"learning_rate": ours.training.config.learning_rate})
    return records


def _measures(subject: Subject, train: F32, held_out: F32, directions: F32 | None) -> dict[str, float]:
    reconstruction, active = subject.reconstruct(held_out)
    around = held_out - held_out.mean(axis=0)
    used = np.zeros(active.shape[1], dtype=bool)
    for begin in range(0, len(train), 4096):
        used |= subject.reconstruct(train[begin : begin + 4096])[1].any(axis=0)
    measures = {
        "held_out_fvu": float(np.square(held_out - reconstruction).sum() / np.square(around).sum()),
        "l0": float(active.sum(axis=1).mean()),
        "dead_share": float(1 - used.mean()),
    }
    if directions is not None:
        decoder = subject.decoder()
        decoder = decoder / np.maximum(np.linalg.norm(decoder, axis=1, keepdims=True), 1e-12)
        best = (directions @ decoder.T).max(axis=1)
        measures |= {"recovered_share": float((best > 0.9).mean()), "mean_max_cosine": float(best.mean())}
    return measures


def _seconds_to(target: float, vectors: F32, threads: int) -> float:
    """Seconds of PRISMA's steps until its held-out FVU is the target; measuring is not counted."""
    training = Prisma(vectors, expansion=4, k=K, epochs=EPOCHS, threads=threads).training
    spent = 0.0
    while training.step < training.total_steps:
        began = time.perf_counter()
        training.advance()
        spent += time.perf_counter() - began
        fvu = training.measure()
        if fvu is not None and fvu <= target:
            return spent
    return float("nan")


def cold_start(peers: Sequence[str]) -> list[Record]:
    """A first training from the start of its process: with an empty cache of kernels, with a full one, and the peer's.

    Wall and CPU seconds of all that a user waits for: imports, kernels, and the training with the size that PRISMA
    chooses for so many vectors.
    """
    subjects = {"cold": "prisma_training", "warm": "prisma_training"}
    if "sae-lens" in peers:
        subjects["sae-lens"] = "sae_lens_training"
    records: list[Record] = []
    with tempfile.TemporaryDirectory() as folder:
        for subject, function in subjects.items():
            code = f"from benchmarks.trainer import {function} as train; train()"
            began, before = time.perf_counter(), _cpu_seconds_of_children()
            subprocess.run([sys.executable, "-c", code], env={**os.environ, "NUMBA_CACHE_DIR": folder}, check=True)
            seconds, cpu_seconds = time.perf_counter() - began, _cpu_seconds_of_children() - before
            records.append(_record(subject, FIRST, "train_seconds", seconds))
            records.append(_record(subject, FIRST, "cpu_seconds", cpu_seconds))
    return records


def _cpu_seconds_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def prisma_training() -> None:
    """A first training as the trainer's: after all kernels were compiled."""
    warm()
    subject = Prisma(_first_vectors(), expansion=2, k=FIRST_K, epochs=FIRST_EPOCHS, threads=2)
    for _ in range(FIRST_EPOCHS):
        subject.epoch()


def sae_lens_training() -> None:
    """The same training by SAELens."""
    from benchmarks.sae_peers import SaeLens, set_threads

    set_threads(2)
    subject = SaeLens(_first_vectors(), 512, FIRST_K, epochs=FIRST_EPOCHS, learning_rate=1e-3)
    for _ in range(FIRST_EPOCHS):
        subject.epoch()


def _first_vectors() -> F32:
    return np.random.default_rng(0).standard_normal((5000, 256), dtype=np.float32)


def _product_seconds(latents: int, d: int, threads: int) -> float:
    """The encoder product (BATCH, d) x (d, n) alone, by the faster of NumPy's BLAS and, if it is there, torch's."""
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(0)
    x, weights = rng.standard_normal((BATCH, d), dtype=np.float32), rng.standard_normal((latents, d), dtype=np.float32)
    result = np.empty((BATCH, latents), dtype=np.float32)
    products: list[Callable[[], object]] = [lambda: np.matmul(x, weights.T, out=result)]
    if torch_is_installed():
        from benchmarks.sae_peers import torch_product

        products.append(torch_product(x, weights, result))
    medians: list[float] = []
    with threadpool_limits(threads, user_api="blas"):
        for product in products:
            product()
            times: list[float] = []
            for _ in range(15):
                began = time.perf_counter()
                product()
                times.append(time.perf_counter() - began)
            medians.append(statistics.median(times))
    return min(medians)


def _record(subject: str, case: str, metric: str, value: float) -> Record:
    return {
        "benchmark": "trainer",
        "subject": subject,
        "case": case,
        "metric": metric,
        "value": value,
        "unit": UNITS[metric],
    }
