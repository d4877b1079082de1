"""Distributions of rolls, read by apt and dnf's own tools; scripts of rolls."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from rocks.core.process import run_checked
from tests.debs import make_deb
from tests.system.commands.conftest import Site

from .conftest import BuildRoll


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, in which distributions are built."""
    for program in ("apt-ftparchive", "dpkg-deb", "xorriso"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (tools/setup test)")
    folder = tmp_path / "export/install"
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(folder)
    return folder


def add_with_debs(site: Site, build_roll: BuildRoll, tmp_path: Path, name: str, *versions: str) -> None:
    """Add and enable a roll with a package `tool` of these versions."""
    for version in versions:
        make_deb(tmp_path / f"sources/{name}-1.0-noarch/packages", "tool", version)
    assert site.rocks("add", "roll", str(build_roll(name))).status == 0
    site.done("enable", "roll", name)


def apt(folder: Path, repository: Path, name: str, *arguments: str) -> str:
    """Run apt with one source, and state of its own."""
    for part in ("state/lists/partial", "cache/archives/partial", "etc"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "sources.list").write_text(f"deb [trusted=yes] file:{repository}/Debian {name} main\n")
    (folder / "status").touch()
    options = {
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::Etc::parts": "-",
        "APT::Sandbox::User": "root",
        "APT::Architecture": "amd64",
    }
    options_given = [word for option, value in options.items() for word in ("-o", f"{option}={value}")]
    run_checked(["apt-get", "-q", *options_given, "update"], deadline_seconds=120)
    return run_checked([arguments[0], *options_given, *arguments[1:]], deadline_seconds=120).text


def test_a_distribution_that_no_host_gets_is_reported(
    roll_site: Site, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without rolls, and in another folder than that which is served."""
    ended = roll_site.rocks("create", "distro")
    assert ended.status == 0 and ended.err.startswith("no roll is enabled")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    ended = roll_site.rocks("create", "distro")
    assert ended.status == 0 and f"cd {place}, then repeat the command" in ended.err


def test_an_architecture_without_a_roll_is_refused(
    roll_site: Site, build_roll: BuildRoll, place: Path, tmp_path: Path
) -> None:
    """A distribution without packages would be no error before a host looks for them."""
    add_with_debs(roll_site, build_roll, tmp_path, "hello", "1.9-1")
    message = roll_site.refused("create", "distro", "arch=x86")
    assert message.startswith("no roll is for the architecture x86, only for noarch; without arch= ")
    assert not (place / "rocks-dist").exists()


def test_a_distribution_among_the_files_of_rolls_is_refused(
    roll_site: Site,
    build_roll: BuildRoll,
    place: Path,
    tmp_path: Path,
    rolls_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its folders would count as rolls, which `remove roll` removes."""
    add_with_debs(roll_site, build_roll, tmp_path, "hello", "1.9-1")
    before = sorted(rolls_folder.rglob("*"))
    assert f"{rolls_folder} belongs to the rolls" in roll_site.refused("create", "distro", "dist=rolls")
    monkeypatch.chdir(rolls_folder)
    assert f"{rolls_folder}/hello belongs to the rolls" in roll_site.refused("create", "distro", "dist=hello")
    assert sorted(rolls_folder.rglob("*")) == before


def test_two_rolls_with_one_file_are_both_named(
    roll_site: Site, build_roll: BuildRoll, place: Path, tmp_path: Path
) -> None:
    for name in ("hello", "extra"):
        file = tmp_path / f"sources/{name}-1.0-noarch/include/motd"
        file.parent.mkdir(parents=True)
        file.write_text(f"of {name}\n")
        assert roll_site.rocks("add", "roll", str(build_roll(name))).status == 0
    roll_site.done("enable", "roll", "hello", "extra")
    message = roll_site.refused("create", "distro")
    for name in ("hello", "extra"):
        assert f"{place}/rolls/{name}/1.0/noarch/include/motd" in message


@pytest.mark.slow
def test_apt_finds_the_newest_package_of_the_enabled_rolls(
    roll_site: Site, build_roll: BuildRoll, place: Path, tmp_path: Path
) -> None:
    add_with_debs(roll_site, build_roll, tmp_path, "hello", "1.9-1")
    add_with_debs(roll_site, build_roll, tmp_path, "extra", "1.10-1", "1.2-1")
    (tmp_path / "sources/other-1.0-noarch/include").mkdir(parents=True)
    assert roll_site.rocks("add", "roll", str(build_roll("other"))).status == 0
    out = roll_site.done("create", "distro")
    assert out == f"{place}/rocks-dist/x86_64: 2 rolls, 1 deb package, 0 rpm packages\n"
    folder = place / "rocks-dist/x86_64"
    assert [path.name for path in (folder / "Debian/pool").iterdir()] == ["tool_1.10-1_all.deb"]
    assert "Candidate: 1.10-1" in apt(tmp_path / "apt", folder, "rocks-dist", "apt-cache", "policy", "tool")
    names = {path.name for path in (folder / "build/nodes").iterdir()}
    assert {"hello.xml", "extra.xml", "kvm-base.xml"} <= names and "other.xml" not in names
    roll_site.done("add", "host", "compute-0-0")
    roll_site.done("set", "host", "attr", "compute-0-0", "hello_message", "new")
    assert "message = new" in roll_site.done(
        "report", "host", "profile", "compute-0-0", f"basedir={folder / 'build'}"
    )


def test_a_distribution_is_replaced_when_the_new_one_is_complete(
    roll_site: Site, build_roll: BuildRoll, place: Path, tmp_path: Path, rolls_folder: Path
) -> None:
    add_with_debs(roll_site, build_roll, tmp_path, "hello", "1.0")
    roll_site.done("create", "distro", "dist=site")
    package = place / "site/x86_64/Debian/pool/tool_1.0_all.deb"
    assert package.is_file()
    damaged = rolls_folder / "hello/1.0/noarch/Debian/other_1.0_all.deb"
    damaged.write_bytes(b"no package")
    assert "is not a whole Debian package" in roll_site.refused("create", "distro", "dist=site")
    assert package.is_file()
    damaged.unlink()
    roll_site.done("disable", "roll", "hello")
    assert roll_site.rocks("create", "distro", "dist=site").status == 0
    assert not package.exists() and (place / "site/x86_64/build/nodes/base.xml").is_file()
    assert sorted(path.name for path in (place / "site").iterdir()) == [".x86_64.lock", "x86_64"]


def test_two_at_once_are_refused(roll_site: Site, place: Path) -> None:
    assert roll_site.rocks("create", "distro").status == 0
    descriptor = os.open(place / "rocks-dist/.x86_64.lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert "another rocks create distro is building" in roll_site.refused("create", "distro")
    os.close(descriptor)
    assert roll_site.rocks("create", "distro").status == 0


def test_without_a_database(
    roll_site: Site,
    build_roll: BuildRoll,
    place: Path,
    tmp_path: Path,
    rolls_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_with_debs(roll_site, build_roll, tmp_path, "hello", "1.0")
    monkeypatch.setenv("ROCKS_DATABASE_SOCKET", "/nowhere/mysql.sock")
    ended = roll_site.rocks("create", "distro", "rolls=hello,1.0", f"root={rolls_folder}")
    assert (ended.status, ended.err) == (0, "") and "1 roll, 1 deb package," in ended.out
    for text, message in (("hello,2.0", '"hello,2.0"'), ("no/such", '"no/such"')):
        ended = roll_site.rocks("create", "distro", f"rolls={text}", f"root={rolls_folder}")
        assert ended.status == 1 and f"there is no roll {message} for x86_64" in ended.err
    assert roll_site.rocks("create", "distro", "dist=../x", "rolls=hello", f"root={rolls_folder}").status == 1
    assert not (place.parent / "x").exists()
    # the folder of rolls is that of rocks report distro, which answers as well
    ended = roll_site.rocks("create", "distro", "rolls=nosuch")
    assert ended.status == 1 and 'there is no roll "nosuch"' in ended.err


@pytest.mark.skipif(
    shutil.which("createrepo_c") is None or shutil.which("rpmbuild") is None,
    reason="createrepo_c or rpmbuild is not installed",
)
def test_dnf_finds_the_packages(roll_site: Site, build_roll: BuildRoll, place: Path, tmp_path: Path) -> None:
    spec = tmp_path / "tool.spec"
    spec.write_text(
        "Name: tool\nVersion: 1.0\nRelease: 1\nSummary: a\nLicense: MIT\nBuildArch: noarch\n"
        "%description\na\n%files\n"
    )
    target = tmp_path / "sources/hello-1.0-noarch/RPMS"
    run_checked(
        [
            "rpmbuild",
            "-bb",
            "--define",
            f"_topdir {tmp_path}/rpm",
            "--define",
            f"_rpmdir {target}",
            str(spec),
        ],
        deadline_seconds=120,
    )
    roll_site.rocks("add", "roll", str(build_roll()))
    roll_site.done("enable", "roll", "hello")
    assert "1 roll, 0 deb packages, 1 rpm package" in roll_site.done("create", "distro")
    listed = (place / "rocks-dist/x86_64/repodata/primary.xml.gz").read_bytes()
    import gzip

    assert b'href="RedHat/RPMS/tool-1.0-1.noarch.rpm"' in gzip.decompress(listed)


def test_the_script_of_a_roll_has_its_nodes_only(
    roll_site: Site, build_roll: BuildRoll, monkeypatch: pytest.MonkeyPatch
) -> None:
    roll_site.done("add", "host", "compute-0-0")
    roll_site.done("set", "host", "attr", "compute-0-0", "hello_message", "it's new")
    assert roll_site.rocks("add", "roll", str(build_roll())).status == 0
    assert "rocks enable roll hello" in roll_site.refused("run", "roll", "hello", "host=compute-0-0")
    assert "unknown roll" in roll_site.refused("run", "roll", "helo", "host=compute-0-0")
    roll_site.done("enable", "roll", "hello")
    script = roll_site.done("run", "roll", "hello", "host=compute-0-0")
    assert "# Nodes: hello\n" in script and "message = it's new" in script and "openssh-server" not in script
    whole = roll_site.done("run", "roll", "rocks-virtual-clusters", "hello", "host=compute-0-0")
    (nodes,) = [line.removeprefix("# Nodes: ") for line in whole.splitlines() if line.startswith("# Nodes: ")]
    assert {"base", "client", "compute", "hello"} <= set(nodes.split(", "))
    run_checked(["bash", "-n"], standard_input=script.encode(), deadline_seconds=60)
    assert "dryrun=no is for this machine, and compute-0-0 is another one" in roll_site.refused(
        "run", "roll", "hello", "host=compute-0-0", "dryrun=no"
    )
    roll_site.done("remove", "host", "attr", "compute-0-0", "hello_message")
    assert "no node of hello applies to host compute-0-0" in roll_site.refused(
        "run", "roll", "hello", "host=compute-0-0"
    )
