"""UMAP in a process of its own: `python -P -m services.embedder.umap_process VECTORS POINTS`, both `.npy` files.

It prints `<done> <total>` of its epochs, and ends when its standard input does: with the process that started it.
"""

from __future__ import annotations

import os
import sys
import threading

import numpy as np

NEIGHBOURS = 15
SEED = 0


class _Epochs:
    """What tqdm writes its progress to: `<done> <total>`, one line for each change."""

    def write(self, text: str) -> None:
        if line := text.strip():
            print(line, flush=True)  # noqa: T201 - the protocol of this process

    def flush(self) -> None:
        pass


def main() -> None:
    """Reads vectors (n, d) float32, and writes points (n, 2) float32."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import umap  # compiles much of itself at each start

    vectors = np.load(sys.argv[1], allow_pickle=False)
    reducer = umap.UMAP(
        n_neighbors=min(NEIGHBOURS, len(vectors) - 1),
        metric="cosine",
        init="spectral" if len(vectors) > NEIGHBOURS else "random",
        random_state=SEED,
        n_jobs=1,
        verbose=False,
        tqdm_kwds={"file": _Epochs(), "bar_format": "{n} {total}", "mininterval": 0.5, "disable": False},
    )
    points = np.asarray(reducer.fit_transform(vectors), dtype=np.float32)
    np.save(sys.argv[2], points, allow_pickle=False)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
