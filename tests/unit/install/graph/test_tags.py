"""The node language: tags that the frontend processes, and nodes as they are read."""

import base64
from dataclasses import replace
from pathlib import Path

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
from rocks.install.graph.tags import read_node, read_tree
from rocks.install.graph_files import Library
from tests.unit.install.graph.hosts import SmallFrontend, context

# Tags that the frontend processes: what they leave in the node, and errors that say where.


def read(body: str, frontend: SmallFrontend | Library | None = None, **attributes: str) -> Node:
    data = f"<kickstart>{body}</kickstart>".encode()
    return read_node("n", "n.xml", data, context(**attributes), frontend or SmallFrontend())


def text_of(node: Node) -> str:
    (section,) = node.sections
    (part,) = section.parts
    assert isinstance(part, str)
    return part


def library(folder: Path) -> Library:
    for name in ("graphs", "include"):
        (folder / name).mkdir()
    return Library(folder)


def test_the_output_of_a_program_replaces_eval_as_text_or_as_tags() -> None:
    frontend = SmallFrontend()
    node = read(
        '<post>a <eval>echo &lt;<var name="hostname"/>&gt;</eval> b</post>'
        '<eval shell="python" mode="xml">&lt;package&gt;x&lt;/package&gt;</eval>'
        "<main><lang><eval>en</eval></lang></main>",
        frontend,
    )
    assert node.sections == (Section(When.POST, ("a h1:echo <h1> b",)),)
    assert node.packages == (Package("x"),)
    assert node.directives == (Directive("lang", "h1:en"),)
    assert frontend.programs == [
        ("sh", "echo <h1>"), ("python", "<package>x</package>"), ("sh", "en")
    ]  # fmt: skip


def test_a_program_does_not_run_where_its_tag_does_not_apply() -> None:
    frontend = SmallFrontend()
    node = read(
        '<post cond="kvm"><eval>a</eval></post><post>b<eval os="sunos">c</eval>'
        '<file name="/f" cond="kvm"><eval>d</eval></file></post>',
        frontend,
    )
    assert (text_of(node), frontend.programs) == ("b", [])


def test_without_evaluation_eval_is_empty() -> None:
    data = b"<kickstart><post>a<eval>b</eval>c</post></kickstart>"
    frontend = SmallFrontend()
    node = read_node("n", "n.xml", data, replace(context(), is_evaluated=False), frontend)
    assert (text_of(node), frontend.programs) == ("ac", [])


def test_few_files_do_not_insert_each_other_endlessly() -> None:
    ten = {f"a{n}": f'<include file="a{n + 1}" mode="xml"/>' * 10 for n in range(5)}
    with pytest.raises(
        StateError, match=r"^n\.xml, line 1: the texts that are inserted into this node are too many"
    ):
        read('<post><include file="a0" mode="xml"/></post>', SmallFrontend(**ten, a5="x"))
    with pytest.raises(StateError, match="are too many, or too long"):
        read("<post>" + '<include file="long"/>' * 17 + "</post>", SmallFrontend(long="x" * (1 << 20)))


@pytest.mark.parametrize("tag", ['<file name="/a" include="long"/>', '<var name="long"/>'])
def test_a_long_text_is_not_repeated_endlessly(tag: str) -> None:
    long = "x" * (1 << 20)
    with pytest.raises(StateError, match="are too many, or too long"):
        read(f'<var name="long" val="{long}"/><post>{tag * 17}</post>', SmallFrontend(long=long))


def test_included_files_are_text_or_tags_and_may_be_missing_for_sinclude() -> None:
    frontend = SmallFrontend(
        a="&hostname; <b>", x='<post>echo &hostname;</post><sinclude file="y" mode="xml"/>'
    )
    node = read(
        '<post><include file="a"/><sinclude file="none"/></post><include file="x" mode="xml"/>', frontend
    )
    assert [one.parts for one in node.sections] == [("&hostname; <b>",), ("echo h1",)]


def test_a_files_content_may_be_an_included_file() -> None:
    (section,) = read('<file name="/f" include="a"/>', SmallFrontend(a="x < y\n")).sections
    assert section.parts == (File("/f", FileMode.CREATE, "x < y\n"),)


def test_a_copied_file_travels_as_base64() -> None:
    content = "\x00 '\n" * 100
    (section,) = read(
        '<copy src="/a" dst="/b" perms="0600" owner="root"/>', SmallFrontend(**{"/a": content})
    ).sections
    (file,) = section.parts
    assert isinstance(file, File)
    assert (file.path, file.permissions, file.owner) == ("/b", "600", "root")
    first, *lines, last = file.command.splitlines()
    assert (first, last) == ("base64 -d <<'ROCKS-COPY'", "ROCKS-COPY")
    assert base64.b64decode("".join(lines)).decode() == content


def test_every_tag_is_annotated_with_its_source() -> None:
    data = b'<kickstart roll="r">\n<post>\n<file name="/f"/></post>\n<eval mode="xml">&lt;boot/&gt;</eval></kickstart>'
    frontend = SmallFrontend(hostname="")
    frontend.evaluate = lambda shell, text, environment: text  # type: ignore[method-assign]
    tree = read_tree("n", "n.xml", data, context(), frontend)
    found = [(one.tag, one.get("roll"), one.get("file"), one.get("line")) for one in tree.root.iter()]
    assert found == [
        ("kickstart", "r", "n.xml", "1"),
        ("post", "r", "n.xml", "2"),
        ("file", "r", "n.xml", "3"),
        ("boot", "r", "n.xml", "4"),
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("\n<eval shell='perl'>x</eval>", "n.xml, line 2: shell of <eval> is sh, bash or python, not 'perl'"),
        ("\n<eval mode='raw'>x</eval>", "n.xml, line 2: mode of <eval> is quote or xml, not 'raw'"),
        ("<eval><file name='/f'/></eval>", "<eval> contains a program and no tags"),
        ("<eval mode='xml'>&lt;a&gt;</eval>", "n.xml, line 1, its text, line 1: invalid XML"),
        ("<include/>", "<include> needs the name of a file"),
        ("\n\n<include file='nosuch'/>", "n.xml, line 3: there is no file nosuch in the folders include"),
        ("<include file='x' to='y'/>", "<include> has no attribute to"),
        ("<post><file name='/f' include='a'>b</file></post>", "<file> has a text and include; use one"),
        ("<include file='itself' mode='xml'/>", "inserted texts insert others, more than 16 deep"),
        ("<include file='control'/>", "its text has '\\x07', which XML cannot contain"),
        ("\n<file name='/f' include='control'/>", "n.xml, line 2: its text has '\\x07', which XML cannot"),
        (
            "\n<post><var name='bell'/></post>",
            "n.xml, line 2: its text has '\\x07', which XML cannot contain",
        ),
    ],
)
def test_errors_name_file_and_line(body: str, message: str) -> None:
    files = SmallFrontend(a="", itself='<include file="itself" mode="xml"/>', control="\a")
    with pytest.raises(StateError) as caught:
        read(body, files, bell="\a")
    assert message in str(caught.value)


def test_real_programs_have_the_attributes_and_not_those_that_choose_code(tmp_path: Path) -> None:
    node = read(
        "<post><eval>echo $rack $1$PATH | cut -d: -f1; cat</eval>"
        '<eval shell="python">import os; print(os.environ["rack"], "LD_PRELOAD" in os.environ)</eval></post>',
        library(tmp_path),
        rack="7",
        PATH="/attacker",
        LD_PRELOAD="/attacker.so",
    )
    text = text_of(node)
    assert text.startswith("7 /") and "attacker" not in text
    assert text.endswith("7 False\n")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "<eval>echo why >&amp;2; exit 3</eval>",
            "n.xml, line 1: the program of <eval> ended with exit status 3: why",
        ),
        ("<eval>false</eval>", "ended with exit status 1: it printed no message"),
        ("<eval>printf '\\377'</eval>", "the output of <eval> is not UTF-8 text"),
        ("<eval>yes | head -c 5000000</eval>", "the output of <eval> has more than 4 MiB"),
        ("<include file='/etc/passwd'/>", "leaves the include folder"),
        ("<include file='a/../../b'/>", "leaves the include folder"),
        ("<include file='link'/>", "is a link that leaves the include folder"),
        ("<include file='binary'/>", "is not UTF-8 text"),
        ("<copy/>", "<copy> needs src, the whole path of a file on the frontend"),
        ("<copy src='etc/passwd'/>", "<copy> needs src, the whole path"),
        ("<copy src='/nosuch'/>", "<copy> cannot read /nosuch: there is no such file on the frontend"),
        ("<copy src='/dev/zero'/>", "<copy> cannot read /dev/zero"),
        (f"<copy src='/{'a' * 5000}'/>", "there is no such file on the frontend"),
        (f"<include file='{'a' * 5000}'/>", "there is no file aaa"),
        ("<eval>yes | head -c 5000000; exec sleep 50</eval>", "the output of <eval> has more than 4 MiB"),
    ],
)
def test_what_the_frontend_cannot_do_is_one_error(tmp_path: Path, body: str, message: str) -> None:
    files = library(tmp_path)
    (tmp_path / "include/link").symlink_to("/etc/passwd")
    (tmp_path / "include/binary").write_bytes(b"\xff")
    with pytest.raises(StateError) as caught:
        read(body, files)
    assert message in str(caught.value)
    assert str(caught.value).startswith("n.xml, line 1: ")


def test_a_very_large_file_is_not_copied(tmp_path: Path) -> None:
    files = library(tmp_path)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(
        StateError, match="has more than 4 MiB, too much for a profile: put it into a package"
    ):
        read(f"<copy src='{tmp_path}/large'/>", files)


# Tags of node files, and their conditions.


def read_of_tags(body: str, **attributes: str) -> Node:
    return read_node("n", "n.xml", f"<kickstart>{body}</kickstart>".encode(), context(**attributes))


def only_file(body: str, **attributes: str) -> File:
    (section,) = read_of_tags(f"<post>{body}</post>", **attributes).sections
    (file,) = [part for part in section.parts if isinstance(part, File)]
    return file


def test_packages_groups_and_exclusions() -> None:
    node = read_of_tags(
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
    node = read_of_tags(
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
    assert read_of_tags('<main><lang>en_US</lang><part os="sunos">x</part></main>').directives == (
        Directive("lang", "en_US"),
    )


def test_files_stand_between_the_lines_of_a_section() -> None:
    (section,) = read_of_tags(
        '<post>a<!-- -->b<file name="/f">x</file>c<description>d</description>e</post>'
    ).sections
    assert section == Section(When.POST, ("ab", File("/f", text="x\n"), "ce"))
    assert read_of_tags('<file name="/g"/>').sections == (Section(When.POST, (File("/g"),)),)


def test_a_file_with_all_that_it_can_have() -> None:
    arguments = 'mode="append" perms="0640" owner="root.daemon" vars="expanded" rcs="false"'
    body = f'<file name="/f" {arguments}>\n  a\n b\n  </file>'
    assert only_file(body) == File(
        "/f", FileMode.APPEND, "  a\n b\n", "", "", "640", "root:daemon", True, False
    )
    assert [only_file(f'<file name="/f" rcs="{word}"/>').keeps_original for word in ("off", "on", "")] == [
        False,
        True,
        True,
    ]
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
        read_of_tags(body.format(tag, tag))


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
        read_of_tags(body)
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
