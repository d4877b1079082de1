"""The generated site of the bench, at a small size: what it consists of, and that commands read all of it."""

import json
from pathlib import Path

from bench.large_site import Size, fill
from rocks.database.connection import Database
from rocks.database.migrate import bring_up_to_date
from tests.system.commands.conftest import Site
from tests.system.conftest import record_leases
from tests.system.fresh_databases import FreshDatabases

SMALL = Size(hosts=24, clusters=2, vms_per_cluster=6)
EACH_OWN = ("UUID", "Changed")
"""Columns that differ in each database."""


def rows_of(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """Each table's rows, without the columns that differ in each database."""
    columns: dict[str, list[str]] = {}
    for table, column in database.rows(
        "SELECT c.TABLE_NAME, c.COLUMN_NAME FROM information_schema.COLUMNS c JOIN information_schema.TABLES t"
        " ON t.TABLE_SCHEMA = c.TABLE_SCHEMA AND t.TABLE_NAME = c.TABLE_NAME AND t.TABLE_TYPE = 'BASE TABLE'"
        " WHERE c.TABLE_SCHEMA = DATABASE() ORDER BY c.TABLE_NAME, c.ORDINAL_POSITION"
    ):
        if column not in EACH_OWN and table not in ("lease_epoch", "schema_migrations"):
            columns.setdefault(str(table), []).append(f"`{column}`")
    return {
        table: sorted(database.rows(f"SELECT {', '.join(names)} FROM {table}"), key=repr)
        for table, names in columns.items()
    }


def test_a_generated_site_has_rows_of_every_kind_and_commands_read_it(site: Site) -> None:
    site.change("DELETE FROM subnets")
    fill(site.database, SMALL, seed=7)
    rows = rows_of(site.database)
    for table in (
        *(
            "nodes",
            "networks",
            "vm_nodes",
            "vm_disks",
            "vm_leases",
            "vm_lease_disks",
            "cluster_vlans",
            "aliases",
        ),
        *("attributes", "firewalls", "partitions", "boot", "bootflags"),
        *("global_routes", "os_routes", "appliance_routes", "node_routes"),
    ):
        assert rows[table], table
    assert len(rows["nodes"]) == 1 + SMALL.hosts + SMALL.clusters * SMALL.vms_per_cluster
    listed = json.loads(site.done("list host vm json=yes"))
    assert len(listed) == SMALL.clusters * SMALL.vms_per_cluster
    assert site.done("list cluster vc1").count("vm-vc1-") == SMALL.vms_per_cluster - 1
    for arguments in (
        "list host interface",
        "list host attr",
        "list host vm lease",
        "report host",
        "report zones",
        "report host interface",
        "report host firewall compute",
        "dump",
    ):
        assert site.done(*arguments.split()), arguments


def test_the_same_seed_gives_the_same_site(fresh_databases: FreshDatabases) -> None:
    found = []
    for seed in (3, 3, 4):
        settings = fresh_databases.new_name()  # a used one has other numbers
        try:
            bring_up_to_date(settings, Path("/nowhere"))
            record_leases(settings)
            with Database(settings) as database:
                fill(database, SMALL, seed)
                found.append(rows_of(database))
        finally:
            fresh_databases.drop(settings)
    assert found[0] == found[1] != found[2]
