"""R21: how long a guest is silent while it moves to another host, over the same by virsh alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from pathlib import Path
from typing import NamedTuple

from bench.site import SSH_PORT, STATE, BenchSite, Container
from bench.table import Row, at_most, without_goal
from bench.timing import typical
from lab.guest import image
from lab.libvirtd import QEMU_OWNER
from lab.namespace import IMAGE_FOLDER, Machine
from rocks.core.errors import ToolError
from rocks.core.process import end_group, run_checked, start_with_pipes
from rocks.fleet.host.state_folder import DEFAULT_STATE_FOLDER, Place
from rocks.fleet.wire.requests import console_log
from rocks.machine.host.files import ATTRIBUTE
from rocks.machine.host.libvirt.domain_xml import parse_domain

ROUNDS = 3
LIMIT = 1.2
_GUEST, _HOSTS = "guest-live", ("live-1", "live-2")
_VLAN = 31
_MEMORY_MB = 192
_DISK_BYTES = 1000**3
_LIBVIRT_SOCKET, _SOCKETS = "/run/libvirt/libvirt-sock", "/run/libvirt/bench-live"
_VIRSH = ("/usr/bin/virsh", "--quiet", "--connect", "qemu:///system")
_SECONDS = 150.0
_SOCAT, _TLS_NAME, _TLS_PORT = "/usr/bin/socat", "bench", 49300
_POLL_SECONDS = 0.001
_LINE = "while :; do i=$((i+1)); echo count=$i; usleep 10000; done &"


class _Move(NamedTuple):
    """Seconds of the longest silence of the guest, and of the command."""

    silence: float
    command: float


def measure(site: BenchSite) -> list[Row]:
    """A guest that prints a line all the time moves there and back by each way, in turns."""
    guest = _Guest(site)
    ways = (guest.by_rocks, guest.by_virsh, guest.by_openssh, guest.by_tls)
    moves = {way: list[_Move]() for way in ways}
    for way in ways * ROUNDS:  # there and back: the database knows nothing of moves by virsh
        moves[way] += [guest.move(way), guest.move(way)]
    ours, virsh, openssh, tls = (typical([one.silence for one in moves[way]]) for way in ways)
    commands = [typical([one.command for one in moves[way]]) for way in ways[:2]]
    how = f"medians of {2 * ROUNDS} in turns, {_MEMORY_MB} MB of memory, {_DISK_BYTES // 1000**3} GB of disk"
    return [
        at_most(
            "R21",
            "longest silence of a guest in a live migration / by virsh alone",
            ours / virsh,
            LIMIT,
            "",
            f"{ours * 1000:.0f} ms against {virsh * 1000:.0f} ms, {how}",
        ),
        without_goal(
            "R21",
            "the floor: virsh, socat carries memory and disk through TLS 1.3 / virsh alone, without encryption",
            f"{tls / virsh:.2f}",
            f"{tls * 1000:.0f} ms against {virsh * 1000:.0f} ms, {how}; nothing of ours runs then",
        ),
        without_goal(
            "R21",
            "the same / by virsh through the frontend: OpenSSH forwards the sockets of both hosts",
            f"{ours / openssh:.2f}",
            f"{ours * 1000:.0f} ms against {openssh * 1000:.0f} ms, {how}",
        ),
        without_goal(
            "R21",
            "the whole command / `virsh migrate`",
            f"{commands[0] / commands[1]:.2f}",
            f"{commands[0]:.1f} s against {commands[1]:.1f} s, {how}",
        ),
    ]


class _Guest:
    """The guest on the first of two hosts; it has no network, which virsh alone would not make on the other one."""

    def __init__(self, site: BenchSite) -> None:
        self._site = site
        machines = site.hosts[1:3]  # another part has the address of the first one
        self._machines = [host.machine for host in machines]
        self._here = 0
        hosts = zip(_HOSTS, machines, strict=True)
        containers = [Container(name, host.ssh.address, host.device) for name, host in hosts]
        site.add_containers(containers, rack=2)
        self._addresses = [f"root@{container.address}" for container in containers]
        with site.known_hosts.open("a", encoding="ascii") as file:
            for container, host in zip(containers, machines, strict=True):
                key = " ".join(host.ssh.host_key.split()[:2])
                file.write(f"{container.name},[{container.address}]:{SSH_PORT} {key}\n")
        if not site.has_vlans:
            for name in _HOSTS:
                site.rocks("set", "host", "attr", name, "vlan_transport", "local")
        site.add_guest(_GUEST, _HOSTS[0], _VLAN)
        site.rocks("remove", "host", "interface", _GUEST, "eth0")
        site.rocks("set", "host", "vm", _GUEST, f"mem={_MEMORY_MB}")
        site.rocks("set", "host", "boot", _GUEST, "action=os")
        self._disk = f"{IMAGE_FOLDER}/{_GUEST}.vda"
        base = image.ensure_base_image(STATE / "guest" / "kernel", STATE / "guest" / "images")
        disk = self._machines[0].outside(self._disk)
        disk.parent.mkdir(parents=True, exist_ok=True)
        image.make_disk(base, disk, _GUEST, _DISK_BYTES)
        site.rocks("set", "host", "image", _HOSTS[0], self._disk, f"vm={_GUEST}")
        site.rocks("start", "host", "vm", _GUEST)
        uuid = self._machines[0].run_checked([*_VIRSH, "domuuid", _GUEST], _SECONDS).text.strip()
        self._uuid = uuid
        self._logs = [machine.outside(console_log(uuid)) for machine in self._machines]
        self._wait("guest ready")
        self._type(_LINE)

    def move(self, way: object) -> _Move:
        """Move it to the other host."""
        there = 1 - self._here
        self._logs[there].unlink(missing_ok=True)
        with _Watch(self._logs) as watch:
            time.sleep(1)
            begin = time.monotonic()
            way(there)  # type: ignore[operator]
            taken = time.monotonic() - begin
            time.sleep(1)
        self._here = there
        if not self._logs[there].exists():
            raise ToolError(f"{_GUEST} prints nothing on {_HOSTS[there]}")
        return _Move(watch.longest(), taken)

    def by_rocks(self, there: int) -> None:
        """By the command."""
        self._site.rocks("move", "host", "vm", _GUEST, _HOSTS[there], "live=yes")

    def by_virsh(self, there: int) -> None:
        """By virsh on the old host, which reaches libvirt and QEMU of the new one in this machine's file system."""
        folder = self._site.folder / "sockets"
        folder.mkdir(exist_ok=True)
        os.chown(folder, QEMU_OWNER, QEMU_OWNER)
        libvirt = self._machines[there].outside(_LIBVIRT_SOCKET)
        self._migrate(there, str(libvirt), str(folder))
        for name in ("disks", "memory"):
            (folder / name).unlink(missing_ok=True)

    def by_tls(self, there: int) -> None:
        """By virsh on the old host; socat carries memory and disk from host to host, each end with a certificate."""
        self._empty_folders()
        pair = self._site.folder / "pair.pem"
        if not pair.exists():
            new = (
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "1",
            )
            files = ("-subj", f"/CN={_TLS_NAME}", "-keyout", str(pair), "-out", str(pair))
            run_checked(("/usr/bin/openssl", *new, *files), deadline_seconds=_SECONDS)
        tls = f"cert={pair},cafile={pair},openssl-min-proto-version=TLS1.3"
        address = self._addresses[there].partition("@")[2]
        old, new_host = self._machines[self._here], self._machines[there]
        with contextlib.ExitStack() as ended:
            for port, name in enumerate(("disks", "memory"), _TLS_PORT):
                listen = f"OPENSSL-LISTEN:{port},reuseaddr,fork,{tls}"
                there_ends = (listen, f"UNIX-CONNECT:{_SOCKETS}/{name}")
                socket = f"UNIX-LISTEN:{_SOCKETS}/{name},fork,user={QEMU_OWNER}"
                here_ends = (socket, f"OPENSSL:{address}:{port},commonname={_TLS_NAME},{tls}")
                for machine, ends in ((new_host, there_ends), (old, here_ends)):
                    relay = start_with_pipes(machine.command([_SOCAT, "-b", str(1 << 20), *ends]))
                    ended.callback(end_group, relay)
            sockets = [old.outside(f"{_SOCKETS}/{name}") for name in ("disks", "memory")]
            self._await(sockets, "socat")
            self._migrate(there, str(new_host.outside(_LIBVIRT_SOCKET)), _SOCKETS)

    def _empty_folders(self) -> None:
        for machine in self._machines:
            folder = machine.outside(_SOCKETS)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            os.chown(folder, QEMU_OWNER, QEMU_OWNER)

    def _await(self, sockets: list[Path], program: str) -> None:
        end = time.monotonic() + _SECONDS
        while not all(path.exists() for path in sockets):
            if time.monotonic() > end:
                raise ToolError(f"{program} does not forward the sockets of {_HOSTS[self._here]}")
            time.sleep(0.1)

    def by_openssh(self, there: int) -> None:
        """By virsh on the old host; OpenSSH carries its connections through this machine."""
        self._empty_folders()
        between = self._site.folder / "forwarded"
        between.mkdir(exist_ok=True)
        served = {"libvirt": _LIBVIRT_SOCKET, "disks": f"{_SOCKETS}/disks", "memory": f"{_SOCKETS}/memory"}
        to_new = [part for name, path in served.items() for part in ("-L", f"{between / name}:{path}")]
        from_old = [part for name in served for part in ("-R", f"{_SOCKETS}/{name}:{between / name}")]
        with contextlib.ExitStack() as ended:
            for number, forwards in ((there, to_new), (self._here, from_old)):
                client = start_with_pipes(self._ssh(number, forwards))
                ended.callback(client.wait, _SECONDS)
                ended.callback(client.terminate)
            sockets = [self._machines[self._here].outside(f"{_SOCKETS}/{name}") for name in served]
            self._await(sockets, "OpenSSH")
            for socket in sockets:
                os.chown(socket, QEMU_OWNER, QEMU_OWNER)
            self._migrate(there, f"{_SOCKETS}/libvirt", _SOCKETS)

    def _ssh(self, number: int, forwards: list[str]) -> list[str]:
        """OpenSSH's client on the frontend, to the host."""
        options = {
            "UserKnownHostsFile": self._site.known_hosts,
            "HostKeyAlias": _HOSTS[number],
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "ExitOnForwardFailure": "yes",
            "StreamLocalBindUnlink": "yes",
        }
        listed = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        key = str(self._site.public_key.with_suffix(""))
        own = ("-N", "-p", str(SSH_PORT), "-i", key)
        return ["/usr/bin/ssh", *own, *listed, *forwards, self._addresses[number]]

    def _migrate(self, there: int, libvirt_socket: str, folder: str) -> None:
        """`virsh migrate`, over these sockets as the old host sees them."""
        old, new = self._machines[self._here], self._machines[there]
        disk = new.outside(self._disk)
        disk.parent.mkdir(parents=True, exist_ok=True)
        disk.unlink(missing_ok=True)
        disk.touch(0o600)
        os.setxattr(disk, ATTRIBUTE, self._uuid.encode())
        os.truncate(disk, _DISK_BYTES)
        # virsh alone takes no lease for the way back, which the host would refuse
        Place.LEASES.below(new.inside(DEFAULT_STATE_FOLDER)).joinpath(_GUEST).unlink(missing_ok=True)
        xml = old.run_checked([*_VIRSH, "dumpxml", _GUEST], _SECONDS).text
        # as the command has it: an emulated guest is paused while its memory is sent
        live = ("--live", "--auto-converge") if parse_domain(xml).requires_kvm else ()
        old.run_checked(
            [
                *_VIRSH,
                *("migrate", *live, "--persistent", "--undefinesource"),
                *("--copy-storage-all", "--migrate-disks", "vda"),
                *("--disks-uri", f"unix://{folder}/disks"),
                _GUEST,
                f"qemu+unix:///system?socket={libvirt_socket}",
                f"unix://{folder}/memory",
            ],
            _SECONDS,
        )
        old.outside(self._disk).unlink()

    def _wait(self, text: str) -> None:
        end = time.monotonic() + _SECONDS
        while text not in _text(self._logs[self._here]):
            if time.monotonic() > end:
                raise ToolError(
                    f"{_GUEST} did not print {text!r}, but {_text(self._logs[self._here])[-300:]!r}"
                )
            time.sleep(0.1)

    def _type(self, line: str) -> None:
        machine: Machine = self._machines[self._here]
        terminal = machine.run_checked([*_VIRSH, "ttyconsole", _GUEST], _SECONDS).text.strip()
        typist = start_with_pipes(machine.command(["/bin/sh", "-c", f"cat >{terminal}"]))
        assert typist.stdin is not None
        typist.stdin.write(f"{line}\n".encode())
        typist.stdin.flush()
        self._wait("count=1")
        typist.stdin.close()
        typist.wait(_SECONDS)


class _Watch:
    """When the guest printed something, on either host."""

    def __init__(self, logs: list[Path]) -> None:
        self._logs = logs
        self._times: list[float] = []
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._has_ended.set()
        self._thread.join()

    def longest(self) -> float:
        """The longest time between two lines."""
        if len(self._times) < 10:
            raise ToolError(f"{_GUEST} printed too little: {len(self._times)} lines")
        return max(later - earlier for earlier, later in zip(self._times, self._times[1:], strict=False))

    def _look(self) -> None:
        sizes: dict[Path, int] = {}
        while not self._has_ended.is_set():
            for log in self._logs:
                size = log.stat().st_size if log.exists() else 0
                if sizes.get(log, size) != size:
                    self._times.append(time.monotonic())
                sizes[log] = size
            time.sleep(_POLL_SECONDS)


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
