"""InfiniBand partitions by commands: keys of a pool, ports of hosts, the file for opensm, and reloads of opensm."""

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.core.process import start_with_pipes
from rocks.leases import lease as leases
from rocks.network.infiniband import partitions
from rocks.network.infiniband.pkeys import derive_guids, guid_text
from tests.system.commands.conftest import Site
from tests.system.commands.site.test_attributes import read_by_shell

ADD = ("add", "cluster")
MARKERS = ("# rocks: begin", "# rocks: end")


@pytest.fixture
def ib_site(vm_site: Site, tmp_path: Path) -> Site:
    """The site of virtual machines, with a pool of two keys, and opensm's file in a folder of the test's own.

    Each reload of opensm appends a copy of the file to `reloads`.
    """
    file, reloads = str(tmp_path / "partitions.conf"), str(tmp_path / "reloads")
    copy = f"text = open({file!r}).read(); open({reloads!r}, 'a').write(text + '----\\n')"
    vm_site.done("set attr ib_pkey_pool 0x10-0x11")
    vm_site.done("set attr ib_partitions_file", str(tmp_path / "partitions.conf"))
    vm_site.done("set attr ib_opensm_reload", shlex.join([sys.executable, "-c", copy]))
    return vm_site


def members(text: str) -> list[str]:
    """The lines of clusters in the file."""
    ours = text.partition(MARKERS[0])[2].partition(MARKERS[1])[0]
    return [line for line in ours.splitlines()[1:] if not line.startswith("Default=")]


def add_cluster(site: Site, name: str, address: int, computes: str = "1", *more: str) -> str:
    """A cluster on head and vmc-0-0."""
    return site.done(
        *ADD,
        f"203.0.113.{address}",
        computes,
        f"fe-name={name}",
        "cluster-naming=yes",
        "container-hosts=vmc-0-0",
        *more,
    )


def test_a_cluster_gets_a_key_of_the_pool(ib_site: Site) -> None:
    assert "Getting Free Partition Key: 0x0010 <-- Done.\n" in add_cluster(ib_site, "red", 20)
    add_cluster(ib_site, "plain", 21, "1", "pkey=none")
    add_cluster(ib_site, "own", 22, "1", "pkey=0x8100")
    add_cluster(ib_site, "blue", 23)
    assert ib_site.done("list ib partition") == (
        "FRONTEND PKEY   MEMBERSHIP IPOIB HOSTS\n"
        "red:     0x0010 full       yes   -----\n"
        "blue:    0x0011 full       yes   -----\n"
        "own:     0x0100 full       yes   -----\n"
    )
    full = "all partition keys of the pool ib_pkey_pool=0x10-0x11 are in use; remove clusters or their partitions"
    assert full in ib_site.refused(*ADD, "203.0.113.24", "1")
    assert full in ib_site.refused("add ib partition plain")
    ib_site.done("remove ib partition blue")
    assert ib_site.done("add ib partition plain membership=limited ipoib=no") == "plain: 0x0011\n"
    rows = json.loads(ib_site.done("list ib partition plain json=yes"))
    assert "limited" in json.dumps(rows)
    dumped = ib_site.done("dump ib partition")
    assert dumped.splitlines()[1].endswith("add ib partition plain pkey=0x0011 membership=limited ipoib=no")
    ib_site.done("remove ib partition plain")
    ib_site.done(shlex.join(read_by_shell(dumped)[1][1:]))
    assert ib_site.done("dump ib partition") == dumped


def test_without_a_pool_there_is_no_infiniband(vm_site: Site) -> None:
    assert "Partition" not in add_cluster(vm_site, "red", 20)
    assert vm_site.done("list ib partition") == ""
    assert "rocks set attr ib_pkey_pool" in vm_site.refused("add ib partition red")
    without = vm_site.rocks("start host vm vm-red-0").statements
    vm_site.done("set attr ib_pkey_pool 2")
    vm_site.done("add ib partition red")
    assert vm_site.rocks("start host vm vm-red-0").statements >= without + 4, "all of it is left out without"


def test_invalid_commands_are_rejected(ib_site: Site) -> None:
    add_cluster(ib_site, "red", 20)
    add_cluster(ib_site, "blue", 21)
    for arguments, message in (
        ((*ADD, "203.0.113.24", "1", "pkey=0x7fff"), 'pkey "0x7fff" is not valid'),
        ((*ADD, "203.0.113.24", "1", "pkey=0x10"), "the key 0x0010 is in use by red"),
        (("add", "ib", "partition", "red"), "red has the partition 0x0010"),
        (("add", "ib", "partition", "vm-red-0"), "host vm-red-0 is not a virtual frontend"),
        (("add", "ib", "partition", "head"), "host head is not a virtual frontend"),
        (("set", "ib", "partition", "red"), "must supply pkey, membership or ipoib"),
        (("set", "ib", "partition", "red", "pkey=0x8011"), "the key 0x0011 is in use by blue"),
        (("set", "ib", "partition", "red", "pkey=x"), 'pkey "x" is not valid'),
        (("set", "ib", "partition", "red", "membership=both"), "it must be full or limited"),
        (("set", "ib", "partition", "red", "ipoib=perhaps"), "ipoib"),
        (("set", "ib", "partition", "head", "pkey=5"), "head has no partition"),
        (("remove", "ib", "partition", "vm-red-0"), "vm-red-0 has no partition"),
        (("add", "host", "ibport", "vmc-0-0"), "must supply a device and a GUID"),
        (("add", "host", "ibport", "vmc-0-0", "mlx4_0", "0x1"), "it must be 16 hexadecimal digits"),
        (("add", "host", "ibport", "vmc-0-0", "../x", "0x0002c90300000001"), "device"),
        (("add", "host", "ibport", "vmc-0-0", "mlx4_0", "0x0002c90300000001", "port=0"), "port"),
        (("add", "host", "ibport", "red", "mlx4_0", "0x0002c90300000001"), "red is a virtual machine"),
        (("remove", "host", "ibport", "vmc-0-0"), "vmc-0-0 has no InfiniBand port"),
    ):
        assert message in ib_site.refused(*arguments)


def test_ports_of_hosts(ib_site: Site) -> None:
    ib_site.done("add host ibport vmc-0-0 mlx4_0 0002:c903:00a1:b2c3")
    ib_site.done("add host ibport vmc-0-0 mlx4_0 0x0002c90300a1b2c4 port=2")
    assert ib_site.done("list host ibport") == (
        "HOST     DEVICE PORT GUID              \n"
        "vmc-0-0: mlx4_0 1    0x0002c90300a1b2c3\n"
        "vmc-0-0: mlx4_0 2    0x0002c90300a1b2c4\n"
    )
    dumped = ib_site.done("dump host ibport")
    assert dumped.splitlines()[1].endswith("add host ibport vmc-0-0 mlx4_0 0x0002c90300a1b2c4 port=2")
    taken = ib_site.refused("add host ibport head mlx4_0 0x0002c90300a1b2c3")
    assert taken == "the GUID 0x0002c90300a1b2c3 is in use by vmc-0-0; rocks list host ibport vmc-0-0"
    again = ib_site.refused("add host ibport vmc-0-0 mlx4_0 0x0002c90300a1b2c5")
    assert "vmc-0-0 has port 1 of mlx4_0" in again
    remedy = again.partition("; rocks ")[2]
    assert remedy == "remove host ibport vmc-0-0 device=mlx4_0"
    assert "no port of mlx5_0" in ib_site.refused("remove host ibport vmc-0-0 device=mlx5_0")
    ib_site.done(remedy)
    assert ib_site.done("list host ibport") == ""


def test_a_port_joins_before_the_start_and_leaves_when_it_failed(ib_site: Site, tmp_path: Path) -> None:
    """The hosts of this site are silent: each start fails after its port has become a member."""
    add_cluster(ib_site, "red", 20)
    ib_site.done("add host ibport vmc-0-0 mlx4_0 0x0002c90300a1b2c3")
    (tmp_path / "partitions.conf").write_text("# mine\n")
    (tmp_path / "partitions.conf").chmod(0o640)
    ended = ib_site.rocks("start host vm vm-red-0")
    assert ended.status == 1
    assert "Warning" not in ended.err
    joined, left, end = (tmp_path / "reloads").read_text().split("----\n")
    line = "red=0x0010, ipoib : 0x0002c90300a1b2c3=full ; # vmc-0-0 mlx4_0 port 1"
    assert (members(joined), members(left), end) == ([line], [], "")
    assert joined.startswith("# mine\n" + MARKERS[0])
    assert (tmp_path / "partitions.conf").read_text() == left == ib_site.done("report ib partitions")
    assert (tmp_path / "partitions.conf").stat().st_mode & 0o777 == 0o640


def test_guids_of_machines_are_reported_where_the_manager_sees_them(ib_site: Site, tmp_path: Path) -> None:
    add_cluster(ib_site, "red", 20)
    ib_site.done("add host ibport vmc-0-0 mlx5_0 0x0002c90300a1b2c3")
    ib_site.done("set attr ib_sm virtual")
    ib_site.rocks("start host vm vm-red-0")
    joined = (tmp_path / "reloads").read_text().split("----\n")[0]
    guid = guid_text(derive_guids(["vm-red-0"], ())["vm-red-0"].port)
    assert members(joined) == [
        "red=0x0010, ipoib : 0x0002c90300a1b2c3=full ; # vmc-0-0 mlx5_0 port 1",
        f"red=0x0010 : {guid}=full ; # vm vm-red-0",
    ]
    ib_site.set_as_before("ib_sm", "cloudy")
    assert "set it to virtual or remove it" in ib_site.refused("sync ib partitions")


def test_a_key_is_free_when_nothing_can_run_under_it(ib_site: Site) -> None:
    """A host that does not answer may still run a guest: the cluster can be removed, its key is given to no other."""
    add_cluster(ib_site, "red", 20)
    leases.take_leases(ib_site.database, {"vm-red-0": ("vmc-0-0", ())})
    partitions.record_uses(ib_site.database, {"vm-red-0": 0x10})
    ib_site.database.commit()
    refusal = "the key 0x0010 is in use: vm-red-0 may run under it on vmc-0-0"
    assert refusal in ib_site.refused("remove ib partition red")
    assert refusal in ib_site.refused("set ib partition red pkey=0x11")
    ib_site.done("set ib partition red membership=limited")
    assert ib_site.rocks("remove cluster red").status == 0
    for key in ((), ("pkey=0x10",)):
        assert "vm-red-0" in ib_site.refused("add cluster 203.0.113.29 0", *key)
    leases.release_leases(ib_site.database, ["vm-red-0"])
    ib_site.database.commit()
    assert "Key: 0x0010" in add_cluster(ib_site, "green", 22)
    assert ib_site.rocks("remove cluster green").status == 0
    assert ib_site.done("list ib partition") == ""


def test_a_start_leaves_the_key_of_a_machine_that_runs(ib_site: Site) -> None:
    """Its record is of another cluster by now; the start is refused, since its host does not answer."""
    add_cluster(ib_site, "red", 20)
    add_cluster(ib_site, "blue", 21)
    leases.take_leases(ib_site.database, {"vm-red-0": ("vmc-0-0", ())})
    leases.set_state(ib_site.database, ["vm-red-0"], "running")
    partitions.record_uses(ib_site.database, {"vm-red-0": 0x10})
    ib_site.database.commit()
    ((vlan,),) = ib_site.rows("SELECT DISTINCT vlanid FROM clusters WHERE cluster_name = 'blue'")
    ib_site.rocks(f"set host interface vlan vm-red-0 eth0 {vlan}")
    assert "it may still be running on vmc-0-0" in ib_site.rocks("start host vm vm-red-0").err
    assert ib_site.rows("SELECT Name, PKey FROM ib_key_uses") == [("vm-red-0", 0x10)]
    assert "the key 0x0010 is in use: vm-red-0" in ib_site.refused("remove ib partition red")


@pytest.fixture
def sleeper() -> Iterator[int]:
    """The process id of a program that is not opensm."""
    process = start_with_pipes(["sleep", "60"])
    yield process.pid
    process.kill()
    process.communicate()


def test_a_missing_opensm(ib_site: Site, tmp_path: Path, sleeper: int) -> None:
    """Each error is specific, also that of a dry run; nothing is lost, and the next command reloads opensm."""
    pid_file, file = tmp_path / "pid", tmp_path / "partitions.conf"
    ib_site.done("remove attr ib_opensm_reload")
    for dry_run in ("dry-run=no", "dry-run=yes"):
        ended = ib_site.rocks("sync ib partitions", dry_run)
        assert ended.status == 1 and "no setting for the reload of opensm" in ended.err
        assert not file.exists()
    ib_site.done("set attr ib_opensm_pid_file", str(pid_file))
    for dry_run in ("dry-run=yes", "dry-run=no"):
        ended = ib_site.rocks("sync ib partitions", dry_run)
        assert (
            f"opensm does not run: {pid_file} is missing; start opensm, which then reads {file}" in ended.err
        )
        assert file.exists() == (dry_run == "dry-run=no")
    for text, message in (
        ("", "contains no process id"),
        ("1", "contains no process id"),
        ("x", "contains no process id"),
        ("-7", "contains no process id"),
        (str(sleeper), f"names process {sleeper}, which is not opensm"),
        ("999999999", "which is not opensm"),
    ):
        pid_file.write_text(text)
        assert message in ib_site.rocks("sync ib partitions").err
    assert Path(f"/proc/{sleeper}").exists()
    ib_site.done("set attr ib_opensm_reload false")
    assert "false failed with exit status 1" in ib_site.rocks("sync ib partitions").err
    ib_site.done("set attr ib_opensm_reload '/nowhere/reload opensm'")
    assert "cannot start /nowhere/reload" in ib_site.rocks("sync ib partitions").err
    ib_site.done("set attr ib_opensm_reload", "reload 'opensm")
    assert "ib_opensm_reload is not a program" in ib_site.rocks("sync ib partitions").err
    ib_site.done("set attr ib_opensm_reload true")
    assert "unchanged, 0 partitions" in ib_site.done("sync ib partitions")


def test_a_file_that_cannot_be_changed(ib_site: Site, tmp_path: Path) -> None:
    file = tmp_path / "partitions.conf"
    file.write_text("# rocks: begin\nmine=0x5 : ALL ;\n")
    error = ib_site.refused("sync ib partitions")
    assert f"{file} cannot be changed: its lines" in error
    assert file.read_text() == "# rocks: begin\nmine=0x5 : ALL ;\n"
    assert not (tmp_path / "reloads").exists()
    file.write_bytes(b"\xff\xfe")
    assert f"cannot read {file}: it is not text" in ib_site.refused("report ib partitions")
    ib_site.done("set attr ib_partitions_file", str(tmp_path / "no" / "folder"))
    assert "there is no folder" in ib_site.refused("sync ib partitions")
    ib_site.set_as_before("ib_default_membership", "most")
    assert "set it to both, full, limited or none" in ib_site.refused("report ib partitions")
