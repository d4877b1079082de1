"""Node files that are checked without a host: only what no host could have is an error."""

import pytest

from rocks.core.errors import StateError
from rocks.install.graph.document import Node, Section, Source, When
from rocks.install.graph_files import check_node_file, check_sections
from tests.unit.install.graph.hosts import SmallFrontend


def check(body: str) -> None:
    data = f"<kickstart>\n{body}</kickstart>".encode()
    frontend = SmallFrontend(**{"/root/key": "secret"})
    check_node_file(frontend, "n", Source("n.xml", data))
    assert frontend.programs == []


@pytest.mark.parametrize(
    "body",
    [
        '<file name="&folder;/a.conf" perms="&mode;" owner="&user;"/>',
        '<post>\n<file name="&folder;/a.conf">\nx\n</file>\n</post><package>&kernel;</package>',
        '<copy src="/root/key" dst="&key;"/>',
        '<post><include file="&distribution;.sh"/></post>',
        '<post>echo <var name="Kickstart_PrivateNetwork"/></post>',
        '<post>echo <var name="x" ref="site"/><var name="x"/></post>',
        '<package><eval>echo "linux-image-$(uname -m)"</eval></package>',
        "<post>\nfor one in a b; do\n<eval>echo date</eval>\ndone\n</post>",
        '<post>\ncase "$1" in\n<eval>echo "a) date ;;"</eval>\nesac\n</post>',
        '<file name="/etc/a" mode="pipe"><eval>echo cat</eval></file>',
        '<eval mode="xml">echo</eval><post>if [ &count; -gt 1 ]; then &program;; fi</post>',
    ],
)
def test_what_only_a_host_knows_is_no_error(body: str) -> None:
    check(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('<file name="etc/a.conf"/>&a;', "needs the whole path"),
        ('<post><file name="&folder;/a"/>\nfi\n</post>', "bash cannot read this section: line 2: "),
        ("<post>if &test;; then</post>", "bash cannot read this section: line 2: "),
        ('<post>echo &a;<include file="gone"/></post>', "there is no file gone"),
        ("<packge>&a;</packge>", "the tag <packge> is not supported here"),
    ],
)
def test_what_no_host_could_have_is_an_error(body: str, message: str) -> None:
    with pytest.raises(StateError, match=r"^n\.xml, line 2: ") as caught:
        check(body)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text", ["shopt -s extglob\nrm -f /scratch/!(kept|lost+found)\n", "if !(false); then :; fi"]
)
def test_a_section_may_switch_patterns_of_bash_on(text: str) -> None:
    check_sections([Node("n", "n.xml", sections=(Section(When.POST, (text,)),))])
