"""A host's node documents and its profile, from the attributes in the database; or an error of one line."""

import ast
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from rocks.core.process import run
from rocks.storage.broker import broker as message_broker
from rocks.trust.authority import Authority
from tests.system.commands.any_text import generated, text
from tests.system.commands.conftest import Site

REPORT = ("report", "host", "profile")


@pytest.fixture
def hosts(vm_site: Site) -> Site:
    """The site with NAS nas-0-0 and a virtual machine."""
    vm_site.done("add host nas-0-0 'membership=NAS Appliance' rack=0 rank=0")
    vm_site.done("set host attr nas-0-0 img_zpools tank,fast")
    vm_site.done("add host vm vmc-0-0 'membership=Hosted VM' name=web")
    return vm_site


def nodes_of(script: str) -> list[str]:
    """The nodes that a script names, without those for installers."""
    (line,) = [line for line in script.splitlines() if line.startswith("# Nodes: ")]
    names = line.removeprefix("# Nodes: ").split(", ")
    return [name for name in names if not name.startswith("installer")]


def test_each_profile_follows_the_attributes_of_its_host(hosts: Site) -> None:
    nas = hosts.done(*REPORT, "nas-0-0")
    assert nodes_of(nas) == [
        "base",
        "client",
        "img-storage-base",
        "zfs",
        "img-storage-scans",
        "img-storage-nas",
        "nas",
    ]
    assert '[{"name": "nas-0-0", "frontend_name": "head", "network": "local"' in nas
    assert "-A ROCKS-STORAGE -s 10.1.0.0/16 -j RETURN" in nas
    assert "for pool in tank fast; do" in nas

    roles = ["base", "network", "client", "kvm-base"]
    images = ["img-storage-base", "img-storage-scans", "img-storage-vm"]
    assert sorted(nodes_of(hosts.done(*REPORT, "vmc-0-0"))) == sorted(roles + images)
    hosts.done("set host attr vmc-0-0 img_storage_vm false")
    assert nodes_of(hosts.done(*REPORT, "vmc-0-0")) == roles
    hosts.done("set host attr vmc-0-0 kvm no")
    assert nodes_of(hosts.done(*REPORT, "vmc-0-0")) == roles[:3]
    hosts.done("set host attr vmc-0-0 host_network no")
    assert nodes_of(hosts.done(*REPORT, "vmc-0-0")) == ["base", "client"]
    hosts.done("set host attr head kvm false")
    assert nodes_of(hosts.done(*REPORT, "head")) == [
        "base",
        "server",
        "img-storage",
        "nucleus",
        "img-storage-base",
    ]


def test_a_host_gets_its_packages_from_the_distribution_that_is_built_for_it(
    hosts: Site, tmp_path: Path
) -> None:
    """With the site's authority; not before both are there. The frontend itself has it on its own disk."""
    hosts.patch.setattr(message_broker, "AUTHORITY_FOLDER", str(tmp_path / "authority"))
    hosts.done("set attr Kickstart_DistroDir", str(tmp_path))
    release = tmp_path / "install/rocks-dist/x86_64/Debian/dists/rocks-dist/Release"
    assert "distribution" not in "".join(nodes_of(hosts.done(*REPORT, "nas-0-0")))
    release.parent.mkdir(parents=True)
    release.write_text("Suite: rocks-dist\n")

    waiting = hosts.done(*REPORT, "nas-0-0")
    assert "distribution-problem" in nodes_of(waiting)
    assert "the frontend has no certificate: rocks add host certificate head" in waiting
    assert "rocks-imgstorage-nas" not in next(
        line for line in waiting.splitlines() if line.startswith("rocks_packages_deb ")
    )

    (tmp_path / "authority").mkdir()
    Authority(tmp_path / "authority").ensure("Site")
    served = hosts.done(*REPORT, "nas-0-0")
    assert nodes_of(served)[0] == "distribution"
    assert "URIs: https://10.1.0.1/install/distro/rocks-dist/x86_64/Debian\nSuites: rocks-dist\n" in served
    assert (tmp_path / "authority/ca.crt").read_text() in served
    assert served.index("rocks.sources") < served.index("\nrocks_packages_deb ")
    assert "rocks-imgstorage-nas" in next(
        line for line in served.splitlines() if line.startswith("rocks_packages_deb ")
    )
    own = hosts.done(*REPORT, "head")
    assert [node for node in nodes_of(own) if "distribution" in node] == ["distribution-here"]
    assert f"URIs: file:{tmp_path}/install/rocks-dist/x86_64/Debian\nSuites: rocks-dist\n" in own
    assert own.index("rocks.sources") < own.index("\nrocks_packages_deb ")

    hosts.done("set host attr nas-0-0 packaging rpm")
    assert "distribution" not in "".join(nodes_of(hosts.done(*REPORT, "nas-0-0"))), "it has no rpm packages"
    hosts.set_as_before("Kickstart_PrivateKickstartHost", "10.1.1.1/../..\n$(reboot)")
    hosts.done("set host attr nas-0-0 packaging deb")
    assert "has no address from which hosts get its distribution" in hosts.done(*REPORT, "nas-0-0")


def test_a_host_without_a_profile_is_an_error_of_one_line(hosts: Site) -> None:
    for arguments, line in [
        ((), "must supply one host"),
        (("web",), "host web has no profile: its appliance hosted-vm has no root in the graph"),
        (("nas-0-0", "basedir=/nowhere"), "/nowhere is no base folder: it has no folder graphs"),
        (("nas-0-0", "gen=kgen"), "gen"),
    ]:
        assert line in hosts.refused(*REPORT, *arguments), arguments


def test_another_graph_with_its_faults(hosts: Site, tmp_path: Path) -> None:
    graph, node = tmp_path / "graphs/default/site.xml", tmp_path / "nodes/nas.xml"
    for path in (graph, node):
        path.parent.mkdir(parents=True)
    arguments = (*REPORT, "nas-0-0", f"basedir={tmp_path}")
    assert "no such graph default" in hosts.refused(*arguments)
    graph.write_text('<graph><edge from="nas" to="extra" cond="site_wish"/></graph>')
    assert 'cannot find node "nas"' in hosts.refused(*arguments)
    node.write_text("<kickstart><post>echo &site_wish;</post></kickstart>")
    assert "&site_wish; has no value here: the host has no attribute site_wish" in hosts.refused(*arguments)

    hosts.done("set host attr nas-0-0 site_wish yes")
    assert 'cannot find node "extra", which nas includes by' in hosts.refused(*arguments)
    (tmp_path / "nodes/extra.xml").write_text("<kickstart>\n<ansible>x</ansible></kickstart>")
    assert "extra.xml, line 2: the tag <ansible> is not supported here" in hosts.refused(*arguments)
    (tmp_path / "nodes/extra.xml").write_text("<kickstart><post>true</post></kickstart>")
    assert "echo yes" in hosts.done(*arguments)
    assert nodes_of(hosts.done(*arguments)) == ["extra", "nas"]


def test_a_section_of_the_site_that_bash_cannot_read_is_in_no_profile(hosts: Site, tmp_path: Path) -> None:
    for folder in ("graphs/default", "nodes", "site-nodes"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "graphs/default/site.xml").write_text("<graph/>")
    (tmp_path / "nodes/client.xml").write_text("<kickstart><post>true</post></kickstart>")
    own = tmp_path / "site-nodes/extend-client.xml"
    own.write_text("<kickstart>\n<post>\nif [ -d /scratch ]; then chmod 1777 /scratch\n</post>\n</kickstart>")
    for command in (REPORT, ("list", "host", "profile")):
        message = hosts.refused(*command, "vmc-0-0", f"basedir={tmp_path}")
        assert f"{own}, line 2: bash cannot read this section: line 2: syntax error" in message, command
    own.write_text("<kickstart><post interpreter='/usr/bin/python3'>if True: print('(')</post></kickstart>")
    assert "print('(')" in hosts.done(*REPORT, "vmc-0-0", f"basedir={tmp_path}")


_ATTRIBUTES = (
    *("img_zpools", "imgstorage-network", "imgstorage-pool", "packaging", "release"),
    *("img_storage_nas", "arch"),
)


@generated
@given(attribute=st.sampled_from(_ATTRIBUTES), value=text)
def test_any_text_in_an_attribute_makes_a_script_that_bash_reads_or_one_line(
    hosts: Site, attribute: str, value: str
) -> None:
    if hosts.rocks("set host attr nas-0-0", f"attr={attribute}", f"value={value}").status:
        return
    ended = hosts.rocks(*REPORT, "nas-0-0")
    hosts.done("remove host attr nas-0-0", attribute)
    if ended.status:
        assert (ended.status, ended.out, len(ended.err.splitlines())) == (1, "", 1), ended
        return
    read = run(["bash", "-n"], deadline_seconds=10, standard_input=ended.out.encode())
    assert (read.exit_status, read.error_text) == (0, "")


def nodes_in(document: str) -> list[str]:
    """The nodes that a document lists, without those for installers and network devices."""
    found = [str(node.get("name")) for node in etree.fromstring(document.encode())[0]]
    return [name for name in found if name != "network" and not name.startswith("installer")]


def test_a_hosts_document_has_its_attributes_and_the_nodes_that_they_select(hosts: Site) -> None:
    odd = 'it\'s <&> "x" \\ %'
    hosts.done("set host attr vmc-0-0 attr=odd", f"value={odd}")
    document = hosts.done("list host xml vmc-0-0")
    assert nodes_in(document)[:2] == ["base", "client"]
    assert "kvm-base" in nodes_in(document)
    attributes = ast.literal_eval(str(etree.fromstring(document.encode()).get("attrs")))
    assert (attributes["odd"], attributes["hostname"], attributes["root"]) == (odd, "vmc-0-0", "client")
    assert attributes["packaging"] == "deb"
    assert attributes["ksmac"].count(":") == 5
    assert attributes["release"] == attributes["rocks_release"]
    hosts.done("set host attr vmc-0-0 release 9")
    assert '<!ENTITY release "9">' in hosts.done("list host xml vmc-0-0")

    hosts.done("set host attr vmc-0-0 kvm no")
    assert "kvm-base" not in nodes_in(hosts.done("list host xml vmc-0-0"))
    assert nodes_in(hosts.done("list host xml vmc-0-0 roll=nosuch")) == []


def test_an_appliances_document_needs_no_host_and_no_values(hosts: Site) -> None:
    document = hosts.done("list appliance xml vm-container")
    assert nodes_in(document)[:3] == ["base", "client", "kvm-base"]
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
    hosts: Site, tmp_path: Path
) -> None:
    hosts.patch.setenv("PATH", str(tmp_path))
    message = hosts.refused("list host graph nas-0-0 format=svg")
    assert message == (
        "cannot start dot: No such file or directory; format=svg needs graphviz: apt-get install graphviz, or print "
        "the text without format="
    )


def test_an_error_is_one_line(hosts: Site) -> None:
    for arguments, line in [
        (
            ("list", "host", "xml", "web"),
            "host web has no profile: its appliance hosted-vm has no root in the graph",
        ),
        (("list", "host", "xml", "vmc-0-0", "basedir=/nowhere"), "/nowhere is no base folder"),
        (("list", "host", "graph", "vmc-0-0", "format=png"), 'format must be dot or svg, not "png"'),
        (("list", "host", "graph", "vmc-0-0", 'size=1";x'), "size must be a width and a height"),
        (("list", "appliance", "xml", "nosuch"), 'unknown appliance "nosuch"'),
    ]:
        assert line in hosts.refused(*arguments), arguments


def test_a_host_without_a_private_address_is_not_installed(hosts: Site) -> None:
    hosts.done("remove host interface vmc-0-0 eth0")
    assert "host vmc-0-0 has no address on the network private" in hosts.refused("list host xml vmc-0-0")


def test_a_nodes_document_needs_no_database(hosts: Site, tmp_path: Path) -> None:
    hosts.patch.setenv("ROCKS_STATE", str(tmp_path))
    found = nodes_in(hosts.rocks("list node xml client", "attrs={'kvm': 'yes'}").out)
    assert found == ["base", "client", "kvm-base"]
    assert "<!ENTITY release " in hosts.rocks("list node xml client").out
    lines = tmp_path / "attrs"
    lines.write_text("kvm: no\nimg_storage_nas:true\n")
    assert "img-storage-nas" in nodes_in(hosts.rocks("list node xml client", f"attrs={lines}").out)
    assert nodes_in(hosts.rocks("list node xml client", f"attrs={tmp_path}/none").out) == ["base", "client"]


def test_a_node_that_there_is_not(hosts: Site) -> None:
    for arguments, status, line in [
        (("nosuch",), 255, "Error: error - node nosuch in not in graph; its roll brings nodes/nosuch.xml"),
        (("../base",), 255, "Error: error - node ../base in not in graph"),
        (("client", "attrs={'graph': 'nosuch'}"), 255, "Error: error - no such graph nosuch"),
        (("client", "attrs={'graph': '../default'}"), 255, "Error: error - no such graph ../default"),
        (("client", "attrs={'kvm': f()}"), 1, "Error: attrs cannot be read: write {'name': 'value'"),
        (("client", "attrs={'kvm': 'yes'} "), 0, ""),
        (("client", f"attrs=/{'a' * 5000}"), 0, ""),
        ((), 1, "Error: must supply node"),
    ]:
        ended = hosts.rocks("list node xml", *arguments)
        assert ended.status == status, arguments
        assert (ended.err.splitlines() or [""])[0].startswith(line), arguments
