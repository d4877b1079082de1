"""What the hosts' reports make of the leases of a restored database (decision 31)."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.fleet.wire.facts import EPOCH_TOKENS, DomainFact, HostFacts, LeaseFact, epoch_of
from rocks.inventory.records import Lease
from rocks.leases.after_restore import (
    MAX_NEW_TOKENS,
    Recovery,
    impossible_claim,
    knows_more,
    next_epoch,
    plan_recovery,
)


def domain(
    name: str, token: int | None, state: Literal["running", "paused", "shutoff"] = "running"
) -> DomainFact:
    """A domain as its host reports it."""
    return DomainFact(name, "u", state, token, 64, 1, False, True, False)


def facts(*domains: DomainFact, epoch: int = 0, leases: tuple[LeaseFact, ...] = ()) -> HostFacts:
    """The answer of a host."""
    return HostFacts(1, 1, True, True, domains, (), (), (), epoch=epoch, leases=leases)


def held(name: str, token: int, host: str) -> Lease:
    """A lease in the database."""
    return Lease(name, token, host, "running")


def test_a_machine_that_runs_where_the_database_says_is_left_alone() -> None:
    plan = plan_recovery({"a": held("a", 3, "H1")}, {"a": "h1"}, {"h1": facts(domain("a", 3))}, (), 1)
    assert (plan.found, plan.fences) == ((), ())


def test_a_machine_gets_the_lease_of_the_host_on_which_it_runs() -> None:
    hosts = {"h1": facts(), "h2": facts(domain("a", 5), domain("unknown", 2), domain("foreign", None))}
    plan = plan_recovery({"a": held("a", 3, "h1")}, {"a": "h1"}, hosts, (), 1)
    assert plan.found == (("a", 5, "h2"), ("unknown", 2, "h2"))


def test_a_machine_that_runs_under_a_later_lease_of_its_host_gets_that_lease() -> None:
    """Else the next start would have a token that its host has seen, or a lower one."""
    plan = plan_recovery({"a": held("a", 3, "h1")}, {"a": "h1"}, {"h1": facts(domain("a", 5))}, (), 1)
    assert plan.found == (("a", 5, "h1"),)


@pytest.mark.parametrize(
    ("answer", "claim"),
    [
        (facts(epoch=9), "lease epoch 9 (in /var/lib/rocks/leases/.epoch)"),
        (
            facts(domain("a", 9 * EPOCH_TOKENS)),
            f"lease {9 * EPOCH_TOKENS} of a (in the definition of its domain)",
        ),
        (
            facts(leases=(LeaseFact("a", 4 * EPOCH_TOKENS - 1),)),
            f"lease {4 * EPOCH_TOKENS - 1} of a (in /var/lib/rocks/leases/a)",
        ),
        (facts(domain("b", MAX_NEW_TOKENS + 1)), f"lease {MAX_NEW_TOKENS + 1} of b"),
        (facts(domain("n" * 129, 1)), f"lease 1 of '{'n' * 80}' (in the definition of its domain)"),
        (facts(leases=(LeaseFact("n" * 129, 1),)), f"lease 1 of {'n' * 129} (in /var/lib/rocks/leases/nnn"),
    ],
    ids=[
        "epoch",
        "epoch of a token",
        "token of the epoch",
        "token before there were epochs",
        "domain",
        "lease",
    ],
)
def test_what_no_database_of_the_site_can_have_granted(answer: HostFacts, claim: str) -> None:
    found = impossible_claim(answer, 8, {"a": held("a", 3 * EPOCH_TOKENS + 5, "h1")})
    assert found is not None and found.startswith(claim)


def test_what_a_restored_database_may_have_forgotten_is_possible() -> None:
    granted = {"a": held("a", 3 * EPOCH_TOKENS + 5, "h1")}
    later = 3 * EPOCH_TOKENS + 5 + MAX_NEW_TOKENS
    answer = facts(domain("a", later), domain("b", 8 * EPOCH_TOKENS + 7), domain("c", None), epoch=8)
    assert impossible_claim(answer, 8, granted) is None
    assert impossible_claim(facts(leases=(LeaseFact("a", later),)), 8, granted) is None


def test_no_host_takes_an_active_machine_from_the_host_of_its_lease() -> None:
    """A forged token on a host is not a reason to move the lease, nor to destroy the true domain."""
    hosts = {"h1": facts(domain("a", 3)), "h2": facts(domain("a", 99_999_999_999))}
    for leases in ({"a": held("a", 3, "h1")}, {"a": Lease("a", 3, None, "released")}, {}):
        plan = plan_recovery(leases, {"a": "h1"}, hosts, (), 30)
        assert [host for _, _, host in plan.found] == (
            [] if leases.get("a") == held("a", 3, "h1") else ["h1"]
        )
        assert plan.fences == ()
        assert plan.disputed == (("a", "h1", ("h2",)),)


def test_of_two_active_domains_that_the_database_places_nowhere_both_stay() -> None:
    hosts = {
        "h1": facts(domain("a", 5)),
        "h2": facts(domain("a", 7, "paused")),
        "h3": facts(domain("a", 6, "shutoff")),
    }
    plan = plan_recovery({}, {}, hosts, (), 1)
    assert plan.found == (("a", 7, "h2"),)
    assert plan.fences == ()
    assert plan.disputed == (("a", "h2", ("h1",)),)


def test_a_claim_below_the_lease_of_a_host_that_answers_moves_nothing() -> None:
    hosts = {"h1": facts(), "h2": facts(domain("a", 5))}
    plan = plan_recovery({"a": held("a", 7, "h1")}, {"a": "h1"}, hosts, (), 1)
    assert (plan.found, plan.fences) == ((), ())
    assert plan.disputed == (("a", "h1", ("h2",)),)


def test_an_inactive_definition_goes_only_where_the_database_confirms_the_place() -> None:
    hosts = {"h1": facts(domain("a", 3, "shutoff")), "h2": facts(domain("a", 9))}
    claimed = plan_recovery({"a": held("a", 3, "h1")}, {"a": "h1"}, hosts, (), 1)
    assert (claimed.found, claimed.fences) == ((("a", 9, "h2"),), ())
    placed = plan_recovery({"a": held("a", 9, "h2")}, {"a": "h2"}, hosts, (), 1)
    assert placed.fences == (("h1", "a", 9),)


MOVING = Lease("A", 9, "h1", "moving", None, "H2")
"""A live migration that has not ended."""


@pytest.mark.parametrize(
    "hosts",
    [
        {"h1": facts(domain("a", 9)), "h2": facts(domain("a", 9, "paused"))},
        {"h1": facts(domain("a", 9, "paused")), "h2": facts(domain("a", 9, "paused"))},
        {"h1": facts(), "h2": facts(domain("a", 9))},
        {"h1": facts(domain("a", 9, "shutoff")), "h2": facts(domain("a", 9))},
        {"h1": facts(domain("a", 8)), "h2": facts()},
        {"h1": facts(), "h2": facts(domain("a", 9, "shutoff"))},
    ],
)
def test_a_live_migration_that_has_not_ended_is_left_to_its_command(hosts: dict[str, HostFacts]) -> None:
    assert plan_recovery({"a": MOVING}, {"a": "h1"}, hosts, (), 1) == Recovery((), (), ())


@pytest.mark.parametrize("active", [{"h3": 9}, {"h2": 10}, {"h1": 10}, {"h2": 9, "h3": 5}])
def test_a_machine_that_moved_and_runs_otherwise_is_found(active: dict[str, int]) -> None:
    """The copy of the database is older than the end of the migration."""
    hosts = {
        host: facts(domain("a", active[host])) if host in active else facts() for host in ("h1", "h2", "h3")
    }
    plan = plan_recovery({"a": MOVING}, {"a": "h1"}, hosts, (), 1)
    assert plan.found or plan.disputed


def test_neither_host_of_a_live_migration_gets_a_fence_while_it_is_off() -> None:
    for active, off in (("h1", "h2"), ("h2", "h1")):
        plan = plan_recovery({"a": MOVING}, {"a": "h1"}, {active: facts(domain("a", 9))}, [off, "h3"], 1)
        assert plan.fences == (("h3", "A", EPOCH_TOKENS),)


def test_a_host_that_is_off_gets_fences_for_all_machines_but_its_own() -> None:
    leases = {"a": held("a", 3, "h2"), "b": held("b", 3, "h2"), "c": Lease("c", 9, None, "released")}
    plan = plan_recovery(leases, dict.fromkeys("abd", ""), {"h1": facts(domain("b", 4))}, ["h2"], 2)
    assert plan.found == (("b", 4, "h1"),)
    assert plan.fences == tuple(("h2", name, 2 * EPOCH_TOKENS) for name in ("b", "c", "d"))


def test_a_new_site_begins_without_an_epoch() -> None:
    assert next_epoch(0, 0, [], {"h1": facts()}) == 0


def test_hosts_that_have_seen_what_was_granted_know_no_more() -> None:
    """The host stores 4 when lease 3 has ended, and the first token of an epoch for a machine that never ran."""
    granted = {"a": held("A", 3, "h1")}
    hosts = {"h1": facts(domain("a", 3), leases=(LeaseFact("a", 4), LeaseFact("b", EPOCH_TOKENS)), epoch=1)}
    assert not knows_more(granted, hosts, 1)
    assert knows_more(granted, hosts, 0)


def test_a_host_with_a_later_token_or_epoch_knows_more() -> None:
    granted = {"a": held("a", 3, "h1")}
    for answer in (
        facts(epoch=1),
        facts(domain("a", 4, "shutoff")),
        facts(leases=(LeaseFact("a", 5),)),
        facts(domain("b", 1)),
    ):
        assert knows_more(granted, {"h1": answer}, 0)


tokens = st.integers(0, 5 * EPOCH_TOKENS)


@given(
    st.integers(0, 9),
    st.integers(0, 9),
    st.lists(tokens),
    st.lists(tokens),
    st.lists(tokens, min_size=1),
    st.integers(0, 9),
)
def test_the_next_epoch_is_above_everything_that_was_ever_seen(
    present: int, recorded: int, rows: list[int], domains: list[int], remembered: list[int], seen: int
) -> None:
    hosts = {
        "h1": facts(*(domain(f"d{token}", token) for token in domains), epoch=seen),
        "h2": facts(leases=tuple(LeaseFact(f"l{token}", token) for token in remembered)),
    }
    epoch = next_epoch(present, recorded, [Lease("a", token, None, "released") for token in rows], hosts)
    assert epoch > max(present, recorded, seen)
    assert epoch * EPOCH_TOKENS > max([*rows, *domains, *remembered])
    assert epoch_of(epoch * EPOCH_TOKENS) == epoch
