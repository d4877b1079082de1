"""The operator's steps on a new machine before it joins a site: its pool, the agent, a probe of its features."""

from __future__ import annotations

from lab import agent_archive
from lab.machines.machine import LabMachine
from lab.machines.roster import Role

AGENT_FOLDER = "/opt/rocks"
AGENT = f"{AGENT_FOLDER}/libexec/rocks-agent"
_HOOK_FOLDER = "/etc/libvirt/hooks/qemu.d"
_DISK = "/dev/disk/by-id/virtio-data"
_DEADLINE_SECONDS = 120.0


def configure(machine: LabMachine) -> None:
    """Bring a machine that has just booted for the first time to the state of a site's."""
    machine.set_clock()
    make_pool(machine)
    if machine.description.role is Role.HOST:
        install_agent(machine)
        # In emulation, libvirt's probe of QEMU's features and the agent's probe of KVM are slow: once, here.
        machine.run(["virsh", "--quiet", "domcapabilities", "--virttype", "qemu"], _DEADLINE_SECONDS)
        machine.run([AGENT, "probe"], _DEADLINE_SECONDS)


def make_pool(machine: LabMachine) -> None:
    """Its ZFS pool on the whole data disk."""
    options = ("-o", "ashift=12", "-O", "compression=lz4", "-O", "atime=off", "-O", "mountpoint=none")
    machine.run(["zpool", "create", "-f", *options, machine.description.pool, _DISK], _DEADLINE_SECONDS)


def install_agent(machine: LabMachine) -> None:
    """Unpack the archive of `make agent` where the package will put it, link libvirt's hook, enable the unit."""
    archive = agent_archive.build(machine.folder / "agent")
    machine.copy_in(archive, f"/var/tmp/{archive.name}")
    machine.shell(
        f"mkdir -p {AGENT_FOLDER} {_HOOK_FOLDER}\n"
        f"tar -xzf /var/tmp/{archive.name} -C {AGENT_FOLDER}\n"
        f"ln -sf {AGENT_FOLDER}/libexec/rocks-libvirt-hook {_HOOK_FOLDER}/rocks\n"
        f"systemctl --quiet enable {AGENT_FOLDER}/lib/systemd/rocks-links.service\n"
        "systemctl restart libvirtd.service\n",
        _DEADLINE_SECONDS,
    )
