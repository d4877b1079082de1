"""The life of a roll: built, added, enabled, replaced, disabled, removed."""

import os
import re
import shlex
from pathlib import Path

import pytest

from rocks.core.errors import RocksError
from rocks.core.process import run_checked
from rocks.core.version import ROLL_NAME
from rocks.install.rolls.iso import create_roll
from tests.rolls import write_roll
from tests.system.commands.conftest import Site

from .conftest import BuildRoll

HELLO = "NAME   VERSION ARCH   ENABLED\nhello: 1.0     noarch {}\n"


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_roll_is_added_enabled_disabled_and_removed(
    roll_site: Site, build_roll: BuildRoll, rolls_folder: Path
) -> None:
    iso = build_roll()
    ended = roll_site.rocks("add", "roll", str(iso))
    assert (ended.status, ended.out) == (0, "")
    assert (
        ended.err
        == "added roll hello 1.0 noarch (not signed); to use it: rocks enable roll hello version=1.0\n"
    )
    assert roll_site.done("list", "roll") == HELLO.format("no     ")
    assert roll_site.rocks("report", "hello").status == 255
    assert {"SHA256SUMS", "roll-hello.xml", "nodes/hello.xml"} < set(
        files_below(rolls_folder / "hello/1.0/noarch")
    )

    assert roll_site.done("enable", "roll", "hello") == ""
    assert roll_site.done("list", "roll") == HELLO.format("yes    ")
    assert roll_site.done("report", "hello") == "hello from 1.0\n"
    assert roll_site.done("list", "roll", "command") == "ROLL   COMMAND     \nhello: report hello\n"

    assert roll_site.done("disable", "roll", "hello") == ""
    assert roll_site.done("list", "roll", "hello", "version=1%") == HELLO.format("no     ")
    assert roll_site.rocks("report", "hello").status == 255

    assert roll_site.done("remove", "roll", "hello") == ""
    assert roll_site.done("list", "roll") == ""
    assert files_below(rolls_folder) == {}
    assert roll_site.refused("remove", "roll", "hello").startswith('unknown roll "hello"')


def test_an_enabled_roll_changes_the_profile_of_a_host(roll_site: Site, build_roll: BuildRoll) -> None:
    roll_site.rocks("add", "roll", str(build_roll()))
    roll_site.done("add", "host", "compute-0-0")
    roll_site.done("set", "host", "attr", "compute-0-0", "hello_message", "good & new")
    assert "hello.conf" not in roll_site.done("report", "host", "profile", "compute-0-0")
    roll_site.done("enable", "roll", "hello")
    profile = roll_site.done("report", "host", "profile", "compute-0-0")
    assert "message = good & new\n" in profile and "/etc/hello.conf" in profile


def test_the_same_roll_again_changes_nothing_and_another_content_is_refused(
    roll_site: Site, build_roll: BuildRoll, rolls_folder: Path, tmp_path: Path
) -> None:
    iso = build_roll()
    roll_site.rocks("add", "roll", str(iso))
    before = files_below(rolls_folder)
    assert roll_site.rocks("add", "roll", str(iso)).status == 0
    assert files_below(rolls_folder) == before

    (tmp_path / "sources/hello-1.0-noarch/include").mkdir()
    (tmp_path / "sources/hello-1.0-noarch/include/more").write_text("more\n")
    other = build_roll()
    assert "is there with other content: clean=yes" in roll_site.refused("add", "roll", str(other))
    assert files_below(rolls_folder) == before
    assert roll_site.rocks("add", "roll", str(other), "clean=yes").status == 0
    assert (rolls_folder / "hello/1.0/noarch/include/more").read_text() == "more\n"

    roll_site.done("enable", "roll", "hello")
    (tmp_path / "sources/hello-1.0-noarch/include/more").write_text("again\n")
    assert "is enabled, and its files in use" in roll_site.refused(
        "add", "roll", str(build_roll()), "clean=yes"
    )


def test_one_version_is_enabled_and_a_newer_one_replaces_it(roll_site: Site, build_roll: BuildRoll) -> None:
    isos = [str(build_roll(version=version)) for version in ("1.0", "1.10")]
    assert roll_site.rocks("add", "roll", *isos).status == 0
    assert "of which one can be enabled: add version=" in roll_site.refused("enable", "roll", "hello")
    roll_site.done("enable", "roll", "hello", "version=1.0")
    assert roll_site.done("report", "hello") == "hello from 1.0\n"
    ended = roll_site.rocks("enable", "roll", "hello", "version=1.10")
    assert (ended.status, ended.err) == (0, "disabled roll hello 1.0 noarch: another version is enabled\n")
    assert [line.split()[-1] for line in roll_site.done("list", "roll").splitlines()] == [
        "ENABLED",
        "no",
        "yes",
    ]
    assert 'has no version "3", only 1.0 noarch, 1.10 noarch' in roll_site.refused(
        "enable", "roll", "hello", "version=3"
    )


def test_a_roll_that_another_needs_stays(roll_site: Site, build_roll: BuildRoll) -> None:
    for iso in (build_roll(), build_roll("extra", needs="hello>=1.0 rocks-virtual-clusters")):
        roll_site.rocks("add", "roll", str(iso))
    assert "needs the roll hello, which is not enabled" in roll_site.refused("enable", "roll", "extra")
    roll_site.done("enable", "roll", "extra", "hello")
    assert "the roll extra needs the roll hello: rocks disable roll extra first" in roll_site.refused(
        "disable", "roll", "hello"
    )
    roll_site.done("disable", "roll", "extra", "hello")
    roll_site.done("remove", "roll", "%")
    assert roll_site.done("list", "roll") == ""


def test_an_enabled_roll_is_not_removed(roll_site: Site, build_roll: BuildRoll, rolls_folder: Path) -> None:
    isos = [str(build_roll()), str(build_roll("extra")), str(build_roll(version="2.0"))]
    roll_site.rocks("add", "roll", *isos)
    roll_site.done("enable", "roll", "extra", "hello", "version=1.0")
    before = files_below(rolls_folder)
    for selected, enabled in (
        (["%"], "extra hello"),
        (["hello"], "hello"),
        (["hello", "version=1.0"], "hello"),
    ):
        message = roll_site.refused("remove", "roll", *selected)
        assert f"rocks disable roll {enabled}, then repeat the command" in message
    assert files_below(rolls_folder) == before and roll_site.done("report", "hello") == "hello from 1.0\n"
    roll_site.done("remove", "roll", "hello", "version=2.0")
    roll_site.done("disable", "roll", "extra", "hello")
    roll_site.done("remove", "roll", "%")
    assert files_below(rolls_folder) == {}


def test_a_roll_that_needs_a_later_version_is_refused(roll_site: Site, build_roll: BuildRoll) -> None:
    for iso in (build_roll(), build_roll("extra", needs="hello>=1.10")):
        roll_site.rocks("add", "roll", str(iso))
    assert "needs version 1.10 or later of the roll hello, and 1.0 is enabled" in roll_site.refused(
        "enable", "roll", "extra", "hello"
    )
    roll_site.rocks("add", "roll", str(build_roll("later", needs="rocks-virtual-clusters>=99")))
    assert "needs version 99 or later of the roll rocks-virtual-clusters" in roll_site.refused(
        "enable", "roll", "later"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("nodes/kvm-base.xml", "<kickstart/>", 'has the node "kvm-base", and so has'),
        ("commands/list/host/__init__.py", "", 'has the command "list host", and so has these programs'),
        (
            "graphs/default/more.xml",
            '<graph><edge from="client" to="nothing"/></graph>',
            'leads from client to the node "nothing", which no enabled roll has',
        ),
        (
            "graphs/default/more.xml",
            '<graph><order head="hello" tail="client"/>\n<order head="client" tail="hello"/></graph>',
            "the order of the graph has a cycle: ",
        ),
    ],
)
def test_names_that_are_taken_edges_to_nothing_and_cycles_are_refused(
    roll_site: Site, build_roll: BuildRoll, tmp_path: Path, path: str, text: str, message: str
) -> None:
    file = tmp_path / "sources/hello-1.0-noarch" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    assert roll_site.rocks("add", "roll", str(build_roll())).status == 0
    assert message in roll_site.refused("enable", "roll", "hello")
    assert roll_site.rocks("report", "hello").status == 255


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ("<packge>tmux</packge>", "the tag <packge> is not supported here"),
        ("<post>if true; then</post>", "bash cannot read this section: line 2: syntax error"),
        ('<post><include file="gone"/></post>', "there is no file gone in the folders include"),
        ('<post><include file="../../../etc/passwd"/></post>', "leaves the include folder"),
        ('<file name="etc/../../scratch.conf"/>', "scratch.conf"),
    ],
)
def test_a_roll_with_a_node_that_no_host_could_have_is_not_built(
    roll_site: Site, tmp_path: Path, tag: str, message: str
) -> None:
    """`check graph` says the same of its sources, before; a file to copy may be on the frontend only."""
    description = write_roll(tmp_path / "sources", "hello")
    node = tmp_path / "sources/nodes/hello.xml"
    whole = node.read_text()
    node.write_text(whole.replace("</kickstart>", '<copy src="/root/of-the-frontend"/></kickstart>'))
    create_roll(description, tmp_path)
    node.write_text(whole.replace("</kickstart>", f"\n{tag}</kickstart>"))
    with pytest.raises(RocksError, match=re.escape(message)) as caught:
        create_roll(description, tmp_path)
    assert "nodes/hello.xml, line " in str(caught.value)
    checked = roll_site.rocks("check", "graph", f"basedir={description.parent}")
    assert checked.status and message in " ".join(checked.out.split()), checked


@pytest.mark.slow
def test_a_roll_that_is_being_written_is_checked_with_what_it_belongs_to(
    roll_site: Site, tmp_path: Path
) -> None:
    """Its edges lead from nodes of these programs; an enabled version of it is left out."""
    description = write_roll(tmp_path / "sources", "hello")
    roll_site.rocks("add", "roll", str(create_roll(description, tmp_path)))
    roll_site.done("enable", "roll", "hello")
    checked = roll_site.done("check", "graph", f"basedir={description.parent}")
    assert "nodes/hello.xml: ok the node hello" in " ".join(checked.split())


def test_a_node_may_include_what_a_needed_roll_brings(
    roll_site: Site, build_roll: BuildRoll, tmp_path: Path
) -> None:
    """Built, added and enabled before that roll or together with it, as any other roll that needs one."""
    section = 'if true; then\n<include file="common.sh"/>\nfi'
    for path, text in {
        "shared-1.0-noarch/include/common.sh": "date",
        "user-1.0-noarch/nodes/more.xml": f"<kickstart><post>{section}</post></kickstart>",
    }.items():
        file = tmp_path / "sources" / path
        file.parent.mkdir(parents=True)
        file.write_text(text)
    assert roll_site.rocks("add", "roll", str(build_roll("user", needs="shared"))).status == 0
    assert roll_site.rocks("add", "roll", str(build_roll("shared"))).status == 0
    roll_site.done("enable", "roll", "user", "shared")


@pytest.mark.slow
def test_the_nodes_of_a_roll_in_use_do_not_keep_others_from_a_change(
    roll_site: Site, build_roll: BuildRoll, rolls_folder: Path
) -> None:
    """An earlier version may have enabled it."""
    roll_site.rocks("add", "roll", str(build_roll()), str(build_roll("extra")))
    roll_site.done("enable", "roll", "hello")
    node = rolls_folder / "hello/1.0/noarch/nodes/hello.xml"
    node.write_text("<kickstart><post>if true; then</post></kickstart>")
    roll_site.done("enable", "roll", "extra")
    roll_site.done("disable", "roll", "extra")
    roll_site.done("disable", "roll", "hello")
    assert "is damaged" in roll_site.refused("enable", "roll", "hello")


def test_two_rolls_with_the_same_command_are_not_enabled_together(
    roll_site: Site, build_roll: BuildRoll, tmp_path: Path
) -> None:
    file = tmp_path / "sources/extra-1.0-noarch/commands/report/hello/__init__.py"
    file.parent.mkdir(parents=True)
    file.write_text("class Command:\n    pass\n")
    roll_site.rocks("add", "roll", str(build_roll()), str(build_roll("extra")))
    roll_site.done("enable", "roll", "hello")
    assert 'the roll extra has the command "report hello", and so has the roll hello' in roll_site.refused(
        "enable", "roll", "extra"
    )


def test_the_roll_of_these_programs_is_replaced_while_others_need_it(
    roll_site: Site, build_roll: BuildRoll, tmp_path: Path
) -> None:
    """As the frontend's medium does with another build or version: its orders and nodes need not fit ours."""
    description = write_roll(tmp_path / "ours", ROLL_NAME)
    (tmp_path / f"ours/graphs/default/{ROLL_NAME}.xml").unlink()  # with conditions on names with dashes
    order = '<graph><order head="base" tail="distribution"/></graph>'
    (tmp_path / "ours/graphs/default/order.xml").write_text(order)
    (tmp_path / "ours/nodes/later.xml").write_text("<kickstart><of-a-later-version/></kickstart>")
    for iso in (create_roll(description, tmp_path), build_roll("extra", needs=ROLL_NAME)):
        assert roll_site.rocks("add", "roll", str(iso)).status == 0
    roll_site.done("enable", "roll", ROLL_NAME, "extra")
    roll_site.done("disable", "roll", ROLL_NAME)
    roll_site.done("enable", "roll", ROLL_NAME)


def test_a_roll_for_another_machine_is_refused(roll_site: Site, build_roll: BuildRoll) -> None:
    other = "aarch64" if os.uname().machine != "aarch64" else "x86_64"
    message = roll_site.refused("add", "roll", str(build_roll(arch=other)))
    assert f"has the roll hello 1.0 {other}, and this frontend is {os.uname().machine}" in message


def test_changed_files_are_found_when_the_roll_is_enabled(
    roll_site: Site, build_roll: BuildRoll, rolls_folder: Path
) -> None:
    roll_site.rocks("add", "roll", str(build_roll()))
    (rolls_folder / "hello/1.0/noarch/nodes/hello.xml").write_text("<kickstart/>")
    assert "nodes/hello.xml has another checksum" in roll_site.refused("enable", "roll", "hello")
    (rolls_folder / "hello/1.0/noarch").rename(rolls_folder / "elsewhere")
    assert "are not in" in roll_site.refused("enable", "roll", "hello")


def test_a_roll_whose_commands_cannot_be_named_is_enabled_all_the_same(
    roll_site: Site, build_roll: BuildRoll, tmp_path: Path
) -> None:
    """The error says so, and what completes it."""
    roll_site.rocks("add", "roll", str(build_roll()))
    obstacle = tmp_path / "trees.d/roll-hello"
    obstacle.mkdir(parents=True)
    ended = roll_site.rocks("enable", "roll", "hello")
    assert ended.status == 1 and f"the rolls are changed, but cannot write {obstacle}: " in ended.err
    assert "; then repeat the command" in ended.err
    assert roll_site.done("list", "roll") == HELLO.format("yes    ")
    obstacle.rmdir()
    roll_site.done("enable", "roll", "hello")
    assert roll_site.done("report", "hello") == "hello from 1.0\n"


def test_an_enabled_roll_s_files_are_root_s(
    roll_site: Site, build_roll: BuildRoll, rolls_folder: Path
) -> None:
    """Earlier versions kept the builder's owner and modes; an open file of that owner no longer changes the roll."""
    roll_site.rocks("add", "roll", str(build_roll()))
    top = rolls_folder / "hello/1.0/noarch"
    node = top / "nodes/hello.xml"
    for path in (top, *top.rglob("*")):
        os.chown(path, 1000, 1000)
        path.chmod(0o777)
    before = node.read_bytes()
    with node.open("r+b") as of_its_owner:
        roll_site.rocks("enable", "roll", "hello")
        of_its_owner.write(b"changed")
    assert node.read_bytes() == before
    kinds = {(path.is_dir(), path.stat().st_uid, path.stat().st_mode & 0o7777) for path in top.rglob("*")}
    assert kinds == {(True, 0, 0o755), (False, 0, 0o644)}
    assert (top.stat().st_uid, top.stat().st_mode & 0o7777) == (0, 0o755)
    assert [path.name for path in top.parent.iterdir()] == ["noarch"]


def test_whose_files_a_folder_has_cannot_change_it_after_its_check(
    roll_site: Site, build_roll: BuildRoll, rolls_folder: Path
) -> None:
    """Before it is enabled, and the signature is not checked again."""
    roll_site.rocks("add", "roll", str(build_roll()))
    top = rolls_folder / "hello/1.0/noarch"
    paths = (top.parent.parent, *top.parent.parent.rglob("*"))
    for command in (("add", "roll", str(top)), ("enable", "roll", "hello")):
        for path in paths:
            os.chown(path, 1000, 1000)
        done = roll_site.rocks(*command)
        assert done.status == 0, done.err
        assert {path.stat().st_uid for path in paths} == {0}


def test_an_owner_s_link_to_another_file_is_not_followed(
    roll_site: Site, build_roll: BuildRoll, rolls_folder: Path, tmp_path: Path
) -> None:
    roll_site.rocks("add", "roll", str(build_roll()))
    secret = tmp_path / "secret"
    secret.write_text("root's")
    secret.chmod(0o600)
    node = rolls_folder / "hello/1.0/noarch/nodes/hello.xml"
    for make in (node.symlink_to, node.hardlink_to):
        node.unlink()
        make(secret)
        assert "hello.xml" in roll_site.refused("enable", "roll", "hello")
        assert secret.stat().st_mode & 0o7777 == 0o600


def test_a_dump_adds_and_enables_the_rolls_again(roll_site: Site, build_roll: BuildRoll) -> None:
    for iso in (build_roll(), build_roll(version="2.0"), build_roll("extra", "2.0", needs="hello")):
        roll_site.rocks("add", "roll", str(iso))
    roll_site.done("enable", "roll", "hello", "extra", "version=2.0")
    before, dumped = roll_site.done("list", "roll"), roll_site.done("dump", "roll")
    assert dumped in roll_site.done("dump")
    roll_site.change("DELETE FROM rolls")
    for line in dumped.splitlines():
        assert roll_site.rocks(*shlex.split(line)[1:]).status == 0
    assert roll_site.done("list", "roll") == before


def test_add_roll_without_an_argument_needs_a_mounted_cd(roll_site: Site) -> None:
    assert roll_site.refused("add", "roll").startswith("CDROM not mounted: give the path")


def test_rolls_that_are_not_named(roll_site: Site) -> None:
    for verb in ("enable", "disable", "remove"):
        assert roll_site.refused(verb, "roll").startswith("must supply at least one roll")
        assert roll_site.refused(verb, "roll", "no'such").startswith('unknown roll "no\'such"')
    assert roll_site.refused("list", "roll", "nothing").startswith('unknown roll "nothing"')
    assert roll_site.done("list", "roll", "command", "nothing") == ""
    assert "list host" in roll_site.done("list", "roll", "command", "base")


def test_the_manifest_is_that_of_sha256sum(
    roll_site: Site, build_roll: BuildRoll, rolls_folder: Path
) -> None:
    roll_site.rocks("add", "roll", str(build_roll()))
    folder = rolls_folder / "hello/1.0/noarch"
    check = ["env", "-C", str(folder), "sha256sum", "--check", "--strict", "SHA256SUMS"]
    checked = run_checked(check, deadline_seconds=60)
    assert "nodes/hello.xml: OK" in checked.text
