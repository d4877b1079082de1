"""Wrong credentials are counted, and slow down nobody who has right ones."""

import base64
import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import bcrypt
import pytest

from nucleus.api.access import authentication, credentials, throttles
from nucleus.configuration import Configuration
from nucleus.mirror.pool import Pool
from tests.system.nucleus.api.conftest import MODERN, changed, started
from tests.system.nucleus.api.http_client import Client
from tests.system.nucleus.conftest import sql
from tests.waiting import wait_until

STALE = "Bearer nuc_AAAAAAAA_" + "0" * 43


def basic(name: str, password: str) -> str:
    """The header for a name and a password."""
    return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


def statuses(service: Client, *credentials: str) -> list[int]:
    """What requests with these are answered, one after the other."""
    sent = [{"Authorization": one, **MODERN} for one in credentials]
    return [service.get("", "/v1/user", headers=headers).status_code for headers in sent]


def statuses_at_once(service: Client, credentials: str, count: int) -> Counter[int]:
    """How often which status comes when so many are sent at the same time."""
    with ThreadPoolExecutor(count) as threads:
        found = threads.map(lambda _: statuses(service, credentials)[0], range(count))
        return Counter(found)


def test_wrong_credentials_of_every_kind_are_recorded_and_counted(service: Client, pool: Pool) -> None:
    kinds = ["Bearer nuc_AAAAAAAA_" + "0" * 43, "Bearer a.b.c", "Bearer x", "Basic !", "Digest x"]
    kinds += [f"Basic {base64.b64encode(b'ann:wrong').decode()}", 'Signature algorithm="x"']
    for kind in kinds:
        answer = service.get("", "/v1/user", headers={"Authorization": kind})
        assert answer.status_code == 401, kind
    service.get("", "/v1/user")
    recorded = sql(pool, "SELECT target, outcome FROM audit WHERE action = 'authenticate'")
    assert recorded == [("/v1/user", "not-authenticated")] * len(kinds), "nobody without credentials"
    for _ in range(6):
        service.get("", "/v1/user", headers={"Authorization": "Bearer x"})
    answer = service.get("", "/v1/user", headers={"Authorization": "Bearer x", **MODERN})
    assert answer.status_code == 429 and int(answer.headers["Retry-After"]) > 0
    assert service.get("ann", "/v1/user").status_code == 200, "who has a token does not notice"


def test_a_stale_token_slows_down_itself_alone(service: Client) -> None:
    assert statuses(service, *[STALE] * 12) == [401] * 10 + [429] * 2
    mistyped = STALE.replace("AAAAAAAA", "AAAAAAAB")
    valid = service.tokens["ann"]
    assert statuses(service, mistyped, f"Bearer {valid}", basic("ann", valid)) == [401, 200, 200]
    damaged = valid[:-1] + ("x" if valid[-1] != "x" else "y")
    assert statuses(service, *[f"Bearer {damaged}"] * 11) == [401] * 10 + [429]
    assert statuses(service, f"Bearer {valid}") == [200], "wrong ones of its own number do not end it"


def test_of_many_at_once_exactly_the_limit_is_looked_at(service: Client, pool: Pool) -> None:
    assert statuses_at_once(service, STALE, 40) == {401: 10, 429: 30}
    assert len(sql(pool, "SELECT 1 FROM audit WHERE action = 'authenticate'")) == 10


def test_a_guesser_has_an_end_also_with_the_number_of_another_token_each_time(
    service: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttles, "MAX_FAILURES_OF_KIND", 15)
    tokens = [f"Bearer nuc_{number:08}_" + "0" * 43 for number in range(16)]
    assert statuses(service, *tokens) == [401] * 15 + [429]
    assert service.get("ann", "/v1/user").status_code == 200


@pytest.fixture
def with_passwords(configuration: Configuration, tmp_path: Path) -> Configuration:
    """A site of which ann and bob have a password, and two whom the database would take for them."""
    file = tmp_path / "passwords"
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
    file.write_text("".join(f"{name}:{hashed}\n" for name in ("ann", "bob", "änn", "böb")), "utf-8")
    return changed(configuration, "authentication", password_file=str(file))


def test_passwords_are_not_guessed_at_the_side_of_others(
    with_passwords: Configuration, pool: Pool, people: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "MAX_PASSWORDS_OF_NAME", 20)
    with started(with_passwords, pool, people) as service:
        assert statuses_at_once(service, basic("ann", "right"), 20) == {200: 20}
        assert statuses_at_once(service, basic("ann", "wrong"), 20) == {401: 10, 429: 10}
        assert statuses(service, basic("ann", "right")) == [429], "else the limit would bound no guesses"
        assert statuses(service, basic("bob", "right"), f"Bearer {people['ann']}") == [200, 200]


def test_a_name_with_an_accent_is_another_one(
    with_passwords: Configuration, pool: Pool, people: dict[str, str]
) -> None:
    """The password file has more people than Nucleus; the database finds ann by the name änn."""
    with started(with_passwords, pool, people) as service:
        found = statuses(service, *(basic(name, "right") for name in ("änn", "böb", "ann")))
    assert found == [401, 401, 200]


def test_passwords_leave_threads_to_all_others(
    with_passwords: Configuration, pool: Pool, people: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also right ones, as many as somebody sends at once; a check takes a tenth of a second or more.

    One person leaves places to others: two of a name are checked at a time, and two of another one beside them.
    """
    checked, may_go_on = list[str](), threading.Event()

    def fits(_passwords: str, name: str, _password: str) -> bool:
        checked.append(name)
        return may_go_on.wait(60)

    monkeypatch.setattr(credentials, "password_fits", fits)
    places = authentication.MAX_PASSWORDS_OF_NAME
    with started(with_passwords, pool, people) as service, ThreadPoolExecutor(60) as threads:
        sent: list[list[Future[list[int]]]] = []
        try:
            for name in ("ann", "bob", "root"):
                sent.append([threads.submit(statuses, service, basic(name, "right")) for _ in range(20)])
                wait_until(lambda: sum(one.done() for one in sent[-1]) == 20 - places)
                wait_until(lambda name=name: name == "root" or checked.count(name) == 2)  # type: ignore[misc]
            assert statuses(service, basic("eve", "right")) == [503], "all places are taken"
            assert checked == ["ann"] * 2 + ["bob"] * 2
            assert statuses(service, f"Bearer {people['bob']}") == [200]
        finally:
            may_go_on.set()
        found = [Counter(one.result()[0] for one in answers) for answers in sent]
    assert found == [{200: places, 503: 20 - places}] * 3
