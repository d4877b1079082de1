"""Commands on machines and hosts while a live migration has not ended: nothing is decided over its head."""

from dataclasses import replace

import pytest

from rocks.cluster.vlan_devices import plan_networks
from rocks.core.errors import BusyError, HostError, RocksError, StateError
from rocks.fleet.agent_line import AnsweringError
from rocks.fleet.connection import CannotAskError
from rocks.fleet.wire.facts import HostFacts
from rocks.fleet.wire.requests import OperationOutcome, StartDomain
from rocks.leases import lease as leases
from rocks.leases.after_restore import all_leases, hosts_with_machines, record_found
from rocks.machine import drain, interrupted_moves, stop
from rocks.machine import listing as vm_states
from rocks.machine import live_move as live_moves
from rocks.machine import start as vm_start
from rocks.machine.move import MovePlan, MoveReporter
from rocks.machine.record import hosts_of_vlans, load_vms
from rocks.machine.spec import MachineSpec, container_of
from rocks.machine.stop import Force
from rocks.site import checks as site_checks
from rocks.site import overview as site_overview
from tests.system.commands.conftest import Site
from tests.system.commands.vms.moves import (
    FORCE,
    INTERRUPTED,
    NEW,
    OLD,
    SILENT,
    STAYS,
    answers,
    host_with,
    lease,
)


def test_force_ends_no_move_that_a_command_is_at_work_on(moving: Site) -> None:
    answers(moving, SILENT, SILENT)
    moving.database.lock("vm web", 0)
    assert "another command is changing web at this moment" in moving.refused(*FORCE)
    assert lease(moving) == STAYS and moving.database.rows("SELECT * FROM vm_fences") == []
    moving.database.unlock("vm web")
    assert moving.rocks(*FORCE).status == 0
    assert lease(moving) == ("released", None, None)
    assert moving.database.rows("SELECT Host, Token FROM vm_fences ORDER BY Host") == [(OLD, 8), (NEW, 8)]


def test_force_names_the_machine_whose_new_host_cannot_be_fenced(moving: Site) -> None:
    answers(moving, SILENT, SILENT)
    moving.change("INSERT INTO sec_global_attributes (Attr, Value) VALUES ('vm_fence_command', '/bin/false')")
    assert f"{NEW} could not be fenced" in moving.refused(*FORCE)
    assert lease(moving) == STAYS


def test_a_move_whose_lease_was_changed_says_so(moving: Site) -> None:
    moving.change("UPDATE vm_leases SET State = 'running', Target = NULL")
    (vm,) = load_vms(moving.database, ["web"])
    found = leases.read_leases(moving.database, ["web"])["web"]
    with pytest.raises(StateError, match=f"is running now on {OLD}; see where it runs"):
        live_moves.settle(moving.database, vm, found)
    moving.change("UPDATE vm_leases SET State = 'stopping'")
    with pytest.raises(StateError, match="web is not moved: by its lease it does not run any more"):
        leases.begin_live_move(moving.database, "web", NEW, [])
    moving.database.rollback()


def test_a_machine_that_moves_is_not_removed(moving: Site) -> None:
    moving.done("add host vm", OLD, "membership=Hosted VM", "name=other")
    for command in (("remove", "host", "vm"), ("remove", "host")):
        assert INTERRUPTED in moving.refused(*command, "other", "web")
        moving.database.lock("vm web", 0)
        assert "another command is changing web" in moving.refused(*command, "other", "web")
        moving.database.unlock("vm web")
    assert {vm.name for vm in load_vms(moving.database, ["web", "other"])} == {"web", "other"}
    assert lease(moving) == STAYS


def test_commands_on_the_new_host_see_the_machine(moving: Site) -> None:
    moving.change("INSERT INTO sec_global_attributes (Attr, Value) VALUES ('power_command', '/bin/true')")
    for host in (OLD, NEW):
        off = ("set", "host", "power", host, "action=off")
        assert f"web is moving from {OLD} to {NEW}, and may run on either" in moving.refused(*off)
    assert INTERRUPTED in moving.refused("remove host", NEW)
    assert INTERRUPTED in moving.refused("drain host", NEW)
    moving.done("set host power", NEW, "action=off", "force=yes")
    assert lease(moving) == STAYS


def test_an_evacuation_leaves_the_machine_to_its_move(moving: Site) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a machine was started")

    moving.patch.setattr(drain, "capacities_of", lambda *_: [])
    moving.patch.setattr(drain, "check_is_silent", lambda *_: None)
    for host in (OLD, NEW):
        outcomes = drain.evacuate_host(moving.database, host, ("head",), Force("it is off"), never)  # type: ignore[arg-type]
        assert INTERRUPTED in str(outcomes.failed.pop("web"))
        assert not outcomes.failed and not outcomes.done
    assert lease(moving) == STAYS


def test_what_the_recovery_of_leases_reads_and_records(moving: Site) -> None:
    moving.change("UPDATE vm_leases SET Target = 'head'")
    assert all_leases(moving.database)["web"].target == "head"
    assert "head" in hosts_with_machines(moving.database)
    record_found(moving.database, [("web", 9, NEW)])
    moving.database.commit()
    assert lease(moving) == ("running", NEW, None)


def test_the_site_names_the_move(moving: Site) -> None:
    assert f"rocks move host vm web {NEW} live=yes" in moving.done("list site")


@pytest.fixture
def on_vlan(vm_site: Site) -> Site:
    """A machine of a cluster on VLAN 2 was moving, as above; the frontend of the cluster is on `head`."""
    vm_site.done("add cluster 203.0.113.9 1 fe-name=vc1 cluster-naming=yes")
    vm_site.change(
        "INSERT INTO vm_leases (Name, Token, Host, State, Target) VALUES ('vm-vc1-0', 7, %s, 'moving', %s)",
        [OLD, NEW],
    )
    return vm_site


def test_both_hosts_keep_the_network_devices(on_vlan: Site) -> None:
    """A synchronisation of either host, and a start beside the machine, know that it may be on both."""
    old, new = plan_networks(on_vlan.database, [OLD, NEW]).values()
    (plan,) = old.plans
    assert plan.name == "vm-vc1-0" and [link.vlan for link in plan.links] == [2] and old.retained == ()
    assert new.plans == () and new.retained == ("vm-vc1-0",)
    assert hosts_of_vlans(on_vlan.database, [2, 3]) == {2: ["head", OLD, NEW], 3: []}
    comment = "# vm-vc1-0 may run here too: its devices stay as they are"
    assert comment in on_vlan.done("report host vlan", NEW)
    assert comment not in on_vlan.done("report host vlan", OLD)


def test_a_machine_that_does_not_move_has_one_host(on_vlan: Site) -> None:
    on_vlan.change("UPDATE vm_leases SET State = 'running', Target = NULL")
    old, new = plan_networks(on_vlan.database, [OLD, NEW]).values()
    assert [plan.name for plan in old.plans] == ["vm-vc1-0"] and (new.plans, new.retained) == ((), ())
    assert hosts_of_vlans(on_vlan.database, [2]) == {2: ["head", OLD]}


def test_the_hosts_of_what_a_machine_leaves_behind(on_vlan: Site) -> None:
    """Those of the other machines of its VLAN, which may be on its own host."""
    assert hosts_of_vlans(on_vlan.database, [2], without="vm-vc1-0") == {2: ["head"]}
    on_vlan.done("add host vm", OLD, "membership=Hosted VM", "name=mate")
    on_vlan.change("UPDATE networks SET VlanID = 2 WHERE Node = (SELECT ID FROM nodes WHERE Name = 'mate')")
    assert hosts_of_vlans(on_vlan.database, [2], without="vm-vc1-0") == {2: ["head", OLD]}


@pytest.mark.parametrize(
    ("here", "text"),
    [(host_with("paused"), "may have run"), (SILENT, "may have run"), (host_with(None, remembered=8), "ran")],
)
def test_force_says_that_the_disk_may_be_old(moving: Site, here: HostFacts | RocksError, text: str) -> None:
    answers(moving, here, SILENT)
    ended = moving.rocks(*FORCE)
    assert ended.status == 0 and lease(moving) == ("released", None, None)
    line = next(line for line in ended.err.splitlines() if line.startswith("Warning: web "))
    assert line.startswith(f"Warning: web {text} on {NEW} since it left {OLD}.")
    assert (
        f"the current one is /state/partition1/web.vda on {NEW}. web neither starts nor moves until" in line
    )
    assert f"To use the disk there, when {NEW} is back: rocks move host vm web {NEW} disks=there" in line
    assert line.endswith(f"to keep that of {OLD}: rocks move host vm web {OLD} disks=there")


def test_force_says_that_the_disk_may_be_old_before_it_forgets_the_move(moving: Site) -> None:
    """When the command is killed then, a repetition finds no move."""
    answers(moving, SILENT, SILENT)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    moving.patch.setattr(leases, "end_live_move", killed)
    reported: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        machines = stop.machines_to_stop(moving.database, ["web"])
        stop.stop_machines(moving.database, machines, force=Force("it is off"), report=reported.append)
    moving.database.rollback()
    assert len(reported) == 1 and f"the current one is /state/partition1/web.vda on {NEW}" in reported[0]
    assert lease(moving) == STAYS


@pytest.mark.parametrize(
    "answer",
    [
        BusyError("a request is at work"),
        StateError("the agent is version 2"),
        AnsweringError("the agent does not start"),
    ],
)
def test_force_gives_up_no_move_whose_new_host_answers(moving: Site, answer: RocksError) -> None:
    """An error that is an answer is no silence, nor is a frontend that can ask nobody."""
    assert "has no SSH key" in moving.refused(*FORCE)
    answers(moving, SILENT, answer)
    assert f"Repair that, then: rocks move host vm web {NEW} live=yes" in moving.refused(*FORCE)
    answers(moving, SILENT, host_with("running"))
    assert INTERRUPTED in moving.refused(*FORCE)
    assert lease(moving) == STAYS


def test_force_gives_up_the_move_to_a_host_that_cannot_be_asked_and_is_off(moving: Site) -> None:
    """Its name has left the name server with it, so it is never silent; an answer is not overruled."""
    answers(moving, SILENT, AnsweringError("the agent does not start"))
    message = moving.refused(*FORCE, "host-off=yes")
    assert f"or switch {NEW} off, and repeat this command" in message and "host-off" not in message
    answers(moving, SILENT, CannotAskError(f"no address of host {NEW}"))
    assert "repeat this command with host-off=yes" in moving.refused(*FORCE)
    assert lease(moving) == STAYS
    assert moving.rocks(*FORCE, "host-off=yes").status == 0
    assert lease(moving) == ("released", None, None)
    (vm,) = load_vms(moving.database, ["web"])
    assert vm.doubted_host == NEW


def test_a_machine_is_not_refused_for_a_fault_of_the_frontend(moving: Site) -> None:
    """A drain stops what is refused."""
    moving.change("UPDATE vm_leases SET State = 'running', Target = NULL")

    def check(*_: object) -> None:
        raise CannotAskError(f"this machine cannot connect to host {NEW}")

    moving.patch.setattr(live_moves, "_check", check)
    reporter = MoveReporter(lambda line: None, lambda line: None)
    with pytest.raises(CannotAskError):
        live_moves.move_running_vm(moving.database, "web", NEW, reporter, lambda vm: {})


def test_a_move_says_what_a_start_there_says(moving: Site) -> None:
    """As that the new host does not filter."""
    moving.change("UPDATE vm_leases SET State = 'running', Target = NULL")
    (vm,) = load_vms(moving.database, ["web"])
    spec = MachineSpec(StartDomain("web", 0, ""), ("web runs without a packet filter",))
    way = live_moves._Way(vm, vm, replace(container_of(vm), name=NEW), MovePlan((), ()), spec)
    moving.patch.setattr(live_moves, "_check", lambda *_: way)

    def end(*_: object) -> None:
        raise HostError("no image")

    moving.patch.setattr(live_moves, "_operation", lambda *_: spec.request)
    moving.patch.setattr(live_moves, "pull_images", end)
    notes: list[str] = []
    reporter = MoveReporter(notes.append, lambda line: None)
    with pytest.raises(HostError, match="no image"):
        live_moves.move_running_vm(moving.database, "web", NEW, reporter, lambda vm: {})
    assert notes == ["web runs without a packet filter"]


def test_a_repeated_move_says_why_nobody_knows(moving: Site) -> None:
    """With what helps: force for a host that is off only."""
    (vm,) = load_vms(moving.database, ["web"])
    found = leases.read_leases(moving.database, ["web"])["web"]
    moving.patch.setattr(
        live_moves, "perform_operations", lambda *_: [("web", OperationOutcome("web", False))]
    )
    force = "or, when it is certainly off: rocks stop host vm web force=yes"
    for there, text, is_off in (
        (SILENT, "because it does not answer (no route). Bring it back", True),
        (AnsweringError("no agent"), "it answers, but cannot say so (no agent). Repair it", False),
        (BusyError("at work"), "an agent there is still working on it (at work). When it has ended", False),
    ):
        moving.patch.setattr(
            live_moves, "contact_hosts", lambda *_, there=there, **__: {OLD: SILENT, NEW: there}
        )
        with pytest.raises(RocksError) as raised:
            live_moves.settle(moving.database, vm, found)
        assert text in str(raised.value) and (force in str(raised.value)) == is_off
        assert raised.value.family == ("busy" if isinstance(there, BusyError) else "host")
    assert lease(moving) == STAYS


def test_the_next_start_ends_a_move_whose_guest_is_off(moving: Site) -> None:
    """Both hosts answer; nobody else would end it."""
    facts = {OLD: host_with(None), NEW: host_with(None)}
    moving.patch.setattr(live_moves, "_perform", lambda *_: OperationOutcome("web", False))
    moving.patch.setattr(live_moves, "contact_hosts", lambda *_, **__: facts)
    moving.patch.setattr(vm_start, "contact_hosts", lambda *_, **__: {OLD: SILENT, NEW: SILENT})
    for module in (vm_states, site_overview, interrupted_moves, site_checks):
        moving.patch.setattr(module, "contact_hosts", lambda *_, **__: facts)
    assert moving.done("list host vm web status=yes").split()[-1] == "nostate"
    remedy = "is off on both: to end that and start it: rocks start host vm web"
    assert remedy in moving.done("list site")
    assert remedy in moving.rocks("check site").out
    ended = moving.rocks("start host vm web")
    assert f"the move of web that was interrupted is undone: it is off on {OLD}" in ended.err + ended.out
    assert "web is not started: " in ended.err and lease(moving) == ("running", OLD, None)


def test_a_start_leaves_a_machine_that_may_run_to_its_move(moving: Site) -> None:
    moving.patch.setattr(
        interrupted_moves, "contact_hosts", lambda *_, **__: {OLD: SILENT, NEW: host_with(None)}
    )
    message = moving.rocks("start host vm web").err
    assert INTERRUPTED in message and "Whether it runs is not known: no route" in message
    facts = {OLD: host_with("paused"), NEW: host_with(None)}
    moving.patch.setattr(interrupted_moves, "contact_hosts", lambda *_, **__: facts)
    assert INTERRUPTED in moving.rocks("start host vm web").err
    # the host must report it once more; the other machine that it has named is released all the same
    ended = replace(host_with(None), ended=("other",))
    moving.patch.setattr(stop, "contact_hosts", lambda *_, **__: {OLD: ended})
    moving.done("add host vm", OLD, "membership=Hosted VM", "name=other")
    moving.take_lease("other", OLD, token=8)
    terminated: list[str] = []
    with pytest.raises(StateError, match="was moving from"):
        stop.take_ended(moving.database, OLD, ["web", "other"], terminated.extend)
    assert terminated == ["other"]
    facts = {OLD: host_with(None), NEW: host_with("running")}
    assert stop.take_ended(moving.database, OLD, ["web"]) == []
    assert lease(moving) == STAYS
    assert moving.rocks("list host vm web status=yes").out.split()[-1] == "moving"


def test_a_guest_that_ended_by_itself_during_an_interrupted_move(moving: Site) -> None:
    facts = {OLD: host_with(None), NEW: host_with(None)}
    with pytest.raises(HostError, match="Whether it runs is not known"):
        stop.take_ended(moving.database, OLD, ["web"])
    moving.patch.setattr(live_moves, "_perform", lambda *_: OperationOutcome("web", False))
    for module in (live_moves, interrupted_moves):
        moving.patch.setattr(module, "contact_hosts", lambda *_, **__: facts)
    with (
        moving.patch.context() as patch
    ):  # an agent of the migration still works: the host must report it once more
        patch.setattr(live_moves, "_perform", lambda *_: BusyError("a request is at work"))
        with pytest.raises(BusyError, match="an agent there is still working on it"):
            stop.take_ended(moving.database, OLD, ["web"])
        assert lease(moving) == STAYS
    ended = replace(host_with(None), ended=("web",))
    moving.patch.setattr(stop, "contact_hosts", lambda *_, **__: {OLD: ended})
    assert stop.take_ended(moving.database, OLD, ["WEB"]) == ["web"]
    assert lease(moving) == ("released", None, None)
