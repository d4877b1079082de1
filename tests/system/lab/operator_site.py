"""The machines of the operator's guide, to type its blocks on: a frontend, a NAS and three hosts on a private network.

Each has processes, folders and a network of its own. Programs that would change this machine, and systemd, are stubs;
the stub of systemd starts the frontend's real services. What the installer and the first boot do is done by `install`.
"""

import hashlib
import re
import shlex
import socket
import struct
import subprocess  # noqa: TID251 - the type of what rocks.core.process starts
import threading
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lab import database, sshd
from lab.namespace import CHECKOUT, Machine
from rocks.core.process import run_checked, start_with_pipes
from tests.system.graph.machine import STUBS
from tests.unit.install.test_boot import frame

HOSTS = ("nas-0-0", "vm-container-0-0", "vm-container-0-1", "vm-container-0-2")
ADDRESS = "10.1.1.1"
_SECONDS = 900.0
_PROGRAMS = {
    "rocks-boot.service": "rocks start service boot",
    "rocks-kickstart.service": "rocks start service kickstart",
    "rabbitmq-server.service": "setpriv --reuid=rabbitmq --regid=rabbitmq --clear-groups env HOME=/var/lib/rabbitmq "
    # its processes sleep when they wait, instead of asking again
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='+sbwt none +sbwtdcpu none +sbwtdio none' "
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
}
_READY = {
    "rocks-boot.service": "DHCP, static leases",
    "rocks-kickstart.service": "listening on port",
    "rabbitmq-server.service": "completed with",
}
_START = """
status=$?
case $word in start|restart)
  if [ -e "$STUBS/programs/$unit" ]; then
    setsid bash "$STUBS/programs/$unit" </dev/null >>"$STUBS/$unit.log" 2>&1 &
    for second in {1..900}; do
      ! grep -q -f "$STUBS/programs/$unit.ready" "$STUBS/$unit.log" || exit 0
      sleep 0.1
    done
    exit 1
  fi ;;
esac
exit $status
"""
_INSTALLER = "/export/rocks/install/rocks-dist/x86_64/installer"


class Typed(NamedTuple):
    """What a block printed, and those of its commands that failed."""

    text: str
    failed: list[str]


class GuideSite:
    """A frontend that is not one yet, and four blank machines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.machines = {name: Machine(folder / name) for name in ("head", *HOSTS)}
        self.head = self.machines["head"]

    def start(self) -> None:
        """Switch everything on; the frontend has Debian, the programs and a database server."""
        for name, machine in self.machines.items():
            machine.folder.mkdir(mode=0o755)
            machine.start()
            self._place_programs(name)
        self._make_network()
        units = self._folder("head", "units")
        for file in (CHECKOUT / "packaging/files/units").glob("*.service"):
            (units / file.name).write_bytes(file.read_bytes())
        self.head.cover(units, "/lib/systemd/system")
        self.head.run_checked(
            ["/bin/sh", "-c", "echo NODENAME=rabbit@localhost >/etc/rabbitmq/rabbitmq-env.conf"], 10
        )
        database.start(self.head)

    def stop(self) -> None:
        for machine in self.machines.values():
            sshd.stop(machine)
        database.stop(self.head)
        for machine in self.machines.values():
            machine.stop()

    def type(self, block: str) -> Typed:
        """Type a block on the frontend."""
        done = self.head.run(self._shell(), _SECONDS, self._script(block))
        return self._typed(done.text + done.error_text)

    def _typed(self, text: str) -> Typed:
        failed = re.findall(r"^FAILED (.*)$", text, re.MULTILINE)
        return Typed(re.sub(r"^FAILED .*\n?", "", text, flags=re.MULTILINE), failed)

    def discover(self, block: str, *numbers: int) -> Typed:
        """Type a block that waits for new machines; these are switched on, each when the one before is a host."""
        program = [*self._shell()[:-1], "-c", self._script(block).decode()]
        running = start_with_pipes(self.head.command(program))
        lines: list[str] = []
        reader = threading.Thread(target=_read, args=(running, lines))
        reader.start()
        end_at = time.monotonic() + _SECONDS
        for expected, number in enumerate(numbers, 1):
            machine = self.machines[HOSTS[number]]
            while len(lines) < expected and running.poll() is None and time.monotonic() < end_at:
                machine.in_network(partial(_send, _with_checksum(frame(mac=_mac(number)))))
                time.sleep(0.3)
        reader.join(120)
        running.kill()
        return self._typed("".join(lines) + running.stderr.read().decode())

    def serve_installer(self) -> None:
        """Have a distribution with an installer, which no machine here executes."""
        archive = b"a root archive"
        files = {"vmlinuz": b"kernel", "installer.img": b"image", "root.tar.zst": archive}
        files["root.sha256"] = f"{hashlib.sha256(archive).hexdigest()}  root.tar.zst\n".encode()
        for name, data in files.items():
            self.head.run_checked(
                ["/bin/sh", "-c", f"mkdir -p {_INSTALLER}; cat >{_INSTALLER}/{name}"], 10, data
            )

    def serve_guest_image(self) -> None:
        """Have a small disk where the page mounts the ISO of `make guest-iso`."""
        place = "/media/guest"
        self.head.run_checked(["/bin/sh", "-c", "umask 77; mkdir -p /root/.ssh"], 10)
        self.head.cover(self._folder("head", "media"), "/media")
        self.head.run_checked(
            ["/bin/sh", "-c", f"mkdir {place}; head -c 2M /dev/urandom | zstd -q >{place}/debian-12.img.zst"],
            10,
        )

    def install(self, name: str, address: str) -> str:
        """What installer and first boot do between plan and last report; returns what the profile printed."""
        machine = self.machines[name]
        machine.run_checked(["/sbin/ip", "address", "add", f"{address}/16", "dev", "eth0"], 10)
        lines = self._fetch(name, f"https://{ADDRESS}/install/plan").splitlines()
        plan = dict(line.partition(" ")[::2] for line in lines)
        server = sshd.start(machine, plan["authorized-key"] + "\n", address, 22)
        for report in ("started 6.1.0 BIOS", f"host-key {server.host_key}", "installed", "first-boot 6.1.0"):
            self._fetch(name, plan["progress"], "--data", report)
        profile = self._fetch(name, plan["profile"])
        printed = machine.run_checked(["/bin/bash"], _SECONDS, profile.encode())
        self._fetch(name, plan["progress"], "--data", "configured")
        return printed.text + printed.error_text

    def _fetch(self, name: str, address: str, *options: str) -> str:
        authority = self.head.outside("/etc/rocks/pki/authority/ca.crt")
        machine = self.machines[name]
        program = [
            "/usr/bin/curl",
            "-sS",
            "--fail-with-body",
            "--local-port",
            "512-1023",
            "--cacert",
            "/dev/stdin",
        ]
        return machine.run_checked([*program, *options, address], 60, authority.read_bytes()).text

    def _folder(self, name: str, *parts: str) -> Path:
        folder = self.machines[name].folder.joinpath(*parts)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _place_programs(self, name: str) -> None:
        machine = self.machines[name]
        stubs = self._folder(name, "stubs")
        for part in ("installed", "units", "programs"):
            self._folder(name, "stubs", part)
        programs = self._folder(name, "programs")
        texts = {**STUBS, "systemctl": STUBS["systemctl"] + _START, "rocks": _launcher()}
        for program, text in texts.items():
            path = programs / program
            path.write_text(f"#!/bin/bash\nexport STUBS={shlex.quote(str(stubs))}\n{text}\n")
            path.chmod(0o755)
        for unit, command in _PROGRAMS.items():
            (stubs / "programs" / unit).write_text(f"exec {command}\n")
            (stubs / "programs" / f"{unit}.ready").write_text(_READY[unit])
        machine.cover(programs, "/usr/local/sbin")
        machine.cover(self._folder(name, "root-folder"), "/root")
        machine.run_checked(["/bin/mkdir", "-p", "/run/systemd/system"], 10)

    def _make_network(self) -> None:
        """The frontend's device eth0 is a bridge to which the others are attached."""
        init = self.head.init()
        assert init is not None
        self.head.in_network(partial(_ip, "link add eth0 type bridge"))
        for number, name in enumerate(HOSTS):
            other = self.machines[name].init()
            port, mac = f"port{number}", _mac(number).hex(":")
            for line in (
                f"link add {port} type veth peer name eth0 address {mac} netns {other.process_id}",
                f"link set {port} master eth0 up",
            ):
                self.head.in_network(partial(_ip, line))
            self.machines[name].in_network(partial(_ip, "link set eth0 up"))
        for line in (
            f"address add {ADDRESS}/16 dev eth0",
            "link set eth0 up",
            "link add eth1 type bridge",
            "address add 203.0.113.2/24 dev eth1",
            "link set eth1 up",
        ):
            self.head.in_network(partial(_ip, line))

    def _shell(self) -> list[str]:
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return ["/usr/bin/env", "-i", "-C", "/root", path, "HOME=/root", "LANG=C.UTF-8", "/bin/bash", "-s"]

    def _script(self, block: str) -> bytes:
        return f"trap 'echo \"FAILED $BASH_COMMAND\" >&2' ERR\n{block}".encode()


def _launcher() -> str:
    packages = next((CHECKOUT / ".state/venv/lib").glob("python3.*/site-packages"))
    return (
        f"export ROCKS_LAUNCHER={CHECKOUT}/bin/rocks ROCKS_SITE_PACKAGES={packages}\n"
        f'exec {CHECKOUT}/.state/venv/bin/python -E -S {CHECKOUT}/src/rocks/cli/launch.py "$@"'
    )


def _ip(line: str) -> None:
    run_checked(["/sbin/ip", *line.split()], deadline_seconds=10)


def _mac(number: int) -> bytes:
    return bytes.fromhex("525400aa00") + bytes([number])


def _with_checksum(data: bytes) -> bytes:
    """The frame with the checksum of its IP header, without which a bridge with br_netfilter drops it."""
    total = sum(struct.unpack("!10H", data[14:34]))
    total = (total & 0xFFFF) + (total >> 16)
    return data[:24] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + data[26:]


def _send(data: bytes) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind(("eth0", 0))
        wire.send(data)


def _read(running: subprocess.Popen[bytes], lines: list[str]) -> None:
    for line in running.stdout:
        lines.append(line.decode())
