"""Serial numbers in a revocation list, compared with those that OpenSSL reads."""

import datetime
import threading
from pathlib import Path

import pytest
from cryptography.x509 import random_serial_number

from rocks.core.errors import IncoherentError
from rocks.storage.stream.transport import RevocationWatch, revoked_serials
from rocks.trust import x509

NOW = datetime.datetime(2026, 5, 4, tzinfo=datetime.UTC)


@pytest.mark.parametrize("count", [0, 1, 3, 300])
def test_all_listed_serial_numbers_are_read(count: int) -> None:
    """Numbers of any length, also those whose first bit is set."""
    authority = x509.create_authority("ours", NOW, 3650)
    serials = [2**159 - 1, 1, 2**127, *(random_serial_number() for _ in range(count))][:count]
    pem = x509.create_revoked_list(authority, [(serial, NOW) for serial in serials], NOW)
    assert {serial for serial, _ in x509.read_revoked_list(pem)} == set(serials)
    assert revoked_serials(pem) == frozenset(serials)


@pytest.mark.parametrize("cut", [0, 40, 200])
def test_an_incomplete_list_is_an_error(cut: int) -> None:
    """Empty, or cut."""
    pem = x509.create_revoked_list(x509.create_authority("ours", NOW, 3650), [(7, NOW)], NOW)
    with pytest.raises(IncoherentError, match="revocation list is damaged"):
        revoked_serials(pem[:cut])


def test_a_list_with_damaged_content_is_an_error() -> None:
    """Its first and last line are correct."""
    with pytest.raises(IncoherentError, match="damaged"):
        revoked_serials(b"-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n")


def test_a_watch_that_is_closed_has_ended(tmp_path: Path) -> None:
    """A round under way ends before the daemon closes what it uses."""
    has_begun, never = threading.Event(), threading.Event()

    class Slow(RevocationWatch):
        def check(self) -> None:
            has_begun.set()
            never.wait(0.3)

    watch = Slow(tmp_path / "ca.crt", check_seconds=0.0)
    watch.start()
    assert has_begun.wait(60)
    watch.close()
    assert not watch._thread.is_alive()
