"""What a host is asked in a dry run, and what is answered in its place."""

from typing import Any

import pytest

from rocks.core import dry_run
from rocks.core.errors import HostError
from rocks.fleet.session import ANSWERS, ask_in_dry_run
from rocks.fleet.wire.calls import CALLS
from rocks.fleet.wire.facts import (
    AdapterFact,
    AdapterFacts,
    AdapterSpec,
    AdaptersRequest,
    DiskFact,
    DomainFact,
    FactsRequest,
    Fence,
    HostFacts,
    LeaseEnd,
)
from rocks.fleet.wire.requests import (
    DiskSpec,
    OperationOutcome,
    PerformReply,
    PerformRequest,
    StartDomain,
    StopDomain,
)


def domain(name: str, state: str = "running", token: int | None = 5) -> DomainFact:
    return DomainFact(name, f"uuid of {name}", state, token, 64, 1, False, True, False)


class Host:
    """A host with these domains and disks, which notes what it is asked."""

    def __init__(self, *domains: DomainFact, disks: tuple[str, ...] = ()) -> None:
        self.domains, self.disks, self.asked = domains, disks, []

    def ask(self, request: Any) -> Any:
        self.asked.append(request)
        if isinstance(request, AdaptersRequest):
            return AdapterFacts(tuple(AdapterFact(one.device, 8, "", ()) for one in request.adapters))
        if isinstance(request, PerformRequest):
            return PerformReply(
                tuple(
                    OperationOutcome(one.name, True, steps=(f"step of {one.name}",))
                    for one in request.operations
                )
            )
        assert isinstance(request, FactsRequest)
        disks = tuple(DiskFact(path, path in self.disks, False, 0, 10**12, 10**12) for path in request.disks)
        return HostFacts(4096, 4, True, True, self.domains, disks, (), epoch=3)


def test_every_call_of_an_agent_has_its_answer() -> None:
    assert set(ANSWERS) == {call.request for call in CALLS.values()}


def test_facts_are_asked_without_fences_leases_and_epoch(lines: list[str]) -> None:
    host = Host(domain("old", token=4), domain("foreign", token=None), domain("runs"))
    request = FactsRequest(
        ("/vm/a",),
        (Fence("old", 5), Fence("foreign", 5), Fence("absent", 5)),
        (LeaseEnd("runs", 5), LeaseEnd("gone", 7)),
        epoch=4,
    )
    found = ask_in_dry_run("vmh1", request, host.ask)
    assert host.asked == [FactsRequest(("/vm/a",))]
    assert (found.fenced, found.ended, found.epoch) == (("old", "absent"), ("gone",), 4)
    assert [one.name for one in found.domains] == ["foreign", "runs"]
    assert "vmh1: would destroy old, whose lease another host has taken over" in lines
    assert "vmh1: would end the lease of gone, which does not run there" in lines
    assert not any("foreign" in line or "of runs" in line for line in lines)


def test_the_steps_that_the_host_plans_are_printed_and_nothing_is_done(lines: list[str]) -> None:
    host = Host(domain("old", token=4))
    dry_run.assume_device("vmh1", "/dev/mapper/a-vol")
    disks = (DiskSpec("/dev/mapper/a-vol", "raw", 1, True), DiskSpec("/vm/b", "raw", 2, False))
    operations = (StartDomain("new", 1, "<domain/>", disks), StopDomain("runs"))
    reply = ask_in_dry_run("vmh1", PerformRequest(operations, (Fence("old", 5),), 4), host.ask)
    planned = PerformRequest(operations, (Fence("old", 5),), assumed_disks=("/dev/mapper/a-vol",))
    assert host.asked == [FactsRequest(), planned]
    assert lines == [
        "vmh1: would destroy old, whose lease another host has taken over",
        "vmh1: would refuse starts of old under leases below 5",
        "vmh1: would refuse starts under leases of epochs before 4",
        "vmh1: would step of new",
        "vmh1: would step of runs",
    ]
    assert [one.name for one in reply.outcomes] == ["new", "runs"]


def test_a_host_that_does_not_answer_fails_as_in_a_real_run(lines: list[str]) -> None:
    def ask(request: Any) -> Any:
        raise HostError("vmh1 did not answer")

    with pytest.raises(HostError, match="vmh1 did not answer"):
        ask_in_dry_run("vmh1", PerformRequest((StopDomain("vm"),)), ask)
    assert lines == []


def test_what_follows_missing_virtual_functions_is_not_known(lines: list[str]) -> None:
    host = Host()
    with pytest.raises(dry_run.UnknownReplyError, match="what follows depends on these virtual functions"):
        ask_in_dry_run("vmh1", AdaptersRequest((AdapterSpec("eth0", 4),)), host.ask)
    assert host.asked == [AdaptersRequest((AdapterSpec("eth0", 0),))]
    assert lines == ["vmh1: would make 4 virtual functions of eth0"]


def test_a_device_that_is_taken_as_mapped_exists(lines: list[str]) -> None:
    dry_run.assume_device("vmh1", "/dev/mapper/a-vol")
    request = FactsRequest(("/dev/mapper/a-vol", "/dev/mapper/b-vol"))
    found = ask_in_dry_run("vmh1", request, Host().ask)
    assert [(disk.exists, disk.is_block) for disk in found.disks] == [(True, True), (False, False)]
