"""The libvirt document: text is escaped, six blocks can be changed, a lease is set. Whole documents: tests/golden."""

from __future__ import annotations

from dataclasses import replace
from string import ascii_lowercase

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from rocks.core.errors import StateError, UserError
from rocks.inventory.records import BootAction, Disk, VirtualMachine
from rocks.machine.domain import FILTER_NAMES, LEASE_NAMESPACE, Filter, InstallBoot, domain_lines, with_lease
from rocks.machine.placement import LIBVIRT_CPU_MODES
from rocks.network.guest_connections import Bridged
from tests.unit.machines import machine

LEASE = f"metadata/{{{LEASE_NAMESPACE}}}lease"
xml_text = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1
)


def parsed(vm: VirtualMachine, install: InstallBoot | None = None) -> etree._Element:
    """The parsed document."""
    return etree.fromstring("\n".join(domain_lines(vm, [], install)))


def tags(lines: list[str]) -> list[str]:
    """The first tag of each line."""
    return [line.strip().lstrip("<").partition(">")[0].partition(" ")[0].removesuffix("/") for line in lines]


@given(path=xml_text, cdrom=xml_text)
def test_any_path_survives_in_the_document(path: str, cdrom: str) -> None:
    document = parsed(machine(disks=[Disk("file", "/a", path, "vda", "virtio", 1)], cdrom_path=cdrom))
    disk, cd = document.findall("devices/disk/source")
    assert disk.get("file") == f"/a/{path}"
    assert (cd.get("file") or cd.get("dev")) == cdrom


@given(kernel=xml_text, ramdisk=xml_text, arguments=xml_text)
def test_any_boot_action_survives_in_the_document(kernel: str, ramdisk: str, arguments: str) -> None:
    document = parsed(machine(), InstallBoot(BootAction("a", kernel, ramdisk, arguments)))
    found = [document.findtext(f"os/{tag}") for tag in ("kernel", "initrd", "cmdline")]
    assert found == [kernel, ramdisk, arguments]


@given(mode=xml_text.filter(lambda text: ":" not in text and text not in LIBVIRT_CPU_MODES))
def test_any_cpu_mode_that_libvirt_does_not_have_is_a_model(mode: str) -> None:
    cpu = parsed(machine(attributes={"cpu_mode": mode})).find("cpu")
    assert cpu is not None and cpu.get("mode") == "custom" and cpu.findtext("model") == mode


@pytest.mark.parametrize("mode", LIBVIRT_CPU_MODES)
def test_a_cpu_mode_of_libvirt_is_an_attribute(mode: str) -> None:
    cpu = parsed(machine(attributes={"cpu_mode": mode})).find("cpu")
    assert cpu is not None and (cpu.get("mode"), len(cpu)) == (mode, 0)


@pytest.mark.parametrize("character", ["\0", "\x01", "\x1b", "\x7f\x0b", "\ufffe", "\ud800"])
def test_text_that_xml_cannot_contain_raises_an_error_of_one_line(character: str) -> None:
    disk = Disk("file", "/a", f"b{character}c", "vda", "virtio", 1)
    with pytest.raises(
        UserError, match="the source of a domain cannot contain control characters"
    ) as refused:
        domain_lines(machine(disks=[disk]), [])
    assert str(refused.value).isprintable()


def test_an_unknown_type_of_disk_raises_an_error() -> None:
    with pytest.raises(UserError, match=r"^Disk type is not valid\. Please see rocks help add host vm\.$"):
        domain_lines(machine(disks=[Disk("vhd", "/a", "b", "vda", "virtio", 1)]), [])


def test_no_cdrom_beside_four_ide_disks() -> None:
    disks = [f"file:/{letter},hd{letter},ide" for letter in "abcd"]
    with pytest.raises(UserError, match="web has no free IDE device for its cdrom"):
        domain_lines(machine(disks=disks, cdrom_path="/x.iso"), [])


def test_disks_with_the_same_device_get_all_letters() -> None:
    disks = [Disk("file", "/a", str(number), "sda", "scsi", 1) for number in range(26 + 26 * 26)]
    document = parsed(machine(disks=disks))
    targets = [target.get("dev") for target in document.findall("devices/disk/target")]
    assert len(set(targets)) == len(disks)
    assert targets[:2] == ["sda", "sdb"] and targets[26] == "sdaa"
    with pytest.raises(UserError, match="too many disks have the device sda"):
        domain_lines(machine(disks=[*disks, replace(disks[0], name="x")]), [])


@given(
    st.lists(
        st.sampled_from([f"{series}{letter}" for series in ("vd", "xvd") for letter in "abc"]), max_size=6
    )
)
def test_every_disk_has_its_own_target_and_the_first_keeps_its_device(hints: list[str]) -> None:
    disks = [Disk("file", "/a", str(number), hint, "virtio", 1) for number, hint in enumerate(hints)]
    document = parsed(machine(disks=disks))
    targets = [target.get("dev") for target in document.findall("devices/disk/target")]
    assert len(set(targets)) == len(hints)
    for hint in set(hints):
        assert targets[hints.index(hint)] == hint


def test_a_device_with_an_unknown_name_stays() -> None:
    """Rows may come from an older database."""
    disks = [Disk("file", "/a", name, "ubd9", "virtio", 1) for name in ("b", "c")]
    targets = parsed(machine(disks=disks)).findall("devices/disk/target")
    assert [target.get("dev") for target in targets] == ["ubd9", "ubda"]


@pytest.mark.parametrize(
    ("values", "devices"),
    [
        (("no", "No", "n", "false", "off", "0"), ["cdrom", "hd"]),
        (("yes", "true", "", "nonsense"), ["cdrom", "network", "hd"]),
    ],
)
def test_the_network_is_in_the_boot_order_unless_it_is_omitted(
    values: tuple[str], devices: list[str]
) -> None:
    for value in values:
        boot = parsed(machine(attributes={"kvm_netboot": value}, cdrom_path="/x.iso")).findall("os/boot")
        assert [element.get("dev") for element in boot] == devices, value


def test_memory_is_in_kib_without_a_unit() -> None:
    (memory,) = parsed(machine(memory_mb=1024)).findall("memory")
    assert (memory.text, memory.keys()) == ("1048576", [])


@pytest.mark.parametrize(
    ("install", "arguments"),
    [
        (InstallBoot(BootAction("a", None, None, None)), ""),
        (InstallBoot(BootAction("a", None, None, "ks"), ip="192.0.2.1"), "ks ip=192.0.2.1 "),
        (
            InstallBoot(BootAction("a", None, None, "ksdevice=eth1 x"), "1", "2", "3", "4", "m:m"),
            "ksdevice=m:m x ip=1  netmask=2  dns=3  gateway=4 ",
        ),
        (InstallBoot(BootAction("a", None, None, "ksdevice=eth1"), gateway="4"), "ksdevice=eth1 gateway=4 "),
    ],
)
def test_a_frontends_installer_gets_the_address_of_its_public_interface(
    install: InstallBoot, arguments: str
) -> None:
    assert install.command_line(is_frontend=True) == arguments
    assert install.command_line(is_frontend=False) == (install.action.arguments or "")


BLOCKS = {
    "bootloader": ["os", "type", "boot", "boot", "bootmenu", "/os"],
    "cpumem": ["memory", "vcpu", "features", "acpi", "apic", "pae", "/features"],
    "interface": ["interface", "source", "mac", "model", "/interface"],
    "disk": ["disk", "driver", "source", "target", "/disk"],
}
SERIAL = ["serial", "log", "target", "/serial"]
GRAPHICS = ["graphics", "listen", "/graphics"]
CONSOLE = ["console", "target", "/console"]
OTHERS = [*("rng", "backend", "/rng"), *("channel", "target", "/channel"), *SERIAL, *GRAPHICS, *CONSOLE]
BLOCKS["device"] = ["devices", "emulator", *BLOCKS["interface"], *BLOCKS["disk"], *OTHERS, "/devices"]
BLOCKS["global"] = ["domain", "name", *BLOCKS["bootloader"], *BLOCKS["cpumem"], *BLOCKS["device"], "/domain"]


@pytest.mark.parametrize("name", FILTER_NAMES)
def test_a_filter_replaces_its_block(name: str) -> None:
    seen: list[str] = []

    def change(lines: list[str]) -> list[str]:
        seen.extend(lines)
        return [f"<!-- {name} -->"]

    connections = [Bridged("52:54:00:00:00:01", "eth0")]
    unchanged = domain_lines(machine(), connections)
    changed = domain_lines(machine(), connections, None, {name: change})
    assert tags(seen) == BLOCKS[name]
    assert len(changed) == len(unchanged) - len(seen) + 1
    assert changed.index(f"<!-- {name} -->") == unchanged.index(seen[0])


def test_the_disk_filter_gets_the_cdrom_too() -> None:
    lines = domain_lines(machine(cdrom_path="/x.iso"), [], None, {"disk": lambda lines: lines[:0]})
    assert not [line for line in lines if "<disk" in line]


def test_outer_filters_get_the_result_of_inner_filters() -> None:
    filters: dict[str, Filter] = {
        "disk": lambda lines: ["<one/>"],
        "device": lambda lines: [line.replace("one", "two") for line in lines],
        "global": lambda lines: [line.replace("two", "three") for line in lines],
    }
    assert "<three/>" in domain_lines(machine(), [], None, filters)


def test_the_lease_is_in_the_metadata_once() -> None:
    lines = domain_lines(machine(), [])
    once = etree.fromstring(with_lease(lines, 7))
    again = etree.fromstring(with_lease(with_lease(lines, 7).splitlines(), 8))
    assert [lease.get("token") for lease in once.findall(LEASE)] == ["7"]
    assert [lease.get("token") for lease in again.findall(LEASE)] == ["8"]
    assert len(again.findall("metadata")) == 1


def test_metadata_of_others_stays() -> None:
    lines = ["<domain><metadata><site:owner xmlns:site='urn:site'>blue</site:owner></metadata></domain>"]
    document = etree.fromstring(with_lease(lines, 7))
    assert document.findtext("metadata/{urn:site}owner") == "blue"
    assert document.find(LEASE) is not None


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [""],
        ["<domain>"],
        ["<domain><a></b></domain>"],
        ["<domain>&nothing;</domain>"],
        ["no xml"],
        ["<a/><b/>"],
    ],
)
def test_an_invalid_document_raises_an_error_of_one_line(lines: list[str]) -> None:
    with pytest.raises(StateError, match="the domain document is not well-formed XML") as refused:
        with_lease(lines, 7)
    assert "\n" not in str(refused.value)


def test_parsing_a_document_reads_no_file_and_no_network() -> None:
    lines = [
        '<!DOCTYPE domain [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        "<domain><name>&x;</name></domain>",
    ]
    assert "root" not in with_lease(lines, 7)


@given(st.text(ascii_lowercase + "<>&'\"/= \n", max_size=30))
def test_any_raw_attribute_gives_a_document_or_one_line(text: str) -> None:
    vm = machine(attributes={"kvm_device_0": text, "HVM_Features": text, "kvm_cpu_pinning": text})
    lines = domain_lines(vm, [])
    assert all("\n" not in line for line in lines)
    try:
        etree.fromstring(with_lease(lines, 7))
    except (StateError, UserError) as error:
        assert "\n" not in str(error)


UEFI = (
    "<os firmware='efi'><type>hvm</type></os>",
    "<os><type>hvm</type><loader readonly='yes' type='pflash'>/x/OVMF_CODE_4M.fd</loader></os>",
    "<os><loader type='pflash'>/x</loader><nvram template='/x/OVMF_VARS_4M.fd'/></os>",
)


@pytest.mark.parametrize("system", UEFI)
def test_a_namesake_gets_no_firmware_variables_of_a_former_machine(system: str) -> None:
    """The file has the machine's UUID, as its disks have; a former machine's boot entries and keys are not its own."""
    document = etree.fromstring(with_lease([f"<domain><name>vm</name>{system}</domain>"], 7, uuid="1-2"))
    assert document.findtext("os/nvram") == "/var/lib/libvirt/qemu/nvram/1-2_VARS.fd"
    again = etree.fromstring(with_lease([etree.tostring(document, encoding="unicode")], 8, uuid="1-2"))
    assert again.findtext("os/nvram") == "/var/lib/libvirt/qemu/nvram/1-2_VARS.fd"


@pytest.mark.parametrize(
    "system",
    [
        "<os><type>hvm</type></os>",
        "<os><loader type='rom'>/x</loader></os>",
        "<os firmware='bios'/>",
        "<os firmware='efi'><nvram>/site/own.fd</nvram></os>",
        "",
    ],
)
def test_other_firmware_and_a_file_of_the_site_stay(system: str) -> None:
    document = etree.fromstring(with_lease([f"<domain><name>vm</name>{system}</domain>"], 7, uuid="1-2"))
    assert "1-2_VARS" not in etree.tostring(document, encoding="unicode")
    assert document.findtext("os/nvram") in (None, "/site/own.fd")
