"""Tokens of a real provider of OpenID Connect, the certified oidc-provider, from the sign-in to a request of ours.

`make test-oidc` installs it, with a Node.js of its own, into the folder that OIDC_PROVIDER names.
"""

import base64
import contextlib
import hashlib
import http.cookiejar
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, KeySet

from nucleus.configuration import Configuration
from nucleus.mirror.pool import Pool
from owners.accounts import oidc
from rocks.core.process import end_group, start_with_pipes
from tests.servers import free_port
from tests.system.nucleus.api.conftest import PROBLEMS, changed, started
from tests.system.nucleus.api.http_client import SECONDS, Client
from tests.system.nucleus.conftest import sql

FOLDER = Path(os.environ.get("OIDC_PROVIDER", ""))
pytestmark = pytest.mark.skipif(
    "OIDC_PROVIDER" not in os.environ,
    reason="OIDC_PROVIDER names no folder with oidc-provider; `make test-oidc` makes one and runs this",
)

CALLBACK = "https://site.example/callback"
VERIFIER = "v" * 64
PAGE_CALLBACK = "http://site.example/session/provider/answer"
SECRET = "a secret of both sides, long enough for HS512: " + "s" * 32


def new_key(name: str) -> ECKey:
    """A key that a provider signs with."""
    return ECKey.generate_key("P-256", {"kid": name, "use": "sig", "alg": "ES256"})


def client(name: str, **more: Any) -> dict[str, Any]:
    """A client of the provider, as it is registered there: a public one with PKCE."""
    return {
        "client_id": name,
        "redirect_uris": [CALLBACK],
        "response_types": ["code"],
        "grant_types": ["authorization_code"],
        "token_endpoint_auth_method": "none",
        "id_token_signed_response_alg": "ES256",
        **more,
    }


CLIENTS = [
    client("nucleus"),
    client("mail"),
    client(
        "pages",
        redirect_uris=[PAGE_CALLBACK],
        client_secret=SECRET,
        token_endpoint_auth_method="client_secret_post",
    ),
    client(
        "symmetric",
        client_secret=SECRET,
        id_token_signed_response_alg="HS256",
        token_endpoint_auth_method="client_secret_post",
    ),
]


class Provider:
    """One that runs; `issuer` is its address."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer

    def sign_in(self, name: str, audience: str = "nucleus", **secret: str) -> str:
        """The ID token that a person gets in a browser: authorization code with PKCE, the form, the consent."""
        digest = hashlib.sha256(VERIFIER.encode()).digest()
        query = {
            "client_id": audience,
            "response_type": "code",
            "scope": "openid profile",
            "redirect_uri": CALLBACK,
            "state": "of the test",
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        found = self.answer(f"{self.issuer}/auth?{urllib.parse.urlencode(query)}", CALLBACK, name)
        assert found.get("state") == "of the test", found
        body = {
            "grant_type": "authorization_code",
            "code": found["code"],
            "client_id": audience,
            "redirect_uri": CALLBACK,
            "code_verifier": VERIFIER,
            **secret,
        }
        data = urllib.parse.urlencode(body).encode()
        with urllib.request.urlopen(f"{self.issuer}/token", data, SECONDS) as answer:
            token: str = json.loads(answer.read())["id_token"]
        return token

    def answer(self, place: str, callback: str, name: str) -> dict[str, str]:
        """What the provider answers at the callback when a person signs in there."""
        opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()), _NoRedirect()
        )
        form: bytes | None = None
        for _ in range(12):
            with opener.open(place, form, SECONDS) as answer:
                location, page = answer.headers.get("Location"), answer.read().decode()
            form = None
            if location is None:  # the form of the sign-in, then that of the consent
                prompt = re.search(r'name="prompt" value="(\w+)"', page)
                assert prompt, page
                form = urllib.parse.urlencode({"prompt": prompt[1], "login": name, "password": "x"}).encode()
            else:
                place = urllib.parse.urljoin(place, location)
            if place.startswith(callback):
                break
        return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(place).query))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Gives an answer with Location as it is."""

    def http_error_302(self, _request: Any, answer: Any, *_: Any) -> Any:
        return answer

    http_error_303 = http_error_302


@contextlib.contextmanager
def provider(*keys: ECKey, seconds: int = 600, port: int = 0) -> Iterator[Provider]:
    """A provider with these keys, whose tokens are valid for so long."""
    settings = {
        "jwks": KeySet(list(keys)).as_dict(private=True),
        "clients": CLIENTS,
        "seconds": seconds,
        "port": port,
    }
    process = start_with_pipes(
        [str(FOLDER / "node"), str(FOLDER / "provider.mjs")], {**os.environ, "SETTINGS": json.dumps(settings)}
    )
    try:
        for line in process.stdout:
            if line.startswith(b"http://127.0.0.1:"):
                yield Provider(line.decode().strip())
                break
        else:
            raise AssertionError("the provider has ended")
    finally:
        end_group(process)


@pytest.fixture
def serve(
    configuration: Configuration, pool: Pool, people: dict[str, str]
) -> Callable[[str], contextlib.AbstractContextManager[Client]]:
    """Nucleus with an issuer."""

    def serve(issuer: str) -> contextlib.AbstractContextManager[Client]:
        return started(changed(configuration, "oidc", issuer=issuer), pool, people)

    return serve


Serve = Callable[[str], contextlib.AbstractContextManager[Client]]


def ask(service: Client, token: str) -> tuple[int, str]:
    """Status and code of a request with the token; of one that is answered, the user's name."""
    headers = {"Authorization": f"Bearer {token}", **PROBLEMS}
    answer = service.get("", "/v1/user", headers=headers)
    content = answer.json()
    return answer.status_code, content.get("code") or content["username"]


REFUSED = (401, "not-authenticated")


def test_a_person_of_the_site_signs_in(serve: Serve, pool: Pool) -> None:
    key = new_key("one")
    with provider(key) as site, serve(site.issuer) as service:
        token = site.sign_in("ann")
        assert ask(service, token) == (200, "ann")
        own = service.get("", "/v1/cluster", headers={"Authorization": f"Bearer {token}"})
        assert [one["name"] for one in own.json()] == ["vc2"]
        assert ask(service, site.sign_in("nobody")) == REFUSED, "the provider's people are not all ours"
        for wrong in (
            site.sign_in("ann", "mail"),
            site.sign_in("ann", "symmetric", client_secret=SECRET),
        ):
            assert ask(service, wrong) == REFUSED, wrong
        with provider(key) as elsewhere:
            assert ask(service, elsewhere.sign_in("ann")) == REFUSED, "another issuer with the same keys"
        rows = sql(pool, "SELECT outcome FROM audit WHERE action = 'authenticate'")
        assert rows == [("not-authenticated",)] * 4, "each is in the audit log"


def test_a_token_ends(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "_LEEWAY_SECONDS", 0)
    with provider(new_key("one"), seconds=1) as site, serve(site.issuer) as service:
        token = site.sign_in("ann")
        end = time.monotonic() + SECONDS
        while ask(service, token) != REFUSED:
            assert time.monotonic() < end, "it is still valid"
            time.sleep(0.5)


def test_keys_change_and_the_provider_is_away(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "_AGAIN_SECONDS", -1.0)
    monkeypatch.setattr(oidc, "_PAUSE_SECONDS", -1.0)
    first, second = new_key("one"), new_key("two")
    with provider(first, port=free_port()) as site:  # nobody has it while the provider is away
        old = site.sign_in("ann")
        issuer, port = site.issuer, int(site.issuer.rpartition(":")[2])
    with serve(issuer) as service:
        assert ask(service, old) == (503, "backend-unavailable"), "nobody is refused because of it"
        with provider(second, first, port=port) as site:
            new = site.sign_in("ann")
            assert ask(service, new) == (200, "ann")
            assert ask(service, old) == (200, "ann"), "the former key is still published"
        assert ask(service, new) == (200, "ann"), "keys that are known need no provider"
        with provider(second, port=port) as site:
            monkeypatch.setattr(oidc, "_KEYS_SECONDS", -1.0)
            assert ask(service, old) == REFUSED, "its key was withdrawn"
            assert ask(service, site.sign_in("bob")) == (200, "bob")


class Visitor:
    """A browser on the pages of the service, as far as signing in needs one."""

    def __init__(self, service: Client) -> None:
        self.service = service
        self.cookies: dict[str, str] = {}

    def ask(self, method: str, path: str, **headers: str) -> Any:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = self.service.ask("", method, path, headers={"Cookie": cookie, **headers})
        for line in answer.headers.get_all("Set-Cookie") or ():
            for name, morsel in SimpleCookie(line).items():
                assert morsel["httponly"] and morsel["secure"], line
                self.cookies[name] = morsel.value
        self.cookies = {name: value for name, value in self.cookies.items() if value}
        return answer

    def from_page(self, method: str, path: str) -> int:
        """The status of a request that a script of our page sends."""
        status: int = self.ask(method, path, **{"Sec-Fetch-Site": "same-origin"}).status_code
        return status

    def question(self) -> str:
        """Where the page's link leads, at the provider."""
        answer = self.ask("GET", "/session/provider")
        assert answer.status_code == 303
        location: str = answer.headers["Location"]
        return location

    def come_back(self, found: dict[str, str]) -> Any:
        query = urllib.parse.urlencode(found)
        return self.ask("GET", f"/session/provider/answer?{query}", **{"Sec-Fetch-Site": "cross-site"})


@pytest.fixture
def pages(
    configuration: Configuration, pool: Pool, people: dict[str, str], tmp_path: Path
) -> Callable[[str], contextlib.AbstractContextManager[Client]]:
    """Nucleus whose pages sign in at an issuer."""
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")

    def serve(issuer: str) -> contextlib.AbstractContextManager[Client]:
        values = {"issuer": issuer, "audience": "pages", "pages": True, "secret_file": str(file)}
        return started(changed(configuration, "oidc", **values), pool, people)

    return serve


def test_a_person_signs_in_on_the_pages_and_out(pages: Serve) -> None:
    """Code with PKCE, state and nonce; the session is a cookie of our page alone, until the person signs out."""
    with provider(new_key("one")) as site, pages(site.issuer) as service:
        visitor = Visitor(service)
        address = visitor.question()
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(address).query))
        assert query["redirect_uri"] == PAGE_CALLBACK and query["code_challenge_method"] == "S256"
        assert min(len(query[name]) for name in ("state", "nonce", "code_challenge")) >= 32
        found = site.answer(address, PAGE_CALLBACK, "ann")
        assert found["state"] == query["state"]
        question = dict(visitor.cookies)
        answer = visitor.come_back(found)
        assert (answer.status_code, answer.headers["Location"]) == (303, "http://site.example/page/clusters")
        assert list(visitor.cookies) == ["nucleus"], "the question is forgotten"
        assert visitor.from_page("GET", "/v1/user") == 200
        assert visitor.ask("GET", "/v1/user", **{"Sec-Fetch-Site": "cross-site"}).status_code == 401
        session = dict(visitor.cookies)
        assert visitor.from_page("DELETE", "/session") == 204 and visitor.cookies == {}
        visitor.cookies = session
        assert visitor.from_page("GET", "/v1/user") == 401, "a copy of the cookie has ended, too"
        visitor.cookies = question
        assert visitor.come_back(found).status_code == 401, "the provider takes a code once"
