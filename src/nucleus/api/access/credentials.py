"""Tokens, passwords and signatures: what is sent, what is stored of it, and how both are compared. No I/O."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import string
from typing import NamedTuple

import bcrypt
from cryptography.fernet import Fernet, InvalidToken

from nucleus.limits import SIGNATURE_WINDOW_SECONDS

SCOPES = (
    "read",
    "power",
    "computeset",
    "console",
    "image",
    "rename",
    "cluster:reinstall",
    "cluster:destroy",
    "admin",
)
"""What a token may allow. `read` is in each; admin = the others of every cluster, for operators."""

OWNER_SCOPES = ("read", "power", "computeset", "console", "image", "rename", "cluster:reinstall")
"""What a token allows when nothing else is stated: everything of every day."""

LATER_SCOPES = ("cluster:reinstall",)
"""Of `OWNER_SCOPES`, what tokens of earlier releases lack: they are still as good as a password."""

NOT_WHOLE = (
    "a part of the token is missing, or it is of another service: here a token is nuc_, 8 characters, _ and 43 more;"
    " copy it again from its first character to its last"
)
"""The refusal of a text that is no token."""

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_TOKEN = re.compile(r"nuc_([0-9A-Za-z]{8})_([0-9A-Za-z]{43})")
_SECRET = re.compile(r"(nuc_[0-9A-Za-z]{8})_[0-9A-Za-z]+")
_PARAMETER = re.compile(r'\b(\w+)="([^"]*)"')
"""Sought from the first letter of each word only: from every letter, a long header takes a second, in which no other
thread runs."""

_MAX_CHARACTERS = 8192


class NewToken(NamedTuple):
    """A token as its owner gets it, once, and what is stored."""

    id: str
    text: str
    secret_sha256: bytes


class SentToken(NamedTuple):
    """A token that a client sent."""

    id: str
    secret_sha256: bytes


class SentPassword(NamedTuple):
    """HTTP Basic."""

    username: str
    password: str


class SentSignature(NamedTuple):
    """The signature of the published client; it covers nonce and timestamp, and nothing of the request."""

    key_name: str
    nonce: str
    timestamp: int
    signature: bytes


class SentAssertion(NamedTuple):
    """A token of the site's identity provider (a JWT), not looked into yet. `nonce` is of the question, if we asked."""

    text: str
    nonce: str = ""


Sent = SentToken | SentPassword | SentSignature | SentAssertion


class BadCredentials(ValueError):  # noqa: N818 - what was sent
    """What was sent cannot be read; the text may be visible to the client and has no secret."""


def new_token() -> NewToken:
    """A token of 256 random bits."""
    token_id, secret = ("".join(secrets.choice(_ALPHABET) for _ in range(length)) for length in (8, 43))
    return NewToken(token_id, f"nuc_{token_id}_{secret}", _digest(secret))


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("ascii")).digest()


def read_token(text: str) -> SentToken | None:
    """The token, or None for a text of another form."""
    found = _TOKEN.fullmatch(text)
    return SentToken(found[1], _digest(found[2])) if found else None


def without_secrets(text: str) -> str:
    """A path for the logs, also where somebody put a whole token in the place of its number."""
    return _SECRET.sub(r"\1_…", text)


def claim_of(sent: Sent) -> str:
    """Which secret it claims to have, without that: the number of a token, a name, the digest of an assertion."""
    if isinstance(sent, SentPassword):
        token = read_token(sent.password)
        return claim_of(token) if token else f"password {sent.username}"
    if isinstance(sent, SentToken):
        return f"token {sent.id}"
    if isinstance(sent, SentSignature):
        return f"signature {sent.key_name}"
    return f"assertion {hashlib.sha256(sent.text.encode()).hexdigest()}"


def read_credentials(authorization: str, headers: dict[str, str]) -> Sent:
    """What the headers contain. BadCredentials for what cannot be read."""
    if len(authorization) > _MAX_CHARACTERS:
        raise BadCredentials("the header Authorization is too long")
    if not (authorization.isascii() and authorization.isprintable()):  # nginx counts requests by its end
        raise BadCredentials("the header Authorization has characters that no token and no password has")
    scheme, _, rest = authorization.partition(" ")
    kind, value = scheme.lower(), rest.strip()
    if kind in ("bearer", "token"):
        token = read_token(value)
        if token is None and kind == "bearer" and value.count(".") == 2:
            return SentAssertion(value)
        if token is None:
            raise BadCredentials(NOT_WHOLE)
        return token
    if kind == "basic":
        return _password(value)
    if kind == "signature":
        return _signature(value, headers)
    raise BadCredentials("the header Authorization has an unknown scheme; send Authorization: Bearer TOKEN")


def _password(value: str) -> Sent:
    try:
        username, colon, password = base64.b64decode(value, validate=True).decode("utf-8").partition(":")
    except ValueError:
        raise BadCredentials("the user name and password are not in base 64") from None
    if not colon or not username or "\0" in username + password:
        raise BadCredentials("the user name or the password is missing")
    return SentPassword(username, password)


def _signature(value: str, headers: dict[str, str]) -> SentSignature:
    parameters = dict(_PARAMETER.findall(value))
    nonce, timestamp = headers.get("nonce", ""), headers.get("timestamp", "")
    if not re.fullmatch(r"[A-Za-z0-9]{8,128}", nonce):
        raise BadCredentials("the header nonce is missing or not of letters and digits")
    if not re.fullmatch(r"[0-9]{1,12}", timestamp):
        raise BadCredentials("the header timestamp is missing or no number of seconds")
    if parameters.get("algorithm", "hmac-sha256") != "hmac-sha256":
        raise BadCredentials("only signatures of hmac-sha256 are known")
    if parameters.get("headers", "").lower().split() != ["nonce", "timestamp"]:
        raise BadCredentials('the signature must be of headers="nonce timestamp"')
    try:
        signature = base64.b64decode(parameters.get("signature", ""), validate=True)
    except binascii.Error:
        raise BadCredentials("the signature is not in base 64") from None
    return SentSignature(headers.get("x-api-key", ""), nonce, int(timestamp), signature)


def signature_fits(sent: SentSignature, secret: str, now: float) -> bool:
    """Whether the signature was made with this secret, and not too long ago."""
    text = f"nonce: {sent.nonce}\ntimestamp: {sent.timestamp}".encode("ascii")
    expected = hmac.new(secret.encode("utf-8"), text, hashlib.sha256).digest()
    return (
        hmac.compare_digest(sent.signature, expected)
        and abs(now - sent.timestamp) <= SIGNATURE_WINDOW_SECONDS
    )


def new_signature_secret() -> str:
    """24 characters, as the published service makes them."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(24))


def is_sealing_key(text: bytes) -> bool:
    """Whether it can be the key of `seal`: 32 bytes in URL-safe base64."""
    try:
        Fernet(text)
    except ValueError:
        return False
    return True


def seal(secret: str, sealing_key: bytes) -> bytes:
    """The secret for the database: who reads that cannot use it without the key, which is in a file."""
    return Fernet(sealing_key).encrypt(secret.encode("utf-8"))


def unseal(sealed: bytes, sealing_key: bytes) -> str | None:
    """The secret; None when it was sealed with another key."""
    try:
        return Fernet(sealing_key).decrypt(sealed).decode("utf-8")
    except InvalidToken:
        return None


_NOBODY = b"$2b$10$QUv3cRz7G20TfHCPy2OH/.md0n0iLzhbijBYLgSmmxXsaqBuor/CG"


def password_fits(passwords: str, username: str, password: str) -> bool:
    """Whether a file of lines `user:bcrypt` (`htpasswd -B`) has this pair; an unknown user takes as long as others."""
    stored = dict(line.strip().split(":", 1) for line in passwords.splitlines() if ":" in line)
    given = password.encode("utf-8")[:72]
    some = next(iter(stored.values()), "").encode("ascii") or _NOBODY  # as expensive as those of the file
    try:
        fits = bcrypt.checkpw(given, stored.get(username, "").encode("ascii") or some)
    except ValueError:
        return False
    return fits and username in stored
