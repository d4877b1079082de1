"""Firewall rules in the database."""

import json
import shutil
import threading
from pathlib import Path

import pytest

from rocks.core.process import run, run_checked
from rocks.database.connection import Database
from rocks.fleet.wire.live_moves import DIRECT_PORTS
from rocks.network.firewall import changes
from rocks.network.firewall.deployment import Loaded
from tests.patience import patience
from tests.system.commands.conftest import Site

NTP = ("service=123", "protocol=udp", "chain=INPUT", "action=ACCEPT", "network=private")
ODD = "'\"`$(touch /tmp/x); <&> \\ # äöü ]]>"


def rows(site: Site, *arguments: str) -> list[dict[str, str]]:
    """The rows of a listing."""
    return [row for part in json.loads(site.done("list", *arguments, "json=yes")) for row in part["firewall"]]


@pytest.fixture
def hosts(vm_site: Site) -> Site:
    """The site of the specification's samples, with a compute node."""
    vm_site.done("add host compute-0-0")
    vm_site.done("add host interface compute-0-0 eth0 ip=10.1.255.254 subnet=private")
    return vm_site


def test_add_in_each_scope_and_list(hosts: Site) -> None:
    hosts.done("add firewall rulename=A50-NTP", *NTP)
    again = hosts.refused("add firewall rulename=a50-ntp", *NTP)
    assert again.startswith('firewall rule "a50-ntp" exists; to change it')
    hosts.done("add firewall global rulename=A51", *NTP)
    hosts.done("add firewall global=global rulename=A52", *NTP, "rulesrc=system")
    hosts.done("add firewall os=linux rulename=A50-NTP", *NTP)
    hosts.done("add firewall appliance=compute rulename=a50-ntp", *NTP, "comment=time")
    hosts.done("add firewall host=compute-0-0 rulename=A50-NTP", *NTP, "flags=-s 10.1.0.1")
    assert hosts.done("list firewall") == (
        "RULENAME SERVICE PROTOCOL CHAIN ACTION NETWORK OUTPUT-NETWORK FLAGS       COMMENT CATEGORY         \n"
        "A50-NTP  123     udp      INPUT ACCEPT private -------------- ----------- ------- global:global    \n"
        "A51      123     udp      INPUT ACCEPT private -------------- ----------- ------- global:global    \n"
        "A52      123     udp      INPUT ACCEPT private -------------- ----------- ------- global:global    \n"
        "A50-NTP  123     udp      INPUT ACCEPT private -------------- ----------- ------- os:linux         \n"
        "a50-ntp  123     udp      INPUT ACCEPT private -------------- ----------- time    appliance:compute\n"
        "A50-NTP  123     udp      INPUT ACCEPT private -------------- -s 10.1.0.1 ------- host:compute-0-0 \n"
    )
    assert [row["category"] for row in rows(hosts, "firewall", "host")] == ["host:compute-0-0"]
    assert [row["category"] for row in rows(hosts, "firewall", "os=linux")] == ["os:linux"]
    assert rows(hosts, "firewall", "host=head") == []
    assert hosts.done("list host firewall compute-0-0") == (
        "RULENAME SERVICE PROTOCOL ACTION CHAIN NETWORK OUTPUT-NETWORK FLAGS       COMMENT CATEGORY\n"
        "A50-NTP  123     udp      ACCEPT INPUT private -------------- -s 10.1.0.1 ------- host    \n"
        "A51      123     udp      ACCEPT INPUT private -------------- ----------- ------- global  \n"
        "A52      123     udp      ACCEPT INPUT private -------------- ----------- ------- global  \n"
    )
    assert {row["category"] for row in rows(hosts, "host", "firewall", "head")} == {"os", "global"}


def test_flags_name_attributes_of_each_host(hosts: Site, tmp_path: Path) -> None:
    """As the rules of Rocks' rolls do; real nft takes what becomes of them."""
    rule = ("rulename=A50-NTP", *NTP, "flags=-s &near;/&mask;")
    assert (
        hosts.refused("add firewall", *rule)
        == "the attribute near of host head has no value: rocks set host attr head near VALUE"
    )
    hosts.done("set attr mask 255.255.255.0")
    hosts.done("set appliance attr compute near 192.0.2.7")
    assert "the attribute near of host head " in hosts.refused("add firewall", *rule)
    hosts.done("add firewall appliance=compute", *rule)
    hosts.done("set host attr compute-0-0 near 198.51.100.7")
    assert "-s &near;/&mask;" in hosts.done("list host firewall compute-0-0")
    text = hosts.done("report host firewall compute-0-0")
    (tmp_path / "rules").write_text(text.partition("<![CDATA[")[2].partition("]]>")[0])
    if shutil.which("nft") is not None:
        run_checked(["unshare", "--net", "nft", "-c", "-f", str(tmp_path / "rules")], deadline_seconds=30)
    assert 'iifname "eth0" udp dport 123 ip saddr { 198.51.100.0/24 } accept' in " ".join(text.split())
    assert "near" in hosts.done("dump firewall")
    hosts.done("set host attr compute-0-0 near", "value=198.51.100.7 -d 10.1.0.0/16")
    fault = 'near of host compute-0-0 has the value "198.51.100.7 -d 10.1.0.0/16", which cannot be'
    assert fault in hosts.refused("report host firewall compute-0-0")
    (line,) = [one for one in hosts.rocks("check site").out.splitlines() if one.startswith("firewall")]
    assert line.split()[:3] == ["firewall", "compute-0-0:", "wrong"] and fault in line
    hosts.done("remove host attr compute-0-0 near")
    assert "near of host compute-0-0 has the value" not in hosts.rocks("check site").out


def test_a_wide_cell_is_cut(site: Site) -> None:
    comment = "0123456789" * 3
    site.done("add firewall", "rulename=A" + "x" * 40, *NTP, f"comment={comment}")
    assert f" {comment[:23]}… " in site.done("list firewall")
    assert f" {comment[:4]}… " in site.done("list firewall maxwidth=5")
    assert comment in site.done("list firewall maxwidth=0")
    assert "A" + "x" * 40 in site.done("list firewall")
    assert rows(site, "firewall")[0]["comment"] == comment
    assert "maxwidth" in site.refused("list firewall maxwidth=-1")


@pytest.mark.parametrize("scope", ["host", "appliance", "os"])
def test_the_form_of_older_rolls(hosts: Site, scope: str) -> None:
    members = {"host": ("compute-0-0", "head"), "appliance": ("compute", "login"), "os": ("linux", "sunos")}[
        scope
    ]
    hosts.done("add", scope, "firewall", *members, "rulename=A1", *NTP)
    assert {row["category"] for row in rows(hosts, "firewall")} == {f"{scope}:{name}" for name in members}
    hosts.done("remove firewall", f"{scope}={members[0]}", "rulename=a1")
    message = hosts.refused("add", scope, "firewall", *members, "rulename=A1", *NTP)
    assert message.startswith(f'firewall rule "A1" exists for {scope} {members[1]}')
    assert hosts.refused("add", scope, "firewall", "rulename=A1", *NTP) == f"must supply at least one {scope}"


def test_what_is_refused(vm_site: Site) -> None:
    for arguments, message in [
        (("rulename=A1", *NTP[:4]), "must supply network or output-network"),
        (NTP, "must supply rulename"),
        (("rulename=A1", "network=all"), "must supply service, chain, action, protocol"),
        (("rulename=A1", *NTP[:4], "network=nothing"), 'unknown network "nothing"'),
        (("rack", "rulename=A1", *NTP), '"rack" is not a scope'),
        (("host", "rulename=A1", *NTP), "the scope host needs a member"),
        (("appliance=nothing", "rulename=A1", *NTP), 'unknown appliance "nothing"'),
        (("os=beos", "rulename=A1", *NTP), 'unknown os "beos"'),
        (("global=x", "rulename=A1", *NTP), "the scope global has no other member"),
        (("rulename=A1", "host=head", *NTP), "host= must be the first parameter"),
        (("host=head", "os=linux", "rulename=A1", *NTP), "a rule has one scope"),
        (("global", "os=linux", "rulename=A1", *NTP), "a rule has one scope"),
        (("rulename=A1", "flags=-m recent", *NTP), 'flags: the module "recent" is not known'),
        (("rulename=ü", *NTP), "printable ASCII"),
    ]:
        assert message in vm_site.refused("add firewall", *arguments), arguments


def test_remove(hosts: Site) -> None:
    hosts.done("add firewall rulename=A1", *NTP)
    hosts.done("add firewall host=head rulename=A1", *NTP)
    assert hosts.refused("remove firewall") == "must supply rulename"
    refused = hosts.refused("remove firewall host=compute-0-0 rulename=A1")
    assert 'there is no firewall rule "A1" of host compute-0-0; ' in refused
    assert "of the scope global; " in hosts.refused("remove firewall rulename=A9")
    assert "no firewall rule" in hosts.refused("remove firewall host=% rulename=A1")
    hosts.done("remove firewall rulename=a1")
    assert [row["category"] for row in rows(hosts, "firewall")] == ["host:head"]
    hosts.done("remove host compute-0-0")
    hosts.done("set host name head front")
    assert [row["category"] for row in rows(hosts, "firewall")] == ["host:front"]


def test_default_rules_come_with_the_network_private(vm_site: Site) -> None:
    """No host has them in force before its attribute `firewall` is true."""
    vm_site.change("DELETE FROM subnets WHERE name = 'private'")
    assert rows(vm_site, "firewall") == []
    vm_site.done("add network private 10.1.0.0 255.255.0.0")
    listed = rows(vm_site, "firewall")
    assert listed[0]["rulename"] == "A10-ALL-LOCAL"
    of_frontend = {row["service"] for row in listed if row["category"] == "appliance:frontend"}
    assert of_frontend == {"5671", "67", "53", "80", "443", "69"}
    assert {row["service"] for row in listed if row["category"] == "appliance:nas"} == {"7443", "3260"}
    of_moves = {row["service"] for row in listed if row["category"] == "appliance:vm-container"}
    assert of_moves == {f"{DIRECT_PORTS[0]}:{DIRECT_PORTS[-1]}"}
    assert {row["network"] for row in listed if row["category"] != "global:global"} == {"private"}
    assert [row["rulename"] for row in rows(vm_site, "host", "firewall", "vmc-0-0")][-1] == "R90-ALL"
    assert vm_site.done("dump firewall") == ""


def test_report(hosts: Site) -> None:
    hosts.done("add firewall rulename=A50", *NTP, f"comment={ODD}")
    hosts.done("add firewall host=compute-0-0 rulename=A51", *NTP[:4], "network=public")
    text = hosts.done("report host firewall compute-0-0")
    assert text.startswith('<file name="/etc/rocks/firewall.nft" perms="0600"><![CDATA[\n')
    assert 'iifname "eth0" udp dport 123 accept' in text
    assert "# left out: the host has no device on the network public" in text
    assert "ip saddr { 10.1.0.1, 203.0.113.2 } tcp dport 22 accept" in text, "the frontend's addresses"
    assert "10.1.0.1" not in hosts.done("report host firewall head")


def test_the_report_becomes_a_file_that_nft_reads(hosts: Site, tmp_path: Path) -> None:
    if shutil.which("nft") is None:
        pytest.skip("nft is not installed")
    hosts.done("add firewall rulename=A50]]>&lt;", *NTP, f"comment={ODD}")
    hosts.done(
        "add firewall rulename=N1 service=nat protocol=all chain=POSTROUTING action=MASQUERADE "
        "output-network=private"
    )
    report = hosts.done("report host firewall compute-0-0")
    with (tmp_path / "report").open("w+", encoding="utf-8") as given:
        given.write(report)
        given.seek(0)
        hosts.patch.setattr("sys.stdin", given)
        script = hosts.done("report script")
    script = script.replace("/etc/rocks/firewall.nft", str(tmp_path / "firewall.nft"))
    run_checked(["bash", "-c", script], deadline_seconds=30)
    file = tmp_path / "firewall.nft"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text("utf-8") in report.replace("]]]]><![CDATA[>", "]]>")
    run_checked(["unshare", "--net", "nft", "-c", "-f", str(file)], deadline_seconds=30)


def test_a_stored_rule_that_is_not_valid_is_named(hosts: Site) -> None:
    hosts.done("add firewall rulename=A50", *NTP)
    hosts.change('UPDATE firewalls SET Flags = \'-i "x\\" accept"\'')
    message = hosts.refused("report host firewall head")
    assert message.startswith('the firewall rule "A50" is not valid: flags "-i')
    assert message.endswith("rocks remove firewall, then add it again")
    hosts.done("remove firewall rulename=A50")


def test_a_device_that_is_not_valid_is_named(hosts: Site) -> None:
    hosts.change("UPDATE networks SET Device = 'eth\"*' WHERE IP = '10.1.255.254'")
    assert "whose name is not valid" in hosts.refused("report host firewall compute-0-0")


def test_a_virtual_machine_has_no_rules_of_the_site(hosts: Site) -> None:
    hosts.change(
        "INSERT INTO vm_nodes (Node, PhysNode, Mem, UUID) SELECT n.ID, p.ID, 1, UUID() FROM nodes n JOIN nodes p"
        " WHERE n.Name = 'compute-0-0' AND p.Name = 'vmc-0-0'"
    )
    assert "is a virtual machine" in hosts.refused("sync host firewall compute-0-0")


def test_a_dump_makes_the_same_rules(
    hosts: Site, tmp_path: Path, cluster_environment: dict[str, str]
) -> None:
    hosts.change("DELETE FROM subnets WHERE name = 'public'")
    hosts.change("DELETE FROM networks WHERE Subnet IS NOT NULL")
    hosts.change("DELETE FROM subnets")
    hosts.done("add network private 10.1.0.0 255.255.0.0")
    hosts.done("add network public 203.0.113.0 255.255.255.0")
    hosts.done("remove firewall rulename=A20-PING")
    hosts.done("remove firewall rulename=R90-ALL")
    hosts.done(
        "add firewall rulename=r90-all service=all protocol=all chain=INPUT action=DROP network=public"
    )
    hosts.done("add firewall host=head", "rulename=A 'x\"$`", *NTP, f"comment={ODD}", "flags=-i 'eth0'")
    hosts.done(
        "add firewall appliance=login rulename=N1 service=nat protocol=all chain=POSTROUTING "
        "action=MASQUERADE output-network=public"
    )
    columns = "Rulename, Rulesrc, InSubnet, OutSubnet, Service, Protocol, Action, Chain, Flags, Comment"
    query = f"SELECT {columns}, Category, Catindex FROM firewalls ORDER BY Category, Catindex, Rulename"
    before = hosts.database.rows(query)
    hosts.database.rollback()
    dumped = hosts.done("dump firewall")
    hosts.change("DELETE FROM firewalls")
    from rocks.network.firewall.records import insert_default_rules

    insert_default_rules(hosts.database)
    hosts.database.commit()
    program = tmp_path / "arguments"
    program.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\nprintf "\\n\\0"\n')
    program.chmod(0o755)
    for line in dumped.splitlines():
        shell = run(["sh", "-c", f"{program} {line.partition(' ')[2]}"], deadline_seconds=10)
        hosts.done(*shell.text.split("\0")[:-2])
    assert hosts.database.rows(query) == before


def test_of_this_machine_no_other_has_tried_the_rules(hosts: Site) -> None:
    """Its own connection to itself does not count, and a line states it."""
    for host in ("head", "compute-0-0"):
        hosts.done("set host attr", host, "firewall", "true")
    hosts.done("add firewall rulename=R90 service=all protocol=all chain=INPUT action=DROP network=private")
    hosts.patch.setattr(changes, "load_rules", lambda *given: "loaded")
    printed = hosts.done("sync host firewall head compute-0-0").splitlines()
    assert {line.partition(":")[0]: "log in once more" in line for line in printed} == {
        "head": True,
        "compute-0-0": False,
    }


@pytest.mark.slow
def test_rules_that_were_read_later_are_brought_later(hosts: Site) -> None:
    """Of two commands at once: else the host would have the earlier rules afterwards."""
    hosts.done("set host attr compute-0-0 firewall true")
    begun, may_go_on = threading.Event(), threading.Event()
    brought: list[str] = []

    def load(host: object, settings: object, rules: str, unit: str) -> Loaded:
        if not begun.is_set():
            begun.set()
            assert may_go_on.wait(patience(60))
        brought.append(rules)
        return "loaded"

    def sync() -> None:
        with Database(hosts.database.settings) as database:
            list(changes.sync_firewalls(database, ["compute-0-0"]))

    hosts.patch.setattr(changes, "load_rules", load)
    first, second = threading.Thread(target=sync), threading.Thread(target=sync)
    first.start()
    assert begun.wait(patience(60))
    hosts.done("add firewall rulename=A50-NTP", *NTP)
    second.start()
    second.join(patience(1))
    may_go_on.set()
    first.join()
    second.join()
    assert ["A50-NTP" in rules for rules in brought] == [False, True]
