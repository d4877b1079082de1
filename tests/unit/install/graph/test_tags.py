"""Tags of node files, and their conditions."""

import pytest

from rocks.core.errors import StateError
from rocks.install.graph.document import (
    Directive,
    File,
    FileMode,
    Node,
    Package,
    Section,
    Selection,
    When,
    applies,
    holds,
)
from rocks.install.graph.tags import read_node
from tests.unit.install.graph.hosts import context


def read(body: str, **attributes: str) -> Node:
    return read_node("n", "n.xml", f"<kickstart>{body}</kickstart>".encode(), context(**attributes))


def only_file(body: str, **attributes: str) -> File:
    (section,) = read(f"<post>{body}</post>", **attributes).sections
    (file,) = [part for part in section.parts if isinstance(part, File)]
    return file


def test_packages_groups_and_exclusions() -> None:
    node = read(
        '<package> a </package><package type="meta">virtualization hosts</package><package disable="1">c</package>'
        '<package disable="0">d</package><package cond="kvm">e</package><package os="sunos">f</package>'
    )
    assert node.packages == (
        Package("a"),
        Package("virtualization hosts", is_group=True),
        Package("c", is_excluded=True),
        Package("d"),
    )


def test_sections_say_when_and_by_what() -> None:
    node = read(
        '<pre>p</pre><post interpreter="/usr/bin/python3 -I" arg="--nochroot">q</post><boot order="post">r</boot>'
        '<boot>s</boot><configure>t</configure><configure phase="pre">u</configure>'
        '<configure phase="reconfigure">v</configure><post cond="no_such">w</post><post> \n </post>'
    )
    assert [(one.when, one.parts) for one in node.sections] == [
        (When.PRE, ("p",)),
        (When.POST, ("q",)),
        (When.BOOT_POST, ("r",)),
        (When.BOOT_PRE, ("s",)),
        (When.POST, ("t",)),
        (When.PRE, ("u",)),
    ]
    assert node.sections[1].interpreter == ("/usr/bin/python3", "-I")
    assert node.sections[1].is_for_installer


def test_installer_only_tags_are_preserved() -> None:
    assert read('<main><lang>en_US</lang><part os="sunos">x</part></main>').directives == (
        Directive("lang", "en_US"),
    )


def test_files_stand_between_the_lines_of_a_section() -> None:
    (section,) = read(
        '<post>a<!-- -->b<file name="/f">x</file>c<description>d</description>e</post>'
    ).sections
    assert section == Section(When.POST, ("ab", File("/f", text="x\n"), "ce"))
    assert read('<file name="/g"/>').sections == (Section(When.POST, (File("/g"),)),)


def test_a_file_with_all_that_it_can_have() -> None:
    arguments = 'mode="append" perms="0640" owner="root.daemon" vars="expanded" rcs="false"'
    body = f'<file name="/f" {arguments}>\n  a\n b\n  </file>'
    assert only_file(body) == File(
        "/f", FileMode.APPEND, "  a\n b\n", "", "", "640", "root:daemon", True, False
    )
    assert only_file('<file name="/f" mode="pipe" src="/g">sort</file>') == File(
        "/f", FileMode.PIPE, "sort\n", source="/g"
    )
    assert only_file('<file name="/f" expr="date +%Y" owner="root"/>') == File(
        "/f", command="date +%Y", owner="root"
    )


def test_variables_are_the_files_own_and_attributes_can_be_named() -> None:
    body = '<var name="x" val="1"/><var name="y" ref="Rack"/><var name="x"/>-<var name="y"/>-&rack;'
    assert only_file(f'<file name="/f">{body}</file>', rack="7").text == "1-7-7\n"


def test_a_root_that_is_not_meant_has_nothing() -> None:
    node = read_node("n", "n.xml", b'<kickstart os="sunos"><package>a</package></kickstart>', context())
    assert node == Node("n", "n.xml")


@pytest.mark.parametrize("tag", ["eval", "include", "sinclude", "copy", "ansible", "pots"])
@pytest.mark.parametrize("body", ["\n<{}>x</{}>", "<post>\n<{}>x</{}></post>"])
def test_a_tag_that_is_not_understood_is_named_with_its_file(tag: str, body: str) -> None:
    with pytest.raises(StateError, match=rf"n\.xml, line 2: the tag <{tag}> is not supported here"):
        read(body.format(tag, tag))


@pytest.mark.parametrize(
    ("body", "arguments"),
    [
        ("<package/>", "'' is not a package name"),
        ("<package>--force</package>", "'--force' is not a package name"),
        ("<package>a;b</package>", "is not a package name"),
        ('<package type="group">a</package>', "the type of a package is meta or none"),
        ('<package wanted="1">a</package>', "<package> has no attribute wanted"),
        ('<boot order="late">a</boot>', "order of <boot> is pre or post, not 'late'"),
        ('<configure phase="late">a</configure>', "a phase of <configure> is pre, post or reconfigure"),
        ('<post interpreter="a \'b">c</post>', "the interpreter has an open quote"),
        ('<post cond="f()">c</post>', "the condition 'f()'"),
        ('<file name="etc/x"/>', "needs the whole path of a file as its name, not 'etc/x'"),
        ('<file name="/etc/"/>', "needs the whole path"),
        ('<file name="/a" mode="write"/>', "the mode of /a is create, append or pipe"),
        ('<file name="/a" src="/b"/>', "src, which goes with the mode pipe"),
        ('<file name="/a" mode="pipe"/>', "no program through which it goes"),
        ('<file name="/a" expr="date">b</file>', "has a text and expr"),
        ('<file name="/a" perms="rw"/>', "the permissions of /a are octal digits"),
        ('<file name="/a" owner="a b"/>', "the owner of /a is user or user.group"),
        ('<file name="/a" vars="some"/>', "vars of /a is literal or expanded"),
        ('<file name="/a"><file name="/b"/></file>', "the tag <file> is not supported here"),
        ("<var/>", "<var> needs a name"),
        ('<var name="x"/>', "x is neither a variable nor an attribute"),
    ],
)
def test_error_names_the_position(body: str, arguments: str) -> None:
    with pytest.raises(StateError) as caught:
        read(body)
    assert str(caught.value).startswith("n.xml, line 1: ")
    assert arguments in str(caught.value)


@pytest.mark.parametrize(
    ("data", "arguments"),
    [
        (b"<graph/>", "its root is <graph>"),
        (b"<jumpstart/>", "is for SunOS"),
        (b'<kickstart x="1"/>', "attribute x"),
    ],
)
def test_a_root_of_another_kind_is_refused(data: bytes, arguments: str) -> None:
    with pytest.raises(StateError, match=arguments):
        read_node("n", "n.xml", data, context())


_ATTRIBUTES = {"kvm": "yes", "off_word": "No", "Number": "6", "part": "1.5", "word": "linux", "empty": ""}


@pytest.mark.parametrize(
    "condition",
    [
        *("", "kvm", "KVM", "not off_word", "not absent", "absent == None", "number == 6"),
        *("number > 5 and number <= 6", "5 < number < 7", "part >= 1.5", "word == 'linux'"),
        *('word != "sunos"', "kvm == 'true'", "kvm == True", "off_word == 'off'"),
        *("word in ('linux', 'sunos')", "number not in [1, -2]", "absent or kvm"),
        *("not (absent and kvm)", "empty == ''", "not empty"),
    ],
)
def test_a_condition_that_holds(condition: str) -> None:
    assert holds(condition, _ATTRIBUTES)


@pytest.mark.parametrize(
    "condition",
    [
        *("off_word", "absent", "number == 7", "absent < 1", "absent > 1", "word < 5"),
        *("word in ('sunos',)", "kvm and absent", "1 < number < 3"),
    ],
)
def test_a_condition_that_does_not_hold(condition: str) -> None:
    assert not holds(condition, _ATTRIBUTES)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("__import__('os').system('x')", "Call"),
        ("kvm.__class__", "Attribute"),
        ("kvm[0]", "Subscript"),
        ("[x for x in kvm]", "ListComp"),
        ("lambda: 1", "Lambda"),
        ("number + 1 == 7", "BinOp"),
        ("imgstorage-network", "a dash in its name"),
        ("kvm is True", "Is"),
        ("f'{kvm}'", "JoinedStr"),
        ("kvm if absent else kvm", "IfExp"),
        ("(y := 1)", "NamedExpr"),
        ("b'x' == kvm", "Constant"),
        ("word in word", "Name"),
        ("kvm = 1", "cannot be read"),
        ("and", "cannot be read"),
        ("(" * 300 + "kvm" + ")" * 100, "cannot be read"),
        ("\0", "cannot be read"),
        ("not " * 130 + "kvm", "longer than 500"),
    ],
)
def test_what_no_condition_may_have_is_named(condition: str, message: str) -> None:
    with pytest.raises(StateError, match="condition") as caught:
        holds(condition, _ATTRIBUTES)
    assert message in str(caught.value)


def test_systems_are_alternatives_and_all_conditions_must_hold() -> None:
    host = context(kvm="yes", release="9")
    fitting = Selection(arch=("i386", "x86_64"), os=("linux",), release=("9",), condition="kvm")

    assert applies([fitting, Selection()], host)
    assert not applies([fitting, Selection(os=("sunos",))], host)
    assert not applies([Selection(release=("7", "8"))], host)
    assert not applies([Selection(release=("7",))], context())
