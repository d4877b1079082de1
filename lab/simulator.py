"""A site in memory that answers like `rocks`: for tests. Its clock may be the tester's own.

    python3 -m lab.simulator SOCKET

serves one in place of `nucleus executor`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleus.backends.executor import Answer, Stream
from nucleus.backends.executor_service import ExecutorService
from rocks.core.errors import Code, ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass
class Guest:
    """A virtual machine of the site. `is_deaf`: it does not react to a request to shut down."""

    name: str
    cluster: str
    slice: int
    mac: str
    host: str | None = None
    state: str = "nostate"
    iso: str | None = None
    image: str = "unmapped"
    is_deaf: bool = False
    next_states: list[tuple[float, str, str]] = field(default_factory=list)
    """(when, `state` or `image`, its value then), in order."""
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))


HOSTS = tuple(f"vm-container-{rack}-{rank}" for rack in (0, 1) for rank in range(4))
"""Physical hosts: those of the first rack have the frontends."""

_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SCREEN = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAFCAAAAABd+vKJAAAADklEQVR4nGNIgAIGIhgAUbwPAR3fEX8AAAAASUVORK5CYII="
)
"""A grey PNG, of the proportions of a screen."""


class Simulator:
    """Clusters vc1, vc2 … with computes vm-vc1-0 …, whose images take `copy_seconds` to and from their hosts.

    `commands` has the arguments of every command so far that changes something.
    """

    def __init__(
        self,
        clusters: int = 2,
        computes: int = 4,
        clock: Callable[[], float] = time.monotonic,
        copy_seconds: float = 0.0,
    ) -> None:
        self.guests: dict[str, Guest] = {}
        self.commands: list[tuple[str, ...]] = []
        self.library: dict[str, int] = {}
        """Name → bytes of each ISO that `add image` has imported, or an operator."""
        self.faults: list[tuple[tuple[str, ...], Callable[[], Answer]]] = []
        """The next command that begins with these arguments is answered so; each counts once."""
        self.copy_seconds = copy_seconds
        self._clock = clock
        self._lock = threading.RLock()
        for number in range(1, clusters + 1):
            self.add_cluster(f"vc{number}", computes)

    def add_cluster(self, name: str, computes: int) -> None:
        """A cluster with so many computes, all off; only its frontend has a host."""
        with self._lock:
            self._add(name, name, f"vm-container-0-{len(self.guests) % 4}")
            for number in range(computes):
                self._add(f"vm-{name}-{number}", name, None)

    def _add(self, name: str, cluster: str, host: str | None) -> None:
        number = len(self.guests)
        mac = f"52:54:00:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
        self.guests[name] = Guest(name, cluster, number, mac, host)

    def run(self, arguments: Sequence[str], deadline_seconds: float) -> Answer:
        """See `Executor`."""
        given = self._with_names(arguments)
        if unknown := [one for one in given if _UUID.fullmatch(one)]:
            refusal = _refused(f"no virtual machine has the UUID {unknown[0]}", Code.MACHINE_UNKNOWN.value)
            return refusal if "json=yes" in given else refusal._replace(out="")
        with self._lock:
            fault = next((one for one in self.faults if given[: len(one[0])] == one[0]), None)
            if fault:
                self.faults.remove(fault)
        if fault:
            return fault[1]()
        with self._lock:
            self._let_time_pass()
            if given[0] != "list":
                self.commands.append(given)
            for prefix, handler in self._HANDLERS.items():
                if given[: len(prefix)] == prefix:
                    answer = handler(self, given[len(prefix) :])
                    is_act = given[0] in ("start", "stop") and given[-1] == "json=yes"
                    return answer._replace(out=self._list_vm(given[3:4]).out) if is_act else answer
        return _refused(f"unknown command: {' '.join(given)}")

    def open(self, arguments: Sequence[str]) -> Stream:
        """See `Executor`: the console of a guest that runs greets, and echoes; its screen is grey."""
        arguments = self._with_names(arguments)
        if tuple(arguments[:4]) == ("report", "host", "vm", "screen"):
            on = [one.name for one in self.guests.values() if one.state == "active"]
            return _stream(_SCREEN if arguments[4] in on else b"", echoes=False)
        guest = self.guests.get(arguments[3]) if len(arguments) > 3 else None
        if guest is None or guest.state != "active":
            raise ToolError(f"{arguments[3] if len(arguments) > 3 else 'nothing'} does not run")
        greeting = b"RFB 003.008\n" if "type=vnc" in arguments else f"{guest.name} login: ".encode()
        return _stream(greeting, echoes=True)

    def _with_names(self, arguments: Sequence[str]) -> tuple[str, ...]:
        """The arguments with the name of each machine that is given by its UUID."""
        names = {guest.uuid: guest.name for guest in self.guests.values()}
        return tuple(names.get(one, one) for one in arguments)

    def _let_time_pass(self) -> None:
        now = self._clock()
        for guest in self.guests.values():
            while guest.next_states and guest.next_states[0][0] <= now:
                _, what, value = guest.next_states.pop(0)
                setattr(guest, what, value)

    def _list_cluster(self, _: Sequence[str]) -> Answer:
        found: dict[str, list[dict[str, str | None]]] = {
            "frontend-0-0": [{"client nodes": "", "type": "physical", "uuid": None}]
        }
        for guest in self.guests.values():
            client = "" if guest.name == guest.cluster else guest.name
            found.setdefault(guest.cluster, []).append(
                {"client nodes": client, "type": "VM", "uuid": guest.uuid}
            )
        return _listed("frontend", "cluster", found)

    def _list_vm(self, arguments: Sequence[str]) -> Answer:
        names = [one for one in arguments if "=" not in one]
        unknown = [name for name in names if name not in self.guests]
        if unknown:
            return _refused(f'cannot resolve host "{unknown[0]}"')
        rows = {
            guest.name: [
                {
                    "slice": guest.slice, "mem": 2048, "cpus": 2, "mac": guest.mac, "host": str(guest.host),
                    "virt-type": "hvm", "status": guest.state if guest.host else "nostate-error",
                    "disk": f"file:/img/{guest.name}.vda,vda,virtio", "disksize": 36, "cdrom": guest.iso,
                    "uuid": guest.uuid,
                }
            ]
            for guest in self.guests.values()
            if not names or guest.name in names
        }  # fmt: skip
        return _listed("vm-host", "vm", rows)

    def _list_interface(self, _: Sequence[str]) -> Answer:
        rows: dict[str, list[dict[str, Any]]] = {
            name: [_interface("private", "eth0", f"02:00:00:00:00:{number:02x}", f"10.1.1.{number}", None)]
            for number, name in enumerate(HOSTS, 1)
        }
        for guest in self.guests.values():
            vlan = 3 + int(guest.cluster[2:] or 0)
            rows[guest.name] = [
                _interface("private", "eth0", guest.mac, f"10.1.{vlan}.{guest.slice % 250}", vlan)
            ]
            if guest.name == guest.cluster:
                rows[guest.name].append(
                    _interface("public", "eth1", f"02{guest.mac[2:]}", f"203.0.113.{vlan}", None)
                )
        return _listed("host", "interface", rows)

    def _list_route(self, _: Sequence[str]) -> Answer:
        row = {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "203.0.113.1", "source": "G"}
        return _listed("host", "route", {guest.cluster: [row] for guest in self.guests.values()})

    def _list_images(self, _: Sequence[str]) -> Answer:
        rows = [
            {
                "zvol": f"{guest.name}-vol", "zpool": "tank", "remotehost": guest.host, "remotepool": "tank",
                "target": None, "state": guest.image, "time": None, "nextsync": None, "locked": None, "note": None,
            }
            for guest in self.guests.values()
            if guest.name != guest.cluster
        ]  # fmt: skip
        return _listed("nas", "storagemap", {"nas-0-0": rows} if rows else {})

    def _place(self, arguments: Sequence[str]) -> Answer:
        guest = self.guests[arguments[0]]
        if guest.state == "active":
            return _refused(f"{guest.name} is running on {guest.host}")
        guest.host = arguments[1].removeprefix("physnode=")
        return Answer(0, "", "")

    def _start(self, arguments: Sequence[str]) -> Answer:
        guest = self.guests[arguments[0]]
        if guest.state == "active":
            return _refused(f"{guest.name} is already running")
        if guest.host is None or guest.image != "unmapped":
            return _refused(
                f"{guest.name} has no host" if guest.host is None else f"{guest.name}-vol is mapped"
            )
        guest.state = "active"
        if guest.name != guest.cluster:
            guest.image = "NAS->VM" if self.copy_seconds else "mapped"
            guest.next_states = [(self._clock() + self.copy_seconds, "image", "mapped")]
        return Answer(0, "", "")

    def _stop(self, arguments: Sequence[str]) -> Answer:
        guest, action = self.guests[arguments[0]], arguments[1].removeprefix("action=")
        if (
            guest.state not in ("active", "crashed")
            or action in ("reset", "reboot")
            or (action == "shutdown" and guest.is_deaf)
        ):
            return Answer(0, "", "")
        now, later = self._clock(), self.copy_seconds if guest.name != guest.cluster else 0.0
        guest.next_states = [(now, "state", "nostate")]
        if guest.name != guest.cluster:
            guest.next_states += [(now, "image", "NAS<-VM"), (now + later, "image", "unmapped")]
        self._let_time_pass()
        return Answer(0, "", "")

    def _cdrom(self, arguments: Sequence[str]) -> Answer:
        medium = arguments[1]
        self.guests[arguments[0]].iso = None if medium == "cdrom=none" else medium.removeprefix("cdrom=")
        return Answer(0, "", "")

    def _replace_disk(self, arguments: Sequence[str]) -> Answer:
        running = next(
            (one for one in arguments if one in self.guests and self.guests[one].state == "active"), None
        )
        return _refused(f"{running} may be running") if running else Answer(0, "", "")

    def _console(self, arguments: Sequence[str]) -> Answer:
        return Answer(0, f"{arguments[0]} login: \n", "")

    def _list_library(self, _: Sequence[str]) -> Answer:
        rows = {
            name: [{"format": "iso", "size": size, "used": size, "digest": "0", "comment": None}]
            for name, size in self.library.items()
        }
        return _listed("name", "image", rows)

    def _add_image(self, arguments: Sequence[str]) -> Answer:
        self.library[arguments[0]] = Path(arguments[1].removeprefix("file=")).stat().st_size
        return Answer(0, "", "")

    def _remove_image(self, arguments: Sequence[str]) -> Answer:
        if self.library.pop(arguments[0], None) is None:
            return _refused(f"there is no image {arguments[0]}", Code.LIBRARY_IMAGE_UNKNOWN.value)
        return Answer(0, "", "")

    def _remove(self, arguments: Sequence[str]) -> Answer:
        name = arguments[0]
        self.guests = {key: guest for key, guest in self.guests.items() if name not in (key, guest.cluster)}
        return Answer(0, "", "")

    _HANDLERS: dict[tuple[str, ...], Callable[[Simulator, Sequence[str]], Answer]] = {
        ("list", "cluster"): _list_cluster,
        ("list", "host", "vm"): _list_vm,
        ("list", "host", "interface"): _list_interface,
        ("list", "host", "route"): _list_route,
        ("list", "host", "storagemap"): _list_images,
        ("list", "image"): _list_library,
        ("add", "image"): _add_image,
        ("remove", "image"): _remove_image,
        ("remove", "cluster"): _remove,
        ("remove", "host", "vm"): _remove,
        ("set", "host", "vm", "cdrom"): _cdrom,
        ("set", "host", "vm"): _place,
        ("start", "host", "vm"): _start,
        ("stop", "host", "vm"): _stop,
        ("reinstall", "host", "vm"): _replace_disk,
        ("clone", "host", "vm"): _replace_disk,
        ("report", "host", "vm", "console"): _console,
    }


def _stream(data: bytes, *, echoes: bool) -> Stream:
    """What a program would print, which then ends, or repeats everything that is typed."""
    near, far = socket.socketpair()

    def serve() -> None:
        with far, contextlib.suppress(OSError):
            far.sendall(data)
            while echoes and (typed := far.recv(65536)):
                far.sendall(typed)

    threading.Thread(target=serve, daemon=True).start()
    return Stream(near, lambda: "")


def _interface(subnet: str, iface: str, mac: str, ip: str, vlan: int | None) -> dict[str, Any]:
    return {
        "subnet": subnet, "iface": iface, "mac": mac, "ip": ip, "netmask": "255.255.255.0", "module": None,
        "name": None, "vlan": vlan, "options": None, "channel": None,
    }  # fmt: skip


def _listed(owner: str, rows: str, found: dict[str, list[Any]]) -> Answer:
    return Answer(0, json.dumps([{owner: name, rows: content} for name, content in found.items()]), "")


def _refused(message: str, code: str = "") -> Answer:
    error = {"family": "state", "code": code}
    return Answer(1, json.dumps([{"error": error}]), f"Error: {message}")


if __name__ == "__main__":
    with ExecutorService(Simulator(), Path(sys.argv[1]), set()) as service:
        service.serve_forever()
