"""Keys and signatures of owners: Ed25519, and RSA-PSS with SHA-256 (the salt as long as the hash)."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

_PSS = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)


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
