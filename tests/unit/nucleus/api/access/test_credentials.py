"""What clients send to prove who they are."""

import base64
import hashlib
import hmac
import time

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from nucleus.api.access.credentials import (
    BadCredentials,
    SentAssertion,
    SentPassword,
    SentSignature,
    SentToken,
    new_token,
    password_fits,
    read_credentials,
    seal,
    signature_fits,
    unseal,
)


def test_a_token_is_read_and_its_secret_is_not_stored() -> None:
    token = new_token()
    sent = read_credentials(f"Bearer {token.text}", {})
    assert sent == SentToken(token.id, token.secret_sha256) == read_credentials(f"token {token.text}", {})
    assert token.secret_sha256 == sent.secret_sha256
    assert token.text.encode() not in token.secret_sha256 and len(token.text) == 56


def test_other_schemes_are_read() -> None:
    basic = base64.b64encode("ann:pass:wörd".encode()).decode()
    assert read_credentials(f"Basic {basic}", {}) == SentPassword("ann", "pass:wörd")
    assert read_credentials("Bearer a.b.c", {}) == SentAssertion("a.b.c")


def signed(secret: str, nonce: str = "ABCDEFGH12", timestamp: str = "1000") -> tuple[str, dict[str, str]]:
    """The headers of the published client."""
    text = f"nonce: {nonce}\ntimestamp: {timestamp}".encode()
    signature = base64.b64encode(hmac.new(secret.encode(), text, hashlib.sha256).digest()).decode()
    header = f'Signature keyId="",algorithm="hmac-sha256",headers="nonce timestamp",signature="{signature}"'
    return header, {"x-api-key": "ann@example.org", "nonce": nonce, "timestamp": timestamp}


def test_a_signature_covers_nonce_and_time() -> None:
    sent = read_credentials(*signed("secret"))
    assert isinstance(sent, SentSignature) and sent.key_name == "ann@example.org"
    assert signature_fits(sent, "secret", 1000 + 1800)
    assert not signature_fits(sent, "secret", 1000 + 1801)
    assert not signature_fits(sent, "other", 1000)
    assert not signature_fits(sent._replace(nonce="ABCDEFGH13"), "secret", 1000)
    assert not signature_fits(sent._replace(timestamp=1001), "secret", 1000)


@pytest.mark.parametrize(
    "header, headers",
    [
        ("Bearer", {}),
        ("Bearer nuc_short_x", {}),
        ("Basic ???", {}),
        ("Basic " + base64.b64encode(b"nocolon").decode(), {}),
        ("Basic " + base64.b64encode(b"\xff:x").decode(), {}),
        ("Negotiate x", {}),
        ("Bearer " + "x" * 9000, {}),
        *((f"Bearer nuc_{'a' * 8}_{'b' * 43}{end}", {}) for end in ("\t", "\xa0", "\x85", "\x0b")),
        (signed("s")[0], {"nonce": "", "timestamp": "1"}),
        (signed("s")[0], {"nonce": "ABCDEFGH12", "timestamp": "١"}),
        (signed("s")[0], {"nonce": "ABCDEFGH12", "timestamp": "9" * 400}),
        (signed("s")[0].replace("nonce timestamp", "date"), signed("s")[1]),
        (signed("s")[0].replace("sha256", "md5"), signed("s")[1]),
    ],
)
def test_what_cannot_be_read_is_refused(header: str, headers: dict[str, str]) -> None:
    with pytest.raises(BadCredentials):
        read_credentials(header, headers)


def test_a_part_of_a_token_is_called_that() -> None:
    """It begins as one does."""
    with pytest.raises(BadCredentials, match="a part of the token is missing.*copy it again"):
        read_credentials("Bearer nuc_AAAAAAAA", {})


@given(st.text(max_size=100), st.text(max_size=20), st.text(max_size=20))
def test_any_header_is_read_or_refused(header: str, nonce: str, timestamp: str) -> None:
    for text in (header, f"Basic {header}", f"Signature {header}"):
        try:
            read_credentials(text, {"nonce": nonce, "timestamp": timestamp})
        except BadCredentials as error:
            assert str(error)


def test_passwords_and_sealed_secrets() -> None:
    import bcrypt

    line = f"ann:{bcrypt.hashpw(b'good', bcrypt.gensalt(4)).decode()}\n"
    assert password_fits(line, "ann", "good")
    assert not password_fits(line, "ann", "bad") and not password_fits(line, "bob", "good")
    assert not password_fits("ann:plain\n", "ann", "plain")
    key = Fernet.generate_key()
    assert (
        unseal(seal("secret", key), key) == "secret"
        and unseal(seal("secret", key), Fernet.generate_key()) is None
    )


def test_an_unknown_user_costs_what_others_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a refusal does not say which users exist: htpasswd's cost is 5, not bcrypt's usual one."""
    import bcrypt

    line = f"ann:{bcrypt.hashpw(b'good', bcrypt.gensalt(5)).decode()}\n"
    costs, check = list[bytes](), bcrypt.checkpw

    def seen(given: bytes, stored: bytes) -> bool:
        costs.append(stored.split(b"$")[2])
        return check(given, stored)

    monkeypatch.setattr(bcrypt, "checkpw", seen)
    assert not password_fits(line, "ann", "bad") and not password_fits(line, "bob", "bad")
    assert costs == [b"05", b"05"]


def test_a_long_signature_of_a_stranger_takes_no_time() -> None:
    """No thread of the service runs meanwhile: a search in a text does not release Python's lock."""
    headers = {"nonce": "abcdefgh", "timestamp": "1"}
    begin = time.thread_time()
    for text in ("a" * 8000, 'a="' * 2600, 'a="b"' * 1600):
        with pytest.raises(BadCredentials):
            read_credentials(f"Signature {text}", headers)
    assert time.thread_time() - begin < 0.1
