"""Puts the client's packages, which are in the repository root, into its wheel. An editable install points at them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGES = {"prisma_client": "prisma_client", "prisma_common": "prisma_common", "protos/python/prisma": "prisma"}


class CustomBuildHook(BuildHookInterface[Any]):
    """Runs before each wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the packages."""
        if version == "standard":
            repository = Path(self.root).parents[1]
            build_data["force_include"].update({str(repository / path): name for path, name in PACKAGES.items()})
