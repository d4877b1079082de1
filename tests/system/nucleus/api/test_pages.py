"""Pages for people: what holds without a browser. tests/browser has what needs one."""

import re
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urljoin

import bcrypt
import pytest
from starlette.requests import Request

from nucleus.api.access.authentication import credentials_of_cookie, store_token
from nucleus.api.access.credentials import SCOPES
from nucleus.configuration import Configuration
from nucleus.mirror import identity
from nucleus.mirror.pool import Pool
from owners.consoles.rest import STATIC as OF_CONSOLES
from owners.portal.pages import STATIC
from tests.system.nucleus.api.conftest import PROBLEMS, changed, started
from tests.system.nucleus.api.http_client import Answer, Client

SCRIPTS = {
    **{file: str(file.relative_to(STATIC)) for file in STATIC.rglob("*.js")},
    **{file: f"console/{file.relative_to(OF_CONSOLES)}" for file in OF_CONSOLES.rglob("*.js")},
}
"""Each script of ours → its path below /assets."""


OWN = {"Sec-Fetch-Site": "same-origin"}
PAGES = ("/page/clusters", "/page/site")


def sign_in(service: Client, password: str, username: str = "", **headers: str) -> Answer:
    return service.ask(
        "", "POST", "/session", json={"username": username, "password": password}, headers={**OWN, **headers}
    )


def cookie_of(answer: Answer) -> dict[str, str]:
    assert answer.status_code == 204, answer.text
    found = SimpleCookie(answer.headers["Set-Cookie"])
    return {"Cookie": "; ".join(f"{name}={morsel.value}" for name, morsel in found.items())}


def test_a_page_takes_nothing_from_elsewhere_and_no_script_of_its_own_text(service: Client) -> None:
    for path in PAGES:
        answer = service.get("", path)
        assert answer.status_code == 200 and answer.headers["X-Frame-Options"] == "DENY", path
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy, path
        assert "unsafe" not in policy, path
        foreign = r"<style|\sstyle=|\son\w+=|https?://|<script(?![^>]*\ssrc=)"
        assert not re.search(foreign, answer.text), path
        for asset in re.findall(r'(?:src|href)="\.\./(assets/[^"]+)"', answer.text):
            assert service.get("", f"/{asset}").status_code == 200, asset


def test_scripts_load_only_what_is_there_and_make_no_markup(service: Client) -> None:
    for file, path in SCRIPTS.items():
        text = file.read_text("utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), file
        address = f"/assets/{path}"
        for name in re.findall(r"from '(\.\.?/(?!novnc/|xterm/)[^']+)'", text):
            assert service.get("", urljoin(address, name)).status_code == 200, (address, name)


def test_scripts_ask_below_the_address_of_the_service() -> None:
    """Which is not always the server's root: their own place says it."""
    for file, path in SCRIPTS.items():
        address = f"/nucleus/assets/{path}"
        for name in re.findall(r"new URL\('(.*)', import\.meta\.url\)", file.read_text("utf-8")):
            assert urljoin(address, name) == "/nucleus/", address


def test_what_would_be_there_twice_is_asked_for_with_a_key() -> None:
    """Who presses a button again, because no answer came, gets one computeset or reservation."""
    text = "".join(file.read_text("utf-8") for file in SCRIPTS)
    for noun in ("computeset", "reservation"):
        assert f"ask('POST', path('{noun}')" not in text, noun
        assert f"(path('{noun}'), body" in text, noun


def test_the_address_of_the_service_leads_to_the_page(service: Client) -> None:
    for path, expected in (("/", "/page/clusters"), ("/nucleus", "/nucleus/page/clusters")):
        answer = service.get("", path)
        assert (answer.status_code, answer.headers["Location"]) == (303, expected)


def test_a_token_becomes_a_cookie_that_scripts_and_other_sites_do_not_get(service: Client) -> None:
    answer = sign_in(service, service.tokens["ann"])
    cookie = answer.headers["Set-Cookie"].lower()
    assert "httponly" in cookie and "secure" in cookie and "samesite=strict" in cookie and "path=/" in cookie
    sent = cookie_of(answer)
    assert service.get("", "/v1/user", headers={**OWN, **sent}).json()["username"] == "ann"


@pytest.mark.parametrize("site", [None, "none", "same-site", "cross-site"])
def test_a_cookie_does_not_count_for_requests_that_our_pages_did_not_send(
    service: Client, site: str | None
) -> None:
    headers = cookie_of(sign_in(service, service.tokens["ann"]))
    if site is not None:
        headers["Sec-Fetch-Site"] = site
    assert service.get("", "/v1/user", headers=headers).status_code == 401
    for action in ("poweron", "poweroff"):
        assert (
            service.ask("", "PUT", f"/v1/cluster/vc2/frontend/{action}", headers=headers).status_code == 401
        )
    assert sign_in(service, service.tokens["ann"], **{"Sec-Fetch-Site": site or ""}).status_code == 401
    assert service.ask("", "DELETE", "/session", headers=headers).status_code == 401


def test_over_tls_the_cookie_is_of_this_host_only() -> None:
    """Another host of the domain could set a cookie `nucleus`: over TLS it does not count."""
    for scheme, cookie, expected in (
        ("https", b"nucleus=nuc_x", ""),
        ("https", b"__Host-nucleus=nuc_x", "Bearer nuc_x"),
        ("http", b"nucleus=nuc_x", "Bearer nuc_x"),
    ):
        headers = [(b"cookie", cookie), (b"sec-fetch-site", b"same-origin"), (b"host", b"site.example")]
        scope = {"type": "http", "scheme": scheme, "path": "/", "query_string": b"", "headers": headers}
        assert credentials_of_cookie(Request(scope)) == expected


def test_wrong_tokens_are_refused_and_counted(service: Client) -> None:
    wrong = "nuc_AAAAAAAA_" + "a" * 43
    codes = [sign_in(service, wrong, **PROBLEMS).status_code for _ in range(11)]
    assert codes == [401] * 10 + [429]


def test_what_is_no_token_is_refused_with_a_way_on(service: Client) -> None:
    for text in ("", "x", "nuc_", "<b>", "a" * 1025, "nuc_\u0000"):
        answer = sign_in(service, text)
        assert answer.status_code in (400, 401) and "Set-Cookie" not in answer.headers, text


def test_a_token_that_was_revoked_ends_the_session(service: Client, pool: Pool) -> None:
    sent = cookie_of(sign_in(service, service.tokens["ann"]))
    with pool.transaction() as session:
        identity.revoke_token(session, service.tokens["ann"].split("_")[1], None)
    assert service.get("", "/v1/user", headers={**OWN, **sent}).status_code == 401


def test_a_page_learns_what_its_session_allows(service: Client, pool: Pool) -> None:
    """An operator is one with the scope admin only; a token of nobody learns nothing."""
    with pool.transaction() as session:
        root = identity.user_by_name(session, "root")
        looking = store_token(session, root.id, ["read"], None, None, "")[1].text
    for token, scopes, is_operator in (
        (service.tokens["ann"], sorted(set(SCOPES) - {"admin"}), False),
        (service.tokens["root"], sorted(SCOPES), True),
        (looking, ["read"], False),
    ):
        sent = {**OWN, **cookie_of(sign_in(service, token))}
        expected = {"scopes": scopes, "is_operator": is_operator, "token": token.split("_")[1]}
        assert service.get("", "/session/rights", headers=sent).json() == expected
    assert service.get("", "/session/rights", headers=OWN).status_code == 401


def test_signing_out_leaves_the_token_of_the_user(service: Client) -> None:
    sent = cookie_of(sign_in(service, service.tokens["ann"]))
    answer = service.ask("", "DELETE", "/session", headers={**OWN, **sent})
    assert answer.status_code == 204 and "max-age=0" in answer.headers["Set-Cookie"].lower()
    assert service.get("ann", "/v1/user").status_code == 200


def test_a_cookie_of_nobody_is_forgotten_by_signing_out(service: Client) -> None:
    answer = service.ask("", "DELETE", "/session", headers={**OWN, "Cookie": "nucleus=nuc_x"})
    assert answer.status_code == 204 and "max-age=0" in answer.headers["Set-Cookie"].lower()


def test_a_password_becomes_a_session_of_its_own_that_signing_out_revokes(
    configuration: Configuration, pool: Pool, people: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "passwords"
    file.write_text(f"root:{bcrypt.hashpw(b'correct horse', bcrypt.gensalt(4)).decode()}\n")
    settings = changed(configuration, "authentication", password_file=str(file))
    with started(settings, pool, people) as service:
        assert service.get("", "/session").json() == {"password": True, "provider": False}
        assert sign_in(service, "wrong horse", "root").status_code == 401
        sent = {**OWN, **cookie_of(sign_in(service, "correct horse", "root"))}
        [token] = [
            one
            for one in service.get("", "/v1/token", headers=sent).json()
            if one["note"].startswith("signed")
        ]
        assert set(token["scopes"]) == set(SCOPES) - {"cluster:destroy"}
        assert token["expires"] is not None
        assert service.ask("", "DELETE", "/session", headers=sent).status_code == 204
        assert service.get("", "/v1/user", headers=sent).status_code == 401
        body = {"username": "root", "password": "correct horse"}
        service.tokens["comet"] = service.ask("", "POST", "/rest-auth/login", json=body).json()["key"]
        sent = {**OWN, **cookie_of(sign_in(service, service.tokens["comet"]))}
        assert service.ask("", "DELETE", "/session", headers=sent).status_code == 204
        assert service.get("comet", "/v1/user").status_code == 200, "that of `comet init` stays"


def test_the_state_of_the_site_is_for_operators(service: Client) -> None:
    assert service.get("", "/page/site/state").status_code == 401
    assert service.get("ann", "/page/site/state").status_code == 403
    content = service.get("root", "/page/site/state").json()
    assert [one["name"] for one in content["sources"]] == [
        "cluster",
        "interface",
        "route",
        "storagemap",
        "vm",
    ]
    assert [one["username"] for one in content["users"]] == ["ann", "bob", "root"]
    answer = sign_in(service, service.tokens["ann"])
    assert answer.status_code == 204
    last = service.get("root", "/page/site/state").json()["audit"][-1]
    assert (last["actor"], last["action"], last["outcome"]) == ("ann", "sign_in", "accepted")


def test_hosts_of_the_list_name_their_machines(
    configuration: Configuration, pool: Pool, people: dict[str, str]
) -> None:
    settings = changed(configuration, "batch", hosts=["host-1", "host-9"])
    with started(settings, pool, people) as service:
        hosts = service.get("root", "/page/site/state").json()["hosts"]
    assert [one["name"] for one in hosts] == ["host-1", "host-9"] and hosts[1]["machines"] == []
    assert [(one["cluster"], one["name"]) for one in hosts[0]["machines"]] == [
        ("vc2", "vm-vc2-1"),
        ("vc3", "vm-vc3-1"),
    ]


def test_a_wrong_address_of_a_page_is_a_page(service: Client) -> None:
    answer = service.get("", "/page/nonsense", headers={"Accept": "text/html,*/*;q=0.8"})
    assert answer.status_code == 404 and "Your clusters" in answer.text
