"""`update database`, `report database`, `report version`, `report dbhost`, `report distro`."""

from pathlib import Path

import pytest

from rocks import __version__
from rocks.database import migrate
from rocks.database.settings import Settings
from rocks.database.versions import newest_version
from tests.system.commands.conftest import CommandLine, Ended, Site


def test_update_creates_the_database(rocks_without_database: CommandLine) -> None:
    rocks = rocks_without_database
    refused = rocks("list host")
    assert (refused.status, refused.out) == (1, "")
    assert "has version 0, these programs need" in refused.err
    assert "run `rocks update database`" in refused.err
    assert rocks("report database output-col=schema,needed").out.split()[2:] == ["0", str(newest_version())]

    made = rocks("update database")
    assert (made.status, made.out) == (0, f"the schema was upgraded from version 0 to {newest_version()}\n")
    assert "migration 0001 tables" in made.err
    assert rocks("list host") == Ended(0, "", "", 0)

    again = rocks("update database")
    assert (again.status, again.out) == (0, f"the schema already has version {newest_version()}\n")


def test_update_prints_where_the_copy_lies(
    rocks_without_database: CommandLine,
    absent_database: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = migrate.load_migrations()
    migrate.bring_up_to_date(absent_database, tmp_path / "first", migrations=steps[:-1])
    monkeypatch.setattr(migrate.bring_up_to_date, "__defaults__", _with_folder(tmp_path / "copies"))
    done = rocks_without_database("update", "database")
    assert done.status == 0
    first, second = done.out.splitlines()
    assert first == f"the schema was upgraded from version {len(steps) - 1} to {len(steps)}"
    copy = Path(second.removeprefix("backup: "))
    assert copy.parent == tmp_path / "copies"
    assert "CREATE TABLE `nodes`" in copy.read_text()


def _with_folder(folder: Path) -> tuple[object, ...]:
    defaults = migrate.bring_up_to_date.__defaults__
    return (folder, *defaults[1:])


def test_a_schema_of_another_version_is_reported_and_refused(site: Site) -> None:
    site.change(
        "INSERT INTO schema_migrations (Version, Name, Digest, Finished) VALUES (999, 'later', 'x', UTC_TIMESTAMP())"
    )
    assert site.refused("list host").endswith(
        f"has version 999, these programs support versions up to {newest_version()}: install newer programs"
    )
    assert "has version 999" in site.rocks("update database").err
    assert site.done("report database output-col=schema,needed").split()[2:] == ["999", str(newest_version())]


def test_report_database(site: Site, cluster_database: Settings) -> None:
    header, row = site.done("report database").splitlines()
    assert header.split() == ["DATABASE", "PLACE", "SCHEMA", "NEEDED", "PROGRAMS"]
    newest = str(newest_version())
    assert row.split() == [
        f"{cluster_database.database}:",
        cluster_database.socket,
        newest,
        newest,
        __version__,
    ]


def test_report_database_without_a_server(site: Site) -> None:
    site.patch.setenv("ROCKS_DATABASE_SOCKET", "/nowhere/mysql.sock")
    ended = site.rocks("report database")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("Error: cannot reach the cluster database at /nowhere/mysql.sock: ")


def test_report_version(site: Site) -> None:
    assert site.done("report version") == f"{__version__}\n"
    assert site.done("report version major=yes") == f"{__version__.partition('.')[0]}\n"


def test_report_distro(site: Site) -> None:
    assert site.done("report distro") == "/export/rocks/install\n"
    site.done("add attr Kickstart_DistroDir /state/partition1/rocks/")
    assert site.done("report distro") == "/state/partition1/rocks/install\n"


def test_report_dbhost(site: Site) -> None:
    assert site.done("report dbhost") == "localhost\n"
    site.patch.setenv("ROCKS_DATABASE_HOST", "db.example.org")
    site.patch.delenv("ROCKS_DATABASE_SOCKET")
    assert site.done("report dbhost") == "db.example.org\n"
