"""Names of the site: reports, BIND's own checks of them, and a real named that is asked."""

import os
import re
import subprocess  # noqa: TID251 - the service is started and ended as a process
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.core.process import run, run_checked
from rocks.database.connection import Database
from rocks.network.dns import service
from rocks.network.dns.names import serial_of
from tests.system.commands.conftest import Site
from tests.waiting import wait_until

CHECKOUT = Path(__file__).parents[4]
DEVICE, FAR = "names0", "names1"


@pytest.fixture
def tmp_path(entered_by_others: Path) -> Path:
    """The folder of everything, also of the environment's names: named reads them as a user of its own."""
    return entered_by_others


@pytest.fixture
def named_site(vm_site: Site, tmp_path: Path) -> Site:
    """The site with names of all kinds."""
    vm_site.done("set network servedns public yes")
    vm_site.done("add network ib 10.2.16.0 255.255.252.0 dnszone=ib.local servedns=yes")
    vm_site.done("add network dark 192.0.2.0 255.255.255.0 dnszone=dark.example")
    vm_site.done("add host interface vmc-0-0 ib0 ip=10.2.17.9 subnet=ib name=vmc-0-0-ib")
    vm_site.done("add host interface vmc-0-0 eth7 ip=192.0.2.9 subnet=dark")
    vm_site.done("add host node_1 membership=compute rack=1 rank=1")
    vm_site.done("add host interface node_1 eth0 ip=10.1.3.4 subnet=private name=node_1")
    vm_site.done("add host bare-0 membership=compute rack=1 rank=2")
    vm_site.done("add host alias node_1 first")
    vm_site.done("add host alias vmc-0-0 www.example.org")
    (tmp_path / "dns/zones").mkdir(parents=True)
    (tmp_path / "dns-run").mkdir(mode=0o777)
    (tmp_path / "dns-run").chmod(0o777)
    return vm_site


@pytest.fixture
def served(named_site: Site, tmp_path: Path) -> Iterator[Site]:
    """The site with a running named, which the command has become."""
    run_checked(["ip", "link", "add", DEVICE, "type", "veth", "peer", "name", FAR], deadline_seconds=10)
    for address in ("10.1.0.1/16", "203.0.113.2/24"):
        run_checked(["ip", "address", "add", address, "dev", DEVICE], deadline_seconds=10)
    for device in (DEVICE, FAR, "lo"):
        run_checked(["ip", "link", "set", device, "up"], deadline_seconds=10)
    rocks = [str(CHECKOUT / "bin/rocks"), "start", "service", "dns"]
    log = tmp_path / "service-log"
    with log.open("w") as errors:
        process = subprocess.Popen(rocks, env=dict(os.environ), stderr=errors)
    try:
        answer = ""
        for _ in range(300):
            answer = ask("head.local")
            if answer or process.poll() is not None:
                break
            time.sleep(0.1)
        assert answer == "10.1.0.1", log.read_text()
        for zone in (tmp_path / "dns/zones").iterdir():  # it answers before it has read all of them
            wait_until(lambda zone=zone.name: ask(zone, "-t", "SOA"), f"the zone {zone.name}")
        yield named_site
    finally:
        process.kill()
        process.wait()
        run(["ip", "link", "del", DEVICE], deadline_seconds=10)


def ask(name: str, *more: str) -> str:
    """What the server answers, without blanks at its ends."""
    line = ["dig", "+short", "+time=2", "+tries=1", "@10.1.0.1", *more, name]
    return " ".join(
        one for one in run(line, deadline_seconds=20).text.split("\n") if one and not one.startswith(";")
    )


def blocks(report: str) -> dict[str, str]:
    """File name → text, of a report with files."""
    return dict(re.findall(r'<file name="[^"]*/([^"/]+)">\n(.*?)</file>\n', report, re.DOTALL))


def test_every_zone_passes_the_check_of_bind(named_site: Site, tmp_path: Path) -> None:
    zones = blocks(named_site.done("report zones"))
    assert list(zones) == [
        *("example.org", "ib.local", "local"),
        *("1.10.in-addr.arpa", "113.0.203.in-addr.arpa"),
        *(f"{number}.2.10.in-addr.arpa" for number in (16, 17, 18, 19)),
    ]
    for name, text in zones.items():
        path = tmp_path / name
        path.write_text(text)
        done = run(["named-checkzone", "-k", "ignore", name, str(path)], deadline_seconds=20)
        assert done.exit_status == 0 and done.text.endswith("OK\n"), done.text
    assert "node_1 IN A 10.1.3.4\nfirst IN A 10.1.3.4\n" in zones["local"]
    assert "dark" not in "".join(zones.values()) and "bare" not in "".join(zones.values())


def test_the_configuration_passes_the_check_of_bind(named_site: Site, tmp_path: Path) -> None:
    (text,) = blocks(named_site.done("report named")).values()
    (tmp_path / "named.conf").write_text(text)
    run_checked(["named-checkconf", str(tmp_path / "named.conf")], deadline_seconds=20)
    assert "forwarders { 198.51.100.7; 198.51.100.8; };" in text
    assert "listen-on { 127.0.0.1; 10.1.0.1; 203.0.113.2; };" in text
    assert "192.0.2" not in text


def test_a_named_answers_what_the_database_has(served: Site, tmp_path: Path) -> None:
    assert ask("vmc-0-0-ib.ib.local") == "10.2.17.9"
    assert ask("FIRST.local") == "10.1.3.4"
    assert ask("head.example.org") == "203.0.113.2"
    assert ask("9.17.2.10.in-addr.arpa", "-t", "PTR") == "vmc-0-0-ib.ib.local."
    assert ask("4.3.1.10.in-addr.arpa", "-t", "PTR") == "node_1.local."
    assert ask("bare-0.local") == ""
    assert "Transfer failed" in run(["dig", "@10.1.0.1", "-t", "AXFR", "local"], deadline_seconds=20).text
    serial = int(ask("local", "-t", "SOA").split()[2])
    assert served.done("sync dns") == f"changed: {tmp_path}/etc-hosts\n"
    assert served.done("sync dns") == ""
    assert served.done("add host alias vmc-0-1 second") == ""
    wait_for("second.local", "10.1.0.3")
    served.done("remove host node_1")
    wait_for("first.local", "")
    assert int(ask("local", "-t", "SOA").split()[2]) > serial
    served.done("set network zone ib fast.example")
    changed = served.done("sync dns").splitlines()
    assert changed == [
        f"changed: {tmp_path}/{name}"
        for name in (
            "etc-hosts",
            *(
                "dns/named.conf",
                "dns/zones/fast.example",
                "dns/zones/17.2.10.in-addr.arpa",
                "dns/zones/ib.local",
            ),
        )
    ]
    wait_for("vmc-0-0-ib.fast.example", "10.2.17.9")
    assert not (tmp_path / "dns/unread").exists()
    (tmp_path / "dns/unread").touch()
    assert served.done("sync dns") == ""
    assert not (tmp_path / "dns/unread").exists()


@pytest.mark.slow
def test_a_zone_hides_no_host_of_its_name(served: Site) -> None:
    """named answered without an address for a host whose name is that of a zone, while the reverse name named it."""
    served.done("add host storage membership=compute rack=1 rank=5")
    served.done("add host interface storage eth0 ip=10.1.3.5 subnet=private")
    served.done("add host alias storage www.sub")
    served.done("add host alias storage disks.example.org")
    served.done("sync dns")
    wait_for("storage.local", "10.1.3.5")
    wait_for("disks.example.org", "10.1.3.5")
    served.done("add network fast 10.77.0.0 255.255.0.0 dnszone=storage.local servedns=yes")
    served.done("set network zone ib sub.local")
    served.done("sync dns")
    wait_for("www.sub.local", "10.1.3.5")
    assert ask("storage.local") == "10.1.3.5"
    assert ask("5.3.1.10.in-addr.arpa", "-t", "PTR") == "storage.local."
    assert ask("vmc-0-0-ib.sub.local") == "10.2.17.9"
    served.done("set host name node_1 sub")
    served.done("sync dns")
    wait_for("sub.local", "10.1.3.4")


def test_a_service_in_the_foreground_says_so(served: Site, tmp_path: Path) -> None:
    line = "named runs here until Ctrl-C; in the background: systemctl start rocks-dns\n"
    assert line in (tmp_path / "service-log").read_text()
    assert "named:    ok     runs as process" in served.rocks("check services").out


def wait_for(name: str, expected: str) -> None:
    """Until named, which reads its files in the background, answers so."""
    wait_until(lambda: ask(name) == expected, problem=lambda: ask(name))


def test_additions_of_the_site_are_included_and_checked(named_site: Site, tmp_path: Path) -> None:
    named_site.rocks("sync dns")
    additions = tmp_path / "dns/site"
    additions.mkdir()
    (additions / "local").write_text("printer IN A 10.1.9.9\n")
    changed = named_site.rocks("sync dns").out
    assert changed == f"changed: {tmp_path}/dns/zones/local\n"
    zone = tmp_path / "dns/zones/local"
    assert zone.read_text().endswith(f"$INCLUDE {additions}/local\n")
    before = zone.read_bytes()
    (additions / "local").write_text("printer IN A 10.1.9.999\n")
    ago(zone)
    refused = named_site.refused("sync dns")
    assert "the zone local is not valid with the additions of the site" in refused and "10.1.9.999" in refused
    assert zone.read_bytes() == before
    (additions / "local").write_text("")
    (additions / "named.conf").write_text("options { };\n")
    assert "the configuration of named is not valid" in named_site.refused("sync dns")
    (additions / "named.conf").write_text('zone "elsewhere" { type forward; forwarders { 192.0.2.1; }; };\n')
    assert f"changed: {tmp_path}/dns/named.conf\n" in named_site.rocks("sync dns").out


def test_additions_count_whatever_their_time_is(named_site: Site, tmp_path: Path) -> None:
    """As `cp -p` and rsync leave it, or a clock that was ahead when the zone was written."""
    additions = tmp_path / "dns/site"
    additions.mkdir()
    (additions / "local").write_text("printer IN A 10.1.9.9\n")
    (additions / "named.conf").write_text("// nothing\n")
    named_site.rocks("sync dns")
    before = serial_of((tmp_path / "dns/zones/local").read_text())
    for name, text in (("local", "printer IN A 10.1.9.8\n"), ("named.conf", "// nothing more\n")):
        (additions / name).write_text(text)
        ago(additions / name)
    changed = named_site.rocks("sync dns").out
    assert f"{tmp_path}/dns/zones/local" in changed and f"{tmp_path}/dns/named.conf" in changed, changed
    assert serial_of((tmp_path / "dns/zones/local").read_text()) > before
    assert "changed" not in named_site.rocks("sync dns").out


def ago(path: Path) -> None:
    """Give a file a time before all that is written from now on."""
    os.utime(path, (1, 1))


def test_the_rest_of_the_hosts_file_is_left_alone(vm_site: Site, tmp_path: Path) -> None:
    real, link = tmp_path / "real-hosts", tmp_path / "etc-hosts"
    link.symlink_to(real)
    own = b"127.0.0.1 localhost\n# caf\xe9\n10.1.0.99 mine\r\n"
    real.write_bytes(own)
    vm_site.rocks("sync dns")
    first = real.read_bytes()
    assert first.startswith(own) and b"10.1.0.2\tvmc-0-0.local vmc-0-0\n" in first and link.is_symlink()
    real.write_bytes(first + b"10.1.0.98 later\n")
    vm_site.done("remove host vmc-0-1")
    vm_site.rocks("sync config")
    second = real.read_bytes()
    assert second.startswith(own) and second.endswith(b"10.1.0.98 later\n") and b"vmc-0-1" not in second
    real.write_bytes(second.replace(b"# end of rocks\n", b""))
    assert "remove these lines and what is between them" in vm_site.refused("sync dns")


def test_a_change_whose_names_cannot_be_written_says_that_it_is_stored(vm_site: Site, tmp_path: Path) -> None:
    """A repetition would be refused: the host has its new name."""
    vm_site.rocks("sync dns")
    file = tmp_path / "etc-hosts"
    file.write_text(file.read_text().replace("# end of rocks\n", ""))
    ended = vm_site.rocks("set host name vmc-0-1 vmc-0-9")
    stored = "the change is stored, but the names of the site are not (rocks sync config writes them)"
    assert ended.status == 1 and stored in ended.err
    assert "vmc-0-9" in vm_site.done("list host")


def test_names_are_written_once_for_a_transaction(vm_site: Site, tmp_path: Path) -> None:
    """A dump has a line for each alias, and all zones are compared each time."""
    vm_site.rocks("sync dns")
    written: list[str] = []
    real = service.sync_names

    def sync(database: Database) -> object:
        written.append("")
        return real(database)

    vm_site.patch.setattr(service, "sync_names", sync)
    dump = tmp_path / "dump"
    dump.write_text("".join(f"/opt/rocks/bin/rocks add host alias vmc-0-0 other-{n}\n" for n in range(3)))
    assert vm_site.rocks("load dump", str(dump)).status == 0
    assert written == [""] and "other-2" in (tmp_path / "etc-hosts").read_text()
    vm_site.done("remove host alias alias=other-2")
    assert "other-2" not in (tmp_path / "etc-hosts").read_text(), "the next transaction writes them again"


def test_names_that_are_none_reach_no_file(vm_site: Site, tmp_path: Path) -> None:
    for number, name in enumerate(("a b", "x\n10.1.0.1 head", "$INCLUDE /etc/shadow", '";};', "é")):
        vm_site.change(
            "INSERT INTO networks (Node, IP, Name, Device, Subnet) SELECT n.ID, %s, %s, %s, s.ID"
            " FROM nodes n, subnets s WHERE n.Name = 'vmc-0-0' AND s.name = 'private'",
            [f"10.1.7.{number}", name, f"eth{number + 3}"],
        )
    ended = vm_site.rocks("report zones")
    assert ended.status == 0 and len(ended.err.splitlines()) == 5
    assert not [
        word
        for word in ("INCLUDE", "10.1.7", "shadow", '"')
        if word in re.sub(r"</?file[^>]*>", "", ended.out)
    ]
    assert "10.1.7" not in vm_site.rocks("report host").out


def test_a_frontend_without_a_name_says_so(vm_site: Site) -> None:
    vm_site.change("DELETE i FROM networks i JOIN nodes n ON n.ID = i.Node WHERE n.Name = 'head'")
    for command in (("report", "zones"), ("report", "named")):
        assert "head has no address on a network with a zone" in vm_site.refused(*command)
    vm_site.change("UPDATE subnets SET servedns = 0")
    assert "no network serves DNS" in vm_site.refused("start service dns")
