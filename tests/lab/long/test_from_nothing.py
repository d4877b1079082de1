"""From a blank machine to a guest, and to a NAS with its pool: the real rolls, the graph, and nobody's hands.

The machine is beside the lab's, on its storage network. Emulated, it installs itself in some ten minutes when nothing
else is at work, so each test waits for up to 90.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import broker
from lab.machines import image_storage
from lab.machines.checkout import STATE
from lab.machines.frontend import IMAGE_FOLDER, NAME, Frontend
from lab.machines.login import KEY_FILE
from lab.machines.namespace import Namespace
from tests.installer.blank_machine import make_disk
from tests.installer.network_machine import NetworkMachine
from tests.lab.blank_site import ROLLS, BlankSite, built_rolls, counting_guest

_GUEST = "vm-vc1-0"
_DISK = f"{IMAGE_FOLDER}/{_GUEST}.vda"
_SECONDS = 900.0
"""For what a running host does."""


@pytest.fixture
def lab_frontend() -> Frontend:
    """The frontend of the lab with its database server; the lab's machines may be off."""
    if not Namespace(STATE).surrounds_this_process():
        pytest.skip(
            "no lab around this run: start it by `make lab` and run the tests by `make test-lab-long`"
        )
    started = Frontend(STATE, STATE / "keys" / KEY_FILE)
    started.start()
    return started


@pytest.fixture
def site(lab_frontend: Frontend) -> Iterator[BlankSite]:
    """A frontend that installs hosts; the folder is not below pytest's, which dnsmasq's user cannot enter."""
    rolls = built_rolls()
    if len(rolls) != len(ROLLS):
        pytest.skip("dist/ has not exactly one ISO of each roll: make os-roll, make roll")
    with tempfile.TemporaryDirectory(prefix="rocks-blank-") as folder:
        found = BlankSite(lab_frontend, Path(folder), rolls)
        yield found
        found.close()


def _installed(machine: NetworkMachine, appliance: str) -> str:
    """Switch the machine on, and wait until it is what the graph says; returns the name that it got."""
    host, _ = machine.discovered(appliance)
    assert host == f"{appliance}-0-0"
    machine.wait_for_state(host, "configured")
    return host


def test_a_blank_machine_becomes_a_vm_container_and_runs_a_guest(site: BlankSite) -> None:
    site.set_appliance("vm-container", img_storage_vm="no", vm_memory_reserve="384")
    machine = NetworkMachine(site, "container", [make_disk(site.folder, "container")])
    try:
        host = _installed(machine, "vm-container")
        # a host is configured when it has restarted for its devices
        assert "peth0" in site.ask(host, "ls", "/sys/class/net/eth0/brif").text, machine.evidence()
        place = (f"fe-container={host}", f"container-hosts={host}", "vlan=100")
        sizes = ("mem-per-compute=64", "disk-per-compute=1", "disk-per-frontend=1")
        site.rocks("add", "cluster", "203.0.113.9", "1", "fe-name=vc1", "cluster-naming=yes", *sizes, *place)
        put = f"install -d -m 711 {IMAGE_FOLDER} && umask 077 && cat >{_DISK} && truncate --size=16M {_DISK}"
        done = site.ask(host, put, standard_input=counting_guest())
        assert done.exit_status == 0, done.error_text
        site.rocks("set", "host", "image", host, _DISK, f"vm={_GUEST}")

        site.rocks("start", "host", "vm", _GUEST)

        console = ("cat", f"/var/log/libvirt/qemu/{_GUEST}.console.log")
        machine.wait_until(
            lambda: "count 00000005" in site.ask(host, *console).text, "the guest counts", _SECONDS
        )
    finally:
        machine.cut_power()


def test_a_blank_machine_becomes_a_nas_with_its_pool_and_its_daemon(
    site: BlankSite, lab_frontend: Frontend
) -> None:
    """The modules of ZFS are those of the roll; pool and daemon are there again after a restart."""
    pool_disk = "/dev/disk/by-id/virtio-DISK1"
    site.set_appliance("nas", install_disk="serial=DISK0", img_zpools="tank", img_zpool_disks=pool_disk)
    disks = [make_disk(site.folder, "system"), make_disk(site.folder, "pool")]
    machine = NetworkMachine(site, "nas", disks)

    def answers(host: str) -> str:
        asked = "cat /proc/sys/kernel/random/boot_id; zpool list -H -o name,health; modinfo -n zfs"
        return site.ask(host, f"{asked}; systemctl is-active rocks-imgstorage-nas").text

    try:
        host = _installed(machine, "nas")
        boot, *state = answers(host).split()
        assert state[:2] == ["tank", "ONLINE"], machine.evidence()
        assert state[2].endswith("/extra/zfs/zfs.ko")

        site.rocks("add", "host", "certificate", NAME, host)
        image_storage.start_broker(lab_frontend)
        site.rocks("sync", "host", "certificate", host)
        machine.wait_until(lambda: answers(host).split()[-1:] == ["active"], "image daemon", _SECONDS)
        site.rocks("list", "host", "storagemap", host)

        site.ask(host, "systemctl", "reboot")
        machine.wait_until(lambda: answers(host).split()[:1] not in ([], [boot]), "restart", _SECONDS)
        machine.wait_until(lambda: answers(host).split()[-1:] == ["active"], "image daemon again", _SECONDS)
        assert answers(host).split()[1:3] == ["tank", "ONLINE"]
    finally:
        broker.stop(image_storage.BROKER)
        machine.cut_power()
