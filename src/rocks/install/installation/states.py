"""The installations of hosts: states, which machine may get the files, rows, and waiting for the end."""

from __future__ import annotations

import enum
import secrets
import sys
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import HostError, RocksError, StateError, UserError
from rocks.database.sets import in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rocks.database.connection import Database


# The states of a host's installation, and which of its reports leads to which. Pure.
#
# A report is a line "WORD DETAIL…" of the installer (`roll/installer/initramfs/lib/report.sh`) or of a host's first
# boot.


LONGEST_REPORT = 900


class State(enum.StrEnum):
    """A state, as it is stored and shown."""

    WAITING = "waiting"
    """The host is to be installed, and has not asked for its plan."""

    INSTALLING = "installing"
    FAILED = "failed"
    """The installer stopped; its console has a shell."""

    INSTALLED = "installed"
    """The system is complete; the host starts from its disk."""

    FIRST_BOOT = "first boot"
    """The profile is being executed."""

    FIRST_BOOT_FAILED = "first boot failed"
    CONFIGURED = "configured"


class Report(NamedTuple):
    """A report: its first word, and the rest."""

    word: str
    detail: str

    @property
    def text(self) -> str:
        """The whole line."""
        return f"{self.word} {self.detail}".rstrip()


UNFINISHED = frozenset((State.WAITING, State.INSTALLING, State.FAILED))
"""The installer may still be at work. A plan that is asked for now has the same number."""

MAY_FETCH_PROFILE = frozenset((State.INSTALLED, State.FIRST_BOOT, State.FIRST_BOOT_FAILED))
"""The system is installed, and its profile has not yet succeeded."""

HOST_KEY, ADAPTERS = "host-key", "adapters"
_NEXT = {
    "started": State.INSTALLING,
    ADAPTERS: State.INSTALLING,
    "partitioning": State.INSTALLING,
    "unpacking": State.INSTALLING,
    "configuring": State.INSTALLING,
    HOST_KEY: State.INSTALLING,
    "boot-loader": State.INSTALLING,
    "failed": State.FAILED,
    "installed": State.INSTALLED,
    "first-boot": State.FIRST_BOOT,
    "first-boot-failed": State.FIRST_BOOT_FAILED,
    "configured": State.CONFIGURED,
}
_OF_FIRST_BOOT = (State.FIRST_BOOT, State.FIRST_BOOT_FAILED, State.CONFIGURED)


def read_report(body: bytes) -> Report:
    """The report in the body of a request: one line of plain ASCII. UserError for anything else."""
    if len(body) > LONGEST_REPORT or not all(32 <= byte < 127 for byte in body):
        raise UserError(f"a report is one line of at most {LONGEST_REPORT} plain characters")
    word, _, detail = body.decode("ascii").strip().partition(" ")
    if word not in _NEXT:
        raise UserError(
            f'the report "{word[:40]}" is unknown; installer and frontend may be of different releases'
        )
    return Report(word, detail.strip())


def next_state(state: State, report: Report) -> State:
    """The state after a report. UserError for one of the installer after the end of its installation, and for another
    than `configured` of a configured host: one that is configured again and again would keep all others waiting.
    `installed` may be repeated: its answer may have been lost. The first boot may report although it was never
    received: an operator may have started the host from its disk.
    """
    following, is_open = _NEXT[report.word], state is not State.CONFIGURED
    if (following in _OF_FIRST_BOOT and is_open) or state in UNFINISHED or following == state:
        return following
    raise UserError(
        f'the report "{report.word}" does not fit: the installation has ended, and is in the state "{state.value}"'
    )


# Which machine may get the files for a host's installation. Pure.


INSTALL = "install"


class InstallingHost(NamedTuple):
    """A host by its address on the network private: its MAC addresses there, and its next boot."""

    name: str
    macs: tuple[str, ...]
    next_boot: str | None


HIGHEST_PORT_OF_ROOT = 1023


def check_port_of_root(port: int) -> None:
    """UserError for a request of a program that was not root's: every user of the host has its addresses."""
    if not 0 < port <= HIGHEST_PORT_OF_ROOT:
        raise UserError(
            f"the request comes from port {port}, which any user can have; as root, send it from a port below "
            f"{HIGHEST_PORT_OF_ROOT + 1}: curl --local-port 512-{HIGHEST_PORT_OF_ROOT} …"
        )


def identify(
    address: str, neighbour: str, stated: Iterable[str], host: InstallingHost | None
) -> InstallingHost:
    """The host that asks. UserError for an unknown machine, or one with another host's address.

    `neighbour` is the MAC address that the kernel of the frontend has for it ('' for none), `stated` are those that its
    installer states.
    Nothing of the database is in the text for an unknown client.
    """
    if host is None:
        raise UserError(
            f"no host has the address {address} on the network private; on the frontend: "
            "rocks list host interface"
        )
    known = {_normal(mac) for mac in host.macs}
    if not known:
        raise UserError(
            f"the host with the address {address} has no MAC address in the database; on the frontend: "
            "rocks set host interface mac"
        )
    found = [_normal(neighbour)] if neighbour else []
    stated = [_normal(mac) for mac in stated]
    if not found and not stated:
        raise UserError(
            f"the MAC address of {address} is not known: it is behind a router, and its installer does not "
            "state it; add inst.ks.sendmac to the arguments of the installer's kernel"
        )
    if (found and known.isdisjoint(found)) or (stated and known.isdisjoint(stated)):
        raise UserError(
            f"the address {address} belongs to a host with another MAC address than "
            f"{', '.join(dict.fromkeys((*found, *stated)))}; on the frontend: rocks list host interface"
        )
    return host


def check_is_to_be_installed(host: InstallingHost) -> None:
    """StateError for a host whose next boot is not its installation."""
    if host.next_boot != INSTALL:
        raise StateError(
            f"host {host.name} is not to be installed, its next boot is {host.next_boot or 'os'}; on the frontend: "
            f"rocks set host boot {host.name} action=install"
        )


def stated_macs(headers: list[tuple[str, str]]) -> tuple[str, ...]:
    """The MAC addresses in an installer's headers: `X-RHN-Provisioning-MAC-0: eth0 02:00:00:00:00:01`."""
    values = [value.split() for name, value in headers if name.lower().startswith("x-rhn-provisioning-mac-")]
    return tuple(parts[-1] for parts in values if len(parts) in (1, 2))


def neighbour_mac(table: str, address: str) -> str:
    """The MAC address of a neighbour in the text of /proc/net/arp; '' when the kernel has none."""
    for line in table.splitlines()[1:]:
        columns = line.split()
        # 0x2: the entry is complete
        if len(columns) >= 4 and columns[0] == address and int(columns[2], 16) & 2:
            return columns[3]
    return ""


def is_attached(table: str, address: str) -> bool:
    """Whether an address is reached without a gateway, by the text of /proc/net/route; a default route never counts."""
    asked, found = int.from_bytes(bytes(int(part) for part in address.split(".")), "big"), []
    for line in table.splitlines()[1:]:
        columns = line.split()
        if len(columns) < 8:
            continue
        network, mask = _swapped(columns[1]), _swapped(columns[7])
        if mask and asked & mask == network:
            # 0x2: by a gateway; 0x200: rejected
            found.append((-mask, int(columns[6]), not int(columns[3], 16) & 0x202))
    return min(found)[2] if found else False


def _swapped(text: str) -> int:
    """An address of /proc/net/route, which is printed in the machine's order of bytes."""
    return int.from_bytes(int(text, 16).to_bytes(4, sys.byteorder), "big")


def _normal(mac: str) -> str:
    return mac.strip().lower()


# The installations of physical hosts: number, state, and the last report.
#
# The number is random, 64 bits, in a table that local users cannot read: it is in the plan and in the addresses of
# reports and profile, so no user of the host can report in its name. It stays until the host has reported `installed`,
# so an interrupted installer recognises its own disk. Certificates were refused: a host has none before its plan.


_NUMBER_BYTES = 8
_UNFINISHED = sorted(state.value for state in UNFINISHED)


class Installation(NamedTuple):
    """An installation: its number of 16 hexadecimal digits, its state since a time in UTC, the last report or ''."""

    number: str
    state: State
    since: datetime
    report: str


def begin_installations(database: Database, names: Sequence[str], now: datetime) -> None:
    """Let the physical hosts among the names wait for their installation.

    One that has not ended keeps its number, by which the installer recognises its own disk.
    """
    rows = database.rows(
        "SELECT n.ID FROM nodes n LEFT JOIN vm_nodes v ON v.Node = n.ID"
        " WHERE v.Node IS NULL AND n.Name IN %s",
        [names],
    )
    states = ", ".join(f"'{state}'" for state in _UNFINISHED)
    database.insert_many(
        "INSERT INTO sec_installations (Node, Number, State, Since) VALUES",
        [(row[0], secrets.token_hex(_NUMBER_BYTES), State.WAITING.value, now) for row in rows],
        # assigned from left to right: the state must come last
        f"ON DUPLICATE KEY UPDATE Number = IF(State IN ({states}), Number, VALUES(Number)), Report = '',"
        " Since = VALUES(Since), State = VALUES(State)",
    )


def forget_waiting(database: Database, names: Sequence[str]) -> None:
    """Forget the installations of these hosts that no installer has begun."""
    database.execute(
        "DELETE i FROM sec_installations i JOIN nodes n ON n.ID = i.Node WHERE i.State = %s AND n.Name IN %s",
        [State.WAITING.value, names],
    )


def find_installation(database: Database, name: str, lock: bool = False) -> Installation | None:
    """The installation of a host; None when it has none. With `lock`, others wait until the end of the transaction."""
    rows = database.rows(
        "SELECT i.Number, i.State, i.Since, i.Report FROM sec_installations i JOIN nodes n ON n.ID = i.Node"
        f" WHERE n.Name = %s{' FOR UPDATE' if lock else ''}",
        [name],
    )
    return _installation(rows[0]) if rows else None


def list_installations(database: Database, names: Sequence[str]) -> list[tuple[str, Installation]]:
    """(host, installation) of the named hosts that have one, in their order."""
    rows = database.rows(
        "SELECT n.Name, i.Number, i.State, i.Since, i.Report FROM sec_installations i JOIN nodes n ON n.ID = i.Node"
        " WHERE n.Name IN %s",
        [names],
    )
    return [(str(row[0]), _installation(row[1:])) for row in in_order(rows, names)]


def record_report(database: Database, name: str, state: State, report: str, now: datetime) -> None:
    """Record the last report and the state; the time is that of the last change of state."""
    database.execute(
        # of one table, whose values are assigned from left to right
        "UPDATE sec_installations SET Since = IF(State = %s, Since, %s), State = %s, Report = %s"
        " WHERE Node = (SELECT n.ID FROM nodes n WHERE n.Name = %s)",
        [state.value, now, state.value, report, name],
    )


def _installation(row: Sequence[object]) -> Installation:
    number, state, since, report = row
    assert isinstance(since, datetime)
    return Installation(str(number), State(str(state)), since, str(report))


# Waits for installations to their end.


_SECONDS, _TRIED_SECONDS = 2.0, 0.1
_QUIET_SECONDS = 600.0
_FAILED = {
    State.FAILED: "its console has a shell",
    State.FIRST_BOOT_FAILED: "correct the cause; it repeats its profile at each start",
}


def claim_installations(database: Database, names: Sequence[str]) -> None:
    """Make these hosts members of the site by this command alone, until it ends.

    BusyError, at once, while another command does it for one of them.
    """
    database.lock_all([f"the installation of {name}" for name in names], _TRIED_SECONDS)


def follow_installations(database: Database, names: Sequence[str]) -> Iterator[tuple[str, str | RocksError]]:
    """(host, its state and last report) at each change, until no installation is under way; those that failed then.

    Hosts that the roll's installer has not installed are left out. A host that has failed may be repaired while others
    are installed: its error is the last that it reported. After ten minutes without a change, those that are waited for
    are named, and how the others go on. Reads every two seconds.
    """
    latest: dict[str, str] = {}
    quiet = Deadline(_QUIET_SECONDS)
    while True:
        found = dict(list_installations(database, names))
        database.end_reading()
        for name, one in found.items():
            text = _text(one)
            if latest.get(name) != text:
                latest[name] = text
                quiet = Deadline(_QUIET_SECONDS)
                yield name, text
        waiting = [
            name
            for name, one in found.items()
            if one.state is not State.CONFIGURED and one.state not in _FAILED
        ]
        if not waiting:
            break
        if quiet.passed():
            quiet = Deadline(_QUIET_SECONDS)
            for name in waiting:
                yield (
                    name,
                    f"{latest[name]}; no report for 10 minutes: Ctrl-C ends this wait, and rocks install host of "
                    "the other hosts goes on with those",
                )
        wait_seconds(_SECONDS)
    for name, one in found.items():
        if one.state in _FAILED:
            yield name, HostError(f"{name} {_text(one)}; {_FAILED[one.state]}")


def _text(one: Installation) -> str:
    """The state and what was reported; most reports begin with the state's name."""
    state, report = one.state.value, one.report
    if report.partition(" ")[0].replace("-", " ") == state:
        report = report.partition(" ")[2]
    return f"{state}: {report}" if report else state
