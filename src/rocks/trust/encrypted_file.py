"""One file with secrets, encrypted under a passphrase: scrypt (RFC 7914) and ChaCha20-Poly1305 (RFC 8439).

Layout: a line with the format's name and version; a line of JSON, the header; then the ciphertext. The header has the
parameters of scrypt, the nonce, the length of the ciphertext, and a check of itself under a second key of the same
passphrase, so that a wrong passphrase is distinguished from a damaged file. The first two lines are authenticated, too.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.core.files import open_plain

if TYPE_CHECKING:
    from pathlib import Path

NAME = "rocks-site"
VERSION = 1
LARGEST_BYTES = 1 << 30
"""Of a file: ChaCha20-Poly1305 of the library takes less than 2 GiB at once."""

_LONGEST_HEADER = 4096
_COST, _MAX_COST, _BLOCK, _PARALLEL = 1 << 16, 1 << 20, 8, 1
"""Of scrypt: 64 MiB of memory; what a file may demand is bounded."""
_KEY_BYTES = 32


class _Header(NamedTuple):
    cost: int
    salt: bytes
    nonce: bytes
    length: int
    check: bytes

    def text(self, check: bytes) -> bytes:
        fields = {
            "scrypt": self.cost,
            "salt": base64.b64encode(self.salt).decode(),
            "nonce": base64.b64encode(self.nonce).decode(),
            "length": self.length,
            "check": base64.b64encode(check).decode(),
        }
        return f"{NAME} {VERSION}\n{json.dumps(fields)}\n".encode()


def encrypt(data: bytes, passphrase: bytes) -> bytes:
    """The content of an encrypted file. UserError when the data is too large for one."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    if len(data) > LARGEST_BYTES - _LONGEST_HEADER:
        raise UserError(
            f"the site has {len(data) >> 20} MiB; at most {LARGEST_BYTES >> 20} MiB fit into one file"
        )
    header = _Header(_COST, os.urandom(16), os.urandom(12), len(data) + 16, b"")
    key, check_key = _keys(header, passphrase)
    start = header.text(_check(check_key, header))
    return start + ChaCha20Poly1305(key).encrypt(header.nonce, data, start)


def decrypt(content: bytes, passphrase: bytes) -> bytes:
    """The data. UserError for another kind of file, a newer version, a wrong passphrase and a damaged file."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    header, start = _read_header(content)
    key, check_key = _keys(header, passphrase)
    if not hmac.compare_digest(_check(check_key, header), header.check):
        raise UserError("the passphrase is wrong, or the beginning of the file is damaged")
    found = len(content) - len(start)
    if found != header.length:
        raise UserError(f"the file is not whole: it has {found} of {header.length} bytes; copy it again")
    try:
        return ChaCha20Poly1305(key).decrypt(header.nonce, content[len(start) :], start)
    except InvalidTag:
        raise UserError("the file is damaged: its content is not what was saved; use another copy") from None


def read_bounded(path: Path) -> bytes:
    """The content of a regular file. UserError, without waiting, for anything else and for one that is too large."""
    try:
        with open_plain(path) as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    if len(content) > LARGEST_BYTES:
        raise UserError(f"{path} has more than {LARGEST_BYTES >> 20} MiB, which no saved site has")
    return content


def _read_header(content: bytes) -> tuple[_Header, bytes]:
    kind, _, rest = content[:_LONGEST_HEADER].partition(b"\n")
    name, _, version = kind.partition(b" ")
    if name != NAME.encode() or not version.isdigit() or len(version) > 6:
        raise UserError("this is no file of rocks save site")
    if int(version) > VERSION:
        raise UserError(
            f"newer programs saved this site (format {int(version)}, known is {VERSION}): install those"
        )
    text, newline, _ = rest.partition(b"\n")
    try:
        fields = json.loads(text)
        texts = (base64.b64decode(fields[one], validate=True) for one in ("salt", "nonce", "check"))
        salt, nonce, check = texts
        header = _Header(int(fields["scrypt"]), salt, nonce, int(fields["length"]), check)
    except (ArithmeticError, ValueError, KeyError, TypeError, RecursionError):
        raise UserError("the beginning of the file is damaged; use another copy") from None
    is_power = header.cost > 1 and header.cost & (header.cost - 1) == 0
    if not newline or not is_power or header.cost > _MAX_COST or len(nonce) != 12:
        raise UserError("the beginning of the file is damaged; use another copy")
    return header, kind + b"\n" + text + b"\n"


def _keys(header: _Header, passphrase: bytes) -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    made = Scrypt(header.salt, 2 * _KEY_BYTES, header.cost, _BLOCK, _PARALLEL).derive(passphrase)
    return made[:_KEY_BYTES], made[_KEY_BYTES:]


def _check(key: bytes, header: _Header) -> bytes:
    return hmac.digest(key, header.text(b""), "sha256")
