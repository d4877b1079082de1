"""Signing in on the pages by the identity provider: a code that only the browser which asked can use."""

import base64
import hashlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from nucleus.configuration import Configuration
from nucleus.mirror.pool import Pool
from tests.system.nucleus.api.conftest import changed, started
from tests.system.nucleus.api.http_client import Answer, Client

OWN = {"Sec-Fetch-Site": "same-origin"}
SECRET = "a secret of both"


class Provider:
    """A provider that has asked ann who she is: `codes` has the question of each code, which counts once."""

    def __init__(self) -> None:
        self.key = ECKey.generate_key("P-256", {"kid": "one", "use": "sig", "alg": "ES256"})
        self.codes: dict[str, dict[str, str]] = {}
        self.audience = "nucleus"
        self.username = "ann"
        self.nonce: str | None = None
        """Of another question, for the tokens that follow."""

        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                keys = KeySet([provider.key]).as_dict(private=False)
                self.answer(200, keys if self.path == "/keys" else provider.about())

            def do_POST(self) -> None:
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                token = provider.token(dict(parse_qsl(form)))
                self.answer(*((200, {"id_token": token}) if token else (400, {"error": "invalid_grant"})))

            def answer(self, status: int, content: Any) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_address[1]}"

    def about(self) -> dict[str, str]:
        names = {"jwks_uri": "keys", "authorization_endpoint": "ask?x=1", "token_endpoint": "token"}
        return {"issuer": self.issuer, **{name: f"{self.issuer}/{path}" for name, path in names.items()}}

    def token(self, form: dict[str, str]) -> str | None:
        """For the one who asked, with the verifier of the question and the secret of the client."""
        question = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if question is None or form["client_secret"] != SECRET or form["grant_type"] != "authorization_code":
            return None
        if (challenge, form["redirect_uri"]) != (question["code_challenge"], question["redirect_uri"]):
            return None
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": "s1",
            "preferred_username": self.username,
        }
        claims |= {"exp": int(time.time()) + 300, "nonce": self.nonce or question["nonce"]}
        return jwt.encode({"alg": "ES256", "kid": "one"}, claims, self.key)


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join(60)
    made.server.server_close()


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
    provider.nonce = "of another"
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
    provider.username = "nobody"
    answer = site.get("", path, params={"code": "c1", "state": state}, headers=headers)
    assert answer.status_code == 401 and "no user of this service" in answer.text


def test_a_token_for_another_service_does_not_sign_in(site: Client, provider: Provider) -> None:
    provider.audience = "another"
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
