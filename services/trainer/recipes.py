"""How a run is to be trained: what the user chose, and what follows from the data once it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from prisma_common.cores import core_count
from services.chassis.errors import InvalidArgument
from services.trainer.sae.config import Config, Goal

Setting: TypeAlias = int | float | str | None
_CHOSEN_BY_AUTO = ("expansion", "latent_count", "k", "epochs")
_FOLLOW = {
    "learning_rate": ("expansion", "latent_count", "k", "batch_size", "epochs", "cycles"),
    "k_aux": ("k",),
    "cycles": ("batch_size", "epochs"),
}
"""Settings that are chosen again when one of those that they follow from changes."""


@dataclass(frozen=True)
class Recipe:
    """Settings of `Config` that were set explicitly; the rest are defaults, or chosen by `sizing` with `auto`."""

    settings: Mapping[str, Setting] = field(default_factory=dict)
    auto: bool = False
    goal: Goal = "interpretable"
    """What `auto` chooses for."""

    def resolve(self, *, row_count: int, dimension: int) -> Config:
        """The complete configuration for vectors (row_count, dimension). Not of an automatic recipe.

        Raises InvalidArgument for a k beyond n.
        """
        assert not self.auto
        config = Config.resolve(row_count, dimension, core_count(), **self.settings)
        _check_k(k=config.k, latent_count=config.latents(dimension))
        return config

    def latent_count(self, dimension: int) -> int | None:
        """n; None if it is not certain yet."""
        preview = self.preview()
        if preview.get("latent_count"):
            return preview["latent_count"]
        return preview["expansion"] * dimension if "expansion" in preview else None

    def check(self, dimension: int) -> None:
        """Raises InvalidArgument if k is beyond n, as far as both are certain."""
        latent_count, k = self.latent_count(dimension), self.preview().get("k")
        if latent_count is not None and k is not None:
            _check_k(k=k, latent_count=latent_count)

    def preview(self) -> dict[str, Any]:
        """The settings that are certain before the data is known: explicit ones and fixed defaults."""
        uncertain = _CHOSEN_BY_AUTO if self.auto else ()
        defaults = {name: value for name, value in Config.defaults().items() if name not in uncertain}
        return {**defaults, **self.settings}

    def changed(self, changes: Recipe) -> Recipe:
        """This recipe with some settings replaced."""
        return replace(
            changes, settings={**self._without_size(changes), **changes.settings}, auto=self.auto or changes.auto
        )

    def _without_size(self, changes: Recipe) -> dict[str, Setting]:
        """The settings without the number of latents if it is to be chosen, or is changed in another unit."""
        settings = dict(self.settings)
        if changes.auto or {"expansion", "latent_count"} & changes.settings.keys():
            settings.pop("expansion", None)
            settings.pop("latent_count", None)
        return settings

    @classmethod
    def like(cls, config: Config, changes: Recipe) -> Recipe:
        """The recipe of a clone: all of `config`, except for the changes and what follows from them."""
        settings = cls(config.to_dict())._without_size(changes)
        if changes.auto:
            for name in _CHOSEN_BY_AUTO:
                settings.pop(name, None)
        for name, sources in _FOLLOW.items():
            if any(
                source in changes.settings and changes.settings[source] != settings.get(source) for source in sources
            ):
                settings.pop(name, None)
        return replace(changes, settings={**settings, **changes.settings})

    @property
    def title(self) -> str:
        """A short name of what is known of the size, `x4-k32`, `n512-k8` or `n512`; `auto` if nothing is."""
        preview = self.preview()
        parts = [f"n{preview['latent_count']}"] if preview.get("latent_count") else []
        if not parts and "expansion" in preview:
            parts.append(f"x{preview['expansion']}")
        if parts and "k" in preview:
            parts.append(f"k{preview['k']}")
        return "-".join(parts) or "auto"


def _check_k(*, k: int, latent_count: int) -> None:
    if k > latent_count:
        raise InvalidArgument.field("run.config.k", f"expected at most {latent_count}, the number of latents; got {k}")
