"""A cluster with a frontend's commands, a NAS and two hosts with their daemons: what is typed really happens."""

import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from rocks.core.errors import RocksError
from rocks.core.process import Finished, run
from rocks.database.connection import Database
from rocks.fleet.fleet import Fleet
from rocks.fleet.wire.errors import AgentError
from rocks.fleet.wire.facts import DiskFact, DomainFact, DomainState, HostFacts, ShapeQuestion
from rocks.fleet.wire.requests import DiskSpec, OperationOutcome, StartDomain
from rocks.leases import lease as leases
from rocks.leases import machine_requests
from rocks.machine.host.libvirt.domain_xml import parse_domain
from rocks.machine.plans import plan_start
from tests.system.commands.conftest import Ended, Site
from tests.system.imgstorage.image_site import HOSTS, NAS, ImageSite

HOST, OTHER = HOSTS
ADD = ("add", "host", "storagemap", NAS, "tank")
REMOVE = ("remove", "host", "storagemap", NAS)
_KILLED = """
import os, signal, sys
from rocks.cli.main import main

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

{patches}
main(sys.argv[1:])
"""
START, STOP = ("start", "host", "vm"), ("stop", "host", "vm")
END = "terminate=yes"


class KilledError(BaseException):
    """The command is gone. Not an Exception, so that no handler of the program catches it."""


def die(*_: object, **__: object) -> NoReturn:
    """In the place of a step: the command is killed before it, as far as this process can be."""
    raise KilledError


def run_process(patches: str, *arguments: str) -> Finished:
    """Run `rocks` in a process of its own, with Python statements in which `kill` stands for the step that kills it."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")}
    program = [sys.executable, "-c", _KILLED.format(patches=patches), *arguments]
    return run(program, deadline_seconds=300, environment=environment)


def run_until_killed(patches: str, *arguments: str) -> None:
    """As `run_process`, which must be killed."""
    ended = run_process(patches, *arguments)
    assert ended.exit_status == -9, ended.error_text


def interrupt(*_: object, **__: object) -> NoReturn:
    """In the place of a step: the user interrupts the command there."""
    raise KeyboardInterrupt


class Storage(NamedTuple):
    """The commands and their database, and the daemons that answer them."""

    cluster: Site
    images: ImageSite

    def rocks(self, *arguments: str) -> Ended:
        return self.cluster.rocks(*arguments)

    def done(self, *arguments: str) -> str:
        return self.cluster.done(*arguments)

    def succeeded(self, *arguments: str) -> Ended:
        """Run a command that must succeed, with or without warnings."""
        ended = self.rocks(*arguments)
        assert ended.status == 0, ended
        return ended

    def refused(self, *arguments: str) -> str:
        """Run a command that must be refused with one line and change nothing in the database; returns that line."""
        return self.cluster.refused(*arguments)

    def map(self, volume: str, host: str = HOST, size: str = "1") -> str:
        """Map an image that follows to the host, and wait until it is local; returns its device."""
        out = self.done(*ADD, volume, host, size, "img_sync=yes", "remotepool=tank")
        self.images.wait_for_state(volume, "local")
        return out.splitlines()[1]

    def add_vm(self, name: str, *disks: str, sync: bool = True) -> str:
        """A machine on the first host whose disks, 1 GB each, the NAS keeps; returns its name."""
        self.done("add", "host", "vm", HOST, "compute", f"name={name}")
        disk = " ".join(f"file:/images/{name}.{disk},{disk},virtio" for disk in disks or ("vda",))
        # of a name that was a machine's before, it says that an image may be larger
        ended = self.rocks("set", "host", "vm", name, f"disk={disk}", "disksize=1")
        assert ended.status == 0, ended
        for index in range(len(disks or ("vda",))):
            self.done("set", "host", "vm", "nas", name, f"nas={NAS}", "zpool=tank", f"index={index}")
        self.done("set", "host", "attr", HOST, "img_sync", "yes" if sync else "no")
        return name

    def release(self, *names: str) -> None:
        """The machines have ended: the played hosts say nothing of the end of a lease."""
        leases.release_leases(self.cluster.database, names)
        self.cluster.database.commit()

    def stop(self, *names: str) -> None:
        """Stop the machines, and write their changes back."""
        self.done("stop", "host", "vm", *names, "terminate=yes")
        self.release(*names)

    def lease(self, name: str) -> tuple[Any, ...]:
        """(state, host) of a machine's lease."""
        (row,) = self.cluster.rows("SELECT State, Host FROM vm_leases WHERE Name = %s", [name])
        return row

    def disks(self, name: str) -> list[tuple[object, ...]]:
        """(type, prefix, name) of a machine's disks."""
        return self.cluster.rows(
            "SELECT d.VBD_Type, d.Prefix, d.Name FROM vm_disks d JOIN vm_nodes v ON v.ID = d.Vm_Node"
            " JOIN nodes n ON n.ID = v.Node WHERE n.Name = %s ORDER BY d.ID",
            [name],
        )


@dataclass
class PlayedHosts:
    """Agents of hosts as a start finds them. A guest that was started has ended by itself when the next start asks.

    `facts_error` in the place of facts; `outcome` of the start in the place of success, `domain` the state of the
    guest that the host has from then on.
    """

    memory_mb: int = 2**16
    facts_error: RocksError | None = None
    outcome: RocksError | None = None
    is_answered: bool = True
    domain: DomainState | None = None
    _asked: dict[str, int | None] = field(default_factory=dict)

    def contact_hosts(
        self,
        database: Database,
        fleet: Fleet,
        hosts: Collection[str],
        lease_ends: Mapping[str, Collection[tuple[str, int]]] | None = None,
        limit_seconds: float | None = None,
        files: Mapping[str, Collection[str]] | None = None,
        shapes: Mapping[str, ShapeQuestion] | None = None,
    ) -> dict[str, HostFacts | RocksError]:
        """As the real one."""
        ended = () if self.domain else tuple(name for ends in (lease_ends or {}).values() for name, _ in ends)
        paths = {path for of_host in (files or {}).values() for path in of_host}
        facts = self._facts([DiskSpec(path, "raw", 1, path.startswith("/dev/")) for path in paths], ended)
        return dict.fromkeys(hosts, self.facts_error or facts)

    def perform_operations(
        self,
        database: Database,
        fleet: Fleet,
        operations: Mapping[str, Sequence[StartDomain]],
        progress: object = None,
    ) -> Iterator[tuple[str, OperationOutcome | RocksError]]:
        """As the real one: the start is planned by what the host has. For other operations hosts are silent."""
        if not all(isinstance(one, StartDomain) for requested in operations.values() for one in requested):
            yield from machine_requests.perform_operations(database, fleet, operations)
            return
        for operation in (operation for requested in operations.values() for operation in requested):
            if self.facts_error is not None:
                self.facts_error.nothing_done = True
                yield operation.name, self.facts_error
            elif self.outcome is not None and not self.is_answered:
                yield operation.name, self.outcome
            else:
                error = self._planned(operation) or self.outcome
                reported = None if error is None else AgentError(error.family, str(error))
                yield operation.name, OperationOutcome(operation.name, error is None, (), reported)
            self._asked[operation.name] = operation.token

    def _planned(self, operation: StartDomain) -> RocksError | None:
        memory_mb = parse_domain(operation.xml).memory_mb
        try:
            plan_start(operation, memory_mb, self._facts(operation.disks), {})
        except RocksError as error:
            return error
        return None

    def _facts(self, disks: Iterable[DiskSpec], ended: tuple[str, ...] = ()) -> HostFacts:
        found = tuple(DiskFact(disk.path, True, disk.is_block, 2**30, 2**40, 2**40) for disk in disks)
        state = self.domain
        domains = () if state is None else tuple(self._domain(*asked, state) for asked in self._asked.items())
        return HostFacts(self.memory_mb, 64, True, True, domains, found, (), ended=ended)

    def _domain(self, name: str, token: int | None, state: DomainState) -> DomainFact:
        return DomainFact(name, "u", state, token, 64, 1, False, True, False)


def mapped_lines(storage: Storage, *machines: str) -> list[str]:
    return storage.done(*START, *machines).splitlines()


def owner(storage: Storage, volume: str) -> object:
    """The host that has the image; None also when there is no such image."""
    rows: list[Mapping[str, object]] = [dict(row) for row in storage.images.rows()]
    return next((row["remotehost"] for row in rows if row["zvol"] == volume), None)
