"""Partitions in force: the P_Key table of every host's port, as real opensm programs it on a simulated fabric."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from rocks.leases import lease as leases
from rocks.network.infiniband.machine_partitions import join_partitions, leave_partitions
from tests.system.commands.conftest import Site
from tests.system.commands.vms.fabric import Fabric, missing_part

HOSTS = 36
FULL, DEFAULT_FULL, DEFAULT_LIMITED = 0x8000, 0xFFFF, 0x7FFF


@pytest.fixture
def fabric() -> Iterator[Fabric]:
    """A running fabric of 37 adapters; the first is the subnet manager's, the others are those of hosts."""
    if (missing := missing_part()) is not None:
        pytest.skip(f"{missing} is not installed")
    folder = Path(tempfile.mkdtemp(prefix="rocks-fabric-"))
    fabric = Fabric(folder, HOSTS)
    try:
        fabric.start()
        yield fabric
    finally:
        fabric.stop()
        shutil.rmtree(folder)


class Tenants:
    """Clusters on the fabric's hosts: what is started and stopped is a lease, as in the commands that do that."""

    def __init__(self, site: Site, fabric: Fabric) -> None:
        self.site, self.fabric = site, fabric
        self.placed: dict[str, tuple[int, str]] = {}

    def host(self, number: int) -> str:
        return f"vmc-1-{number}"

    def start(self, pkey: int, names: Sequence[str]) -> None:
        """Lease and join, in the order of `start host vm`."""
        rows = self.site.database.rows(
            "SELECT n.Name, p.Name FROM vm_nodes v JOIN nodes n ON n.ID = v.Node JOIN nodes p ON p.ID = v.PhysNode"
        )
        places = {str(name): str(host) for name, host in rows if name in names}
        assert set(places) == set(names)
        leases.take_leases(self.site.database, {name: (host, ()) for name, host in places.items()})
        self.site.database.commit()
        assert join_partitions(self.site.database, names) == ()
        self.placed.update({name: (pkey, host) for name, host in places.items()})

    def stop(self, names: Sequence[str]) -> None:
        """Release and leave, in the order of `stop host vm`."""
        leases.release_leases(self.site.database, names)
        self.site.database.commit()
        assert leave_partitions(self.site.database) == ()
        for name in names:
            del self.placed[name]

    def expected(self) -> dict[int, set[int]]:
        """GUID of each host's port → the keys of the clusters that are there, and the default partition."""
        return {
            self.fabric.guids[number + 1]: {DEFAULT_FULL, DEFAULT_LIMITED}
            | {FULL | pkey for pkey, host in self.placed.values() if host == self.host(number)}
            for number in range(HOSTS)
        }

    def check(self) -> None:
        expected = self.expected()
        assert self.fabric.wait_for(expected) == expected


@pytest.fixture
def tenants(vm_site: Site, fabric: Fabric) -> Tenants:
    """36 hosts with a port each, and a pool of keys."""
    for number in range(HOSTS):
        name = f"vmc-1-{number}"
        vm_site.done("add host", name, "membership=VM Container", "rack=1", f"rank={number}", "cpus=4")
        vm_site.done("add host ibport", name, "mlx4_0", f"0x{fabric.guids[number + 1]:016x}")
    vm_site.done("set attr vm_image_directory /images")
    vm_site.done("set attr ib_pkey_pool 0x0002-0x0004")
    vm_site.done("set attr ib_partitions_file", str(fabric.partitions_file))
    vm_site.done("set attr ib_opensm_pid_file", str(fabric.pid_file))
    return Tenants(vm_site, fabric)


def add(tenants: Tenants, name: str, hosts: Sequence[int]) -> list[str]:
    """A cluster with a compute on each of the hosts, its frontend on the first of them; returns its machines."""
    number = 20 + len(tenants.site.database.rows("SELECT 1 FROM ib_partitions"))
    places = " ".join(tenants.host(host) for host in hosts)
    added = tenants.site.rocks(
        "add cluster",
        f"203.0.113.{number}",
        str(len(hosts)),
        f"fe-name={name}",
        "cluster-naming=yes",
        f"fe-container={tenants.host(hosts[0])}",
        f"container-hosts={places}",
        "gateway=203.0.113.1",
    )
    assert added.status == 0, added.err
    tenants.site.database.rollback()
    return [name, *(f"vm-{name}-{host}" for host in range(len(hosts)))]


@pytest.mark.slow
def test_every_ports_table_holds_the_keys_of_the_clusters_there(tenants: Tenants, fabric: Fabric) -> None:
    """Through adding, starting, moving, stopping and removing clusters, and a subnet manager that is restarted."""
    site = tenants.site
    fabric.partitions_file.write_text(f"# the operator's\nstorage=0x0100 : 0x{fabric.guids[0]:x}=full ;\n")
    assert site.done("sync ib partitions") == (
        f"{fabric.partitions_file}: written, 0 partitions with 0 ports; opensm reloads it\n"
    )
    tenants.check()
    assert 0x8100 in fabric.keys(fabric.guids[0]), "the operator's own line counts"

    red, blue = add(tenants, "red", range(0, 20)), add(tenants, "blue", range(16, 36))
    tenants.check()
    tenants.start(2, red)
    tenants.start(3, blue[:5])
    tenants.check()
    tenants.start(3, blue[5:])
    tenants.check()

    fabric.stop_manager()
    warnings = _stop_unmanaged(tenants, red[10:])
    assert len(warnings) == 1
    assert "opensm does not run" in warnings[0]
    assert "rocks sync ib partitions" in warnings[0]
    fabric.start_manager()
    tenants.check()

    moved = red[1]
    tenants.stop([moved])
    ended = site.rocks("set host vm", moved, f"physnode={tenants.host(35)}")
    assert ended.status == 0 and f"stay on {tenants.host(0)}" in ended.err
    tenants.start(2, [moved])
    tenants.check()
    assert {0x8002, 0x8003} <= fabric.keys(fabric.guids[36]), "two clusters on one host"

    tenants.stop(blue)
    tenants.check()
    site.rocks("remove cluster blue")
    site.database.rollback()
    green = add(tenants, "green-0", [0, 30])
    tenants.start(3, green)
    tenants.check()
    assert "# the operator's\nstorage=0x0100" in fabric.partitions_file.read_text()

    tenants.stop([*tenants.placed])
    tenants.check()
    assert {key for keys in tenants.expected().values() for key in keys} == {DEFAULT_FULL, DEFAULT_LIMITED}


def _stop_unmanaged(tenants: Tenants, names: Sequence[str]) -> tuple[str, ...]:
    leases.release_leases(tenants.site.database, names)
    tenants.site.database.commit()
    for name in names:
        del tenants.placed[name]
    return leave_partitions(tenants.site.database)
