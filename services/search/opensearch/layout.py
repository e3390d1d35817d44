"""Shards, replicas and other settings of a new index: what an operator has set anywhere is not set otherwise.

Later ones win: our defaults, the operator's index templates, PRISMA_OPENSEARCH_SHARDS and PRISMA_OPENSEARCH_REPLICAS,
and what was changed on the index that the new one replaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opensearchpy.exceptions import AuthorizationException, NotFoundError, RequestError

from services.search.opensearch.cluster import Cluster, paused

Settings = dict[str, Any]
"""Flat: `index.number_of_replicas`."""
REPLICAS, EXPAND, SHARDS = "index.number_of_replicas", "index.auto_expand_replicas", "index.number_of_shards"
_DEFAULTS: Settings = {
    SHARDS: "1",
    EXPAND: "0-1",
    "index.refresh_interval": "-1",  # each commit refreshes
    "index.gc_deletes": "10m",  # how long a deletion refuses late writes of older revisions
}
_BLOCKS = tuple(f"index.blocks.{block}" for block in ("read_only_allow_delete", "read_only", "write", "metadata"))
_PRIVATE = (
    "index.uuid",
    "index.creation_date",
    "index.provided_name",
    "index.version.",
    "index.blocks.",
    "index.resize.",
    "index.routing.allocation.initial_recovery.",
    "index.analysis.",
    "index.similarity.",
    "index.replication.",
    SHARDS,
)
"""Settings that belong to one index, that the mappings need, or that cannot change after its creation."""


@dataclass(frozen=True)
class Layout:
    """What the settings of the service say; None where they say nothing."""

    shards: int | None = None
    replicas: str | None = None
    """A number, or a range such as `0-all`, which follows the number of nodes."""

    def settings(self) -> Settings:
        """As settings of an index."""
        settings: Settings = {}
        if self.shards is not None:
            settings[SHARDS] = str(self.shards)
        if self.replicas is not None:
            settings |= _replicas(self.replicas)
        return settings


def new_settings(cluster: Cluster, name: str, layout: Layout, *, replaced: Settings, recorded: Settings) -> Settings:
    """Settings of a new index. replaced: those of the index that it replaces; recorded: as that one was created."""
    template = _template_settings(cluster, name)
    settings = dict(_DEFAULTS)
    if REPLICAS in template or EXPAND in template:
        del settings[EXPAND]
    return _merged(settings, template, layout.settings(), _changes(replaced, recorded))


def flat_settings(cluster: Cluster, name: str) -> Settings:
    """The settings of an index that exists, without those that are its own. Raises BackendPaused if it is blocked."""
    with cluster.outages():
        answer = cluster.client.indices.get_settings(index=name, params={"flat_settings": "true"})
    settings: Mapping[str, Any] = next(iter(answer.values()))["settings"]
    for block in _BLOCKS:
        if settings.get(block) == "true":
            raise paused(f"index {name} has {block}")
    return {key: value for key, value in settings.items() if not key.startswith(_PRIVATE)}


def _changes(replaced: Settings, recorded: Settings) -> Settings:
    """What an operator has changed on an index since it was created."""
    changed = {key: value for key, value in replaced.items() if recorded.get(key) != value} if recorded else {}
    if replaced.get(EXPAND, "false") != "false":
        changed.pop(REPLICAS, None)  # the cluster sets it itself
    return changed


def _merged(*parts: Settings) -> Settings:
    """Later ones win; a fixed number of replicas and a range exclude each other."""
    settings: Settings = {}
    for part in parts:
        if REPLICAS in part and EXPAND not in part:
            settings.pop(EXPAND, None)
        settings |= part
    return settings


def _replicas(replicas: str) -> Settings:
    return {EXPAND: replicas} if "-" in replicas else {REPLICAS: replicas, EXPAND: "false"}


def _template_settings(cluster: Cluster, name: str) -> Settings:
    """What the operator's index templates say of an index of this name; nothing where we may not look."""
    with cluster.outages():
        try:
            answer = cluster.client.indices.simulate_index_template(name=name)
        except (AuthorizationException, NotFoundError, RequestError):
            return {}
    return _flat(answer.get("template", {}).get("settings", {}))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Settings:
    flat: Settings = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{name}.")
        else:
            flat[name] = value
    return flat
