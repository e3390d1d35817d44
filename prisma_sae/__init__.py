"""Sparse autoencoders in this process, without a server, with scikit-learn's conventions.

>>> from prisma_sae import SparseAutoencoder
>>> sae = SparseAutoencoder(n_latents=512, k=8)
>>> codes = sae.fit_transform(X)

The kernels are those of the trainer service: the same vectors, settings and seed give the same weights and codes, bit
for bit. Install the extra `local` of prisma-suite.
"""

from prisma_sae.estimator import NotFitted, SparseAutoencoder

__all__ = ["NotFitted", "SparseAutoencoder"]
