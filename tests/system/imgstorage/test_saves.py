"""Saved machines with images of a NAS: the image stays on its host as long as the memory, and leaves it afterwards.

Daemons, commands and agent are the real ones; libvirt and devices are in memory, and libvirt's hook is called here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rocks.agent.calls import reply_to
from rocks.core.clock import wait_seconds
from rocks.core.errors import HostError, RocksError
from rocks.fleet.fleet import Fleet
from rocks.fleet.wire.calls import read_reply, write_request
from rocks.fleet.wire.requests import StartDomain
from rocks.leases import lease as leases
from rocks.leases import machine_requests
from rocks.machine import converge
from rocks.machine import start as vm_start
from rocks.machine.host import saves
from rocks.machine.host.hook import note_end
from rocks.machine.host.host import Host
from rocks.storage.host import guests as releases
from tests.fakes.links import FakeLinks
from tests.fakes.packet_filters import FakeFilters
from tests.system.imgstorage.image_site import NAS, HostMachine
from tests.system.imgstorage.storage_site import END, HOST, REMOVE, START, STOP, PlayedHosts, Storage, owner

SAVE, RESTORE = ("save", "host", "vm"), ("restore", "host", "vm")
CLEAN = ("clean", "host", "storagemap", NAS)
XML = """<domain type='qemu'><name>{name}</name>
<metadata><rocks:lease xmlns:rocks="urn:rocks:lease" token="{token}"/></metadata>
<memory>65536</memory><vcpu>1</vcpu><devices>
<disk type='block' device='disk'><source dev='{device}'/><target dev='vda' bus='virtio'/></disk></devices></domain>"""
ROUNDS_SECONDS = 2.5
"""Longer than the daemon waits here until it looks at a saved machine again."""


@dataclass
class Guests:
    """The machines of the first host, with an agent that sees the image daemon's records."""

    storage: Storage
    machine: HostMachine
    agent: Host
    state_folder: Path

    def run(self, name: str, *disks: str, sync: bool = True) -> None:
        """Start a machine with an image: the host that plays makes no domain of it, so it is made here."""
        self.storage.add_vm(name, *disks, sync=sync)
        self.storage.done(*START, name)
        device = "/".join(str(part) for part in self.storage.disks(name)[0][1:])
        self.machine.domains.define(XML.format(name=name, token=self.token(name), device=device))
        self.machine.domains.start_paused(name)
        self.machine.domains.resume(name)
        self.agent.leases.admit(name, self.token(name))

    def token(self, name: str) -> int:
        return self.lease(name).token

    def lease(self, name: str) -> Any:
        self.storage.cluster.database.rollback()
        return leases.read_leases(self.storage.cluster.database, [name])[name]

    def domain(self, name: str) -> tuple[str, bool]:
        """State, and whether its memory is saved."""
        found = self.machine.domains.find(name)
        return found.state, found.has_managed_save

    def end(self, name: str) -> None:
        """The guest powers itself off."""
        self.machine.domains.destroy(name)
        self.note(name)

    def note(self, name: str) -> None:
        """What libvirt's hook does when QEMU has ended."""
        text = XML.format(name=name, token=self.token(name), device="")
        note_end([name, "release", "end", "-"], text, self.state_folder)


@pytest.fixture
def guests(storage: Storage, hosts: PlayedHosts, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guests]:
    """Saves, restores and stops go to an agent; first starts are played."""
    machine = storage.images.hosts[HOST]
    folder = machine.store.parent.parent
    links = FakeLinks()
    links.add("eth0", "bridge")
    agent = Host(
        folder,
        lambda: machine.domains,
        lambda: links,
        open_filters=FakeFilters,
        open_dm_devices=lambda: machine.dm_devices,
    )
    found = Guests(storage, machine, agent, folder)
    save = machine.domains.save

    def ask_each(
        fleet: Fleet, requests: Mapping[str, Any], limit_seconds: float | None = None
    ) -> Iterator[tuple[str, Any]]:
        for host, request in requests.items():
            if host == HOST:
                yield host, read_reply(reply_to(agent, write_request(request)), request)
            else:
                yield host, HostError(f"{host} does not answer")

    def perform(database: Any, fleet: Fleet, operations: Any, progress: Any = None) -> Any:
        asked = [one for requested in operations.values() for one in requested]
        is_first = all(isinstance(one, StartDomain) and not one.restores for one in asked)
        ask = hosts.perform_operations if is_first else machine_requests.perform_operations
        return ask(database, fleet, operations, progress)

    def saved(name: str) -> None:
        save(name)
        found.note(name)

    monkeypatch.setattr(Fleet, "ask_each", ask_each)
    monkeypatch.setattr(vm_start, "contact_hosts", machine_requests.contact_hosts)
    monkeypatch.setattr(converge, "perform_operations", perform)
    monkeypatch.setattr(machine.domains, "save", saved)
    monkeypatch.setattr(releases, "_SAVED_ROUNDS", 1)
    monkeypatch.setattr(saves, "_is_there", lambda device: has_device(machine, device))
    yield found


def has_device(machine: HostMachine, device: str) -> bool:
    sessions = {session.device_path for session in machine.sessions.read_sessions()}
    return device in sessions or Path(device).name in machine.kernel.devices


def test_the_image_stays_while_its_machine_is_saved(guests: Guests) -> None:
    """Saved before it is copied: the copy goes on, so does writing back, and nothing takes the image away."""
    storage = guests.storage
    guests.run("web")
    assert storage.done(*SAVE, "web") == ""
    token = guests.token("web")
    assert guests.lease("web").state == "saved" and guests.domain("web") == ("shutoff", True)
    storage.images.wait_for_state("web-vol", "local")
    wait_seconds(ROUNDS_SECONDS)
    storage.done("sync", "host", "storagemap", NAS, "web-vol")
    assert (
        storage.images.row("web-vol")["state"] in ("local", "pulling") and owner(storage, "web-vol") == HOST
    )

    for command in (
        (*REMOVE, "web-vol"),
        (*CLEAN, "web-vol"),
        (*CLEAN, "web-vol", "force=yes", "reason=lost"),
        (*STOP, "web", END),
        ("set", "host", "vm", "nas", "web", "nas=none"),
        ("remove", "host", "vm", "nas", "web"),
        (*STOP, "web"),
    ):
        assert "rocks stop host vm web saved=remove" in storage.rocks(*command).err, command
    message = "web is saved on this host, and its memory belongs to web-vol: .*saved=remove discards"
    with pytest.raises(RocksError, match=message):  # what no command of this frontend has asked
        storage.images.unmap("web-vol")
    assert owner(storage, "web-vol") == HOST

    assert storage.done(*RESTORE, "web") == ""
    assert guests.domain("web") == ("running", False)
    assert (guests.token("web"), guests.lease("web").state) == (token, "running")
    guests.end("web")
    storage.images.wait_for_state("web-vol", "unmapped")
    assert storage.images.leftovers(HOST) == []


@pytest.mark.parametrize("sync", [True, False], ids=["copied", "over iSCSI"])
def test_what_was_saved_is_discarded_and_the_image_written_back(guests: Guests, sync: bool) -> None:
    storage, name = guests.storage, f"gone-{sync}".lower()
    guests.run(name, sync=sync)
    storage.done(*SAVE, name)
    wait_seconds(ROUNDS_SECONDS)
    assert owner(storage, f"{name}-vol") == HOST
    assert f"the saved memory of {name} is discarded" in storage.rocks(*STOP, name, "saved=remove").err
    storage.images.wait_for_state(f"{name}-vol", "unmapped")
    assert storage.images.leftovers(HOST) == []
    assert guests.lease(name).state == "released"


@pytest.mark.parametrize("sync", [True, False], ids=["copied", "over iSCSI"])
def test_a_boot_of_the_host_keeps_what_was_saved(guests: Guests, sync: bool) -> None:
    """Before its daemon has made the device again, the restore says so; nothing else can be restored than the same."""
    storage, name = guests.storage, f"boot-{sync}".lower()
    guests.run(name, sync=sync)
    storage.images.wait_for_state(f"{name}-vol", "local" if sync else "remote")
    storage.done(*SAVE, name)
    guests.machine.lose_power()
    assert "is not there yet" in storage.rocks(*RESTORE, name).err
    assert guests.domain(name) == ("shutoff", True) and guests.lease(name).state == "saved"
    guests.machine.start()
    storage.done(*RESTORE, name)
    assert guests.domain(name) == ("running", False)
    guests.end(name)
    storage.images.wait_for_state(f"{name}-vol", "unmapped")


def test_an_image_that_has_left_is_noticed(guests: Guests, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was mapped again since, so another host may have written to it: the guest does not continue."""
    storage = guests.storage
    guests.run("left")
    storage.images.wait_for_state("left-vol", "local")
    storage.done(*SAVE, "left")
    with monkeypatch.context() as patch:  # a daemon that does not know of the save
        patch.setattr(guests.machine.domains, "find", lambda name: None)
        storage.images.unmap("left-vol")
        storage.images.wait_for_state("left-vol", "unmapped")
    for mapped in (False, True):
        if mapped:
            storage.map("left-vol")
        message = storage.rocks(*RESTORE, "left").err
        assert "left-vol-snap of left is an image of a NAS that has left this host since" in message
        assert "rocks stop host vm left saved=remove" in message
    assert guests.domain("left") == ("shutoff", True) and guests.lease("left").state == "saved"
    assert storage.rocks(*STOP, "left", "saved=remove").status == 0
    storage.done(*REMOVE, "left-vol")


def test_a_killed_save_is_completed_and_a_killed_restore_too(guests: Guests) -> None:
    """As a kill -9 leaves host and database between two steps."""
    storage = guests.storage
    guests.run("cut")
    guests.machine.domains.save("cut")  # the agent died before its record
    assert "was interrupted; complete it: rocks save host vm cut" in storage.rocks(*START, "cut").err
    assert storage.done(*SAVE, "cut") == "" and storage.done(*SAVE, "cut") == ""
    for state in ("running", "stopping", "starting"):
        leases.set_state(storage.cluster.database, ["cut"], state)
        storage.cluster.database.commit()
        storage.done(*START, "cut")
        assert guests.domain("cut") == ("running", False) and guests.lease("cut").state == "running"
        storage.done(*SAVE, "cut")
    guests.machine.domains.start_paused("cut")  # the agent died before the guest ran
    storage.done(*RESTORE, "cut")
    assert guests.domain("cut") == ("running", False) and owner(storage, "cut-vol") == HOST
    guests.end("cut")
    storage.images.wait_for_state("cut-vol", "unmapped")
