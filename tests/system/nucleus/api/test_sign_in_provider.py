"""Signing in on the pages by the identity provider: a code that only the browser which asked can use."""

from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from nucleus.configuration import Configuration
from nucleus.mirror.pool import Pool
from tests.system.nucleus.api.conftest import changed, started
from tests.system.nucleus.api.http_client import Answer, Client
from tests.system.nucleus.api.oidc_provider import SECRET, Provider, provider

__all__ = ["provider"]

OWN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def site(
    configuration: Configuration, pool: Pool, people: dict[str, str], provider: Provider, tmp_path: Path
) -> Iterator[Client]:
    """The service with this provider."""
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    values = {"issuer": provider.issuer, "pages": True, "secret_file": str(file)}
    with started(changed(configuration, "oidc", **values), pool, people) as client:
        yield client


def cookies(answer: Answer) -> dict[str, str]:
    found: SimpleCookie = SimpleCookie()
    for line in answer.headers.get_all("Set-Cookie") or ():
        found.load(line)
    return {name: morsel.value for name, morsel in found.items() if morsel.value}


def ask(site: Client, provider: Provider, code: str) -> tuple[dict[str, str], str]:
    """Begin to sign in, and have the provider give a code: the cookies of the browser, and the state."""
    answer = site.get("", "/session/provider")
    assert answer.status_code == 303
    address = urlsplit(answer.headers["Location"])
    question = {name: values[0] for name, values in parse_qs(address.query).items()}
    assert (
        question["redirect_uri"] == "http://site.example/session/provider/answer" and address.path == "/ask"
    )
    assert (question["code_challenge_method"], question["client_id"]) == ("S256", "nucleus")
    provider.codes[code] = question
    return cookies(answer), question["state"]


def come_back(site: Client, code: str, state: str, jar: dict[str, str]) -> Answer:
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in jar.items())}
    return site.get("", "/session/provider/answer", params={"code": code, "state": state}, headers=headers)


def test_a_code_becomes_a_session(site: Client, provider: Provider) -> None:
    assert site.get("", "/session").json() == {"password": False, "provider": True}
    jar, state = ask(site, provider, "c1")
    answer = come_back(site, "c1", state, jar)
    assert (answer.status_code, answer.headers["Location"]) == (303, "http://site.example/page/clusters")
    headers = {**OWN, "Cookie": f"nucleus={cookies(answer)['nucleus']}"}
    assert site.get("", "/v1/user", headers=headers).json()["username"] == "ann"
    assert come_back(site, "c1", state, jar).status_code == 401  # the provider takes a code once
    assert site.ask("", "DELETE", "/session", headers=headers).status_code == 204
    assert site.get("", "/v1/user", headers=headers).status_code == 401


def test_an_answer_that_this_browser_did_not_ask_for_is_refused(site: Client, provider: Provider) -> None:
    """Else somebody could have a visitor work in an account of theirs."""
    jar, state = ask(site, provider, "c1")
    other, _ = ask(site, provider, "c2")
    for code, sent, cookies_sent in (
        ("c1", state, {}),
        ("c1", state, other),
        ("c1", "", jar),
        ("", state, jar),
        ("c2", state, jar),  # the challenge is of another verifier
    ):
        assert come_back(site, code, sent, cookies_sent).status_code == 401


def test_the_answer_to_another_question_does_not_sign_in(site: Client, provider: Provider) -> None:
    """A token that was given for somebody else's sign-in has their nonce."""
    provider.changes = {"nonce": "of another"}
    jar, state = ask(site, provider, "c1")
    assert come_back(site, "c1", state, jar).status_code == 401


def test_a_person_reads_a_page_when_it_did_not_work(site: Client, provider: Provider) -> None:
    jar, state = ask(site, provider, "c1")
    headers = {"Accept": "text/html", "Cookie": "; ".join(f"{name}={value}" for name, value in jar.items())}
    path = "/session/provider/answer"
    answer = site.get("", path, params={"error": "<b>access_denied", "state": state}, headers=headers)
    assert answer.status_code == 401 and "did not sign you in" in answer.text and "<b>" not in answer.text
    assert (
        "http://site.example/page/clusters" in answer.text and answer.headers["Cache-Control"] == "no-store"
    )
    provider.changes = {"preferred_username": "nobody"}
    answer = site.get("", path, params={"code": "c1", "state": state}, headers=headers)
    assert answer.status_code == 401 and "no user of this service" in answer.text


def test_a_token_for_another_service_does_not_sign_in(site: Client, provider: Provider) -> None:
    provider.changes = {"aud": "another"}
    jar, state = ask(site, provider, "c1")
    assert come_back(site, "c1", state, jar).status_code == 401


def test_codes_that_do_not_count_are_counted(site: Client, provider: Provider) -> None:
    """A stranger does not have the provider asked for ever."""
    jar, state = ask(site, provider, "c1")
    codes = [come_back(site, "no such code", state, jar).status_code for _ in range(11)]
    assert codes[:10] == [401] * 10 and codes[10] != 401


def test_without_the_setting_nobody_is_sent_there(service: Client) -> None:
    assert service.get("", "/session/provider").status_code == 404
    assert service.get("", "/session/provider/answer?code=c&state=s").status_code == 404
