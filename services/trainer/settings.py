"""Settings of the trainer."""

from __future__ import annotations

from typing import Self

from obstore.exceptions import BaseError
from obstore.store import from_url
from pydantic import field_validator, model_validator

from services.chassis.settings import ChassisSettings
from services.trainer.process import Group


class TrainerSettings(ChassisSettings):
    """What the trainer reads at start."""

    trainer_listen: str = "127.0.0.1:50052"
    """Where it listens."""
    trainer_device: str = "auto"
    """What to train on: `auto` (CUDA, MPS, CPU, the first that is there), `cpu`, `cuda:0`, `mps`."""
    trainer_processes: int = 1
    """Processes that train one run together, each on a part of every batch: one a GPU, started by torchrun."""
    trainer_hosts: int = 1
    """Hosts that train one run together, each with so many processes. On the others `python -P -m
    services.trainer.helper` runs, with the same settings and the same data folder, mounted at the same path."""
    trainer_meet_at: str = ""
    """Where the hosts meet, `host:port`: this host's address in a network of their own, for torch asks for no key."""
    trainer_push_url: str | None = None
    """Object store that runs are pushed to, by `s3://bucket/prefix`, `gs://`, `az://`, `file:///`; its keys come from
    the environment (`AWS_ACCESS_KEY_ID` …). None: nowhere."""
    trainer_max_weights_bytes: int = 4 << 30
    """Largest file of weights that is imported."""

    @model_validator(mode="after")
    def _can_meet(self) -> Self:
        if self.trainer_hosts > 1 and not self.trainer_meet_at:
            raise ValueError("with several trainer_hosts, trainer_meet_at must say where they meet, host:port")
        return self

    @field_validator("trainer_push_url")
    @classmethod
    def _is_a_store(cls, url: str | None) -> str | None:
        try:
            if url is not None:
                from_url(url)
        except BaseError as error:
            raise ValueError(str(error).partition("\n")[0]) from error
        return url

    @property
    def trainer_group(self) -> Group:
        """The processes that train together."""
        return Group(self.trainer_processes, self.trainer_hosts, self.trainer_meet_at)
