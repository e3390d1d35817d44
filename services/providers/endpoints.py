"""The operator's model servers and prompts, from the TOML file that PRISMA_PROVIDERS names.

Requests name a model, `<endpoint>/<model>`; only this file names addresses and files of keys.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError

from services.chassis.startup import StartRefused

RESERVED_NAMES = frozenset({"builtin", "onnx", "ollama", "keywords", "given"})
"""The first parts of the ids of other models."""
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_MAX_FILE_BYTES = 1 << 20
_MAX_KEY_BYTES = 8192
_Text = Annotated[str, StringConstraints(min_length=1)]


@dataclass(frozen=True)
class Endpoint:
    """A server that speaks OpenAI's protocol.

    url: the base address, with `/v1`.
    key: sent as a bearer token; None for none.
    embeddings, chat: the models to offer; None for those that the server lists.
    matryoshka: models whose vectors may be cut, beside those that are known for it.
    normalize: whether vectors are scaled to unit norm.
    max_batch: texts of one request. concurrency: requests at a time. seconds: limit for a response.
    """

    name: str
    url: str
    key: SecretStr | None
    embeddings: tuple[str, ...] | None
    chat: tuple[str, ...] | None
    matryoshka: tuple[str, ...]
    normalize: bool
    max_batch: int
    concurrency: int
    seconds: float


@dataclass(frozen=True)
class Prompts:
    """What is put before queries and before documents, for the models whose names contain one of some parts."""

    name: str
    query: str
    document: str
    models: tuple[str, ...]


@dataclass(frozen=True)
class Providers:
    """What the file declares."""

    endpoints: tuple[Endpoint, ...] = ()
    prompts: tuple[Prompts, ...] = ()


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _EndpointTable(_Table):
    url: _Text
    key_file: Path | None = None
    embeddings: tuple[_Text, ...] | None = None
    chat: tuple[_Text, ...] | None = None
    matryoshka: tuple[_Text, ...] = ()
    normalize: bool = False
    max_batch: int = Field(default=256, ge=1, le=2048)
    concurrency: int = Field(default=4, ge=1, le=64)
    timeout_seconds: float = Field(default=120.0, gt=0, le=3600)


class _PromptsTable(_Table):
    query: str = ""
    document: str = ""
    models: tuple[_Text, ...] = ()


class _File(_Table):
    providers: Mapping[str, _EndpointTable] = {}
    prompts: Mapping[str, _PromptsTable] = {}


def read_providers(file: Path | None) -> Providers:
    """The servers and prompts of a file; none without one. Raises StartRefused."""
    if file is None:
        return Providers()
    try:
        content = _File.model_validate(tomllib.loads(_read(file, _MAX_FILE_BYTES)))
    except tomllib.TOMLDecodeError as error:
        raise _refused(file, f"is no valid TOML: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise _refused(file, f"has an error in {field}: {first['msg']}") from None
    endpoints = tuple(_endpoint(file, name, table) for name, table in content.providers.items())
    prompts = tuple(_prompts(file, name, table) for name, table in content.prompts.items())
    return Providers(endpoints, prompts)


def _endpoint(file: Path, name: str, table: _EndpointTable) -> Endpoint:
    where = f"providers.{name}"
    _check_name(file, where, name)
    if name in RESERVED_NAMES:
        raise _refused(file, f"has a provider {name!r}, a name that PRISMA uses itself: choose another")
    return Endpoint(
        name=name,
        url=_url(file, where, table.url),
        key=_key(file, where, table.key_file),
        embeddings=table.embeddings,
        chat=table.chat,
        matryoshka=table.matryoshka,
        normalize=table.normalize,
        max_batch=table.max_batch,
        concurrency=table.concurrency,
        seconds=table.timeout_seconds,
    )


def _prompts(file: Path, name: str, table: _PromptsTable) -> Prompts:
    _check_name(file, f"prompts.{name}", name)
    return Prompts(name=name, query=table.query, document=table.document, models=table.models)


def _check_name(file: Path, where: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise _refused(file, f"has an error in {where}: a name is lower-case letters, digits and -, at most 32")


def _url(file: Path, where: str, text: str) -> str:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise _refused(file, f"has an error in {where}.url: expected http://… or https://…")
    if url.userinfo or url.query or url.fragment:
        raise _refused(
            file, f"has an error in {where}.url: expected an address without user, query and fragment; keys are read "
            "from key_file, as addresses are shown"
        )  # fmt: skip
    path = url.path.rstrip("/") or "/v1"
    return str(url.copy_with(path=path))


def _key(file: Path, where: str, key_file: Path | None) -> SecretStr | None:
    """The key in a file, whose path may be relative to the settings'."""
    if key_file is None:
        return None
    key = _read(file.parent / key_file.expanduser(), _MAX_KEY_BYTES).strip()
    if not key or not all("!" <= character <= "~" for character in key):
        raise _refused(file, f"has an error in {where}.key_file: expected a file with one key on one line")
    return SecretStr(key)


def _read(file: Path, max_bytes: int) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(max_bytes + 1)
    except OSError as error:
        raise StartRefused(f"PRISMA_PROVIDERS: {file} cannot be read: {error.strerror}.") from None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = None
    if text is None or len(data) > max_bytes:
        raise StartRefused(f"PRISMA_PROVIDERS: {file} is not a text of at most {max_bytes:,} bytes.")
    return text


def _refused(file: Path, problem: str) -> StartRefused:
    return StartRefused(f"PRISMA_PROVIDERS: {file} {problem}.")
