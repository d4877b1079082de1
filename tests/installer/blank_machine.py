"""Blank emulated machines that boot from a small site: QEMU without KVM, with a user network of its own."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rocks.core.process import Finished, run, run_checked, start_in_background
from rocks.install.boot.service import site_files
from rocks.install.installation.plan import Source, plan_installation, plan_text
from rocks.inventory.records import Host, Interface
from tests.installer.emulated_machine import EmulatedMachine
from tests.web_service import WebService, make_certificate

DIST = Path(__file__).parents[2] / "dist"
SITE, HOST_ADDRESS, MAC = "10.9.0.1", "10.9.0.9", "52:54:00:00:00:09"
HTTP_PORT, HTTPS_PORT, SSH_PORT = 8080, 8443, 2222

_BOOT = f"""#!ipxe
kernel http://{SITE}:{HTTP_PORT}/vmlinuz initrd=installer.img initrd=site.img console=ttyS0,115200 quiet \
rocks.plan=https://{SITE}:{HTTPS_PORT}/plan BOOTIF=01-${{net0/mac:hexhyp}}
initrd http://{SITE}:{HTTP_PORT}/installer.img
initrd http://{SITE}:{HTTP_PORT}/site.img
boot
"""

_PROFILE = """rocks_profile() {
hostname >/root/profile-ran
ip -4 -o addr show dev eth0 >>/root/profile-ran
}
rocks_profile </dev/null
"""
"""As each profile, it ends with the line that begins the work: without it, a host takes it for cut off."""


class Site:
    """The frontend's side: boot files by HTTP, plan, root archive and profile by HTTPS; one host, compute-0-0."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        www = folder / "www"
        www.mkdir()
        for name in ("vmlinuz", "installer.img", "root.tar.zst"):
            (www / name).symlink_to(DIST / name)
        identity = make_certificate(folder, "site", SITE)
        (www / "site.img").write_bytes(site_files(identity[0].read_bytes(), int(time.time()) - 60))
        (www / "boot.ipxe").write_text(_BOOT)
        (www / "profile").write_text(_PROFILE)
        self.key = folder / "key"
        run_checked(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "root@head", "-f", str(self.key)],
            deadline_seconds=30,
        )
        self._services = (WebService(www, None, HTTP_PORT), WebService(www, identity, HTTPS_PORT))
        self.reports = self._services[1].posted
        self._digest = hashlib.sha256((DIST / "root.tar.zst").read_bytes()).hexdigest()

    def plan(self, installation: str, digest: str = "", **attributes: str) -> None:
        """Serve a plan for the host with these attributes, and forget all reports."""
        url = f"https://{SITE}:{HTTPS_PORT}"
        source = Source(
            installation,
            f"{url}/root.tar.zst",
            digest or self._digest,
            f"{url}/profile",
            f"{url}/progress",
            (self.key.with_suffix(".pub").read_text().strip(),),
        )
        interface = Interface(
            "compute-0-0", "eth0", MAC, HOST_ADDRESS, None, "private", "255.255.255.0", 1500
        )
        common = {
            "Kickstart_PrivateGateway": SITE,
            "install_kernel_arguments": "console=ttyS0,115200 mitigations=off quiet",
        }
        host = Host("compute-0-0", "Compute", "compute", 1, 0, 0, interfaces=(interface,))
        text = plan_text(plan_installation(Host(**{**vars(host), "attributes": common | attributes}), source))
        (self.folder / "www/plan").write_text(text)
        self.reports.clear()

    def close(self) -> None:
        for service in self._services:
            service.close()


@dataclass
class Machine(EmulatedMachine):
    """An emulated machine with disks; `uefi` is its firmware. One that starts again goes off instead."""

    site: Site
    name: str
    disks: list[Path]
    uefi: bool = False
    bus: str = "virtio-blk-pci"

    def start(self, *, network: bool) -> None:
        """Switch it on; it boots from the network or from its disks."""
        self._file("console").unlink(missing_ok=True)
        self._process = start_in_background(self._arguments(network), self._file("log"))

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = 5400) -> None:
        """Wait for the condition while the machine is on; AssertionError with the end of its console."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.is_running() or condition(), f"{what}: the machine went off\n{self._evidence()}"
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s\n{self._evidence()}"
            time.sleep(0.5)

    def wait_for_report(self, beginning: str) -> str:
        """Wait until a report begins with the text; returns it. A report of a failure ends the waiting."""

        def found() -> str:
            reports = [line for line in self.site.reports if line.startswith(beginning)]
            failed = [line for line in self.site.reports if line.startswith(("failed", "first-boot-failed"))]
            assert reports or not failed, f"{failed}\n{self._evidence()}"
            return reports[0] if reports else ""

        self.wait_until(lambda: bool(found()), f"report {beginning}")
        return found()

    def wait_until_off(self) -> None:
        """Wait until it starts again by itself, which ends the process."""
        self.wait_until(lambda: not self.is_running(), "start after the installation")

    def ask(self, *arguments: str) -> Finished:
        """Run a program there by SSH."""
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=60")
        ssh = ["ssh", "-q", "-F", "/dev/null", "-i", str(self.site.key), "-p", str(SSH_PORT)]
        ssh += [word for option in (*options, "BatchMode=yes") for word in ("-o", option)]
        return run([*ssh, "root@127.0.0.1", *arguments], deadline_seconds=180)

    def _arguments(self, network: bool) -> Sequence[str]:
        firmware = self.firmware() if self.uefi else ()
        order = "" if network else ",bootindex={}"
        drives = [
            word
            for number, disk in enumerate(self.disks)
            for word in (
                *("-drive", f"file={disk},if=none,id=d{number},format=qcow2,cache=unsafe,discard=unmap"),
                *("-device", f"{self.bus},drive=d{number},serial=DISK{number}{order.format(number)}"),
            )
        ]
        user = (
            f"user,id=n,net=10.9.0.0/24,host={SITE},dhcpstart=10.9.0.100,"
            f"bootfile=http://{SITE}:{HTTP_PORT}/boot.ipxe,hostfwd=tcp:127.0.0.1:{SSH_PORT}-{HOST_ADDRESS}:22"
        )
        return [
            *("qemu-system-x86_64", "-machine", "q35,graphics=off"),
            *("-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"),
            *("-m", "1024", "-display", "none", "-vga", "none", "-no-reboot", "-nodefaults"),
            *("-serial", f"file:{self._file('console')}", "-device", "virtio-rng-pci", *firmware, *drives),
            *(() if network else ("-boot", "strict=on")),
            *("-netdev", user),
            *("-device", f"virtio-net-pci,netdev=n,mac={MAC}" + (",bootindex=0" if network else "")),
        ]

    def _file(self, kind: str) -> Path:
        return self.site.folder / f"{self.name}.{kind}"

    def _evidence(self) -> str:
        log = self._file("log").read_text() if self._file("log").exists() else ""
        return f"reports: {self.site.reports}\nqemu: {log}\n{self.console[-3000:]}"


def make_disk(folder: Path, name: str, gigabytes: int = 8) -> Path:
    path = folder / f"{name}.qcow2"
    run_checked(["qemu-img", "create", "-q", "-f", "qcow2", str(path), f"{gigabytes}G"], deadline_seconds=30)
    return path
