"""`prisma_sae.SparseAutoencoder`: scikit-learn's conventions, files, and what it refuses."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from prisma_sae import NotFitted, SparseAutoencoder


def vectors(rows: int = 600, dimension: int = 16, topics: int = 12) -> np.ndarray:
    """Sums of two of a few directions, with noise."""
    rng = np.random.default_rng(1)
    directions = rng.standard_normal((topics, dimension))
    active = rng.random((rows, topics)).argsort(axis=1)[:, :2]
    return (directions[active].sum(axis=1) + 0.05 * rng.standard_normal((rows, dimension))).astype(np.float32)


@pytest.fixture(scope="module")
def fitted() -> SparseAutoencoder:
    return SparseAutoencoder(n_latents=24, k=2, epochs=20, batch_size=64).fit(vectors())


def test_scikit_learns_checks() -> None:
    results = check_estimator(SparseAutoencoder(n_latents=8, k=2, epochs=2), on_skip=None)
    assert len(results) > 40
    # Skipped unless the environment tells SciPy to take such arrays.
    assert {result["check_name"] for result in results if result["status"] != "passed"} == {"check_array_api_input"}


def test_codes_are_sparse_and_few_latents_explain_the_vectors(fitted: SparseAutoencoder) -> None:
    X = vectors()
    codes = fitted.transform(X)
    assert isinstance(codes, sparse.csr_array)
    assert (codes.shape, codes.dtype) == ((600, 24), np.float32)
    assert np.diff(codes.indptr).max() <= 2
    assert 0 < fitted.fvu_ < 0.5
    assert fitted.score(X) > 0.5
    assert fitted.components_.shape == (24, 16)
    rebuilt = fitted.inverse_transform(codes)
    np.testing.assert_allclose(rebuilt, codes @ fitted.components_ + fitted.intercept_, atol=1e-5)
    assert np.square(X - rebuilt).sum() / np.square(X - X.mean(axis=0)).sum() == pytest.approx(1 - fitted.score(X))


def test_a_score_takes_little_memory_beside_the_vectors(fitted: SparseAutoencoder) -> None:
    X = vectors(60_000)
    fitted.score(X[:100])
    tracemalloc.start()
    score = fitted.score(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < X.nbytes
    rebuilt = fitted.inverse_transform(fitted.transform(X))
    assert score == pytest.approx(1 - np.square(X - rebuilt).sum() / np.square(X - X.mean(axis=0)).sum())


def test_density_and_dead_latents_are_those_of_the_codes(fitted: SparseAutoencoder) -> None:
    active = (fitted.transform(vectors()).toarray() > 0).mean(axis=0)
    np.testing.assert_allclose(fitted.density_, active)
    np.testing.assert_array_equal(fitted.dead_latents_, np.flatnonzero(active == 0))


def test_a_seed_gives_the_same_bits_with_any_number_of_threads(fitted: SparseAutoencoder) -> None:
    again = clone(fitted).set_params(n_jobs=1).fit(vectors())
    other = clone(fitted).set_params(random_state=1).fit(vectors())
    assert again.components_.tobytes() == fitted.components_.tobytes()
    assert other.components_.tobytes() != fitted.components_.tobytes()


def test_sizes_that_are_not_set_are_chosen_for_the_data() -> None:
    phases: list[tuple[str, int, int]] = []
    sae = SparseAutoencoder(progress=lambda *report: phases.append(report)).fit(vectors())
    assert sae.n_latents_ == len(sae.components_) == sae.config_["latent_count"]
    assert sae.sizing_reason_
    assert {phase for phase, _done, _total in phases} == {"sizing", "training"}
    assert phases[-1] == ("training", sae.n_steps_, sae.n_steps_)


@pytest.mark.parametrize("suffix", [".safetensors", ".zip"])
def test_what_is_saved_is_loaded(fitted: SparseAutoencoder, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    fitted.save(path)
    loaded = SparseAutoencoder.load(path)
    assert (loaded.n_latents, loaded.k, loaded.n_features_in_) == (24, 2, 16)
    codes, original = (sae.transform(vectors()) for sae in (loaded, fitted))
    if suffix == ".safetensors":
        assert codes.data.tobytes() == original.data.tobytes()
        assert loaded.get_params() == {**fitted.get_params(), "learning_rate": loaded.learning_rate}
        assert clone(loaded).fit(vectors()).components_.tobytes() == fitted.components_.tobytes()
    else:
        np.testing.assert_allclose(codes.toarray(), original.toarray(), atol=1e-4)


def test_it_can_be_pickled_searched_and_put_into_a_pipeline(fitted: SparseAutoencoder) -> None:
    X = vectors()
    y = X[:, 0] > 0
    copied: SparseAutoencoder = pickle.loads(pickle.dumps(fitted))
    assert copied.transform(X).data.tobytes() == fitted.transform(X).data.tobytes()
    assert make_pipeline(clone(fitted), LogisticRegression()).fit(X, y).score(X, y) > 0.7
    search = GridSearchCV(clone(fitted), {"k": [1, 2]}, cv=2).fit(X)
    assert search.best_params_ == {"k": 2}


def test_the_process_keeps_its_threads() -> None:
    """In a process of its own: kernels that were used before have taken the threads of BLAS already."""
    code = """
import numpy as np
from threadpoolctl import threadpool_info
from prisma_sae import SparseAutoencoder
def threads():
    return {pool["filepath"]: pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
before = threads()
SparseAutoencoder(n_latents=8, k=2, epochs=1).fit(np.eye(20, 6))
assert 2 in before.values() and before.items() <= threads().items(), (before, threads())
"""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.full((3, 16), np.nan), "vector 0 contains NaN"),
        (np.full((3, 16), 1e300), "too large for float32"),
        (np.zeros((3, 5)), "X has 5 features, but SparseAutoencoder is expecting 16"),
        (np.zeros(16), r"reshape\(1, -1\)"),
        (np.zeros((0, 16)), r"0 sample\(s\)"),
        (sparse.csr_array((3, 16)), "toarray"),
        ([["text"] * 16], "numbers"),
    ],
)
def test_what_are_no_vectors_is_refused_in_a_sentence(fitted: SparseAutoencoder, X: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        fitted.transform(X)


def test_before_fit_it_says_what_to_do(tmp_path: Path) -> None:
    for call in (lambda sae: sae.transform(vectors()), lambda sae: sae.save(tmp_path / "x.zip")):
        with pytest.raises(NotFitted, match="call `fit` or `load` first"):
            call(SparseAutoencoder())


def test_files_and_parameters_that_are_none_are_refused(fitted: SparseAutoencoder, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="expected a safetensors file"):
        SparseAutoencoder.load(tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"\.safetensors or \.zip"):
        fitted.save(tmp_path / "x.npy")
    with pytest.raises(ValueError, match="no parameter 'latents'"):
        SparseAutoencoder().set_params(latents=3)
    with pytest.raises(ValueError, match="k is 9"):
        SparseAutoencoder(n_latents=8, k=9).fit(vectors())


def test_it_imports_no_server() -> None:
    servers = ("grpc", "nats", "sqlalchemy", "structlog", "psutil", "sklearn", "torch")
    code = f"import sys, prisma_sae; print([name for name in {servers} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
