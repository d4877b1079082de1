"""The XML of a machine that moves while it runs: what it may have, and what it gets on the new host."""

from __future__ import annotations

import pytest

from rocks.core.errors import StateError
from rocks.machine.host.libvirt.device_xml import (
    arriving,
    check_as_recorded,
    check_can_move,
    cpu_of,
    host_cpu_of,
    needs_same_host_cpu,
    targets_of,
)
from rocks.machine.host.libvirt.domain_xml import DiskIdentity, DomainDocument, SenderLimits, parse_domain

DISK = "<disk type='file'><driver type='raw'/><source file='/images/g.vda'/><target dev='vda'/></disk>"
SEED = "<disk type='file'><source file='/images/g.seed'/><target dev='vdb'/><readonly/></disk>"
LINK = (
    "<interface type='bridge'><mac address='76:77:6E:80:00:00'/><source bridge='{}'/>"
    "<target dev='vnet3'/></interface>"
)
LEASE = (
    "<metadata><rocks:lease xmlns:rocks='urn:rocks:lease' token='7'>"
    "<rocks:disk path='/images/g.vda' device='1' inode='2' machine='u'/></rocks:lease></metadata>"
)


def domain(devices: str = DISK, more: str = "", kind: str = "kvm") -> DomainDocument:
    """A document."""
    return parse_domain(
        f"<domain type='{kind}'><name>g</name><uuid>u</uuid>{LEASE}{more}"
        f"<devices><emulator>/old/qemu</emulator>{devices}</devices></domain>"
    )


def test_a_machine_of_raw_files_can_move() -> None:
    document = domain(DISK + SEED)
    check_can_move(document, ["/images/g.vda"])
    assert targets_of(document, ["/images/g.vda"]) == [("vda", "/images/g.vda")]


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (
            domain(
                DISK
                + "<hostdev type='pci'><source><address domain='0' bus='3' slot='0' function='0'/></source></hostdev>"
            ),
            "has the device 0000:03:00.0",
        ),
        (domain(more="<os><nvram>/nvram</nvram></os>"), "UEFI"),
        (domain(DISK.replace("raw", "qcow2")), "of type qcow2"),
        (
            domain(DISK + DISK.replace("g.vda", "other").replace("vda", "vdc")),
            "/images/other, which its record does not have",
        ),
        (domain(SEED), "without the disk /images/g.vda"),
        (domain("<disk type='block'><source dev='/dev/sda'/></disk>"), "/dev/sda, which its record"),
    ],
)
def test_what_stays_on_a_host_is_refused(document: DomainDocument, text: str) -> None:
    with pytest.raises(StateError, match=text) as error:
        check_can_move(document, ["/images/g.vda"])
    assert "move it without live=yes" in str(error.value)


def test_it_is_connected_as_on_the_new_host() -> None:
    screen = (
        "<graphics type='vnc' socket='/var/lib/libvirt/qemu/domain-1-g/vnc.sock'>"
        "<listen type='socket' socket='/var/lib/libvirt/qemu/domain-1-g/vnc.sock'/></graphics>"
    )
    there = domain(DISK + LINK.format("new0"))
    disk = DiskIdentity("/images/g.vda", 5, 6, "u")
    text = arriving(domain(DISK + LINK.format("old0") + screen), there, [disk], "/new/qemu")
    found = parse_domain(text)
    assert [one.source for one in found.interfaces] == ["new0"]
    assert found.disk_identities == (disk,) and found.token == 7
    assert found.emulator == "/new/qemu" and "vnet3" not in text and "vnc.sock" not in text


def filtered(link: str, network: str) -> DomainDocument:
    """A document whose lease has filters."""
    text = domain(DISK + link).text
    return parse_domain(
        text.replace("</rocks:lease>", f"<rocks:network {network}</rocks:network></rocks:lease>")
    )


SENDER = "<rocks:sender mac='76:77:6e:80:00:00' "


@pytest.mark.parametrize(
    ("there", "is_filtered", "limits"),
    [
        (
            f"filter='on'>{SENDER}side='shared' ipv4='203.0.113.9'/>",
            True,
            SenderLimits(True, ("203.0.113.9",)),
        ),
        (f"filter='off'>{SENDER}side='own'/>", False, SenderLimits()),
    ],
)
def test_it_is_filtered_as_on_the_new_host(there: str, is_filtered: bool, limits: SenderLimits) -> None:
    """Whether, and for the network on which it is there: both may differ from those of its start."""
    for here in (f"filter='off'>{SENDER}side='own'/>", f"filter='on'>{SENDER}side='own'/>"):
        start = filtered(LINK.format("new0"), there)
        found = parse_domain(arriving(filtered(LINK.format("old0"), here), start, [], ""))
        assert found.is_filtered is is_filtered
        assert found.senders == {"76:77:6e:80:00:00": limits} and found.token == 7
        assert len(found.root.findall("metadata/*/*")) == 1


def test_an_interface_of_another_type_is_refused() -> None:
    other = LINK.format("x").replace("bridge'>", "direct'>", 1)
    with pytest.raises(StateError, match="76:77:6e:80:00:00 is not of the type bridge"):
        arriving(domain(DISK + LINK.format("old0")), domain(DISK + other), [], "")


def test_cpus_that_must_be_equal() -> None:
    passed = domain(more="<cpu mode='host-passthrough'/>")
    named = domain(more="<cpu mode='custom'><model>Haswell</model></cpu>")
    assert needs_same_host_cpu(passed) and cpu_of(passed) is None
    assert not needs_same_host_cpu(named) and "Haswell" in (cpu_of(named) or "")
    assert not needs_same_host_cpu(domain(more="<cpu mode='maximum'/>", kind="qemu"))
    one, other = (
        f"<capabilities><host><cpu><arch>x86_64</arch><model>H</model><microcode version='{number}'/>"
        f"<topology sockets='{number}'/><feature name='b'/><feature name='a'/></cpu></host></capabilities>"
        for number in (1, 2)
    )
    assert host_cpu_of(one) == host_cpu_of(other) != ""
    assert host_cpu_of(one) != host_cpu_of(other.replace("name='a'", "name='c'"))


def test_what_a_start_there_has_arrives() -> None:
    """Also with what libvirt adds to a domain that runs, and with the site's own arguments for QEMU."""
    own = (
        "<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
        "<qemu:arg value='-s'/></qemu:commandline>"
    )
    running = DISK.replace("</disk>", "<backingStore/><alias name='virtio-disk0'/></disk>")
    empty = "<disk type='file' device='cdrom'><target dev='hdc'/></disk>"
    start = domain(DISK + SEED + LINK.format("new0") + "<filesystem/>", own)
    check_as_recorded(domain(running + SEED + empty + LINK.format("old0") + "<filesystem/>", own), start)


@pytest.mark.parametrize(
    ("devices", "more", "text"),
    [
        ("<hostdev type='usb'/>", "", "a device of its host"),
        ("<interface type='hostdev'/>", "", "a device of its host"),
        (SEED.replace("g.seed", "shadow"), "", r"its disk vdb \(/images/shadow\) is none that it has"),
        (SEED.replace("vdb", "vdc"), "", r"its disk vdc \(/images/g.seed\) is none"),
        (SEED.replace("type='file'", "type='network'"), "", r"its disk vdb \(network\) is none"),
        (
            SEED.replace("<source", "<driver type='qcow2'/><source"),
            "",
            "its disk vdb is no raw image without others below it",
        ),
        (
            SEED.replace("</disk>", "<backingStore type='file'><source file='/x'/></backingStore></disk>"),
            "",
            "its disk vdb is no raw image without others below it",
        ),
        ("<filesystem><source dir='/'/></filesystem>", "", "the device filesystem"),
        (
            "",
            "<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><q:arg value='-x'/></q:commandline>",
            "commandline for its QEMU",
        ),
    ],
)
def test_what_reaches_the_new_host_is_refused_unless_a_start_has_it(
    devices: str, more: str, text: str
) -> None:
    """The document is that of the old host, whose root may have changed it."""
    with pytest.raises(StateError, match=text):
        check_as_recorded(domain(DISK + devices, more), domain(DISK + SEED))
