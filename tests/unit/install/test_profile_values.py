"""Values of node files besides attributes: pools and their disks, the distribution, the storage network."""

from dataclasses import replace

import pytest

from rocks.core.errors import StateError, UserError
from rocks.install.profile_values import (
    ServedDistribution,
    check_pool_disks,
    distribution_values,
    effective_attributes,
    network_value,
    pool_values,
    split_values,
)
from rocks.inventory.records import Host, Network
from tests.install_plans import HOST


def host(**attributes: str) -> Host:
    return replace(HOST, attributes=attributes)


def test_roles_are_conditions_and_what_is_set_wins() -> None:
    found = effective_attributes(host(appliance="nas", packaging="rpm"))
    assert (found["img_storage_nas"], found["img_storage_vm"], found["packaging"]) == ("true", "false", "rpm")
    found = effective_attributes(host(appliance="frontend"))
    assert (found["img_storage_nas"], found["img_storage_vm"]) == ("false", "false")
    found = effective_attributes(host(appliance="nas", img_storage_nas="no", img_storage_vm="yes"))
    assert (found["img_storage_nas"], found["img_storage_vm"], found["packaging"]) == ("no", "yes", "deb")


def test_disks_of_a_pool() -> None:
    """One, or mirrors of two; the same disk once."""
    for text, most in (
        ("/dev/sda", 2),
        ("/dev/sda  /dev/disk/by-id/wwn-0x5:1", 2),
        ("/dev/a /dev/b /dev/c /dev/d", 4),
    ):
        check_pool_disks(text, most)
    for text, most, number in (
        ("", 2, "one or two disks"),
        ("/dev/a /dev/b /dev/c", 4, "one disk, or an even number up to 4"),
        ("/dev/a /dev/b /dev/c /dev/d", 2, "one or two disks"),
        ("/dev/a /dev/a", 2, "one or two disks"),
        ("/dev/../etc/passwd", 2, "one or two disks"),
        ("sda", 2, "one or two disks"),
        ("/dev/$(id)", 2, "one or two disks"),
    ):
        with pytest.raises(UserError, match=f"^must be {number}, such as"):
            check_pool_disks(text, most)


def test_pools_and_the_arguments_that_make_them() -> None:
    four = " ".join(f"/dev/{name}" for name in "abcd")
    valid, faults = split_values(
        pool_values(
            host(
                vm_container_zpool="tank",
                img_zpools="a, b,",
                vm_container_zpool_disks="/dev/x",
                img_zpool_disks=four,
            )
        )
    )
    assert faults == {} and valid == {
        "vm_container_zpool": "tank",
        "img_zpools": "a b",
        "vm_container_zpool_layout": "/dev/x",
        "img_zpool_layout": "mirror /dev/a /dev/b mirror /dev/c /dev/d",
    }
    _, faults = split_values(pool_values(host(img_zpools="a,b/c", vm_container_zpool_disks="x")))
    assert "the attribute img_zpools of host compute-0-0 is not valid: " in faults["img_zpools"]
    assert faults["vm_container_zpool_layout"].startswith(
        "the attribute vm_container_zpool_disks of host compute-0-0 must be one or two disks"
    )


def test_where_a_host_finds_its_packages() -> None:
    served = ServedDistribution("10.1.1.1", "rocks-dist/x86_64", "PEM\n", key="KEY\n")
    valid, faults = split_values(distribution_values(served, HOST, "deb"))
    assert faults == {
        "distribution_problem": "the distribution is served",
        "distribution_place": "only the frontend has its distribution on its own disk",
    }
    assert valid == {
        "distribution_url": "https://10.1.1.1/install/distro/rocks-dist/x86_64/Debian",
        "distribution_server": "10.1.1.1",
        "site_authority": "PEM",
        "distribution_key": "KEY",
    }
    valid, faults = split_values(distribution_values(served._replace(key=""), HOST, "rpm"))
    assert valid["distribution_url"].endswith("/rocks-dist/x86_64")
    assert faults["distribution_key"] == "this site signs no distribution"
    for absent in (ServedDistribution(), served._replace(problem="it is damaged")):
        valid, faults = split_values(distribution_values(absent, HOST, "deb"))
        assert valid == ({"distribution_problem": "it is damaged"} if absent.problem else {})
        assert "the frontend has no distribution for host compute-0-0" in faults["distribution_url"]
    own = ServedDistribution(own_folder="/export/rocks/install/rocks-dist/x86_64")
    valid, _ = split_values(distribution_values(own, HOST, "deb"))
    assert valid == {"distribution_place": "/export/rocks/install/rocks-dist/x86_64/Debian"}


def test_the_network_of_image_storage() -> None:
    network = Network("storage", "10.2.0.0", "255.255.0.0", 9000, "stor", False)
    assert network_value(HOST, "stor", network) == "10.2.0.0/16"
    for odd, text in (
        (None, "no network has the zone stor"),
        (replace(network, subnet="10.2.0.1"), "not valid together"),
    ):
        found = network_value(HOST, "stor", odd)
        assert isinstance(found, StateError) and text in str(found)
