"""The site of `conftest.py`: starts it, runs commands on it, breaks and repairs it."""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess  # noqa: TID251 - the type of what rocks.core.process starts
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import libvirt  # noqa: TID251 - past the system
import pymysql  # noqa: TID251 - past `Database`
from pymysql.constants import CLIENT  # noqa: TID251

from lab import agent_archive, database, libvirtd, links, sshd
from lab.namespace import Machine
from rocks.core.errors import ToolError
from rocks.core.process import Finished, run, run_checked, start_with_pipes
from rocks.fleet.connection import FleetSettings
from rocks.fleet.known_hosts import parse_host_key
from tests.patience import patience
from tests.system.vms.fork_server import exit_status, request
from tests.waiting import wait_until

CHECKOUT = Path(__file__).resolve().parents[3]
_PYTHON, _WATCH = CHECKOUT / ".state/venv/bin/python", CHECKOUT / "tests/system/transaction_watch.py"
LAUNCHER = [str(_PYTHON), "-E", "-S", str(_WATCH)]
HOSTS = ("vmh1", "vmh2")
ADDRESSES = {"head": "127.0.0.1", "vmh1": "127.0.0.2", "vmh2": "127.0.0.3"}
IMAGES = "/var/lib/rocks-images"
MAX_SECONDS = 60.0


_ROMS = ("/usr/lib/ipxe/qemu/efi-virtio.rom", "/usr/share/qemu/efi-virtio.rom")
"""Where QEMU of Debian 12, and of 13, has the ROM of its network adapter."""


class ThreeMachines:
    """`head` is the frontend and runs virtual machines itself; `vmh1` and `vmh2` are reached by SSH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        head = Machine(folder / "head")
        self.machines = {"head": head, **{name: Machine(folder / name, network=head) for name in HOSTS}}
        self.bridges = {"head": "rtprivh0", "vmh1": "rtprva0", "vmh2": "rtprvb0", "public": "rtpub0"}
        self.ports: dict[str, int] = {}
        packages = next((CHECKOUT / ".state/venv/lib").glob("python3.*/site-packages"))
        self._site_packages = f"ROCKS_SITE_PACKAGES={packages}"
        self._rocks_socket = head.folder / "rocks.sock"
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("ROCKS_")},
            "ROCKS_LAUNCHER": str(CHECKOUT / "bin/rocks"),
            "ROCKS_WATCH_FILE": str(folder / "open-transactions"),
            "ROCKS_SITE_PACKAGES": str(packages),
        }

    # life

    def start(self) -> None:
        """Bring everything up and record it in the database, by the commands that an operator would type."""
        for machine in self.machines.values():
            machine.folder.mkdir(mode=0o755)
            machine.start()
            rom = machine.folder / "empty.rom"
            rom.write_bytes(bytes(512))  # emulated, the real one computes for seconds until no server answers
            machine.cover(rom, next(path for path in _ROMS if Path(path).exists()))
            agent_archive.install(machine.outside("/opt/rocks"))
        self.machines["head"].in_network(self._make_bridges)
        database.start(self.machines["head"])
        for machine in self.machines.values():
            libvirtd.start(machine, kvm_works=False)
        self._start_listening_programs()
        self._describe_site()

    def stop(self) -> None:
        for machine in self.machines.values():
            libvirtd.stop(machine)
            sshd.stop(machine)
        database.stop(self.machines["head"])
        for machine in self.machines.values():
            machine.stop()

    def revive(self) -> None:
        """Have all hosts answer again."""
        for name in HOSTS:
            if not sshd.is_running(self.machines[name]):
                self.start_sshd(name)

    def clean(self) -> None:
        """Remove all virtual machines from the database and the hosts, and all leases."""
        self.revive()
        for name, machine in self.machines.items():
            self._remove_domains(name)
            for path in machine.outside(IMAGES).iterdir():
                path.unlink(missing_ok=True)  # a killed command's agent may remove it
            for path in machine.outside("/var/lib/rocks/leases").glob("*"):
                path.unlink(missing_ok=True)
        self.sql("UPDATE vm_leases SET State = 'running', Target = NULL WHERE State = 'moving'")
        vms = [name for (name,) in self.sql("SELECT n.Name FROM vm_nodes v JOIN nodes n ON n.ID = v.Node")]
        if vms:
            self.rocks("remove host " + " ".join(vms))
        self.sql("UPDATE vm_leases SET State = 'released', Host = NULL")
        self.sql("DELETE FROM vm_lease_disks")
        self.sql("DELETE FROM vm_fences")

    def _remove_domains(self, host: str) -> None:
        with self._libvirt(host) as connection:
            for domain in connection.listAllDomains():
                with suppress(libvirt.libvirtError):  # it is off, or one that ends with its process
                    domain.destroy()
                with suppress(libvirt.libvirtError):
                    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)

    def vanish(self, name: str) -> None:
        """The host does not answer any more; its guests run on."""
        sshd.stop(self.machines[name])
        # a connection that an earlier command left lives on, but no command finds it
        self.machines["head"].run_checked(["/bin/rm", "-rf", FleetSettings().control_folder], 10)

    def start_sshd(self, name: str) -> None:
        """The host answers at the port that the database knows."""
        key = self.machines["head"].outside("/etc/rocks/ssh/id_ed25519.pub").read_text()
        sshd.start(self.machines[name], key, ADDRESSES[name], self.ports[name])

    # use

    def rocks(self, line: str, deadline_seconds: float = MAX_SECONDS, **environment: str) -> Finished:
        """Run `rocks LINE` on the frontend, as its operator would; arguments as a shell parts them.

        A process of its own, forked by a server; `begin` and `rocks_on_terminal` start the program itself.
        """
        variables = {**self._environment, **environment}
        return run_forked(self._rocks_socket, shlex.split(line), variables, patience(deadline_seconds))

    def rocks_on_terminal(self, line: str) -> Finished:
        """As `rocks`, with a terminal as its standard input, output and error."""
        command = shlex.join(self.machines["head"].command([*LAUNCHER, *shlex.split(line)]))
        program = ["/usr/bin/script", "--quiet", "--return", "--command", command, "/dev/null"]
        return run(program, deadline_seconds=patience(MAX_SECONDS), environment=self._environment)

    def done(self, line: str) -> str:
        """As `rocks`, for a command that must succeed; returns its standard output."""
        finished = self.rocks(line)
        assert finished.exit_status == 0, f"rocks {line}: {finished.exit_status}: {finished.error_text}"
        return finished.text

    def refused(self, line: str, exit_status: int = 1) -> str:
        """As `rocks`, for a command that must be refused; returns the error."""
        finished = self.rocks(line)
        assert finished.exit_status == exit_status, (
            f"rocks {line}: {finished.exit_status} {finished.error_text}"
        )
        assert "Traceback" not in finished.error_text
        assert "Error: " in finished.error_text
        return finished.error_text

    def begin(self, line: str, user: str = "0") -> Running:
        """Start `rocks LINE`, as a user of the frontend, and let it run."""
        identity = as_user(user) if user != "0" else []
        command = self.machines["head"].command([*identity, *LAUNCHER, *shlex.split(line)])
        return Running(start_with_pipes(command, environment=self._environment))

    def write_program(self, place: Path, running: Path) -> None:
        """A program that runs `rocks` on the frontend; `running/PID` has the arguments of each start of it."""
        running.mkdir()
        variables = "".join(
            f"export {key}={shlex.quote(value)}\n" for key, value in self._environment.items()
        )
        command = shlex.join(self.machines["head"].command(LAUNCHER))
        place.write_text(f'#!/bin/sh\n{variables}echo "$*" >{running}/$$\nexec {command} "$@"\n')
        place.chmod(0o755)

    def add_vm(self, name: str, host: str, more: str = "") -> str:
        """A virtual machine on a host, on the site's private network; returns its name."""
        self.done(f"add host vm {host} membership=compute name={name} mem=64 disksize=1 {more}")
        return name

    def started(self, name: str, host: str, more: str = "") -> str:
        """Add a machine and start it."""
        self.add_vm(name, host, more)
        self.done(f"start host vm {name}")
        return name

    def start_at_once(self, names: Sequence[str]) -> str:
        """Start each of two machines by a command of its own, at once: one starts; returns the other's error."""
        both = [self.begin(f"start host vm {name}") for name in names]
        ends = [one.end() for one in both]
        assert sorted(status for status, _ in ends) == [0, 1], ends
        (error,) = [text for status, text in ends if status == 1]
        return error

    def virsh(self, host: str, *arguments: str) -> Finished:
        """Run virsh on a host, past the system."""
        program = ["/usr/bin/virsh", "-q", "-c", "qemu:///system", *arguments]
        return self.machines[host].run(program, patience(30.0))

    def domains(self, host: str, flags: int = 0) -> list[str]:
        """Names of all domains that libvirt on the host knows; flags of virConnectListAllDomains choose."""
        with self._libvirt(host) as connection:
            return sorted(domain.name() for domain in connection.listAllDomains(flags))

    def running(self, name: str) -> list[str]:
        """The hosts on which a domain of that name has a QEMU process."""
        return [host for host, machine in self.machines.items() if libvirtd.is_guest(machine, name)]

    @contextmanager
    def _libvirt(self, host: str) -> Iterator[libvirt.virConnect]:
        """A connection to a host's libvirt, past the system."""
        socket = self.machines[host].outside("/run/libvirt/libvirt-sock")
        connection = libvirt.open(f"qemu+unix:///system?socket={socket}")
        try:
            yield connection
        finally:
            connection.close()

    def connect(self) -> pymysql.Connection[Any]:
        return pymysql.connect(
            unix_socket=str(self.machines["head"].outside(database.SOCKET)),
            user="root",
            database="cluster",
            charset="utf8mb4",
            conv={},  # as text, as the server sends them
            autocommit=True,
            client_flag=CLIENT.MULTI_STATEMENTS,
        )

    def sql(self, statement: str) -> list[list[str]]:
        """Rows of statements on the cluster database; values are text, NULL is "NULL"."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            rows = list(cursor.fetchall())
            while cursor.nextset():
                rows += cursor.fetchall()
        return [["NULL" if value is None else value for value in row] for row in rows]

    def place(self, name: str) -> str:
        ((host,),) = self.sql(
            "SELECT p.Name FROM vm_nodes v JOIN nodes n ON n.ID = v.Node JOIN nodes p ON p.ID = v.PhysNode"
            f" WHERE n.Name = '{name}'"
        )
        return host

    def put_on_nas(self, name: str, nas: str) -> None:
        """Record the machine's disks as images of a NAS."""
        self.sql(
            f"INSERT INTO img_nas_server (vm_disk_id, nas_name, zpool_name) SELECT d.ID, '{nas}', 'tank'"
            " FROM vm_disks d JOIN vm_nodes v ON v.ID = d.Vm_Node JOIN nodes n ON n.ID = v.Node"
            f" WHERE n.Name = '{name}'"
        )

    def open_transactions(self) -> str:
        """What `transaction_watch` has found since the last call."""
        file = self.folder / "open-transactions"
        text = file.read_text() if file.exists() else ""
        file.unlink(missing_ok=True)
        return text

    def lease(self, name: str) -> tuple[int, str, str]:
        """(token, state, host or NULL) of a machine's lease."""
        ((token, state, host),) = self.sql(f"SELECT Token, State, Host FROM vm_leases WHERE Name = '{name}'")
        return int(token), state, host

    # making

    def _make_bridges(self) -> None:
        for name in self.bridges.values():
            links.ensure_bridge(name, "made by a test")

    def _start_listening_programs(self) -> None:
        """`rocks` on the frontend, and agents on all machines but the last, where each request imports its own."""
        self._start_fork_server(self.machines["head"])
        for machine in list(self.machines.values())[:-1]:
            agent_archive.listen(machine)

    def _start_fork_server(self, head: Machine) -> None:
        server = str(CHECKOUT / "tests/system/vms/fork_server.py")
        socket = head.folder / "rocks.sock"
        command = ["/usr/bin/env", self._site_packages, LAUNCHER[0], "-ES", server, str(socket)]
        head.start_daemon("rocks-server", command)
        wait_until(socket.exists, seconds=60)

    def _describe_site(self) -> None:
        head = self.machines["head"]
        key = head.outside("/etc/rocks/ssh") / "id_ed25519"
        key.parent.mkdir(mode=0o700)
        run_checked(
            ["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], deadline_seconds=30
        )
        self.done("update database")
        self.done('"add host" head membership=Frontend rack=0 rank=0 cpus=2')
        self.done("set attr Kickstart_PrivateHostname head")
        self.done("set attr vm_mac_base_addr 76:77:6e:80:00:00")
        self.done("set attr vm_mac_base_addr_mask ff:ff:ff:c0:00:00")
        self.done(f"set attr vm_image_directory {IMAGES}")
        self.done("set attr vm_image_directories /opt/rocks/small")
        self.done("add network private 127.0.0.0 255.0.0.0")
        self.done("add network public 203.0.113.0 255.255.255.0")
        self.done("set host attr head kvm true")
        if not head.in_network(links.has_filters):
            self.done("set attr vm_filter off")
        fingerprints = {}
        for number, name in enumerate(HOSTS):
            server = sshd.start(self.machines[name], key.with_suffix(".pub").read_text(), ADDRESSES[name])
            port = server.port
            fingerprints[name] = parse_host_key(server.host_key).fingerprint
            self.done(f"add host {name} membership='VM Container' rack=1 rank={number} cpus=2")
            self.done(f"set host attr {name} ssh_port {port}")
            self.ports[name] = port
        self.sql(
            "INSERT INTO networks (Node, Device, IP, Subnet, Options) SELECT n.ID, d.Device, d.IP, s.ID, 'novtap'"
            " FROM nodes n JOIN subnets s ON s.name = 'private' JOIN ("
            + " UNION ALL ".join(
                f"SELECT '{name}' AS Host, '{self.bridges[name]}' AS Device, '{address}' AS IP"
                for name, address in ADDRESSES.items()
            )
            + ") d ON d.Host = n.Name"
        )
        for name in HOSTS:
            self.done(f"sync host sharedkey {name} fingerprint={fingerprints[name]}")


def as_user(user: str) -> list[str]:
    """The beginning of a command line that is run by this user of a machine, who is in no other group."""
    return ["/usr/bin/setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]


def run_forked(
    place: Path, arguments: Sequence[str], environment: Mapping[str, str], deadline_seconds: float
) -> Finished:
    """As `process.run`, by the fork server at `place`: to its end, with its output to the end; else ToolError."""
    (input_end, no_input), *outputs = [os.pipe() for _ in range(3)]
    given = (input_end, *(end for _, end in outputs))
    server = request(place, arguments, environment, given)
    for number in (no_input, *given):
        os.close(number)
    found = {end: b"" for end, _ in outputs}
    unfinished, end_at = list(found), time.monotonic() + deadline_seconds
    try:
        while unfinished and (remaining := end_at - time.monotonic()) > 0:
            for number in _readable(unfinished, remaining):
                data = os.read(number, 1 << 16)
                found[number] += data
                if not data:
                    unfinished.remove(number)
        if unfinished:
            raise ToolError(
                f"rocks {shlex.join(arguments)} did not close its output in {deadline_seconds:g} s"
            )
        if not _readable([server.fileno()], max(1.0, end_at - time.monotonic())):
            raise ToolError(f"rocks {shlex.join(arguments)} did not end in {deadline_seconds:g} s")
        return Finished(tuple(arguments), exit_status(server), *found.values())
    finally:
        server.close()  # kills it if it runs
        for number in found:
            os.close(number)


def _readable(numbers: Sequence[int], seconds: float) -> list[int]:
    """The descriptors that can be read, within this time; of any number, unlike those of `select.select`."""
    waiting = select.poll()
    for number in numbers:
        waiting.register(number, select.POLLIN)
    return [number for number, _ in waiting.poll(seconds * 1000)]


class Running:
    """A `rocks` that runs: wait for it, or kill it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def kill(self) -> int:
        """SIGKILL, and wait until it has ended; its programs on hosts run on. Returns the exit status."""
        os.kill(self._process.pid, signal.SIGKILL)  # its parent: the command is killed with it
        return self.end()[0]

    def first_line(self) -> str:
        """The first line on standard error, when it is there."""
        return self._process.stderr.readline().decode()

    def read(self, count: int) -> bytes:
        """So many bytes of standard output, or fewer when it has ended."""
        return self._process.stdout.read(count)

    def send(self, data: bytes) -> None:
        """Write to its standard input."""
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def end(self, deadline_seconds: float = MAX_SECONDS) -> tuple[int, str]:
        """(exit status, standard error) when it has ended."""
        _, error_output = self._process.communicate(timeout=patience(deadline_seconds))
        return self._process.returncode, error_output.decode()
