"""Migrations on a real server: from nothing, repeated, killed at any point, rejected, and with a copy."""

import os
import re
import sys
from collections.abc import Sequence
from itertools import chain, cycle
from pathlib import Path
from typing import Any

import pytest

from lab.mariadb import MariadbPlace, start, stop
from rocks.core.errors import HostError, IncoherentError, StateError, ToolError
from rocks.core.process import Finished, run, run_checked
from rocks.database.connection import Database
from rocks.database.migrate import Migration, MigrationReport, bring_up_to_date, load_migrations, read_version
from rocks.database.settings import Settings
from rocks.database.versions import MIGRATIONS_FOLDER
from tests.system.database.describe import describe
from tests.waiting import at_once

NEWEST = load_migrations()[-1].version
LATER = Migration(
    NEWEST + 1,
    "later",
    ("CREATE TABLE IF NOT EXISTS later (ID INT PRIMARY KEY)", "INSERT INTO later VALUES (1)"),
    "1" * 64,
)


def described(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    with Database(settings) as database:
        return describe(database)


def dying_run(settings: Settings, backup_folder: Path, step: int, moment: str, *server: str) -> Finished:
    """One run in a process of its own that dies at change number `step`."""
    assert settings.socket is not None
    program = Path(__file__).with_name("dying_run.py")
    folders = [settings.state_folder, str(backup_folder)]
    arguments = [settings.socket, settings.database, *folders, str(step), moment, *server]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return run([sys.executable, str(program), *arguments], deadline_seconds=60, environment=environment)


def test_from_nothing_to_the_newest_version(absent_database: Settings, tmp_path: Path) -> None:
    lines: list[str] = []
    assert read_version(absent_database) == 0
    report = bring_up_to_date(absent_database, tmp_path, lines.append)
    assert report == MigrationReport(0, NEWEST, None)
    assert read_version(absent_database) == NEWEST
    assert f"schema version 0, newest version {NEWEST}" in lines[0]
    assert f"schema version {NEWEST}" in lines[-2]
    assert list(tmp_path.iterdir()) == [], "there was nothing to copy"


def test_second_run_changes_nothing(cluster_database: Settings, tmp_path: Path) -> None:
    before = described(cluster_database)
    assert bring_up_to_date(cluster_database, tmp_path) == MigrationReport(NEWEST, NEWEST, None)
    assert described(cluster_database) == before


@pytest.mark.slow
def test_runs_killed_at_any_change_are_finished_by_the_next(
    mariadb: Settings, cluster_database: Settings, tmp_path: Path
) -> None:
    """Each run continues what the one before left, and is killed at its first changes or further on."""
    victim = mariadb._replace(database="killed_often")
    first = [(step, moment) for step in (1, 3, 4) for moment in ("before", "after")]
    kills = chain(first, cycle([(9, "before"), (10, "after"), (33, "before"), (34, "after")]))
    runs = 0
    while dying_run(victim, tmp_path, *next(kills)).exit_status == -9:
        runs += 1
        assert runs < 40, "each run must come further than the one before"
    assert runs > 12
    assert described(victim) == described(cluster_database)
    with Database(victim) as database:
        database.execute("DROP DATABASE killed_often")


@pytest.mark.slow
@pytest.mark.parametrize("step", [40, 85, 125])
def test_run_survives_a_kill_of_the_server(
    cluster_database: Settings, private_server: MariadbPlace, tmp_path: Path, step: int
) -> None:
    settings = cluster_database._replace(socket=str(private_server.socket_path), database="crash")
    server = start(private_server, ends_with_starter=True)
    failed = dying_run(settings, tmp_path, step, "server", str(server))
    assert failed.exit_status == 1
    assert "lost the cluster database" in failed.error_text
    stop(private_server)
    start(private_server, ends_with_starter=True)
    assert bring_up_to_date(settings, tmp_path).after == NEWEST
    assert described(settings) == described(cluster_database)


def test_two_concurrent_runs_migrate_once(absent_database: Settings, tmp_path: Path) -> None:
    reports = at_once(lambda _: bring_up_to_date(absent_database, tmp_path), range(3))
    assert sorted(reports) == [MigrationReport(0, NEWEST, None)] + [MigrationReport(NEWEST, NEWEST, None)] * 2


def test_upgrade_makes_a_copy_that_loads(
    cluster_database: Settings, absent_database: Settings, mariadb: Settings, tmp_path: Path
) -> None:
    with Database(cluster_database) as database:
        database.execute("INSERT INTO nodes (Name) VALUES ('precious')")
        database.execute("INSERT INTO vm_leases (Name, Token) VALUES ('precious', 7)")
        database.execute("INSERT INTO vm_lease_disks (Host, Path, Name) VALUES ('h', '/Ä', 'precious')")
        database.commit()
    before = described(cluster_database)
    (tmp_path / ".copy.unfinished-1-aa").touch()
    lines: list[str] = []
    report = upgraded(cluster_database, tmp_path, lines.append, [*load_migrations(), LATER])
    assert (report.before, report.after) == (NEWEST, NEWEST + 1)
    assert any(str(report.copy_path) in line for line in lines)
    assert [path.name for path in tmp_path.iterdir()] == [report.copy_path.name]
    assert report.copy_path.stat().st_mode & 0o777 == 0o600
    restored = mariadb._replace(database="restored")
    load_copy(restored, report.copy_path)
    assert described(restored) == before
    with Database(restored) as database:
        assert database.rows("SELECT Name FROM nodes") == [("precious",)]
        assert database.rows("SELECT Path FROM vm_lease_disks") == [("/Ä",)]
        database.execute("DROP DATABASE restored")


@pytest.mark.slow
def test_the_servers_client_makes_the_same_schema_from_the_files(
    cluster_database: Settings, absent_database: Settings
) -> None:
    client = ["mariadb", "--no-defaults", f"--socket={absent_database.socket}"]
    run_checked([*client, f"--execute=CREATE DATABASE {absent_database.database}"], deadline_seconds=20)
    for path in sorted(Path(MIGRATIONS_FOLDER).iterdir()):
        run_checked(
            [*client, absent_database.database], deadline_seconds=60, standard_input=path.read_bytes()
        )
    with Database(cluster_database) as database:
        (journal,) = database.rows("SHOW CREATE TABLE schema_migrations")
    run_checked([*client, absent_database.database, f"--execute={journal[1]}"], deadline_seconds=20)
    version = (
        f"INSERT INTO schema_migrations (Version, Name, Digest, Finished) VALUES ({NEWEST}, '', '', NOW())"
    )
    run_checked([*client, absent_database.database, f"--execute={version}"], deadline_seconds=20)
    by_client, by_us = described(absent_database), described(cluster_database)
    assert by_client.pop("journal") != by_us.pop("journal")
    assert by_client == by_us


def upgraded(
    settings: Settings, folder: Path, report: Any = lambda line: None, migrations: Sequence[Migration] = ()
) -> MigrationReport:
    return bring_up_to_date(settings, folder, report, migrations)


def load_copy(settings: Settings, path: Path) -> None:
    client = ["mariadb", "--no-defaults", f"--socket={settings.socket}"]
    run_checked([*client, f"--execute=CREATE DATABASE {settings.database}"], deadline_seconds=20)
    run_checked([*client, settings.database], deadline_seconds=60, standard_input=path.read_bytes())


def test_failed_copy_leaves_the_schema_unchanged(
    cluster_database: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match="cannot write a copy of the database"):
        upgraded(cluster_database, tmp_path / "file", migrations=[*load_migrations(), LATER])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="mariadb-dump is not installed; install the package mariadb-client"):
        upgraded(cluster_database, tmp_path, migrations=[*load_migrations(), LATER])
    assert read_version(cluster_database) == NEWEST


def test_database_newer_than_the_programs_raises_an_error(cluster_database: Settings, tmp_path: Path) -> None:
    upgraded(cluster_database, tmp_path, migrations=[*load_migrations(), LATER])
    with pytest.raises(
        StateError, match=f"has version {NEWEST + 1}, these programs support versions up to {NEWEST}"
    ):
        bring_up_to_date(cluster_database, tmp_path)
    with pytest.raises(
        StateError, match=f"has version {NEWEST + 1}, these programs support versions up to {NEWEST}"
    ):
        Database(cluster_database).rows("SELECT 1")


def test_commands_reject_older_and_absent_schemas(absent_database: Settings, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(
            StateError, match=f"has version 0, these programs need {NEWEST}: run `rocks update"
        ):
            Database(absent_database).rows("SELECT 1")
        upgraded(absent_database, tmp_path, migrations=[])  # second round: the database exists, empty
    upgraded(absent_database, tmp_path, migrations=load_migrations()[:2])
    with pytest.raises(StateError, match=f"has version 2, these programs need {NEWEST}"):
        Database(absent_database).rows("SELECT 1")


def test_foreign_tables_stay(cluster_database: Settings, tmp_path: Path) -> None:
    with Database(cluster_database) as database:
        database.execute("DROP TABLE schema_migrations")
    with pytest.raises(StateError, match=r"has \d+ tables that no migration made \(\w+, \w+, "):
        bring_up_to_date(cluster_database, tmp_path)


def test_unfinished_migration_of_another_version_raises_an_error(
    cluster_database: Settings, tmp_path: Path
) -> None:
    broken = LATER._replace(statements=("CREATE TABLE IF NOT EXISTS later (ID INT)", "NOT SQL"))
    with pytest.raises(ToolError, match="refused a statement: You have an error"):
        upgraded(cluster_database, tmp_path, migrations=[*load_migrations(), broken])
    with pytest.raises(IncoherentError, match=f"migration {NEWEST + 1:04} was begun by another version"):
        changed = broken._replace(statements=LATER.statements, digest="2" * 64)
        upgraded(cluster_database, tmp_path, migrations=[*load_migrations(), changed])


def test_machines_of_an_older_site_get_uuids_and_keep_the_places_of_their_disks(
    absent_database: Settings, tmp_path: Path
) -> None:
    """They are marked as older, which nothing reads any more; a machine that is added later is not."""
    upgraded(absent_database, tmp_path, migrations=load_migrations()[:10])
    run_checked(
        ["mariadb", "--no-defaults", f"--socket={absent_database.socket}", absent_database.database],
        deadline_seconds=20,
        standard_input=b"""
INSERT INTO nodes (Name) VALUES ('vmc'), ('a'), ('b'), ('c');
INSERT INTO vm_nodes (Node, PhysNode, cdrom_path)
  SELECT n.ID, p.ID, '/isos/x.iso' FROM nodes n JOIN nodes p ON p.Name = 'vmc' WHERE n.Name IN ('a', 'b');
INSERT INTO vm_disks (Vm_Node, VBD_Type, Prefix, Name) SELECT ID, 'file', '/state/images', 'a.vda' FROM vm_nodes;
INSERT INTO vm_disks (Vm_Node, VBD_Type, Prefix, Name) SELECT ID, 'phy', '/dev/vg', 'a' FROM vm_nodes;
INSERT INTO vm_disks (Vm_Node, VBD_Type, Prefix, Name) SELECT ID, 'phy', '', '/dev/sdb' FROM vm_nodes;
INSERT INTO vm_disks (Vm_Node, VBD_Type, Prefix, Name) SELECT ID, 'phy', '/dev/mapped', 'c' FROM vm_nodes;
INSERT INTO img_nas_server (vm_disk_id, nas_name)
  SELECT ID, IF(Name = 'c', 'nas-0-0', '') FROM vm_disks WHERE Name IN ('/dev/sdb', 'c');
""",
    )
    upgraded(absent_database, tmp_path, migrations=load_migrations())
    with Database(absent_database) as database:
        rows = database.rows("SELECT UUID, Adopts FROM vm_nodes")
        assert len({uuid for uuid, _ in rows}) == 2 and {adopts for _, adopts in rows} == {1}
        assert all(re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", uuid) for uuid, _ in rows)
        database.execute("INSERT INTO vm_nodes (Node, PhysNode) SELECT ID, NULL FROM nodes WHERE Name = 'c'")
        added = database.rows(
            "SELECT v.Adopts, LENGTH(v.UUID) FROM vm_nodes v JOIN nodes n ON n.ID = v.Node WHERE n.Name = 'c'"
        )
        assert added == [(0, 36)]
        attributes = dict(
            database.rows(
                "SELECT a.Attr, a.Value FROM attributes a JOIN catindex i ON i.ID = a.Catindex WHERE i.Name = 'vmc'"
            )
        )
    assert attributes == {
        "vm_image_directories": "/isos,/state/images",
        "vm_disk_devices": "/dev/sdb,/dev/vg/a",
    }


def test_an_older_site_gets_the_default_firewall_rules_and_none_is_in_force(
    absent_database: Settings, tmp_path: Path
) -> None:
    """A rule of the site that has the name of a default one stays; no host has the attribute `firewall`."""
    upgraded(absent_database, tmp_path, migrations=load_migrations()[:13])
    run_checked(
        ["mariadb", "--no-defaults", f"--socket={absent_database.socket}", absent_database.database],
        deadline_seconds=20,
        standard_input=b"""
INSERT INTO subnets (name) VALUES ('public'), ('private');
INSERT INTO firewalls (Rulename, Service, Category, Catindex) SELECT 'r90-all', 'mine', 1, ID FROM catindex
  WHERE Name = 'global';
""",
    )
    upgraded(absent_database, tmp_path, migrations=load_migrations())
    with Database(absent_database) as database:
        rows = database.rows(
            "SELECT f.Rulename, f.Service, s.name FROM firewalls f LEFT JOIN subnets s ON s.ID = f.InSubnet"
            " WHERE f.Rulename IN ('A20-SSH', 'A30-ALL-PRIVATE', 'A40-LIVE-MOVES', 'R90-ALL') ORDER BY f.Rulename"
        )
        assert rows == [
            ("A20-SSH", "22", None),
            ("A30-ALL-PRIVATE", "all", "private"),
            ("A40-LIVE-MOVES", "49152:49215", "private"),
            ("r90-all", "mine", None),
        ]
        assert database.rows("SELECT COUNT(*) FROM attributes WHERE Attr = 'firewall'") == [(0,)]
