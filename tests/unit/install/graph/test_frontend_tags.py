"""Tags that the frontend processes: what they leave in the node, and errors that say where."""

import base64
from dataclasses import replace
from pathlib import Path

import pytest

from rocks.core.errors import StateError
from rocks.install.graph.document import Directive, File, FileMode, Node, Package, Section, When
from rocks.install.graph.tags import read_node, read_tree
from rocks.install.graph_files import Library
from tests.unit.install.graph.hosts import SmallFrontend, context


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
