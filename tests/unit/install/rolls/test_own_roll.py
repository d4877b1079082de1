"""The roll of this repository, the skeleton of a new one, and files of the site in a roll."""

import re
import shutil
from pathlib import Path

import pytest

from rocks import __version__
from rocks.core.errors import HostError
from rocks.core.process import run_checked
from rocks.core.version import ROLL_NAME
from rocks.install.graph_files import Library
from rocks.install.rolls.builds import write_skeleton
from rocks.install.rolls.content import RollId, read_description
from rocks.install.rolls.distribution import BUILD, DistributionPlan, create_distribution
from rocks.install.rolls.iso import create_roll, extract_roll

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
