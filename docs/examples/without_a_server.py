"""An ML researcher: sparse autoencoders of several sizes on own vectors, without a server.

python docs/examples/without_a_server.py vectors.npy sae.zip
"""

import sys

import numpy as np

from prisma_sae import SparseAutoencoder

X = np.load(sys.argv[1])
for k in (2, 4, 8):
    sae = SparseAutoencoder(n_latents=128, k=k, random_state=0).fit(X)
    print(f"k {k}: FVU {sae.fvu_:.3f}, {len(sae.dead_latents_)} dead latents")

codes = sae.transform(X)
print("strongest vectors of the latent 0:", codes[:, [0]].toarray().ravel().argsort()[::-1][:5])
sae.save(sys.argv[2])  # SAELens and the trainer service read it
