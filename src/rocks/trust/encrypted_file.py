"""One file with secrets, encrypted under a passphrase: scrypt (RFC 7914) and ChaCha20-Poly1305 (RFC 8439).

Layout: a line with the format's name and version; a line of JSON, the header; then the ciphertext, in chunks of
`CHUNK_BYTES` of data and a tag of 16 bytes each, the last one shorter or of that size. The nonce of a chunk is the
header's, the chunk's number and whether it is the last one (STREAM: Hoang, Reyhanitabar, Rogaway and Vizár, 2015), so
that chunks cannot be moved, removed or cut off. The header has the parameters of scrypt, the nonce, and a check of
itself under a second key of the same passphrase, so that a wrong passphrase is distinguished from a damaged file. The
first two lines are authenticated, too. Version 1 had one chunk, and its length in the header; it is still read.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from rocks.core.errors import UserError
from rocks.core.files import open_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAME = "rocks-site"
VERSION = 2
CHUNK_BYTES = 1 << 20

_TAG_BYTES = 16
_FIRST_VERSION_BYTES = 1 << 30
"""The most of a file of version 1, which is read into memory."""

_LONGEST_HEADER = 4096
_COST, _MAX_COST, _BLOCK, _PARALLEL = 1 << 16, 1 << 20, 8, 1
"""Of scrypt: 64 MiB of memory; what a file may demand is bounded."""
_KEY_BYTES = 32
_NONCE_BYTES = {1: 12, 2: 7}


class _Header(NamedTuple):
    version: int
    cost: int
    salt: bytes
    nonce: bytes
    length: int
    """The length of the ciphertext; only version 1 has it."""
    check: bytes

    def text(self, check: bytes) -> bytes:
        fields = {
            "scrypt": self.cost,
            "salt": base64.b64encode(self.salt).decode(),
            "nonce": base64.b64encode(self.nonce).decode(),
            **({"length": self.length} if self.version == 1 else {}),
            "check": base64.b64encode(check).decode(),
        }
        return f"{NAME} {self.version}\n{json.dumps(fields)}\n".encode()


class Encryption:
    """Encrypts what is written to it, a chunk at a time; `write` gets the content of the file. `finish` ends it."""

    def __init__(self, write: Callable[[bytes], object], passphrase: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        header = _Header(VERSION, _COST, os.urandom(16), os.urandom(_NONCE_BYTES[VERSION]), 0, b"")
        key, check_key = _keys(header, passphrase)
        self._start = header.text(_check(check_key, header))
        self._write, self._nonce, self._cipher = write, header.nonce, ChaCha20Poly1305(key)
        self._waiting, self._number = bytearray(), 0
        write(self._start)

    def write(self, data: bytes) -> int:
        """Append data; returns its length."""
        self._waiting += data
        while len(self._waiting) > CHUNK_BYTES:  # not the last chunk
            self._put(bytes(self._waiting[:CHUNK_BYTES]), is_last=False)
            del self._waiting[:CHUNK_BYTES]
        return len(data)

    def finish(self) -> None:
        """Write the last chunk: a file without it was cut off."""
        self._put(bytes(self._waiting), is_last=True)

    def _put(self, data: bytes, is_last: bool) -> None:
        nonce = _chunk_nonce(self._nonce, self._number, is_last)
        self._write(self._cipher.encrypt(nonce, data, self._start))
        self._number += 1


class Decryption:
    """The data of an encrypted file, as a file to read; UserError at its first chunk that is not what was saved.

    It is whole only when `read` has returned b''. UserError, before anything is read, for another kind of file, a newer
    version and a wrong passphrase.
    """

    def __init__(self, file: BinaryIO, passphrase: bytes) -> None:
        header, start = _read_header(file)
        key, check_key = _keys(header, passphrase)
        if not hmac.compare_digest(_check(check_key, header), header.check):
            raise UserError("the passphrase is wrong, or the beginning of the file is damaged")
        self._chunks = (_whole if header.version == 1 else _chunks)(file, header, start, key)
        self._waiting = memoryview(b"")

    def read(self, size: int) -> bytes:
        """The next bytes, at most so many; b'' at the end."""
        while not self._waiting:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._waiting = memoryview(
                chunk
            )  # no copy of what is left: the chunk of version 1 has up to 1 GiB
        part, self._waiting = self._waiting[:size], self._waiting[size:]
        return bytes(part)


def open_encrypted(path: Path) -> BinaryIO:
    """Open a file that is to be decrypted. UserError, without waiting, for what is no regular file."""
    try:
        return open_plain(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None


def _chunks(file: BinaryIO, header: _Header, start: bytes, key: bytes) -> Iterator[bytes]:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    cipher, number = ChaCha20Poly1305(key), 0
    chunk = _read(file, CHUNK_BYTES + _TAG_BYTES)
    is_last = False
    while not is_last:
        following = _read(file, CHUNK_BYTES + _TAG_BYTES)
        is_last = not following
        try:
            yield cipher.decrypt(_chunk_nonce(header.nonce, number, is_last), chunk, start)
        except (InvalidTag, ValueError):  # ValueError: shorter than a tag
            raise UserError(
                "the file is damaged or cut off: its content is not what was saved; copy it again, or use another copy"
            ) from None
        chunk, number = following, number + 1


def _whole(file: BinaryIO, header: _Header, start: bytes, key: bytes) -> Iterator[bytes]:
    """As `_chunks`, of version 1."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    content = _read(file, _FIRST_VERSION_BYTES)
    if len(content) != header.length:
        raise UserError(
            f"the file is not whole: it has {len(content)} of {header.length} bytes; copy it again"
        )
    try:
        yield ChaCha20Poly1305(key).decrypt(header.nonce, content, start)
    except InvalidTag:
        raise UserError("the file is damaged: its content is not what was saved; use another copy") from None


def _read(file: BinaryIO, size: int) -> bytes:
    try:
        return file.read(size)
    except OSError as error:
        raise UserError(f"the file cannot be read: {error.strerror}; use another copy") from None


def _chunk_nonce(nonce: bytes, number: int, is_last: bool) -> bytes:
    return nonce + number.to_bytes(4, "big") + bytes([is_last])


def _read_header(file: BinaryIO) -> tuple[_Header, bytes]:
    try:
        kind, text = file.readline(_LONGEST_HEADER), file.readline(_LONGEST_HEADER)
    except OSError as error:
        raise UserError(f"the file cannot be read: {error.strerror}; use another copy") from None
    name, _, given = kind.rstrip(b"\n").partition(b" ")
    if name != NAME.encode() or not given.isdigit() or len(given) > 6:
        raise UserError("this is no file of rocks save site")
    version = int(given)
    if version > VERSION:
        raise UserError(
            f"newer programs saved this site (format {version}, known is {VERSION}): install those"
        )
    try:
        fields = json.loads(text)
        texts = (base64.b64decode(fields[one], validate=True) for one in ("salt", "nonce", "check"))
        salt, nonce, check = texts
        length = int(fields["length"]) if version == 1 else 0
        header = _Header(version, int(fields["scrypt"]), salt, nonce, length, check)
    except (ArithmeticError, ValueError, KeyError, TypeError, RecursionError):
        raise UserError("the beginning of the file is damaged; use another copy") from None
    is_power = header.cost > 1 and header.cost & (header.cost - 1) == 0
    if (
        not text.endswith(b"\n")
        or not is_power
        or header.cost > _MAX_COST
        or len(nonce) != _NONCE_BYTES.get(version)
    ):
        raise UserError("the beginning of the file is damaged; use another copy")
    return header, kind + text


def _keys(header: _Header, passphrase: bytes) -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    made = Scrypt(header.salt, 2 * _KEY_BYTES, header.cost, _BLOCK, _PARALLEL).derive(passphrase)
    return made[:_KEY_BYTES], made[_KEY_BYTES:]


def _check(key: bytes, header: _Header) -> bytes:
    return hmac.digest(key, header.text(b""), "sha256")
