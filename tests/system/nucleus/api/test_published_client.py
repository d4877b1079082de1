"""The ways in of the published client: a key with which it signs, and a token for a password."""

import base64
import hashlib
import hmac
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from nucleus.api import events
from nucleus.configuration import Configuration
from nucleus.mirror import audit
from nucleus.mirror.pool import Pool
from tests.system.nucleus.api.conftest import PROBLEMS, changed, started
from tests.system.nucleus.api.http_client import Client
from tests.system.nucleus.api.test_events import emit, stream
from tests.system.nucleus.conftest import sql
from tests.waiting import wait_until


def basic(people: dict[str, str], who: str) -> dict[str, str]:
    """A token as the password of its owner."""
    return {
        "Authorization": "Basic " + base64.b64encode(f"{who}:{people[who]}".encode()).decode(),
        **PROBLEMS,
    }


def signed(key: dict[str, str], nonce: str) -> dict[str, str]:
    """The headers of a request that is signed with a key of GET /getkey."""
    timestamp = str(int(time.time()))
    text = f"nonce: {nonce}\ntimestamp: {timestamp}".encode()
    signature = base64.b64encode(hmac.new(key["key"].encode(), text, hashlib.sha256).digest()).decode()
    value = f'Signature keyId="",algorithm="hmac-sha256",headers="nonce timestamp",signature="{signature}"'
    return {"Authorization": value, "X-Api-Key": key["key_name"], "nonce": nonce, "timestamp": timestamp}


@pytest.fixture
def with_signatures(configuration: Configuration, tmp_path: Path) -> Configuration:
    """A site that takes signatures."""
    path = tmp_path / "sealing.key"
    path.write_bytes(Fernet.generate_key())
    return changed(configuration, "authentication", signatures=True, sealing_key_file=str(path))


def test_a_signature_lets_in_once(with_signatures: Configuration, pool: Pool, people: dict[str, str]) -> None:
    with started(with_signatures, pool, people) as service:
        found = service.get("", "/getkey", headers=basic(people, "ann"))
        assert found.status_code == 200 and found.headers["Cache-Control"] == "no-store", found.text
        key = found.json()
        once = signed(key, "nonce0001")
        assert service.get("", "/v1/user", headers=once).json()["username"] == "ann"
        assert service.get("", "/v1/user", headers=once).status_code == 401, "the nonce is used"
        forged = {**signed(key, "nonce0002"), "nonce": "nonce0003"}
        assert service.get("", "/v1/user", headers=forged).status_code == 401
        newer = service.get("", "/getkey", headers=basic(people, "ann")).json()
        assert newer["key_name"] == key["key_name"] and newer["key"] != key["key"]
        assert service.get("", "/v1/user", headers=signed(key, "nonce0004")).status_code == 401
        assert service.get("", "/v1/user", headers=signed(newer, "nonce0005")).status_code == 200
        assert service.get("ann", "/getkey", headers=PROBLEMS).status_code == 401, "not with a token alone"
        for accept, status, begin in (
            ("application/json", 200, '{"key_name":"ann@example.org"'),
            ("text/html", 200, "<!doctype html>"),
            ("image/png", 415, '"the key comes as application/json'),
        ):
            form = service.get("", "/getkey", headers={**basic(people, "ann"), "Accept": accept})
            assert (form.status_code, form.text.startswith(begin)) == (status, True), form.text


@pytest.mark.parametrize(
    "body", [{"scopes": ["read"]}, {"scopes": ["read", "power"]}, {"projects": ["alpha"]}]
)
def test_a_token_gets_no_key_that_allows_more(
    with_signatures: Configuration, pool: Pool, people: dict[str, str], body: dict[str, Any]
) -> None:
    """A signature allows what a password does, in all projects."""
    with started(with_signatures, pool, people) as service:
        made = service.ask("ann", "POST", "/v1/token", json=body).json()["token"]
        refused = service.get("", "/getkey", headers=basic({"ann": made}, "ann"))
    assert (refused.status_code, refused.json()["code"]) == (403, "missing-scope"), refused.text
    assert sql(pool, "SELECT COUNT(*) FROM signature_key") == [(0,)]


def test_a_key_ends_with_the_token_that_obtained_it(
    with_signatures: Configuration, pool: Pool, people: dict[str, str]
) -> None:
    """A token made by a signature lasts no longer, either; and a key is that of its token in the log, too."""
    with started(with_signatures, pool, people) as service:
        made = service.ask("ann", "POST", "/v1/token", json={"days": 2}).json()
        key = service.get("", "/getkey", headers=basic({"ann": made["token"]}, "ann")).json()
        sql(pool, "UPDATE token SET last_used = NULL WHERE id = %s", (made["id"],))
        longer = service.ask(
            "", "POST", "/v1/token", json={"days": 90}, headers=signed(key, "nonce0001")
        ).json()
        assert sql(pool, "SELECT last_used FROM token WHERE id = %s", (made["id"],)) != [(None,)]
        assert longer["expires"] <= made["expires"] and longer["limited_by"] == "credentials"
        assert sql(pool, "SELECT token_id FROM audit WHERE target = %s", (longer["id"],)) == [(made["id"],)]
        assert service.ask("ann", "DELETE", f"/v1/token/{made['id']}").status_code == 204
        assert service.get("", "/v1/user", headers=signed(key, "nonce0002")).status_code == 401
        sql(pool, "DELETE FROM token WHERE id = %s", (made["id"],))
        assert service.get("", "/v1/user", headers=signed(key, "nonce0003")).status_code == 401, (
            "also forgotten"
        )


def test_a_stream_that_was_begun_by_a_signature_lasts_as_long_as_its_key(
    with_signatures: Configuration, pool: Pool, people: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its nonce counts once, and is no wrong one when the stream looks whether it may go on."""
    monkeypatch.setattr(events, "RIGHTS_SECONDS", 0.1)
    with started(with_signatures, pool, people) as service:
        key = service.get("", "/getkey", headers=basic(people, "ann")).json()
        authenticator, looks = service.application.state.service.authenticator, list[bool]()
        identify = authenticator.identify

        def counted(*request: Any, **how: bool) -> Any:
            looks.append(True)
            return identify(*request, **how)

        monkeypatch.setattr(authenticator, "identify", counted)
        with stream(service, "ann", **signed(key, "nonce0001")) as ann:
            wait_until(lambda: len(looks) >= 4, "three looks after the first one")
            emit(pool, "later")
            assert '"target": "later"' in next(ann)[2]
            assert sql(pool, "SELECT 1 FROM audit WHERE action = 'authenticate'") == []
            assert service.get("", "/getkey", headers=basic(people, "ann")).status_code == 200
            assert next(ann, None) is None, "the key was replaced"


@pytest.mark.parametrize("is_admin", [False, True])
def test_a_key_allows_no_more_when_its_owner_becomes_an_operator(
    with_signatures: Configuration, pool: Pool, people: dict[str, str], is_admin: bool
) -> None:
    """As its token; one of a password allows what the password does from then on."""
    with started(with_signatures, pool, people) as service:
        key = service.get("", "/getkey", headers=basic(people, "ann")).json()
        if is_admin:
            sql(pool, "UPDATE signature_key SET token_id = NULL")
        sql(pool, "UPDATE user SET is_operator = 1 WHERE username = 'ann'")
        signature = {**signed(key, "nonce0001"), **PROBLEMS}
        found = service.ask("", "POST", "/v1/token", json={"scopes": ["admin"]}, headers=signature)
    assert found.status_code == (201 if is_admin else 403), found.text


def test_two_users_of_one_address_have_a_key_each(
    with_signatures: Configuration, pool: Pool, people: dict[str, str]
) -> None:
    """As somebody who is an owner and, by another name, an operator."""
    sql(pool, "UPDATE user SET email = 'ann@example.org' WHERE username = 'bob'")
    with started(with_signatures, pool, people) as service:
        keys = [
            service.get("", "/getkey", headers=basic(people, who)).json() for who in ("ann", "bob", "ann")
        ]
        assert [key["key_name"] for key in keys] == ["ann@example.org", "bob", "ann@example.org"]
        found = [service.get("", "/v1/user", headers=signed(key, "nonce0001")) for key in keys[1:]]
    assert [one.json()["username"] for one in found] == ["bob", "ann"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"abc", id="short"),
        pytest.param(Fernet.generate_key()[:-4], id="cut off"),
        pytest.param(b"\xff\xfe", id="not ASCII"),
    ],
)
def test_a_file_without_a_sealing_key_is_reported(
    with_signatures: Configuration, pool: Pool, people: dict[str, str], content: bytes
) -> None:
    Path(with_signatures.authentication.sealing_key_file).write_bytes(content)
    with started(with_signatures, pool, people) as service:
        found = service.get("", "/getkey", headers=basic(people, "ann"))
    assert found.status_code == 503, found.text
    assert found.json()["code"] == "backend-unavailable" and "sealing.key" in found.json()["detail"]


def test_a_password_becomes_a_token_and_its_request_is_repeated_by_its_key(
    service: Client, pool: Pool, people: dict[str, str]
) -> None:
    def log_in(key: str, **body: Any) -> Any:
        sent = {"username": "ann", "password": people["ann"], **body}
        return service.ask(
            "", "POST", "/rest-auth/login", json=sent, headers={**PROBLEMS, "Idempotency-Key": key}
        )

    first, again = log_in("k1"), log_in("k1")
    assert first.status_code == 200 and first.headers["Cache-Control"] == "no-store", first.text
    token = {"Authorization": f"Bearer {first.json()['key']}"}
    assert service.get("", "/v1/user", headers=token).json()["username"] == "ann"
    assert again.status_code == 409 and "secret" in again.json()["detail"], "no second token"
    assert log_in("k1", username="ann", password=people["bob"]).status_code == 401
    assert log_in("é").status_code == 400
    assert service.ask("", "POST", "/rest-auth/logout", headers=token).status_code == 200
    assert service.get("", "/v1/user", headers=token).status_code == 401
    with pool.transaction() as session:
        (stored,) = session.rows("SELECT request_hash, body FROM idempotency")
        entries = [
            (one.entry.actor, one.entry.action, one.entry.outcome) for one in audit.newest(session, 20)
        ]
        ended = [one.entry.target for one in audit.newest(session, 20) if one.entry.action == "logout"]
    assert entries.count(("ann", "login", "accepted")) == 1
    assert ended == [first.json()["key"][4:12]], "which token was revoked"
    without_password = ("POST", "/rest-auth/login", "", False)
    assert stored == (hashlib.sha256(repr(without_password).encode()).digest(), b"")
