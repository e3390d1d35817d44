"""A sparse autoencoder as an estimator: fit it to vectors, transform vectors to sparse codes."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from prisma_common.cores import core_count
from prisma_common.progress import bar
from prisma_common.wire import concatenate
from prisma_sae.inputs import Vectors, matrix_of, vectors_of
from prisma_sae.parameters import Parameterized
from services.chassis.files import whole
from services.trainer.sae import exchange, sizing
from services.trainer.sae.config import Goal
from services.trainer.sae.kernels.threads import set_threads
from services.trainer.sae.training import Training
from services.trainer.sae.vectors import Vectors as VectorSource
from services.trainer.sae.weights import Weights

Progress = Callable[[str, int, int], None]
"""Called with `sizing` or `training`, the steps done and those that there are."""
_BLOCK_ROWS = 1 << 13
"""Rows that are encoded together."""
_MAX_SEED = 1 << 31


class NotFitted(ValueError, AttributeError):
    """The estimator was neither fitted nor loaded."""


class SparseAutoencoder(Parameterized):
    """A sparse autoencoder: each vector becomes the few of many latents that are active in it.

    Parameters
    ----------
    n_latents : int or None
        Number of latents, n. None: chosen by small trainings on the data, as the trainer's `auto` does.
    k : int or None
        Active latents of a vector. None: chosen as above.
    goal : "interpretable" or "faithful"
        What the sizes are chosen for: features that people can name, or codes that keep much of their vectors.
    architecture : "top_k", "batch_top_k" or "matryoshka"
        Which latents are active.
    epochs : int or None
        Passes over the vectors. None: by the number of vectors, about 1,000 steps, 2 to 60 passes.
    batch_size : int
        Vectors in a training step.
    learning_rate : float or None
        Peak rate of Adam. None: by rule (docs/explanation/recipe.md).
    normalization : "standard", "scale" or "none"
        How vectors are normalised; the codes are of the vectors as they are passed in any case.
    held_out_fraction : float
        Share of the vectors that is kept from training, to measure `fvu_` on.
    patience : int or None
        Epochs without improvement on the held-out vectors after which the training ends early. None: as planned.
    random_state : int, numpy.random.RandomState or None
        Starts all random numbers. An int gives the same weights each time.
    n_jobs : int or None
        Threads; None or -1: all cores. It changes no bit of the result.
    progress : callable, bool or None
        Called as progress(phase, done, total), phase `sizing` or `training`. None: a bar in a terminal and a notebook,
        once a fit takes longer than half a second; False: none.

    Attributes
    ----------
    components_ : (n_latents, d) float32
        What each latent adds to a vector for each unit of its activation: the decoder.
    intercept_ : (d,) float32
        The vector of an empty code: X ≈ codes @ components_ + intercept_.
    n_latents_, k_, n_features_in_ : int
        n, active latents, and d.
    config_ : dict
        The complete configuration, as the trainer service stores it.
    n_steps_ : int
        Training steps.
    fvu_, train_fvu_ : float
        Fraction of variance unexplained, of held-out vectors and of training vectors; nan where there are too few.
    density_ : (n_latents,) float64
        Share of the vectors passed to `fit` in which each latent is active.
    dead_latents_ : (m,) int
        Latents that are active in none of them.
    sizing_reason_ : str
        Why the size is what it is, in a sentence.

    A loaded autoencoder has those that its file tells: the first four rows.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((500, 32), dtype=np.float32)
    >>> sae = SparseAutoencoder(n_latents=64, k=4, epochs=2).fit(X)
    >>> sae.transform(X).shape
    (500, 64)
    """

    def __init__(
        self,
        n_latents: int | None = None,
        k: int | None = None,
        *,
        goal: Goal = "interpretable",
        architecture: Literal["top_k", "batch_top_k", "matryoshka"] = "top_k",
        epochs: int | None = None,
        batch_size: int = 512,
        learning_rate: float | None = None,
        normalization: Literal["standard", "scale", "none"] = "standard",
        held_out_fraction: float = 0.1,
        patience: int | None = None,
        random_state: int | np.random.RandomState | None = 0,
        n_jobs: int | None = None,
        progress: Progress | bool | None = None,
    ) -> None:
        self.n_latents = n_latents
        self.k = k
        self.goal: Goal = goal
        self.architecture = architecture
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.normalization = normalization
        self.held_out_fraction = held_out_fraction
        self.patience = patience
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.progress = progress

    def fit(self, X: Any, y: Any = None) -> Self:
        """Trains on vectors X, (N, d); y is ignored. The first training on a machine compiles, for half a minute.

        Raises ValueError for vectors with NaN or infinity and for settings that do not fit together; Diverged where
        the learning rate is too high.
        """
        self.fit_transform(X)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> sparse.csr_array:
        """Trains on vectors X, (N, d), and returns their codes, (N, n). Otherwise as `fit`."""
        vectors = vectors_of(X)
        settings = self._settings()
        with self._progress() as report, _threads(_job_count(self.n_jobs)) as threads:
            choice, config = sizing.configure(
                VectorSource(vectors),
                goal=self.goal,
                settings=settings,
                cores=threads,
                progress=lambda done, total: report("sizing", done, total),
            )
            training = Training(vectors, config)
            training.finish(lambda: report("training", training.step, training.total_steps))
            self._take(training.weights, config.to_dict())
            self.n_steps_ = training.step
            self.sizing_reason_ = choice.reason
            self.fvu_, self.train_fvu_ = (
                float("nan") if fvu is None else fvu for fvu in (training.measure(), training.train_fvu())
            )
            codes = self._encode(vectors)
        self.density_ = np.bincount(codes.indices, minlength=self.n_latents_) / len(vectors)
        self.dead_latents_ = np.flatnonzero(self.density_ == 0)
        return codes

    def transform(self, X: Any) -> sparse.csr_array:
        """Returns the codes of vectors X, (N, d): (N, n) float32 in compressed sparse rows.

        A vector has the same bits in any batch. Raises NotFitted; ValueError as `fit`, and for another dimension.
        """
        self._check_is_fitted()
        vectors = self._vectors(X)
        with _threads(_job_count(self.n_jobs)):
            return self._encode(vectors)

    def inverse_transform(self, X: Any) -> Vectors:
        """Returns the vectors, (N, d) float32, of codes X, (N, n), sparse or dense. Raises NotFitted, ValueError."""
        weights = self._check_is_fitted()
        codes: Any = sparse.csr_array(X, dtype=np.float32)
        if codes.shape[1] != weights.latent_count:
            raise ValueError(f"expected codes of {weights.latent_count} latents, got {codes.shape[1]}")
        return (codes @ weights.W_dec + weights.b_dec) * weights.scale + weights.mean

    def score(self, X: Any, y: Any = None) -> float:
        """Returns the fraction of the variance of vectors X, (N, d), that their codes explain; at most 1.

        The variance is that around the mean of X; nan without any. Raises NotFitted, ValueError.
        """
        weights = self._check_is_fitted()
        vectors = self._vectors(X)
        with _threads(_job_count(self.n_jobs)):
            unexplained = weights.fvu(vectors)
        return float("nan") if unexplained is None else 1 - unexplained

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Returns names of the columns of codes: `sparseautoencoder0` … Raises NotFitted."""
        self._check_is_fitted()
        return np.array([f"sparseautoencoder{index}" for index in range(self.n_latents_)], dtype=object)

    def save(self, path: str | Path) -> None:
        """Writes the weights for `load`, or for a server's `import_weights`.

        path: a `.safetensors` file, of which each bit comes back; or a `.zip` in SAELens' layout. What was measured in
        `fit` is not in it. Raises NotFitted, OSError; ValueError for another suffix.
        """
        weights, path = self._check_is_fitted(), Path(path)
        if path.suffix == ".safetensors":
            data = weights.to_bytes({"config": self.config_})
        elif path.suffix == ".zip":
            data = exchange.zipped(path.stem, exchange.to_sae_lens(weights, {}))
        else:
            raise ValueError(f"expected a path that ends in .safetensors or .zip, got {path.name!r}")
        with whole(path) as file:
            file.write(data)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Returns the autoencoder of a file: of `save`, of a server's `export_weights`, SAELens or sparsify.

        Raises OSError; ValueError for a file that is none.
        """
        data = Path(path).read_bytes()
        weights, _layout = exchange.read(data)
        config = exchange.config_of(data)
        names = cls._parameter_defaults().keys() & config.keys()
        autoencoder = cls(**{name: config[name] for name in names if name != "k"})
        autoencoder.set_params(n_latents=weights.latent_count, k=weights.k)
        if "seed" in config:
            autoencoder.set_params(random_state=config["seed"])
        autoencoder._take(weights, config)
        return autoencoder

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_weights")

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks estimators for; it is imported when it does."""
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=["float32"]),
            input_tags=InputTags(),
        )

    def _settings(self) -> dict[str, Any]:
        """The parameters that are set, as settings of `Config`. Raises ValueError."""
        optional = {
            "latent_count": self.n_latents,
            "k": self.k,
            "epochs": self.epochs,
            "learning_rate": self.learning_rate,
        }
        return {
            **{name: value for name, value in optional.items() if value is not None},
            "architecture": self.architecture,
            "batch_size": self.batch_size,
            "normalization": self.normalization,
            "held_out_fraction": self.held_out_fraction,
            "patience": self.patience,
            "seed": _seed(self.random_state),
            "siblings": 0,
        }

    def _take(self, weights: Weights, config: dict[str, Any]) -> None:
        self._weights = weights
        self.components_ = weights.W_dec * weights.scale
        self.intercept_ = weights.b_dec * weights.scale + weights.mean
        self.n_latents_, self.k_, self.n_features_in_ = weights.latent_count, weights.k, weights.dimension
        self.config_ = config

    def _check_is_fitted(self) -> Weights:
        if not self.__sklearn_is_fitted__():
            raise NotFitted(f"this {type(self).__name__} is not fitted yet: call `fit` or `load` first")
        return self._weights

    def _vectors(self, X: Any) -> Vectors:
        vectors = vectors_of(X)
        if vectors.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {vectors.shape[1]} features, but {type(self).__name__} is expecting {self.n_features_in_} "
                "features as input"
            )
        return vectors

    def _encode(self, vectors: Vectors) -> sparse.csr_array:
        rows = np.arange(len(vectors), dtype=np.uint64)
        blocks = [slice(first, first + _BLOCK_ROWS) for first in range(0, len(vectors), _BLOCK_ROWS)]
        parts = [self._weights.encode(vectors[block], rows[block]) for block in blocks]
        return matrix_of(concatenate(parts, self._weights.latent_count))

    @contextmanager
    def _progress(self) -> Generator[Progress]:
        if callable(self.progress):
            yield self.progress
            return
        with bar("training", enabled=self.progress) as report:
            yield lambda phase, done, total: report(done, total, f"{done:,} of {total:,}", title=phase)


@contextmanager
def _threads(count: int) -> Generator[int]:
    """Within it, kernels have `count` threads and BLAS has one; afterwards the process has what it had."""
    before = numba.get_num_threads()
    try:
        with threadpool_limits(1, user_api="blas"):
            set_threads(count)
            yield count
    finally:
        numba.set_num_threads(before)


def _job_count(n_jobs: int | None) -> int:
    """Threads. Raises ValueError for 0; negative numbers count from all cores down, as in joblib."""
    cores = core_count()
    if n_jobs == 0:
        raise ValueError("expected n_jobs of at least 1, a negative number, or None for all cores; got 0")
    if n_jobs is None:
        return cores
    return min(n_jobs, cores) if n_jobs > 0 else max(1, cores + 1 + n_jobs)


def _seed(random_state: int | np.random.RandomState | None) -> int:
    if random_state is None:
        return int(np.random.default_rng().integers(_MAX_SEED))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(_MAX_SEED))
    if random_state < 0:
        raise ValueError(f"expected a random_state of at least 0, got {random_state}")
    return int(random_state)
