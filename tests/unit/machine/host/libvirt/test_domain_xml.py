"""Domain XML as a host reads it and fits it."""

from xml.etree import ElementTree

import pytest

from rocks.core.errors import IncoherentError, UserError
from rocks.fleet.wire.facts import ConsoleFact
from rocks.machine.host.libvirt.domain_xml import (
    emulated,
    parse_domain,
    vf_addresses,
    with_emulator,
    with_vf_addresses,
)

FULL = """<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>vm-a-0</name>
  <uuid>94769723-025e-4ee3-9de0-a67ed14efa1f</uuid>
  <metadata><rocks:lease xmlns:rocks="urn:rocks:lease" token="7"/></metadata>
  <memory unit='KiB'>1048576</memory>
  <vcpu placement='static'>2</vcpu>
  <cpu mode='host-passthrough'><topology sockets='1' cores='2' threads='1'/></cpu>
  <devices>
    <emulator>/usr/libexec/qemu-kvm</emulator>
    <serial type='pty'><source path='/dev/pts/3'/><log file='/var/log/a.log' append='on'/></serial>
    <graphics type='vnc' port='5903' autoport='yes'><listen type='address' address='127.0.0.1'/></graphics>
  </devices>
  <qemu:commandline><qemu:arg value='-S'/></qemu:commandline>
</domain>"""


def test_what_is_read() -> None:
    """Everything a fact or a console needs."""
    document = parse_domain(FULL)
    assert (document.name, document.token, document.memory_mb, document.cpus) == ("vm-a-0", 7, 1024, 2)
    assert document.uuid.startswith("94769723") and document.requires_kvm
    assert document.emulator == "/usr/libexec/qemu-kvm"
    assert document.console == ConsoleFact("/var/log/a.log")
    assert document.listeners == ("vnc 127.0.0.1 port 5903",)


def test_what_is_absent() -> None:
    """A domain of somebody else may have none of it."""
    document = parse_domain(
        "<domain type='qemu'><devices><graphics type='vnc' port='-1'/></devices></domain>"
    )
    assert (document.name, document.token, document.cpus, document.requires_kvm) == ("", None, 1, False)
    assert document.console == ConsoleFact(None, None)
    assert document.emulator is None


@pytest.mark.parametrize(
    ("device", "listeners"),
    [
        ("<graphics type='vnc' socket='/s'><listen type='socket' socket='/s'/></graphics>", ()),
        ("<graphics type='vnc' port='-1'/>", ()),
        ("<graphics type='spice' tlsPort='5901'/>", ("spice any address port 5901",)),
        (
            "<serial type='tcp'><source mode='bind' host='0.0.0.0' service='4555'/></serial>",
            ("serial 0.0.0.0 port 4555",),
        ),
        ("<serial type='tcp'><source mode='connect' host='10.1.1.1' service='4555'/></serial>", ()),
        ("<serial type='pty'/>", ()),
    ],
)
def test_what_the_network_reaches(device: str, listeners: tuple[str, ...]) -> None:
    """A screen or a line of a site's own XML may listen on TCP; a unix socket does not."""
    assert parse_domain(f"<domain><devices>{device}</devices></domain>").listeners == listeners


def test_the_socket_of_a_screen() -> None:
    """libvirt chooses its path at the start."""
    text = "<graphics type='vnc' socket='/s'><listen type='socket' socket='/s'/></graphics>"
    console = parse_domain(f"<domain><devices>{text}</devices></domain>").console
    assert console == ConsoleFact(None, "/s")


@pytest.mark.parametrize("token", ["", "-1", "7x", "٧", " 7"])
def test_a_token_is_a_plain_number(token: str) -> None:
    """Anything else is not of this system."""
    text = FULL.replace('token="7"', f'token="{token}"')
    assert parse_domain(text).token is None


def test_emulated_changes_exactly_two_things() -> None:
    """Type and CPU mode; all else is as it was, other namespaces included."""
    before, after = ElementTree.fromstring(FULL), ElementTree.fromstring(emulated(parse_domain(FULL)).text)
    changed = [
        (old.tag, old.attrib, new.attrib)
        for old, new in zip(before.iter(), after.iter(), strict=True)
        if (old.tag, old.attrib, old.text) != (new.tag, new.attrib, new.text)
    ]
    assert changed == [
        ("domain", {"type": "kvm"}, {"type": "qemu"}),
        ("cpu", {"mode": "host-passthrough"}, {"mode": "maximum"}),
    ]
    assert "xmlns:qemu=" in emulated(parse_domain(FULL)).text


def test_emulated_adds_no_cpu() -> None:
    """A domain without a CPU element gets libvirt's own choice in either case."""
    assert parse_domain(emulated(parse_domain("<domain type='kvm'/>")).text).root.find("cpu") is None


def test_another_emulator() -> None:
    """Only that path changes, and only where there is one."""
    document = with_emulator(parse_domain(FULL), "/usr/bin/qemu-system-x86_64")
    assert parse_domain(document.text).emulator == "/usr/bin/qemu-system-x86_64"
    assert with_emulator(parse_domain("<domain/>"), "/x").emulator is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no element found"),
        ("<domain>", "no element found"),
        ("<network/>", "root of the domain XML is 'network', not 'domain'"),
        ("<domain>&bad;</domain>", "undefined entity"),
        ("<!DOCTYPE domain><domain/>", "a document type declaration is not allowed"),
        ('<!DOCTYPE d [<!ENTITY a "x">]><domain>&a;</domain>', "a document type declaration is not allowed"),
        (
            '<!DOCTYPE d SYSTEM "http://127.0.0.1/d.dtd"><domain/>',
            "a document type declaration is not allowed",
        ),
        ("<domain>\ud800</domain>", "surrogates"),
        ("<domain>\0</domain>", "not well-formed"),
    ],
)
def test_what_cannot_be_read(text: str, message: str) -> None:
    """One clear line, and no entity is ever expanded."""
    with pytest.raises(UserError, match=message):
        parse_domain(text)


WITH_FUNCTION = FULL.replace(
    "<serial",
    "<interface type='hostdev' managed='yes'><mac address='52:54:00:AA:00:01'/></interface>"
    "<interface type='bridge'><mac address='52:54:00:aa:00:02'/></interface><serial",
)


def test_virtual_functions_get_their_addresses() -> None:
    """And only those; once more gives the same, with the addresses that are new."""
    document = parse_domain(WITH_FUNCTION)
    assert vf_addresses(document) == {"52:54:00:aa:00:01": "0000:00:00.0"}
    for address in ("0000:01:10.0", "0001:c1:1f.7"):
        document = with_vf_addresses(document, {"52:54:00:aa:00:01": address})
        assert vf_addresses(parse_domain(document.text)) == {"52:54:00:aa:00:01": address}
        assert len(document.root.findall("devices/interface/source")) == 1
    source = document.root.find("devices/interface/source/address")
    assert source.attrib == {
        "type": "pci",
        "domain": "0x0001",
        "bus": "0xc1",
        "slot": "0x1f",
        "function": "0x7",
    }


def test_a_document_without_functions_stays_as_it_is() -> None:
    """To the letter."""
    document = parse_domain(FULL)
    assert with_vf_addresses(document, {}) is document


@pytest.mark.parametrize("addresses", [{}, {"52:54:00:aa:00:02": "0000:01:10.0"}])
def test_functions_that_the_document_does_not_name(addresses: dict[str, str]) -> None:
    """Or that it names and that were not asked for."""
    with pytest.raises(
        IncoherentError, match=r"the XML of vm-a-0 has virtual functions for 52:54:00:aa:00:01"
    ):
        with_vf_addresses(parse_domain(WITH_FUNCTION), addresses)


def test_an_interface_that_a_site_hands_over_by_itself_stays() -> None:
    """By an attribute kvm_device_0, say: it has its address, and no function of the pool is meant."""
    own = WITH_FUNCTION.replace(
        "managed='yes'>", "><source><address type='pci' domain='0' bus='5' slot='1' function='2'/></source>"
    )
    document = parse_domain(own)
    assert with_vf_addresses(document, {}) is document
    assert vf_addresses(document) == {"52:54:00:aa:00:01": "0000:05:01.2"}
