"""TLS connections between the daemons, for transfers only: both ends show a certificate of the site's authority.

The NAS listens on its storage address; hosts connect, for either direction, so that one port of one machine is open.
Who connects is known by the certificate's common name and by nothing that he says.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Optional, cast

from rocks.errors import HostError, IncoherentError, ToolError
from rocks.imgstorage.stream.revocation import LIST_NAME, RevocationWatch

_log = logging.getLogger(__name__)

SILENCE_SECONDS = 120.0
"""How long either end waits for the other's next byte before it gives the connection up; a transfer is resumable."""

_OPENING_BYTES = 64 * 1024
_HANDSHAKE_SECONDS = 20.0
_AFTER_ERROR_SECONDS = 1.0
_TIMELY = (9, 10, 11, 12)
"""Not yet valid and expired, of a certificate and of a list of revoked ones (OpenSSL's x509_vfy.h)."""

_WAITING_CONNECTIONS = 16


class Identity(NamedTuple):
    """Files of this node: its certificate, its key (0600), and the authority's certificate."""

    certificate: Path
    key: Path
    authority: Path


class Connection(NamedTuple):
    """An open transfer: who is at the other end, the line it began with, and what is read and written.

    `end` breaks it, from any thread: whoever reads or writes, at either end, sees it at once.
    """

    peer: str
    opening: bytes
    reader: BinaryIO
    writer: BinaryIO
    end: Callable[[], None]


def server_context(identity: Identity) -> ssl.SSLContext:
    """For the listening end. ToolError when a file is missing or no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    return _with_identity(context, identity)


def client_context(identity: Identity) -> ssl.SSLContext:
    """For the connecting end, which checks the name in the other's certificate too. ToolError as above."""
    return _with_identity(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), identity)


def _with_identity(context: ssl.SSLContext, identity: Identity) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(str(identity.certificate), str(identity.key))
        context.load_verify_locations(str(identity.authority))
        revoked = identity.authority.with_name(LIST_NAME)
        if revoked.exists():
            context.load_verify_locations(str(revoked))
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    except (OSError, ssl.SSLError) as error:
        raise ToolError(
            f"the certificate in {identity.certificate.parent} cannot be used ({error}); "
            "on the frontend: `rocks sync host certificate`"
        ) from None
    return context


@contextmanager
def connect(
    context: ssl.SSLContext,
    address: str,
    port: int,
    name: str,
    opening: bytes,
    revocations: Optional[RevocationWatch] = None,
) -> Iterator[Connection]:
    """A connection to the node `name`, begun with the line `opening` (without its end).

    HostError when nobody answers, or ends it within; IncoherentError when its certificate is another's. It ends when
    that is revoked, where `revocations` watches.
    """
    try:
        plain = socket.create_connection((address, port), timeout=_HANDSHAKE_SECONDS)
    except OSError as error:
        raise HostError(f"no transfer with {name} at {address}:{port}: {error}") from None
    with plain, _translated(name), context.wrap_socket(plain, server_hostname=name) as stream:
        _prepare(stream)
        with _files(stream) as (reader, writer), _watched(stream, name, revocations) as end:
            writer.write(opening + b"\n")
            writer.flush()
            yield Connection(name, opening, reader, writer, end)


class StreamServer:
    """Listens until it is closed; each connection gets a thread, `limit` at most, the next ones wait."""

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext],
        address: str,
        port: int,
        serve: Callable[[Connection], None],
        limit: int,
        revocations: Optional[RevocationWatch] = None,
    ) -> None:
        """`serve` gets each connection and must not raise. HostError when the address cannot be listened on.

        `context` is asked for each connection, since certificates are renewed, and revoked, while a daemon runs;
        `revocations` ends those that are open.
        """
        self._revocations = revocations
        self._closed = threading.Event()
        self._context = context
        self._serve = serve
        self._slots = threading.BoundedSemaphore(limit)
        try:
            self._listener = socket.create_server((address, port), backlog=_WAITING_CONNECTIONS)
        except OSError as error:
            raise HostError(f"transfers cannot be received at {address}:{port}: {error}") from None
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, name="transfers", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Accept nothing more. What is open goes on to its end."""
        self._closed.set()
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # closed already
        self._listener.close()
        self._thread.join(timeout=_HANDSHAKE_SECONDS)

    def _accept(self) -> None:
        while True:
            self._slots.acquire()
            try:
                plain, _ = self._listener.accept()
                threading.Thread(target=self._handle, args=(plain,), name="transfer", daemon=True).start()
            except (OSError, RuntimeError) as error:  # RuntimeError: no thread could be started
                self._slots.release()
                if self._closed.is_set():
                    return
                _log.warning("a transfer could not be begun: %s", error)
                self._closed.wait(_AFTER_ERROR_SECONDS)

    def _handle(self, plain: socket.socket) -> None:
        try:
            plain.settimeout(_HANDSHAKE_SECONDS)
            with plain, self._context().wrap_socket(plain, server_side=True) as stream:
                _prepare(stream)
                peer = _common_name(stream)
                with _files(stream) as (reader, writer), _watched(stream, peer, self._revocations) as end:
                    opening = reader.readline(_OPENING_BYTES)
                    if opening.endswith(b"\n"):
                        self._serve(Connection(peer, opening[:-1], reader, writer, end))
        except ToolError as error:
            _log.error("transfers are refused: %s", error)
        except (OSError, IncoherentError):
            pass  # no certificate of ours, or gone before it said what it wanted
        finally:
            self._slots.release()


def _prepare(stream: ssl.SSLSocket) -> None:
    stream.settimeout(SILENCE_SECONDS)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@contextmanager
def _watched(
    stream: ssl.SSLSocket, peer: str, revocations: Optional[RevocationWatch]
) -> Iterator[Callable[[], None]]:
    """What breaks the connection; while the block lasts it is also done when the peer's certificate is revoked."""

    def end() -> None:
        try:
            # the plain socket's: the TLS one's forgets its keys, below whoever is just writing
            socket.socket.shutdown(stream, socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended already

    if revocations is None:
        yield end
        return
    certificate: Any = stream.getpeercert() or {}
    with revocations.watching(int(str(certificate.get("serialNumber", "0")), 16), peer, end):
        yield end


@contextmanager
def _files(stream: ssl.SSLSocket) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    with stream.makefile("rb", buffering=256 * 1024) as reader:
        writer = stream.makefile("wb", buffering=256 * 1024)
        try:
            yield cast(BinaryIO, reader), cast(BinaryIO, writer)
            writer.flush()
        finally:
            try:
                writer.close()
            except OSError:
                pass  # the other end is gone; whoever wrote has been told


def _common_name(stream: ssl.SSLSocket) -> str:
    subject: Any = (stream.getpeercert() or {}).get("subject", ())
    for relative_name in subject:
        for key, value in relative_name:
            if key == "commonName":
                return str(value)
    raise IncoherentError("a certificate without a common name")


@contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _TIMELY:
            raise HostError(
                f"the transfer with {name} was not begun: {error.verify_message}; renew it on the frontend by "
                f"`rocks add host certificate {name} replace=yes` and sync, and look at the clocks of both"
            ) from None
        raise IncoherentError(
            f"the transfer with {name} was not begun: its certificate is not its own ({error.verify_message})"
        ) from None
    except (ssl.SSLError, OSError) as error:
        raise HostError(f"the transfer with {name} was cut off: {error}") from None
