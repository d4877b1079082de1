"""The bench's own site: a frontend with its database, and four physical hosts, each with libvirt, agent and sshd.

All of it lives below one state folder, on machines of the lab that share this machine's network, where the bench plays
many more hosts. `tear_down` works in any state, after a kill as well, and the next run begins with it.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lab import accelerator, agent_archive, libvirtd, links, sshd
from lab.namespace import IMAGE_FOLDER, Machine, Network
from lab.progress import Progress
from lab.site import Site
from rocks.core.errors import ToolError
from rocks.core.process import Finished, run_checked
from rocks.database.settings import Settings

CHECKOUT = Path(__file__).absolute().parent.parent
STATE = CHECKOUT / ".state"
ROCKS = str(CHECKOUT / "bin" / "rocks")
FRONTEND = "head"

_NETWORK, _NETMASK = "198.18.0.0", "255.255.0.0"
_HOST_ADDRESSES = "198.18.1.0/24"
"""Each host has an address of its own, from the range that is reserved for benchmarks (RFC 2544)."""

_FRONTEND_ADDRESS = "198.18.0.1"
_LIBVIRT_CONFIGURATION = "/etc/libvirt/qemu.conf"
_FIRST_DISPLAY_PORT, _DISPLAY_PORTS = 6200, 50
_FIRST_REAL = 201
SSH_PORT = 2222
GUEST_MEMORY_MB = 64
_KEY = "/etc/rocks/ssh/id_ed25519"
_COMMAND_DEADLINE_SECONDS = 180.0
_DEVICE_STEMS = ("prkbf", "prkba", "prkbb", "prkbc", "prkbd")


class Container(NamedTuple):
    """A physical host as recorded in the cluster database; `device` carries its VLANs."""

    name: str
    address: str
    device: str


class RealHost(NamedTuple):
    """A physical host that runs: its machine, the address of its sshd, and the device that carries its VLANs."""

    machine: Machine
    ssh: sshd.SshServer
    device: str


class BenchSite:
    """The whole site over `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.frontend = Site(self.folder / "frontend", STATE / "cache", Network.SHARED)
        self.with_image = Site(self.folder / "with-image", STATE / "cache")
        """A site of its own, for clusters that are made from an image; it is not brought up."""
        self._machines = [Machine(self.folder / f"host-{number}", Network.SHARED) for number in range(1, 5)]
        self._mark = links.alias_of(self.folder)
        self.frontend_device = ""
        self.hosts: tuple[RealHost, ...] = ()
        self.has_kvm = False
        self.has_vlans = False

    def bring_up(self, progress: Progress) -> None:
        """The frontend with an empty cluster database, and the hosts. RocksError when a part does not start."""
        self.frontend.bring_up(progress)
        names = links.choose_names(links.read_links(), _DEVICE_STEMS, self._mark)
        for name in names:
            links.ensure_bridge(name, self._mark)
        # The whole range belongs to this machine until the device is removed.
        run_checked(
            ["/usr/sbin/ip", "route", "add", "local", _HOST_ADDRESSES, "dev", names[0]],
            deadline_seconds=_COMMAND_DEADLINE_SECONDS,
        )
        self.has_vlans = links.has_vlans(names[0])
        # A host's VLANs lie on pDEVICE: on older sites, DEVICE is a bridge whose port has that name.
        self.frontend_device = names[0].removeprefix("p")
        self.make_key(self._key)
        agent_archive.listen(self.frontend.machine)
        with progress.step(f"{len(self._machines)} hosts: libvirt, agent and sshd each"):
            self.hosts = tuple(
                self._bring_up_host(number, machine, device.removeprefix("p"))
                for number, (machine, device) in enumerate(zip(self._machines, names[1:], strict=True))
            )

    def tear_down(self) -> None:
        """End and remove everything."""
        for machine in self._machines:
            libvirtd.stop(machine)
            sshd.stop(machine)
            machine.stop()
        self.frontend.tear_down()
        self.with_image.tear_down()
        links.remove_links(self._mark)
        shutil.rmtree(self.folder, ignore_errors=True)

    def environment(self, database: str = "cluster") -> Mapping[str, str]:
        """The environment of `bin/rocks`: this site, and the name of its cluster database."""
        return {
            **os.environ,
            "ROCKS_STATE": str(self.frontend.folder),
            "ROCKS_DATABASE_NAME": database,
        }

    def rocks(self, *arguments: str, database: str = "cluster") -> Finished:
        """Run a command that must succeed. ToolError with its message when it fails."""
        return run_checked(
            [ROCKS, *arguments],
            deadline_seconds=_COMMAND_DEADLINE_SECONDS,
            environment=self.environment(database),
        )

    def database_settings(self, database: str) -> Settings:
        """How the bench itself reaches a database of the site."""
        outside = self.frontend.machine.outside
        socket, state = outside("/var/opt/rocks/mysql/mysql.sock"), outside("/var/lib/rocks/frontend")
        return Settings(str(socket), "localhost", 3306, "root", "", database, str(state))

    def describe(self, database: str = "cluster") -> None:
        """Make a cluster database with the networks and the frontend, and no other host."""
        for arguments in (
            ("update", "database"),
            ("add", "network", "private", f"subnet={_NETWORK}", f"netmask={_NETMASK}"),
            ("add", "network", "public", "subnet=203.0.113.0", "netmask=255.255.255.0"),
            ("add", "host", FRONTEND, "membership=Frontend", "rack=0", "rank=0"),
            ("set", "attr", "Kickstart_PrivateHostname", FRONTEND),
            ("set", "attr", "Kickstart_PublicGateway", "203.0.113.1"),
            ("set", "attr", "vm_mac_base_addr", "02:71:00:80:00:00"),
            ("set", "attr", "vm_mac_base_addr_mask", "ff:ff:ff:c0:00:00"),
            ("set", "attr", "vm_image_directory", IMAGE_FOLDER),
            ("set", "attr", "kvm_netboot", "no"),
        ):
            self.rocks(*arguments, database=database)
        self.rocks("set", "host", "attr", FRONTEND, "kvm", "true", database=database)
        if not links.has_filters():
            self.rocks("set", "attr", "vm_filter", "off", database=database)
        if not self.has_vlans:
            self.rocks("set", "host", "attr", FRONTEND, "vlan_transport", "local", database=database)
        self._add_interface(Container(FRONTEND, _FRONTEND_ADDRESS, self.frontend_device), database)

    def add_containers(self, hosts: Sequence[Container], database: str = "cluster", rack: int = 1) -> None:
        """Add physical hosts that run virtual machines; each call has a rack of its own."""
        self.rocks("set", "appliance", "attr", "vm-container", "ssh_port", str(SSH_PORT), database=database)
        for rank, host in enumerate(hosts):
            arguments = (host.name, "membership=VM Container", f"rack={rack}", f"rank={rank}")
            self.rocks("add", "host", *arguments, database=database)
            self._add_interface(host, database)

    def add_guest(self, name: str, host: str, vlan: int) -> None:
        """Add a small virtual machine with an empty disk, alone on its VLAN."""
        self.rocks("add", "host", "interface", host, f"vlan{vlan}", "subnet=private", f"vlan={vlan}")
        self.rocks(
            "add",
            "host",
            "vm",
            host,
            "membership=Hosted VM",
            f"name={name}",
            f"vlan={vlan}",
            f"mem={GUEST_MEMORY_MB}",
            "disksize=1",
        )

    def _add_interface(self, host: Container, database: str) -> None:
        arguments = (host.name, host.device, f"ip={host.address}", "subnet=private")
        self.rocks("add", "host", "interface", *arguments, database=database)

    def host_address(self, number: int) -> str:
        """The address of the host of that number, from 1 on."""
        return str(ipaddress.IPv4Network(_HOST_ADDRESSES)[number])

    def status(self, *names: str) -> dict[str, int]:
        """Counters of the database server, by name."""
        listed = ", ".join(f"'{name}'" for name in names)
        answer = self.frontend.machine.run_checked(
            [
                *("/usr/bin/mariadb", "--no-defaults", "--socket=/var/opt/rocks/mysql/mysql.sock"),
                *("--batch", "--skip-column-names"),
                *("--execute", f"SHOW GLOBAL STATUS WHERE Variable_name IN ({listed})"),
            ],
            _COMMAND_DEADLINE_SECONDS,
        )
        pairs = [line.split("\t") for line in answer.text.splitlines()]
        if {name for name, _ in pairs} != set(names):
            raise ToolError(f"the database server has no counters {listed}; its answer is {answer.text!r}")
        return {name: int(value) for name, value in pairs}

    def make_key(self, file: Path) -> None:
        """A new Ed25519 key, its public half beside it with the ending `.pub`."""
        file.parent.mkdir(mode=0o755, exist_ok=True)
        arguments = ["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", str(file)]
        run_checked(arguments, deadline_seconds=_COMMAND_DEADLINE_SECONDS)

    @property
    def public_key(self) -> Path:
        """The public half of the frontend's key to its hosts."""
        return self._key.with_suffix(".pub")

    @property
    def known_hosts(self) -> Path:
        """The file of the hosts' keys."""
        return self._key.with_name("known_hosts")

    @property
    def _key(self) -> Path:
        return self.frontend.machine.outside(_KEY)

    def _give_display_ports(self, number: int, machine: Machine) -> None:
        """Console ports of this host alone: all share one network, and libvirt's own choice would race."""
        common = self.frontend.machine.outside(_LIBVIRT_CONFIGURATION).read_text(encoding="ascii")
        first = _FIRST_DISPLAY_PORT + number * _DISPLAY_PORTS
        last = first + _DISPLAY_PORTS - 1
        own = machine.folder / "qemu.conf"
        own.write_text(
            f"{common}remote_display_port_min = {first}\nremote_display_port_max = {last}\n", encoding="ascii"
        )
        machine.outside(_LIBVIRT_CONFIGURATION).touch()
        machine.cover(own, _LIBVIRT_CONFIGURATION)

    def _bring_up_host(self, number: int, machine: Machine, device: str) -> RealHost:
        machine.folder.mkdir(mode=0o755, parents=True)
        machine.start()
        agent_archive.install(machine.outside("/opt/rocks"))
        self._give_display_ports(number, machine)
        self.has_kvm = accelerator.ask(machine, STATE / "cache").kvm_works
        libvirtd.start(machine, self.has_kvm)
        agent_archive.listen(machine)
        public_key = self.public_key.read_text(encoding="ascii")
        ssh = sshd.start(machine, public_key, self.host_address(_FIRST_REAL + number), SSH_PORT)
        return RealHost(machine, ssh, device)
