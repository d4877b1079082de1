"""The form of the attributes that the system reads."""

import re

import pytest

from rocks.core.errors import UserError
from rocks.inventory.attributes.forms import check_form
from rocks.inventory.attributes.known import KNOWN

ANY_TEXT = {
    "vm_vc_out",
    "vm_disk_clone_of",
    *(
        "vm_fence_command",
        "ib_opensm_reload",
        "cpu_mode",
        "kvm_device_0",
        "release",
        "comment",
        "ipmi_password",
        "power_command",
        "vm_cluster_key",
    ),
}
"""Attributes whose reader takes any text, or whose text only its host can judge."""

VALID = [
    ("kvm", "yes"),
    ("kvm_autostart", "true"),
    ("managed", "no"),
    ("ssh_port", "22"),
    ("vm_image_directory", "/state/disks"),
    ("vm_image_directories", "/a, /b c"),
    ("vm_disk_devices", "/dev/sdb, /dev/mapper/guests-*"),
    ("vm_image_erase", "overwrite"),
    ("vm_mac_base_addr", "76:77:6e:80:00:00"),
    ("vm_mac_base_addr_mask", "ff:ff:ff:c0:00:00"),
    ("vlan_transport", "local"),
    ("vm_filter", "off"),
    ("vm_ipv6", "2001:db8::9, 2001:db8::a"),
    ("vm_vlan_pool", "100-199,300"),
    ("ib_pkey_pool", "0x0002-0x00ff"),
    ("ib_default_membership", "limited"),
    ("ib_sm", "virtual"),
    ("kvm_cpu_pinning", "pin_all"),
    ("kvm_cpu_pinning", "<emulatorpin cpuset='1'/>"),
    ("cpu_mode", "EPYC-Rome-v2"),
    ("cpu_mode", "custom:<model>qemu64</model>"),
    ("kvm_cpu_pinning", "numa"),
    ("kvm_cpu_pinning", "<vcpupin vcpu='0' cpuset='1'/>"),
    ("kvm_queues", "cpus"),
    ("img_zpools", "tank, fast"),
    ("img_zpool_disks", "/dev/sdb /dev/sdc /dev/sdd /dev/disk/by-id/x"),
    ("vm_container_zpool_disks", "/dev/disk/by-partlabel/pool"),
    ("imgstorage-workers", "2"),
    ("RABBITMQ_Server", "mq.example.org"),
    ("RABBITMQ_Server", "10.1.1.9"),
    ("Kickstart_PublicDNSServers", "198.51.100.7,198.51.100.8"),
    ("vm_memory_reserve_old", "any text"),
    ("an_attribute_of_the_site", "any text"),
]


@pytest.mark.parametrize(("name", "value"), VALID)
def test_a_value_that_its_reader_accepts(name: str, value: str) -> None:
    assert check_form(name, value) is None  # type: ignore[func-returns-value]


def refusal(name: str, value: str) -> str:
    """The message with which the value is refused, empty when it is accepted."""
    try:
        check_form(name, value)
    except UserError as error:
        return str(error)
    return ""


def test_every_attribute_that_is_read_refuses_a_text_that_means_nothing() -> None:
    messages = {name: refusal(name, "zz %") for name in sorted(set(KNOWN) - ANY_TEXT)}
    assert {
        name: message
        for name, message in messages.items()
        if not re.search(f'^the attribute {name} (cannot have|must be) .*"zz %"', message)
    } == {}


def test_the_default_of_every_attribute_has_its_form() -> None:
    defaults = {name: KNOWN[name].default for name in sorted(set(KNOWN) - ANY_TEXT)}
    assert [message for name, value in defaults.items() if value and (message := refusal(name, value))] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vm_mac_base_addr", "zz"),
        ("vm_mac_base_addr", "6:77:6e:80:0"),
        ("vm_mac_base_addr_mask", "00:ff:ff:c0:00:00"),
        ("vm_vlan_pool", "0-5000"),
        ("ssh_port", "70000"),
        ("ssh_port", "abc"),
        ("vm_memory_reserve", "-1"),
        ("KVM", "maybe"),
        ("managed", "yes"),
        ("kvm_autostart", "True"),
        ("vm_filter", "no"),
        ("imgstorage-workers", "0"),
        ("img_zpools", "tank,mirror"),
        ("vm_ipv6", "fe80::1%eth0"),
        ("vm_image_directory", "/a/../b"),
        ("Kickstart_PublicGateway", "203.0.113.300"),
        ("vm_pinned_cpus", "3-1"),
        ("vm_pinned_cpus", "0-99999999999"),
        ("vm_pinned_cpus", "a"),
        ("vm_pinned_cpus", "1,,2"),
        ("vm_hugepages", "4M:3"),
        ("vm_hugepages", "2M"),
        ("vm_hugepages", "2M:1@0 2M:2@0"),
        ("vm_hugepages", "2M:1 2M:2@0"),
        ("vm_hugepages", "2M:1@x; reboot"),
        ("vm_pci_pools", "gpu"),
        ("vm_pci_pools", "gpu:0000:3b:00.8"),
        ("vm_pci_pools", "gpu:../../x"),
        ("vm_pci_pools", "gpu:3b:00.0,0000:3b:00.0"),
        ("vm_pci_pools", "gpu:3b:00.0 GPU:3b:00.1"),
        ("kvm_pci_devices", "gpu:0"),
        ("kvm_pci_devices", "gpu:99"),
        ("kvm_pci_devices", "a'b"),
        ("kvm_hugepages", "2m"),
        ("kvm_queues", "0"),
        ("kvm_queues", "257"),
        ("kvm_iothreads", "-1"),
        ("kvm_watchdog", "explode"),
        ("kvm_discard", "perhaps"),
        ("kvm_cpu_pinning", "pinall"),
        ("cpu_mode", "host passthrough"),
        ("cpu_mode", "<cpu/>"),
    ],
)
def test_what_cannot_be_read_is_not_stored(name: str, value: str) -> None:
    with pytest.raises(UserError, match=f"the attribute {name} (cannot have the value|must be)"):
        check_form(name, value)


def test_a_number_is_named_once() -> None:
    with pytest.raises(UserError) as error:
        check_form("ssh_port", "abc")
    assert str(error.value) == 'the attribute ssh_port must be an integer from 1 to 65535, not "abc"'
    for name in ("vm_vlan_pool", "ib_pkey_pool"):
        with pytest.raises(UserError) as error:
            check_form(name, "abc")
        assert str(error.value).count(name) == str(error.value).count("abc") == 1


def test_the_form_of_a_row_for_people() -> None:
    assert [KNOWN[name].form_text for name in ("ssh_port", "packaging", "kvm", "comment")] == [
        "1 to 65535",
        "deb or rpm",
        "yes or no",
        "text",
    ]
