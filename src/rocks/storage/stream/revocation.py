"""Ends open transfers when the peer's certificate is revoked.

TLS checks a certificate when a connection is made, and a transfer may last for hours. The frontend deploys the
revocation list as a file (`rocks sync host certificate`, `rocks remove host certificate`).
"""

from __future__ import annotations

import base64
import logging
import re
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Dict, FrozenSet, Iterator, List, Optional, Tuple

from rocks.core.errors import IncoherentError
from rocks.core.periodic import PeriodicThread

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
