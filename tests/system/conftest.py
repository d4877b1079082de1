"""Fixtures for all tests on real daemons.

`mariadb`              the private server of this worker; its Settings name a database that does not exist
`initialised_data`     the data folder of a server that has never run, to be copied
`cluster_database`     Settings of a database of the test's own: the newest schema, its first rows, nothing else
`database`             a connection to that one, closed afterwards
`absent_database`      Settings of a database that does not exist, for a test that changes definitions
`cluster_environment`  the environment variables by which a `rocks` process finds that one

All tests below this folder get the marker `system`. Each worker of a run has servers of its own, so that no test
depends on what another worker does.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lab.mariadb import MariadbPlace, ensure_initialised, start, stop
from rocks.core.process import run_checked
from rocks.database import driver
from rocks.database.connection import Database
from rocks.database.settings import Settings
from rocks.leases.lease import read_epoch, write_record
from tests.patience import patience
from tests.system.fresh_databases import FreshDatabases
from tests.system.transaction_watch import Watch


def place_below(folder: Path) -> MariadbPlace:
    """The layout of a server's files in a folder."""
    return MariadbPlace(folder / "data", folder / "run" / "mysql.sock", folder / "log", folder / "process")


def copy_data(initialised: Path, place: MariadbPlace) -> None:
    """Give a place a copy of an initialised data folder; holes in its files stay holes."""
    run_checked(
        ["cp", "--archive", "--sparse=always", str(initialised), str(place.data_folder)], deadline_seconds=60
    )


@pytest.fixture(scope="session")
def initialised_data() -> Iterator[Path]:
    """A data folder with the server's own tables, made once per worker. Skips where the server cannot run."""
    if os.geteuid() != 0:
        pytest.skip("the tests on a real MariaDB start it under a user id of its own, which needs root")
    for program in ("mariadbd", "mariadb-install-db", "setpriv"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    folder = Path(tempfile.mkdtemp(prefix="rocks-mariadb-"))
    folder.chmod(0o755)  # the server is another user and must reach its folders
    try:
        ensure_initialised(place_below(folder))
        yield folder / "data"
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def mariadb(initialised_data: Path) -> Iterator[Settings]:
    """A running private server. Ends with the worker, even when that is killed."""
    folder = Path(tempfile.mkdtemp(prefix="rocks-mariadb-"))
    folder.chmod(0o755)
    place = place_below(folder)
    try:
        copy_data(initialised_data, place)
        start(place, patience(60), ends_with_starter=True)
        settings = Settings(
            str(place.socket_path), "localhost", 3306, "root", "", "absent", str(folder / "state")
        )
        with closing(driver.open_connection(settings, None)) as connection:
            # what is committed survives the death of the server; a failure of power ends the tests anyway
            connection.cursor().execute(
                "SET GLOBAL innodb_flush_log_at_trx_commit = 2, GLOBAL sync_frm = OFF"
            )
        yield settings
    finally:
        stop(place)
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def fresh_databases(mariadb: Settings) -> FreshDatabases:
    """The databases of the run's server."""
    return FreshDatabases(mariadb)


@pytest.fixture
def absent_database(fresh_databases: FreshDatabases) -> Iterator[Settings]:
    """Settings that name a database which does not exist; one that the test makes is dropped afterwards."""
    settings = fresh_databases.new_name()
    yield settings
    fresh_databases.drop(settings)


@pytest.fixture
def cluster_database(fresh_databases: FreshDatabases) -> Iterator[Settings]:
    """Settings of a fresh cluster database: the newest schema with its first rows and nothing else."""
    settings = fresh_databases.take()
    record_leases(settings)
    yield settings
    fresh_databases.give_back(settings)


def record_leases(settings: Settings) -> None:
    """Have the frontend's record of the leases agree with the database, as after its first start."""
    with Database(settings) as database:
        write_record(database, read_epoch(database))


@pytest.fixture
def database(cluster_database: Settings) -> Iterator[Database]:
    """A connection to the test's cluster database."""
    with Database(cluster_database) as connection:
        yield connection


@pytest.fixture
def cluster_environment(cluster_database: Settings, tmp_path: Path) -> dict[str, str]:
    """Variables for a process that shall use the test's cluster database, and leave this machine's names alone."""
    assert cluster_database.socket is not None
    return {
        "ROCKS_DATABASE_SOCKET": cluster_database.socket,
        "ROCKS_DATABASE_NAME": cluster_database.database,
        "ROCKS_DATABASE_STATE_FOLDER": cluster_database.state_folder,
        "ROCKS_HOSTS_FILE": str(tmp_path / "etc-hosts"),
        "ROCKS_DNS_FOLDER": str(tmp_path / "dns"),
        "ROCKS_DNS_RUN_FOLDER": str(tmp_path / "dns-run"),
    }


@pytest.fixture(autouse=True)
def transaction_watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail the test whose commands, in this process, wait for somebody while their transaction is open."""
    found: list[str] = []
    Watch(found.append).install(monkeypatch.setattr)
    yield
    assert not found, "\n".join(found)
