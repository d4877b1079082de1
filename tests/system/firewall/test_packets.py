"""Rendered rules in a kernel, and real connections through it."""

import os
import secrets
import select
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from rocks.core.errors import ToolError
from rocks.network.firewall.changes import port_of_service
from rocks.network.firewall.nft import FirewallHost, firewall_file, no_firewall
from rocks.network.firewall.rules import FirewallRule, checked_rule
from tests.patience import patience

from .namespaces import Namespace, join, namespaces

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("nft") is None, reason="nft and namespaces are for root"
)

HOST = FirewallHost("head", {"private": ["eth0"], "public": ["eth1"]}, ["eth0", "br0"], ["10.1.0.9"], 2222)


class Net(NamedTuple):
    """A host between a network inside, where it is 10.1.0.1, and one outside, where it is 203.0.113.1."""

    host: Namespace
    inside: Namespace
    outside: Namespace

    def load(self, *rules: FirewallRule, host: FirewallHost = HOST) -> None:
        """Have these rules alone in force."""
        checked = [checked_rule(rule, port_of_service) for rule in rules]
        self.host.run("nft", "-f", "-", text=firewall_file(host, checked, port_of_service))


def rule(name: str, service: str = "all", protocol: str = "all", **fields: str) -> FirewallRule:
    return FirewallRule(name, service, protocol, **{"chain": "INPUT", "action": "ACCEPT", **fields})


REJECT = rule("R90-ALL", action="REJECT")


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    """Devices and addresses; the two networks have the host as their gateway, which forwards."""
    with namespaces("host", "inside", "outside") as made:
        host, inside, outside = made.values()
        join(host, "eth0", inside, "eth0")
        join(host, "eth1", outside, "eth0")
        host.address("eth0", "10.1.0.1/16")
        host.address("eth1", "203.0.113.1/24")
        inside.address("eth0", "10.1.0.2/16")
        inside.address("eth0", "10.1.0.9/16")
        outside.address("eth0", "203.0.113.2/24")
        inside.run("ip", "route", "add", "default", "via", "10.1.0.1")
        host.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        yield Net(host, inside, outside)


@pytest.fixture(autouse=True)
def without_rules(net: Net) -> Iterator[None]:
    yield
    net.host.run("nft", "-f", "-", text=no_firewall())
    assert "rocks" not in net.host.run("nft", "list", "tables")


def test_what_is_accepted_passes_and_the_rest_does_not(net: Net) -> None:
    with net.host.listen("0.0.0.0", 80), net.host.listen("0.0.0.0", 81):
        assert net.outside.reach("203.0.113.1", 81) == "open"
        net.load(rule("A1", "80", "tcp", network="public"), REJECT)
        assert net.outside.reach("203.0.113.1", 80) == "open"
        assert net.outside.reach("203.0.113.1", 81) == "refused"
        assert net.inside.reach("10.1.0.1", 80) == "refused"
        assert net.host.reach("127.0.0.1", 81) == "open"


def test_the_order_is_that_of_the_names(net: Net) -> None:
    accept, drop = rule("B", "80:90", "tcp"), rule("a", "80", "tcp", action="DROP", flags="-s 203.0.113.0/24")
    with net.host.listen("0.0.0.0", 80):
        net.load(accept, drop, REJECT)
        assert net.outside.reach("203.0.113.1", 80, seconds=0.5) == "silent"
        assert net.inside.reach("10.1.0.1", 80) == "open"
        net.load(accept, drop._replace(name="c"), REJECT)
        assert net.outside.reach("203.0.113.1", 80) == "open"


def test_address_translation(net: Net) -> None:
    """Outside has no route to the network inside: without translation nothing comes back."""
    masquerade = rule("N1", "nat", chain="POSTROUTING", action="MASQUERADE", output_network="public")
    redirect = rule(
        "N2", "8080", "tcp", chain="PREROUTING", action="DNAT", network="public",
        flags="--to-destination 10.1.0.2:80",
    )  # fmt: skip
    with net.outside.listen("203.0.113.2", 80) as far, net.inside.listen("10.1.0.2", 80):
        assert net.inside.reach("203.0.113.2", 80, seconds=0.5) != "open"
        net.load(masquerade, redirect)
        assert net.inside.reach("203.0.113.2", 80) == "open"
        far.settimeout(120)
        assert far.accept()[1][0] == "203.0.113.1"
        assert net.outside.reach("203.0.113.1", 8080) == "open"


def test_forwarding(net: Net) -> None:
    masquerade = rule("N1", "nat", chain="POSTROUTING", action="MASQUERADE", output_network="public")
    refuse = rule(
        "R1", "80", "tcp", chain="FORWARD", action="REJECT", network="private", output_network="public"
    )
    with net.outside.listen("203.0.113.2", 80), net.outside.listen("203.0.113.2", 81):
        net.load(masquerade, refuse)
        assert net.inside.reach("203.0.113.2", 80) == "refused"
        assert net.inside.reach("203.0.113.2", 81) == "open"


def test_the_ssh_of_the_frontend_is_never_refused(net: Net) -> None:
    """10.1.0.9 is the frontend, 2222 the host's port of SSH."""
    with net.host.listen("0.0.0.0", 2222):
        net.load(rule("A0", action="DROP"), rule("A0", chain="OUTPUT", action="DROP"))

        def connect() -> str:
            with socket.create_connection(("10.1.0.1", 2222), 2, source_address=("10.1.0.9", 0)):
                return "open"

        assert net.inside.act(connect) == "open"
        assert net.inside.reach("10.1.0.1", 2222, seconds=0.5) == "silent"


def test_an_open_ssh_connection_stays_that_began_before_the_first_rule(net: Net) -> None:
    """The kernel has no record of it then, and the other side speaks first."""
    with net.host.listen("0.0.0.0", 2222) as server:
        client = net.outside.act(lambda: socket.create_connection(("203.0.113.1", 2222), 2))
        accepted, _ = server.accept()
        with client, accepted:
            net.load(rule("A0", action="REJECT", flags="--reject-with tcp-reset", protocol="tcp"), REJECT)
            client.sendall(b"a command")
            accepted.settimeout(120)
            assert accepted.recv(100) == b"a command"
            accepted.sendall(b"its output")
            client.settimeout(120)
            assert client.recv(100) == b"its output"
            assert net.outside.reach("203.0.113.1", 2222) == "refused"


def test_a_rule_of_a_network_that_the_host_does_not_have_opens_nothing(net: Net) -> None:
    with net.host.listen("0.0.0.0", 80):
        net.load(rule("A1", network="storage"), REJECT)
        assert net.outside.reach("203.0.113.1", 80) == "refused"


def test_tables_of_others_stay(net: Net) -> None:
    net.host.run("nft", "-f", "-", text="table ip libvirt_network { chain a { tcp dport 1 drop; }\n}\n")
    before = net.host.run("nft", "list", "table", "ip", "libvirt_network")
    net.load(REJECT)
    net.load(REJECT)
    assert net.host.run("nft", "list", "table", "ip", "libvirt_network") == before
    net.host.run("nft", "delete", "table", "ip", "libvirt_network")


@pytest.mark.parametrize("filtered", ["0", "1"])
def test_frames_of_guests_on_a_bridge_are_not_filtered(net: Net, filtered: str) -> None:
    """Even where the kernel has them filtered, which a profile forbids: rules of the host's name its networks."""
    setting = "/proc/sys/net/bridge/bridge-nf-call-iptables"
    with namespaces("one", "two") as guests:
        net.host.run("ip", "link", "add", "br0", "type", "bridge")
        net.host.run("ip", "link", "set", "br0", "up")
        for name, guest in guests.items():
            join(net.host, name, guest, "eth0")
            net.host.run("ip", "link", "set", name, "master", "br0", "up")
            guest.address("eth0", f"10.9.0.{len(name)}{1 if name == 'one' else 2}/24")
        try:
            net.host.run("sh", "-c", f"[ ! -e {setting} ] || echo {filtered} >{setting}")
            refuse = (REJECT, rule("R1", chain="FORWARD", action="DROP"))
            with guests["two"].listen("10.9.0.32", 80):
                net.load(*refuse)
                assert guests["one"].reach("10.9.0.32", 80) == "open"
                if filtered == "1" and net.host.run("cat", setting) == "1\n":
                    net.load(*refuse, host=HOST._replace(bridges=()))
                    assert guests["one"].reach("10.9.0.32", 80, seconds=0.5) == "silent", "nothing is proven"
        finally:
            # the kernel removes the pairs some time after the namespaces of their other ends
            for device in ("br0", *guests):
                net.host.run("ip", "link", "delete", device)


def test_frames_of_a_guest_on_a_macvtap_device_are_not_filtered(net: Net) -> None:
    """The kernel hands them to the device below the host's tables."""
    mac = "52:54:00:00:00:77"
    # /dev/tapNUMBER is one file for all network namespaces: another test's device must not have this number
    number = str(10_000 + secrets.randbelow(10**6))
    try:
        net.host.run(
            *("ip", "link", "add", "link", "eth0", "name", "tap0", "index", number, "address", mac),
            *("type", "macvtap"),
        )
    except ToolError as error:
        pytest.skip(f"the kernel makes no macvtap device: {error}")
    net.host.run("ip", "link", "set", "tap0", "up")
    try:
        path = Path(f"/dev/tap{number}")
        if not path.exists():
            pytest.skip(f"there is no {path}")
        net.load(
            REJECT, rule("R1", chain="FORWARD", action="DROP"), rule("R2", chain="OUTPUT", action="DROP")
        )
        net.inside.run("ip", "neighbour", "add", "10.1.0.77", "lladdr", mac, "dev", "eth0")
        tap = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        try:

            def send() -> None:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                    sender.sendto(b"to the guest", ("10.1.0.77", 9))

            net.inside.act(send)
            assert b"to the guest" in _frames(tap)
        finally:
            os.close(tap)
    finally:
        net.host.run("ip", "link", "delete", "tap0")


def _frames(tap: int) -> bytes:
    """What the device has, up to the frame of the test."""
    found = b""
    while b"to the guest" not in found and select.select([tap], [], [], patience(30))[0]:
        found += os.read(tap, 65536)
    return found


def test_texts_of_operators_stay_comments(net: Net) -> None:
    names = [
        "x\\",
        'A" accept; #',
        "$(touch /tmp/x)",
        "a } chain b { accept",
        'include "/etc/passwd"',
        "@x",
        "*/",
    ]
    rules = [rule(name, comment=f"{name} ü \\", action="DROP", protocol="tcp") for name in names]
    net.load(*rules)
    listed = net.host.run("nft", "list", "chain", "inet", "rocks_filter", "input")
    assert listed.count("drop") == len(names)
    assert listed.count("accept") == 5 + listed.count("policy accept")


def test_ten_thousand_rules(net: Net) -> None:
    many = [rule(f"A{number:05}", str(number + 1), "tcp", network="public") for number in range(10_000)]
    with net.host.listen("0.0.0.0", 10_000), net.host.listen("0.0.0.0", 10_001):
        net.load(*many, REJECT)
        assert net.outside.reach("203.0.113.1", 10_000) == "open"
        assert net.outside.reach("203.0.113.1", 10_001) == "refused"
