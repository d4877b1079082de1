"""Whether a service answers by TLS with a certificate of the site's authority."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime

from rocks.core.errors import HostError
from rocks.fleet.connection import DownError

_SECONDS = 5.0


def certificate_expiry(address: str, port: int, authority: bytes) -> datetime:
    """When the certificate expires that the service presents at the address; it must name the address.

    `authority` is the PEM certificate of the authority. DownError when nothing answers, HostError when the service does
    not prove by such a certificate that it is the one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.decode("ascii"))
    try:
        with (
            socket.create_connection((address, port), _SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=address) as secured,
        ):
            certificate = secured.getpeercert() or {}
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or error.reason or str(error)
        raise HostError(f"no TLS with a certificate of the site at {address}:{port}: {reason}") from None
    except OSError as error:
        raise DownError(f"nothing answers at {address}:{port}: {error.strerror or error}") from None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
