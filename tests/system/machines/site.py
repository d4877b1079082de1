"""A site with the frontend `head` and the VM containers `vmc-0-0` and `vmc-0-1`, all in this process."""

import contextlib
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rocks.cli import main
from rocks.database.connection import Database
from rocks.fleet.connection import FleetSettings, HostAddress
from rocks.fleet.fleet import Fleet
from rocks.inventory import host_records
from rocks.library import streams as image_streams
from rocks.machine import move as disk_moves
from tests.system.commands.conftest import Ended, Site
from tests.system.machines.hosts import AgentProgram, DiedError, EffectCounter, FakeHost, HostConnection

HEAD, OLD, NEW = "head", "vmc-0-0", "vmc-0-1"
_MAX_EFFECTS = 60


class MachineSite:
    """Runs commands, and reads their results from database and hosts. `effects` counts the frontend's effects."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.hosts = {name: FakeHost(name, folder / name) for name in (HEAD, OLD, NEW)}
        self.effects = EffectCounter()
        self._open: list[Database] = []
        for host in self.hosts.values():
            for device in ("eth0", "eth1"):
                host.links.add(device, "bridge")
            self.run(f"set host attr {host.name} vm_image_directory {host.images}")

    # use

    def rocks(self, line: str) -> Ended:
        """Run `rocks LINE`; the line is split as by a shell."""
        return self.site.rocks(*shlex.split(line))

    def run(self, line: str) -> str:
        """Run a command that must succeed, with or without warnings; returns everything that it printed."""
        ended = self.rocks(line)
        assert ended.status == 0, f"rocks {line}: {ended}"
        return ended.out + ended.err

    def refused(self, line: str, status: int = 1) -> str:
        """Run a command that must fail with an error message; returns the message."""
        ended = self.rocks(line)
        assert ended.status == status, f"rocks {line}: {ended}"
        assert "Error: " in ended.err and "please report" not in ended.err, f"rocks {line}: {ended}"
        return ended.err

    def add(self, name: str, host: str = OLD, more: str = "") -> str:
        """Add a machine with 64 MB of memory and a disk of 1 GB on a host; returns its name."""
        self.run(f"add host vm {host} membership=compute name={name} mem=64 disksize=1 {more}")
        return name

    def started(self, name: str, host: str = OLD, more: str = "") -> str:
        self.add(name, host, more)
        self.run(f"start host vm {name}")
        return name

    # state

    def sql(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Rows from the current state of the database."""
        return self.site.rows(statement, values)

    def lease(self, name: str) -> tuple[int, str, str | None]:
        """(token, state, host) of a machine's lease; token 0 before the first one."""
        rows = self.sql("SELECT Token, State, Host FROM vm_leases WHERE Name = %s", [name])
        ((token, state, host),) = rows or [(0, "released", None)]
        return token, state, host

    def place(self, name: str) -> str:
        ((host,),) = self.sql(
            "SELECT p.Name FROM vm_nodes v JOIN nodes n ON n.ID = v.Node JOIN nodes p ON p.ID = v.PhysNode"
            " WHERE n.Name = %s",
            [name],
        )
        return str(host)

    def uuid(self, name: str) -> str:
        ((uuid,),) = self.sql(
            "SELECT v.UUID FROM vm_nodes v JOIN nodes n ON n.ID = v.Node WHERE n.Name = %s", [name]
        )
        return str(uuid)

    def state(self, host: str, name: str) -> str | None:
        """The state of a domain in the host's libvirt; None without a domain."""
        fact = self.hosts[host].domains.find(name)
        return None if fact is None else fact.state

    def running(self, name: str) -> list[str]:
        """The hosts on which a domain of that name is active."""
        return [host for host in self.hosts if self.state(host, name) not in (None, "shutoff")]

    def image(self, name: str, host: str = OLD) -> Path:
        """The path of a file in a host's image directory."""
        return self.hosts[host].images / name

    def files(self, host: str) -> list[str]:
        """The file names in a host's image directory."""
        return sorted(path.name for path in self.hosts[host].images.iterdir())

    def write(self, name: str, data: bytes, host: str = OLD) -> None:
        with self.image(name, host).open("r+b") as file:
            file.write(data)

    def read(self, name: str, host: str = OLD, count: int = 7) -> bytes:
        with self.image(name, host).open("rb") as file:
            return file.read(count)

    def links(self, host: str) -> list[str]:
        """The network devices that a host created for guests."""
        return sorted(set(self.hosts[host].links.links) - {"eth0", "eth1"})

    def vanish(self, name: str) -> None:
        """The host stops answering; its guests continue to run."""
        self.hosts[name].is_silent = True

    def revive(self) -> None:
        """All hosts answer again."""
        for host in self.hosts.values():
            host.is_silent = False

    # deaths

    def deaths(self, line: str, host: str | None = None) -> Iterator[int]:
        """Run the command repeatedly: it dies at its first effect, at its second, and so on, until it completes.

        With a `host`, that host's agent dies instead, and the command continues.
        """
        effects = self.effects if host is None else self.hosts[host].effects
        for limit in range(_MAX_EFFECTS):
            if not self._dies(line, effects, limit):
                assert limit > 0, f"rocks {line} has no effect that could fail"
                return
            yield limit
        raise AssertionError(f"rocks {line} has more than {_MAX_EFFECTS} effects")

    def _dies(self, line: str, effects: EffectCounter, limit: int) -> bool:
        for host in self.hosts.values():
            host.has_died = False
        effects.restart(limit)
        with contextlib.suppress(DiedError):
            self.rocks(line)
        has_died = effects.is_dead or any(host.has_died for host in self.hosts.values())
        effects.restart()
        self._open.clear()
        return has_died

    def install(self, replace: Callable[[object, str, object], None]) -> None:
        """Connect the fleet to these hosts, by a monkeypatch's `setattr`, and count the frontend's effects."""
        ask_each, opened, effects = Fleet.ask_each, main._open_database, self.effects
        run, commit, roll_back = Database._run, Database.commit, Database.rollback

        def connect(fleet: Fleet, address: HostAddress, settings: FleetSettings) -> HostConnection:
            return HostConnection(self.hosts[address.name])

        def asked(fleet: Fleet, requests: Mapping[str, Any], limit_seconds: float | None = None) -> Any:
            if requests:
                self._check_unlocked()
                effects.count_one()
            for answer in ask_each(fleet, requests, limit_seconds):
                effects.count_one()
                yield answer

        def check_alive(database: Database) -> None:
            if database in self._open and effects.is_dead:
                raise DiedError

        def run_statement(database: Database, sql: str, values: Sequence[Any] = ()) -> Any:
            check_alive(database)
            return run(database, sql, values)

        def rolled_back(database: Database) -> None:
            check_alive(database)
            roll_back(database)

        def committed(database: Database) -> None:
            if database in self._open and database.has_changes:
                effects.count_one()
            commit(database)

        def started(host: HostAddress, settings: FleetSettings, mode: Sequence[str]) -> AgentProgram:
            self._check_unlocked()
            effects.count_one()
            return AgentProgram(self.hosts[host.name], mode)

        replace(Fleet, "_connect", connect)
        replace(Fleet, "ask_each", asked)
        replace(Database, "_run", run_statement)
        replace(Database, "commit", committed)
        replace(Database, "rollback", rolled_back)
        for module in (image_streams, disk_moves):
            replace(module, "start_agent", started)
        replace(main, "_open_database", lambda: self._opened(opened()))

    def _check_unlocked(self) -> None:
        """No host is waited for while the site's names are locked: other commands wait for some seconds only."""
        for database in self._open:
            locks = database._locks
            assert locks._offset(host_records.LOCK) not in locks._held

    def _opened(self, database: Database) -> Database:
        self._open.append(database)
        return database
