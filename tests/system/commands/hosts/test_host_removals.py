"""`remove host`: all of a host goes; the frontend, clusters, containers of machines and NASes with images stay."""

from pathlib import Path

import pytest

from tests.command_trees import write_hook
from tests.system.commands.conftest import Site


@pytest.fixture
def cluster(vm_site: Site) -> Site:
    """The cluster `blue` with a frontend on head and two computes on the containers."""
    vm_site.done("add cluster 203.0.113.9 2 fe-name=blue cluster-naming=yes vlan=9")
    return vm_site


@pytest.mark.parametrize("selector", ["%", "head", "frontend"])
def test_the_frontend_of_the_site_stays(vm_site: Site, selector: str) -> None:
    message = vm_site.refused("remove host", selector)
    assert "host head is the frontend of the site and cannot be removed" in message


def test_a_frontend_of_another_name_stays(vm_site: Site) -> None:
    """Without the attribute that names it, the only physical host of that appliance is the frontend."""
    vm_site.change("DELETE FROM attributes WHERE Attr = 'Kickstart_PrivateHostname'")
    assert "host head is the frontend of the site" in vm_site.refused("remove host head vmc-0-0")


@pytest.mark.parametrize("names", [("blue",), ("blue", "vm-blue-0"), ("blue", "vm-blue-0", "vm-blue-1")])
def test_the_frontend_of_a_cluster_goes_with_its_cluster_only(cluster: Site, names: tuple[str, ...]) -> None:
    commands = [("remove", "host"), ("remove", "host", "vm")]
    for command in commands[: 1 if len(names) == 3 else 2]:
        message = cluster.refused(*command, *names)
        assert (
            "blue is the frontend of a virtual cluster" in message and "rocks remove cluster blue" in message
        )
    assert cluster.rocks("remove cluster blue").status == 0
    assert cluster.database.rows("SELECT COUNT(*) FROM vm_nodes") == [(0,)]
    assert cluster.database.rows("SELECT COUNT(*) FROM networks WHERE VlanID = 9") == [(0,)]


def test_a_compute_of_a_cluster_may_go(cluster: Site) -> None:
    assert cluster.rocks("remove host vm-blue-1").status == 0
    assert "vm-blue-0" in cluster.done("list cluster blue")


def test_the_container_of_a_stopped_machine_stays(vm_site: Site) -> None:
    vm_site.done("add host vm vmc-0-1 membership=compute name=web")
    message = vm_site.refused("remove host vmc-0-1")
    assert "vmc-0-1 is the container of web" in message and "rocks set host vm web physnode=HOST" in message
    vm_site.done("add host vm vmc-0-1 membership=compute name=other")
    message = vm_site.refused("remove host vmc-0-1")
    assert "is the container of web, other" in message and "rocks remove host vm web other" in message
    assert vm_site.rocks("remove host vmc-0-1 web other").status == 0


def test_a_nas_with_images_stays(vm_site: Site) -> None:
    vm_site.done("add host vm vmc-0-1 membership=compute name=web")
    vm_site.done("add host nas-0-0 'membership=NAS Appliance'")
    vm_site.done("set host vm nas web nas=nas-0-0 zpool=tank")
    message = vm_site.refused("remove host nas-0-0")
    assert "nas-0-0 is the NAS of disks of web" in message and "rocks remove host vm nas web" in message
    vm_site.done("remove host vm nas web")
    vm_site.done("remove host nas-0-0")


def test_checks_of_all_hooks_precede_the_work_of_the_first(vm_site: Site, tree: Path) -> None:
    log = tree / "log"
    for name, methods in (
        (
            "zebra",
            "def precedes(self): return ['vm']\n"
            f"def run_all(self, hosts): open({str(log)!r}, 'w').write('ran')\n",
        ),
        (
            "last",
            "def requires(self): return ['TAIL']\n"
            "def check_all(self, hosts): raise StateError(f'not {hosts[0]}')\n"
            "def run_all(self, hosts): raise AssertionError\n",
        ),
    ):
        write_hook(tree, "remove/host", name, methods)
    assert vm_site.refused("remove host vmc-0-0") == "not vmc-0-0"
    assert not log.exists()


@pytest.fixture
def full(three: Site) -> Site:
    """compute-0-0 has a row in each table that refers to nodes."""
    three.done("add host alias compute-0-0 c00")
    three.done("add host interface compute-0-0 eth0 ip=10.1.0.1 subnet=private")
    three.done("set host boot compute-0-0 action=install")
    three.change("INSERT INTO rolls (ID, Name) VALUES (1, 'base')")
    for table, columns, values in (
        ("bootflags", "Flags", "'quiet'"),
        ("public_keys", "Public_Key", "'key'"),
        ("node_rolls", "RollID", "1"),
        ("partitions", "Mountpoint", "'/'"),
        ("node_routes", "Network, Netmask", "'0.0.0.0', '0.0.0.0'"),
        ("sec_node_attributes", "Attr", "'secret'"),
    ):
        three.change(
            f"INSERT INTO {table} (Node, {columns}) SELECT ID, {values} FROM nodes WHERE Name = 'compute-0-0'"
        )
    return three


_NODE_TABLES = [
    *("aliases", "boot", "bootflags", "networks", "node_rolls", "node_routes", "partitions"),
    *("public_keys", "sec_node_attributes"),
]


def test_remove_host_leaves_nothing_of_it(full: Site) -> None:
    for table in _NODE_TABLES:
        assert full.database.rows(f"SELECT COUNT(*) FROM {table} WHERE Node > 0") == [(1,)], table
    full.database.rollback()
    full.done("remove host compute-0-0")
    for table in _NODE_TABLES:
        assert full.database.rows(f"SELECT COUNT(*) FROM {table} WHERE Node > 0") == [(0,)], table
    assert full.database.rows("SELECT Name FROM vcatindex WHERE Category = 'host' ORDER BY 1") == [
        ("compute-0-1",),
        ("head",),
    ]
    assert full.done("list host output-col=cpus") == "CPUS\n4   \n2   \n"


def test_remove_host_is_one_transaction(full: Site, tree: Path) -> None:
    methods = (
        "def requires(self): return ['TAIL', 'node']\ndef run(self, host): raise StateError(f'not {host}')\n"
    )
    write_hook(tree, "remove/host", "last", methods)
    assert full.refused("remove host compute-0-0") == "not compute-0-0"


def test_hooks_of_other_trees_run_for_each_host_where_they_ask_to(three: Site, tree: Path) -> None:
    log = tree / "log"
    for name, precedes in (("zebra", []), ("early", ["attr"])):
        methods = (
            f"def precedes(self): return {precedes}\n"
            "def run(self, host):\n"
            "    left = self.db.rows('SELECT COUNT(*) FROM vattributes WHERE Catindex = %s', (host,))[0][0]\n"
            f"    open({str(log)!r}, 'a').write(f'{name} {{host}} {{left}}\\n')\n"
        )
        write_hook(tree, "remove/host", name, methods)
    three.done("remove host compute")
    assert (
        log.read_text()
        == "early compute-0-0 1\nearly compute-0-1 1\nzebra compute-0-0 0\nzebra compute-0-1 0\n"
    )


def test_remove_host_refuses(three: Site) -> None:
    three.take_lease("vm-a", "compute-0-0", token=1)
    assert "may be running the virtual machine vm-a" in three.refused("remove host compute-0-0")
