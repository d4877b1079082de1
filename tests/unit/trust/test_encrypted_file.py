"""A file under a passphrase is read back as it was, or refused with what is wrong with it."""

import base64
import io
import os
import time

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from rocks.core.errors import UserError
from rocks.trust import encrypted_file
from rocks.trust.encrypted_file import CHUNK_BYTES, Decryption, Encryption

DATA = b"the key of the authority " * 40
PASSPHRASE = b"correct horse battery"
OF_VERSION_1 = base64.b64decode(
    "cm9ja3Mtc2l0ZSAxCnsic2NyeXB0IjogMTAyNCwgInNhbHQiOiAieENHbU9qY0gxa1phZUhBWklRcW9JZz09IiwgIm5vbmNlIjogIldSSEJO"
    "RUc0YUdYb1JsdUgiLCAibGVuZ3RoIjogOTEsICJjaGVjayI6ICIwMW52aHM5L25SUEtTKzZlUnI2b3loUXkrVzl5N1VudWw4bCtsaS9VTXVN"
    "PSJ9ChWrkqWxd7h+eyDtjs77LcHH96QT0PksR3CXmaDYsdzGU2cqDkgK2EmGVkk8fs2qTRIlTNpYWrqFkt1idvr9XSbBqdV7Ue5SkgMGcDeF"
    "2+4GO8G/X4MzwOttS2w="
)
"""Three times the text above, as earlier programs wrote it."""


def encrypt(data: bytes) -> bytes:
    content = io.BytesIO()
    encryption = Encryption(content.write, PASSPHRASE)
    for place in range(0, len(data), 300_000):
        encryption.write(data[place : place + 300_000])
    encryption.finish()
    return content.getvalue()


def decrypt(content: bytes, passphrase: bytes) -> bytes:
    decryption = Decryption(io.BytesIO(content), passphrase)
    return b"".join(iter(lambda: decryption.read(70_000), b""))


with pytest.MonkeyPatch.context() as patch:
    patch.setattr(encrypted_file, "_COST", 1 << 10)
    CONTENT = encrypt(DATA)
    LARGE = encrypt(bytes(3 * CHUNK_BYTES))
_HEADER = len(CONTENT) - len(DATA) - 16
_CHUNK = CHUNK_BYTES + 16


def test_it_is_read_back_and_shows_nothing() -> None:
    first, second = encrypt(DATA), encrypt(DATA)
    assert decrypt(first, PASSPHRASE) == DATA
    assert b"authority" not in first and b'"scrypt": 65536' in first
    assert len(first) == len(second) and first != second, "the same salt or nonce twice"


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_any_size_is_read_back_in_parts(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encrypted_file, "_COST", 1 << 10)
    data = bytes(range(256)) * (size // 256 + 1)
    content = encrypt(data[:size])
    assert decrypt(content, PASSPHRASE) == data[:size]
    assert len(content) == _HEADER + size + 16 * max(1, -(-size // CHUNK_BYTES))


def test_a_file_of_version_1_is_read() -> None:
    assert decrypt(OF_VERSION_1, PASSPHRASE) == DATA[:75]
    with pytest.raises(UserError, match="it has 90 of 91 bytes"):
        decrypt(OF_VERSION_1[:-1], PASSPHRASE)
    with pytest.raises(UserError, match="damaged"):
        decrypt(OF_VERSION_1[:-1] + b"x", PASSPHRASE)


@pytest.mark.slow
def test_a_large_file_of_version_1_is_read_in_small_parts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As tarfile does it. When each part copied what was left, 64 MiB took minutes."""
    monkeypatch.setattr(encrypted_file, "_COST", 1 << 10)
    data = os.urandom(48 << 20)
    header = encrypted_file._Header(1, 1 << 10, os.urandom(16), os.urandom(12), len(data) + 16, b"")
    key, check_key = encrypted_file._keys(header, PASSPHRASE)
    start = header.text(encrypted_file._check(check_key, header))
    content = start + ChaCha20Poly1305(key).encrypt(header.nonce, data, start)
    begin = time.process_time()
    decryption = Decryption(io.BytesIO(content), PASSPHRASE)
    assert b"".join(iter(lambda: decryption.read(10_240), b"")) == data
    assert time.process_time() - begin < 10


@pytest.mark.parametrize("place", [0, 3, 11, 40, 90, 150, 260, -1, -17, -500])
def test_one_changed_byte_is_refused(place: int) -> None:
    changed = bytearray(CONTENT)
    changed[place] ^= 1
    with pytest.raises(UserError):
        decrypt(bytes(changed), PASSPHRASE)


@pytest.mark.parametrize("length", [0, 1, 12, 13, 60, 300, _HEADER, _HEADER + 15, len(CONTENT) - 1])
def test_a_file_that_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(UserError):
        decrypt(CONTENT[:length], PASSPHRASE)


def test_chunks_that_were_cut_off_moved_or_repeated_are_refused() -> None:
    header, chunks = LARGE[:_HEADER], [LARGE[_HEADER + n * _CHUNK :][:_CHUNK] for n in range(3)]
    assert decrypt(b"".join((header, *chunks)), PASSPHRASE) == bytes(3 * CHUNK_BYTES)
    for order in ((), (0,), (0, 1), (1, 0, 2), (0, 2), (0, 1, 1, 2), (0, 1, 2, 2), (2,)):
        with pytest.raises(UserError, match="damaged or cut off"):
            decrypt(b"".join((header, *(chunks[one] for one in order))), PASSPHRASE)


def test_each_kind_of_fault_is_named() -> None:
    for content, passphrase, reason in (
        (CONTENT, b"another", "passphrase is wrong"),
        (CONTENT[:-1], PASSPHRASE, "cut off"),
        (CONTENT + b"x", PASSPHRASE, "damaged"),
        (CONTENT.replace(b"rocks-site 2", b"rocks-site 3"), PASSPHRASE, "newer programs"),
        (b"\x1f\x8b" + bytes(500), PASSPHRASE, "no file of rocks save site"),
        (b"x" * 100_000, PASSPHRASE, "no file of rocks save site"),
        (CONTENT.replace(b'"scrypt": 1024', b'"scrypt": 1073741824'), PASSPHRASE, "damaged"),
        (b"rocks-site 1\n" + b"[" * 4000 + b"\n", PASSPHRASE, "damaged"),
        (CONTENT.replace(b"rocks-site 2", b"rocks-site 1"), PASSPHRASE, "damaged"),
    ):
        with pytest.raises(UserError, match=reason):
            decrypt(content, passphrase)
