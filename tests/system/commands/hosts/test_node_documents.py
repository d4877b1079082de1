"""`list host xml`, `list appliance xml`, `list node xml`, `list host graph`: from the attributes in the database."""

import ast
import shutil
from pathlib import Path

import pytest
from lxml import etree

from tests.system.commands.conftest import Site


@pytest.fixture
def hosts(vm_site: Site) -> Site:
    """The site with NAS nas-0-0 and a virtual machine."""
    vm_site.done("add host nas-0-0 'membership=NAS Appliance' rack=0 rank=0")
    vm_site.done("set host attr nas-0-0 img_zpools tank,fast")
    vm_site.done("add host vm vmc-0-0 'membership=Hosted VM' name=web")
    return vm_site


def nodes_of(document: str) -> list[str]:
    """The nodes that a document lists, without those for installers and network devices."""
    found = [str(node.get("name")) for node in etree.fromstring(document.encode())[0]]
    return [name for name in found if name != "network" and not name.startswith("installer")]


def test_a_hosts_document_has_its_attributes_and_the_nodes_that_they_select(hosts: Site) -> None:
    odd = 'it\'s <&> "x" \\ %'
    hosts.done("set host attr vmc-0-0 attr=odd", f"value={odd}")
    document = hosts.done("list host xml vmc-0-0")
    assert nodes_of(document)[:2] == ["base", "client"]
    assert "kvm-base" in nodes_of(document)
    attributes = ast.literal_eval(str(etree.fromstring(document.encode()).get("attrs")))
    assert (attributes["odd"], attributes["hostname"], attributes["root"]) == (odd, "vmc-0-0", "client")
    assert attributes["packaging"] == "deb"
    assert attributes["ksmac"].count(":") == 5

    hosts.done("set host attr vmc-0-0 kvm no")
    assert "kvm-base" not in nodes_of(hosts.done("list host xml vmc-0-0"))
    assert nodes_of(hosts.done("list host xml vmc-0-0 roll=nosuch")) == []


def test_an_appliances_document_needs_no_host_and_no_values(hosts: Site) -> None:
    document = hosts.done("list appliance xml vm-container")
    assert nodes_of(document)[:3] == ["base", "client", "kvm-base"]
    message = hosts.refused("list appliance xml frontend entity-check=yes")
    assert "img-storage.xml, line" in message and "has no value here" in message
    assert "must supply an appliance" in hosts.refused("list appliance xml")
    assert "has no root in the graph" in hosts.refused("list appliance xml hosted-vm")


def test_the_graph_of_hosts_is_a_digraph_and_a_picture(hosts: Site) -> None:
    text = hosts.done("list host graph nas-0-0 vmc-0-0 landscape=yes size=7,5")
    assert text.startswith('digraph rocks {\n  size="7,5";\n  node [shape=ellipse];\n  rotate=90;\n')
    assert '"client" -> "kvm-base" [label="(kvm)"];' in text
    assert '"nas" [shape=box];' in text
    if shutil.which("dot") is None:
        message = hosts.refused("list host graph nas-0-0 format=svg")
        assert "format=svg needs graphviz: apt-get install graphviz" in message
    else:
        assert "<svg" in hosts.done("list host graph nas-0-0 format=svg")


def test_without_a_host_the_graph_is_that_of_all_hosts_with_a_profile(hosts: Site) -> None:
    named = hosts.done("list host graph head vmc-0-0 nas-0-0")
    hosts.done("set attr Kickstart_PublicGateway 203.0.113.1")
    hosts.done("add cluster 203.0.113.9 1 fe-name=vc1 fe-container=vmc-0-0")
    assert sorted(hosts.done("list host graph").splitlines()) == sorted(named.splitlines())
    for line in (["list", "host", "graph"], ["list", "host", "xml"], ["report", "host", "profile"]):
        assert "host vc1 has no profile: it is the frontend of a virtual cluster" in hosts.refused(
            *line, "vc1"
        )


def test_a_picture_without_graphviz_is_an_error_that_says_what_to_install(
    hosts: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    message = hosts.refused("list host graph nas-0-0 format=svg")
    assert message == (
        "cannot start dot: No such file or directory; format=svg needs graphviz: apt-get install graphviz, or print "
        "the text without format="
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("list", "host", "xml", "nosuch"), 'cannot resolve host "nosuch"'),
        (
            ("list", "host", "xml", "web"),
            "host web has no profile: its appliance hosted-vm has no root in the graph",
        ),
        (("list", "host", "xml", "vmc-0-0", "basedir=/nowhere"), "/nowhere is no base folder"),
        (("list", "host", "xml", "vmc-0-0", "eval=perhaps"), '"eval" must be yes or no'),
        (("list", "host", "graph", "vmc-0-0", "format=png"), 'format must be dot or svg, not "png"'),
        (("list", "host", "graph", "vmc-0-0", 'size=1";x'), "size must be a width and a height"),
        (("list", "appliance", "xml", "nosuch"), 'unknown appliance "nosuch"'),
    ],
)
def test_an_error_is_one_line(hosts: Site, arguments: tuple[str, ...], line: str) -> None:
    assert line in hosts.refused(*arguments)


def test_a_host_without_a_private_address_is_not_installed(hosts: Site) -> None:
    hosts.done("remove host interface vmc-0-0 eth0")
    assert "host vmc-0-0 has no address on the network private" in hosts.refused("list host xml vmc-0-0")


def test_a_nodes_document_needs_no_database(
    hosts: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ROCKS_STATE", str(tmp_path))
    found = nodes_of(hosts.rocks("list node xml client", "attrs={'kvm': 'yes'}").out)
    assert found == ["base", "client", "kvm-base"]
    lines = tmp_path / "attrs"
    lines.write_text("kvm: no\nimg_storage_nas:true\n")
    assert "img-storage-nas" in nodes_of(hosts.rocks("list node xml client", f"attrs={lines}").out)
    assert nodes_of(hosts.rocks("list node xml client", f"attrs={tmp_path}/none").out) == ["base", "client"]


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (("nosuch",), 255, "Error: error - node nosuch in not in graph; its roll brings nodes/nosuch.xml"),
        (("../base",), 255, "Error: error - node ../base in not in graph"),
        (("client", "attrs={'graph': 'nosuch'}"), 255, "Error: error - no such graph nosuch"),
        (("client", "attrs={'graph': '../default'}"), 255, "Error: error - no such graph ../default"),
        (("client", "attrs={'kvm': f()}"), 1, "Error: attrs cannot be read: write {'name': 'value'"),
        (("client", "attrs={'kvm': 'yes'} "), 0, ""),
        (("a" * 5000,), 255, "Error: error - node aaa"),
        (("client", f"attrs={{'graph': '{'a' * 5000}'}}"), 255, "Error: error - no such graph aaa"),
        (("client", f"basedir=/{'a' * 5000}"), 1, "Error: /aaa"),
        (("client", f"attrs=/{'a' * 5000}"), 0, ""),
        ((), 1, "Error: must supply node"),
    ],
)
def test_a_node_that_there_is_not(hosts: Site, arguments: tuple[str, ...], status: int, line: str) -> None:
    ended = hosts.rocks("list node xml", *arguments)
    assert ended.status == status
    assert (ended.err.splitlines() or [""])[0].startswith(line)
