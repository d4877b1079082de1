"""What `rocks list … json=yes` prints, read into records; columns that are missing are named."""

from __future__ import annotations

import json
import re
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from nucleus.records import Interface
from nucleus.states import NODE_STATES, NOSTATE_ERROR, READY, SYNCED, SYNCING, disk_state
from rocks.core.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Iterator

JsonRow = dict[str, Any]

_VOLUME = re.compile(r"(.+)-vol[0-9]*")
_REMOVED = "deleting"
_DISK_STATES = (READY, SYNCED, SYNCING)
"""Of several images of a machine, the one that counts has the last of these."""

_ISO_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")


class Member(NamedTuple):
    """A virtual machine of a virtual frontend; the frontend itself has its own name in `frontend`.

    `uuid`: None where `rocks` is the published one.
    """

    name: str
    frontend: str
    uuid: str | None = None


class Machine(NamedTuple):
    """A virtual machine, and its state where that was asked for: columns of `NodeValues`.

    `iso`: a path or `image=NAME`. CPUs and memory are those with which it runs, of one that is off the recorded ones.
    `uuid`: as of `Member`.
    """

    physical_host: str | None
    cpus: int | None
    memory_mb: int | None
    disk_gb: int | None
    state: str | None
    iso: str | None
    uuid: str | None = None


class State(NamedTuple):
    """The state of a machine now; all None where nothing was printed."""

    host: str | None = None
    state: str | None = None


class Image(NamedTuple):
    """An image on a NAS."""

    state: str
    locked: bool


def read_members(text: str) -> list[Member]:
    """`rocks list cluster`: machines in order. Physical frontends and their clients are skipped.

    The original prints the clients of a frontend under an empty owner after it, ours under the frontend.
    """
    found, frontend = [], ""
    for owner, rows in _objects(text, "frontend", "cluster", ("client nodes", "type"), ("uuid",)):
        if owner:
            frontend = owner
            is_virtual = bool(rows) and rows[0][1] == "VM"
            if is_virtual:
                own = next((uuid for name, _, uuid in rows if not name), None)
                found.append(Member(owner, owner, _text(own)))
        if frontend and is_virtual:
            found += [Member(str(name), frontend, _text(uuid)) for name, _, uuid in rows if name]
    return found


def read_machines(text: str) -> dict[str, Machine]:
    """`rocks list host vm status=yes showdisks=yes`: name → machine. Later rows of a machine have further disks.

    A state that this version does not know counts as unknown: one machine does not hide all others.
    """
    found = {}
    columns = ("mem", "cpus", "host", "status", "disksize", "cdrom")
    for name, rows in _objects(text, "vm-host", "vm", columns, ("running-mem", "running-cpus", "uuid")):
        mem, cpus, host, status, disksize, cdrom, running_mem, running_cpus, uuid = rows[0]
        state = _text(status)
        found[name] = Machine(
            _text(host),
            _number(running_cpus) or _number(cpus),
            _number(running_mem) or _number(mem),
            _number(disksize),
            state if state is None or state in NODE_STATES else NOSTATE_ERROR,
            _text(cdrom),
            _text(uuid),
        )
    return found


def read_states(text: str) -> dict[str, State]:
    """`rocks list host vm NAME… status=yes`: name → its state."""
    found = _objects(text, "vm-host", "vm", ("host", "status"))
    return {name: State(*map(_text, rows[0])) for name, rows in found}


def read_error(text: str) -> tuple[str, str]:
    """Family and code of the error that a command with json=yes reports; "" where it has none."""
    try:
        error = json.loads(text)[0]["error"]
        return str(error["family"]), str(error["code"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return "", ""


def read_interfaces(text: str) -> dict[str, tuple[Interface, ...]]:
    """`rocks list host interface`: host → its interfaces with a MAC, the private one first."""
    found = {}
    for name, rows in _objects(
        text, "host", "interface", ("subnet", "iface", "mac", "ip", "netmask", "vlan")
    ):
        interfaces = [
            Interface(str(iface), str(mac), _text(ip), _text(netmask), _text(subnet), _number(vlan))
            for subnet, iface, mac, ip, netmask, vlan in rows
            if _text(mac) and _text(iface)
        ]
        found[name] = tuple(sorted(interfaces, key=lambda one: one.subnet != "private"))
    return found


def read_gateways(text: str) -> dict[str, str]:
    """`rocks list host route`: host → the gateway of its default route."""
    found = {}
    for name, rows in _objects(text, "host", "route", ("network", "gateway")):
        for network, gateway in rows:
            if network == "0.0.0.0" and _text(gateway):
                found[name] = str(gateway)
    return found


def read_images(text: str) -> dict[str, Image]:
    """`rocks list host storagemap`: name of the machine → its image, whichever NAS has it.

    Of several images of a machine, the one that is least free: a machine is free when all of its images are
    on their NASes. One that was removed, or moved to another NAS, counts only where there is no other.
    """
    found: dict[str, Image] = {}
    for _, rows in _objects(text, "nas", "storagemap", ("zvol", "state", "locked")):
        for volume, state, locked in rows:
            image = Image(str(state), str(locked).lower() == "true")
            of_machine = _VOLUME.fullmatch(str(volume))
            name = of_machine[1] if of_machine else str(volume)
            if name not in found or _rank(image) > _rank(found[name]):
                found[name] = image
    return found


def _rank(image: Image) -> int:
    return -1 if image.state == _REMOVED else _DISK_STATES.index(disk_state(image.state, image.locked))


def read_library(text: str) -> dict[str, int]:
    """`rocks list image`: name → bytes, of the ISOs that owners can be offered; those that are unfinished are none."""
    found = {}
    for name, rows in _objects(text, "name", "image", ("format", "size")):
        kind, size = rows[0][0], _number(rows[0][1])
        if kind == "iso" and size is not None and _ISO_NAME.fullmatch(name):
            found[name] = size
    return found


def _objects(
    text: str, owner: str, rows: str, columns: tuple[str, ...], optional: tuple[str, ...] = ()
) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """(owner, its rows: the values of `columns`, then of `optional`) of each object; ToolError for another shape."""
    what = f"rocks list printed for {rows}"
    values = itemgetter(*columns, *optional)

    def of_columns(found: JsonRow) -> JsonRow | tuple[Any, ...]:
        # other columns are let go at once: of 20,000 machines they take 20 MB
        try:
            if rows in found:
                return found
            for column in optional:
                found.setdefault(column, None)
            cells: tuple[Any, ...] = values(found)
            return cells
        except KeyError:
            return found

    try:
        content = json.loads(text, object_hook=of_columns) if text.strip() else []
    except (ValueError, RecursionError):
        raise ToolError(f"{what} no JSON: it ends after {len(text)} characters with {text[-40:]!r}") from None
    if not isinstance(content, list):
        raise ToolError(f"{what} no list, but {text[:40]!r}")
    for one in content:
        if (
            not isinstance(one, dict)
            or not isinstance(one.get(rows), list)
            or not isinstance(one.get(owner), str)
        ):
            raise ToolError(f"{what} an object without {owner!r} and a list {rows!r}: is it another version?")
        if not one[rows]:
            continue
        for row in one[rows]:
            if not isinstance(row, tuple):
                missing = [column for column in columns if not isinstance(row, dict) or column not in row]
                raise ToolError(f"{what} a row without {', '.join(missing)}: is it another version of rocks?")
        yield one[owner].rstrip(":"), one[rows]


def _text(value: Any) -> str | None:
    """None for null, an empty text, and the text `None`."""
    return None if value is None or value in ("", "None") else str(value)


def _number(value: Any) -> int | None:
    """A whole number, also from a text; None for anything else."""
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError):
        return None
