"""A Linux guest whose only network adapter is a virtual function; it tries what it may send, and reports the result."""

import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lab.guest import archive, disk_image
from lab.guest.archive import Entry
from lab.machines.lab import Lab
from lab.machines.machine import LabMachine

GUEST_IP, PEER_IP, NEIGHBOUR_IP, HOST_IP = "10.8.0.2", "10.8.0.1", "10.8.0.5", "10.8.0.6"
"""In the guest's VLAN: itself, a machine behind the trunk, another function of its own adapter, and the VLAN device of
its host, on which guests without functions hang."""

OTHER_PEER_IP, OTHER_NEIGHBOUR_IP = "10.8.1.1", "10.8.1.5"
"""The like in another cluster's VLAN."""

UNTAGGED_PEER_IP = "10.8.2.1"
TAGGED_IP, TWICE_TAGGED_IP = "10.8.1.3", "10.8.1.4"
"""The guest's own, in frames that it tags: these identify them on the trunk."""

OTHER_VLAN = 200
_OUTER_VLAN = 300
"""Outer tag of frames that are tagged twice. Were it the function's own, igbvf would from then on take every frame that
comes in for one of that VLAN device, and the guest would have cut itself off."""
FORGED_MAC = "52:54:00:aa:00:99"
CHANGED_MAC = "52:54:00:aa:00:77"

_MODULES = (
    "net/llc/llc",
    "net/802/stp",
    "net/802/garp",
    "net/802/mrp",
    "net/8021q/8021q",
    "drivers/net/macvlan",
    "drivers/net/ethernet/intel/igbvf/igbvf",
)
"""In the order in which they are loaded."""

_INIT = f"""#!/bin/busybox sh
export PATH=/bin
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox --install -s /bin
for module in {" ".join(Path(name).name for name in _MODULES)}; do insmod /$module.ko; done
for wait in 1 2 3 4 5 6 7 8 9 10; do [ -e /sys/class/net/eth0 ] && break; sleep 1; done
echo "nested device $(cat /sys/class/net/eth0/address) $(basename "$(readlink /sys/class/net/eth0/device/driver)")"
try() {{
  what=$1; shift
  if "$@" >/dev/null 2>&1; then echo "nested $what: yes"; else echo "nested $what: no"; fi
}}
reach() {{ try "$1" ping -c 1 -W 2 "$2"; }}
wait_for_peer() {{ for wait in $(seq 25); do ping -c 1 -W 2 {PEER_IP} >/dev/null 2>&1 && break; sleep 1; done; }}
ip address add {GUEST_IP}/24 dev eth0
ip link set eth0 up
wait_for_peer
reach "peer in its VLAN" {PEER_IP}
try "neighbour in its VLAN" ping -c 4 -W 2 {NEIGHBOUR_IP}
try "VLAN device of its host" ping -c 4 -W 2 {HOST_IP}
ip address add 10.8.1.2/24 dev eth0
reach "peer in the other VLAN, untagged" {OTHER_PEER_IP}
reach "neighbour in the other VLAN, untagged" {OTHER_NEIGHBOUR_IP}
ip address del 10.8.1.2/24 dev eth0
ip address add 10.8.2.2/24 dev eth0
reach "peer without VLAN" {UNTAGGED_PEER_IP}
ip address del 10.8.2.2/24 dev eth0
ip link add link eth0 name tagged0 type vlan id {OTHER_VLAN}
ip address add {TAGGED_IP}/24 dev tagged0
ip link set tagged0 up
reach "peer in the other VLAN, tagged" {OTHER_PEER_IP}
reach "neighbour in the other VLAN, tagged" {OTHER_NEIGHBOUR_IP}
ip address del {TAGGED_IP}/24 dev tagged0
ip link add link eth0 name outer0 type vlan id {_OUTER_VLAN}
ip link set outer0 up
ip link add link outer0 name inner0 type vlan id {OTHER_VLAN}
ip address add {TWICE_TAGGED_IP}/24 dev inner0
ip link set inner0 up
reach "peer in the other VLAN, tagged twice" {OTHER_PEER_IP}
reach "neighbour in the other VLAN, tagged twice" {OTHER_NEIGHBOUR_IP}
ip link del inner0
ip link del outer0
ip link del tagged0
ip link add link eth0 name forged0 address {FORGED_MAC} type macvlan
ip address del {GUEST_IP}/24 dev eth0
ip address add {GUEST_IP}/24 dev forged0
ip link set forged0 up
reach "peer under another MAC address" {PEER_IP}
ip link del forged0
ip link set eth0 down
try "change of the MAC address" ip link set eth0 address {CHANGED_MAC}
ip link set eth0 up
ip address add {GUEST_IP}/24 dev eth0
wait_for_peer
reach "peer after the attempt" {PEER_IP}
echo "nested end"
while :; do sleep 60; done
"""
_CONFIGURATION = """SERIAL 0 115200
DEFAULT linux
LABEL linux
  KERNEL /VMLINUZ
  INITRD /INITRD
  APPEND console=ttyS0 quiet mitigations=off audit=0 net.ifnames=0 no_timer_check panic=-1
"""


def put_function_guest(
    lab: Lab, machine: LabMachine, path: str, init: str = _INIT, modules: Sequence[str] = _MODULES
) -> None:
    """Put the guest's disk at `path` on a host; it boots the host's own kernel, and `init` is its first program."""
    with tempfile.TemporaryDirectory(prefix="function-guest-") as name:
        folder = Path(name)
        (folder / "initrd").write_bytes(_initramfs(machine, init, modules))
        (folder / "configuration").write_text(_CONFIGURATION, encoding="ascii")
        files = {"VMLINUZ": lab.kernel, "INITRD": folder / "initrd", "SYSLINUX.CFG": folder / "configuration"}
        disk_image.make_image(folder / "disk", files)
        machine.copy_in(folder / "disk", path, "600", deadline_seconds=120)


def _initramfs(machine: LabMachine, init: str, names: Sequence[str]) -> bytes:
    """Busybox, the function's driver, and what forges frames, all as the host has them."""
    modules = f"/lib/modules/{machine.run(['uname', '-r']).text.strip()}/kernel"
    return archive.write_archive(
        [
            *(archive.folder(name) for name in ("bin", "dev", "proc", "sys")),
            archive.character_device("dev/console", 5, 1),
            archive.program("bin/busybox", machine.read_file("/bin/busybox")),
            archive.program("init", init.encode()),
            *(
                Entry(
                    f"{Path(name).name}.ko", stat.S_IFREG | 0o644, machine.read_file(f"{modules}/{name}.ko")
                )
                for name in names
            ),
        ]
    )
