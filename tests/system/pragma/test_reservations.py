"""The controller of reservations with the real commands of the roll, on a site whose hosts are in memory."""

import shlex
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nucleus.backends.executor import Answer
from nucleus.backends.executor_service import is_allowed
from nucleus.backends.rocks import Rocks
from nucleus.configuration import BatchSettings, Configuration, ImageSettings, WorkSettings
from nucleus.mirror.claims import Claimant
from nucleus.mirror.pool import Guard, Pool
from nucleus.operations.job import Tools
from nucleus.operations.worker import perform
from owners.reservations import site, work
from owners.reservations.controller import Controller
from tests.system.machines.site import MachineSite
from tests.system.nucleus.conftest import nucleus_settings, pool, sql, worker_schema
from tests.system.nucleus.slurm_rounds import Hands
from tests.system.pragma.conftest import KEY
from tests.system.pragma.test_life import nothing_is_left

__all__ = ["nucleus_settings", "pool", "worker_schema"]


class KilledError(BaseException):
    """The process of Nucleus ends here, as if by SIGKILL."""


class SiteExecutor:
    """Runs `rocks` on the site of the test; dies before or after the command with the number `limit`, from 0."""

    def __init__(self, machines: MachineSite, folder: str) -> None:
        self._machines, self._folder = machines, folder
        self.calls: list[tuple[str, ...]] = []
        self.limit, self.is_before = -1, True

    def run(self, arguments: Sequence[str], deadline_seconds: float) -> Answer:
        assert is_allowed(arguments, self._folder), arguments
        self.calls.append(tuple(arguments))
        dies = len(self.calls) - 1 == self.limit
        if dies and self.is_before:
            raise KilledError
        ended = self._machines.rocks(shlex.join(arguments))
        if dies:
            raise KilledError
        return Answer(ended.status, ended.out, ended.err)

    def open(self, arguments: Sequence[str]) -> Any:
        raise AssertionError


class Process:
    """A process of Nucleus after the other, each of which may die; the clock is a test's."""

    def __init__(
        self, machines: MachineSite, pool: Pool, folder: Path, batch: BatchSettings | None = None
    ) -> None:
        self.pool, self.hands = pool, Hands()
        self.configuration = Configuration(
            database=pool.settings,
            images=ImageSettings(folder=str(folder / "images")),
            batch=batch or BatchSettings(),
        )
        self.executor = SiteExecutor(machines, self.configuration.images.folder)
        self._guard = Guard(pool.settings, "reservations")
        assert self._guard.take()
        self.restart()

    def restart(self) -> None:
        """The next process; what the last one had in hand is claimed by its number of a worker."""
        self.controller = Controller(self.configuration, self._guard, self.hands.clock)
        kinds = [work.BOOT, work.STOP]
        self._claimant = Claimant(f"w{len(self.executor.calls)}-{id(self.controller)}"[:12], 4, 4, kinds)
        self._tools = Tools(
            self.pool,
            Rocks(self.executor, 60.0),
            WorkSettings(attempts=1),
            threading.Event(),
            self.configuration.batch,
        )

    def turn(self) -> None:
        """A round, and what is to be done now."""
        self.controller.round()
        while True:
            with self.pool.transaction() as session:
                found = self._claimant.claim(session)
            if found is None:
                return
            perform(self._tools, found)

    def turn_until_alive(self) -> bool:
        """A turn; False when the process was killed, and the next one is there."""
        try:
            self.turn()
            return True
        except KilledError:
            self.restart()
            return False

    def until(self, state: str, number: int | None = None) -> None:
        for _ in range(8):
            self.turn_until_alive()
            if set(self.states(number)) == {state}:
                return
            sql(self.pool, "UPDATE operation SET not_before = NULL")
        raise AssertionError(self.describe())

    def states(self, number: int | None = None) -> list[str]:
        where = "" if number is None else f" WHERE id = {number}"
        return [
            state for (state,) in sql(self.pool, f"SELECT state FROM reservation_interval{where} ORDER BY id")
        ]

    def describe(self) -> str:
        rows = sql(self.pool, "SELECT id, state, reason, cluster, address FROM reservation_interval")
        return f"{rows} {sql(self.pool, 'SELECT kind, state, error FROM operation')} {self.executor.calls}"

    def reserve(
        self, minutes: float = 30, vc: str = "dock6", cpus: int = 3, address: str | None = None
    ) -> int:
        """An interval that begins in a minute; at the site with this address."""
        with self.pool.transaction() as session:
            session.execute("INSERT IGNORE INTO user (username) VALUES ('ann')")
            session.execute(
                "INSERT IGNORE INTO reservation_site (name, cpus, memory_gb, address) VALUES (%s, 64, 192, %s)",
                (address or "ours", address),
            )
            (user,) = session.row("SELECT id FROM user") or (0,)
            (place,) = session.row(
                "SELECT id FROM reservation_site WHERE name = %s", (address or "ours",)
            ) or (0,)
            made = {
                "site_id": place,
                "user_id": user,
                "vc": vc,
                "cpus": cpus,
                "memory_gb": 4,
                "public_key": KEY,
            }
            number = session.insert("reservation", made)
            begin = datetime.now(UTC) + timedelta(minutes=1)
            times = {
                "begins_at": begin,
                "ends_at": begin + timedelta(minutes=minutes),
                "request": f"nucleus-{number:016x}",
            }
            return session.insert("reservation_interval", {"reservation_id": number, **times})

    def close(self) -> None:
        self._guard.release()


@pytest.fixture
def ssh(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], None]]:
    """A server at loopback, in place of port 22 of each address, that greets with these bytes."""
    server = socket.create_server(("127.0.0.1", 0))
    greeting = [b"SSH-2.0-test\r\n"]

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.sendall(greeting[0])

    threading.Thread(target=serve, daemon=True).start()
    connect, port = socket.create_connection, server.getsockname()[1]

    def to_server(address: tuple[str, int], seconds: float) -> socket.socket:
        assert address == ("203.0.113.20", 22)
        return connect(("127.0.0.1", port), seconds)

    monkeypatch.setattr(site.socket, "create_connection", to_server)
    yield lambda text: greeting.__setitem__(0, text)
    server.shutdown(socket.SHUT_RDWR)
    server.close()


@pytest.fixture
def process(machines: MachineSite, pool: Pool, tmp_path: Path) -> Iterator[Process]:
    made = Process(machines, pool, tmp_path)
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("passing", ["ahead_seconds", "step_seconds"])
def test_a_cluster_runs_from_begin_to_ten_minutes_before_the_end(
    process: Process, machines: MachineSite, ssh: Callable[[bytes], None], passing: str
) -> None:
    """Also where the clock is put forward: the next reservation begins by the calendar."""
    assert "dock6" in site.listed_images(site.LocalSite(Rocks(process.executor, 60.0), ""))
    process.executor.calls.clear()
    process.reserve(30)
    process.turn()
    assert process.states() == ["waiting"] and process.executor.calls == []
    ssh(b"HTTP/1.1 400\r\n")
    process.hands.ahead_seconds = 61
    process.turn()
    assert process.states() == ["starting"], "it does not answer by SSH"
    assert KEY.split()[1] in machines.rocks("list host attr dock").out
    ssh(b"SSH-2.0-test\r\n")
    process.until("running")
    assert sql(process.pool, "SELECT cluster, address FROM reservation_interval") == [
        ("dock", "203.0.113.20")
    ]
    process.hands.ahead_seconds = 60 + 20 * 60 - 120  # the seconds that the test has taken are added
    process.turn()
    assert process.states() == ["running"]
    setattr(process.hands, passing, getattr(process.hands, passing) + 120)
    process.until("stopped")
    nothing_is_left(machines)
    assert list(Path(process.configuration.images.folder).iterdir()) == [], "the key is removed"


@pytest.mark.slow
@pytest.mark.parametrize("is_before", [True, False])
def test_a_process_that_is_killed_at_any_command_leaves_nothing(
    process: Process, machines: MachineSite, ssh: Callable[[bytes], None], is_before: bool
) -> None:
    """Boot, look, look again, shut down, look, clean: before each command, and after it."""
    for limit in range(6):
        process.executor.calls.clear()
        process.executor.limit, process.executor.is_before = limit, is_before
        process.hands.ahead_seconds = 0
        number = process.reserve(30)
        process.hands.ahead_seconds = 61
        process.until("running", number)
        boots = [call for call in process.executor.calls if call[1] == "boot"]
        assert len(boots) == 1 + (limit == 0), "an interrupted one is repeated, and finds its cluster"
        assert "dock7" not in machines.rocks("list cluster").out
        process.hands.ahead_seconds = 60 + 21 * 60
        process.until("stopped", number)
        nothing_is_left(machines)
    process.executor.limit = -1


@pytest.mark.slow
def test_a_cluster_that_cannot_be_booted_disturbs_no_other(
    process: Process, machines: MachineSite, ssh: Callable[[bytes], None]
) -> None:
    bad = process.reserve(30, "none")
    away = process.reserve(30, address="root@192.0.2.1")
    good = process.reserve(30)
    process.hands.ahead_seconds = 61
    process.until("running", good)
    process.until("failed", bad)
    boots = [call for call in process.executor.calls if call[:3] == ("pragma", "boot", "none")]
    assert len(boots) == 3, "what a site refuses is tried again, too"
    reason = sql(process.pool, "SELECT reason FROM reservation_interval WHERE id = %s", (bad,))
    assert reason[0][0].startswith("the cluster was not started: ") and "image" not in reason[0][0], reason
    process.until("stopping", away)  # and it stays so: what may run there is looked for again
    sql(process.pool, "UPDATE reservation_interval SET is_cancelled = TRUE WHERE id = %s", (good,))
    process.until("stopped", good)
    nothing_is_left(machines)


def test_of_an_owner_who_is_disabled_nothing_is_booted(process: Process, machines: MachineSite) -> None:
    process.reserve(30)
    sql(process.pool, "UPDATE user SET is_active = FALSE")
    process.hands.ahead_seconds = 61
    process.until("cancelled")
    assert process.executor.calls == []


def test_a_time_that_the_service_has_missed_starts_nothing(process: Process, machines: MachineSite) -> None:
    process.reserve(30)
    process.hands.ahead_seconds = 3600
    process.until("failed")
    assert process.executor.calls == []


@pytest.mark.slow
def test_a_cluster_that_never_answers_is_removed_in_time(
    process: Process, machines: MachineSite, ssh: Callable[[bytes], None]
) -> None:
    ssh(b"")
    process.reserve(30)
    process.hands.ahead_seconds = 61
    process.turn()
    process.hands.ahead_seconds = 60 + 21 * 60
    process.until("failed")
    nothing_is_left(machines)
