"""The views and the procedure for a small site with two virtual clusters."""

import pytest

from rocks.database.connection import Database


@pytest.fixture
def site(database: Database) -> Database:
    """Frontend `head`, container `vmc-0-0`, clusters vc1 (VLAN 2) and vc2 (VLAN 3), a VM of no cluster."""
    database.insert_many(
        "INSERT INTO subnets (ID, name, dnszone, netmask, mtu) VALUES",
        [(1, "private", "local", "255.255.0.0", 9000), (2, "public", "example.org", "255.255.255.0", 1500)],
    )
    hosts = [
        (1, "head", "Frontend", 0), (2, "vmc-0-0", "VM Container", 0),
        (3, "vc1", "Frontend", 0), (4, "vm-vc1-0", "Hosted VM", 0), (5, "vm-vc1-1", "Hosted VM", 0),
        (6, "vc2", "Frontend", 0), (7, "vm-vc2-0", "Hosted VM", 0), (8, "lonely", "Compute", 0),
    ]  # fmt: skip
    for node, name, membership, rack in hosts:
        database.execute(
            "INSERT INTO nodes (ID, Name, Membership, Rack, Rank)"
            " SELECT %s, %s, ID, %s, 0 FROM memberships WHERE Name = %s",
            (node, name, rack, membership),
        )
    database.insert_many(
        "INSERT INTO networks (Node, Device, Subnet, IP, Name, VlanID) VALUES",
        [
            (1, "eth0", 1, "10.1.1.1", "head", None), (1, "eth1", 2, "192.0.2.1", "head", 0),
            (1, "vlan2", 1, None, None, 2), (2, "eth0", 1, "10.1.255.254", "vmc-0-0", None),
            (2, "vlan2", 1, None, None, 2), (2, "vlan3", 1, None, None, 3),
            (3, "eth0", 1, "10.1.255.253", "vc1", 2), (3, "eth1", 2, "192.0.2.9", "vc1", 0),
            (4, "eth0", None, None, "vm-vc1-0", 2), (4, "eth1", None, None, "vm-vc1-0", 2),
            (5, "eth0", None, None, "vm-vc1-1", 2),
            (6, "eth0", 1, "10.1.255.252", "vc2", 3), (7, "eth0", None, None, "vm-vc2-0", 3),
            (8, "eth0", 1, "10.1.255.251", "lonely", None),
        ],
    )  # fmt: skip
    database.insert_many(
        "INSERT INTO vm_nodes (Node, PhysNode) VALUES", [(3, 1), (4, 2), (5, 2), (6, 1), (7, 2), (8, 2)]
    )
    database.execute("INSERT INTO catindex (Name, Category) VALUES ('vm-vc1-0', 5)")
    return database


def test_clusters_are_the_virtual_machines_on_a_virtual_frontends_vlan(site: Database) -> None:
    assert site.rows("SELECT cluster_name, vlanid, node_name FROM clusters ORDER BY 1, 3") == [
        ("vc1", 2, "vc1"), ("vc1", 2, "vm-vc1-0"), ("vc1", 2, "vm-vc1-1"), ("vc2", 3, "vc2"), ("vc2", 3, "vm-vc2-0"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE nodes SET Membership = 2 WHERE Name = 'vc1'",
        "UPDATE networks SET Subnet = 2 WHERE Node = 3",
        "UPDATE networks SET VlanID = 0 WHERE Node = 3",
        "DELETE FROM vm_nodes WHERE Node = 3",
    ],
)
def test_without_a_virtual_frontend_there_is_no_cluster(site: Database, change: str) -> None:
    site.execute(change)
    assert site.rows("SELECT DISTINCT cluster_name FROM clusters") == [("vc2",)]


def test_vnet_has_each_interface_that_has_a_network(site: Database) -> None:
    rows = site.rows(
        "SELECT nodename, membership, appliance, rack, rank, subnet, ip, device, module, hostname, domainname,"
        " netmask, mtu FROM vnet ORDER BY nodename, device"
    )
    assert len(rows) == 10
    assert (
        "vc1", "Frontend", "frontend", 0, 0, "public", "192.0.2.9", "eth1", None, "vc1", "example.org",
        "255.255.255.0", 1500,
    ) in rows  # fmt: skip
    assert not [row for row in rows if row[0] == "vm-vc1-0"]


def test_hosts_belong_to_the_global_os_appliance_and_own_member(site: Database) -> None:
    found = site.rows("SELECT Category, Catindex FROM vhostselections WHERE Host = 'VM-VC1-0' ORDER BY 1")
    assert found == [("appliance", "hosted-vm"), ("global", "global"), ("host", "vm-vc1-0"), ("os", "linux")]
    head = site.rows("SELECT Category, Catindex FROM vhostselections WHERE Host = 'head' ORDER BY 1")
    assert head == [("appliance", "frontend"), ("global", "global"), ("os", "linux")], (
        "no member of its own yet"
    )
    by_number = site.rows(
        "SELECT h.Host, c.Name, i.Name FROM hostselections h JOIN categories c ON c.ID = h.Category"
        " JOIN catindex i ON i.ID = h.Catindex"
    )
    assert sorted(by_number) == sorted(site.rows("SELECT Host, Category, Catindex FROM vhostselections"))


def test_firewall_rule_of_the_nearest_category_counts(site: Database) -> None:
    rules = [
        ("A10", "global", "global", "global"), ("A10", "hosted-vm", "appliance", "hosted-vm"),
        ("A20", "global", "global", "global"), ("A20", "host", "host", "vm-vc1-0"),
        ("A20", "os", "os", "linux"), ("A30", "other", "appliance", "compute"), ("A40", "os", "os", "linux"),
    ]  # fmt: skip
    for rule, comment, category, member in rules:
        site.execute(
            "INSERT INTO firewalls (Rulename, Comment, Category, Catindex) SELECT %s, %s, c.ID, i.ID"
            " FROM categories c JOIN catindex i ON i.Category = c.ID WHERE c.Name = %s AND i.Name = %s",
            (rule, comment, category, member),
        )
    resolved = site.rows("CALL resolvefirewalls('VM-vc1-0', 'default')")
    assert [(row[1], row[10]) for row in resolved] == [("A10", "hosted-vm"), ("A20", "host"), ("A40", "os")]
    assert [row[10] for row in site.rows("CALL resolvefirewalls('head', 'default')")] == [
        "global",
        "os",
        "os",
    ]
    assert site.rows("CALL resolvefirewalls('nobody', 'default')") == []
    listed = site.rows(
        "SELECT Rulename, Rulesrc, Category, Catindex FROM vfirewalls WHERE Rulename = 'A10' ORDER BY 3"
    )
    assert listed == [("A10", "custom", "appliance", "hosted-vm"), ("A10", "custom", "global", "global")]


def test_attributes_are_named_by_category_and_member(site: Database) -> None:
    site.execute("INSERT INTO attributes (Attr, Value, Category, Catindex) SELECT 'a', 'v', 5, ID FROM catindex"
                 " WHERE Name = 'vm-vc1-0'")  # fmt: skip
    assert site.rows(
        "SELECT Attr, Value, Shadow, Category, Catindex FROM vattributes WHERE Catindex = 'VM-vc1-0'"
    ) == [("a", "v", None, "host", "vm-vc1-0")]
