"""Names that a person probably mistyped."""

import pytest

from rocks.core.near_names import did_you_mean
from rocks.inventory.attributes.known import KNOWN
from rocks.inventory.attributes.rules import near_miss
from rocks.site.first_rows import FIRST_ATTRIBUTES


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("vm_fliter", "vm_filter"),
        ("vm_filte", "vm_filter"),
        ("vm_filterr", "vm_filter"),
        ("VM-FILTER", "vm_filter"),
        ("vmfilter", "vm_filter"),
        ("img_storage_pool", "imgstorage-pool"),
        ("imgstorage_pool", "imgstorage-pool"),
        ("kmv", "kvm"),
        ("kvm_autostrat", "kvm_autostart"),
        ("kvm_cpu_pining", "kvm_cpu_pinning"),
        ("kvm_hugepgaes", "kvm_hugepages"),
        ("ssh_prot", "ssh_port"),
        ("Kickstart_PublicGatway", "Kickstart_PublicGateway"),
        ("vm_image_directoy", "vm_image_directory"),
        ("manged", "managed"),
        ("img_strage_pool", "imgstorage-pool"),
        ("img_strge_pool", "imgstorage-pool"),
    ],
)
def test_a_name_that_is_nearly_one_that_the_system_reads(name: str, meant: str) -> None:
    assert near_miss(name) == meant


@pytest.mark.parametrize(
    "name",
    [
        *(
            "colour",
            "motd",
            "args",
            "a",
            "x",
            "kvn",
            "lvm",
            "ah",
            "has",
            "rank",
            "rack",
            "os",
            "arch",
            "version",
        ),
        *("nas_service", "imgstorage", "dns_servers"),
        *("kvm_device_1", "kvm_device_12", "vm_image2", "ssh_port_2", "vm_filter_old", "vm_fliter_old"),
        *("Kickstart_PrivateNTPHost", "Kickstart_PublicAddress", "Kickstart_PublicHostname"),
        "x" * 120,
    ],
)
def test_names_of_the_site_are_free(name: str) -> None:
    assert near_miss(name) is None


def test_no_name_that_the_system_reads_or_begins_with_is_refused() -> None:
    first = [name for values in FIRST_ATTRIBUTES.values() for name in values]
    assert [name for name in (*KNOWN, *first) for spelled in (name, name.upper()) if near_miss(spelled)] == []


def test_the_question_of_an_error() -> None:
    assert did_you_mean("vcl", ["vc1", "head"]) == "did you mean vc1? "
    assert did_you_mean("privat", ["vc1", "private"]) == "did you mean private? "
    assert did_you_mean("zzz", ["vc1"]) == ""
