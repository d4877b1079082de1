"""`rocks drain host`: what is decided from the records, before a machine is stopped."""

from __future__ import annotations

import pytest

from rocks.actions import host_drains
from rocks.cluster.drain_plan import Capacity
from tests.system.commands.conftest import Site


@pytest.fixture
def stops(vm_site: Site, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The machine `web` runs on `vmc-0-0`, and `vmc-0-1` has memory for it; the machines that are to be stopped."""
    vm_site.done("add", "host", "vm", "vmc-0-0", "membership=Hosted VM", "name=web")
    vm_site.change("INSERT INTO vm_leases (Name, Token, Host, State) VALUES ('web', 7, 'vmc-0-0', 'running')")
    stopped: list[list[str]] = []
    monkeypatch.setattr(host_drains, "_capacities", lambda *_: [Capacity("vmc-0-1", 100_000)])
    monkeypatch.setattr(host_drains, "stop_vms", lambda _, names, *__, **___: stopped.append(names))
    return stopped


def test_a_machine_that_cannot_be_moved_is_not_stopped(vm_site: Site, stops: list[list[str]]) -> None:
    vm_site.change("UPDATE vm_disks SET VBD_Type = 'phy', Prefix = '/dev', Name = 'vg0/web'")
    ended = vm_site.rocks("drain", "host", "vmc-0-0", "to=vmc-0-1")
    assert ended.status == 1
    assert "is a device of vmc-0-0, and only files and images of a NAS are moved" in ended.err
    assert "it was not stopped, and is on vmc-0-0" in ended.err
    assert stops == []


def test_a_machine_is_not_stopped_for_a_host_without_memory_for_it(
    vm_site: Site, stops: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_drains, "_capacities", lambda *_: [Capacity("vmc-0-1", 1)])
    ended = vm_site.rocks("drain", "host", "vmc-0-0", "to=vmc-0-1")
    assert ended.status == 1 and "has 1 MB, the most" in ended.err and stops == []
