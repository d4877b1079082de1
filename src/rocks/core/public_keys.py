"""Public SSH keys, as owners give them. Pure."""

from __future__ import annotations

import base64
import re

from rocks.core.errors import UserError

LARGEST_KEYS_BYTES = 32768
_KEY = re.compile(r"(ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,3}( .*)?")


def read_keys(text: str) -> tuple[str, ...]:
    """The public keys, one a line; empty lines and comments are left out.

    UserError for a line that is none, such as a private key or a key with options.
    """
    if len(text.encode()) > LARGEST_KEYS_BYTES:
        raise UserError(f"the keys are longer than {LARGEST_KEYS_BYTES} bytes")
    keys: dict[str, None] = {}
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        key = line.strip()
        if not key or key.startswith("#"):
            continue
        if "PRIVATE KEY" in key:
            raise UserError("this is a private key; give the public one, of the file that ends in .pub")
        if not key.isprintable() or not _KEY.fullmatch(key):
            # without its text: the file may be one that who gave its name cannot read
            raise UserError(
                f"line {number} is not a public SSH key: TYPE BASE64 COMMENT, as ssh-keygen writes to *.pub"
            )
        keys[key] = None
    return tuple(keys)


def read_new_keys(text: str) -> tuple[str, ...]:
    """As `read_keys`, before they are stored: UserError also for a key without its end, or of another type."""
    keys = read_keys(text)
    for number, key in enumerate(keys, 1):
        kind, data, *_ = key.split(" ")
        if not _is_whole(kind, data):
            raise UserError(f"key {number} is not whole; give it as ssh-keygen has written it to *.pub")
    return keys


def _is_whole(kind: str, data: str) -> bool:
    """Whether it is what RFC 4253, section 6.6, has of a key: its type and its numbers, each after its length."""
    try:
        left = base64.b64decode(data, validate=True)
    except ValueError:
        return False
    fields = []
    while left:
        end = 4 + int.from_bytes(left[:4], "big")
        if len(left) < end:
            return False
        fields.append(left[4:end])
        left = left[end:]
    return len(fields) > 1 and fields[0] == kind.encode()
