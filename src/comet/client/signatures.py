"""The old client's signed requests, for who has only its key and secret."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import string
import time


def signed_headers(key_name: str, secret: str) -> dict[str, str]:
    """Headers that sign a fresh nonce and the time (HTTP Signatures, draft-cavage, hmac-sha256, empty keyId)."""
    nonce = "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(10))
    timestamp = str(int(time.time()))
    text = f"nonce: {nonce}\ntimestamp: {timestamp}"
    digest = base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()).decode()
    return {
        "X-Api-Key": key_name,
        "nonce": nonce,
        "timestamp": timestamp,
        "Authorization": f'Signature keyId="",algorithm="hmac-sha256",headers="nonce timestamp",signature="{digest}"',
    }
