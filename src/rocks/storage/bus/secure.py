"""TLS connections of py-amqp to RabbitMQ: the site's authority only, the node's certificate, always a deadline.

py-amqp is used directly. kombu was refused: a command must know whether a request was confirmed, returned or
lost before it connects again, so reconnection is our own work, and kombu would pass all else through. Its
transport in memory has neither the quorum queues nor the rights that tests must prove.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

import amqp
from amqp.transport import SSLTransport

from rocks.storage.bus.settings import BusSettings


def connect(settings: BusSettings) -> Any:
    """An open connection of py-amqp. Raises the errors of the library, `ssl` and `socket`."""
    connection = _SecureConnection(
        host=f"{settings.address}:{settings.port}",
        virtual_host=settings.virtual_host,
        login_method="EXTERNAL",
        ssl={"settings": settings},
        connect_timeout=settings.connect_deadline_seconds,
        heartbeat=settings.heartbeat_seconds,
        confirm_publish=True,
        client_properties={"connection_name": f"rocks img-storage on {settings.node}"},
        # py-amqp aborts a broken link after 1 s without an acknowledgement from the far kernel
        socket_settings={socket.TCP_USER_TIMEOUT: settings.heartbeat_seconds * 1000},
    )
    connection.connect()
    return connection


def tls_context(settings: BusSettings) -> ssl.SSLContext:
    """TLS 1.2 or later; the broker needs a certificate of the site's authority for its name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(settings.authority_file)
    context.load_cert_chain(settings.pair_file)
    return context


class _SecureSocket(SSLTransport):  # type: ignore[misc]  # py-amqp has no types
    def _setup_transport(self) -> None:
        # py-amqp 5.1 waits for ever for the handshake of a broker that is stopped
        self.sock.settimeout(self.connect_timeout)
        super()._setup_transport()
        self.sock.settimeout(None)
        # without it the library spins, possibly for ever, where a read of a TLS connection would block
        self.raise_on_initial_eintr = True

    def _wrap_socket(self, sock: socket.socket, settings: BusSettings) -> ssl.SSLSocket:
        return tls_context(settings).wrap_socket(
            sock,
            do_handshake_on_connect=False,
            server_hostname=settings.server_name or settings.address,
        )

    def _shutdown_transport(self) -> None:
        """End without TLS's closing message, for which the library would wait for ever; AMQP has its own."""


class _SecureConnection(amqp.Connection):  # type: ignore[misc]  # py-amqp has no types
    # positional, as py-amqp 5.1 and 5.4 both call it
    def Transport(  # noqa: N802 - the library's name
        self,
        host: str,
        connect_timeout: Any,
        ssl: Any = False,
        read_timeout: Any = None,
        write_timeout: Any = None,
        socket_settings: Any = None,
        **more: Any,
    ) -> _SecureSocket:
        return _SecureSocket(
            host,
            connect_timeout=connect_timeout,
            ssl=ssl,
            read_timeout=read_timeout,
            write_timeout=write_timeout,
            socket_settings=socket_settings,
            **more,
        )
