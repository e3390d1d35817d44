"""Refuses to build a wheel of the server without the page, which the gateway serves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WITHOUT_PAGE = "PRISMA_WHEEL_WITHOUT_PAGE"
"""Set to 1 for wheels that run no gateway: those of the other services' container images."""


class CustomBuildHook(BuildHookInterface[Any]):
    """Runs before each wheel; editable installs are left alone."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Raises FileNotFoundError where the page is not built."""
        page = Path(self.root) / "gateway/web/dist/index.html"
        if version == "standard" and not page.exists() and os.environ.get(WITHOUT_PAGE) != "1":
            raise FileNotFoundError(
                f"{page} does not exist: build the page first (`make web`), "
                f"or set {WITHOUT_PAGE}=1 for a wheel whose gateway serves no page"
            )
