"""How a run is to be trained: what the user chose, and what follows from the data once it is known."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from services.chassis.errors import InvalidArgument
from services.trainer.sae.config import Config

Setting: TypeAlias = int | float | str | None
_CHOSEN_BY_AUTO = ("expansion", "k", "epochs", "patience")
_FOLLOW = {
    "learning_rate": ("expansion", "k", "batch_size", "epochs", "cycles"),
    "k_aux": ("k",),
    "cycles": ("batch_size", "epochs"),
}
"""Settings that are chosen again when one of those that they follow from changes."""


@dataclass(frozen=True)
class Recipe:
    """Settings of `Config` that were set explicitly; the rest are defaults, or chosen for the data with `auto`."""

    settings: Mapping[str, Setting] = field(default_factory=dict)
    auto: bool = False

    def resolve(self, *, row_count: int, dimension: int) -> Config:
        """The complete configuration for vectors (row_count, dimension). Raises InvalidArgument for a k beyond n."""
        automatic = Config.for_data(row_count, dimension) if self.auto else {}
        values: dict[str, Any] = {**automatic, **self.settings}
        config = Config.resolve(row_count, dimension, os.cpu_count() or 1, **values)
        _check_k(k=config.k, latent_count=config.expansion * dimension)
        return config

    def check(self, dimension: int) -> None:
        """Raises InvalidArgument if k is beyond n, as far as both are certain."""
        preview = self.preview()
        if "expansion" in preview and "k" in preview:
            _check_k(k=preview["k"], latent_count=preview["expansion"] * dimension)

    def preview(self) -> dict[str, Any]:
        """The settings that are certain before the data is known: explicit ones and fixed defaults."""
        uncertain = _CHOSEN_BY_AUTO if self.auto else ()
        defaults = {name: value for name, value in Config.defaults().items() if name not in uncertain}
        return {**defaults, **self.settings}

    def changed(self, changes: Recipe) -> Recipe:
        """This recipe with some settings replaced."""
        return Recipe({**self.settings, **changes.settings}, auto=self.auto or changes.auto)

    @classmethod
    def like(cls, config: Config, changes: Recipe) -> Recipe:
        """The recipe of a clone: all of `config`, except for the changes and what follows from them."""
        settings: dict[str, Setting] = config.to_dict()
        for name, sources in _FOLLOW.items():
            if any(source in changes.settings and changes.settings[source] != settings[source] for source in sources):
                del settings[name]
        return cls({**settings, **changes.settings}, auto=changes.auto)

    @property
    def title(self) -> str:
        """A short name, `x4-k32`; `auto` if the size is not known yet."""
        preview = self.preview()
        if "expansion" in preview and "k" in preview:
            return f"x{preview['expansion']}-k{preview['k']}"
        return "auto"


def _check_k(*, k: int, latent_count: int) -> None:
    if k > latent_count:
        raise InvalidArgument.field("run.config.k", f"expected at most {latent_count}, the number of latents; got {k}")
