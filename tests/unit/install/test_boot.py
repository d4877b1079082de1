"""What a host boots: its actions, the files of the service, dnsmasq's configuration, and who asks."""

import struct
from pathlib import Path

import pytest

from rocks.core.process import run_checked
from rocks.install.boot.discovery import requesting_mac
from rocks.install.boot.files import (
    BootFacts,
    ServedHost,
    boot_file,
    default_file,
    dnsmasq_hosts,
    pxelinux_file,
)
from rocks.install.boot.service import site_files
from rocks.inventory.records import BootAction

_HEAD = (
    "# compute-0-0: action {}. `rocks set host boot` rewrites this file.\n"
    "default rocks\nprompt 0\nlabel rocks\n"
)


def test_local_boot() -> None:
    text = pxelinux_file("compute-0-0", BootAction("os", "localboot 0", None, None), "")
    assert text == _HEAD.format("os") + "  localboot 0\n"


def test_kernel_with_ramdisk_and_arguments() -> None:
    recipe = BootAction("install", "vmlinuz", "initrd.img", "ks")
    text = pxelinux_file("compute-0-0", recipe, "ks ip=10.1.255.254")
    assert (
        text == _HEAD.format("install") + "  kernel vmlinuz\n  append ks ip=10.1.255.254 initrd=initrd.img\n"
    )


def test_a_program_without_arguments() -> None:
    text = pxelinux_file("compute-0-0", BootAction("memtest", "memtest86", None, None), "")
    assert text == _HEAD.format("memtest") + "  kernel memtest86\n"


@pytest.mark.parametrize("name", ["ignore", "infinite"])
def test_a_host_whose_name_dnsmasq_takes_for_its_own_gets_its_address(name: str) -> None:
    """Tried with dnsmasq 2.90: in a line `MAC,ADDRESS,ignore`, it answers the host no more."""
    assert (
        dnsmasq_hosts([ServedHost(name, ("52:54:00:00:00:01",), "10.1.2.254")])
        == "52:54:00:00:00:01,10.1.2.254\n"
    )


def test_a_host_with_several_adapters_is_one_line() -> None:
    """Dnsmasq refuses a second line with the same address."""
    bonded = ServedHost("c-0", ("52:54:00:00:00:01", "52:54:00:00:00:02"), "10.1.2.254")
    assert dnsmasq_hosts([bonded]) == "52:54:00:00:00:01,52:54:00:00:00:02,10.1.2.254,c-0\n"


MAC = bytes.fromhex("525400000009")
PXE = b"\x3c\x20PXEClient:Arch:00000:UNDI:002001"
IPXE = b"\x4d\x04iPXE"


def frame(
    mac: bytes = MAC,
    sender: bytes | None = None,
    options: bytes = b"\x35\x01\x01" + PXE + b"\xff",
    port: int = 67,
    header: bytes = b"\x01\x01\x06\x00",
    cookie: bytes = b"\x63\x82\x53\x63",
    ip_options: bytes = b"",
) -> bytes:
    """A DHCP message in an Ethernet frame."""
    message = header + bytes(24) + mac + bytes(10 + 192) + cookie + options
    udp = struct.pack("!HHHH", 68, port, 8 + len(message), 0) + message
    length = 20 + len(ip_options)
    ip = struct.pack(
        "!BBHHHBBH4s4s", 0x40 + length // 4, 0, length + len(udp), 0, 0, 64, 17, 0, bytes(4), b"\xff" * 4
    )
    return b"\xff" * 6 + (sender or mac) + b"\x08\x00" + ip + ip_options + udp


@pytest.mark.parametrize(
    "data",
    [
        frame(),
        frame(options=b"\0\0" + PXE + b"\x35\x01\x01"),
        frame(options=b"\x35\x01\x01" + IPXE),
        frame(ip_options=bytes(8)),
    ],
)
def test_a_network_boot(data: bytes) -> None:
    assert requesting_mac(data) == "52:54:00:00:00:09"


@pytest.mark.parametrize(
    "data",
    [
        frame(options=b"\x35\x01\x01\xff"),  # not of a network boot: a telephone
        frame(options=b"\x35\x01\x03" + PXE),  # a DHCPREQUEST
        frame(options=b"\x35\x01\x01\xff" + PXE),
        frame(options=b"\x35\x01\x01\x3c\xffPXEClient"),
        frame(options=b"\x35"),
        frame(options=b""),
        frame(sender=bytes.fromhex("525400000008")),
        frame(mac=bytes.fromhex("535400000009")),
        frame(mac=bytes(6), sender=bytes(6)),
        frame(port=68),
        frame(header=b"\x02\x01\x06\x00"),
        frame(cookie=bytes(4)),
        frame(ip_options=bytes(40))[:80],
        b"",
    ],
)
def test_others_are_ignored(data: bytes) -> None:
    assert requesting_mac(data) is None


def test_frames_that_were_cut_off_are_ignored() -> None:
    whole = frame()
    found = {requesting_mac(whole[:length]) for length in range(len(whole))}
    assert found <= {None, "52:54:00:00:00:09"}
    assert all(requesting_mac(whole[:length]) is None for length in range(len(whole) - len(PXE) - 1))


OS = BootAction("os", "localboot 0", None, None)
INSTALL = BootAction("install", "vmlinuz", "initrd.img", "ks kssendmac")
BY_DEVICE = BootAction("install", "vmlinuz", "initrd.img", "ks ksdevice=eth0")
NETWORK = {
    "Kickstart_PrivateGateway": "10.1.1.1",
    "Kickstart_PrivateDNSServers": "10.1.1.1,10.1.1.2",
    "Kickstart_PrivateKickstartHost": "10.1.1.3",
}
COMPUTE = BootFacts(
    "compute-0-0", "Compute", None, OS, INSTALL, INSTALL, "10.1.255.254", "255.255.0.0", NETWORK
)


@pytest.mark.parametrize(("next_boot", "recipe"), [(None, OS), ("os", OS), ("run", OS), ("install", INSTALL)])
def test_next_boot_chooses_the_action(next_boot: str | None, recipe: BootAction) -> None:
    file = boot_file(COMPUTE._replace(next_boot=next_boot))
    assert (file.name, file.recipe) == ("0A01FFFE", recipe)


def test_a_host_without_an_action_has_no_answer() -> None:
    file = boot_file(COMPUTE._replace(run_action=None))
    assert file is not None and file.recipe is None


@pytest.mark.parametrize(
    "other", [{"address": None}, {"membership": "Hosted VM"}, {"membership": "hosted vm"}]
)
def test_what_this_service_does_not_answer(other: dict[str, str | None]) -> None:
    assert boot_file(COMPUTE._replace(**other)) is None  # type: ignore[arg-type] # keys are fields


def test_an_installer_with_a_device_also_gets_its_network() -> None:
    file = boot_file(COMPUTE._replace(next_boot="install", install_action=BY_DEVICE))
    assert file.arguments == (
        "ks ksdevice=eth0 ip=10.1.255.254 gateway=10.1.1.1 netmask=255.255.0.0 dns=10.1.1.1 nextserver=10.1.1.3"
    )


def test_what_the_site_does_not_say_is_left_out() -> None:
    file = boot_file(COMPUTE._replace(next_boot="install", install_action=BY_DEVICE, attributes={}))
    assert file.arguments == "ks ksdevice=eth0 ip=10.1.255.254 netmask=255.255.0.0"


def test_machines_that_nobody_knows_are_installed() -> None:
    file = default_file(COMPUTE._replace(host="head", run_action=OS, install_action=None))
    assert (file.name, file.recipe, file.arguments) == ("default", INSTALL, "ks kssendmac")


def test_cpio_unpacks_it(tmp_path: Path) -> None:
    archive = site_files(b"-----BEGIN CERTIFICATE-----\n", 1_700_000_000)
    run_checked(
        ["busybox", "sh", "-c", 'cd "$0" && busybox gzip -d | busybox cpio -i -d', str(tmp_path)],
        deadline_seconds=10,
        standard_input=archive,
    )
    assert (tmp_path / "installer/site/ca.pem").read_bytes() == b"-----BEGIN CERTIFICATE-----\n"
    assert (tmp_path / "installer/site/time").read_text() == "1700000000\n"
