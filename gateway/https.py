"""HTTPS: which certificate the page and the API show, and its replacement while the gateway runs."""

from __future__ import annotations

import ssl

from gateway.settings import GatewaySettings
from services.chassis import certificates, logs
from services.chassis.certificates import CertificateFiles
from services.chassis.startup import StartRefused

_log = logs.get(__name__)


def certificate_files(settings: GatewaySettings) -> CertificateFiles | None:
    """The files of the certificate that HTTP shows; None for plain HTTP. Raises StartRefused."""
    own = settings.http_tls_certificate or settings.http_tls_key
    if settings.http_tls == "off":
        if own:
            raise StartRefused("PRISMA_HTTP_TLS=off contradicts PRISMA_HTTP_TLS_CERTIFICATE: unset one of them")
        return None
    if not own:
        files = certificates.of_process(settings)
        return files if files.current.pair is not None else None
    return CertificateFiles(
        variable="PRISMA_HTTP_TLS", certificate=settings.http_tls_certificate, key=settings.http_tls_key
    )


def server_context(files: CertificateFiles) -> ssl.SSLContext:
    """A context that shows each new connection the certificate that is in force.

    It never changes a context in use: a file that is replaced just then could leave it without a key.
    """
    current, context = files.current, _context(files)

    def choose(connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _first: ssl.SSLContext) -> None:
        nonlocal current, context
        if (latest := files.current) is not current:
            try:
                current, context = latest, _context(files)
            except (OSError, ssl.SSLError) as error:  # replaced again just now: tried with the next connection
                _log.warning("the certificate of HTTP changed while it was read", cause=str(error))
        connection.context = context

    first = _context(files)
    first.sni_callback = choose
    return first


def _context(files: CertificateFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(*files.pair_files)
    return context
