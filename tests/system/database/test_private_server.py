"""The private MariaDB: started, found, stopped, and never mistaken for another process."""

import os
import sys
from pathlib import Path

import pytest

from lab.mariadb import USER_ID, MariadbPlace, ensure_initialised, running_process, start, stop
from rocks.core.errors import StateError, ToolError
from rocks.core.process import run
from rocks.database import driver
from rocks.database.settings import Settings


def reached(place: MariadbPlace) -> bool:
    try:
        settings = Settings(str(place.socket_path), "localhost", 3306, "root", "", "x")
        driver.open_connection(settings, None).close()
    except driver.driver_errors():
        return False
    return True


def test_server_is_started_once_and_stopped(private_server: MariadbPlace) -> None:
    assert running_process(private_server) is None
    process_id = start(private_server)
    assert reached(private_server)
    assert start(private_server) == process_id == running_process(private_server)
    assert stop(private_server)
    assert not Path(f"/proc/{process_id}").exists()
    assert not private_server.socket_path.exists()
    assert not stop(private_server)
    assert not ensure_initialised(private_server), "existing data is preserved"


def test_server_is_unprivileged_its_data_are_private_and_it_listens_nowhere_else(
    private_server: MariadbPlace,
) -> None:
    process_id = start(private_server)
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{process_id}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert status["Uid"].split() == status["Gid"].split() == [str(USER_ID)] * 4
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    data = private_server.data_folder.stat()
    assert (data.st_mode & 0o777, data.st_uid) == (0o700, USER_ID)
    sockets = {str(link.readlink()) for link in Path(f"/proc/{process_id}/fd").iterdir() if link.is_symlink()}
    tcp = [
        line.split()[9]
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    assert not sockets & {f"socket:[{number}]" for number in tcp}


def test_settings_of_the_server(private_server: MariadbPlace) -> None:
    start(private_server)
    settings = Settings(str(private_server.socket_path), "localhost", 3306, "root", "", "x")
    connection = driver.open_connection(settings, None)
    cursor = connection.cursor()
    cursor.execute(
        "SELECT @@GLOBAL.collation_server, @@innodb_buffer_pool_size, @@innodb_flush_log_at_trx_commit, @@local_infile"
    )
    assert cursor.fetchall() == (("utf8mb4_general_ci", 64 * 2**20, 1, 0),)
    cursor.execute("SELECT User, Host FROM mysql.user WHERE User <> 'mariadb.sys'")
    assert cursor.fetchall() == (("root", "localhost"),)
    connection.close()


def test_record_of_an_ended_process_is_no_server(private_server: MariadbPlace) -> None:
    private_server.pid_path.write_text(f"{os.getpid()} 1\n")
    assert running_process(private_server) is None
    assert not stop(private_server), "this process has the number, but began later"
    start(private_server)
    assert reached(private_server)


def test_server_that_was_killed_is_started_again(private_server: MariadbPlace) -> None:
    first = start(private_server)
    os.kill(first, 9)
    os.waitpid(first, 0)
    assert start(private_server) != first
    assert reached(private_server)


def test_the_error_of_a_failed_server_has_its_own_message(private_server: MariadbPlace) -> None:
    (private_server.data_folder / "ibdata1").write_bytes(b"broken")
    with pytest.raises(ToolError, match=r"ended at once; the end of .*/log: .*ERROR"):
        start(private_server)
    assert running_process(private_server) is None


@pytest.mark.slow
def test_interrupted_initialisation_is_repeated(private_server: MariadbPlace) -> None:
    whole = private_server.data_folder
    whole.rename(whole.with_name("data.new"))
    assert ensure_initialised(private_server)
    assert not whole.with_name("data.new").exists()
    start(private_server)


def test_the_error_names_an_obstacle(private_server: MariadbPlace, tmp_path: Path) -> None:
    closed = private_server.data_folder.parent / "closed"
    closed.mkdir(mode=0o700)
    there = MariadbPlace(closed / "data", closed / "s", closed / "log", closed / "process")
    with pytest.raises(StateError, match=f"cannot pass {closed}: run `chmod o\\+x {closed}`"):
        ensure_initialised(there)
    with pytest.raises(StateError, match="there is no database in"):
        start(there)
    long = MariadbPlace(
        private_server.data_folder,
        Path("/tmp") / ("n" * 120),
        private_server.log_path,
        private_server.pid_path,
    )
    with pytest.raises(StateError, match="too long for a socket"):
        start(long)


def test_server_of_a_test_ends_with_the_program_that_started_it(private_server: MariadbPlace) -> None:
    place = private_server
    script = (
        f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n"
        "from pathlib import Path\n"
        "from lab.mariadb import MariadbPlace, start\n"
        f"start(MariadbPlace(Path({str(place.data_folder)!r}), Path({str(place.socket_path)!r}),"
        f" Path({str(place.log_path)!r}), Path({str(place.pid_path)!r})), ends_with_starter=True)\n"
        "print('started')\n"
    )
    assert run([sys.executable, "-c", script], deadline_seconds=60).text == "started\n"
    server = running_process(place)
    if server is not None:  # it may need a moment to end
        handle = os.pidfd_open(server)
        import select

        assert select.select([handle], [], [], 20)[0]
        os.close(handle)
    assert running_process(place) is None
