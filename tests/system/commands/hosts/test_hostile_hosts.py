"""Commands among hosts that answer anything: a bad host neither ends the command for others nor reaches the screen.

The hosts are played behind the interface of connections; `tests/contract/fleet/test_fleet.py` has faulty ones behind
sshd.
"""

import dataclasses
import json
import os
import pty
import random
from collections.abc import Callable
from typing import Any

import pytest

from rocks.commands._framework import output
from rocks.core.clock import Deadline
from rocks.fleet.agent_line import AgentLine
from rocks.fleet.connection import CommandOutput, FleetSettings, HostAddress
from rocks.fleet.fleet import Fleet
from rocks.fleet.wire.calls import read_reply, read_request, write_error, write_reply
from rocks.fleet.wire.errors import AgentError
from rocks.fleet.wire.facts import (
    AdapterFact,
    AdapterFacts,
    AdaptersRequest,
    DiskFact,
    DomainFact,
    FactsRequest,
    HostFacts,
    ProbeFact,
    ProbeRequest,
)
from rocks.fleet.wire.requests import (
    InfinibandFacts,
    InfinibandRequest,
    LinkOutcome,
    NetworkFacts,
    NetworkRequest,
    OperationOutcome,
    PerformReply,
    PerformRequest,
    PortFact,
    SyncLinksReply,
    SyncLinksRequest,
)
from rocks.site import checks
from tests.system.commands.conftest import Site

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\x7f\r"
"""Sets the title, clears the screen, in C0 and C1, reverses the direction of writing."""
GB = 1024**3
Reply = Callable[[bytes], bytes]
Play = Callable[[dict[str, Reply]], None]
"""Has hosts answer so."""


def honest(line: bytes) -> bytes:
    """The reply of an idle host on which every operation succeeds."""
    request = read_request(line)
    if isinstance(request, FactsRequest):
        disks = tuple(DiskFact(path, False, False, 0, 500 * GB, 400 * GB) for path in request.disks)
        fenced = tuple(fence.name for fence in request.fences)
        return write_reply(HostFacts(65536, 16, True, True, (), disks, fenced))
    if isinstance(request, PerformRequest):
        return write_reply(PerformReply(tuple(OperationOutcome(o.name, True) for o in request.operations)))
    if isinstance(request, SyncLinksRequest):
        return write_reply(SyncLinksReply((LinkOutcome("eth0.9", "made"),)))
    if isinstance(request, NetworkRequest):
        return write_reply(NetworkFacts(()))
    if isinstance(request, InfinibandRequest):
        return write_reply(InfinibandFacts((), (), ()))
    if isinstance(request, ProbeRequest):
        return write_reply(ProbeFact("kvm", "a guest booted", "6.1", True))
    assert isinstance(request, AdaptersRequest)
    return write_reply(AdapterFacts(tuple(AdapterFact(a.device, 0, "", ()) for a in request.adapters)))


class Played:
    """A connection to a host whose agent answers by a function, and whose commands print `output`."""

    def __init__(self, name: str, answer: Reply, printed: bytes = b"") -> None:
        self._name, self._answer, self._printed = name, answer, printed
        self._ready = b""

    def open_agent(self) -> AgentLine:
        return AgentLine(self._name, self)

    def run(self, command: str, timeout_seconds: float | None, standard_input: bytes = b"") -> CommandOutput:
        return CommandOutput(1, self._printed, self._printed)

    def send(self, data: bytes, deadline: Deadline) -> None:
        self._ready += self._answer(data.rstrip(b"\n"))

    def receive(self, deadline: Deadline) -> bytes:
        data, self._ready = self._ready[:1_000_000], self._ready[1_000_000:]
        return data

    def exit_information(self) -> tuple[int | None, bytes]:
        return 1, EVIL.encode()

    def close(self) -> None:
        pass


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """Hosts answer by these functions; all others are honest."""

    def use(answers: dict[str, Reply]) -> None:
        def connect(self: Fleet, host: HostAddress, settings: FleetSettings) -> Played:
            host.check()
            return Played(host.name, answers.get(host.name, honest), f"{EVIL}\n".encode())

        monkeypatch.setattr(Fleet, "_connect", connect)

    return use


@pytest.fixture
def machines(vm_site: Site) -> Site:
    """vm-a on vmc-0-0, which is bad, and vm-b on vmc-0-1."""
    for number, name in enumerate(("vm-a", "vm-b")):
        vm_site.done("add host vm", f"vmc-0-{number}", "membership=compute", f"name={name}", "num-macs=1")
    return vm_site


def changed(change: Callable[[Any], Any], kind: type = FactsRequest) -> Reply:
    """An honest host but for a change of the parsed results of replies to requests of this kind."""

    def answer(line: bytes) -> bytes:
        reply = honest(line)
        if not isinstance(read_request(line), kind):
            return reply
        envelope = json.loads(reply)
        change(envelope["result"])
        return json.dumps(envelope).encode() + b"\n"

    return answer


def of_facts(**fields: Any) -> Reply:
    """An honest host but for these fields of its facts."""
    return changed(lambda facts: facts.update(fields))


BAD: dict[str, Reply] = {
    "half a surrogate pair": of_facts(kernel="\ud800"),
    "a name nobody asked for": of_facts(fenced=["vm-b"]),
    "one domain twice": of_facts(
        domains=[dataclasses.asdict(DomainFact("vm-a", "u", "shutoff", 1, 1, 1, False, True, False))] * 2
    ),
    "wrong type": of_facts(memory_mb="much"),
    "nothing": of_facts(memory_mb=None),
    "NaN": of_facts(memory_mb=float("nan")),
    "huge": of_facts(memory_mb=10**400),
    "negative": of_facts(cpus=-3),
    "unknown state": of_facts(accelerator=EVIL),
    "a long line": lambda line: b'{"version":"' + b"x" * 10_000_000 + b'"}\n',
    "too long a line": lambda line: b"x" * 17_000_000,
    "deep": lambda line: b'{"version":' + b"[" * 100_000 + b"\n",
    "reply to another call": lambda line: write_reply(NetworkFacts(())),
    "no newline": lambda line: honest(line).rstrip(b"\n"),
    "garbage first": lambda line: EVIL.encode() + b"\n" + honest(line),
    "two replies": lambda line: honest(line) * 2,
    "error of no family": lambda line: write_error(AgentError(EVIL, EVIL)),
    "error with controls": lambda line: write_error(AgentError("host", EVIL)),
    "other version": lambda line: json.dumps({"version": EVIL * 50, "ok": True}).encode() + b"\n",
    "an end": lambda line: b"",
}


def no_controls(*texts: str) -> None:
    """Nothing but printable characters, tabulators and line ends."""
    for text in texts:
        assert all(c.isprintable() or c in "\n\t" for c in text), ascii(text)[:500]


@pytest.mark.slow
@pytest.mark.parametrize("kind", BAD)
def test_the_good_host_is_served(machines: Site, play: Play, kind: str) -> None:
    """Start, status and stop of two machines, one of them on a bad host, which has its lease: the other runs."""
    play({"vmc-0-0": BAD[kind]})
    machines.take_lease("vm-a", "vmc-0-0", "starting", token=1)
    listed = machines.rocks("list host vm status=yes output-col=status")
    started = machines.rocks("start host vm vm-a vm-b")
    no_controls(started.out, started.err, listed.out, listed.err)
    assert machines.database.rows("SELECT State FROM vm_leases WHERE Name = 'vm-b'") == [("running",)]
    machines.database.rollback()
    assert started.status == 3 and started.err.startswith(("Error: vm-a ", "Error: vm-a: ")), started
    assert len(started.err) < 3000
    assert listed.status == 0 and listed.out.count("\n") == 3
    stopped = machines.rocks("stop host vm vm-a vm-b")
    no_controls(stopped.out, stopped.err)
    assert machines.database.rows("SELECT State FROM vm_leases WHERE Name = 'vm-b'") == [("released",)]


def test_memory_that_no_host_has_is_the_error_of_its_host(machines: Site, play: Play) -> None:
    """It did not fit into its column: the error named no host, and so nobody could leave it out."""
    play({"vmc-0-0": of_facts(memory_mb=10**18)})
    message = machines.rocks("sync vm lease").err
    assert "vmc-0-0" in message and "memory_mb: 1000000000000000000 is too large" in message
    assert "or switch vmc-0-0 off" in message and "host-off" not in message
    assert machines.rocks("sync vm lease vmc-0-0 host-off=yes reason=hostile").status == 0


@pytest.mark.parametrize("name", ["vm-b\u0301", "vm-\u1e05", "vm-b ", "x" * 200])
def test_a_name_that_no_machine_has_takes_no_lease(machines: Site, play: Play, name: str) -> None:
    """The database takes such names for vm-b, whose lease another host has; one that is too long was its error."""
    domain = dataclasses.asdict(DomainFact(name, "u", "running", 9, 1, 1, False, True, False))
    play({"vmc-0-0": of_facts(domains=[domain])})
    machines.take_lease("vm-b", "vmc-0-1", "running", token=7)
    message = machines.rocks("sync vm lease").err
    lease = machines.rows("SELECT Name, Token, Host FROM vm_leases")
    assert lease == [("vm-b", 7, "vmc-0-1")], "another host has got it"
    assert "vmc-0-0 reports" in message and "host-off" not in message


def texts_of(line: bytes) -> bytes:
    """Replies that are valid and have control characters wherever any text is allowed."""
    request = read_request(line)
    if isinstance(request, PerformRequest):
        bad = AgentError("tool", f"qemu: {EVIL}\nsecond line")
        return write_reply(
            PerformReply(tuple(OperationOutcome(o.name, True, (EVIL,), bad) for o in request.operations))
        )
    if isinstance(request, SyncLinksRequest):
        return write_reply(SyncLinksReply((LinkOutcome("x", "failed", AgentError("host", EVIL)),)))
    if isinstance(request, InfinibandRequest):
        return write_reply(InfinibandFacts((), (), (EVIL,)))
    if isinstance(request, AdaptersRequest):
        return write_reply(AdapterFacts(tuple(AdapterFact(a.device, 1, EVIL, ()) for a in request.adapters)))
    return honest(line)


def notes_of(line: bytes) -> bytes:
    """Operations succeed, with notes."""
    request = read_request(line)
    if isinstance(request, PerformRequest):
        return write_reply(
            PerformReply(tuple(OperationOutcome(o.name, True, (EVIL, "a\nb")) for o in request.operations))
        )
    return honest(line)


COMMANDS = [
    ("start", "host", "vm", "vm-a", "vm-b"),
    ("stop", "host", "vm", "vm-a", "vm-b"),
    ("stop", "host", "vm", "vm-a", "action=reset"),
    ("pause", "host", "vm", "vm-a", "vm-b"),
    ("resume", "host", "vm", "vm-a", "vm-b"),
    ("list", "host", "vm", "status=yes"),
    ("list", "host", "status=yes"),
    ("list", "host", "vm", "network"),
    ("sync", "host", "vlan", "vmc-0-0", "vmc-0-1"),
    ("sync", "host", "ibport", "vmc-0-0", "vmc-0-1"),
    ("sync", "host", "sriov", "vmc-0-0", "vmc-0-1"),
    ("list", "host", "sriov"),
    ("check", "host", "infiniband", "vmc-0-0", "vmc-0-1"),
    ("open", "host", "console", "vm-a"),
    ("remove", "host", "vm", "vm-a", "vm-b"),
    ("list", "host", "attr", "vmc-0-0"),
    (f"{EVIL}",),
    ("list", "host", f"{EVIL}"),
    ("list", "host", "appliance", "vmc-0-0", f"x{EVIL}=1"),
]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=lambda parts: ascii(" ".join(parts)))
@pytest.mark.parametrize("answer", [texts_of, notes_of, lambda line: write_error(AgentError("host", EVIL))])
def test_no_word_of_a_host_controls_the_terminal(
    machines: Site,
    play: Play,
    command: tuple[str, ...],
    answer: Reply,
) -> None:
    """Every command that prints what a host, the operator or the database says: each message is one line."""
    machines.change(
        "INSERT INTO attributes (Attr, Value, Category, Catindex) SELECT 'motd', %s, c.ID, i.ID"
        " FROM categories c JOIN catindex i ON i.Category = c.ID WHERE c.Name = 'global'",
        [EVIL],
    )
    machines.change("UPDATE nodes SET CPUs = 4 WHERE Name = 'vmc-0-0'")
    play({"vmc-0-0": answer, "vmc-0-1": answer})
    if command[0] in ("stop", "pause", "resume"):
        play({})
        machines.done("start host vm vm-a vm-b")
        play({"vmc-0-0": answer, "vmc-0-1": answer})
    ended = machines.rocks(*command)
    no_controls(ended.out, ended.err)
    assert "Traceback" not in ended.err and "has a fault" not in ended.err


def with_qemu(qemu: str, *domains: DomainFact, libvirt: str = "9.0.0") -> Reply:
    """An idle host with this QEMU; the domains are there, and this libvirt runs."""

    def answer(line: bytes) -> bytes:
        result = read_reply(honest(line), read_request(line))
        if isinstance(result, HostFacts):
            return write_reply(
                dataclasses.replace(
                    result,
                    domains=domains,
                    system="debian 12",
                    qemu=qemu,
                    libvirt=libvirt,
                    libvirt_installed="9.0.0",
                )
            )
        return honest(line)

    return answer


def test_a_machine_that_runs_does_not_go_to_an_older_qemu(machines: Site, play: Play) -> None:
    """It is refused before anything is asked of a host, in words, and a dry run refuses it, too."""
    play({})
    machines.done("start host vm vm-a")
    ((token,),) = machines.database.rows("SELECT Token FROM vm_leases")
    flags = (False, True, False)
    started = DomainFact("vm-a", "", "running", token, 1024, 1, *flags, machine_type="pc-i440fx-10.0")
    play({"vmc-0-0": with_qemu("10.0.13", started), "vmc-0-1": with_qemu("7.2.22")})
    before = machines.database.rows("SELECT * FROM vm_leases")
    for options in ((), ("dry-run=yes",)):
        assert (
            "vm-a does not move while it runs: its machine type is pc-i440fx-10.0, which the older QEMU 7.2.22 of "
            "vmc-0-1 does not know; stop it, and move it without live=yes"
        ) in machines.refused("move", "host", "vm", "vm-a", "vmc-0-1", "live=yes", *options)
    assert machines.database.rows("SELECT * FROM vm_leases") == before
    assert machines.database.rows("SELECT * FROM vm_disk_copies") == []


def test_the_list_of_hosts_has_release_and_qemu_of_those_that_answer(machines: Site, play: Play) -> None:
    play({"vmc-0-0": with_qemu("7.2.22"), "vmc-0-1": lambda line: write_error(AgentError("host", EVIL))})
    ended = machines.rocks("list", "host", "vmc-0-0", "vmc-0-1", "head", "status=yes", "json=yes")
    assert ended.status == 0
    rows = [(one["host"], one["list"][0]) for one in json.loads(ended.out)]
    assert [(host, row["system"], row["qemu"]) for host, row in rows] == [
        ("head", None, None),
        ("vmc-0-0", "debian 12", "7.2.22"),
        ("vmc-0-1", None, None),
    ]
    assert "Warning: release and QEMU of vmc-0-1 are unknown" in ended.err
    assert "system" not in machines.done("list", "host", "vmc-0-0", "json=yes")


def test_the_site_names_a_host_whose_upgrade_was_not_completed(machines: Site, play: Play) -> None:
    """The files of the new release are there, and the old libvirt runs."""
    play({"vmc-0-0": with_qemu("7.2.22"), "vmc-0-1": with_qemu("7.2.22", libvirt="8.0.0")})
    settings = FleetSettings(key_file=__file__)  # the hosts that are played ask for no key, but for its file
    machines.patch.setattr(checks, "FleetSettings", lambda: settings)
    machines.patch.setattr(checks, "_key", lambda *_: ())
    lines = machines.rocks("check", "site").out.splitlines()
    (good,) = [line for line in lines if line.startswith("host vmc-0-0:")]
    (bad,) = [line for line in lines if line.startswith("host vmc-0-1:")]
    assert " ok " in good and "guests run by kvm" in good
    assert " wrong " in bad and "libvirt 8.0.0 runs there, and 9.0.0 is installed" in bad
    assert 'rocks run host vmc-0-1 "systemctl try-restart libvirtd virtqemud"' in bad


GUID = "0002c90300a1b2c3"
BAD_PORTS = {
    "a GUID that is no number": [PortFact("mlx4_0", 1, "zz", "4: ACTIVE", ())],
    "no GUID": [PortFact("mlx4_0", 1, "", "4: ACTIVE", ())],
    "a long GUID": [PortFact("mlx4_0", 1, "1" * 17, "4: ACTIVE", ())],
    "a long name": [PortFact("m" * 65, 1, GUID, "4: ACTIVE", ())],
    "a high number": [PortFact("mlx4_0", 2**40, GUID, "4: ACTIVE", ())],
    "one port twice": [PortFact("mlx4_0", 1, guid, "4: ACTIVE", ()) for guid in (GUID, f"1{GUID[1:]}")],
    "one port in capitals, too": [
        PortFact(name, 1, guid, "4: ACTIVE", ())
        for name, guid in (("mlx4_0", GUID), ("MLX4_0", f"1{GUID[1:]}"))
    ],
    "another name": [PortFact("mlx4 0", 1, GUID, "4: ACTIVE", ())],
    "one GUID twice": [PortFact("mlx4_0", number, GUID, "4: ACTIVE", ()) for number in (1, 2)],
}


@pytest.mark.parametrize("kind", BAD_PORTS)
def test_ports_that_no_adapter_has_are_that_hosts_error(machines: Site, play: Play, kind: str) -> None:
    """The ports of the other host are recorded, and the bad one keeps those that it has."""
    good = PortFact("mlx4_0", 1, "0002c90300a1b2c4", "4: ACTIVE", ())

    def ports(*facts: PortFact) -> Reply:
        def answer(line: bytes) -> bytes:
            is_asked = isinstance(read_request(line), InfinibandRequest)
            return write_reply(InfinibandFacts(facts, (), ())) if is_asked else honest(line)

        return answer

    play({"vmc-0-0": ports(*BAD_PORTS[kind]), "vmc-0-1": ports(good)})
    machines.done("add host ibport vmc-0-0 mlx4_1 0x0002c90300a1b2c5")
    ended = machines.rocks("sync host ibport vmc-0-0 vmc-0-1")
    assert ended.status == 3 and "vmc-0-0" in ended.err and "fault" not in ended.err, ended
    assert len(ended.err) < 500
    assert ended.out == "vmc-0-1: mlx4_0 port 1 0x0002c90300a1b2c4\n"
    assert machines.database.rows("SELECT Device, GUID FROM ib_ports ORDER BY ID") == [
        ("mlx4_1", 0x0002C90300A1B2C5),
        ("mlx4_0", 0x0002C90300A1B2C4),
    ]
    checked = machines.rocks("check host infiniband vmc-0-0 vmc-0-1")
    assert "fault" not in checked.err and "vmc-0-1" in checked.out, checked


def test_an_invalid_port_is_that_hosts_error(machines: Site, play: Play) -> None:
    play({})
    machines.set_as_before("ssh_port", "abc", "vmc-0-0")
    ended = machines.rocks("start host vm vm-a vm-b")
    assert ended.status == 3 and "the attribute ssh_port of vmc-0-0" in ended.err
    assert machines.database.rows("SELECT State FROM vm_leases WHERE Name = 'vm-b'") == [("running",)]


def test_a_terminal_gets_no_control_character_of_any_output(machines: Site, play: Play) -> None:
    """`run host` prints what the hosts print: unchanged into a file, escaped on a terminal."""
    play({})
    command = ("run", "host", "vmc-0-0", "command=true")
    plain = machines.rocks(*command)
    assert EVIL in plain.out and EVIL in plain.err
    leader, follower = pty.openpty()
    try:
        with os.fdopen(os.dup(follower), "w") as terminal:
            machines.patch.setattr(output.sys, "stdout", terminal)
            machines.patch.setattr(output.sys, "stderr", terminal)
            machines.rocks(*command)
        printed = os.read(leader, 65536).decode().replace("\r\n", "\n")
    finally:
        machines.patch.undo()
        os.close(leader)
        os.close(follower)
    assert "\\x1b[2J\\x9b31m\\u202e\\x7f\\r" in printed
    no_controls(printed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_host_that_answers_by_chance(machines: Site, play: Play, seed: int) -> None:
    """Damaged replies, by a fixed seed: the machine on the other host starts and stops each time."""
    chance = random.Random(seed)

    def damaged(line: bytes) -> bytes:
        data = bytearray(honest(line))
        for _ in range(chance.randrange(3)):
            place = chance.randrange(len(data))
            data[place : place + chance.randrange(4)] = chance.choice(
                [b"\xff", b'"', b"[", b"\\ud800", b"0", b"\x1b", b"null", b"\n"]
            )
        return bytes(data)

    play({"vmc-0-0": damaged})
    for _ in range(12):
        for command in (
            ("start", "host", "vm"),
            ("list", "host", "vm", "status=yes"),
            ("stop", "host", "vm"),
        ):
            names = () if command[0] == "list" else ("vm-a", "vm-b")
            ended = machines.rocks(*command, *names)
            no_controls(ended.out, ended.err)
            assert "Traceback" not in ended.err and "has a fault" not in ended.err
            assert ended.status in (0, 3), ended
        assert machines.database.rows("SELECT State FROM vm_leases WHERE Name = 'vm-b'") == [("released",)]
        machines.database.rollback()
