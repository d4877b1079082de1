"""Packages and sources of rolls."""

import re
import shutil
from pathlib import Path

import pytest

from rocks import __version__
from rocks.core.errors import HostError, RocksError, UserError
from rocks.core.process import run_checked
from rocks.core.version import ROLL_NAME
from rocks.install.graph_files import Library
from rocks.install.rolls.builds import PLACE, create_profile_package, write_skeleton
from rocks.install.rolls.content import RollId, read_description
from rocks.install.rolls.distribution import BUILD, DistributionPlan, create_distribution
from rocks.install.rolls.iso import create_roll, extract_roll
from tests.rolls import write_roll

# The package with a roll's commands, nodes and graphs, for dpkg and rpm.


needs_rpm = pytest.mark.skipif(shutil.which("rpmbuild") is None, reason="rpmbuild is not installed")
needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg is not installed")
PROGRAMS = {"deb": "dpkg-deb", "rpm": "rpmbuild"}


@pytest.fixture(params=PROGRAMS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of package whose program is there."""
    if shutil.which(PROGRAMS[request.param]) is None:
        pytest.skip(f"{PROGRAMS[request.param]} is not installed")
    return str(request.param)


FILES = {
    f"/{PLACE}/hello/roll-hello.xml",
    f"/{PLACE}/hello/nodes/hello.xml",
    f"/{PLACE}/hello/graphs/default/hello.xml",
    f"/{PLACE}/hello/commands/report/hello/__init__.py",
    "/etc/rocks/trees.d/package-hello",
}


def _files(package: Path, tmp_path: Path) -> set[str]:
    if package.suffix == ".rpm":
        listed = run_checked(
            ["rpm", "-qp", "--qf", "[%{FILEMODES:perms} %{FILENAMES}\n]", str(package)], deadline_seconds=60
        ).text
        return {line.split()[1] for line in listed.splitlines() if line.startswith("-rw-r--r--")}
    out = tmp_path / "out"
    run_checked(["dpkg-deb", "-x", str(package), str(out)], deadline_seconds=60)
    return {f"/{path.relative_to(out)}" for path in out.rglob("*") if path.is_file()}


def test_the_package_has_the_profile_and_enables_it(tmp_path: Path, kind: str) -> None:
    description = write_roll(tmp_path / "source")
    package = create_profile_package(description, tmp_path, kind)
    assert package.name == {
        "deb": "roll-hello-kickstart_1.0-1_all.deb",
        "rpm": "roll-hello-kickstart-1.0-1.noarch.rpm",
    }.get(kind)
    assert _files(package, tmp_path) == FILES
    assert {path.name for path in tmp_path.iterdir()} - {"out"} == {"source", package.name}


@needs_dpkg
def test_its_trees_are_those_that_commands_read(tmp_path: Path) -> None:
    """One folder a line, named commands, beside which nodes and graphs are; nodes state the roll that they are of."""
    package = create_profile_package(write_roll(tmp_path / "source"), tmp_path, "deb")
    _files(package, tmp_path)
    out = tmp_path / "out"
    assert (out / "etc/rocks/trees.d/package-hello").read_text() == f"/{PLACE}/hello/commands\n"
    assert '<kickstart roll="hello">' in (out / PLACE / "hello/nodes/hello.xml").read_text()


def test_it_is_twice_the_same(tmp_path: Path, kind: str) -> None:
    made = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        package = create_profile_package(write_roll(tmp_path / name / "source"), tmp_path / name, kind)
        made.append(package.read_bytes())
    assert made[0] == made[1]


def test_the_roll_of_these_programs_enables_nothing(tmp_path: Path, kind: str) -> None:
    """Its nodes and commands come with the programs."""
    description = write_roll(tmp_path / "source", "rocks-virtual-clusters")
    (tmp_path / "source/graphs/default/rocks-virtual-clusters.xml").write_text("<graph/>")
    package = create_profile_package(description, tmp_path, kind)
    assert not any("trees.d" in name for name in _files(package, tmp_path))


def test_a_wrong_node_or_version_makes_no_package(tmp_path: Path) -> None:
    description = write_roll(tmp_path / "source")
    (tmp_path / "source/nodes/bad.xml").write_text("<kickstart>")
    with pytest.raises(RocksError, match=r"nodes/bad\.xml, line 1: invalid XML"):
        create_profile_package(description, tmp_path, "deb")
    other = write_roll(tmp_path / "other", version="1_0")
    with pytest.raises(UserError, match="the version 1_0 has a _"):
        create_profile_package(other, tmp_path, "deb")
    assert {path.name for path in tmp_path.iterdir()} == {"source", "other"}


@needs_rpm
def test_a_path_that_rpmbuild_reads_otherwise_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a b%{c}"
    folder.mkdir()
    with pytest.raises(UserError, match="has characters that rpmbuild takes for its own"):
        create_profile_package(write_roll(tmp_path / "source"), folder, "rpm")
    assert list(folder.iterdir()) == []


# The roll of this repository, the skeleton of a new one, and files of the site in a roll.


CHECKOUT = Path(__file__).resolve().parents[4]
DESCRIPTION = CHECKOUT / "roll" / f"roll-{ROLL_NAME}.xml"


def test_its_name_and_version_are_those_of_the_programs() -> None:
    stated = dict(re.findall(r"^(\w+) *= *(\S+)$", (CHECKOUT / "version.mk").read_text(), re.MULTILINE))
    description = read_description(DESCRIPTION.read_bytes(), str(DESCRIPTION))
    assert description.roll == (ROLL_NAME, __version__, "x86_64")
    assert stated == {"ROLLNAME": ROLL_NAME, "VERSION": __version__, "RELEASE": description.release}


@pytest.mark.skipif(shutil.which("xorriso") is None, reason="xorriso is not installed (tools/setup roll)")
def test_it_is_built_from_our_nodes_and_graphs(tmp_path: Path) -> None:
    for name in ("nodes", "graphs"):
        shutil.copytree(CHECKOUT / name, tmp_path / "source" / name)
    for path in (DESCRIPTION, CHECKOUT / "version.mk"):
        shutil.copy(path, tmp_path / "source")
    iso = create_roll(tmp_path / "source" / DESCRIPTION.name, tmp_path)
    extract_roll(iso, RollId(ROLL_NAME, __version__, "x86_64"), tmp_path / "out")
    assert {path.name for path in (tmp_path / "out/nodes").iterdir()} == {
        path.name for path in (CHECKOUT / "nodes").iterdir()
    }
    assert 'roll="rocks-virtual-clusters"' in (tmp_path / "out/graphs/default/core.xml").read_text()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_roll_states_which_packages_are_missing(tmp_path: Path) -> None:
    """With another program in the place of `rocks`, which prints its arguments."""
    command = ["make", "-s", "-C", str(CHECKOUT / "roll"), f"DIST={tmp_path}", "ROCKS=/bin/echo"]
    (tmp_path / "a_1.0_all.deb").touch()
    done = run_checked(command, deadline_seconds=60)
    assert done.error_text == "the roll has no rpm packages: dist has none; `make packages` builds them"
    assert done.text.split() == ["create", "roll", f"{tmp_path}/.roll/{DESCRIPTION.name}", f"dir={tmp_path}"]


for _program in ("make", "dpkg-deb", "rpmbuild", "xorriso"):
    if shutil.which(_program) is None:
        pytest.skip(f"{_program} is not installed", allow_module_level=True)

_TOOL = """\
deb:
\tmkdir -p tree/DEBIAN ../../packages
\tprintf 'Package: tool\\nVersion: 1\\nArchitecture: all\\nMaintainer: A <a@b.c>\\nDescription: a\\n' \\
\t  >tree/DEBIAN/control
\tdpkg-deb --root-owner-group --build tree ../../packages/tool.deb >/dev/null
rpm:
\ttouch rpm-was-built
"""


@pytest.fixture
def roll(tmp_path: Path) -> Path:
    """A new roll with a package of its own in src."""
    folder = write_skeleton(RollId("hello", "1.0", "noarch"), tmp_path)
    (folder / "src/tool").mkdir(parents=True)
    (folder / "src/tool/Makefile").write_text(_TOOL)
    return folder


def test_a_folder_that_cannot_be_looked_into_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"cannot write .*/hello: File name too long"):
        write_skeleton(RollId("hello", "1.0", "noarch"), tmp_path / ("x" * 300))


def make(roll: Path, *targets: str) -> str:
    command = ["make", "-s", "--no-print-directory", "-C", str(roll), f"ROCKS={CHECKOUT}/bin/rocks"]
    return run_checked([*command, *targets], deadline_seconds=300).text


def test_roll_builds_the_packages_of_src_and_reroll_only_the_iso(roll: Path) -> None:
    iso = roll / "hello-1.0-1.noarch.disk1.iso"
    make(roll, "reroll")
    assert iso.is_file() and not (roll / "packages").exists()
    without = iso.stat().st_size
    make(roll)
    assert (roll / "packages/tool.deb").is_file() and iso.stat().st_size > without
    make(roll, "rpm")
    assert (roll / "src/tool/rpm-was-built").is_file()


def test_profile_builds_both_packages_and_clean_removes_them(roll: Path) -> None:
    sources = {path.name for path in roll.iterdir()}
    make(roll, "reroll", "profile")
    built = {path.name for path in roll.iterdir()} - sources
    assert built == {
        "hello-1.0-1.noarch.disk1.iso",
        "roll-hello-kickstart_1.0-1_all.deb",
        "roll-hello-kickstart-1.0-1.noarch.rpm",
    }
    make(roll, "clean")
    assert {path.name for path in roll.iterdir()} == sources


def test_help_lists_the_targets(roll: Path) -> None:
    listed = {line.split()[1] for line in make(roll, "help").splitlines()}
    assert listed == {"help", "roll", "reroll", "profile", "deb", "rpm", "test", "clean"}


def test_a_distribution_has_the_nodes_and_graphs_of_the_site(tmp_path: Path) -> None:
    ours, nodes, graphs = (tmp_path / name for name in ("ours", "etc/site-nodes", "etc/site-graphs"))
    files = {
        ours / "nodes/a.xml": "<kickstart/>",
        ours / "graphs/default/ours.xml": "<graph/>",
        nodes / "extend-a.xml": "<kickstart/>",
        graphs / "default/site.xml": "<graph/>",
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o666)
    (nodes / "extend-a.xml").chmod(0o600)
    plan = DistributionPlan("site", "x86_64", [], [ours], nodes, graphs)
    built = create_distribution(plan, tmp_path / "install").folder / BUILD

    library = Library(built)
    assert [Path(one.place).name for one in library.graph_files("default")] == ["ours.xml", "site.xml"]
    assert [Path(one.place).name for one in library.node_files("a")] == ["a.xml", "extend-a.xml"]
    modes = {path.name: path.stat().st_mode & 0o777 for path in built.rglob("*.xml")}
    assert modes == {"a.xml": 0o644, "ours.xml": 0o644, "extend-a.xml": 0o600, "site.xml": 0o644}
