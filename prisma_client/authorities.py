"""Whom an https address is verified by."""

from __future__ import annotations

import ssl
from os import PathLike
from pathlib import Path


def verification(authority: str | PathLike[str] | None) -> ssl.SSLContext | bool:
    """What httpx verifies servers by: the authorities of a PEM file, or the public ones. Raises OSError, ValueError."""
    if authority is None:
        return True
    try:
        return ssl.create_default_context(cadata=Path(authority).read_text("ascii"))
    except (ssl.SSLError, UnicodeDecodeError):
        raise ValueError(
            f"expected certificates in PEM in {Path(authority)} (PRISMA_TLS_AUTHORITY), got something else"
        ) from None


def certificate_fault(error: BaseException) -> str | None:
    """Why the server's certificate was refused; None for an error of another kind."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        cause = cause.__cause__ or cause.__context__
    return None
