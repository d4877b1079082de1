"""Tokens of the site's identity provider: its keys come by HTTP, and every other token is refused."""

import json
import queue
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from nucleus.api import app
from nucleus.api.problems import Problem
from nucleus.configuration import Configuration, OidcSettings
from nucleus.mirror.pool import Pool
from owners.accounts import oidc
from rocks.core import downloads
from rocks.core.errors import HostError
from tests.system.nucleus.api.conftest import changed, started
from tests.system.nucleus.api.oidc_provider import Provider, provider, running
from tests.web_service import make_certificate

__all__ = ["provider"]


def test_valid_tokens_and_others(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = oidc.Verifier(provider.settings)
    valid = provider.sign()
    assert verifier.claims(valid) == {"iss": provider.issuer, "sub": "s1", "username": "ann"}
    public = json.dumps(provider.keys[0].as_dict(private=False))
    stranger = ECKey.generate_key("P-256", {"kid": "one"})
    parts = valid.split(".")
    now = int(time.time())
    wrong = [
        provider.sign(aud="other"),
        provider.sign(aud=None),
        provider.sign(iss="https://elsewhere.example"),
        provider.sign(exp=now - 120),
        provider.sign(exp=None),
        provider.sign(sub=None),
        provider.sign(nbf=now + 3600),
        provider.sign(key=stranger),
        provider.sign(key=OctKey.import_key(public, {"kid": "one"}), algorithm="HS256"),
        jwt.encode({"alg": "none"}, provider.claims(), OctKey.import_key("x" * 32), algorithms=["none"]),
        f"{parts[0]}.{parts[1]}.",
        f"{parts[0]}.{jwt.encode({'alg': 'ES256'}, provider.claims(sub='s2'), stranger).split('.')[1]}.{parts[2]}",
        "a.b.c",
    ]
    for text in wrong:
        with pytest.raises(Problem) as caught:
            verifier.claims(text)
        assert caught.value.code == "not-authenticated", text
    monkeypatch.setattr(oidc, "_AGAIN_SECONDS", -1.0)
    provider.keys.append(ECKey.generate_key("P-256", {"kid": "two", "use": "sig", "alg": "ES256"}))
    assert verifier.claims(provider.sign())["sub"] == "s1", "the provider has new keys"


def test_a_provider_that_does_not_answer_is_no_wrong_token(provider: Provider) -> None:
    away = oidc.Verifier(OidcSettings(issuer="http://127.0.0.1:9"))
    with pytest.raises(Problem) as caught:
        away.claims(provider.sign())
    assert caught.value.code == "backend-unavailable"


def test_keys_come_by_https_only_wherever_the_provider_leads(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They were taken by plain HTTP behind a redirection: who is between makes himself everybody."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    certificate, key = make_certificate(tmp_path, "idp", "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setattr(oidc, "_PAUSE_SECONDS", 0.0)
    with running(Provider((certificate, key))) as secure:
        provider.keys = secure.keys
        token = secure.sign()
        secure.redirects = {"/keys": f"{provider.issuer}/keys"}
        with pytest.raises(Problem, match="does not answer"):
            oidc.Verifier(secure.settings).claims(token)
        assert provider.asked == [] and "not encrypted; this is not followed" in caplog.text
        secure.redirects = {"/keys": f"{secure.issuer}/other", "/other": f"{provider.issuer}/keys"}
        with pytest.raises(Problem, match="does not answer"):
            oidc.Verifier(secure.settings).claims(token)
        assert provider.asked == []
        about = secure.about()
        monkeypatch.setattr(secure, "about", lambda: {**about, "jwks_uri": "http://idp.example/keys"})
        with pytest.raises(Problem, match="does not answer"):
            oidc.Verifier(secure.settings).claims(token)
        assert "http://idp.example/keys is not encrypted" in caplog.text
        monkeypatch.setattr(secure, "about", lambda: {**about, "jwks_uri": f"{secure.issuer}/moved"})
        secure.redirects = {"/moved": f"{secure.issuer}/keys"}
        verifier = oidc.Verifier(secure.settings)
        assert verifier.claims(token)["sub"] == "s1", "by https it is followed"
        secure.redirects = {"/token": f"{secure.issuer}/elsewhere"}
        with pytest.raises(Problem, match="refused this sign-in"):
            verifier.exchange("code", "https://site.example/", "v" * 43)
        assert secure.asked[-1] == "/token", "a form with the secret of the client goes nowhere else"
        assert "what is sent is not sent elsewhere" in caplog.text


def test_a_provider_that_did_not_answer_is_not_asked_by_everybody(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(url: str, *_: Any, **__: Any) -> None:
        asked.append(url)
        raise HostError("it does not answer")

    monkeypatch.setattr(downloads, "fetch", refuse)
    monkeypatch.setattr(oidc, "_PAUSE_SECONDS", 600.0)
    away = oidc.Verifier(provider.settings)
    for _ in range(3):
        with pytest.raises(Problem, match="does not answer"):
            away.claims(provider.sign())
    assert len(asked) == 1


def test_a_provider_that_does_not_answer_yet_holds_up_few(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answers, refusals = threading.Event(), threading.Event(), queue.SimpleQueue[str]()

    def hang(*_: Any, **__: Any) -> None:
        asked.set()
        answers.wait(60)
        raise HostError("it does not answer")

    def ask() -> None:
        try:
            verifier.claims(provider.sign())
        except Problem as problem:
            refusals.put(problem.detail)

    monkeypatch.setattr(downloads, "fetch", hang)
    verifier = oidc.Verifier(provider.settings)
    threads = [threading.Thread(target=ask) for _ in range(oidc._MAX_WAITING + 3)]
    for thread in threads:
        thread.start()
    try:
        assert asked.wait(60)
        found = [refusals.get(timeout=60) for _ in range(3)]
        assert not answers.is_set() and all(one.startswith("too many requests wait") for one in found)
    finally:
        answers.set()
        for thread in threads:
            thread.join(60)
    assert refusals.qsize() == oidc._MAX_WAITING
    with pytest.raises(Problem, match="does not answer"):
        verifier.claims(provider.sign())


def test_who_waits_for_the_provider_holds_up_nobody_with_a_token(
    provider: Provider,
    configuration: Configuration,
    pool: Pool,
    people: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting, answers = queue.SimpleQueue[str](), threading.Event()

    def hang(verifier: oidc.Verifier, text: str, nonce: str = "") -> dict[str, str]:
        waiting.put(text)
        answers.wait(60)
        raise Problem("backend-unavailable", "it does not answer")

    def ask() -> None:
        statuses.put(service.get("stranger", "/v1/cluster").status_code)

    monkeypatch.setattr(oidc.Verifier, "claims", hang)
    statuses = queue.SimpleQueue[int]()
    settings = changed(configuration, "oidc", issuer=provider.issuer)
    with started(settings, pool, people | {"stranger": "a.b.c"}) as service:
        threads = [threading.Thread(target=ask) for _ in range(app._QUICK_THREADS)]
        for thread in threads:
            thread.start()
        try:
            for _ in threads:
                waiting.get(timeout=60)
            assert service.get("ann", "/v1/cluster/vc2").status_code == 200
            assert not answers.is_set() and statuses.empty()
        finally:
            answers.set()
            for thread in threads:
                thread.join(60)
        assert [statuses.get(timeout=60) for _ in threads] == [503] * len(threads)


def test_a_subject_is_bound_to_one_user(
    provider: Provider, configuration: Configuration, pool: Pool, people: dict[str, str]
) -> None:
    people |= {
        "one": provider.sign(),
        "two": provider.sign(sub="s2"),
        "nobody": provider.sign(preferred_username="x"),
        "accent": provider.sign(sub="s3", preferred_username="bób"),
    }
    settings = changed(configuration, "oidc", issuer=provider.issuer)
    with started(settings, pool, people) as service:
        assert [one["name"] for one in service.get("one", "/v1/cluster").json()] == ["vc2"]
        assert service.get("two", "/v1/cluster").status_code == 401, "another subject with the name of ann"
        assert service.get("accent", "/v1/cluster").status_code == 401, "the database finds bob by this name"
        assert service.get("one", "/v1/cluster/vc3").status_code == 404
        other = people | {"renamed": provider.sign(preferred_username="bob")}
        service.tokens = other
        assert service.get("renamed", "/v1/user").json()["username"] == "ann", "the subject decides"
