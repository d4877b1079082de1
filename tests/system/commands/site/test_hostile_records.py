"""Records that only another program or an earlier release can have stored: a report has none of them as they are.

Each text column of a site, one after the other, holds a text that is an attack on the readers of the reports. A report
leaves it out, quotes it, or says in one line what is wrong; the programs that read the files read nothing else.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from rocks.core.process import run, run_checked
from tests.system.commands.conftest import Site
from tests.system.commands.site.test_dns import blocks

MARK = "made-by-an-attack"
ATTACKS = (
    f"x</file><file name='/tmp/{MARK}'>y",
    f"x\ny $(touch {MARK}) `touch {MARK}`; touch {MARK}",
    f"'\"; touch {MARK} #",
    "\x1b[31mx\x07",
    '"; }; include "/etc/passwd"; //',
)
COLUMNS = (
    *("networks.Name", "networks.Device", "networks.MAC", "networks.IP", "networks.Module"),
    *("networks.Options", "networks.Channel", "subnets.dnszone", "subnets.subnet", "subnets.netmask"),
    *("aliases.Name", "node_routes.Network", "node_routes.Netmask", "node_routes.Gateway"),
    *("bootflags.Flags", "public_keys.Public_Key"),
)
ATTRIBUTES = (
    *("Kickstart_PublicDNSDomain", "Kickstart_PublicDNSServers", "Kickstart_PrivateDNSServers", "packaging"),
    *("primary_net", "host_network", "kvm", "ssh_port"),
)
REPORTS = (
    *("named", "zones", "resolv", "resolv private", "host", "shosts", "tentakel", "knownhosts"),
    *("host dhcpd", "host interface", "host interface format=ifcfg", "host network", "host route"),
    *("host bootflags", "host vlan", "host firewall"),
)


@pytest.fixture
def records(vm_site: Site) -> Site:
    """compute-0-0 with a row of every kind."""
    vm_site.done("add host compute-0-0")
    vm_site.done("set network servedns private yes")
    address = ("ip=10.1.0.77", "subnet=private", "mac=00:11:22:33:44:66")
    vm_site.done("add host interface compute-0-0 eth0", *address)
    vm_site.done("add host alias compute-0-0 c00")
    vm_site.done("add host route compute-0-0 10.2.0.0 10.1.0.1 netmask=255.255.0.0")
    vm_site.done("set host bootflags compute-0-0 flags=quiet")
    return vm_site


def check_all_reports(site: Site, folder: Path, what: str) -> None:
    """Run each report, and the program that reads it."""
    for report in REPORTS:
        host = ["compute-0-0"] if report.startswith("host ") and report != "host dhcpd" else []
        ended = site.rocks("report", *report.split(), *host)
        place = (what, report, ended)
        assert "has a fault" not in ended.err and "Traceback" not in ended.err, place
        assert all(line.isprintable() for line in ended.err.split("\n")), place
        assert ended.status == 0 or ended.err.startswith("Error: "), place
        if ended.status == 0:
            assert re.search(r"[^\x20-\x7e\n\t]", ended.out) is None, place
            check_readers(report, ended.out, folder, what)


def check_readers(report: str, text: str, folder: Path, what: str) -> None:
    """The programs that read a report's text find what they expect, and run nothing of it."""
    if "<file" in text:
        names = etree.fromstring(f"<all>{text}</all>", etree.XMLParser(resolve_entities=False)).xpath(
            "//file/@name"
        )
        assert not [name for name in names if MARK in name], (what, report, text)
    if report == "zones":
        for path, zone in blocks(text).items():
            (folder / "zone").write_text(zone)
            done = run(
                ["named-checkzone", "-k", "ignore", Path(path).name, str(folder / "zone")],
                deadline_seconds=60,
            )
            assert done.exit_status == 0, (what, report, done.text)
    elif report == "named":
        (folder / "named.conf").write_text("".join(blocks(text).values()))
        run_checked(["named-checkconf", str(folder / "named.conf")], deadline_seconds=60)
        assert "passwd" not in text, (what, text)
    elif report == "host":
        assert all(re.fullmatch(r"[0-9.]+\t[\w. -]+", line, re.ASCII) for line in text.splitlines()), (
            what,
            text,
        )
    elif report.startswith("resolv"):
        lines = "".join(blocks(text).values()).splitlines()
        assert all(re.fullmatch(r"(search|nameserver)( [\w.:-]+)+", line, re.ASCII) for line in lines), (
            what,
            text,
        )
    elif report == "host interface format=ifcfg":
        for lines in blocks(text).values():
            (folder / "ifcfg").write_text(etree.fromstring(f"<f>{lines}</f>").text or "")
            run_checked(["bash", "-euc", 'cd "$1"; . ./ifcfg', "bash", str(folder)], deadline_seconds=60)
        assert not (folder / MARK).exists(), (what, text)


def hostile(site: Site) -> Iterator[str]:
    """Stores one attack after the other, and removes it."""
    for number, column in enumerate(COLUMNS):
        table, name = column.split(".")
        attack = ATTACKS[number % len(ATTACKS)]
        longest = site.database.rows(
            "SELECT CHARACTER_MAXIMUM_LENGTH FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()"
            " AND TABLE_NAME = %s AND COLUMN_NAME = %s",
            (table, name),
        )[0][0]
        (before,) = site.database.rows(f"SELECT {name} FROM {table} ORDER BY {name} DESC LIMIT 1") or [
            (None,)
        ]
        site.change(f"UPDATE {table} SET {name} = %s ORDER BY {name} DESC LIMIT 1", (attack[: int(longest)],))
        yield f"{column} = {attack!r}"
        site.change(f"UPDATE {table} SET {name} = %s WHERE {name} = %s", (before[0], attack[: int(longest)]))
    for number, attribute in enumerate(ATTRIBUTES):
        for attack in (ATTACKS[number % len(ATTACKS)], ATTACKS[(number + 2) % len(ATTACKS)]):
            site.set_as_before(attribute, attack)
            yield f"{attribute} = {attack!r}"
        site.done("remove attr", attribute)


@pytest.mark.skipif(shutil.which("named-checkzone") is None, reason="BIND is not installed")
def test_readers_of_reports_get_nothing_of_a_hostile_record(records: Site, tmp_path: Path) -> None:
    check_all_reports(records, tmp_path, "no attack")
    for what in hostile(records):
        check_all_reports(records, tmp_path, what)
