"""`check site` and `check graph`."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.core.process import run_checked
from rocks.fleet.connection import FleetSettings
from rocks.install import graph_files
from rocks.inventory import host_requests
from rocks.inventory.address_records import host_addresses
from rocks.storage.volumes.access import broker_address
from tests.system.commands.conftest import CommandLine, Site
from tests.system.commands.site.conftest import ANSWERS

SOURCES = Path(__file__).resolve().parents[4] / "src"


@pytest.fixture
def own_address() -> Iterator[None]:
    """This machine, within its isolation, has the private address."""
    run_checked(["ip", "address", "add", "10.9.9.2/24", "dev", "lo"], deadline_seconds=10)
    yield
    run_checked(["ip", "address", "delete", "10.9.9.2/24", "dev", "lo"], deadline_seconds=10)


def test_check_of_a_new_site(rocks_of_new_machine: CommandLine, answers: Path, own_address: None) -> None:
    rocks = rocks_of_new_machine
    # of the tests of DNS, another worker's device may have the address of the others
    answers.write_text(ANSWERS.replace("eth0", "lo").replace("203.0.113.2", "203.0.113.9"))
    rocks("create site", f"answers={answers}")
    ended = rocks("check site")
    assert ended.status == 1 and "checks failed" in ended.err
    lines = {line.split(":")[0]: line for line in ended.out.splitlines()}
    assert " ok " in lines["interface lo"]
    assert "does not have the address" in lines["interface eth1"]
    assert "ip address add 203.0.113.9/24 dev eth1" in lines["interface eth1"]
    for subject in ("key", "space", "broker", "leases"):
        assert " ok " in lines[subject], lines[subject]
    assert " missing " in lines["clock"] and "Kickstart_PublicNTPHost SERVER" in lines["clock"]
    assert "rocks add roll os-VERSION.iso" in lines["roll os"]
    assert "rocks create distro" in lines["distribution"]
    rocks("set attr site_demo yes")
    rocks("set attr vm_fliter off force=yes")
    lines = {line.split(":")[0]: line for line in rocks("check site").out.splitlines()}
    for subject in ("clock", "roll os", "distribution"):
        assert " ok " in lines[subject] and "not needed in a demo" in lines[subject]
    assert " wrong " in lines["attribute vm_fliter"] and "vm_filter" in lines["attribute vm_fliter"]


def test_a_device_that_was_mistyped_is_named_until_it_is_corrected(
    rocks_of_new_machine: CommandLine, answers: Path, own_address: None
) -> None:
    rocks = rocks_of_new_machine
    rocks("create site", f"answers={answers}")
    lines = {line.split(":")[0]: line for line in rocks("check site").out.splitlines()}
    assert (
        " wrong " in lines["interface eth0"]
        and "the device lo of this machine has" in lines["interface eth0"]
    )
    remove = "remove host interface head eth0"
    add = "add host interface head lo ip=10.9.9.2 subnet=private"
    assert f"rocks {remove}, then rocks {add}" in lines["interface eth0"]
    answers.write_text(ANSWERS.replace("eth0", "lo"))
    rocks("set attr Kickstart_PrivateInterface lo")
    refused = rocks("create site", f"answers={answers}")
    assert refused.status == 1
    assert f"10.9.9.2 is on eth0 and not lo (rocks {remove}, then rocks {add})" in refused.err
    for command in (remove, add):
        assert rocks(*command.split()).status == 0
    assert rocks("create site", f"answers={answers}").status == 0
    assert " ok " in next(line for line in rocks("check site").out.splitlines() if "interface lo" in line)


@pytest.mark.slow
def test_a_device_that_is_down_keeps_its_address(rocks_of_new_machine: CommandLine, answers: Path) -> None:
    rocks = rocks_of_new_machine
    answers.write_text(ANSWERS.replace("eth0", "private0"))
    run_checked(["ip", "link", "add", "private0", "type", "bridge"], deadline_seconds=10)
    try:
        run_checked(["ip", "link", "set", "private0", "up"], deadline_seconds=10)
        run_checked(["ip", "address", "add", "10.9.9.2/24", "dev", "private0"], deadline_seconds=10)
        rocks("create site", f"answers={answers}")
        lines = {line.split(":")[0]: line for line in rocks("check site").out.splitlines()}
        assert " ok " in lines["interface private0"]
        run_checked(["ip", "link", "set", "private0", "down"], deadline_seconds=10)
        lines = {line.split(":")[0]: line for line in rocks("check site").out.splitlines()}
        assert " wrong " in lines["interface private0"]
        assert "the device is down: ip link set private0 up" in lines["interface private0"]
    finally:
        run_checked(["ip", "link", "delete", "private0"], deadline_seconds=10)


def test_an_address_of_the_frontend_on_no_network_is_a_line(vm_site: Site) -> None:
    """It ended the whole report by a fault; what the line says is enough."""
    vm_site.done("add host interface head eth5 ip=203.0.113.9")
    lines = {line.split(":")[0]: line for line in vm_site.rocks("check site").out.splitlines()}
    assert " wrong " in lines["interface eth5"] and "leases" in lines
    assert "rocks set host interface subnet head eth5 NETWORK" in lines["interface eth5"]
    vm_site.done("set host interface subnet head eth5 public")
    assert "203.0.113.9 on the network public" in vm_site.rocks("check site").out
    vm_site.change("UPDATE subnets SET netmask = '255.0.255.0' WHERE name = 'public'")
    checked = vm_site.rocks("check site").out
    assert "203.0.113.9 netmask 255.0.255.0 is no address" in checked and "leases" in checked
    assert "rocks set network netmask public NETMASK" in checked


def test_a_network_of_vlans_without_an_interface_of_the_frontend_is_a_line(vm_site: Site) -> None:
    """The VLANs cannot leave the frontend, so its machines start without that interface."""

    def about() -> list[str]:
        lines = vm_site.rocks("check site").out.splitlines()
        return [" ".join(line.split()) for line in lines if line.startswith("network ")]

    for vlan in (101, 102):
        vm_site.done(f"add host interface head vlan{vlan} subnet=private vlan={vlan}")
    assert about() == []
    assert vm_site.rocks("remove host interface head eth0").status == 0
    remedy = "rocks add host interface head DEVICE ip=ADDRESS subnet=private"
    assert about() == [f"network private: missing no device on it, and VLANs that need one: {remedy}"]


def test_the_key_is_made_with_the_site_and_checked(
    rocks_of_new_machine: CommandLine, answers: Path, key_file: Path
) -> None:
    def checked() -> str:
        lines = rocks("check site").out.splitlines()
        return next(" ".join(line.split()) for line in lines if line.startswith("key:"))

    rocks = rocks_of_new_machine
    rocks("create site", f"answers={answers}")
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert checked() == f"key: ok {key_file}"
    key_file.chmod(0o644)
    assert f"chmod 600 {key_file}" in checked()
    key_file.unlink()
    assert checked() == f"key: ok no other host needs {key_file} yet"
    assert rocks("add host compute-0-0").status == 0
    missing = checked()
    assert (
        missing.startswith("key: missing ") and "rocks sync host sharedkey compute-0-0 makes one" in missing
    )
    found = rocks("check site").out
    assert found.count("sharedkey") == 1 and "ssh-keygen" not in found, "one remedy for one key"
    assert rocks("add host compute-0-1").status == 0
    assert rocks("add host interface compute-0-1 eth0 ip=10.9.9.3 subnet=private").status == 0
    assert "rocks sync host sharedkey compute-0-1 makes one" in checked(), "the first that has an address"
    found = rocks("check site").out
    assert "not asked: the key is missing" in found
    rocks("create site", f"answers={answers}")
    assert checked() == f"key: ok {key_file}", "the same answers again make what is missing"


@pytest.mark.slow
def test_check_names_the_hosts_that_do_not_answer(vm_site: Site) -> None:
    vm_site.done("add host nas-0-0 'membership=NAS Appliance'")
    ended = vm_site.rocks("check site")
    assert ended.status == 1
    lines = {line.split(":")[0]: line for line in ended.out.splitlines()}
    assert " wrong " in lines["host vmc-0-0"] and " wrong " in lines["host vmc-0-1"]
    assert " wrong " in lines["host nas-0-0"] and "agent" not in lines["host nas-0-0"]
    assert "this machine, has no agent" in lines["host head"], "it runs virtual machines, too"
    assert "certificate" in ended.out or "broker" in ended.out


def test_a_host_whose_libvirt_does_not_answer_runs_no_machine(vm_site: Site, tmp_path: Path) -> None:
    """Its agent answers all the same: the result of the probe for KVM is stored."""
    pytest.importorskip("libvirt", reason="the distribution's libvirt bindings are not installed")
    agent = tmp_path / "agent"
    variables = f"ROCKS_STATE_FOLDER={tmp_path} ROCKS_LIBVIRT_URI=qemu:///system?socket=/no/such/socket"
    agent.write_text(
        f'#!/bin/sh\nexport {variables} PYTHONPATH="{SOURCES}"\nexec "{sys.executable}" -m rocks.agent "$@"\n'
    )
    agent.chmod(0o755)
    settings = FleetSettings("/nowhere/key", "/nowhere/known_hosts", "root", str(agent))
    vm_site.patch.setattr(host_requests, "FleetSettings", lambda: settings)

    def checked() -> list[str]:
        return [
            line for line in vm_site.rocks("check site").out.splitlines() if line.startswith("host head:")
        ]

    (line,) = checked()
    assert " wrong " in line and "libvirt on this host does not answer at qemu:///system" in line
    vm_site.done("set host attr head kvm false")
    assert checked() == [], "this machine need not be asked"


def test_the_broker_is_looked_for_where_it_listens(vm_site: Site) -> None:
    """At the frontend's address on the network private, although its `primary_net` is public."""
    assert "203.0.113.2" in [one.address for one in host_addresses(vm_site.database, ["head"])]
    assert broker_address(vm_site.database, "head") == "10.1.0.1"
    assert broker_address(vm_site.database, "stranger") == "stranger"


@pytest.mark.slow
def test_check_names_a_file_of_the_site_that_cannot_be_read(vm_site: Site, tmp_path: Path) -> None:
    """In one line, whatever the number of files."""

    def checked() -> str:
        lines = vm_site.rocks("check site").out.splitlines()
        return next(" ".join(line.split()) for line in lines if line.startswith("graph:"))

    nodes = tmp_path / "site-nodes"
    nodes.mkdir()
    vm_site.patch.setattr(graph_files, "SITE_NODES", nodes)
    vm_site.patch.setattr(graph_files, "SITE_GRAPHS", tmp_path / "absent")
    assert checked() == "graph: ok the site has no node and graph files of its own"
    (nodes / "extend-client.xml").write_text("<kickstart><package>tmux</package></kickstart>")
    assert checked() == "graph: ok files of the site: 1"
    for name in ("extend-base.xml", "extend-kvm-base.xml"):
        (nodes / name).write_text("<kickstart>")
    wrong = f"2 of the site's 3 files have an error, first {nodes}/extend-base.xml: rocks check graph"
    assert checked() == f"graph: wrong {wrong}"


def test_check_of_a_machine_that_is_no_frontend(site: Site) -> None:
    ended = site.rocks("check site")
    assert ended.status == 1
    assert "rocks create site" in ended.out


def _checked(site: Site, folder: Path) -> dict[str, tuple[str, str]]:
    """Result and detail of each file, by its name."""
    ended = site.rocks("check graph", f"basedir={folder}", "json=yes")
    found = json.loads(ended.out)
    return {
        Path(one["file"]).name: (row["result"], row["detail"]) for one in found for row in next(
            value for value in one.values() if isinstance(value, list)
        )
    }  # fmt: skip


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A folder with a graph of two nodes, and folders for the site's files."""
    for name in ("graphs/default", "nodes", "site-nodes", "site-graphs/default"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "graphs/default/ours.xml").write_text('<graph><edge from="a" to="b"/></graph>')
    for name in ("a", "b"):
        (tmp_path / f"nodes/{name}.xml").write_text("<kickstart/>")
    return tmp_path


def test_misplaced_files_are_named(site: Site, graph: Path) -> None:
    (graph / "site-graphs/site.xml").write_text("<graph/>")
    (graph / "site-nodes/extend-a.XML").write_text("<kickstart/>")
    (graph / "site-nodes/extend-b.xml").symlink_to("nowhere")
    (graph / "site-nodes/README").write_text("")
    os.mkfifo(graph / "site-graphs/default/pipe.xml")
    (graph / "site-nodes/extend-b~").write_text("")
    found = _checked(site, graph)
    assert set(found) == {"site.xml", "extend-a.XML", "extend-b.xml", "pipe.xml"}
    assert {result for result, _ in found.values()} == {"wrong"}
    assert found["site.xml"][1].endswith("site-graphs/default/site.xml")
    assert found["extend-a.XML"][1] == "it is not read: its name does not end in .xml"
    assert found["pipe.xml"][1] == "it is not read: it is no file, and no link to one"


def test_errors_in_files_name_the_line_once(site: Site, graph: Path) -> None:
    """An order that contradicts itself is one, too."""
    (graph / "site-nodes/extend-a.xml").write_text("<kickstart>\n<pots/></kickstart>")
    order = '<graph><order head="a" tail="b"/><order head="b" tail="a"/></graph>'
    (graph / "site-graphs/default/site.xml").write_text(order)
    found = _checked(site, graph)
    assert {result for result, _ in found.values()} == {"wrong"}
    assert found["extend-a.xml"][1].startswith("line 2: ") and "has a cycle" in found["site.xml"][1], found


def test_a_site_without_files_has_no_error(site: Site, tmp_path: Path) -> None:
    (tmp_path / "graphs/default").mkdir(parents=True)
    ended = site.rocks("check graph", f"basedir={tmp_path}")
    assert (ended.status, ended.err) == (0, "")


def test_a_file_that_two_nodes_of_an_appliance_create_is_named_in_both(site: Site, graph: Path) -> None:
    """Each run of the profile would write both; parts that are added, and other hosts' files, are no error."""
    file = '<file name="/etc/motd"{}>{}</file>'
    (graph / "nodes/b.xml").write_text(f"<kickstart><post>\n{file.format('', 'ours')}</post></kickstart>")
    (graph / "graphs/default/roots.xml").write_text(
        '<graph><edge from="compute" to="a"/><edge from="compute" to="c" os="sunos"/></graph>'
    )
    for name in ("compute", "c"):
        (graph / f"nodes/{name}.xml").write_text("<kickstart/>")
    own, other = graph / "site-nodes/extend-a.xml", graph / "site-nodes/extend-c.xml"
    other.write_text(f"<kickstart>{file.format('', 'of no compute')}</kickstart>")
    for attributes, text in ((' mode="append"', "more"), (' perms="0600"', ""), (' os="sunos"', "x")):
        own.write_text(f"<kickstart>{file.format(attributes, text)}</kickstart>")
        assert {result for result, _ in _checked(site, graph).values()} == {"ok"}, attributes
    own.write_text(f"<kickstart>\n\n{file.format('', 'the site')}</kickstart>")
    found = _checked(site, graph)
    assert found["extend-c.xml"][0] == "ok" and found["extend-a.xml"][0] == "wrong"
    assert found["extend-a.xml"][1] == (
        f"for the appliance compute, {own}, line 3, and {graph}/nodes/b.xml, line 2, create /etc/motd, "
        "and the later one stays"
    )
    own.write_text(f"<kickstart>{file.format('', '<eval>date</eval>')}</kickstart>")
    assert _checked(site, graph)["extend-a.xml"][0] == "wrong", "its content is computed"
    (graph / "nodes/b.xml").write_text("<kickstart/>")
    (graph / "site-nodes/extend-b.xml").write_text(own.read_text())
    assert [result for result, _ in _checked(site, graph).values()] == ["wrong", "wrong", "ok"]
