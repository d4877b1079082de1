"""TLS connections between hosts, for transfers only: both ends need a certificate of the same authority.

That is the site's, or one of a live migration. The NAS listens on its storage address; hosts connect, for both
directions, so that one port of one machine is open.
The common name of the certificate, and nothing in the transfer, identifies the host.
"""

from __future__ import annotations

import base64
import io
import logging
import re
import socket
import ssl
import threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, FrozenSet, Iterator, List, NamedTuple, Optional, Tuple, cast

from rocks.core.clock import monotonic_seconds
from rocks.core.errors import HostError, IncoherentError, ToolError
from rocks.core.periodic import PeriodicThread

OPENING_SECONDS = 20.0
"""For the handshake and the first line together."""

MAX_WAITING = 64
"""The most connections that wait, of all addresses; each has a thread."""

MAX_OF_AN_ADDRESS = 16
"""Far fewer than of all, so that no single address displaces the others."""


MAX_OF_A_PEER = 64
"""Of one node, that wait to be served; each has a thread."""


class _Waiting(NamedTuple):
    address: str
    ends_at: float
    end: Callable[[], None]


class WaitingConnections:
    """The connections, oldest first. Time is an argument, so that tests need not wait."""

    def __init__(self) -> None:
        self._all: Dict[int, _Waiting] = {}
        self._next = 0
        self._lock = threading.Lock()

    def admit(self, address: str, now: float, end: Callable[[], None]) -> int:
        """Count a connection until `leave` with the returned number; `end` is called when it must give way."""
        with self._lock:
            number, self._next = self._next, self._next + 1
            self._all[number] = _Waiting(address, now + OPENING_SECONDS, end)
            displaced = self._displaced(address)
        if displaced is not None:
            displaced.end()
        return number

    def leave(self, number: int) -> None:
        """The connection waits no longer: it has ended, or has sent its first line. Repeating that is harmless."""
        with self._lock:
            self._all.pop(number, None)

    def end_overdue(self, now: float) -> None:
        """End those whose time is over."""
        with self._lock:
            overdue = [self._all.pop(key) for key, one in list(self._all.items()) if one.ends_at <= now]
        for one in overdue:
            one.end()

    def end_all(self) -> None:
        """End all of them."""
        self.end_overdue(float("inf"))

    def _displaced(self, address: str) -> Optional[_Waiting]:
        """Take out the oldest one of the address, or of the address that has the most, if there are too many."""
        count = Counter(one.address for one in self._all.values())
        if count[address] > MAX_OF_AN_ADDRESS:
            crowded = address
        elif len(self._all) > MAX_WAITING:
            crowded = count.most_common(1)[0][0]
        else:
            return None
        return self._all.pop(next(number for number, one in self._all.items() if one.address == crowded))


class Turns:
    """At most `limit` transfers at once; others wait, `MAX_OF_A_PEER` of a node at most."""

    def __init__(self, limit: int) -> None:
        self._slots = threading.BoundedSemaphore(limit)
        self._peers: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, peer: str, deadline_seconds: float) -> Iterator[bool]:
        """Wait for a turn; False when too many of the node's wait already, or at the deadline."""
        if not self._wait(peer, deadline_seconds):
            yield False
            return
        try:
            yield True
        finally:
            self._slots.release()

    def _wait(self, peer: str, deadline_seconds: float) -> bool:
        with self._lock:
            if self._peers[peer] >= MAX_OF_A_PEER:
                return False
            self._peers[peer] += 1
        try:
            return self._slots.acquire(timeout=deadline_seconds)
        finally:
            with self._lock:
                self._peers[peer] -= 1


# --- open transfers end when the peer's certificate is revoked -------------------------------------------------------
# TLS checks a certificate when a connection is made, and a transfer may last for hours. The frontend deploys the
# revocation list as a file (`rocks sync host certificate`, `rocks remove host certificate`).


_log = logging.getLogger(__name__)

LIST_NAME = "revoked.pem"
"""Name of the revocation list, beside the authority's certificate."""

_CHECK_SECONDS = 2.0
_BLOCK = re.compile(rb"-----BEGIN X509 CRL-----([^-]+)-----END X509 CRL-----")
_SEQUENCE, _INTEGER, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0x02, 0x17, 0x18

_Element = Tuple[int, bytes]


class RevocationWatch(PeriodicThread):
    """The open connections of a daemon, each with the serial number of its peer's certificate."""

    def __init__(self, authority: Path, check_seconds: float = _CHECK_SECONDS) -> None:
        """`authority` is the authority's certificate; the list is in its folder."""
        self._file = authority.with_name(LIST_NAME)
        failure = f"{self._file} cannot be read, so open transfers are not checked"
        super().__init__("revocations", check_seconds, self.check, failure)
        self._open: Dict[int, Tuple[int, str, Callable[[], None]]] = {}
        self._seen: Optional[Tuple[int, int]] = None
        self._lock = threading.Lock()

    @contextmanager
    def watching(self, serial: int, peer: str, end: Callable[[], None]) -> Iterator[None]:
        """Within the block, call `end` when the certificate with that serial number is revoked."""
        key = id(end)
        with self._lock:
            self._open[key] = (serial, peer, end)
            self._seen = None  # the list may have changed between the handshake and now
        try:
            yield
        finally:
            with self._lock:
                self._open.pop(key, None)

    def check(self) -> None:
        """End connections with revoked certificates, if the list has changed since the last check."""
        with self._lock:
            keys, watched, before = set(self._open), list(self._open.values()), self._seen
        if not watched:
            return
        try:
            fact = self._file.stat()
            now = (fact.st_mtime_ns, fact.st_size)
            if now == before:
                return
            revoked = revoked_serials(self._file.read_bytes())
        except FileNotFoundError:
            return  # no certificate was ever revoked
        for serial, peer, end in watched:
            if serial in revoked:
                _log.warning("the transfer with %s ends: its certificate has been revoked", peer)
                end()
        with self._lock:
            if set(self._open) <= keys:
                self._seen = now


def revoked_serials(pem: bytes) -> FrozenSet[int]:
    """Serial numbers in a revocation list (RFC 5280 §5.1). IncoherentError when it is invalid.

    Python's TLS does not return them, and hosts have no other library for it.
    """
    block = _BLOCK.search(pem)
    try:
        if block is None:
            raise ValueError("it has no list")
        ((_, whole),) = _elements(base64.b64decode(block.group(1)))
        _, signed = _elements(whole)[0]
        return frozenset(_serials(_elements(signed)))
    except (ValueError, IndexError) as error:
        raise IncoherentError(f"the revocation list is damaged: {error}") from None


def _serials(fields: List[_Element]) -> Iterator[int]:
    """The sequence of revoked certificates, if there is one, follows the times of this list and of the next."""
    times = [number for number, (kind, _) in enumerate(fields) if kind in (_UTC_TIME, _GENERALIZED_TIME)]
    for kind, entries in fields[times[-1] + 1 : times[-1] + 2]:
        if kind == _SEQUENCE:
            for _, entry in _elements(entries):
                number_kind, number = _elements(entry)[0]
                if number_kind != _INTEGER:
                    raise ValueError("an entry without a serial number")
                yield int.from_bytes(number, "big", signed=True)


def _elements(data: bytes) -> List[_Element]:
    """A sequence of DER elements: tag and content. ValueError when one is incomplete."""
    found: List[_Element] = []
    at = 0
    while at < len(data):
        kind, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            more = length & 0x7F
            length, at = int.from_bytes(data[at : at + more], "big"), at + more
        if at + length > len(data):
            raise ValueError("it ends too early")
        found.append((kind, data[at : at + length]))
        at += length
    return found


# --- the connections -------------------------------------------------------------------------------------------------


SILENCE_SECONDS = 120.0
"""How long an end of a transfer waits for the next byte before it ends the connection; a transfer is resumable."""


_OPENING_BYTES = 64 * 1024
_HANDSHAKE_SECONDS = 20.0
_AFTER_ERROR_SECONDS = 1.0
_TIMELY = (9, 10, 11, 12)
"""Not yet valid and expired, of a certificate and of a revocation list (OpenSSL's x509_vfy.h)."""

_LOOK_SECONDS = 1.0


class Identity(NamedTuple):
    """Files of this node: its certificate, its key (0600), and the authority's certificate."""

    certificate: Path
    key: Path
    authority: Path


class Connection(NamedTuple):
    """An open transfer: the peer's name, the first line, and the files to read from and write to.

    `end` ends it, from any thread: reads and writes at both ends fail at once.
    """

    peer: str
    opening: bytes
    reader: BinaryIO
    writer: BinaryIO
    end: Callable[[], None]


def server_context(identity: Identity) -> ssl.SSLContext:
    """For the listening end. ToolError when a file is missing or invalid."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    return _with_identity(context, identity)


def client_context(identity: Identity) -> ssl.SSLContext:
    """For the connecting end, which also checks the name in the NAS' certificate. ToolError as above."""
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
    seconds: float = _HANDSHAKE_SECONDS,
) -> Iterator[Connection]:
    """A connection to the node `name`; `opening` is its first line, without the newline. Each step has these seconds.

    HostError when the node does not answer, or the connection breaks; IncoherentError when the certificate is not the
    node's. With `revocations`, the connection ends when the certificate is revoked.
    """
    try:
        plain = socket.create_connection((address, port), timeout=seconds)
    except OSError as error:
        raise HostError(f"no transfer with {name} at {address}:{port}: {error}") from None
    with plain, _translated(name), context.wrap_socket(plain, server_hostname=name) as stream:
        _prepare(stream)
        with _files(stream) as (reader, writer), _watched(stream, name, revocations) as end:
            writer.write(opening + b"\n")
            writer.flush()
            yield Connection(name, opening, reader, writer, end)


class StreamServer:
    """Listens until it is closed; each connection gets a thread, and at most `limit` are served at once.

    Only a connection with a valid certificate and a first line counts for the limit, and then waits for its turn. Those
    before that are bounded by `WaitingConnections`.
    """

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext],
        address: str,
        port: int,
        serve: Callable[[Connection], None],
        limit: int,
        revocations: Optional[RevocationWatch] = None,
    ) -> None:
        """`serve` gets each connection and must not raise. HostError when the address is not available.

        `context` is called for each connection, since certificates are renewed and revoked while a daemon runs;
        `revocations` ends open connections.
        """
        self._revocations = revocations
        self._closed = threading.Event()
        self._context = context
        self._serve = serve
        self._turns = Turns(limit)
        self._waiting = WaitingConnections()
        try:
            self._listener = socket.create_server((address, port), backlog=MAX_WAITING)
        except OSError as error:
            raise HostError(f"transfers cannot be received at {address}:{port}: {error}") from None
        self._listener.settimeout(_LOOK_SECONDS)
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, name="transfers", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Accept no more connections. Open ones continue to their end."""
        self._closed.set()
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # closed already
        self._listener.close()
        self._thread.join(timeout=OPENING_SECONDS)
        self._waiting.end_all()

    def _accept(self) -> None:
        while not self._closed.is_set():
            self._waiting.end_overdue(monotonic_seconds())
            try:
                plain, (address, _) = self._listener.accept()
                incoming = _Incoming(plain)
                number = self._waiting.admit(address, monotonic_seconds(), incoming.end)
                threading.Thread(
                    target=self._handle, args=(incoming, number), name="transfer", daemon=True
                ).start()
            except socket.timeout:
                continue
            except (OSError, RuntimeError) as error:  # RuntimeError: no thread could be started
                if self._closed.is_set():
                    return
                _log.warning("a transfer did not start: %s", error)
                self._closed.wait(_AFTER_ERROR_SECONDS)

    def _handle(self, incoming: _Incoming, number: int) -> None:
        try:
            with incoming.secured(self._context) as stream:
                peer = _common_name(stream)
                with _files(stream) as (reader, writer), _watched(stream, peer, self._revocations) as end:
                    opening = reader.readline(_OPENING_BYTES)
                    self._waiting.leave(number)
                    _prepare(stream)
                    if opening.endswith(b"\n"):
                        self._serve_in_turn(Connection(peer, opening[:-1], reader, writer, end))
        except ToolError as error:
            _log.error("a transfer is rejected: %s", error)
        except (OSError, IncoherentError):
            pass  # no valid certificate, or the connection ended before its first line
        finally:
            self._waiting.leave(number)

    def _serve_in_turn(self, connection: Connection) -> None:
        with self._turns.turn(connection.peer, SILENCE_SECONDS) as is_mine:
            if is_mine:
                self._serve(connection)
            else:
                _log.warning(
                    "a transfer with %s is not served: too many of its transfers wait", connection.peer
                )


class _Incoming:
    """An accepted connection, which another thread may end before and during its handshake."""

    def __init__(self, plain: socket.socket) -> None:
        self._socket = plain
        self._is_ended = False

    def end(self) -> None:
        """Reads and writes fail from now on."""
        self._is_ended = True
        _shut_down(self._socket)

    @contextmanager
    def secured(self, context: Callable[[], ssl.SSLContext]) -> Iterator[ssl.SSLSocket]:
        """After the handshake. OSError when it fails or has been ended."""
        with self._socket as plain:
            plain.settimeout(OPENING_SECONDS)
            with context().wrap_socket(plain, server_side=True, do_handshake_on_connect=False) as stream:
                self._socket = stream  # it has taken the descriptor of the plain one
                if self._is_ended:
                    raise OSError("the connection has been ended")
                stream.do_handshake()
                yield stream


def _shut_down(stream: socket.socket) -> None:
    try:
        # of the plain socket: that of the TLS socket drops its keys while another thread may be writing
        socket.socket.shutdown(stream, socket.SHUT_RDWR)
    except OSError:
        pass  # it has ended already


def _prepare(stream: ssl.SSLSocket) -> None:
    stream.settimeout(SILENCE_SECONDS)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@contextmanager
def _watched(
    stream: ssl.SSLSocket, peer: str, revocations: Optional[RevocationWatch]
) -> Iterator[Callable[[], None]]:
    """A function that ends the connection; within the block, a revocation of the peer's certificate calls it too."""

    def end() -> None:
        _shut_down(stream)

    if revocations is None:
        yield end
        return
    certificate: Any = stream.getpeercert() or {}
    with revocations.watching(int(str(certificate.get("serialNumber", "0")), 16), peer, end):
        yield end


class _Received(io.RawIOBase):
    """The bytes of a connection, to its end, which either side may have made."""

    def __init__(self, stream: ssl.SSLSocket) -> None:
        super().__init__()
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            return self._stream.recv_into(buffer)
        except BrokenPipeError:
            # At the end of a connection that this side has shut down, OpenSSL 3 cannot send its alert; Python 3.13
            # raises this error for it, 3.11 does not. Callers would take it for that of a `zfs receive` that has ended.
            return 0


@contextmanager
def _files(stream: ssl.SSLSocket) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    with io.BufferedReader(_Received(stream), 256 * 1024) as reader:
        writer = stream.makefile("wb", buffering=256 * 1024)
        try:
            yield cast(BinaryIO, reader), cast(BinaryIO, writer)
            writer.flush()
        finally:
            try:
                writer.close()
            except OSError:
                pass  # the connection has ended; the writer got the error


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
                f"no transfer with {name}: {error.verify_message}. Renew it on the frontend: `rocks add host "
                f"certificate {name} replace=yes`, `rocks sync host certificate {name}`; or set both nodes' clocks"
            ) from None
        raise IncoherentError(
            f"no transfer with {name}: its certificate is not its own ({error.verify_message})"
        ) from None
    except (ssl.SSLError, OSError) as error:
        raise HostError(f"the transfer with {name} was cut off: {error}") from None
