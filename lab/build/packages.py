"""The Debian packages of each part, and the files of them that are left out."""

from __future__ import annotations

from pathlib import Path

_CHECKOUT = Path(__file__).absolute().parents[2]

TREE = (
    "busybox-static",
    "dbus",
    "dmsetup",
    "e2fsprogs",
    "ethtool",
    "iproute2",
    "iputils-ping",
    "kmod",
    "libvirt-clients",
    "libvirt-daemon-driver-qemu",
    "libvirt-daemon-system",
    "linux-image-amd64",
    "lsscsi",
    "mbuffer",
    # what a host may have, and must not use on the disks of guests
    "lvm2",
    "mdadm",
    # jobs of the site's Slurm; nothing of it runs before a profile
    "munge",
    "netbase",
    "nftables",
    "open-iscsi",
    "openssh-server",
    "procps",
    "python3",
    "python3-amqp",
    "python3-libvirt",
    "python3-pyroute2",
    # runs the contract tests of devices on the machine that has the devices
    "python3-pytest",
    "python3-rtslib-fb",
    "qemu-system-x86",
    "qemu-utils",
    "slurm-client",
    "slurmd",
    "socat",
    "systemd-sysv",
    "tcpdump",
    # satisfies a dependency of the kernel's package; the lab makes its own initramfs
    "tiny-initramfs",
    "udev",
    "zfsutils-linux",
)
"""Packages of every machine of the lab, NAS and hosts alike; the role selects the running services."""

TOOLS = ("lsscsi", "lvm2", "python3-pytest", "socat", "tcpdump")
"""Those of them that no host of a site needs, and tests do; machines of the ISOs have all others from there."""

QEMU = ("qemu-system-x86", "qemu-utils", "seabios")
"""The emulator that runs the machines."""

RELEASES_WITH_OLD_QEMU = ("bookworm",)
"""Releases whose backports have the emulator: its SR-IOV adapter igb came with QEMU 8.0."""

COMPILERS = _CHECKOUT / "roll" / "os" / "compilers"
"""The list of the packages that compile the ZFS modules, for the os roll as for the lab."""

WORKSHOP = tuple(
    line for line in COMPILERS.read_text(encoding="ascii").splitlines() if not line.startswith("#")
)
"""Packages that compile the ZFS modules and the instruments, in addition to the kernel's headers."""

ZFS_SOURCE = "zfs-dkms"
"""The package with the modules' source; it is never installed."""

LEFT_OUT = (
    "/usr/share/man/*",
    "/usr/share/doc/*",
    "/usr/share/locale/*",
    "/usr/share/info/*",
    *(
        f"{usr}/lib/modules/*/kernel/{part}/*"  # in packages of Debian 12, and of 13
        for usr in ("", "/usr")
        for part in (
            "drivers/gpu",
            "drivers/iio",
            "drivers/media",
            "drivers/net/wireless",
            "drivers/staging",
            "drivers/usb",
            "fs/ocfs2",
            "sound",
        )
    ),
)
"""Files of packages that no machine of the lab will ever read."""
