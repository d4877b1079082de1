"""What a roll's sources may be, and the errors of those that are not."""

import fcntl
import os
import shutil
import struct
from pathlib import Path

import pytest

from rocks.core.errors import BusyError, RocksError, ToolError, UserError
from rocks.core.process import run_checked
from rocks.install.rolls.content import Requirement, RollDescription, RollId, read_description
from rocks.install.rolls.iso import create_roll, work_folder
from rocks.install.rolls.package_files import Package, debian_key, newest_per_name, read_package, rpm_key
from rocks.library import xorriso
from rocks.library.xorriso import write_iso
from tests.debs import make_deb
from tests.rolls import write_roll

needs_xorriso = pytest.mark.skipif(shutil.which("xorriso") is None, reason="xorriso is not installed")
needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg is not installed")


def make_rpm(path: Path, name: str, version: str, release: str, arch: str, source: bool = False) -> Path:
    """The lead and the two headers of an rpm; its tags are those of rpm's format 4."""
    tags = {1000: name, 1001: version, 1002: release, 1022: arch} | ({} if source else {1044: "a.src.rpm"})
    store, entries = b"", b""
    for tag, text in tags.items():
        entries += struct.pack(">IIII", tag, 6, len(store), 1)
        store += text.encode() + b"\0"
    header = b"\x8e\xad\xe8\x01" + bytes(4)
    signature = header + struct.pack(">II", 0, 4) + bytes(4) + bytes(4)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\xed\xab\xee\xdb"
        + bytes(92)
        + signature
        + header
        + struct.pack(">II", len(tags), len(store))
        + entries
        + store
    )
    return path


def makes_no_roll(description: Path, message: str) -> None:
    """The error has the message, and nothing is left beside the sources."""
    source = description.parent
    with pytest.raises(RocksError) as error:
        create_roll(description, source.parent)
    assert message in str(error.value)
    assert list(source.parent.iterdir()) == [source]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name="hello"', 'name="../x"', 'the name of the roll is "../x"; it must match'),
        ('name="hello"', 'name="other"', "name the file roll-other.xml"),
        ('version="1.0"', 'version=""', "the version of the roll is"),
        ('version="1.0"', 'version="1/0"', "the version of the roll is"),
        ('arch="noarch"', 'arch=""', "the arch of the roll is"),
        ('os="linux"', 'os="sunos"', 'is for "sunos"'),
        ('interface="4.0"', 'interface="6.0"', 'version "6.0" of the format of rolls'),
        ('rolls=""', 'rolls="a b;c"', 'the needed roll "b;c" must be written as'),
        ('maxsize="0"', 'maxsize="-1"', "maxsize is the largest ISO in MB"),
        ('maxsize="0"', 'maxsize="1000000000"', "maxsize is the largest ISO in MB"),
        ('date="2026-01-31"', 'date="tomorrow"', 'the timestamp "tomorrow 12:00:00"'),
        ("<iso ", "<isu ", "<isu> is not a tag of rolls"),
        ("<info ", "<author/><remark ", "<remark> is not a tag of rolls"),
        ("<roll ", "<roll", "invalid XML"),
        ("<roll", '<!DOCTYPE roll [<!ENTITY a SYSTEM "/etc/passwd">]><roll', "has a DOCTYPE"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    description = write_roll(tmp_path / "source")
    text = description.read_text()
    assert old in text
    description.write_text(text.replace(old, new, 1))
    makes_no_roll(description, message)


def test_what_a_description_states_is_read() -> None:
    """A date without a time is midnight in UTC; names of rolls stand between commas or blanks."""
    text = (
        '<roll name="hello" interface="4.0"><timestamp date="1970-01-02"/><info version="1.0" arch="noarch"/>'
        '<iso maxsize="999999999"/><rpm rolls="a,b>=2.0 c" src="1"/></roll>'
    )
    assert read_description(text.encode(), "roll-hello.xml") == RollDescription(
        RollId("hello", "1.0", "noarch"),
        "0",
        (Requirement("a", ""), Requirement("b", "2.0"), Requirement("c", "")),
        999_999_999,
        has_sources=True,
        made_at=86_400,
    )
    of_rocks = read_description(text.replace("a,b>=2.0 c", "0").encode(), "roll-hello.xml")
    assert of_rocks.requirements == ()
    least = read_description(b'<roll name="a"><info version="1" arch="noarch"/></roll>', "roll-a.xml")
    assert least == RollDescription(RollId("a", "1", "noarch"), "0")


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("nodes/bad.xml", "<kickstart>", "nodes/bad.xml, line 1: invalid XML"),
        ("nodes/bad.xml", "<graph/>", "its root is <graph> and not <kickstart>"),
        ("nodes/bad.xml", '<kickstart roll="other"/>', 'is of the roll "other", and this roll is hello'),
        ("nodes/bad name.xml", "<kickstart/>", "bad name"),
        ("graphs/default/bad.xml", '<graph><egde from="a" to="b"/></graph>', "<egde> is not a tag of graphs"),
        (
            "commands/report/bad/__init__.py",
            "class\n",
            "commands/report/bad/__init__.py, line 1 is not Python",
        ),
        ("include/bad file", "x", "bad file cannot be in a roll: give it a name"),
        ("packages/bad.rpm", "x", "is not a whole rpm"),
        ("packages/bad.deb", "x", "is not a whole Debian package"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, path: str, text: str, message: str) -> None:
    description = write_roll(tmp_path / "source")
    (tmp_path / "source" / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "source" / path).write_text(text)
    makes_no_roll(description, message)


def test_a_link_out_of_the_sources_is_refused_and_one_inside_is_followed(tmp_path: Path) -> None:
    description = write_roll(tmp_path / "source")
    (tmp_path / "source/include").mkdir()
    (tmp_path / "source/include/secret").symlink_to("/etc/shadow")
    with pytest.raises(UserError, match="is a link to /etc/shadow, outside the roll"):
        create_roll(description, tmp_path)
    (tmp_path / "source/include/secret").unlink()
    (tmp_path / "source/include/folder").symlink_to("/etc")
    with pytest.raises(UserError, match="is a link to /etc, outside the roll"):
        create_roll(description, tmp_path)


@needs_xorriso
def test_an_iso_larger_than_it_may_be_is_refused(tmp_path: Path) -> None:
    description = write_roll(tmp_path / "source")
    (tmp_path / "source/include").mkdir()
    (tmp_path / "source/include/large").write_bytes(os.urandom(2_000_000))
    description.write_text(description.read_text().replace('maxsize="0"', 'maxsize="1"'))
    with pytest.raises(UserError, match=r"has 3 MB, and roll-hello\.xml permits 1"):
        create_roll(description, tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "source"]


@needs_xorriso
def test_what_a_killed_build_left_is_removed_and_two_at_once_are_refused(tmp_path: Path) -> None:
    description = write_roll(tmp_path / "source")
    left = tmp_path / ".hello-1.0-1.noarch.disk1.iso.building"
    (left / "tree/hello").mkdir(parents=True)
    descriptor = os.open(left, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(BusyError, match="is being built by another command"):
        create_roll(description, tmp_path)
    os.close(descriptor)
    assert create_roll(description, tmp_path).is_file()
    assert not left.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder another user's")
def test_no_roll_is_built_in_a_folder_of_another_user(tmp_path: Path) -> None:
    description = write_roll(tmp_path / "source")
    theirs = tmp_path / ".hello-1.0-1.noarch.disk1.iso.building"
    theirs.mkdir(0o777)
    os.chown(theirs, 65534, 65534)
    with pytest.raises(UserError, match="is another user's"):
        create_roll(description, tmp_path)
    assert [*theirs.iterdir()] == []


def test_only_the_builder_enters_the_folder_in_which_a_roll_is_built(tmp_path: Path) -> None:
    left = tmp_path / ".hello.iso.building"
    left.mkdir(0o755)
    with work_folder(tmp_path / "hello.iso") as work:
        assert work == left
        assert work.stat().st_mode & 0o777 == 0o700


@needs_xorriso
@needs_dpkg
def test_packages_are_put_where_their_kind_belongs(tmp_path: Path) -> None:
    from rocks.install.rolls.iso import extract_roll

    description = write_roll(tmp_path / "source", arch="x86_64")
    make_deb(tmp_path / "source/packages", "hello", "2:1.0-1", arch="amd64")
    make_rpm(tmp_path / "source/RPMS/noarch/any.rpm", "hello", "1.0", "1", "noarch")
    make_rpm(tmp_path / "source/SRPMS/any.rpm", "hello", "1.0", "1", "x86_64", source=True)
    iso = create_roll(description, tmp_path)
    extract_roll(iso, RollId("hello", "1.0", "x86_64"), tmp_path / "out")
    assert sorted(str(p.relative_to(tmp_path / "out")) for p in tmp_path.glob("out/**/*.[dr][ep][bm]")) == [
        "Debian/hello_1.0-1_amd64.deb",
        "RedHat/RPMS/hello-1.0-1.noarch.rpm",
    ]


@needs_dpkg
def test_a_package_for_another_machine_is_refused(tmp_path: Path) -> None:
    description = write_roll(tmp_path / "source")
    make_deb(tmp_path / "source/packages", "hello", "1.0-1", arch="amd64")
    with pytest.raises(UserError, match="is for amd64, and the roll is for noarch"):
        create_roll(description, tmp_path)


@needs_dpkg
def test_the_newest_package_of_a_name(tmp_path: Path) -> None:
    debs = [make_deb(tmp_path, "hello", version) for version in ("1.9-1", "1.10~rc1-1", "1.10-1", "0:1.2-9")]
    rpms = [make_rpm(tmp_path / f"{v}.rpm", "hello", v, "1", "noarch") for v in ("1.9", "1.10", "1.10~rc1")]
    found = newest_per_name(map(read_package, (*debs, *rpms)))
    assert [(one.kind, one.version) for one in found] == [("deb", "1.10-1"), ("rpm", "1.10-1")]


@pytest.mark.parametrize(
    ("kind", "version", "file_name"),
    [
        ("deb", "1:2.0-1", "foo_2.0-1_amd64.deb"),
        ("rpm", "2.0-1", "foo-2.0-1.amd64.rpm"),
        ("src", "2.0-1", "foo-2.0-1.src.rpm"),
    ],
)
def test_the_usual_names_of_package_files(kind: str, version: str, file_name: str) -> None:
    """The source of an rpm has an architecture too: that of the machine on which it was packed."""
    assert Package(Path("given"), kind, "foo", version, "amd64", ()).file_name == file_name


def test_the_order_of_debian_versions() -> None:
    """As `dpkg --compare-versions` has it, where that is installed."""
    order = [
        *("1.0~~", "1.0~", "1.0~rc1", "1.0", "1.0-1", "1.0-1.1", "1.0a", "1.0+b", "1.0.1", "1.9"),
        *("1.10", "2.0", "1:0.1"),
    ]
    assert sorted(order, key=debian_key) == order
    if shutil.which("dpkg"):
        for one, other in zip(order, order[1:], strict=False):
            run_checked(["dpkg", "--compare-versions", one, "lt", other], deadline_seconds=10)
    assert debian_key("1.0") == debian_key("1.0-0") == debian_key("0:1.0"), "without a revision, it is 0"


def test_the_order_of_rpm_versions() -> None:
    order = ["1.0~rc1", "1.0", "1.0^git1", "1.0a", "1.0.1", "1.9", "1.10", "2.0", "2.0.a", "2.0.1"]
    assert sorted(order, key=lambda version: rpm_key(0, version, "1")) == order
    assert rpm_key(1, "0.1", "1") > rpm_key(0, "2", "1")
    assert rpm_key(0, "1.0", "10") > rpm_key(0, "1.0", "9")


@pytest.mark.parametrize("length", [0, 4, 95, 96, 110, 120, 130, 160, 190])
def test_an_rpm_that_is_cut_off_is_refused(tmp_path: Path, length: int) -> None:
    whole = make_rpm(tmp_path / "a.rpm", "hello", "1.0", "1", "noarch")
    assert length < whole.stat().st_size
    whole.write_bytes(whole.read_bytes()[:length])
    with pytest.raises(UserError, match="is not a whole rpm"):
        read_package(whole)


@needs_xorriso
def test_the_roll_is_stated_in_the_root_of_each_node(tmp_path: Path) -> None:
    from rocks.install.rolls.iso import extract_roll

    description = write_roll(tmp_path / "source")
    node = tmp_path / "source/nodes/more.xml"
    node.write_text('<?xml version="1.0"?>\n<!-- a > b <kickstart> -->\n<kickstart\n interface="public"/>\n')
    extract_roll(create_roll(description, tmp_path), RollId("hello", "1.0", "noarch"), tmp_path / "out")
    assert (tmp_path / "out/nodes/more.xml").read_text() == node.read_text().replace(
        "<kickstart\n", '<kickstart roll="hello"\n'
    )


@pytest.mark.parametrize("name", ["../../x", "a/b", "", "a b", "a\nb", ".x"])
def test_a_package_whose_name_is_no_name_of_a_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="which is not valid"):
        read_package(make_rpm(tmp_path / "a.rpm", name, "1.0", "1", "noarch"))
    with pytest.raises(UserError, match="which is not valid"):
        read_package(make_rpm(tmp_path / "a.rpm", "a", "1.0", "1", f"no{name}/arch"))


def test_an_xorriso_that_a_fault_in_its_memory_ended_is_run_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that ends so again is the error."""
    program = tmp_path / "bin/xorriso"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\necho run >>{tmp_path}/runs\n"
        f"[ $(wc -l <{tmp_path}/runs) -lt $(cat {tmp_path}/good) ] || exit 0\n"
        "echo 'UNIX-SIGNAL:  SIGSEGV  errno= 0' >&2\nexit 1\n",
        "ascii",
    )
    program.chmod(0o755)
    monkeypatch.setitem(xorriso.ENVIRONMENT, "PATH", f"{program.parent}:{os.environ['PATH']}")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tmp_path / "good").write_text("2")
    write_iso(tree, tmp_path / "a.iso", "a", 0)
    (tmp_path / "good").write_text("9")
    with pytest.raises(ToolError, match="xorriso did not write .*a.iso: SIGSEGV ended it"):
        write_iso(tree, tmp_path / "a.iso", "a", 0)
    assert (tmp_path / "runs").read_text("ascii").count("run") == 4
