"""Documents of nodes, and files for installers that are made of them."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from rocks.core.errors import RocksError
from rocks.core.process import run
from rocks.install.graph.node_documents import write_document
from rocks.install.graph.profile import read_graph
from rocks.install.graph_files import Library
from rocks.install.host_profiles import HostOfSite
from rocks.install.node_documents import (
    DocumentOptions,
    file_script,
    installer_file,
    node_document,
    post_script,
    profile_of_document,
    site_document,
)
from tests.golden.profile.cases import CASES
from tests.unit.install.graph.installers import RELEASES, check_preseed, read_kickstart
from tests.unit.machines import PRIVATE, interface

# Documents of nodes that need no database.


VALUES = ("os", "arch", "hostname", "graph", "distribution", "membership", "root")


def test_a_node_gets_the_values_of_this_machine_unless_others_are_given(tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / "graphs" / "default").mkdir(parents=True)
    (base / "nodes").mkdir()
    (base / "graphs" / "default" / "small.xml").write_text('<graph><edge from="small" to="part"/></graph>')
    entities = "|".join(f"&{name};" for name in VALUES)
    (base / "nodes" / "small.xml").write_text(f"<kickstart><post>{entities}</post></kickstart>")
    (base / "nodes" / "part.xml").write_text("<kickstart/>")
    options = DocumentOptions(base)
    machine = os.uname()
    host = machine.nodename.partition(".")[0]
    found = node_document("small", {}, options)
    assert f"linux|{machine.machine}|{host}|default|rocks-dist|Frontend|small" in found
    found = node_document("small", {"arch": "other", "membership": "Compute"}, options)
    assert f"linux|other|{host}|default|rocks-dist|Compute|small" in found


# The files for installers of every appliance of our own graph, through the same documents as on a command line.


def roots() -> set[str]:
    """The nodes of the graph that no other includes."""
    edges = read_graph(Library().graph_files("default")).edges
    return {edge.parent for edge in edges} - {edge.child for edge in edges} | {"client"}


SITES = dict(CASES)
for _root in sorted(roots()):
    _site = CASES["vm_host_with_copies"]
    SITES[f"root {_root}"] = replace(
        _site,
        host=replace(_site.host, attributes={**_site.host.attributes, "img_zpools": "tank"}),
        appliance=_site.appliance._replace(node=_root),
    )


def document_of(site: HostOfSite, packaging: str) -> str:
    host = replace(site.host, attributes={**site.host.attributes, "packaging": packaging})
    return site_document(on_private_network(replace(site, host=host)), DocumentOptions())


def on_private_network(site: HostOfSite) -> HostOfSite:
    interfaces = (interface("eth0", site.host.name, ip="10.1.255.200", **PRIVATE),)
    return replace(site, host=replace(site.host, interfaces=interfaces))


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("name", SITES)
def test_every_appliance_has_a_valid_kickstart_file(name: str, release: str) -> None:
    text = installer_file(profile_of_document(document_of(SITES[name], "rpm")), "kickstart")
    found = read_kickstart(text, release).handler
    assert "openssh-server" in found.packages.packageList
    assert "rocks_profile </dev/null" in found.scripts[-1].script


@pytest.mark.slow
@pytest.mark.parametrize("name", SITES)
def test_every_appliance_has_a_valid_preseed_file(name: str, tmp_path: Path) -> None:
    text = installer_file(profile_of_document(document_of(SITES[name], "deb")), "preseed")
    included = check_preseed(text, tmp_path)["pkgsel/include"][1].split()
    # a host of the site's distribution gets its packages from that, by its profile
    assert ("openssh-server" in included) is not bool(SITES[name].distribution.server)


def test_the_script_in_the_file_is_that_for_a_running_machine() -> None:
    from rocks.install.host_profiles import write_profile

    site = CASES["rpm_vm_host_without_images"]
    text = installer_file(profile_of_document(document_of(site, "rpm")), "kickstart")
    script = write_profile(on_private_network(site), Library()).replace(
        "report host profile;", "list host profile;"
    )
    assert script.partition("rocks_profile() {")[2].partition("rocks_section kvm-base")[0] in text


def test_a_profile_is_xml_with_the_file_in_a_section() -> None:
    profile = profile_of_document("<kickstart><post>a ]]&gt; b&#13;c</post></kickstart>")
    root = etree.fromstring(profile.encode())
    assert [section.get("name") for section in root] == ["order", "kickstart"]
    assert 'name="kickstart"><![CDATA[# Installation of' in profile
    assert "a ]]> b\rc\n" in (root[1].text or "")
    assert installer_file(profile, "kickstart") == root[1].text
    assert installer_file(profile, "order").splitlines()[1:] == ["Nodes:", "  input (the standard input)"]


@pytest.mark.parametrize(
    ("text", "section", "message"),
    [
        (
            "<a/>",
            "kickstart",
            "the standard input is not a profile: its root is <a>; rocks list host profile prints",
        ),
        ("<profile>\n<a></profile>", "x", "the standard input, line 2: invalid XML"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><profile/>', "x", "has a DOCTYPE"),
        ('<profile><section name="preseed"/></profile>', "kickstart", "set host attr HOST packaging rpm"),
        ('<profile><section name="kickstart"/></profile>', "preseed", "set host attr HOST packaging deb"),
        (
            '<profile><section name="kickstart"/></profile>',
            "x",
            "the profile has no section x, only kickstart",
        ),
    ],
)
def test_other_input_is_one_error(text: str, section: str, message: str) -> None:
    with pytest.raises(RocksError) as caught:
        installer_file(text, section)
    assert message in str(caught.value)


def test_sections_of_node_files_become_a_script_without_packages() -> None:
    text = (
        "<kickstart><package>a</package><post>echo <eval>echo $os</eval></post></kickstart>"
        "<kickstart><configure>echo &x;</configure><post os='sunos'>no</post><pre>no</pre></kickstart>"
    )
    script = post_script(text, {"os": "linux", "x": "y"})
    assert "echo linux" in script and "echo y" in script
    assert "rocks_packages_deb a" not in script and "\nno\n" not in script


def test_a_text_with_files_becomes_a_script() -> None:
    script = file_script('echo 1\n<file name="/etc/x" perms="0600">&x; &lt;</file>\necho 2', {"x": "y"})
    assert (
        "echo 1\nrocks_content <<'ROCKS-END-1'\ny <\nROCKS-END-1\nrocks_file /etc/x create 600 '' keep\necho 2\n"
        in script
    )
    with pytest.raises(RocksError, match="the standard input, line 2: invalid XML"):
        file_script("echo 1\na && b", {})


def test_another_shell_than_bash_is_refused_in_one_sentence() -> None:
    """sh of Debian is dash, which executes line by line."""
    done = run(["dash"], deadline_seconds=60, standard_input=file_script("echo 1", {}).encode())
    error = "Error: this script is for bash: type | bash, not | sh"
    assert (done.exit_status, done.text, done.error_text) == (1, "", error)


@pytest.mark.parametrize("packaging", ["deb", "rpm"])
def test_a_name_with_line_ends_adds_no_line_to_a_script_or_a_file(packaging: str) -> None:
    values = {"hostname": "x\nreboot\n%pre\nd-i a/b string c", "packaging": packaging}
    text = write_document([], values).replace(
        "<loader>", '<loader><node name="n" roll="r" file="/a\n/b&#10;reboot"/>'
    )
    profile = profile_of_document(text)
    section = "preseed" if packaging == "deb" else "kickstart"
    for found in (installer_file(profile, section), installer_file(profile, "order"), post_script(text, {})):
        unwanted = {"reboot", "reboot)", "%pre", "d-i a/b string c"} & set(found.splitlines())
        # the value of a variable may have several lines, in quotes
        assert not unwanted or "ROCKS_HOST='x\nreboot\n" in found
        assert found.splitlines()[0].startswith(("#", "Installation of host x\\nreboot"))
        assert "host x\\nreboot\\n%pre" in found
