"""An installed root that boots: Debian's systemd and kernel around it, on a disk of an emulated machine."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.namespace import CHECKOUT
from rocks.core.process import run, run_checked
from tests.packages.fresh_roots import CACHE, debian_sources, minimal_root
from tests.packages.frontend_machine import Machine
from tests.packages.test_frontend import STOP_DATABASE, start_database

ADDRESS = "10.9.9.2"
SETTINGS = f"""\
Kickstart_PrivateHostname = head
Kickstart_PrivateInterface = eth0
Kickstart_PrivateAddress = {ADDRESS}
Kickstart_PrivateNetmask = 255.255.255.0
"""
CLUSTER_RECORDS = """\
set -ex
rocks add network public subnet=203.0.113.0 netmask=255.255.255.0
rocks add host vmc-0-0 'membership=VM Container' rack=0 rank=0 cpus=4
rocks add host interface vmc-0-0 eth0 ip=10.9.9.3 subnet=private mac=52:54:00:00:00:03
rocks set host attr vmc-0-0 vm_image_directory /var/lib/images
rocks set attr vm_mac_base_addr 76:77:6e:80:00:00
rocks set attr vm_mac_base_addr_mask ff:ff:ff:c0:00:00
rocks set attr Kickstart_PublicGateway 203.0.113.1
rocks add cluster 203.0.113.10 1 fe-name=one container-hosts=vmc-0-0 fe-container=vmc-0-0 cluster-naming=yes
"""
"""A cluster `one` of a frontend and a compute, on a host that does not answer; lines of a shell that fails at once."""

_PACKAGES = "systemd-sysv,udev,kmod,iproute2,linux-image-cloud-amd64,initramfs-tools,zstd"
_DISK_BYTES = 6 << 30
_MAKE_SECONDS = 1800
_BOOT_SECONDS = 3600

_NETWORK = f"[Match]\nName=eth0\n\n[Network]\nAddress={ADDRESS}/24\n"
_UNIT = """\
[Unit]
Description=What the test runs
After=multi-user.target network-online.target

[Service]
Type=exec
ExecStart=/bin/sh /root/commands
StandardOutput=file:/dev/ttyS1
StandardError=inherit
TimeoutStopSec=10

[Install]
WantedBy=multi-user.target
"""
_COMMANDS = """\
systemctl is-system-running --wait >/dev/null
mkdir -p /media/cdrom
mount -r /dev/vdb /media/cdrom
. /root/phase
umount /media/cdrom
sync
systemctl poweroff
"""


def make_booting_root(folder: Path) -> Path:
    """A minimal Debian 12 with systemd and a kernel, without a source of packages, made once for each point release."""
    archive = CACHE / minimal_root().name.replace("minimal", "booting")
    if not archive.exists():
        for old in CACHE.glob("booting*.tar"):
            old.unlink()
        new = CACHE / "new-booting.tar"
        run_checked(
            ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(new)]
            + [str(debian_sources())],
            deadline_seconds=_MAKE_SECONDS,
        )
        new.replace(archive)
    folder.mkdir()
    run_checked(
        ["tar", "-C", str(folder), "--numeric-owner", "-xf", str(archive)], deadline_seconds=_MAKE_SECONDS
    )
    for source in ("sources.list", "sources.list.d"):
        path = folder / "etc/apt" / source
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    (folder / "etc/apt/apt.conf.d/90root").write_text('APT::Sandbox::User "root";\n', "ascii")
    (folder / "etc/fstab").write_text("/dev/vda / ext4 defaults 0 1\n", "ascii")
    (folder / "etc/hostname").write_text("head\n", "ascii")
    (folder / "etc/systemd/network").mkdir(parents=True, exist_ok=True)
    (folder / "etc/systemd/network/10-eth0.network").write_text(_NETWORK, "ascii")
    for unit, target in (
        ("systemd-networkd.service", "/lib/systemd/system/systemd-networkd.service"),
        ("test-commands.service", "/etc/systemd/system/test-commands.service"),
    ):
        link = folder / "etc/systemd/system/multi-user.target.wants" / unit
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
    (folder / "etc/systemd/system/test-commands.service").write_text(_UNIT, "ascii")
    (folder / "root/commands").write_text(_COMMANDS, "ascii")
    return folder


class BootedRoot:
    """The root on a disk, which boots once for each call."""

    def __init__(self, root: Path, place: Path, iso: Path) -> None:
        self._place, self._iso = place, iso
        self._disk = place / "disk"
        (kernel,) = (root / "boot").glob("vmlinuz-*")
        (initramfs,) = (root / "boot").glob("initrd.img-*")
        shutil.copyfile(kernel, place / "vmlinuz")
        shutil.copyfile(initramfs, place / "initrd")
        with self._disk.open("wb") as disk:
            disk.truncate(_DISK_BYTES)
        run_checked(
            ["mke2fs", "-q", "-F", "-t", "ext4", "-d", str(root), str(self._disk)],
            deadline_seconds=_MAKE_SECONDS,
        )

    def boot(self, commands: str) -> str:
        """Boot it with the ISO in a drive and no network, and run these lines of a shell; what they have printed.

        It is switched off at the end. AssertionError, with the end of the console, when that takes too long.
        """
        phase, printed, console = (self._place / name for name in ("phase", "printed", "console"))
        phase.write_text(commands)
        for command in ("rm /root/phase", f"write {phase} /root/phase"):
            run_checked(["debugfs", "-w", "-R", command, str(self._disk)], deadline_seconds=60)
        done = run(self._machine(printed, console), deadline_seconds=_BOOT_SECONDS)
        assert done.exit_status == 0, f"{done.error_text}\n{console.read_text('utf-8', 'replace')[-3000:]}"
        return printed.read_text("utf-8", "replace").replace("\r\n", "\n")

    def _machine(self, printed: Path, console: Path) -> list[str]:
        kernel = "root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off systemd.show_status=1"
        drives = (f"file={self._disk},format=raw,cache=unsafe", f"file={self._iso},format=raw,readonly=on")
        return [
            *("setpriv", "--pdeathsig", "KILL", "--", "qemu-system-x86_64"),
            *("-nodefaults", "-no-reboot", "-display", "none", "-accel", "tcg", "-cpu", "max", "-m", "2048"),
            *("-kernel", str(self._place / "vmlinuz"), "-initrd", str(self._place / "initrd")),
            *("-append", kernel),
            *(word for drive in drives for word in ("-drive", f"if=virtio,{drive}")),
            *("-nic", "user,restrict=on,model=virtio-net-pci"),
            *("-serial", f"file:{console}", "-serial", f"file:{printed}"),
        ]


def boot_machine(medium: Path, place: Path, prepare: Callable[[Machine], None]) -> BootedRoot:
    """The root that the medium's content makes, as `prepare` leaves it, on a disk; nothing of it has booted yet.

    What happens before happens in the root without systemd, which is quicker. Skips where a program is missing.
    """
    for program in ("qemu-system-x86_64", "mke2fs", "debugfs"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: tools/setup installer")
    machine = Machine(make_booting_root(place / "machine"), medium)
    try:
        (machine.folder / "root/site").write_text(SETTINGS)
        prepare(machine)
    finally:
        machine.root.close()
    (iso,) = (CHECKOUT / "dist").glob("rocks-frontend-*.iso")
    made = BootedRoot(machine.folder, place, iso)
    machine.close()
    return made


def make_frontend(machine: Machine, records: str) -> None:
    """Install it, and enter records by lines of a shell; its database runs for that only."""
    machine.install()
    start_database(machine.root)
    machine.install()
    machine.root.done("sh", "-c", records)
    machine.root.done("sh", "-c", STOP_DATABASE)


def part(printed: str, name: str) -> str:
    """What was printed below a heading, `== NAME`."""
    found = re.search(rf"^== {re.escape(name)}\n(.*?)^== ", printed, re.MULTILINE | re.DOTALL)
    assert found is not None, printed
    return found.group(1)
