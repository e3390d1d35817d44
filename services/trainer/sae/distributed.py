"""Several processes train one autoencoder: each takes a part of every batch, all make the same update.

For each batch they exchange not the gradients, n x d, but the factors that these are sums of products of: B·k slots and
2·B·d numbers. Since all join the same factors in the same order, weights stay equal without being sent, and the
training is that of one process with the whole batch. torchrun starts the processes, and restarts them when one dies;
so this needs torch. One process uses all cores of a CPU by itself: several are for several GPUs or hosts.
"""

from __future__ import annotations

import os

from services.trainer.sae.training import Share


def processes() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def agree(text: str) -> str:
    """The text that one of the processes has, for all: the others pass an empty string."""
    from services.trainer.sae.gpu import collectives

    return collectives.agree(text)


def share() -> Share:
    """This process's share of each batch, by torchrun's environment; without torchrun all of it."""
    if processes() == 1:
        return Share()
    from services.trainer.sae.gpu import collectives

    return collectives.share()
