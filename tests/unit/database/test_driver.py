"""The error families of server errors, and the cost of importing the database package."""

import sys
from typing import Any

import pymysql  # noqa: TID251 - its errors are the cases
import pytest

from rocks.core.errors import BusyError, HostError, RocksError, ToolError, UserError
from rocks.core.process import run_checked
from rocks.database.driver import explain
from rocks.database.settings import EMBEDDED_SOCKET, Settings

HERE = Settings("/run/x.sock", "localhost", 3306, "eve", "", "cluster")
Operational, Integrity = pymysql.err.OperationalError, pymysql.err.IntegrityError


@pytest.mark.parametrize(
    ("error", "family", "says"),
    [
        (Operational(2003, "Can't connect"), HostError, "cannot reach the cluster database at /run/x.sock"),
        (
            Operational(1698, "Access denied for user 'eve'"),
            HostError,
            "Access denied for user 'eve'; run this as root",
        ),
        (Operational(1045, "Access denied"), HostError, "cannot reach"),
        (Operational(2013, "Lost connection"), HostError, "lost the cluster database"),
        (pymysql.err.InterfaceError(0, ""), HostError, "the connection is closed"),
        (
            pymysql.err.ProgrammingError("Cursor closed"),
            ToolError,
            "driver of the cluster database failed: Cursor",
        ),
        (Operational(1040, "Too many connections"), BusyError, "too many connections; try again later"),
        (Operational(1205, "Lock wait timeout exceeded"), BusyError, "another command holds the same rows"),
        (Operational(1213, "Deadlock found"), BusyError, "repeat this command"),
        (
            Integrity(1062, "Duplicate entry 'a' for key 'MAC'"),
            BusyError,
            "Duplicate entry 'a' for key 'MAC'",
        ),
        (
            Operational(1142, "SELECT command denied"),
            UserError,
            "to user eve: SELECT command denied; run it as root",
        ),
        (
            pymysql.err.DataError(1406, "Data too long for column 'Name'"),
            UserError,
            "refused a value: Data too long",
        ),
        (
            pymysql.err.ProgrammingError(1064, "You have\nan error"),
            ToolError,
            "refused a statement: You have an error",
        ),
        (Integrity(1451, "Cannot delete a parent row"), ToolError, "Cannot delete a parent row"),
        (
            Operational(1969, "max_statement_time exceeded"),
            BusyError,
            "aborted a statement that took too long; repeat the command later",
        ),
        (
            Operational(1193, "Unknown system variable 'tx_isolation'"),  # as MySQL 8.4 has none
            HostError,
            "is not MariaDB 10.5 or later",
        ),
        (
            Operational(1792, "Cannot execute statement in a READ ONLY transaction"),
            ToolError,
            "refused a statement: Cannot execute",
        ),
    ],
)
def test_errors_have_the_family_of_the_actor_that_can_fix_them(
    error: Exception, family: type[RocksError], says: str
) -> None:
    explained = explain(error, HERE, in_selector=False)
    assert type(explained) is family
    assert says in str(explained)
    assert "\n" not in str(explained)


REFUSED: Any = Operational(2003, "Can't connect")
REFUSED.original_exception = ConnectionRefusedError(111, "Connection refused")
OF_DEMO = HERE._replace(socket="/srv/.state/demo/root/var/opt/rocks/mysql/mysql.sock")


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (REFUSED, "; a demo of this checkout is started again by `make demo` as root"),
        (
            Operational(1698, "Access denied for user 'new'"),
            "(`make demo-stop`, which removes its site, and `make demo`)",
        ),
    ],
    ids=["ended", "account newer than the demo"],
)
def test_an_unreachable_database_of_a_demo_names_make_demo_and_others_do_not(
    error: Exception, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert str(explain(error, OF_DEMO, in_selector=False)).endswith(remedy)
    assert str(explain(error, HERE._replace(socket=EMBEDDED_SOCKET), in_selector=False)).endswith(remedy)
    assert "make demo" not in str(explain(error, HERE, in_selector=False))
    assert "make demo" not in str(explain(error, HERE._replace(socket=None), in_selector=False))
    monkeypatch.setattr("rocks.database.driver.is_packaged", lambda: True)
    assert "make demo" not in str(explain(error, OF_DEMO, in_selector=False))


@pytest.mark.parametrize("number", [1064, 1146, 1054, 1792, 1969])
def test_fault_in_a_selector_is_a_user_error(number: int) -> None:
    explained = explain(pymysql.err.ProgrammingError(number, "no such thing"), HERE, in_selector=True)
    assert isinstance(explained, UserError)
    assert "selector" in str(explained)


def test_connecting_by_socket_leaves_hashlib_and_ssl_complete_for_others() -> None:
    script = (
        "from rocks.database.connection import Database\n"
        "from rocks.database.settings import read_settings\n"
        "try: Database(read_settings({'ROCKS_DATABASE_SOCKET': '/nowhere'})).rows('SELECT 1')\n"
        "except Exception as error: print(type(error).__name__)\n"
        "import hashlib, ssl\n"
        "print(hashlib.scrypt.__name__, hashlib.sha256(b'').name, ssl.SSLContext.__name__)\n"
    )
    paths = [path for path in sys.path if path]
    script = f"import sys; sys.path[:0] = {paths!r}\n{script}"
    printed = run_checked([sys.executable, "-E", "-S", "-c", script], deadline_seconds=30).text.splitlines()
    assert printed == ["HostError", "scrypt sha256 SSLContext"]


def test_importing_the_database_package_loads_no_driver_and_connecting_by_socket_no_ssl() -> None:
    heavy = ("pymysql", "ssl", "cryptography", "dataclasses", "pathlib", "subprocess")
    script = (
        "import sys\n"
        "from rocks.database.connection import Database\n"
        "from rocks.database.settings import read_settings\n"
        f"print([name for name in {heavy} if name in sys.modules])\n"
        "try: Database(read_settings({'ROCKS_DATABASE_SOCKET': '/nowhere'})).rows('SELECT 1')\n"
        "except Exception as error: print(type(error).__name__)\n"
        f"print([name for name in {heavy} if name in sys.modules])\n"
    )
    paths = [path for path in sys.path if path]
    script = f"import sys; sys.path[:0] = {paths!r}\n{script}"
    # -S: site-packages' own .pth files import some of these
    printed = run_checked([sys.executable, "-E", "-S", "-c", script], deadline_seconds=30).text.splitlines()
    assert printed == ["[]", "HostError", "['pymysql']"]
