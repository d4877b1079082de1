"""Commands on machines and hosts while a live migration has not ended: nothing is decided over its head."""

from __future__ import annotations

import pytest

from rocks.actions import host_drains, live_moves, vm_locks
from rocks.actions.leases import Force
from rocks.database import leases
from rocks.database.lease_recovery import all_leases, hosts_with_machines, record_found
from rocks.database.vms import load_vms
from rocks.errors import StateError

from .conftest import Site, silent_hosts, vm_site

__all__ = ["silent_hosts", "vm_site"]

OLD, NEW = "vmc-0-0", "vmc-0-1"
INTERRUPTED = f"web was moving from {OLD} to {NEW} when the command was interrupted"
FORCE = ("stop", "host", "vm", "WEB", "force=yes", "reason=it is off")


@pytest.fixture
def moving(vm_site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """`web` was moving when its command was killed; no host answers."""
    monkeypatch.setattr(vm_locks, "WAIT_SECONDS", 0.0)
    vm_site.done("add", "host", "vm", OLD, "membership=Hosted VM", "name=web")
    vm_site.change(
        "INSERT INTO vm_leases (Name, Token, Host, State, Intent, Target) VALUES ('web', 7, %s, 'moving', 'move', %s)",
        [OLD, NEW],
    )
    return vm_site


def lease(site: Site) -> tuple[object, ...]:
    """State, host and target."""
    return site.database.rows("SELECT State, Host, Target FROM vm_leases WHERE Name = 'web'")[0]


STAYS = ("moving", OLD, NEW)


def test_force_ends_no_move_that_a_command_is_at_work_on(moving: Site) -> None:
    moving.database.lock("vm web", 0)
    assert "another command is changing web at this moment" in moving.refused(*FORCE)
    assert lease(moving) == STAYS and moving.database.rows("SELECT * FROM vm_fences") == []
    moving.database.unlock("vm web")
    assert moving.rocks(*FORCE).status == 0
    assert lease(moving) == ("released", None, None)
    assert moving.database.rows("SELECT Host, Token FROM vm_fences ORDER BY Host") == [(OLD, 8), (NEW, 8)]


def test_force_names_the_machine_whose_new_host_cannot_be_fenced(moving: Site) -> None:
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
    moving.done("add", "host", "vm", OLD, "membership=Hosted VM", "name=other")
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
    assert INTERRUPTED in moving.refused("remove", "host", NEW)
    assert INTERRUPTED in moving.refused("drain", "host", NEW)
    moving.done("set", "host", "power", NEW, "action=off", "force=yes")
    assert lease(moving) == STAYS


def test_an_evacuation_leaves_the_machine_to_its_move(moving: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a machine was started")

    monkeypatch.setattr(host_drains, "_capacities", lambda *_: [])
    monkeypatch.setattr(host_drains, "check_is_silent", lambda *_: None)
    for host in (OLD, NEW):
        outcomes = host_drains.evacuate_host(moving.database, host, ("head",), Force("it is off"), never)  # type: ignore[arg-type]
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
    assert f"rocks move host vm web {NEW} live=yes" in moving.done("list", "site")
