"""Tokens of the site's identity provider (OpenID Connect): checked with the provider's published keys."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from nucleus.api.problems import Problem

if TYPE_CHECKING:
    from nucleus.configuration import OidcSettings

_KEYS_SECONDS, _AGAIN_SECONDS = 3600.0, 30.0
_WAIT_SECONDS = 5.0
_PAUSE_SECONDS = 10.0
"""How long a provider that did not answer is not asked: strangers would have all threads wait for it."""

_MOST_BYTES = 1 << 20
_LEEWAY_SECONDS = 30


class Verifier:
    """Checks tokens; fetches the provider's keys when they are needed, too old, or do not have the token's key."""

    def __init__(self, settings: OidcSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._keys: KeySet | None = None
        self._fetched = -_KEYS_SECONDS
        self._ask_again = 0.0

    def claims(self, text: str) -> dict[str, str]:
        """iss, sub and username of a valid token. Problem 401 for another, 503 when the provider does not answer."""
        try:
            token = self._decode(text)
            registry = jwt.JWTClaimsRegistry(
                leeway=_LEEWAY_SECONDS,
                iss={"essential": True, "value": self._settings.issuer},
                aud={"essential": True, "value": self._settings.audience},
                sub={"essential": True},
                exp={"essential": True},
            )
            registry.validate(token.claims)
        except (JoseError, ValueError, KeyError, TypeError):
            raise Problem(
                "not-authenticated",
                "this token of the site's identity provider is not valid here; sign in again",
            ) from None
        username = token.claims.get(self._settings.username_claim)
        return {
            "iss": self._settings.issuer,
            "sub": str(token.claims["sub"]),
            "username": username if isinstance(username, str) else "",
        }

    def _decode(self, text: str) -> jwt.Token:
        algorithms = list(self._settings.algorithms)
        try:
            return jwt.decode(text, self._key_set(_KEYS_SECONDS), algorithms=algorithms)
        except (JoseError, ValueError, KeyError):
            # the provider may have new keys; a stranger makes us ask for them at most now and then
            return jwt.decode(text, self._key_set(_AGAIN_SECONDS), algorithms=algorithms)

    def _key_set(self, oldest_seconds: float) -> KeySet:
        with self._lock:
            if self._keys is None or time.monotonic() - self._fetched > oldest_seconds:
                if time.monotonic() < self._ask_again:
                    raise _away()
                try:
                    self._keys = self._fetch()
                except Problem:
                    self._ask_again = time.monotonic() + _PAUSE_SECONDS
                    raise
                self._fetched = time.monotonic()
            return self._keys

    def _fetch(self) -> KeySet:
        issuer = self._settings.issuer
        try:
            about = _get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            if about["issuer"] != issuer:
                raise ValueError("another issuer")
            return KeySet.import_key_set(_get(about["jwks_uri"]))
        except (OSError, ValueError, KeyError, TypeError, JoseError):
            raise _away() from None


def _away() -> Problem:
    return Problem(
        "backend-unavailable",
        "the site's identity provider does not answer; use a token of this service",
    )


def _get(url: str) -> Any:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise ValueError("keys come by https only")
    with urllib.request.urlopen(url, timeout=_WAIT_SECONDS) as answer:
        return json.loads(answer.read(_MOST_BYTES))
