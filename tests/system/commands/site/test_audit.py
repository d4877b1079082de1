"""The audit log: an entry per change, with its person, place and outcome, in one chain (`rocks list|check audit`)."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from rocks.commands._framework import run_command
from rocks.core import callers
from rocks.core.errors import BusyError, Code, RocksError
from rocks.database.connection import Database
from rocks.database.migrate import split_statements
from rocks.database.settings import Settings
from rocks.database.versions import MIGRATIONS_FOLDER
from rocks.trust.audit import AuditRecord, Event, append_entry
from rocks.trust.audit_entries import LONGEST_ACTION, Entry, Head
from tests.patience import patience
from tests.system.commands.conftest import Site
from tests.system.commands.test_commands_at_once import ends, start

SECONDS = 120.0
(MIGRATION,) = Path(MIGRATIONS_FOLDER).glob("*_audit.sql")
EVENT = Event("control", "vc1", "10.1.255.2", "set host power vm-vc1-0 action=on")


class Journal:
    """A socket that receives what journald would."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(SECONDS)

    def next(self) -> dict[str, str]:
        """The fields of the next entry."""
        data, fields = self._socket.recv(1 << 20), {}
        while data:
            name, _, data = data.partition(b"\n")
            size = int.from_bytes(data[:8], "little")
            fields[name.decode()] = data[8 : 8 + size].decode()
            data = data[8 + size + 1 :]
        return fields

    def close(self) -> None:
        """End the socket."""
        self._socket.close()


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    """What this process's commands write into the journal."""
    monkeypatch.setenv("ROCKS_JOURNAL_SOCKET", str(tmp_path / "journal"))
    opened = Journal(tmp_path / "journal")
    yield opened
    opened.close()


def events(site: Site, *arguments: str) -> list[Mapping[str, object]]:
    """The log as a program reads it, oldest first."""
    found = json.loads(site.done("list audit json=yes", *arguments))
    return [{"number": one["number"], **one["audit"][0]} for one in found]


def exits(site: Site) -> list[tuple[object, object, object]]:
    """Command, exit status and error of each event."""
    return [(one["command"], one["exit"], one["error"]) for one in events(site)]


def tamper(site: Site, *statements: str) -> None:
    """Change the log as an administrator of the database can."""
    for trigger in ("sec_audit_unchanged", "sec_audit_stays"):
        site.change(f"DROP TRIGGER {trigger}")
    for statement in statements:
        site.change(statement)
    for statement in split_statements(MIGRATION.read_text()):
        if "TRIGGER sec_audit_unchanged" in statement or "TRIGGER sec_audit_stays" in statement:
            site.change(statement)  # the database serves other tests too


def faults(site: Site) -> str:
    """What `check audit` prints about a log that is not complete."""
    ended = site.rocks("check audit")
    assert ended.status == 1 and ended.err.startswith("Error: the audit log is not as it was written"), ended
    return ended.out


def test_a_change_has_one_entry_with_its_person_place_and_outcome(site: Site) -> None:
    site.patch.setenv("SUDO_USER", "alice")
    site.patch.setenv("SSH_CLIENT", "198.51.100.7 50000 22")
    site.done("add host compute-0-0")
    site.done("list host")
    site.rocks("add host compute-0-0")
    site.rocks("add host compute-0-1 colour=blue")  # a usage that does not exist
    first, second = events(site)
    assert str(first["user"]).endswith("alice") or "(sudo alice)" in str(first["user"])
    assert str(first["from"]).startswith("198.51.100.7")
    assert (first["command"], first["exit"], first["error"]) == ("add host compute-0-0", 0, "")
    assert (first["account"], first["source"], first["roll"]) == ("root", "command", "base")
    assert first["version"] and first["ended"] == first["time"]
    assert (second["command"], second["exit"], second["error"]) == ("add host compute-0-0", 1, "user")
    assert site.done("check audit").startswith("2 entries, complete; digest of the last: ")


def test_secrets_are_not_in_the_log(site: Site) -> None:
    site.done("add host compute-0-0")
    site.rocks("set host attr compute-0-0 ipmi_password geheim")
    site.rocks("set host attr compute-0-0 some_token value=geheim")
    commands = [row["command"] for row in events(site)]
    assert commands[1:] == [
        "set host attr compute-0-0 ipmi_password ***",
        "set host attr compute-0-0 some_token ***",
    ]
    assert "geheim" not in str(site.database.rows("SELECT * FROM sec_audit"))


def test_an_entry_costs_one_statement(site: Site) -> None:
    with_entry = site.rocks("add host compute-0-0").statements
    site.patch.setattr(run_command, "is_audited", lambda command: False)
    assert site.rocks("add host compute-0-1").statements == with_entry - 1


def test_the_list_is_filtered(site: Site) -> None:
    for number in range(3):
        site.done("add host", f"compute-0-{number}")
    site.rocks("add host compute-0-0")
    site.done("remove host compute-0-2")
    numbers = {
        ("command=add host",): [1, 2, 3, 4],
        ("command=%compute-0-2%",): [3, 5],
        ("command=add_host",): [],
        ("failed=yes",): [4],
        ("count=2",): [4, 5],
        ("since=1h",): [1, 2, 3, 4, 5],
        ("since=2999-01-01",): [],
        ("until=2020-01-01T00:00",): [],
        ("source=control",): [],
        ("user=no%body",): [],
    }
    assert {one: [row["number"] for row in events(site, *one)] for one in numbers} == numbers
    assert "must be a moment in UTC" in site.refused("list audit since=yesterday")
    assert "must be an integer" in site.refused("list audit count=0")
    assert "must be one of command, control, service, nucleus" in site.refused("list audit source=owner")


@pytest.mark.parametrize("behind", ["", "alice"])
def test_what_nucleus_does_has_it_as_its_source(
    site: Site, monkeypatch: pytest.MonkeyPatch, behind: str
) -> None:
    """Its executor states that in the environment; who comes by sudo, or has logged in, cannot pass for it."""
    monkeypatch.setattr(callers, "_login", str)
    monkeypatch.setenv("ROCKS_SOURCE", "nucleus")
    monkeypatch.setenv("SUDO_USER", behind)
    site.done("set attr a 1")
    (one,) = events(site)
    expected = ("alice", "command") if behind else ("nucleus", "nucleus")
    assert (one["user"], one["source"], one["account"]) == (*expected, "root")
    assert bool(events(site, "source=nucleus")) is not bool(behind)


def test_hostile_text_stays_one_row_and_fits(site: Site) -> None:
    site.rocks("add host", "a\x1b[2J\nb'; DROP TABLE nodes; --")
    site.rocks("add host", "ü" * (2 * LONGEST_ACTION))
    ended = site.rocks("list audit")
    assert len(ended.out.splitlines()) == 3 and "\x1b" not in ended.out
    assert site.done("check audit").startswith("2 entries, complete")


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        (["UPDATE sec_audit SET Person = 'mallory' WHERE Number = 2"], "entry 2 does not fit its digest"),
        (["UPDATE sec_audit SET Time = '2020-01-01' WHERE Number = 1"], "entry 1 does not fit its digest"),
        (["DELETE FROM sec_audit WHERE Number = 2"], "entry 2 is missing\n"),
        (["DELETE FROM sec_audit WHERE Number > 2"], "entries 3 to 4 are missing\n"),
        (
            [
                "UPDATE sec_audit SET Number = 9 WHERE Number = 2",
                "UPDATE sec_audit SET Number = 2 WHERE Number = 3",
                "UPDATE sec_audit SET Number = 3 WHERE Number = 9",
            ],
            "entry 3 does not fit its digest",
        ),
        (
            ["UPDATE sec_audit SET Person = 'x', Digest = REPEAT('a', 64) WHERE Number = 4"],
            "entry 4 does not fit its digest",
        ),
        (["UPDATE sec_audit_head SET Digest = REPEAT('a', 64)"], "the head names entry 4 with digest aaaa"),
        (["DELETE FROM sec_audit", "UPDATE sec_audit_head SET Number = 4"], "entries 1 to 4 are missing\n"),
        (["DELETE FROM sec_audit_head"], "the head is missing"),
        (["UPDATE sec_audit_head SET Number = 2"], "the head names entry 2 with digest"),
    ],
)
def test_an_altered_removed_or_moved_entry_is_named(site: Site, statements: list[str], found: str) -> None:
    for number in range(4):
        site.done("add host", f"compute-0-{number}")
    tamper(site, *statements)
    assert found in faults(site)


def test_entries_are_neither_changed_nor_deleted_by_mistake(site: Site) -> None:
    site.done("add host compute-0-0")
    for statement in ("UPDATE sec_audit SET Person = 'x'", "DELETE FROM sec_audit"):
        with pytest.raises(Exception, match="an entry of the audit log is never"):
            site.change(statement)
        site.database.rollback()


@pytest.mark.parametrize(
    ("statement", "cause"),
    [
        ("DELETE FROM sec_audit_head", "the head of the audit log was removed"),
        ("UPDATE sec_audit_head SET Number = 0", "it names entry 0, and the last entry is 2"),
        ("DROP TRIGGER sec_audit_chain", "the trigger of the audit log was removed"),
        ("DROP TABLE sec_audit", "a table of the audit log was removed"),
        ("DROP TABLE sec_audit_head", "a table of the audit log was removed"),
    ],
)
def test_a_damaged_log_stops_changes_alone_and_can_be_repaired(
    site: Site, statement: str, cause: str
) -> None:
    """A head that was reset was reported as another command's entry, and to be restored from a copy."""
    site.done("add host compute-0-0")
    site.done("add host compute-0-1")
    site.change(statement)
    refusal = site.refused("add host compute-0-2")
    assert cause in refusal and "rocks update database" in refusal
    assert cause in site.refused("add host compute-0-2")
    assert "compute-0-2" not in site.done("list host")
    assert cause in site.rocks("update database").err
    site.done("add host compute-0-2")
    assert exits(site)[-1] == ("add host compute-0-2", 0, "")
    if "TABLE sec_audit" not in statement:
        assert "entries, complete" in site.done("check audit")


def test_the_journal_has_the_digest_of_each_entry(site: Site, journal: Journal) -> None:
    site.done("add host compute-0-0")
    fields = journal.next()
    ((number, digest),) = site.database.rows("SELECT Number, Digest FROM sec_audit_head")
    assert (fields["ROCKS_AUDIT_NUMBER"], fields["ROCKS_AUDIT_DIGEST"]) == (str(number), digest)
    assert fields["SYSLOG_IDENTIFIER"] == "rocksaudit" and digest in fields["MESSAGE"]
    assert (fields["ROCKS_ACTION"], fields["ROCKS_EXIT_STATUS"]) == ("add host compute-0-0", "0")


def test_a_change_whose_files_cannot_be_written_has_one_entry_and_its_outcome(
    vm_site: Site, journal: Journal, tmp_path: Path
) -> None:
    """The alias is added, and /etc/hosts with damaged marks stays as it is: the journal has both digests."""
    (tmp_path / "dns/zones").mkdir(parents=True)
    (tmp_path / "etc-hosts").write_text("# end of rocks\n")
    assert "does not have one line" in vm_site.rocks("add host alias vmc-0-0 first").err
    rows = vm_site.database.rows("SELECT Concerns, Action, Digest FROM sec_audit ORDER BY Number")
    assert [row[:2] for row in rows] == [(None, "add host alias vmc-0-0 first"), (1, "")]
    assert [journal.next()["ROCKS_AUDIT_DIGEST"] for _ in rows] == [row[2] for row in rows]
    assert exits(vm_site) == [("add host alias vmc-0-0 first", 1, "state")]


def test_the_journal_has_what_the_log_cannot_take(site: Site, journal: Journal) -> None:
    """The database is gone: the command reports it as ever, and the journal has who tried."""
    site.patch.setenv("ROCKS_DATABASE_SOCKET", "/nowhere/mysql.sock")
    ended = site.rocks("add host compute-0-0")
    assert ended.status == 1 and ended.err.startswith("Error: cannot reach the cluster database")
    assert len(ended.err.splitlines()) == 1
    fields = journal.next()
    assert fields["ROCKS_AUDIT_MISSING"] == "1" and fields["ROCKS_ACTION"] == "add host compute-0-0"
    assert fields["ROCKS_ERROR"] == "host" and "cannot reach" in fields["ROCKS_AUDIT_WHY"]


def writer_of_fifo(path: Path) -> int:
    """Its writing end, as soon as a program reads from it."""
    deadline = time.monotonic() + patience(SECONDS)
    while True:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody has opened the other end
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_killed_command_has_an_entry_without_outcome(
    site: Site, processes: dict[str, str], tmp_path: Path
) -> None:
    site.done("add host compute-0-0")
    os.mkfifo(tmp_path / "fifo")
    waiting = f"cat {tmp_path}/fifo"
    process = start(processes, "iterate", "host", "compute-0-0", waiting)
    writer = writer_of_fifo(tmp_path / "fifo")
    process.kill()
    os.close(writer)
    process.communicate(timeout=SECONDS)
    found = [(str(one["command"]).replace("\\", ""), one["exit"]) for one in events(site)[1:]]
    assert found == [(f"iterate host compute-0-0 {waiting}", None)]
    assert [row["number"] for row in events(site, "failed=yes")] == [2]
    assert site.done("check audit").startswith("2 entries, complete")


@pytest.mark.parametrize(("command", "outcome"), [("true", (0, "")), ("interrupted", (130, "interrupted"))])
def test_ctrl_c_while_the_outcome_is_written_does_not_lose_it(
    site: Site, command: str, outcome: tuple[int, str]
) -> None:
    """Of a command that has ended, and of one that another Ctrl-C has interrupted."""

    def append(database: Database, entry: Entry) -> Head:
        if entry.concerns:
            os.kill(os.getpid(), signal.SIGINT)
        return append_entry(database, entry)

    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    site.done("add host compute-0-0")
    site.patch.setattr("rocks.trust.audit.append_entry", append)
    if command == "interrupted":
        site.patch.setattr("rocks.inventory.host_requests.run_interactively", interrupted)
    ended = site.rocks("iterate host compute-0-0", command)
    assert (ended.status, exits(site)[1:]) == (
        outcome[0],
        [(f"iterate host compute-0-0 {command}", *outcome)],
    )


@pytest.mark.slow
def test_many_commands_at_once_keep_one_chain(site: Site, processes: dict[str, str]) -> None:
    outcomes = ends([start(processes, "add", "host", f"compute-0-{n}") for n in range(6)])
    assert [status for status, _ in outcomes] == [0] * 6, outcomes
    assert site.done("check audit").startswith("6 entries, complete")
    assert sorted(str(one["command"]) for one in events(site)) == [
        f"add host compute-0-{n}" for n in range(6)
    ]


# sections of other sources


@contextmanager
def audited(database: Database, event: Event) -> Iterator[None]:
    """A section that ends with its outcome: 0, or the error that it raises, which rolls back."""
    record = AuditRecord(database, event)
    record.begin()
    try:
        yield
        record.set_outcome(0)
        database.commit()
    except BaseException as error:
        with suppress(RocksError):  # a lost connection has rolled back everything
            database.rollback()
        record.fail(error)
        raise
    record.complete()


def test_a_section_that_waits_has_its_entry_before_and_its_outcome_after(
    site: Site, cluster_database: Settings
) -> None:
    with Database(cluster_database) as database, audited(database, EVENT):
        database.rows("SELECT 1")
        database.end_reading()
        assert exits(site) == [(EVENT.action, None, "")]
    (one,) = events(site, "source=control")
    assert (one["user"], one["from"], one["exit"]) == ("vc1", "10.1.255.2", 0)
    assert len(site.database.rows("SELECT 1 FROM sec_audit")) == 2


def test_a_section_that_fails_changes_nothing_and_has_its_error(
    site: Site, cluster_database: Settings
) -> None:
    with Database(cluster_database) as database:
        with pytest.raises(BusyError), audited(database, EVENT):
            database.execute("UPDATE subnets SET mtu = 9000")
            raise BusyError("later", code=Code.IMAGE_BUSY)
        with audited(database, EVENT):
            database.execute("UPDATE subnets SET mtu = 1400")
    assert exits(site) == [(EVENT.action, 1, "busy/image_busy"), (EVENT.action, 0, "")]
    assert site.database.rows("SELECT DISTINCT mtu FROM subnets") == [(1400,)]


def test_a_lost_connection_leaves_the_outcome(site: Site, cluster_database: Settings) -> None:
    with Database(cluster_database) as database, pytest.raises(KeyboardInterrupt), audited(database, EVENT):
        ((connection,),) = database.rows("SELECT CONNECTION_ID()")
        database.execute("UPDATE subnets SET mtu = 9000")
        database.commit()
        site.change("KILL HARD CONNECTION %s", (connection,))
        with pytest.raises(Exception, match="lost the cluster database"):
            database.rows("SELECT 1")
        raise KeyboardInterrupt
    assert exits(site) == [(EVENT.action, 130, "interrupted")]
