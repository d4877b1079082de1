"""From blank machines to a guest, and to a NAS with its pool: the real rolls, the graph, and nobody's hands.

The machines are beside the lab's, on its storage network. Emulated, one installs itself in some ten minutes when
nothing else is at work, so each test waits for up to 90.
"""

import re
import tempfile
from collections.abc import Iterator
from functools import partial
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

SUBJECTS = ("src/rocks", "roll", "packaging")

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


def _discovered(machine: NetworkMachine, appliance: str) -> str:
    """Switch the machine on; returns the name that it got."""
    host, _ = machine.discovered(appliance)
    assert host == f"{appliance}-0-0"
    return host


def _add_cluster(site: BlankSite, container: str) -> None:
    place = (f"fe-container={container}", f"container-hosts={container}", "vlan=100")
    sizes = ("mem-per-compute=64", "disk-per-compute=1", "disk-per-frontend=1")
    site.rocks("add", "cluster", "203.0.113.9", "1", "fe-name=vc1", "cluster-naming=yes", *sizes, *place)


def _count(site: BlankSite, container: str) -> int:
    """How far the guest has counted on its console."""
    log = site.ask(container, "cat", f"/var/log/libvirt/qemu/{_GUEST}.console.log").text
    found = re.findall(r"^count ([0-9A-F]{8})\r?$", log, re.MULTILINE)
    return int(found[-1], 16) if found else 0


def _nas_state(site: BlankSite, nas: str) -> list[str]:
    """Number of the boot, pool, its health, file of ZFS's module, state of the daemon; fewer without an answer."""
    asked = "cat /proc/sys/kernel/random/boot_id; zpool list -H -o name,health; modinfo -n zfs"
    return site.ask(nas, f"{asked}; systemctl is-active rocks-imgstorage-nas").text.split()


def _exports(site: BlankSite, nas: str) -> str:
    """The exports of the NAS's kernel with the initiators that may use them, a line each."""
    return site.ask(nas, "ls -d /sys/kernel/config/target/iscsi/iqn*/tpgt_1/acls/iqn*").text


def _start_daemons(
    site: BlankSite, frontend: Frontend, machine: NetworkMachine, nas: str, container: str
) -> None:
    """Names and certificates as in the operator's guide; wait for both image daemons."""

    def is_active(host: str, unit: str) -> bool:
        return site.ask(host, "systemctl", "is-active", unit).text == "active\n"

    site.rocks("sync", "dns", nas, container)
    site.rocks("add", "host", "certificate", nas, container)
    image_storage.start_broker(frontend)
    site.rocks("sync", "host", "certificate", NAME, nas, container)
    machine.wait_until(lambda: is_active(nas, "rocks-imgstorage-nas"), "daemon of the NAS", _SECONDS)
    machine.wait_until(lambda: is_active(container, "rocks-imgstorage-host"), "daemon of the host", _SECONDS)
    # a daemon is active before it has reached the broker
    for listing, host in (("storagemap", nas), ("storagedev", container)):
        machine.wait_until(partial(site.succeeds, "list", "host", listing, host), listing, _SECONDS)


def _start_guest(site: BlankSite) -> None:
    """The command waits two minutes for a host, and a busy emulated one takes longer for its first guest.

    The repeated command completes the start.
    """
    if not site.succeeds("start", "host", "vm", _GUEST):
        site.rocks("start", "host", "vm", _GUEST)


def _use_nas(site: BlankSite, nas: str) -> None:
    """The guest's disk becomes an image of the NAS."""
    file = site.folder / "counting.raw"
    file.write_bytes(counting_guest())
    with file.open("r+b") as whole:
        whole.truncate(64 << 20)
    site.rocks("add", "host", "storageimg", nas, "tank", f"{_GUEST}-vol", f"file={file}")
    site.rocks("set", "host", "vm", "nas", _GUEST, f"nas={nas}", "zpool=tank")


def test_a_blank_machine_becomes_a_vm_container_and_runs_a_guest(site: BlankSite) -> None:
    site.set_appliance("vm-container", img_storage_vm="no", vm_memory_reserve="384")
    machine = NetworkMachine(site, "container", [make_disk(site.folder, "container")])
    try:
        host = _discovered(machine, "vm-container")
        machine.wait_for_state(host, "configured")
        # a host is configured when it has restarted for its devices
        assert "peth0" in site.ask(host, "ls", "/sys/class/net/eth0/brif").text, machine.evidence()
        _add_cluster(site, host)
        put = f"install -d -m 711 {IMAGE_FOLDER} && umask 077 && cat >{_DISK} && truncate --size=16M {_DISK}"
        done = site.ask(host, put, standard_input=counting_guest())
        assert done.exit_status == 0, done.error_text
        site.rocks("set", "host", "image", host, _DISK, f"vm={_GUEST}")

        _start_guest(site)

        machine.wait_until(lambda: _count(site, host) >= 5, "the guest counts", _SECONDS)
    finally:
        machine.cut_power()


def test_blank_machines_become_a_nas_and_a_host_whose_guest_has_its_disk_there(
    site: BlankSite, lab_frontend: Frontend
) -> None:
    """The modules of ZFS are those of the roll; pool, daemon and export are there again after a restart of the NAS."""
    pool_disk = "/dev/disk/by-id/virtio-DISK1"
    site.set_appliance("nas", install_disk="serial=DISK0", img_zpools="tank", img_zpool_disks=pool_disk)
    site.set_appliance("vm-container", img_sync="no", vm_memory_reserve="384")
    disks = {name: make_disk(site.folder, name) for name in ("system", "pool", "container")}
    storage = NetworkMachine(site, "nas", [disks["system"], disks["pool"]])
    cable = site.add_cable("blank-second")
    carrier = NetworkMachine(site, "container", [disks["container"]], mac="52:54:00:00:00:0a", tap=cable)
    try:
        nas, container = _discovered(storage, "nas"), _discovered(carrier, "vm-container")
        storage.wait_for_state(nas, "configured")
        boot, *state = _nas_state(site, nas)
        assert state[:2] == ["tank", "ONLINE"], storage.evidence()
        assert state[2].endswith("/extra/zfs/zfs.ko")
        failed = site.ask(nas, "systemctl", "list-units", "--failed", "--plain", "--no-legend").text
        assert not failed, failed
        carrier.wait_for_state(container, "configured")
        _start_daemons(site, lab_frontend, storage, nas, container)
        _add_cluster(site, container)

        _use_nas(site, nas)
        _start_guest(site)

        carrier.wait_until(lambda: _count(site, container) >= 5, "the guest counts", _SECONDS)
        exports = _exports(site, nas)
        assert exports.count("\n") == 1, exports

        site.ask(nas, "systemctl", "reboot")
        storage.wait_until(lambda: _nas_state(site, nas)[:1] not in ([], [boot]), "restart", _SECONDS)
        again = ["tank", "ONLINE", state[2], "active"]
        storage.wait_until(lambda: _nas_state(site, nas)[1:] == again, "pool and daemon again", _SECONDS)
        storage.wait_until(lambda: _exports(site, nas) == exports, "export again", _SECONDS)
        counted = _count(site, container)
        carrier.wait_until(lambda: _count(site, container) > counted, "the guest counts on", _SECONDS)
    finally:
        broker.stop(image_storage.BROKER)
        carrier.cut_power()
        storage.cut_power()
