"""Settings on the root tree, the same for all machines: units left out, options of modules and daemons."""

from __future__ import annotations

import shutil
from pathlib import Path

MASKED_UNITS = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty-static.service",
    "getty@tty1.service",
    "ldconfig.service",
    "libvirt-guests.service",
    "logrotate.timer",
    "lvm2-monitor.service",
    "machines.target",
    "mdcheck_continue.timer",
    "mdcheck_start.timer",
    "mdmonitor-oneshot.timer",
    "proc-sys-fs-binfmt_misc.automount",
    "rtslib-fb-targetctl.service",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-journal-catalog-update.service",
    "systemd-logind.service",
    "systemd-networkd-wait-online.service",
    "systemd-pcrphase-initrd.service",
    "systemd-pcrphase-sysinit.service",
    "systemd-pcrphase.service",
    "systemd-pstore.service",
    "systemd-random-seed.service",
    "systemd-repart.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-update-utmp-runlevel.service",
    "systemd-update-utmp.service",
    "zfs-share.service",
)
"""Units that no machine of the lab uses; each costs a part of a second in emulation. LIO's own restore is among them
since the image daemons build its configuration themselves."""

FILES = {
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/machine-id": "",
    "etc/modprobe.d/lab.conf": (
        "# The emulated IOMMU does not remap interrupts, and without that VFIO refuses devices.\n"
        "options vfio_iommu_type1 allow_unsafe_interrupts=1\n"
        "# A sixth of a machine's memory instead of half.\n"
        "options zfs zfs_arc_max=167772160\n"
    ),
    "etc/ssh/sshd_config.d/lab.conf": (
        "# PAM's sessions take three quarters of an emulated login.\n"
        "UsePAM no\nUseDNS no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
    ),
    "etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=persistent\nSystemMaxUse=32M\nForwardToSyslog=no\n",
    "etc/systemd/system/systemd-udev-trigger.service.d/lab.conf": (
        "# Of all devices, those that rules here care for: disks, adapters, /dev/kvm and its like, and what\n"
        "# modules are loaded for: virtio, and the processors for KVM. The others cost a third of an emulated boot.\n"
        "[Service]\nExecStart=\n"
        "ExecStart=-udevadm trigger --type=devices --action=add --prioritized-subsystem=block,net "
        "--subsystem-match=block --subsystem-match=net --subsystem-match=misc --subsystem-match=cpu "
        "--subsystem-match=virtio\n"
    ),
    "etc/systemd/system.conf.d/lab.conf": "[Manager]\nDefaultTimeoutStopSec=15s\n",
    "etc/target/.keep": "",
    "etc/rtslib-fb-target/pr/.keep": "",
    "etc/rtslib-fb-target/alua/.keep": "",
}
"""rtslib-fb insists on its folders and does not make them."""

ENABLED_UNITS = {
    "multi-user.target.wants/systemd-networkd.service": "/lib/systemd/system/systemd-networkd.service",
    "sockets.target.wants/systemd-networkd.socket": "/lib/systemd/system/systemd-networkd.socket",
}

_LEFT_BEHIND = (
    "boot/initrd.img-*",
    "boot/vmlinuz-*",
    "etc/ssh/ssh_host_*",
    "etc/systemd/system/multi-user.target.wants/munge.service",
    "etc/systemd/system/multi-user.target.wants/slurmd.service",
    "var/cache/apt/*",
    "var/lib/apt/lists/*",
    "var/log/*.log",
)


def apply_settings(tree: Path) -> None:
    """Put all of it on the tree and remove what its packages left behind. May be done twice."""
    for pattern in _LEFT_BEHIND:
        for path in tree.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name, text in FILES.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    units = tree / "etc/systemd/system"
    for unit in MASKED_UNITS:
        _link(units / unit, "/dev/null")
    for place, target in ENABLED_UNITS.items():
        _link(units / place, target)
    # Newer than /usr, or systemd runs its units for a system update at the first boot.
    for name in ("etc/.updated", "var/.updated"):
        (tree / name).touch()


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)
