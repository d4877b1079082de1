"""Tokens of users: what they allow, when they end, how many there are, and that nothing keeps them."""

from pathlib import Path

import bcrypt
import pytest

from nucleus.configuration import Configuration
from nucleus.limits import MAX_SESSIONS, MAX_TOKENS
from nucleus.mirror import identity
from nucleus.mirror.pool import Pool
from owners.accounts import tokens
from tests.system.nucleus.api.conftest import PROBLEMS, changed, started
from tests.system.nucleus.api.http_client import Client
from tests.system.nucleus.conftest import sql
from tests.waiting import at_once


def test_tokens_allow_no_more_than_what_they_are_made_with(service: Client, pool: Pool) -> None:
    made = service.ask("ann", "POST", "/v1/token", json={"scopes": ["read"], "days": 3, "note": "n"})
    assert made.status_code == 201 and made.headers["Cache-Control"] == "no-store"
    token = made.json()
    service.tokens["reader"] = token["token"]
    assert service.get("reader", "/v1/cluster").status_code == 200
    refused = service.ask("reader", "PUT", "/v1/cluster/vc2/frontend/poweron", headers=PROBLEMS)
    assert refused.status_code == 403 and refused.json()["code"] == "missing-scope"
    assert refused.json()["detail"] == (
        "this needs the scope power, and your credentials have read; make a token of the scopes read,power with"
        " credentials that have them (POST /v1/token), or ask the site's operators for one: nucleus token create ann"
        " --scope power"
    )
    named = {"scope": "power", "scopes": "read,power", "user": "ann"}
    assert refused.json()["remedy"] == {"code": "get-scope", **named}
    made = service.ask("ann", "POST", "/v1/token", json={"scopes": ["console"], "days": 3}).json()
    service.tokens["viewer"] = made["token"]
    without = service.ask("viewer", "POST", "/v1/token", json={})
    assert (without.status_code, without.json()["scopes"]) == (201, ["read", "console"]), "all that it may"
    assert service.ask("viewer", "POST", "/v1/token", json={"scopes": ["power"]}).status_code == 403
    longer = service.ask("viewer", "POST", "/v1/token", json={"scopes": ["read"], "days": 90}).json()
    assert longer["expires"] <= made["expires"] and longer["limited_by"] == "credentials"
    beyond = service.ask("ann", "POST", "/v1/token", json={"scopes": ["read"], "days": 3000}).json()
    assert (beyond["limited_by"], beyond["most_days"]) == ("site", 365)
    within = service.ask("ann", "POST", "/v1/token", json={"scopes": ["read"], "days": 365}).json()
    assert within["limited_by"] is None
    asked = service.ask("ann", "POST", "/v1/token", json={"scopes": ["admin"]}, headers=PROBLEMS)
    assert (asked.status_code, asked.json()["detail"]) == (
        403,
        "the scope admin is for the site's operators only",
    )
    assert service.ask("ann", "POST", "/v1/token", json={"projects": ["beta"]}).status_code == 400
    listed = service.get("ann", "/v1/token")
    assert {one["id"] for one in listed.json()} >= {token["id"], longer["id"]}
    assert token["token"].split("_")[2] not in listed.text
    assert service.ask("bob", "DELETE", f"/v1/token/{token['id']}").status_code == 404
    assert service.ask("ann", "DELETE", f"/v1/token/{token['id']}").status_code == 204
    assert service.get("reader", "/v1/cluster").status_code == 401
    sql(pool, "UPDATE user SET is_active = 0 WHERE username = 'ann'")
    assert service.get("ann", "/v1/cluster").status_code == 401


def test_a_scope_that_no_password_gives_is_to_be_had_from_the_operators(service: Client) -> None:
    made = service.ask("ann", "POST", "/v1/token", json={"scopes": ["power"]}).json()
    service.tokens["script"] = made["token"]
    for asked, code in (("computeset", "get-scope"), ("cluster:destroy", "ask-for-scope")):
        body = {"scopes": [asked]}
        refused = service.ask("script", "POST", "/v1/token", json=body, headers=PROBLEMS).json()
        assert refused["remedy"]["code"] == code, refused
    assert refused["detail"].endswith("nucleus token create ann --scope cluster:destroy")


def test_a_body_that_is_none_is_refused_with_what_is_right(service: Client) -> None:
    for body, text in (
        (b"", "the request is not valid: the body: it is missing"),
        (b"[]", "the request is not valid: the body: it must be an object"),
        (b"{x", "the request is not valid: the body: it is no JSON: Expecting property name"),
    ):
        headers = {"Content-Type": "application/json", **PROBLEMS}
        refused = service.ask("ann", "POST", "/v1/computeset", body=body, headers=headers)
        assert refused.status_code == 400 and refused.json()["detail"].startswith(text), refused.text


def test_a_token_for_some_projects_makes_none_for_those_of_tomorrow(service: Client, pool: Pool) -> None:
    made = service.ask("ann", "POST", "/v1/token", json={"projects": ["ALPHA", "alpha"]}).json()
    assert made["projects"] == ["alpha"]
    service.tokens["script"] = made["token"]
    service.tokens["made"] = service.ask("script", "POST", "/v1/token", json={}).json()["token"]
    service.tokens["whole"] = service.ask("ann", "POST", "/v1/token", json={}).json()["token"]
    with pool.transaction() as session:
        ann, beta = identity.user_by_name(session, "ann"), identity.project_by_name(session, "beta")
        identity.set_member(session, ann.id, beta.id, True)
    for who, clusters in (("script", ["vc2"]), ("made", ["vc2"]), ("whole", ["vc2", "vc3"])):
        assert [one["name"] for one in service.get(who, "/v1/cluster").json()] == clusters, who


def test_of_tokens_that_have_ended_the_last_ones_stay(
    service: Client, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who made and revoked one after the other had a list that grew for ever, and was read as a whole."""
    monkeypatch.setattr(identity, "MAX_TOKENS", 2)
    made = [service.ask("ann", "POST", "/v1/token", json={}).json()["id"] for _ in range(4)]
    sql(pool, "UPDATE token SET expires = UTC_TIMESTAMP(3) - INTERVAL 1 DAY WHERE id = %s", (made[0],))
    for identifier in made[1:]:
        assert service.ask("ann", "DELETE", f"/v1/token/{identifier}").status_code == 204
    made.append(service.ask("ann", "POST", "/v1/token", json={}).json()["id"])
    listed = {one["id"] for one in service.get("ann", "/v1/token").json()}
    assert listed & {*made} == {*made[2:]}
    assert service.get("ann", "/v1/user").status_code == 200, "its own is usable"
    assert service.get("bob", "/v1/user").status_code == 200


def test_a_token_that_may_only_read_makes_no_other(service: Client, pool: Pool) -> None:
    """One that has leaked would fill the limit of its user, and leave others behind when it is revoked."""
    made = service.ask("ann", "POST", "/v1/token", json={"scopes": ["read"]}).json()["token"]
    service.tokens["reader"] = made
    count = sql(pool, "SELECT COUNT(*) FROM token")
    for who, path, body in (
        ("reader", "/v1/token", {}),
        ("reader", "/v1/token", {"scopes": ["read"], "days": 1}),
        ("", "/rest-auth/login", {"username": "ann", "password": made}),
    ):
        refused = service.ask(who, "POST", path, json=body, headers=PROBLEMS)
        assert (refused.status_code, refused.json()["code"]) == (403, "missing-scope"), path
    assert sql(pool, "SELECT COUNT(*) FROM token") == count


def test_a_token_that_may_only_read_ends_itself_alone(service: Client, pool: Pool) -> None:
    reader, other = (
        service.ask("ann", "POST", "/v1/token", json={"scopes": ["read"]}).json() for _ in range(2)
    )
    service.tokens["reader"] = reader["token"]
    own = service.tokens["ann"].split("_")[1]
    for identifier in (own, other["id"]):
        refused = service.ask("reader", "DELETE", f"/v1/token/{identifier}", headers=PROBLEMS)
        assert (refused.status_code, refused.json()["code"]) == (403, "missing-scope")
    sql(pool, "UPDATE user SET acknowledged_at = NULL WHERE username = 'ann'")
    path = "/v1/user/acknowledgement"
    version = {"version": service.get("reader", path).json()["version"]}
    assert service.ask("reader", "PUT", path, json=version, headers=PROBLEMS).status_code == 403
    assert service.ask("ann", "PUT", path, json=version).status_code == 200
    renaming = {"json": {"first_name": "Other"}, "headers": PROBLEMS}
    assert service.ask("reader", "PATCH", "/v1/user", **renaming).status_code == 403
    assert service.ask("ann", "PATCH", "/v1/user", **renaming).json()["first_name"] == "Other"
    assert service.ask("reader", "DELETE", f"/v1/token/{reader['id']}").status_code == 204
    assert service.get("reader", path).status_code == 401
    assert service.ask("ann", "DELETE", f"/v1/token/{other['id']}").status_code == 204


def test_a_token_is_worth_nothing_when_it_has_expired(service: Client, pool: Pool) -> None:
    body = {"scopes": ["read"], "days": 1, "note": "n"}
    service.tokens["short"] = service.ask("ann", "POST", "/v1/token", json=body).json()["token"]
    assert service.get("short", "/v1/user").status_code == 200
    sql(pool, "UPDATE token SET expires = UTC_TIMESTAMP(3) WHERE note = 'n'")
    assert service.get("short", "/v1/user").status_code == 401
    assert service.get("ann", "/v1/user").status_code == 200


def test_an_answer_with_a_secret_is_not_stored(service: Client, pool: Pool) -> None:
    for path, body, status in (("/v1/token", {"note": "x"}, 201), ("/v1/token", {"note": "x"}, 409)):
        headers = {"Idempotency-Key": "k1", **PROBLEMS}
        answer = service.ask("ann", "POST", path, json=body, headers=headers)
        assert answer.status_code == status, answer.text
    assert "new key" in answer.json()["detail"]
    assert sql(pool, "SELECT body FROM idempotency") == [(b"",)]


def test_a_user_has_a_limit_of_tokens(service: Client, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_TOKENS", 3)

    def make(_: int = 0) -> int:
        return service.ask("ann", "POST", "/v1/token", json={}, headers=PROBLEMS).status_code

    assert sorted(at_once(make, range(4))) == [201, 201, 403, 403], "one was there"
    credentials = {"username": "ann", "password": service.tokens["ann"]}
    signed_in = service.ask("", "POST", "/rest-auth/login", json=credentials, headers=PROBLEMS)
    assert signed_in.status_code == 200, "who signs in is not locked out by tokens of programs"
    refused = service.ask("ann", "POST", "/v1/token", json={}, headers=PROBLEMS)
    first = min(service.get("ann", "/v1/token").json(), key=lambda one: one["last_used"] or one["created"])
    assert refused.status_code == 403 and f"nothing has used {first['id']}, " in refused.json()["detail"]
    assert signed_in.json()["key"].split("_")[1] not in refused.json()["detail"], "it ends by itself"
    (identifier, *_) = [one["id"] for one in service.get("ann", "/v1/token").json() if not one["note"]]
    assert service.ask("ann", "DELETE", f"/v1/token/{identifier}").status_code == 204
    assert make() == 201


@pytest.mark.slow
@pytest.mark.parametrize("way", ["login", "page"])
def test_who_signs_in_often_is_not_locked_out(
    configuration: Configuration, pool: Pool, people: dict[str, str], tmp_path: Path, way: str
) -> None:
    """Each sign-in makes a token of a day: after the hundredth, of a script, nothing let its owner in.

    The one that nothing has used for longest ends instead.
    """
    file = tmp_path / "passwords"
    file.write_text(f"ann:{bcrypt.hashpw(b'correct horse', bcrypt.gensalt(4)).decode()}\n")
    own_page = {"Sec-Fetch-Site": "same-origin", "Host": "site.example", **PROBLEMS}
    body = {"username": "ann", "password": "correct horse"}
    with started(changed(configuration, "authentication", password_file=str(file)), pool, people) as service:

        def sign_in() -> str:
            service.forget_rates()
            if way == "login":
                answer = service.ask("", "POST", "/rest-auth/login", json=body, headers=PROBLEMS)
                assert answer.status_code == 200, answer.text
                return str(answer.json()["key"])
            answer = service.ask("", "POST", "/session", json=body, headers=own_page)
            assert answer.status_code == 204, answer.text
            return answer.headers["Set-Cookie"].partition("=")[2].partition(";")[0]

        def works(text: str) -> bool:
            service.tokens["one"] = text
            return bool(service.get("one", "/v1/user").status_code == 200)

        lasting = service.ask("ann", "POST", "/v1/token", json={"note": "login"}).json()["token"]
        made = [sign_in() for _ in range(MAX_TOKENS + 5)]
        first = made[-MAX_SESSIONS]
        assert works(first) and works(made[-1]), "so many are usable at a time"
        assert not works(made[-MAX_SESSIONS - 1]) and not works(made[0])
        for _ in range(MAX_SESSIONS - 2):
            sign_in()
        assert works(first) and works(made[-1]) and not works(made[-2]), "those that were used stay"
        assert works(lasting) and works(people["ann"]), "what was made on purpose stays"
        assert service.ask("ann", "POST", "/v1/token", json={}).status_code == 201
    usable = "SELECT COUNT(*) FROM token WHERE is_session AND revoked_at IS NULL"
    assert sql(pool, usable) == [(MAX_SESSIONS,)]
