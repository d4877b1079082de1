"""Who may run a virtual machine now (decision 3)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rocks.core.errors import HostError, StateError
from rocks.fleet.wire.facts import DomainFact, DomainState, HostFacts, LeaseFact
from rocks.inventory.records import Lease
from rocks.leases.plan import (
    AskHolder,
    KeepLease,
    LeaseStep,
    TakeLease,
    disk_keys,
    has_arrived,
    holder_is_silent,
    holders_to_ask,
    is_off_on_both,
    place_of,
    plan_lease,
)
from tests.unit.machines import container, machine

DISK = ("vmc-0-0", "/images/web.vda")
RELEASED = Lease("web", 7, None, "released")


def held(host: str = "vmc-0-0", state: str = "running", token: int = 7) -> Lease:
    """A lease that somebody holds."""
    return Lease("web", token, host, state)


@pytest.mark.parametrize("lease", [None, RELEASED])
def test_a_free_lease_is_taken_for_the_container_and_its_disks(lease: Lease | None) -> None:
    own, elsewhere = {DISK: "WEB"}, {("vmc-0-1", "/images/web.vda"): "old"}
    for holds in ({}, own, elsewhere):
        assert plan_lease(machine(), lease, holds) == TakeLease(), holds


@pytest.mark.parametrize("state", ["starting", "running", "stopping"])
@pytest.mark.parametrize("host", ["vmc-0-0", "VMC-0-0"])
def test_a_lease_of_the_same_host_persists_until_its_facts_are_known(state: str, host: str) -> None:
    lease = held(host, state)
    assert plan_lease(machine(), lease, {DISK: "web"}) == KeepLease(lease)


@pytest.mark.parametrize("state", ["starting", "running", "stopping"])
def test_only_the_holder_can_free_a_lease_of_another_host(state: str) -> None:
    lease = held("vmc-0-1", state)
    assert plan_lease(machine(), lease, {}) == AskHolder(lease, "vmc-0-0")


@pytest.mark.parametrize("lease", [None, RELEASED, held(), held("vmc-0-1")])
def test_a_disk_of_another_machine_is_refused(lease: Lease | None) -> None:
    with pytest.raises(StateError, match="its disk /images/web.vda on vmc-0-0 is in use by old"):
        plan_lease(machine(), lease, {DISK: "old"})


def test_the_second_disk_counts_as_the_first() -> None:
    two = machine(disks=["file:/images/a,vda,virtio", "phy:/dev/vg/b,vdb,virtio"])
    assert disk_keys(two) == (("vmc-0-0", "/images/a"), ("vmc-0-0", "/dev/vg/b"))
    with pytest.raises(StateError, match="/dev/vg/b on vmc-0-0 is in use by old"):
        plan_lease(two, None, {("vmc-0-0", "/dev/vg/b"): "old"})


def test_a_machine_may_be_where_its_lease_is_else_on_its_container() -> None:
    placed = machine(place=container("vmc-0-0"))
    nowhere = replace(placed, container=None)
    assert place_of(placed, None) == place_of(placed, RELEASED) == "vmc-0-0"
    assert place_of(placed, held("vmc-0-1")) == place_of(nowhere, held("vmc-0-1")) == "vmc-0-1"
    assert place_of(nowhere, None) is place_of(nowhere, RELEASED) is None
    assert disk_keys(nowhere) == ()


def test_only_holders_that_must_give_up_a_lease_are_asked_besides_the_containers() -> None:
    steps: list[LeaseStep] = [
        TakeLease(),
        KeepLease(held("vmc-0-2")),
        AskHolder(held("vmc-0-1"), "vmc-0-0"),
    ]
    assert holders_to_ask(steps) == {"vmc-0-1"}


def test_the_error_of_a_silent_holder_names_the_remedy() -> None:
    message = str(holder_is_silent(held("vmc-0-1"), "no route to host"))
    assert message.startswith("web is not started: it may still be running on vmc-0-1, which does not answer")
    assert "no route to host" in message
    assert "rocks stop host vm web force=yes reason=" in message


# Where a machine is whose live migration was interrupted: at every combination of what both hosts report.

LEASE = Lease("g", 7, "old", "moving", None, "new")
SILENT = HostError("the host does not answer")


def host(state: DomainState | None, token: int = 7, remembered: int = 7) -> HostFacts:
    """A host with the domain in this state; None: without it."""
    domain = DomainFact("g", "u", state or "shutoff", token, 64, 1, False, True, False, ())
    domains = () if state is None else (domain,)
    leases = (LeaseFact("g", remembered),)
    return HostFacts(1, 1, True, True, domains, (), (), leases=leases)


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        (host("paused"), host("running"), True),
        (host(None, remembered=8), host("running"), True),
        (SILENT, host("running"), True),
        # it has ended or paused on the new host since
        (host(None, remembered=8), host("shutoff"), True),
        (host(None, remembered=8), host("paused"), True),
        (host("paused"), host("shutoff"), True),
        # the old host has ended the lease, which it does only when the machine has moved
        (host(None, remembered=8), host(None), True),
        (host(None, remembered=8), SILENT, True),
        # the new host alone does not end a machine that runs
        (host("running"), host("running"), False),
        (host("running", token=6), host("running"), False),
        (host("running"), SILENT, False),
        (host("paused"), host(None), False),
        (host("paused"), host("running", token=5), False),
        (host("shutoff"), host(None), False),
        (host(None), host(None), False),
        (SILENT, host(None), False),
        (host("paused"), SILENT, None),
        (SILENT, SILENT, None),
    ],
)
def test_where_it_is(
    here: HostFacts | HostError, there: HostFacts | HostError, expected: bool | None
) -> None:
    assert has_arrived(LEASE, here, there) is expected
    assert has_arrived(replace(LEASE, name="G"), here, there) is expected, "the case of a name says nothing"


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        (host("shutoff"), host(None), True),
        (host(None, remembered=8), host("shutoff"), True),
        (host("paused"), host(None), False),
        (host(None), host("running"), False),
        (host(None), SILENT, False),
        (SILENT, host(None), False),
    ],
)
def test_it_is_off_on_both_when_both_say_so(
    here: HostFacts | HostError, there: HostFacts | HostError, expected: bool
) -> None:
    assert is_off_on_both("G", "old", "new", {"old": here, "new": there}) is expected
    assert not is_off_on_both("G", "old", "new", {"old": here})
