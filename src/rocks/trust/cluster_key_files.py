"""Keys of virtual clusters: the frontend's machine logs in to its computes with the private half."""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rocks.core.errors import IncoherentError

_SEED_BYTES = 32


class ClusterKey(NamedTuple):
    """An Ed25519 key: the private half as OpenSSH's file, and the public half as a line of `authorized_keys`."""

    private: str
    public: str


def new_key() -> str:
    """The text of a new key, one line, from which `read_key` makes both halves."""
    seed = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    )
    return base64.b64encode(seed).decode("ascii")


def read_key(text: str, comment: str) -> ClusterKey:
    """Both halves of the key. IncoherentError for a text that `new_key` has not made."""
    try:
        seed = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        seed = b""
    if len(seed) != _SEED_BYTES:
        raise IncoherentError("the stored key is damaged")
    key = Ed25519PrivateKey.from_private_bytes(seed)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return ClusterKey(private.decode("ascii"), f"{public.decode('ascii')} {comment}")
