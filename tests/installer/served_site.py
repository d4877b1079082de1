"""A frontend that serves hosts by its own commands, and blank machines on its network private.

The network is a tap device in the network of the test; QEMU without KVM is the machine at its other end. The
services are processes of `rocks`, with a real database; only keys and certificates are in a folder of the test.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess  # noqa: TID251 - commands and services are started as processes
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rocks.graph_files import SITE_GRAPHS, SITE_NODES, own_folders
from rocks.process import Finished, run, run_checked, start_in_background
from rocks.rollkit.distribution import DistributionPlan, create_distribution
from tests.debs import make_empty_deb

CHECKOUT = Path(__file__).parents[2]
DIST = CHECKOUT / "dist"
DEVICE, FRONTEND, ADDRESS, NETMASK = "tap0", "head", "10.9.0.1", "255.255.255.0"
ARGUMENTS = "console=ttyS0,115200 mitigations=off quiet"
_POLL_SECONDS = 10
"""Each look is a command, which takes time from the machine."""
_FIRMWARE = Path("/usr/share/OVMF")


class Frontend:
    """A site with a frontend and no hosts: database, distribution, boot service, HTTPS service."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self._environment = {
            **os.environ,
            **environment,
            "PYTHONPATH": str(CHECKOUT / "src"),
            "ROCKS_BOOT_FOLDER": str(folder / "tftp"),
            "ROCKS_BOOT_RUN_FOLDER": str(folder / "run"),
        }
        self._processes: list[int] = []
        # dnsmasq reads the files as a user of its own
        for above in (folder, *folder.parents[:-1]):
            above.chmod(above.stat().st_mode | 0o11)
        self._make_network()
        self._make_distribution()
        self._make_site()
        for service in ("boot", "kickstart"):
            self._start(service)

    def rocks(self, *arguments: str) -> str:
        """Run a command that must succeed; returns its output."""
        done = subprocess.run(
            self._command(arguments),
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"rocks {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def discover(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `rocks discover host`."""
        return subprocess.Popen(
            self._command(["discover", "host", *arguments]),
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def state(self, host: str) -> tuple[str, str]:
        """The state and the last report of a host's installation."""
        ((found,),) = [
            one["install"] for one in json.loads(self.rocks("list", "host", "install", host, "json=yes"))
        ]
        return found["state"], found["report"]

    def ask(self, host: str, *arguments: str) -> Finished:
        """Run a program on a host by SSH; its key must be known as the installer reported it."""
        options = ("StrictHostKeyChecking=yes", f"UserKnownHostsFile={self.folder}/known_hosts")
        options += ("ConnectTimeout=60", "BatchMode=yes", f"HostKeyAlias={host}")
        address = next(
            line.split(",")[1]
            for line in (self.folder / "run/hosts").read_text().splitlines()
            if line.endswith(f",{host}")
        )
        return run(
            ["ssh", "-q", "-F", "/dev/null", "-i", str(self.folder / "key")]
            + [part for option in options for part in ("-o", option)]
            + [f"root@{address}", *arguments],
            deadline_seconds=180,
        )

    def log(self) -> str:
        """The end of both services' logs."""
        return "\n".join((self.folder / f"{name}.log").read_text()[-3000:] for name in ("boot", "kickstart"))

    def close(self) -> None:
        """End the services and remove the network."""
        for number in self._processes:
            os.kill(number, signal.SIGTERM)
            os.waitpid(number, 0)
        run_checked(["ip", "link", "del", DEVICE], deadline_seconds=10)

    def _make_network(self) -> None:
        for line in (
            ["tuntap", "add", "dev", DEVICE, "mode", "tap"],
            ["address", "add", f"{ADDRESS}/24", "dev", DEVICE],
            ["link", "set", DEVICE, "up"],
        ):
            run_checked(["ip", *line], deadline_seconds=10)

    def _make_distribution(self) -> None:
        """As `rocks create distro` builds it, from a roll with the installer and one package."""
        roll = self.folder / "rolls/os/12/x86_64"
        (roll / "installer").mkdir(parents=True)
        for name in ("vmlinuz", "installer.img", "root.tar.zst", "root.sha256"):
            shutil.copy(DIST / name, roll / "installer" / name)
        make_empty_deb(roll / "Debian", "site-mark", "1")
        place = self.folder / "export/install"
        place.mkdir(parents=True)
        plan = DistributionPlan("rocks-dist", "x86_64", [roll], own_folders(), SITE_NODES, SITE_GRAPHS)
        create_distribution(plan, place)

    def _make_site(self) -> None:
        for line in (
            f"add network private 10.9.0.0 {NETMASK} dnszone=local",
            f"add host {FRONTEND} membership=Frontend rack=0 rank=0",
            f"add host interface {FRONTEND} eth0 ip={ADDRESS} subnet=private",
            f"set attr Kickstart_PrivateHostname {FRONTEND}",
            f"set attr Kickstart_PrivateGateway {ADDRESS}",
            f"set attr Kickstart_DistroDir {self.folder}/export",
            f"add host certificate {FRONTEND}",
        ):
            self.rocks(*line.split())
        self.rocks("set", "appliance", "attr", "compute", "install_kernel_arguments", f"value={ARGUMENTS}")

    def _start(self, service: str) -> None:
        log = self.folder / f"{service}.log"
        self._processes.append(
            start_in_background(self._command(["start", "service", service]), log, self._environment)
        )
        ready = {"boot": "DHCP, static leases", "kickstart": "listening on port"}[service]
        deadline = time.monotonic() + 60
        while ready not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)

    def _command(self, arguments: Sequence[str]) -> list[str]:
        keys = (str(self.folder / "key"), str(self.folder / "known_hosts"))
        start = (
            "import sys\n"
            "from rocks.actions import message_broker\n"
            "from rocks.hosts.settings import FleetSettings\n"
            f"message_broker.AUTHORITY_FOLDER = {str(self.folder / 'pki')!r}\n"
            f"FleetSettings.__new__.__defaults__ = {keys!r} + FleetSettings.__new__.__defaults__[2:]\n"
            "from rocks.cli.main import main\n"
            f"sys.exit(main({list(arguments)!r}))\n"
        )
        return [sys.executable, "-c", start]


@dataclass
class NetworkMachine:
    """An emulated machine on the network private, which always boots from the network first."""

    frontend: Frontend
    name: str
    disks: list[Path]
    mac: str = "52:54:00:00:00:09"
    uefi: bool = False
    bus: str = "virtio-blk-pci"
    _process: int | None = field(default=None, init=False)

    def start(self) -> None:
        """Switch it on."""
        self._process = start_in_background(self._arguments(), self._file("log"))

    def cut_power(self) -> None:
        """Switch it off at once."""
        if self._process is not None:
            os.kill(self._process, signal.SIGKILL)
            os.waitpid(self._process, 0)
            self._process = None

    @property
    def console(self) -> str:
        """What the console has shown."""
        path = self._file("console")
        return path.read_bytes().decode(errors="replace") if path.exists() else ""

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = 5400) -> None:
        """Wait for the condition; AssertionError with the end of console and logs."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s\n{self.evidence()}"
            time.sleep(_POLL_SECONDS)

    def wait_for_state(self, host: str, state: str, seconds: float = 5400) -> None:
        """Wait for a state of the host's installation; a failure ends the waiting."""

        def reached() -> bool:
            found, report = self.frontend.state(host)
            assert found == state or not found.endswith("failed"), f"{report}\n{self.evidence()}"
            return found == state

        self.wait_until(reached, state, seconds)

    def evidence(self) -> str:
        """Console and logs, for a failed test."""
        return f"{self._file('log').read_text()}\n{self.console[-4000:]}\n{self.frontend.log()}"

    def _arguments(self) -> list[str]:
        drives = [
            part
            for number, disk in enumerate(self.disks)
            for part in (
                *("-drive", f"file={disk},if=none,id=d{number},format=qcow2,cache=unsafe,discard=unmap"),
                *("-device", f"{self.bus},drive=d{number},serial=DISK{number},bootindex={number + 1}"),
            )
        ]
        console = ("-chardev", f"file,id=c,path={self._file('console')},append=on", "-serial", "chardev:c")
        network = ("-netdev", f"tap,id=n,ifname={DEVICE},script=no,downscript=no")
        return [
            *("nice", "-n", "19", "qemu-system-x86_64", "-machine", "q35,graphics=off"),
            *("-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024"),
            *("-display", "none", "-vga", "none", "-nodefaults", "-device", "virtio-rng-pci"),
            *console,
            *network,
            *("-device", f"virtio-net-pci,netdev=n,mac={self.mac},bootindex=0"),
            *self._firmware(),
            *drives,
        ]

    def _firmware(self) -> Sequence[str]:
        if not self.uefi:
            return ()
        variables = self._file("variables")
        if not variables.exists():
            shutil.copy(_FIRMWARE / "OVMF_VARS_4M.fd", variables)
        return (
            *("-drive", f"if=pflash,format=raw,readonly=on,file={_FIRMWARE / 'OVMF_CODE_4M.fd'}"),
            *("-drive", f"if=pflash,format=raw,file={variables}"),
        )

    def _file(self, kind: str) -> Path:
        return self.frontend.folder / f"{self.name}.{kind}"
