"""InfiniBand partitions around real starts and stops: a port is a member while something of its cluster may run."""

import shlex
import sys
from collections.abc import Iterator

import pytest

from tests.system.vms.site import ThreeMachines

GUIDS = {"head": "0x0002c90300000001", "vmh1": "0x0002c90300000011", "vmh2": "0x0002c90300000021"}
FOLDER = "/etc/rocks/opensm"
FILE, RELOADS = f"{FOLDER}/partitions.conf", f"{FOLDER}/reloads"
PROGRAM = f"""
import subprocess, sys
guests, ports = set(), []
for socket in sys.argv[1:]:  # a host's processes are not seen here
    virsh = ['/usr/bin/virsh', '-q', '-c', 'qemu+unix:///system?socket=' + socket, 'list', '--name']
    guests.update(subprocess.run(virsh, capture_output=True, text=True, check=True).stdout.split())
for line in open({FILE!r}):
    ports += [line.partition(' : ')[2][:18]] if line.startswith('blue=') else []
open({RELOADS!r}, 'a').write(' '.join([*sorted(ports), '|', *sorted(guests)]) + chr(10))
"""
ATTRIBUTES = {"ib_pkey_pool": "0x20-0x2f", "ib_partitions_file": FILE}


@pytest.fixture
def ib_site(site: ThreeMachines) -> Iterator[ThreeMachines]:
    """A port on each machine, a pool, and an opensm that writes down what it finds when it is reloaded."""
    folder = site.machines["head"].outside(FOLDER)
    folder.mkdir()
    program = folder / "reload.py"
    program.write_text(PROGRAM)
    for host, guid in GUIDS.items():
        site.done(f"add host ibport {host} mlx4_0 {guid}")
    sockets = [str(machine.outside("/run/libvirt/libvirt-sock")) for machine in site.machines.values()]
    reload = shlex.join([sys.executable, "-S", f"{FOLDER}/reload.py", *sockets])
    for name, value in {**ATTRIBUTES, "ib_opensm_reload": reload}.items():
        site.done(f"set attr {name} {shlex.quote(value)}")
    yield site
    site.done("remove host ibport " + " ".join(GUIDS))
    for name in (*ATTRIBUTES, "ib_opensm_reload"):
        site.done(f"remove attr {name}")
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def reloads(site: ThreeMachines) -> list[tuple[list[str], list[str]]]:
    """(ports of the cluster blue, guests that ran), at each reload of opensm."""
    path = site.machines["head"].outside(RELOADS)
    lines = path.read_text().splitlines() if path.exists() else []
    parts = [line.partition("|") for line in lines]
    return [(ports.split(), guests.split()) for ports, _, guests in parts]


def unplug(site: ThreeMachines) -> None:
    """The machines get no VLAN devices: not every kernel on which these tests run has them."""
    site.sql("UPDATE networks i JOIN vm_nodes v ON v.Node = i.Node SET i.Disable_KVM = 1")


def test_a_port_is_a_member_before_the_first_start_and_until_after_the_last_stop(
    ib_site: ThreeMachines,
) -> None:
    site = ib_site
    site.done(
        "add cluster 203.0.113.60 3 fe-name=blue cluster-naming=yes fe-container=vmh1 container-hosts='vmh1 vmh2'"
        " mem-per-compute=64 disk-per-compute=1 disk-per-frontend=1 gateway=203.0.113.1"
    )
    unplug(site)
    one, two = GUIDS["vmh1"], GUIDS["vmh2"]
    try:
        site.done("start host vm vm-blue-0")
        assert reloads(site) == [([one], [])], "reloaded before the start: no guest ran yet"
        site.done("start host vm vm-blue-2")
        assert len(reloads(site)) == 1, "the second one on a host changes nothing"
        site.done("start host vm vm-blue-1")
        assert reloads(site)[1:] == [([one, two], ["vm-blue-0", "vm-blue-2"])]
        assert "vmh1 vmh2" in site.done("list ib partition blue")
        site.done("stop host vm vm-blue-0")
        assert len(reloads(site)) == 2, "one of two has left"
        site.done("stop host vm vm-blue-2")
        assert reloads(site)[2:] == [([two], ["vm-blue-1"])], "reloaded after the last has ended"
        assert "the key 0x0020 is in use: vm-blue-1" in site.refused("remove ib partition blue")

        site.vanish("vmh2")
        site.refused("stop host vm vm-blue-1")
        assert len(reloads(site)) == 3, "it may still run there"
        site.start_sshd("vmh2")
        site.done("stop host vm vm-blue-1")
        assert reloads(site)[3:] == [([], [])]
    finally:
        site.rocks("remove cluster blue")
    assert site.done("list ib partition") == ""


def test_a_start_goes_on_without_a_subnet_manager(ib_site: ThreeMachines) -> None:
    """A machine without an InfiniBand function needs none; the user gets a warning."""
    site = ib_site
    site.done("set attr ib_opensm_reload false")
    site.done(
        "add cluster 203.0.113.61 0 fe-name=blue fe-container=vmh1 disk-per-frontend=1 gateway=203.0.113.1"
    )
    site.done("set host boot blue action=os")
    unplug(site)
    try:
        started = site.rocks("start host vm blue")
        assert started.exit_status == 0, started.error_text
        assert "Warning: the InfiniBand partitions are not published: false failed" in started.error_text
        assert "rocks sync ib partitions" in started.error_text
        assert site.running("blue") == ["vmh1"]
    finally:
        site.rocks("remove cluster blue")


def test_hosts_without_adapters_are_checked(ib_site: ThreeMachines) -> None:
    """These machines have none; the answers of adapters are checked by the contract tests."""
    finished = ib_site.rocks("check host infiniband vmh1")
    assert finished.exit_status == 1
    assert "mlx4_0 port 1 wrong" in finished.text
    assert "the host has no InfiniBand port" in finished.text
    assert "2 of 2 checks failed on vmh1" in finished.error_text
    assert "no virtual function of an InfiniBand adapter at 0000:03:00.1" in ib_site.refused(
        "check host infiniband vmh1 function=0000:03:00.1"
    )
    assert "function= needs exactly one host" in ib_site.refused(
        "check host infiniband vmh1 vmh2 function=0000:03:00.1"
    )
    assert ib_site.done("sync host ibport vmh1") == "vmh1: no InfiniBand port\n"
    assert "vmh1" not in ib_site.done("list host ibport")
    ib_site.done(f"add host ibport vmh1 mlx4_0 {GUIDS['vmh1']}")
    ib_site.vanish("vmh2")
    assert "vmh1: no InfiniBand port" in ib_site.rocks("sync host ibport vmh1 vmh2").text
    ib_site.done(f"add host ibport vmh1 mlx4_0 {GUIDS['vmh1']}")
