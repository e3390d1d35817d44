"""Settings that every process has, from the environment (`PRISMA_…`)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal

from platformdirs import user_data_path
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from prisma_common import addresses
from services.chassis.database_options import DatabaseOptions, schema_of


class ChassisSettings(BaseSettings):
    """What every process reads at start; each field is an environment variable with the prefix PRISMA_."""

    model_config = SettingsConfigDict(env_prefix="PRISMA_", frozen=True, extra="ignore", env_ignore_empty=True)

    data_dir: Path = Field(default_factory=lambda: user_data_path("prisma", appauthor=False))
    """Where data is kept: `<data_dir>/<service>/`."""
    database_url: str | None = None
    """SQLAlchemy URL; none for a SQLite file in the data folder."""
    database_schema: str | None = None
    """PostgreSQL schema of the tables, the server's default by default. `{service}` in it stands for the service."""
    database_connections: int = Field(default=15, gt=0, le=1000)
    """Connections of a process to PostgreSQL at most."""
    database_statement_seconds: float = Field(default=300.0, gt=0)
    """How long PostgreSQL may work on one statement; then the call gets SERVICE_UNAVAILABLE, and a job retries."""
    database_lock_seconds: float = Field(default=30.0, gt=0)
    """How long a transaction waits for PostgreSQL's locks."""
    database_prepare: bool = True
    """Whether PostgreSQL prepares statements that are used often; off for a pooler that does not support it."""
    migrate: Literal["auto", "off"] = "auto"
    """Whether a service migrates its database when it starts, or `python -P -m services.… migrate` did before."""
    blob_url: str | None = None
    """Object store for vectors, codes, weights and statistics; none for files in the data folder."""
    blob_cache_bytes: int = Field(default=20 << 30, gt=0)
    """What the data folder of a service may hold of the object store; what was used longest ago leaves first."""
    nats_url: SecretStr = SecretStr(addresses.NATS_URL)
    """The message server, with user and password where it wants them; several of a cluster, separated by commas.
    `tls://…` connects only to servers that speak TLS."""
    nats_credentials: Path | None = None
    """Credentials file (`.creds`: a user's JWT and seed) for the message server."""
    nats_nkey: Path | None = None
    """File with the seed of a user's NKEY for the message server."""
    nats_tls_authority: Path | None = None
    """PEM certificate that signs the message server's; none for `tls_authority`, else the system's authorities."""
    nats_tls_certificate: Path | None = None
    """PEM certificate shown to a message server that wants one; none for `tls_certificate`."""
    nats_tls_key: Path | None = None
    """PEM key of the certificate; none for `tls_key`."""
    nats_replicas: int = Field(default=1, ge=1, le=5)
    """Servers that store each job, in streams that PRISMA creates; what an operator has set in existing ones stays."""
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
    """PEM certificate of this process, with those between it and its authority; with `tls_key`, the server speaks TLS,
    and so do its calls of other processes."""
    tls_key: Path | None = None
    """PEM key of the certificate, without a password."""
    tls_authority: Path | None = None
    """PEM certificates that sign those of the other processes; none for the system's. A service with it demands a
    certificate by it of whoever calls (mTLS)."""
    tls_client_certificates: Literal["auto", "required", "none"] = "auto"
    """Whether this process demands certificates of its gRPC clients: `auto` does where `tls_authority` is set, but not
    in the gateway, whose clients show an API key."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """Format of the log: `json` lines, readable `text`, or `auto`: text if stderr is a terminal."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Minimum log level."""
    access_log: bool = True
    """Whether each request writes an entry to the log (logger `prisma.access`) at the level info."""
    otlp_endpoint: str | None = Field(default=None, pattern="^https?://")
    """Where traces are sent (OTLP), as `http://collector:4317`; none for no traces. Needs the extra `tracing`."""
    otlp_protocol: Literal["grpc", "http"] = "grpc"
    """How: over gRPC, or over HTTP, usually at port 4318."""
    audit_log: bool = True
    """Whether each change writes an entry to the log (logger `prisma.audit`), whatever the log level."""
    metrics_listen: str | None = None
    """`host:port` of Prometheus metrics, None for no listener. The embedder uses this port, the trainer the next one,
    then the interpreter, search and the gateway. Beyond loopback, scrapers need an API key."""
    probe_listen: str | None = None
    """`host:port` of probes over plain HTTP: /startupz, /livez and /readyz; None for no listener. The embedder uses
    this port, the trainer the next one, as for metrics. Answers hold nothing but whether the process is well."""
    max_calls: int = Field(default=256, gt=0)
    """Calls that a process answers at the same time, watched streams included; more get TOO_MANY_REQUESTS. So do calls
    that would wait behind others for more than 0.4 s, whatever is set here."""
    max_calls_per_caller: int = Field(default=64, gt=0)
    """Of these, the calls of one API key."""
    connection_age_seconds: float = Field(default=1800.0, ge=1)
    """Age at which gRPC clients renew connections, and so find replicas that were added; calls in progress go on."""
    drain_seconds: float = Field(default=5.0, ge=5)
    """How long calls in progress may go on after SIGTERM. Whoever ends the process waits more than twice as long."""
    catch_up_seconds: float = Field(default=60.0, gt=0)
    """How often those who derive data ask for changes without a hint."""
    scrub_seconds: float = Field(default=86_400.0, gt=0)
    """How often a service reads all its stored files, to find damage."""
    ack_wait_seconds: float = Field(default=30.0, gt=0)
    """How long a worker may be silent before its job is given to another."""

    @property
    def shares_data(self) -> bool:
        """Whether several processes of a service may use one data folder: all that they store is elsewhere."""
        return bool(self.database_url and not self.database_url.startswith("sqlite") and self.blob_url)

    def data_of(self, service: str) -> Path:
        """The service's own folder, readable by the process's user only; created if absent."""
        folder = self.data_dir / service
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(exist_ok=True, mode=0o700)
        if folder.stat().st_mode & 0o077:
            with suppress(PermissionError):  # another user's folder, which that user shares
                folder.chmod(0o700)
        return folder

    def metrics_address(self, service: str) -> str:
        """Where a service serves its metrics. Raises ValueError where metrics_listen is no host:port."""
        return _own_address(self.metrics_listen or "", service)

    def probe_address(self, service: str) -> str:
        """Where a service answers probes. Raises ValueError where probe_listen is no host:port."""
        return _own_address(self.probe_listen or "", service)

    def database_of(self, service: str) -> str:
        """The service's database URL."""
        return self.database_url or f"sqlite:///{self.data_of(service) / f'{service}.db'}"

    def database_options(self, service: str) -> DatabaseOptions:
        """How the service uses its database. Raises StartRefused."""
        return DatabaseOptions(
            schema=schema_of(service, self.database_schema),
            connections=self.database_connections,
            statement_seconds=self.database_statement_seconds,
            lock_seconds=self.database_lock_seconds,
            prepared=self.database_prepare,
            migrate=self.migrate == "auto",
        )


def _own_address(first: str, service: str) -> str:
    """The address of a service where the processes listen on ports that follow each other."""
    host, _, _ = first.rpartition(":")
    _, port = addresses.host_and_port(first)
    return f"{host}:{port + list(addresses.PROCESSES).index(service)}"
