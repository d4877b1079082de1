"""The tables: case, uniqueness, cascades, and first rows."""

from collections.abc import Iterator

import pytest

from rocks.core.errors import BusyError, RocksError, ToolError, UserError
from rocks.database.connection import Database
from rocks.database.settings import Settings


def last_id(database: Database) -> int:
    """The ID of the row that the last statement has inserted."""
    return int(database.rows("SELECT LAST_INSERT_ID()")[0][0])


@pytest.fixture
def host(database: Database) -> int:
    """ID of a host `h` with something in every table that belongs to it, and of a network `private` (ID 1)."""
    database.execute("INSERT INTO subnets (ID, name, dnszone) VALUES (1, 'private', 'local')")
    database.execute("INSERT INTO nodes (Name) VALUES ('h')")
    node = last_id(database)
    database.execute(
        "INSERT INTO networks (Node, Device, MAC, IP, Subnet) VALUES (%s, 'e0', 'm', '1', 1)", (node,)
    )
    for sql in (
        "INSERT INTO aliases (Node, Name) VALUES (%s, 'alias')",
        "INSERT INTO boot (Node, Action) VALUES (%s, 'os')",
        "INSERT INTO public_keys (Node, Public_Key) VALUES (%s, 'k')",
        "INSERT INTO partitions (Node, Device) VALUES (%s, 'sda1')",
        "INSERT INTO node_routes (Node, Network, Netmask, Subnet) VALUES (%s, '10.0.0.0', '255.0.0.0', 1)",
        "INSERT INTO sec_node_attributes (Node, Attr) VALUES (%s, 'pw')",
    ):
        database.execute(sql, (node,))
    return node


def count(database: Database, table: str) -> int:
    return int(database.rows(f"SELECT COUNT(*) FROM {table}")[0][0])


def test_text_is_compared_without_case_and_stored_as_given(database: Database) -> None:
    assert database.rows("SELECT Name FROM memberships WHERE Name = 'vm container'") == [("VM Container",)]
    database.execute("INSERT INTO nodes (Name) VALUES ('Web-1')")
    for question in ("Name = %s", "Name IN (%s)", "Name LIKE %s"):
        assert database.rows(f"SELECT Name FROM nodes WHERE {question}", ("wEB-1",)) == [("Web-1",)]


def test_defaults_of_a_host(database: Database) -> None:
    database.execute("INSERT INTO nodes (Name) VALUES ('h')")
    (row,) = database.rows(
        "SELECT m.Name, n.CPUs, n.Rack, n.Rank, n.Arch, n.OS, n.RunAction, n.InstallAction"
        " FROM nodes n JOIN memberships m ON m.ID = n.Membership"
    )
    assert row == ("Compute", 1, None, None, None, "linux", "os", "install")


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("nodes", {"Name": "H"}),
        ("networks", {"Node": 1, "Device": "E0"}),
        ("networks", {"Node": 1, "MAC": "M"}),
        ("networks", {"Node": 1, "IP": "1", "Subnet": 1}),
        ("aliases", {"Node": 1, "Name": "ALIAS"}),
        ("boot", {"Node": 1}),
        ("subnets", {"name": "Private"}),
        ("subnets", {"name": "x", "dnszone": "Local"}),
        ("appliances", {"Name": "Compute"}),
        ("memberships", {"Name": "frontend"}),
        ("bootaction", {"Action": "OS"}),
        ("catindex", {"Name": "GLOBAL", "Category": 1}),
        ("resolvechain", {"Name": "default", "Category": 1}),
    ],
)
def test_unique_values(database: Database, host: int, table: str, row: dict[str, object]) -> None:
    values = [host if column == "Node" else value for column, value in row.items()]
    with pytest.raises(BusyError, match="Duplicate entry"):
        database.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})", values
        )


def test_missing_values_may_repeat(database: Database, host: int) -> None:
    database.insert_many("INSERT INTO networks (Node, Device) VALUES", [(host, "vlan2"), (host, "vlan3")])
    database.insert_many("INSERT INTO networks (Node, MAC) VALUES", [(host, "m1"), (host, "m2")])
    database.execute("INSERT INTO networks (Node, Device, Subnet) VALUES (%s, 'e1', 1)", (host,))
    assert count(database, "networks") == 6


def test_two_interfaces_can_swap_unique_values(database: Database, host: int) -> None:
    database.execute("INSERT INTO networks (Node, Device, MAC) VALUES (%s, 'e1', 'n')", (host,))
    before = database.rows("SELECT ID, Device, MAC FROM networks ORDER BY ID")
    (first, *of_first), (second, *of_second) = before
    database.execute("UPDATE networks SET Device = NULL, MAC = NULL WHERE ID IN (%s, %s)", (first, second))
    database.execute(
        "UPDATE networks SET Device = IF(ID = %s, %s, %s), MAC = IF(ID = %s, %s, %s) WHERE ID IN (%s, %s)",
        (first, of_second[0], of_first[0], first, of_second[1], of_first[1], first, second),
    )
    after = database.rows("SELECT ID, Device, MAC FROM networks ORDER BY ID")
    assert after == [(first, "e1", "n"), (second, "e0", "m")]


def test_rows_of_a_host_are_deleted_with_it(database: Database, host: int) -> None:
    database.execute("DELETE FROM nodes WHERE ID = %s", (host,))
    for table in (
        "networks",
        "aliases",
        "boot",
        "public_keys",
        "partitions",
        "node_routes",
        "sec_node_attributes",
    ):
        assert count(database, table) == 0, table
    assert count(database, "subnets") == 1


def test_rows_of_a_network_are_deleted_with_it(database: Database, host: int) -> None:
    database.execute(
        "INSERT INTO global_routes (Network, Netmask, Subnet) VALUES ('224.0.0.0', '255.255.255.0', 1)"
    )
    database.execute("INSERT INTO firewalls (Rulename, InSubnet, Category, Catindex) VALUES ('A1', 1, 1, 1)")
    database.execute("DELETE FROM subnets")
    for table in ("networks", "node_routes", "global_routes", "firewalls"):
        assert count(database, table) == 0, table
    assert count(database, "nodes") == 1


def test_attributes_are_deleted_with_their_member(database: Database) -> None:
    category = "SELECT ID FROM categories WHERE Name = 'host'"
    database.execute(f"INSERT INTO catindex (Name, Category) SELECT 'h', ID FROM ({category}) c")
    member = last_id(database)
    database.execute(
        f"INSERT INTO attributes (Attr, Value, Category, Catindex) SELECT 'a', 'v', ID, %s FROM ({category}) c",
        (member,),
    )
    before = count(database, "attributes")
    database.execute("DELETE FROM catindex WHERE ID = %s", (member,))
    assert count(database, "attributes") == before - 1


def test_membership_in_use_stays(database: Database, host: int) -> None:
    with pytest.raises(ToolError, match="Cannot delete or update a parent row"):
        database.execute("DELETE FROM appliances WHERE Name = 'compute'")


def add_vm(database: Database, name: str, container: int | None) -> int:
    database.execute("INSERT INTO nodes (Name) VALUES (%s)", (name,))
    node = last_id(database)
    database.execute("INSERT INTO vm_nodes (Node, PhysNode) VALUES (%s, %s)", (node, container))
    return node


def test_virtual_machine_outlives_its_container_but_not_unseen(database: Database, host: int) -> None:
    node = add_vm(database, "vm", host)
    database.execute("INSERT INTO vm_disks (Vm_Node, Name) VALUES (%s, 'vm.vda')", (last_id(database),))
    database.execute("DELETE FROM nodes WHERE ID = %s", (host,))
    assert database.rows("SELECT PhysNode, Mem, Slice, Virt_Type, cdrom_path FROM vm_nodes") == [
        (None, 1024, 0, None, "")
    ]
    with pytest.raises(ToolError, match="Cannot delete"):
        database.execute("DELETE FROM nodes WHERE ID = %s", (node,))
    with pytest.raises(ToolError, match="Cannot delete"):
        database.execute("DELETE FROM vm_nodes")
    with pytest.raises(BusyError, match="Duplicate entry"):
        database.execute("INSERT INTO vm_nodes (Node, PhysNode) VALUES (%s, NULL)", (node,))


def test_disk_has_one_nas_and_its_row_is_deleted_with_it(database: Database) -> None:
    add_vm(database, "vm", None)
    database.execute("INSERT INTO vm_disks (Vm_Node, Name) SELECT ID, 'vm.vda' FROM vm_nodes")
    disk = last_id(database)
    database.execute("INSERT INTO img_nas_server (vm_disk_id) VALUES (%s)", (disk,))
    assert database.rows("SELECT vm_disk_id, nas_name, zpool_name FROM img_nas_server") == [(disk, "", "")]
    with pytest.raises(BusyError, match="Duplicate entry"):
        database.execute("INSERT INTO img_nas_server (vm_disk_id, nas_name) VALUES (%s, 'nas-0-0')", (disk,))
    with pytest.raises(ToolError, match="foreign key"):
        database.execute("INSERT INTO img_nas_server (vm_disk_id) VALUES (%s)", (disk + 1,))
    database.execute("DELETE FROM vm_disks")
    assert count(database, "img_nas_server") == 0


def test_vlan_belongs_to_one_cluster_until_its_frontend_is_removed(
    database: Database, cluster_database: Settings
) -> None:
    first, second = add_vm(database, "vc1", None), add_vm(database, "vc2", None)
    database.execute("INSERT INTO cluster_vlans VALUES (2, %s)", (first,))
    with pytest.raises(BusyError, match="Duplicate entry '2'"):
        database.execute("INSERT INTO cluster_vlans VALUES (2, %s)", (second,))
    for number in (0, 4096):
        with pytest.raises(UserError, match="cluster_vlans_range"):
            database.execute("INSERT INTO cluster_vlans VALUES (%s, %s)", (number, second))
    database.execute("DELETE FROM vm_nodes WHERE Node = %s", (first,))
    database.execute("DELETE FROM nodes WHERE ID = %s", (first,))
    assert database.execute("INSERT INTO cluster_vlans VALUES (2, %s)", (second,)) == 1


@pytest.fixture
def leased(database: Database) -> Iterator[Database]:
    database.execute("INSERT INTO vm_leases (Name) VALUES ('vm-1')")
    database.execute(
        "UPDATE vm_leases SET Token = Token + 1, Host = 'h', State = 'starting' WHERE Name = 'VM-1'"
    )
    database.commit()
    yield database


def test_lease_begins_released_with_token_0(database: Database) -> None:
    database.execute("INSERT INTO vm_leases (Name) VALUES ('vm-1')")
    assert database.rows("SELECT Token, Host, State, Reason, Holder FROM vm_leases") == [
        (0, None, "released", None, None)
    ]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE vm_leases SET Token = Token - 1",
        "UPDATE vm_leases SET Name = 'vm-2'",
        "DELETE FROM vm_leases",
        "REPLACE INTO vm_leases (Name) VALUES ('vm-1')",
        "UPDATE vm_leases SET Host = NULL",
        "UPDATE vm_leases SET State = 'released'",
    ],
)
def test_lease_is_never_lost_or_half_released(leased: Database, change: str) -> None:
    with pytest.raises(RocksError):
        leased.execute(change)
    assert leased.rows("SELECT Name, Token, Host, State FROM vm_leases") == [("vm-1", 1, "h", "starting")]


def test_disk_is_under_one_lease_on_a_host_and_paths_have_case(leased: Database) -> None:
    leased.execute("INSERT INTO vm_leases (Name) VALUES ('vm-2')")
    take = "INSERT INTO vm_lease_disks (Host, Path, Name) VALUES (%s, %s, %s)"
    long = "/" + "d" * 1090
    for host, path in (
        ("h", "/a"),
        ("h", "/A"),
        ("h", "/a "),
        ("i", "/a"),
        ("h", long + "1"),
        ("h", long + "2"),
    ):
        leased.execute(take, (host, path, "vm-1"))
    for host, path in (("H", "/a"), ("h", long + "1")):
        with pytest.raises(BusyError, match="Duplicate entry"):
            leased.execute(take, (host, path, "vm-2"))
    with pytest.raises(ToolError, match="foreign key"):
        leased.execute(take, ("h", "/b", "vm-3"))


def test_lease_outlives_the_virtual_machine_and_its_host(leased: Database) -> None:
    host = add_vm(leased, "h", None)
    leased.execute("DELETE FROM vm_nodes WHERE Node = %s", (host,))
    leased.execute("DELETE FROM nodes")
    assert leased.rows("SELECT Name, Host FROM vm_leases") == [("vm-1", "h")]
    leased.execute("INSERT INTO vm_fences (Host, Name, Token) VALUES ('h', 'vm-1', 2)")
    with pytest.raises(BusyError):
        leased.execute("INSERT INTO vm_fences (Host, Name, Token) VALUES ('H', 'VM-1', 3)")


def test_first_boot_actions_chain_and_members(database: Database) -> None:
    actions = [action for (action,) in database.rows("SELECT Action FROM bootaction ORDER BY Action")]
    assert actions == ["install", "install notracker", "install vm frontend", "os"]
    assert database.rows("SELECT Category, Precedence FROM vresolvechain ORDER BY Precedence") == [
        ("global", 10), ("os", 20), ("appliance", 30), ("rack", 40), ("host", 50),
    ]  # fmt: skip
    members = database.rows("SELECT Name FROM vcatindex WHERE Category IN ('global', 'os') ORDER BY Name")
    assert members == [("global",), ("linux",), ("sunos",)]
