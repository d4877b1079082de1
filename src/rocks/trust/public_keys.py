"""Public keys as text: PEM, from PEM or OpenSSH's form."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from rocks.core.errors import UserError

_ENCODING = serialization.Encoding.PEM
_FORMAT = serialization.PublicFormat.SubjectPublicKeyInfo


def to_pem(text: str) -> str:
    """The key as PEM. UserError unless the text is an RSA or Ed25519 public key in PEM or OpenSSH's form."""
    data = text.strip().encode()
    if b"PRIVATE KEY" in data:
        raise UserError(
            "this is a private key, which stays with its owner: give the public key, which rocks create keys or "
            "ssh-keygen -y prints"
        )
    try:
        is_pem = data.startswith(b"-----BEGIN")
        key = serialization.load_pem_public_key(data) if is_pem else serialization.load_ssh_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise UserError(
            "this is not a public key: give one in PEM, or a line that begins with ssh-rsa or ssh-ed25519"
        ) from None
    if not isinstance(key, rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        raise UserError(
            "this public key is neither an RSA nor an Ed25519 key; make one with rocks create keys"
        )
    return key.public_bytes(_ENCODING, _FORMAT).decode()
