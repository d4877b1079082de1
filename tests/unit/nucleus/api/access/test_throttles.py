"""How many of something there may be: at once, in a second, in a minute; time passes as the test says."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import pytest

from nucleus.api.access import throttles
from nucleus.api.access.throttles import AtOnce, DailyRate, Failures, Rate
from nucleus.api.problems import Problem
from tests.waiting import wait_until

ANN: Any = SimpleNamespace(actor="ann")
BOB: Any = SimpleNamespace(actor="bob")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """`now` is the time."""
    found = SimpleNamespace(now=1000.0)
    found.monotonic = lambda: found.now
    found.sleep = lambda seconds: setattr(found, "now", found.now + seconds)
    monkeypatch.setattr(throttles, "time", found)
    return found


def is_taken(rate: Rate, caller: Any) -> bool:
    try:
        rate.take(caller)
    except Problem as problem:
        assert (problem.code, problem.headers) == ("rate-limited", {"Retry-After": "1"})
        assert problem.detail == "more than 2 questions in a second; send it again in a second"
        return False
    return True


def test_a_rate_has_a_burst_and_refused_requests_do_not_count(clock: SimpleNamespace) -> None:
    rate = Rate("questions", 2, 3)
    assert [is_taken(rate, ANN) for _ in range(9)] == [True] * 3 + [False] * 6
    assert is_taken(rate, BOB)
    clock.now += 0.5
    assert [is_taken(rate, ANN) for _ in range(2)] == [True, False]
    clock.now += 600
    assert [is_taken(rate, ANN) for _ in range(4)] == [True] * 3 + [False]


def add_one(limit: AtOnce, user: int = 1) -> int:
    with limit.one_more(user):
        return limit.count


def test_one_more_is_waited_for_and_the_wait_has_an_end() -> None:
    limit = AtOnce("changes in progress", 1, retry_seconds=1, wait_seconds=60)
    with ThreadPoolExecutor(1) as threads:
        limit.take(1)
        waiting = threads.submit(add_one, limit)
        wait_until(lambda: vars(limit._lock)["_waiters"], "a wait")
        with limit.one_more(2):
            assert limit.count == 2, "another user"
        limit.give_back(1)
        assert waiting.result(60) == 1
    limit.take(1)
    limit.wait_seconds = 0.01
    with pytest.raises(Problem, match="you have 1 changes in progress") as raised:
        add_one(limit)
    assert (raised.value.code, raised.value.headers) == ("rate-limited", {"Retry-After": "1"})


def test_one_more_of_all_users_is_waited_for_too() -> None:
    limit = AtOnce("changes in progress", 9, 1, wait_seconds=60)
    with ThreadPoolExecutor(1) as threads:
        limit.take(1)
        waiting = threads.submit(add_one, limit, 2)
        wait_until(lambda: vars(limit._lock)["_waiters"], "a wait")
        limit.give_back(1)
        assert waiting.result(60) == 1


@pytest.mark.parametrize("each_second", [3, 50])
def test_who_asks_too_often_has_the_rate_all_the_same(clock: SimpleNamespace, each_second: int) -> None:
    rate, seconds = Rate("questions", 2, 3), 60
    taken = []
    for _ in range(seconds):
        taken.append(0)
        for _ in range(each_second):
            taken[-1] += is_taken(rate, ANN)
            clock.now += 1 / each_second
    assert 2 * seconds <= sum(taken) <= 2 * seconds + 3, "the rate, and the burst once"
    assert set(taken[2:]) <= {1, 2, 3}, "some in each second"
    while is_taken(rate, ANN):
        pass
    clock.now += 1
    assert is_taken(rate, ANN), "as Retry-After states"


def test_what_takes_long_counts_as_many(clock: SimpleNamespace) -> None:
    rate = Rate("questions", 2, 3)
    rate.check(ANN)
    rate.take(ANN)
    rate.charge(ANN, 12)
    for ask in (rate.check, rate.take):
        with pytest.raises(
            Problem, match="take long, and each counts as many; send it again in 5 s"
        ) as raised:
            ask(ANN)
        assert raised.value.headers == {"Retry-After": "5"}
    assert is_taken(rate, BOB)
    clock.now += 5.5
    rate.check(ANN)
    assert [is_taken(rate, ANN) for _ in range(2)] == [True, False]


def test_who_asks_one_after_the_other_waits_for_each_turn(clock: SimpleNamespace) -> None:
    """More than the burst, as the published client does for each node of a cluster: none is refused."""
    rate, begin = Rate("questions", 2, 3, max_waiting=1), clock.now
    assert [is_taken(rate, ANN) for _ in range(9)] == [True] * 9
    assert clock.now - begin == pytest.approx(3), "the burst at once, and six at the rate"


def test_few_wait_for_their_turn_and_the_others_are_refused(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many of one user, and of all users: each has a thread. The only one of its user has places of its own."""
    rate, waits, end = Rate("questions", 2, 3, max_waiting=2), list[float](), Event()
    monkeypatch.setattr(clock, "sleep", lambda seconds: (waits.append(seconds), end.wait(60)))
    threads = []

    def ask(name: str) -> None:
        threads.append(Thread(target=rate.take, args=(SimpleNamespace(actor=name),)))
        threads[-1].start()

    for number in range(4):
        for _ in range(5):
            ask(f"user{number}")
        wait_until(lambda count=2 * (number + 1): len(waits) == count, "two wait")  # type: ignore[misc]
        assert not is_taken(rate, SimpleNamespace(actor=f"user{number}"))
    assert sorted(waits) == [0.5] * 4 + [1.0] * 4
    for number in range(4):
        for _ in range(4):
            ask(f"single{number}")
        wait_until(lambda count=9 + number: len(waits) == count, "one waits beside the eight")  # type: ignore[misc]
        assert not is_taken(rate, SimpleNamespace(actor=f"single{number}")), "a second one of the user"
    assert waits[8:] == [0.5] * 4
    assert [is_taken(rate, ANN) for _ in range(4)] == [True] * 3 + [False], "twelve wait already"
    end.set()
    for thread in threads:
        thread.join(60)
    clock.now += 0.1
    assert is_taken(rate, ANN) and waits[-1] == pytest.approx(0.4)


def test_so_many_at_once_of_one_of_all_and_of_a_group() -> None:
    places = AtOnce("streams", 2, 3, retry_seconds=7)
    places.take(1, "a")
    with (
        places.one_more(1, "b"),
        pytest.raises(Problem, match="you have 2 streams; end one first, or wait") as raised,
    ):
        places.take(1)
    assert raised.value.headers == {"Retry-After": "7"}
    places.take(2, "a", 2)
    with pytest.raises(Problem, match="there are 2 streams of one host already, and no more"):
        places.take(3, "a", 2)
    places.take(3, "b", 2)
    with pytest.raises(Problem, match="there are 3 streams already, and no more"):
        places.take(4)
    assert (places.count, places.count_of("a")) == (3, 2)
    places.give_back(2, "a")
    places.take(4, "a", 2)
    assert (places.count, places.count_of("a"), places.count_of("b")) == (3, 2, 1)


def test_who_would_be_one_too_many_waits_for_a_turn() -> None:
    places = AtOnce("readings", 1, 2)

    async def have(user: int, host: str, max_of_host: int) -> str:
        async with places.turn(user, host, max_of_host):
            return "had"

    async def wait() -> list[str]:
        with places.one_more(1, "slow"):
            waiting = [asyncio.create_task(have(*one)) for one in ((1, "other", 1), (2, "slow", 1))]
            assert await have(3, "other", 1) == "had", "of another user, on another host"
            await asyncio.sleep(0.3)
            assert not any(one.done() for one in waiting) and places.count == 1
        return await asyncio.wait_for(asyncio.gather(*waiting), 60)

    assert asyncio.run(wait()) == ["had"] * 2 and places.count == places.count_of("slow") == 0


def test_wrong_credentials_are_counted_by_network_and_claim() -> None:
    failures, claim = Failures(), "token AAAAAAAA"
    for number in range(10):
        failures.count(f"2001:db8:0:1::{number:x}", claim)
        failures.count(f"::ffff:192.0.2.{number}", claim)
        failures.count(f"192.0.2.{number}", claim)
    for refused in (failures.check, failures.count):
        with pytest.raises(Problem, match="too many wrong credentials"):
            refused("2001:db8:0:1:ffff::9", claim)
    for other in ("2001:db8:0:2::1", "::ffff:192.0.2.1", "192.0.2.1", "unix socket"):
        failures.check(other, claim)
    failures.check("2001:db8:0:1::1", "token AAAAAAAB")


def test_a_stranger_with_any_number_of_claims_is_bounded() -> None:
    failures = Failures()
    for number in range(100):
        failures.count("192.0.2.1", f"token {number:08}")
    with pytest.raises(Problem, match="too many wrong credentials"):
        failures.check("192.0.2.1", "token AAAAAAAA")
    failures.check("192.0.2.1", "password ann")


def test_wrong_credentials_count_for_a_minute(clock: SimpleNamespace) -> None:
    """A claim is known by the beginning of its name."""
    failures = Failures()
    for number in range(10):
        failures.count("192.0.2.1", f"password {'x' * 128}{number}")
        clock.now += 1
    for passed, seconds in ((0, 50), (49.5, 1)):
        clock.now += passed
        with pytest.raises(Problem, match=f"wait {seconds} s") as raised:
            failures.check("192.0.2.1", f"password {'x' * 128}")
        assert raised.value.headers == {"Retry-After": str(seconds)}
    clock.now += 0.5
    failures.check("192.0.2.1", f"password {'x' * 128}")


def test_what_strangers_claim_fills_no_memory() -> None:
    """The oldest is forgotten: each of them has two entries of 10,000."""
    failures = Failures()
    for _ in range(10):
        failures.count("192.0.2.1", "token AAAAAAAA")
    for number in range(5000):
        with pytest.raises(Problem):
            failures.check("192.0.2.1", "token AAAAAAAA")
        failures.count(f"10.0.{number // 256}.{number % 256}", "token A")
    failures.check("192.0.2.1", "token AAAAAAAA")


def test_a_daily_rate_comes_back_evenly_over_the_day(clock: SimpleNamespace) -> None:
    rate = DailyRate("changes", 24)
    for _ in range(24):
        rate.take(ANN)
    with pytest.raises(Problem) as refused:
        rate.take(ANN)
    assert refused.value.headers == {"Retry-After": "3600"}
    assert (
        "you have had the 24 changes that the site allows in a day; wait 60 minutes" in refused.value.detail
    )
    rate.take(BOB)
    clock.now += 3600
    rate.take(ANN)
    rate.charge(BOB, 47)  # one of 48 nodes
    assert not rate.has_one_more("bob") and not rate.has_one_more("ann")
    clock.now += 12 * 3600
    assert rate.has_one_more("ann") and not rate.has_one_more("bob")
