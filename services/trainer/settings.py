"""Settings of the trainer."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Self

from obstore.exceptions import BaseError
from obstore.store import from_url
from pydantic import field_validator, model_validator

from prisma_common import addresses
from services.chassis.settings import ChassisSettings
from services.trainer.group import Group
from services.trainer.sae.devices import INSTALL_TORCH

SERVICE = "trainer"


class TrainerSettings(ChassisSettings):
    """The trainer's settings, read at start."""

    trainer_listen: str = addresses.TRAINER
    """`host:port` that the trainer listens on."""
    trainer_device: str = "auto"
    """Device to train on: `cpu`, `cuda:0`, `mps`, or `auto` for the first of CUDA, MPS and CPU that is available."""
    trainer_processes: int = 1
    """Number of processes on this host that train one run together, usually one per GPU; torchrun starts them."""
    trainer_hosts: int = 1
    """Number of hosts that train one run together. Each other host runs `python -P -m
    services.trainer.training.join_host` with the same settings and the same data folder, mounted at the same path."""
    trainer_rendezvous: str | None = None
    """`host:port` at which several hosts meet: this host's address in a private network, as torch checks no key."""
    trainer_push_url: str | None = None
    """Object store that runs are pushed to: `s3://bucket/prefix`, `gs://`, `az://` or `file:///`. Its credentials come
    from the environment (`AWS_ACCESS_KEY_ID` …). None disables pushing."""
    trainer_max_weights_bytes: int = 4 << 30
    """Size limit of a file of imported weights, in bytes."""

    @model_validator(mode="after")
    def _hosts_can_meet(self) -> Self:
        if self.trainer_hosts > 1 and self.trainer_rendezvous is None:
            raise ValueError("several trainer_hosts need trainer_rendezvous, the host:port at which they meet")
        return self

    @model_validator(mode="after")
    def _torch_for_several_processes(self) -> Self:
        if self.trainer_processes * self.trainer_hosts > 1 and find_spec("torch") is None:
            raise ValueError(f"several trainer_processes or trainer_hosts need torch: {INSTALL_TORCH}")
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
        rendezvous = self.trainer_rendezvous if self.trainer_hosts > 1 else None
        return Group(processes=self.trainer_processes, hosts=self.trainer_hosts, rendezvous=rendezvous)
