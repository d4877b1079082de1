"""Tokens of the site's identity provider (OpenID Connect): checked with the provider's published keys."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from nucleus.api.problems import Problem, unavailable
from rocks.core import downloads
from rocks.core.errors import RocksError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nucleus.configuration import OidcSettings

_LOG = logging.getLogger(__name__)
_KEYS_SECONDS, _AGAIN_SECONDS = 3600.0, 30.0
_WAIT_SECONDS = 5.0
_PAUSE_SECONDS = 10.0
"""How long a provider that did not answer is not asked: strangers would have all threads wait for it."""

_MAX_WAITING = 8
"""How many threads wait for it at a time, while it answers slowly or not yet; there are more, for everything else."""

_MAX_BYTES = 1 << 20
_LEEWAY_SECONDS = 30


class Verifier:
    """Checks tokens; fetches the provider's keys when they are needed, too old, or do not have the token's key."""

    def __init__(self, settings: OidcSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(_MAX_WAITING)
        self._recorded: tuple[KeySet | None, float] = (None, 0.0)
        """The provider's keys, and when they came."""

        self._ask_again = 0.0
        self._about: Any = None

    def claims(self, text: str, nonce: str = "") -> dict[str, str]:
        """iss, sub and username of a valid token. Problem 401 for another, 503 when the provider does not answer.

        With a nonce, the token must be the answer to the question that had it.
        """
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
            if nonce and token.claims.get("nonce") != nonce:
                raise ValueError("the answer to another question")
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

    def sign_in_url(self, redirect: str, state: str, verifier: str, nonce: str) -> str:
        """Where the provider asks who somebody is (authorisation code, PKCE). Problem 503 when it does not answer."""
        digest = hashlib.sha256(verifier.encode("ascii")).digest()
        query = {
            "response_type": "code",
            "client_id": self._settings.audience,
            "redirect_uri": redirect,
            "scope": "openid profile",
            "state": state,
            "nonce": nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii"),
            "code_challenge_method": "S256",
        }
        address = self._endpoint("authorization_endpoint")
        return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"

    def exchange(self, code: str, redirect: str, verifier: str) -> str:
        """The token about who has signed in, which `claims` checks. Problem 401 for a code that does not count."""
        form = {
            "grant_type": "authorization_code",
            "client_id": self._settings.audience,
            "code": code,
            "redirect_uri": redirect,
            "code_verifier": verifier,
        }
        try:
            if self._settings.secret_file:
                form["client_secret"] = Path(self._settings.secret_file).read_text("utf-8").strip()
            address = self._endpoint("token_endpoint")
            with self._waiting():
                return str(_get(address, urlencode(form).encode("ascii"))["id_token"])
        except UserError as error:  # a code that does not count, or a provider that leads elsewhere
            _LOG.warning("the identity provider: %s", error)
            raise Problem(
                "not-authenticated", "the identity provider refused this sign-in; begin again"
            ) from None
        except (RocksError, OSError, ValueError, KeyError, TypeError) as error:
            raise _away(error) from None

    def _endpoint(self, name: str) -> str:
        self._key_set(_KEYS_SECONDS)  # which asks the provider at most now and then
        try:
            return str(self._about[name])
        except (KeyError, TypeError) as error:
            raise _away(error) from None

    def _decode(self, text: str) -> jwt.Token:
        algorithms = list(self._settings.algorithms)
        try:
            return jwt.decode(text, self._key_set(_KEYS_SECONDS), algorithms=algorithms)
        except (JoseError, ValueError, KeyError):
            # the provider may have new keys; a stranger makes us ask for them at most now and then
            return jwt.decode(text, self._key_set(_AGAIN_SECONDS), algorithms=algorithms)

    def _key_set(self, oldest_seconds: float) -> KeySet:
        keys = self._recent(oldest_seconds)
        if keys is not None:
            return keys
        with self._waiting(), self._lock:
            keys = self._recent(oldest_seconds)  # another thread may have fetched them
            if keys is None:
                if time.monotonic() < self._ask_again:
                    raise _away()
                try:
                    keys = self._fetch()
                except Problem:
                    self._ask_again = time.monotonic() + _PAUSE_SECONDS
                    raise
                self._recorded = (keys, time.monotonic())
            return keys

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        """Wait for the provider in the block. Problem 503 when enough threads do."""
        if not self._places.acquire(blocking=False):
            raise unavailable(
                "too many requests wait for the site's identity provider; send this one again in a few seconds, or use"
                " a token of this service"
            )
        try:
            yield
        finally:
            self._places.release()

    def _recent(self, oldest_seconds: float) -> KeySet | None:
        keys, fetched = self._recorded
        return keys if time.monotonic() - fetched <= oldest_seconds else None

    def _fetch(self) -> KeySet:
        issuer = self._settings.issuer
        try:
            about = _get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            if about["issuer"] != issuer:
                raise ValueError("another issuer")
            keys = KeySet.import_key_set(_get(about["jwks_uri"]))
            self._about = about
            return keys
        except (RocksError, ValueError, KeyError, TypeError, JoseError) as error:
            raise _away(error) from None


def _away(error: Exception | None = None) -> Problem:
    """What owners read; the operators' log has the reason."""
    if error is not None:
        _LOG.warning("the identity provider: %s", str(error) or type(error).__name__)
    return unavailable("the site's identity provider does not answer; use a token of this service")


def _get(url: str, form: bytes | None = None) -> Any:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise ValueError(f"{url[:200]} is not encrypted; only https is used")
    return json.loads(downloads.fetch(url, _MAX_BYTES, form, _WAIT_SECONDS))
