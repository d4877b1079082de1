"""Addresses of hosts, from the real tables."""

from rocks.database.connection import Database
from rocks.fleet.connection import HostAddress
from rocks.inventory.address_records import host_addresses


def fill(database: Database) -> None:
    """head has two networks, 64 computes one, bare none."""
    database.execute(
        "INSERT INTO subnets (ID, name, dnszone, subnet, netmask) VALUES"
        " (1, 'private', 'local', '10.1.0.0', '255.255.0.0'),"
        " (2, 'public', 'example.org', '203.0.113.0', '255.255.255.0')"
    )
    database.insert_many(
        "INSERT INTO nodes (ID, Name, Membership) VALUES",
        [(1, "head", 1), (2, "bare", 2), *((number, f"c{number}", 2) for number in range(3, 67))],
    )
    database.insert_many(
        "INSERT INTO networks (Node, IP, Subnet) VALUES",
        [
            (1, "10.1.0.1", 1),
            (1, "203.0.113.1", 2),
            *((number, f"10.1.1.{number}", 1) for number in range(3, 67)),
        ],
    )
    database.execute(
        "INSERT INTO attributes (Attr, Value, Category, Catindex) SELECT 'Kickstart_PrivateHostname', 'HEAD', 1, ID"
        " FROM catindex WHERE Name = 'global'"
    )
    database.execute("INSERT INTO catindex (ID, Name, Category) VALUES (99, 'c3', 5)")
    database.execute(
        "INSERT INTO attributes (Attr, Value, Category, Catindex) VALUES ('ssh_port', '2222', 5, 99)"
    )


def test_addresses_ports_and_this_machine(database: Database) -> None:
    fill(database)
    assert host_addresses(database, ["c3", "HEAD", "bare", "stranger", "c4"]) == [
        HostAddress("c3", "10.1.1.3", 2222, False),
        HostAddress("head", "203.0.113.1", 22, True),
        HostAddress("bare", "bare", 22, False),
        HostAddress("c4", "10.1.1.4", 22, False),
    ]
    assert host_addresses(database, []) == []


def test_the_number_of_statements_is_that_of_one_host(database: Database) -> None:
    fill(database)
    before = database.statements
    assert len(host_addresses(database, ["c3"])) == 1
    for_one = database.statements - before
    assert len(host_addresses(database, [f"c{number}" for number in range(3, 67)])) == 64
    assert database.statements - before == 2 * for_one
    assert for_one == 4
