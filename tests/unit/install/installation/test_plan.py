"""The plan of an installation, and its disks."""

from dataclasses import replace

import pytest

from rocks.core.errors import UserError
from rocks.install.installation.plan import (
    DiskChoice,
    InstallPlan,
    Partition,
    PlannedInterface,
    plan_installation,
    read_disks,
    read_partitions,
)
from rocks.inventory.records import Host, Interface
from rocks.network.host_network_plan import plan_network
from rocks.network.route_rules import ResolvedRoute, Route
from tests.install_plans import HOST, SOURCE, SOURCE_KEY


def _plan(**attributes: str) -> InstallPlan:
    return plan_installation(replace(HOST, attributes={**HOST.attributes, **attributes}), SOURCE)


def test_defaults() -> None:
    plan = plan_installation(replace(HOST, attributes={}), SOURCE)
    assert [disk.kind for disk in plan.disks] == ["smallest"]
    assert [(part.mount_point, part.size_mib) for part in plan.partitions] == [("/", None)]
    assert not plan.overwrite
    assert (plan.gateway, plan.name_servers, plan.kernel_arguments) == ("", (), "")


def test_the_interface_on_the_primary_network_comes_first() -> None:
    plan = _plan(primary_net="storage")
    assert [interface.device for interface in plan.interfaces] == ["eth1", "eth0"]


def test_interfaces_without_an_address_and_vlan_entries_are_left_out() -> None:
    more = (
        Interface("compute-0-0", "eth2", "52:54:00:00:00:0b"),
        Interface("compute-0-0", "vlan7", "52:54:00:00:00:0c", "10.9.0.7", None, "private", "255.255.255.0"),
    )
    plan = plan_installation(replace(HOST, interfaces=(*HOST.interfaces, *more)), SOURCE)
    assert [interface.device for interface in plan.interfaces] == ["eth0", "eth1"]


def test_the_first_adapter_of_a_bond_has_its_address() -> None:
    first, second = HOST.interfaces
    members = [replace(one, ip=None, subnet=None, netmask=None, channel="bond0") for one in (first, second)]
    bond = replace(first, device="bond0", mac=None, module="bonding")
    plan = plan_installation(replace(HOST, interfaces=(*members, bond)), SOURCE)
    assert plan.interfaces == (PlannedInterface("eth0", "52:54:00:00:00:09", "10.9.0.9/24", 1500),)


def test_an_address_of_an_adapter_is_not_beside_that_of_its_bond() -> None:
    """It had one before it got a bond; the profile leaves it out."""
    first, second = HOST.interfaces
    bond = replace(first, device="bond0", mac=None, module="bonding", ip="10.9.0.7")
    members = [replace(one, channel="bond0") for one in (first, second)]
    host = replace(HOST, interfaces=(*members, bond))
    addresses = [one.address for one in plan_installation(host, SOURCE).interfaces]
    assert addresses == [one.address for one in plan_network(host).devices if one.address] == ["10.9.0.7/24"]


def test_the_gateway_is_that_of_the_profile() -> None:
    """The host's default route comes before the attribute, and a gateway on another network is not the first's."""
    host = replace(HOST, routes=(ResolvedRoute(Route("0.0.0.0", "0.0.0.0", "10.9.0.254"), "H"),))
    assert plan_installation(HOST, SOURCE).gateway == plan_network(HOST).devices[0].gateway == "10.9.0.1"
    assert plan_installation(host, SOURCE).gateway == plan_network(host).devices[0].gateway == "10.9.0.254"
    assert _plan(primary_net="storage").gateway == ""
    assert _plan(Kickstart_PrivateGateway="10.9.0.9").gateway == "", "a host is not its own gateway"


def test_overwrite_needs_the_word() -> None:
    assert _plan(install_overwrite="yes").overwrite
    assert not _plan(install_overwrite="no").overwrite
    with pytest.raises(UserError, match="install_overwrite: it must be yes or no"):
        _plan(install_overwrite="perhaps")


@pytest.mark.parametrize("text", ['a"b', "a;b", "a$b", "a\nb", "a`b`", "x" * 501])
def test_arguments_that_a_boot_loader_would_interpret(text: str) -> None:
    with pytest.raises(UserError, match="install_kernel_arguments"):
        _plan(install_kernel_arguments=text)


def test_all_problems_are_listed_at_once() -> None:
    host = Host(
        "compute-0-0",
        "Compute",
        "compute",
        1,
        0,
        0,
        interfaces=(
            Interface("compute-0-0", "eth0", "52:54:00:00:00:09", "10.9.0.300", netmask="255.255.255.0"),
        ),
        attributes={
            "install_disk": "largest",
            "install_partitions": "swap:1:swap",
            "install_overwrite": "maybe",
            "install_kernel_arguments": "a;b",
            "Kickstart_PrivateGateway": "gate",
            "Kickstart_PrivateDNSServers": "1.1.1.1,x",
        },
    )
    bad_source = SOURCE._replace(archive="http://10.9.0.1/a", archive_sha256="1", authorized_keys=())
    with pytest.raises(UserError) as caught:
        plan_installation(host, bad_source, domain="local\nx")
    text = str(caught.value)
    for part in (
        *("install_disk", "install_partitions", "install_overwrite", "install_kernel_arguments"),
        *("Kickstart_PrivateGateway", "Kickstart_PrivateDNSServers", "10.9.0.300", "the domain"),
        *("the address of the root archive", "the SHA-256", "there is no authorised key"),
    ):
        assert part in text, part
    assert len(text.splitlines()) == 12


@pytest.mark.parametrize(
    "source",
    [
        SOURCE._replace(installation="short"),
        SOURCE._replace(progress="https://10.9.0.1/x y"),
        SOURCE._replace(profile="ftp://10.9.0.1/x"),
        SOURCE._replace(authorized_keys=(SOURCE_KEY + '\ncommand="id" x',)),
    ],
)
def test_a_bad_source_is_rejected(source: object) -> None:
    with pytest.raises(UserError, match="is not valid"):
        plan_installation(HOST, source)  # type: ignore[arg-type]


def test_more_keys_than_the_installer_reads_are_rejected() -> None:
    """The bound is that of roll/installer/initramfs/lib/plan.sh."""
    assert plan_installation(HOST, SOURCE._replace(authorized_keys=(SOURCE_KEY,) * 8))
    with pytest.raises(UserError, match="9 authorised keys; at most 8"):
        plan_installation(HOST, SOURCE._replace(authorized_keys=(SOURCE_KEY,) * 9))


def test_a_host_without_an_address() -> None:
    with pytest.raises(UserError, match="rocks set host interface ip compute-0-0"):
        plan_installation(replace(HOST, interfaces=()), SOURCE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("smallest", (DiskChoice("smallest", ""),)),
        ("smallest,smallest", (DiskChoice("smallest", ""), DiskChoice("smallest", ""))),
        ("serial=S3Z-1, serial=S3Z-2", (DiskChoice("serial", "S3Z-1"), DiskChoice("serial", "S3Z-2"))),
        ("path=/dev/nvme0n1", (DiskChoice("path", "/dev/nvme0n1"),)),
        ("path=pci-0000:00:1f.2", (DiskChoice("path", "pci-0000:00:1f.2"),)),
    ],
)
def test_disks(text: str, expected: tuple[DiskChoice, ...]) -> None:
    assert read_disks(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "largest", "serial=", "serial=a b", "path=sda", "path=/dev/../sda", "path=/dev/sda;id", "smallest,"]
    + ["smallest,smallest,smallest", "serial=A,serial=A", "smallest;id"],
)
def test_other_disks_are_rejected(text: str) -> None:
    with pytest.raises(UserError):
        read_disks(text)


def test_partitions() -> None:
    assert read_partitions("root:20:ext4:/  swap:2:swap\nvar:8:ext4:/var/lib pool:rest:none") == (
        Partition("root", 19073, "ext4", "/"),
        Partition("swap", 1907, "swap", ""),
        Partition("var", 7629, "ext4", "/var/lib"),
        Partition("pool", None, "none", ""),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no partition has the mount point /"),
        ("swap:1:swap", "no partition has the mount point /"),
        ("root:20", "is not NAME:SIZE"),
        ("root:0:ext4:/", "has the size"),
        ("root:-1:ext4:/", "has the size"),
        ("root:٣:ext4:/", "has the size"),
        ("root:9999999:ext4:/", "has the size"),
        ("root:0000020:ext4:/", "has the size"),
        ("root:rest:ext4:/ swap:1:swap", "not the last one"),
        ("root:20:btrfs:/", "ext4, swap and none are known"),
        ("root:20:ext4:relative", "not an absolute path"),
        ("root:20:ext4:/ x:1:ext4:/a/../b", "not an absolute path"),
        ("root:20:ext4:/ x:1:ext4:/$(id)", "not an absolute path"),
        ("root:20:ext4:/ x:1:ext4:/boot/efi", "belongs to the system"),
        *(
            (f"root:20:ext4:/ x:1:ext4:{place}", "belongs to the system")
            for place in ("/proc/x", "/lib", "/sbin/a/b", "/bin", "/usr", "/etc", "/sys", "/run/x", "/dev")
        ),
        ("root:20:ext4:/ root:1:swap", "the name root"),
        ("root:20:ext4:/ two:1:ext4:/", "the mount point /"),
        ("efi:20:ext4:/", "is not valid"),
        ("Root:20:ext4:/", "is not valid"),
        ("root:20:ext4:/ pool:5:none:/x", "cannot have"),
        ("root:20:ext4:/ " + " ".join(f"p{n}:1:none" for n in range(16)), "at most 16"),
    ],
)
def test_other_partitions_are_rejected(text: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        read_partitions(text)
