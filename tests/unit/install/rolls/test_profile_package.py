"""The package with a roll's commands, nodes and graphs, for dpkg and rpm."""

import shutil
from pathlib import Path

import pytest

from rocks.core.errors import RocksError, UserError
from rocks.core.process import run_checked
from rocks.install.rolls.builds import PLACE, create_profile_package
from tests.rolls import write_roll

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
