"""The command framework on the machine: the database's transaction, sudo, pipes, start-up, `rocks shell`."""

import importlib.util
import io
import os
import shutil
import signal
import subprocess  # noqa: TID251 - as another user, with a closed pipe: more than rocks.core.process offers
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import IO, NamedTuple

import pytest

import rocks
from rocks.core.errors import HostError
from rocks.database import driver
from rocks.database.connection import Database
from rocks.database.settings import Settings
from tests.command_trees import WriteCommand, usage_line, write_command_file
from tests.system.commands.conftest import Ended, Site

ORDINARY_USER = 64999
"""A user id that no machine gives to anybody."""

HEAVY = {
    *("asyncio", "cryptography", "dataclasses", "inspect", "json", "lxml", "logging", "paramiko"),
    *("ssl", "subprocess"),
}


class Program(NamedTuple):
    """A copy of the program where every user may read it, and a folder for programs that it may find."""

    launcher: Path
    folder: Path
    programs: Path

    def run(
        self,
        *arguments: str,
        user: int | None = None,
        environment: dict[str, str] | None = None,
        output: IO[bytes] | int = subprocess.PIPE,
        before: Sequence[str] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run a command line in a process of its own, as `user`; `before`: a program that becomes it."""
        return subprocess.run(
            [*before, os.path.realpath(sys.executable), "-E", "-S", str(self.launcher), *arguments],
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            cwd="/",
            env={
                "PATH": str(self.programs),
                "ROCKS_LAUNCHER": "/opt/rocks/bin/rocks",
                "ROCKS_DATABASE_SOCKET": "/nowhere/mysql.sock",
                **(environment or {}),
            },
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )

    def add_program(self, name: str, text: str) -> None:
        """Put a shell script where the program finds it."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{text}")
        path.chmod(0o755)


@pytest.fixture
def program() -> Iterator[Program]:
    """The program for other users; skips when this process may not become one."""
    if os.geteuid() != 0:
        pytest.skip("becoming an ordinary user needs root")
    folder = Path(tempfile.mkdtemp(prefix="rocks-program-"))
    folder.chmod(0o755)
    package = Path(rocks.__file__).parent
    shutil.copytree(package, folder / "rocks", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "bin").mkdir()
    yield Program(folder / "rocks" / "cli" / "launch.py", folder, folder / "bin")
    shutil.rmtree(folder)


def test_a_command_is_one_transaction(site: Site, write_command: WriteCommand) -> None:
    write_command("frob", "self.command('add.attr', ['one', '1'])\nself.command('add attr', ['two', '2'])")
    site.done("frob")
    assert {"one:", "two:"} <= set(site.done("list attr").split())


def test_an_error_undoes_everything_nested_commands_too(site: Site, write_command: WriteCommand) -> None:
    write_command("frob", "self.command('add.attr', ['one', '1'])\nself.command('add.attr', ['one', '2'])")
    assert site.refused("frob") == 'attribute "one" exists; rocks set attr changes its value'


def test_a_fault_undoes_everything(site: Site, write_command: WriteCommand) -> None:
    write_command("frob", "self.command('add.attr', ['one', '1'])\n1 / 0")
    assert site.refused("frob").startswith('"frob" has a fault (ZeroDivisionError: ')


def test_a_connection_that_is_lost_undoes_everything(site: Site, write_command: WriteCommand) -> None:
    write_command("frob", "self.command('add.attr', ['one', '1'])\nself.db.execute('KILL CONNECTION_ID()')")
    assert "cluster database" in site.refused("frob")


def test_an_exit_status_of_3_is_committed(site: Site, write_command: WriteCommand) -> None:
    write_command("frob", "self.command('add.attr', ['one', '1'])\nself.exit_status = 3")
    assert site.rocks("frob").status == 3
    assert "one:" in site.done("list attr").split()


def test_statements_are_printed_on_request(site: Site) -> None:
    site.patch.setenv("ROCKSDEBUG", "1")
    printed = site.rocks("set attr one", "it's").err.splitlines()
    assert any(
        line.startswith("SQL: INSERT INTO attributes ") and line.endswith(" values)") for line in printed
    )
    assert printed[-1] == "SQL: COMMIT"
    refused = site.rocks("add attr one 1").err
    assert "SQL: ROLLBACK\n" in refused
    assert "Traceback" in refused


def test_list_help_leaves_out_what_the_caller_may_not_run(program: Program) -> None:
    everything = program.run("list", "help").stdout.splitlines()
    allowed = program.run("list", "help", user=ORDINARY_USER).stdout.splitlines()
    assert "list host [host] ... [status=bool]" in allowed
    assert any(line.startswith("add attr ") for line in everything)
    assert not any(line.startswith("add attr ") for line in allowed)


def test_an_ordinary_user_is_sent_through_sudo_with_the_same_arguments(program: Program) -> None:
    write = f"printf '<%s>\\n' \"$@\" > {program.folder}/words; exit 7"
    program.add_program("sudo", f"[ \"$1 $2\" = '-n -l' ] && exit\n{write}\n")
    (program.folder / "words").touch()
    os.chown(program.folder / "words", ORDINARY_USER, ORDINARY_USER)
    ended = program.run("add attr", "a b", "x 'y\" $z;", "", user=ORDINARY_USER)
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, "", "")
    assert (program.folder / "words").read_text() == (
        "<-->\n</opt/rocks/bin/rocks>\n<add attr>\n<a b>\n<x 'y\" $z;>\n<>\n"
    )


def test_a_line_of_ours_says_what_is_needed_before_sudo_refuses(program: Program) -> None:
    program.add_program("sudo", 'echo "sudo: a password is required for $*" >&2; exit 1\n')
    ended = program.run("add", "attr", "a", "1", user=ORDINARY_USER)
    ours, its = ended.stderr.splitlines()
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ours.startswith(
        '"rocks add attr a 1" requires root, and you have no role for it: give your password if sudo asks for it, '
        "run it as root, or have root give you a role (/"
    )
    assert ours.endswith("/guide/site.md)")
    assert its == "sudo: a password is required for -- /opt/rocks/bin/rocks add attr a 1"


def test_without_sudo_the_error_requires_root(program: Program) -> None:
    ended = program.run("add", "attr", "a", "1", user=ORDINARY_USER)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        'Error: "rocks add attr a 1" requires root, and cannot start sudo: No such file or directory; run it as root\n'
    )


@pytest.mark.slow
@pytest.mark.parametrize("word", ["help", "--help", "-h"])
def test_help_of_a_command_for_root_needs_no_root(program: Program, word: str) -> None:
    ended = program.run("add", "attr", word, user=ORDINARY_USER)
    assert ended.returncode == 0
    assert ended.stdout.startswith("rocks add attr {attr} {value} [force=bool]\n")


@pytest.mark.slow
def test_a_nested_command_for_root_is_refused(program: Program) -> None:
    write_command_file(program.folder / "tree" / "frob", "self.command('add.attr', ['a', '1'])")
    ended = program.run("frob", user=ORDINARY_USER, environment={"ROCKS_TREES": f"{program.folder}/tree"})
    assert (ended.returncode, ended.stderr) == (
        1,
        f'Error: command "add attr" requires root\n{usage_line("frob")}',
    )


@pytest.mark.slow
def test_a_group_of_commands_for_root_is_empty_for_an_ordinary_user(program: Program) -> None:
    ended = program.run("add", "os", user=ORDINARY_USER)
    assert (ended.returncode, ended.stdout) == (255, "")
    assert ended.stderr.startswith('Error: there is no command below "add os" that you may run\n')


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_fault(program: Program) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = program.run("list", "host", "help", output=writing)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.slow
def test_a_closed_output_is_no_fault(program: Program) -> None:
    closed = program.run("list", "host", "help", before=("/bin/sh", "-c", 'exec "$@" >&-', "sh"))
    assert (closed.returncode, closed.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("redirection", ["2>&1", "2>&-"], ids=["reader-gone", "closed"])
def test_a_command_goes_on_when_nobody_reads_its_messages(program: Program, redirection: str) -> None:
    """As with `2>&1 | head -1`: it changes hosts, and would be undone in the database only."""
    body = f"self.notify('a warning')\nopen({str(program.folder / 'done')!r}, 'w')\nself.addText('end')"
    write_command_file(program.folder / "tree" / "frob", body)
    with tempfile.TemporaryFile() as output:
        reading, writing = os.pipe()
        os.close(reading)
        ended = program.run(
            "frob",
            environment={"ROCKS_TREES": f"{program.folder}/tree"},
            output=writing if redirection == "2>&1" else output,
            before=("/bin/sh", "-c", f'exec "$@" {redirection}', "sh"),
        )
        os.close(writing)
        output.seek(0)
        assert (ended.returncode, output.read()) == (0, b"" if redirection == "2>&1" else b"end\n")
    assert (program.folder / "done").exists()


@pytest.mark.slow
def test_output_that_cannot_be_written_is_an_error(program: Program) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = program.run("report", "version", output=full)
    assert ended.returncode == 1
    assert ended.stderr == (
        "Error: cannot write the output: No space left on device; the command itself was executed\n"
    )


@pytest.mark.slow
def test_a_terminal_of_another_character_set_gets_escapes(program: Program) -> None:
    write_command_file(program.folder / "tree" / "frob", "self.addText('Zürich 東京')")
    ended = program.run(
        "frob",
        environment={"ROCKS_TREES": f"{program.folder}/tree", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
    )
    assert ended.returncode == 0
    assert ended.stdout.startswith("Z")


def test_list_host_loads_nothing_heavy(site: Site, cluster_environment: dict[str, str]) -> None:
    """Figure R8 is lost by any one of these modules."""
    packages = Path(rocks.__file__).parent.parent
    driver = importlib.util.find_spec("pymysql")
    assert driver is not None and driver.origin is not None
    program = (
        "import sys\n"
        f"sys.path[:0] = [{str(packages)!r}]; sys.path.append({str(Path(driver.origin).parent.parent)!r})\n"
        "from rocks.cli.main import main\n"
        "status = main(['list', 'host'])\n"
        "print(*sorted(sys.modules), file=sys.stderr)\n"
        "sys.exit(status)\n"
    )
    site.done("add host compute-0-0")
    ended = subprocess.run(
        [os.path.realpath(sys.executable), "-E", "-S", "-c", program],
        env={**os.environ, **cluster_environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout.splitlines()[0].split()[0]) == (0, "MEMBERSHIP"), ended.stderr
    assert not HEAVY & set(ended.stderr.split())


@pytest.mark.slow
def test_an_interrupt_reports_that_operations_on_hosts_continue(program: Program) -> None:
    write_command_file(
        program.folder / "tree" / "frob", "import os, signal\nos.kill(os.getpid(), signal.SIGINT)"
    )
    ended = program.run("frob", environment={"ROCKS_TREES": f"{program.folder}/tree"})
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr == "interrupted; operations that a host has begun continue there\n"


@pytest.mark.slow
def test_an_interrupt_that_closes_the_connection_is_no_lost_database(
    site: Site, write_command: WriteCommand
) -> None:
    """What is done at the end of an interrupted command finds the connection closed."""
    write_command(
        "frob",
        "import os, signal, threading, time\n"
        "threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n    self.db.rows('SELECT SLEEP(1)')\n"
        "finally:\n    time.sleep(1)\n    self.db.rows('SELECT 1')",
    )
    ended = site.rocks("frob")
    assert (ended.status, ended.err) == (
        130,
        "interrupted; operations that a host has begun continue there\n",
    )


@pytest.mark.parametrize("title", ["start host vm", "stop host vm", "remove cluster", "remove host"])
def test_an_interrupt_names_the_list_of_leases(title: str, site: Site) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    site.patch.setattr("rocks.database.connection.Database.lock_all", interrupted)
    site.patch.setattr("rocks.database.connection.Database.rows", interrupted)
    ended = site.rocks(*title.split(), "web")
    assert ended.status == 130
    assert ended.err == (
        "interrupted; operations that a host has begun continue there; "
        "rocks list host vm lease lists the machines that are being started or stopped\n"
    )


SHOW = "self.addText(str(self.db.rows('SELECT CONNECTION_ID()')[0][0]))"


@pytest.fixture(autouse=True)
def show(write_command: WriteCommand) -> None:
    """`list number` prints the number of the connection."""
    write_command("list/number", SHOW)


def shell(site: Site, *lines: str) -> Ended:
    """The shell with these lines as its input."""
    content = "".join(f"{line}\n" for line in lines).encode()
    site.patch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False, buffer=io.BytesIO(content)))
    return site.rocks("shell")


def test_all_lines_use_one_connection(site: Site) -> None:
    ended = shell(site, "list number", "add attr colour blue", "list number")
    first, second = ended.out.split()
    assert (ended.status, ended.err, first) == (0, "", second)
    assert "blue" in site.done("list attr")


def test_a_line_that_fails_changes_nothing_and_holds_no_lock(site: Site, write_command: WriteCommand) -> None:
    write_command(
        "list/half",
        "self.db.lock('shell test', 0)\nself.db.execute(\"UPDATE subnets SET mtu = 9000\")\nself.abort('no')",
    )
    write_command("list/locked", "from rocks.database.locks import NamedLocks\nself.db.lock('shell test', 0)")
    before = site.contents()
    ended = shell(site, "list half", "list locked", "list locked", "list number")
    assert "Error: no" in ended.err and "another command" not in ended.err
    assert ended.out.strip().isdigit()
    assert site.contents() == before


def test_a_connection_that_the_server_ended_is_made_again(site: Site, write_command: WriteCommand) -> None:
    """As after a night, or a restart of the server."""
    killed = """
number = self.db.rows('SELECT CONNECTION_ID()')[0][0]
def kill():
    from rocks.core.clock import Deadline, wait_seconds
    from rocks.database.connection import Database
    with Database(self.db.settings) as other:
        other.execute(f'KILL {number}')
        deadline = Deadline(60)
        while other.rows('SELECT 1 FROM information_schema.PROCESSLIST WHERE ID = %s', (number,)):
            assert not deadline.passed()
            other.rollback()
            wait_seconds(0.05)
self.db.after_commit(kill)
"""
    write_command("list/killed", killed)
    ended = shell(site, "list number", "list killed", "list number", "list network")
    assert ended.err == "" and "private" in ended.out


@pytest.mark.slow
@pytest.mark.parametrize(
    "typed", ["set attr a b", "start host vm none", "stop host vm none", "set host cpus none 2", "list host"]
)
def test_a_frozen_database_ends_a_command_after_one_wait(
    site: Site, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    """Its entry of the audit log waited as long again: 121 s until the error."""
    monkeypatch.setattr(driver, "READ_SECONDS", 4)
    ((file,),) = site.rows("SELECT @@pid_file")
    site.database.close()
    number = int(Path(file).read_text())
    began = time.monotonic()
    os.kill(number, signal.SIGSTOP)
    try:
        ended = site.rocks(typed)
    finally:
        os.kill(number, signal.SIGCONT)
    assert ended.status == 1 and "cluster database" in ended.err, ended
    assert 3.9 < time.monotonic() - began < 7
    assert site.rocks("list host").status == 0


@pytest.mark.slow
def test_a_database_that_froze_for_a_while_is_waited_for_as_usual_again(
    cluster_database: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a service, whose connection serves for long: a slow statement has its time again."""
    monkeypatch.setattr(driver, "READ_SECONDS", 3)
    with Database(cluster_database) as database:
        with pytest.raises(HostError, match="timed out"):
            database.rows("SELECT SLEEP(4)")
        with pytest.raises(HostError):
            database.rollback()
        database.close()
        assert database.rows("SELECT SLEEP(2)") == [(0,)]
