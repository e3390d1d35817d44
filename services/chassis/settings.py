"""Settings that every process has, from the environment (`PRISMA_…`)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from platformdirs import user_data_path
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from prisma_common import addresses


class ChassisSettings(BaseSettings):
    """What every process reads at start; each field is an environment variable with the prefix PRISMA_."""

    model_config = SettingsConfigDict(env_prefix="PRISMA_", frozen=True, extra="ignore", env_ignore_empty=True)

    data_dir: Path = Field(default_factory=lambda: user_data_path("prisma", appauthor=False))
    """Where data is kept: `<data_dir>/<service>/`."""
    database_url: str | None = None
    """SQLAlchemy URL; none for a SQLite file in the data folder."""
    blob_url: str | None = None
    """Object store for vectors, codes and weights; none for files in the data folder."""
    nats_url: SecretStr = SecretStr(addresses.NATS_URL)
    """The message server, with user and password where it wants them."""
    embedder_address: str = addresses.EMBEDDER
    """Where the embedder is reached."""
    trainer_address: str = addresses.TRAINER
    """Where the trainer is reached."""
    interpreter_address: str = addresses.INTERPRETER
    """Where the interpreter is reached."""
    search_address: str = addresses.SEARCH
    """Where the search is reached."""
    api_keys_file: Path | None = None
    """Keys of people and programs, one `name sha256` a line; none for no keys, on loopback only."""
    service_key: SecretStr | None = None
    """What the services show each other; needed where there are keys."""
    tls_certificate: Path | None = None
    """PEM certificate of this process; with `tls_key`, the server speaks TLS."""
    tls_key: Path | None = None
    """PEM key of the certificate."""
    tls_authority: Path | None = None
    """PEM certificate that signs those of all processes; with it, they prove themselves to each other (mTLS)."""
    ollama_url: str = addresses.OLLAMA_URL
    """Where Ollama is reached; it offers models for embeddings and labels."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """Format of the log: `json` lines, readable `text`, or `auto`: text if stderr is a terminal."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Minimum log level."""
    audit_log: bool = True
    """Whether each change writes an entry to the log (logger `prisma.audit`), whatever the log level."""
    metrics_listen: str | None = None
    """`host:port` of Prometheus metrics; none for no listener."""
    catch_up_seconds: float = Field(default=60.0, gt=0)
    """How often those who derive data ask for changes without a hint."""
    ack_wait_seconds: float = Field(default=30.0, gt=0)
    """How long a worker may be silent before its job is given to another."""

    def data_of(self, service: str) -> Path:
        """The service's own folder, made if it isn't there."""
        folder = self.data_dir / service
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def database_of(self, service: str) -> str:
        """The service's database URL."""
        return self.database_url or f"sqlite:///{self.data_of(service) / f'{service}.db'}"
