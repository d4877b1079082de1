"""Keys and signatures of owners: Ed25519, and RSA-PSS with SHA-256 (the salt as long as the hash)."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from rocks.core.errors import UserError

_PSS = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
_ENCODING = serialization.Encoding.PEM
_FORMAT = serialization.PublicFormat.SubjectPublicKeyInfo


def is_signature(pem: str, signature: bytes, data: bytes) -> bool:
    """Whether the owner of the public key signed the data. False for a key of another kind, or one that is damaged."""
    try:
        key = serialization.load_pem_public_key(pem.encode())
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, data)
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, _PSS, hashes.SHA256())
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def rsa_bits(pem: str) -> int | None:
    """The size of an RSA key in bits; None for a key of another kind."""
    key = serialization.load_pem_public_key(pem.encode())
    return key.key_size if isinstance(key, rsa.RSAPublicKey) else None


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
