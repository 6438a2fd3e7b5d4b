"""The listener's certificate, also after it has been renewed on disk."""

from __future__ import annotations

import asyncio
import ssl

from .. import logs
from ..exits import CannotRun
from .settings import TlsFiles

SECONDS_BETWEEN_LOOKS = 60.0


def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """The context of the listener. Raises CannotRun if the files cannot be used.

    A client certificate is asked for and checked, but not required in the handshake: validators have none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(files.certificate, files.key)
        if files.client_ca:
            context.load_verify_locations(files.client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
    except (ssl.SSLError, OSError) as error:
        raise CannotRun(f"tls: the files cannot be used: {error}.") from error
    return context


async def follow_renewals(context: ssl.SSLContext, files: TlsFiles) -> None:
    """Use a changed certificate for new connections, until cancelled. One that cannot be used changes nothing."""
    seen = _version(files)
    while True:
        await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
        version = _version(files)
        if version == seen:
            continue
        try:
            # tried first: a certificate without its key would spoil the context in use
            tls_context(files)
            context.load_cert_chain(files.certificate, files.key)
        except (CannotRun, ssl.SSLError, OSError) as error:
            logs.warning("the changed certificate cannot be used; the old one stays", reason=str(error))
        else:
            logs.info("the changed certificate is used from now on")
        seen = version


def _version(files: TlsFiles) -> tuple[int, ...]:
    """What changes when one of the files is replaced. Empty while one is missing."""
    try:
        stats = [path.stat() for path in (files.certificate, files.key)]
    except OSError:
        return ()
    return tuple(number for stat in stats for number in (stat.st_mtime_ns, stat.st_size, stat.st_ino))
