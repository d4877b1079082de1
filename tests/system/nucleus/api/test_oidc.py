"""Tokens of the site's identity provider: its keys come by HTTP, and every other token is refused."""

import json
import queue
import threading
import time
import urllib.request
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from nucleus.api import app
from nucleus.api.access import oidc
from nucleus.api.problems import Problem
from nucleus.configuration import Configuration, OidcSettings
from nucleus.mirror.pool import Pool
from tests.system.nucleus.api.conftest import changed, started
from tests.system.nucleus.api.oidc_provider import Provider, provider

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


def test_a_provider_that_did_not_answer_is_not_asked_by_everybody(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(url: str, *_: Any, **__: Any) -> None:
        asked.append(url)
        raise OSError

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
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
        raise OSError

    def ask() -> None:
        try:
            verifier.claims(provider.sign())
        except Problem as problem:
            refusals.put(problem.detail)

    monkeypatch.setattr(urllib.request, "urlopen", hang)
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
