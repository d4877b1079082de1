"""A virtual function of a host's adapter in the hands of a nested guest, by VFIO, as InfiniBand is on a real site."""

from __future__ import annotations

import stat

from lab.guest import archive
from lab.guest.archive import Entry
from lab.machines.lab import Lab
from lab.machines.machine import LabMachine

_MAC = "52:54:00:aa:00:01"
_GUEST, _HOST = "10.8.0.2", "10.8.0.1"
_INIT = f"""#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox insmod /igbvf.ko
/bin/busybox sleep 1
for place in /sys/class/net/*; do
  device=${{place##*/}}
  [ "$device" != lo ] || continue
  echo "nested $device $(/bin/busybox cat "$place/address") $(/bin/busybox readlink "$place/device/driver")"
  /bin/busybox ip address add {_GUEST}/24 dev "$device"
  /bin/busybox ip link set "$device" up
done
for try in 1 2 3 4 5 6 7 8 9 10; do
  /bin/busybox ping -c 1 -W 2 {_HOST} && echo "nested ping answered" && break
done
echo "nested end"
/bin/busybox poweroff -f
"""
_SERIAL = "/var/log/nested.serial"


def give_away_function(machine: LabMachine) -> str:
    """Make a virtual function with a MAC address, hand it to VFIO; returns its PCI address."""
    machine.shell(
        f"""
echo 2 >/sys/class/net/trunk0/device/sriov_numvfs
udevadm settle
ip link set trunk0 vf 0 mac {_MAC} spoofchk on
ip address add {_HOST}/24 dev trunk0
ip link set trunk0 up
modprobe vfio-pci
function=$(basename "$(readlink /sys/class/net/trunk0/device/virtfn0)")
echo vfio-pci >/sys/bus/pci/devices/$function/driver_override
[ ! -e /sys/bus/pci/devices/$function/driver ] || echo $function >/sys/bus/pci/devices/$function/driver/unbind
echo $function >/sys/bus/pci/drivers_probe
""",
        120,
    )
    found = machine.run(["readlink", "/sys/class/net/trunk0/device/virtfn0"]).text.strip().rpartition("/")[2]
    driver = machine.run(["readlink", f"/sys/bus/pci/devices/{found}/driver"]).text.strip()
    assert driver.endswith("vfio-pci")
    return found


def nested_initramfs(machine: LabMachine) -> bytes:
    """Busybox and the function's driver, both as the host has them."""
    kernel = machine.run(["uname", "-r"]).text.strip()
    module = machine.read_file(f"/lib/modules/{kernel}/kernel/drivers/net/ethernet/intel/igbvf/igbvf.ko")
    folders = [archive.folder(name) for name in ("bin", "dev", "proc", "sys")]
    return archive.write_archive(
        [
            *folders,
            archive.character_device("dev/console", 5, 1),
            archive.program("bin/busybox", machine.read_file("/bin/busybox")),
            Entry("igbvf.ko", stat.S_IFREG | 0o644, module),
            archive.program("init", _INIT.encode()),
        ]
    )


def test_nested_guest_talks_through_a_virtual_function(lab: Lab) -> None:
    """The guest sees the MAC address that the host gave to the function, by igbvf, and is answered through it."""
    machine = lab["vmh1"]
    function = give_away_function(machine)
    machine.copy_in(lab.kernel, "/root/nested-kernel")
    machine.write_file("/root/nested-initramfs", nested_initramfs(machine))
    machine.run(["touch", _SERIAL])
    qemu = [
        "qemu-system-x86_64",
        "-nodefaults",
        "-display",
        "none",
        "-machine",
        "q35",
        "-accel",
        "kvm",
        "-accel",
        "tcg",
    ]
    qemu += ["-cpu", "max", "-m", "256", "-serial", f"file:{_SERIAL}", "-device", f"vfio-pci,host={function}"]
    words = "console=ttyS0 quiet mitigations=off panic=-1 no_timer_check"
    qemu += ["-kernel", "/root/nested-kernel", "-initrd", "/root/nested-initramfs", "-append", words]
    machine.start_program("nested", qemu)
    said = machine.wait_for(["cat", _SERIAL, "/var/log/nested.log"], "nested end", 420)
    assert _MAC in said, said
    assert "igbvf" in said, said
    assert "nested ping answered" in said, said
