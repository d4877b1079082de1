"""The operator's steps on a new machine before it joins a site: its pool, and a probe of its features.

Our packages are in its image.
"""

from __future__ import annotations

from lab.machines.machine import LabMachine
from lab.machines.roster import Role

AGENT = "/opt/rocks/libexec/rocks-agent"
_DISK = "/dev/disk/by-id/virtio-data"
_DEADLINE_SECONDS = 120.0


def configure(machine: LabMachine) -> None:
    """Bring a machine that has just booted for the first time to the state of a site's."""
    machine.set_clock()
    make_pool(machine)
    if machine.description.role is Role.HOST:
        # In emulation, libvirt's probe of QEMU's features and the agent's probe of KVM are slow: once, here.
        machine.run(["virsh", "--quiet", "domcapabilities", "--virttype", "qemu"], _DEADLINE_SECONDS)
        machine.run([AGENT, "probe"], _DEADLINE_SECONDS)


def make_pool(machine: LabMachine) -> None:
    """Its ZFS pool on the whole data disk."""
    options = ("-o", "ashift=12", "-O", "compression=lz4", "-O", "atime=off", "-O", "mountpoint=none")
    machine.run(["zpool", "create", "-f", *options, machine.description.pool, _DISK], _DEADLINE_SECONDS)
