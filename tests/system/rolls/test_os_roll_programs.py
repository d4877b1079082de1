"""The programs that choose mirrors, collect packages and build the os roll: shellcheck, wrong calls, a local mirror."""

import gzip
import hashlib
import os
import shlex
import shutil
from pathlib import Path

import pytest

from lab.build.mirrors import release
from lab.namespace import CHECKOUT
from rocks.core.process import Finished, run, run_checked, start_with_pipes
from tests.debs import make_deb
from tests.waiting import wait_until

PROGRAMS = (
    *("tools/debian-sources", "tools/collect-packages", "tools/minimal-root"),
    *("tools/end-together", "tools/guest-image", "tools/guest-iso", "tools/release"),
    *("roll/os/build", "roll/os/build-zfs-modules", "roll/os/check-kernels", "roll/os/compile-zfs"),
)
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def program(name: str, *arguments: str | Path, **environment: str) -> Finished:
    return run(
        [str(CHECKOUT / name), *map(str, arguments)],
        deadline_seconds=120,
        environment={"PATH": _PATH} | environment,
    )


class Mirror:
    """A repository in a folder, and what a collection from it needs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.top = folder / "mirror", folder
        for place in (self.folder, folder / "into", folder / "ours"):
            place.mkdir()
        (folder / "sources.list").write_text(f"deb [trusted=yes] file:{self.folder} ./\n")
        (folder / "status").touch()

    def index(self) -> None:
        """Bring its index up to date."""
        text = run_checked(
            ["env", "-C", str(self.folder), "apt-ftparchive", "packages", "."], deadline_seconds=60
        ).output
        (self.folder / "Packages.gz").write_bytes(gzip.compress(text, mtime=0))

    def collect(self, *arguments: str | Path) -> Finished:
        """Run tools/collect-packages with these arguments after the options that are always there."""
        options = [
            word for name in ("sources", "status", "cache", "into") for word in (f"--{name}", self.path(name))
        ]
        return program("tools/collect-packages", *options, *arguments)

    def path(self, name: str) -> Path:
        return self.top / {"sources": "sources.list"}.get(name, name)

    def collected(self) -> set[str]:
        """The collected files; they are removed."""
        found = {path.name for path in (self.top / "into").iterdir()}
        for name in found:
            (self.top / "into" / name).unlink()
        return found


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    """A mirror with `tool`, which needs `library`; both have an epoch or none."""
    for name in ("apt-ftparchive", "dpkg-deb", "apt-get"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed (tools/setup test)")
    made = Mirror(tmp_path)
    make_deb(made.folder, "tool", "1:2.0", depends="library")
    make_deb(made.folder, "library")
    make_deb(made.folder, "other")
    made.index()
    return made


def test_shellcheck_has_no_remark() -> None:
    for name in PROGRAMS:
        checked = run(["shellcheck", str(CHECKOUT / name)], deadline_seconds=120)
        assert checked.exit_status == 0, checked.text


def test_what_is_needed_and_lacking_is_collected(mirror: Mirror) -> None:
    done = mirror.collect("tool")
    assert done.exit_status == 0, done.error_text
    assert mirror.collected() == {"tool_2.0_all.deb", "library_1.0_all.deb"}

    (mirror.top / "status").write_text(
        "Package: library\nStatus: install ok installed\nArchitecture: all\nVersion: 1.0\nMaintainer: A <a@b.c>\n"
        "Description: b\n"
    )
    assert mirror.collect("tool").exit_status == 0
    assert mirror.collected() == {"tool_2.0_all.deb"}


def test_alone_a_package_comes_without_what_it_needs(mirror: Mirror) -> None:
    done = mirror.collect("--alone", "tool")
    assert done.exit_status == 0, done.error_text
    assert mirror.collected() == {"tool_2.0_all.deb"}


def test_what_ours_need_is_collected_and_ours_are_not(mirror: Mirror) -> None:
    make_deb(mirror.top / "ours", "site-tool", depends="tool")
    done = mirror.collect("--ours", mirror.top / "ours", "site-tool")
    assert done.exit_status == 0, done.error_text
    assert mirror.collected() == {"tool_2.0_all.deb", "library_1.0_all.deb"}


def test_a_damaged_file_in_the_cache_is_fetched_again(mirror: Mirror) -> None:
    assert mirror.collect("library").exit_status == 0
    (good,) = [path.read_bytes() for path in (mirror.top / "into").iterdir()]
    mirror.collected()
    (cached,) = (mirror.top / "cache/debs").glob("library*.deb")
    cached.write_bytes(bytes(len(good)))
    assert mirror.collect("library").exit_status == 0
    assert (mirror.top / "into/library_1.0_all.deb").read_bytes() == good


def test_a_mirror_with_another_package_than_its_index_says_is_an_error(mirror: Mirror) -> None:
    path = mirror.folder / "library_1.0_all.deb"
    path.write_bytes(bytes(path.stat().st_size))
    done = mirror.collect("library")
    assert done.exit_status == 1 and "Error: " in done.error_text
    assert mirror.collected() == set()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no-such-package",), "apt finds no way to install these packages together"),
        (("--nothing", "tool"), "--nothing is no option"),
        (("tool", "--ours"), "apt finds no way"),
        (("--ours",), "--ours is the last word"),
        ((), "usage: tools/collect-packages"),
    ],
)
def test_a_wrong_collection_is_an_error_and_collects_nothing(
    mirror: Mirror, arguments: tuple[str, ...], message: str
) -> None:
    done = mirror.collect(*arguments)
    assert done.exit_status == 1
    assert message in done.error_text
    assert mirror.collected() == set()


def test_only_one_collection_uses_a_cache(mirror: Mirror) -> None:
    assert mirror.collect("library").exit_status == 0
    lock = mirror.top / "cache/lock"
    command = ["flock", str(lock), str(CHECKOUT / "tools/collect-packages")]
    options = [
        str(word)
        for name in ("sources", "status", "cache", "into")
        for word in (f"--{name}", mirror.path(name))
    ]
    done = run([*command, *options, "library"], deadline_seconds=60, environment={"PATH": _PATH})
    assert done.exit_status == 1 and "another collection of packages is at work" in done.error_text


@pytest.mark.parametrize("arguments", [("--backports", "nonsense"), ("main", "--backports"), ("main; true",)])
def test_debian_sources_take_components_only(arguments: tuple[str, ...]) -> None:
    done = program("tools/debian-sources", *arguments)
    assert done.exit_status == 1
    assert "is no component of Debian; usage:" in done.error_text and done.text == ""


def test_debian_sources_name_the_suites_once() -> None:
    done = program("tools/debian-sources", "--backports", "main", "contrib")
    if "names no mirror" in done.error_text or "does not answer" in done.error_text:
        pytest.skip("this machine's apt has no mirror of this release")
    assert done.exit_status == 0, done.error_text
    lines = [line.split() for line in done.text.splitlines()]
    suites = [line[3] for line in lines]
    assert len(suites) == len(set(suites))
    assert {release(), f"{release()}-security", f"{release()}-backports"} <= set(suites)
    assert all(line[0] == "deb" and line[4:] == ["main", "contrib"] for line in lines)


@pytest.mark.parametrize(
    ("name", "arguments", "environment", "message"),
    [
        ("build", (), {}, "usage: roll/os/build FOLDER"),
        ("build", ("{folder}",), {}, "SOURCE_DATE_EPOCH is not set"),
        ("build", ("{folder}/absent",), {"SOURCE_DATE_EPOCH": "1"}, "there is no folder"),
        ("build", ("{folder}",), {"SOURCE_DATE_EPOCH": "1"}, "has no vmlinuz; run make installer"),
        ("build-zfs-modules", (), {}, "usage: roll/os/build-zfs-modules"),
        ("build-zfs-modules", ("{folder}", "{folder}/absent", "/", "/"), {}, "there is no {folder}/absent"),
        ("compile-zfs", ("{folder}",), {}, "usage: roll/os/compile-zfs"),
        ("compile-zfs", ("/", "/", "{folder}/absent", "/"), {}, "there is no {folder}/absent"),
    ],
)
def test_a_wrong_build_is_an_error_and_leaves_nothing(
    tmp_path: Path, name: str, arguments: tuple[str, ...], environment: dict[str, str], message: str
) -> None:
    done = program(f"roll/os/{name}", *(word.format(folder=tmp_path) for word in arguments), **environment)
    assert done.exit_status == 1
    assert done.error_text.startswith("Error: ")
    assert message.format(folder=tmp_path) in done.error_text
    assert list(tmp_path.iterdir()) == []


def test_packages_of_node_files_are_those_for_debian(tmp_path: Path) -> None:
    nodes = tmp_path / "nodes"
    nodes.mkdir()
    (nodes / "a.xml").write_text(
        "<kickstart><package>tool</package><package cond=\"packaging == 'rpm' and x\">rpm-tool</package>\n"
        "<package cond='some_attribute'>other &amp; &entity;</package><package disable='1'>gone</package>\n"
        "<package type='meta'>group</package></kickstart>"
    )
    command = ["env", f"PYTHONPATH={CHECKOUT / 'src'}", str(CHECKOUT / ".state/venv/bin/python")]
    listing = [*command, str(CHECKOUT / "roll/os/node-packages"), str(nodes)]
    assert run_checked(listing, deadline_seconds=60).text.splitlines() == ["other &", "tool"]
    for name in ("of-b", "of-c", "of-d"):
        (nodes / f"{name[3:]}.xml").write_text(f"<kickstart><package>{name}</package></kickstart>")
    (tmp_path / "graph").mkdir()
    (tmp_path / "graph/a.xml").write_text(
        '<graph><edge from="root" to="b" cond="x"/><edge from="b" to="c"/><edge from="c" to="d"/>'
        '<edge from="other" to="a"/></graph>'
    )
    reached = [*listing, str(tmp_path / "graph"), "root"]
    assert run_checked(reached, deadline_seconds=60).text.splitlines() == ["of-b", "of-c", "of-d"]
    assert run_checked([*reached, "c"], deadline_seconds=60).text.splitlines() == ["of-b"]
    (nodes / "b.xml").write_text("<kickstart>")
    done = run(listing, deadline_seconds=60)
    assert done.exit_status == 1
    assert f"{nodes}/b.xml, line 1" in done.error_text and "Traceback" not in done.error_text


def test_the_smallest_root_is_made_anew_for_each_point_release(tmp_path: Path) -> None:
    """mmdebstrap is a stub, which counts its calls."""
    if os.geteuid() != 0:
        pytest.skip("a minimal root is made by root")
    mmdebstrap = tmp_path / "bin/mmdebstrap"
    mmdebstrap.parent.mkdir()
    mmdebstrap.write_text(f'#!/bin/sh\necho called >>{tmp_path}/calls\ncp "$5" "$4"\n')
    mmdebstrap.chmod(0o755)
    released = tmp_path / f"mirror/dists/{release()}/InRelease"
    released.parent.mkdir(parents=True)
    sources = tmp_path / "sources.list"
    sources.write_text(f"deb [signed-by=/x] file:{tmp_path}/mirror {release()} main\n")

    def make(folder: str = "state") -> Finished:
        path = f"{mmdebstrap.parent}:{_PATH}"
        return program("tools/minimal-root", sources, tmp_path / folder, PATH=path)

    released.write_text("Version: 12.1\n")
    first = make().text
    assert Path(first.strip()).read_text() == sources.read_text()
    assert make().text == first and (tmp_path / "calls").read_text().count("called") == 1
    released.write_text("Version: 12.2\n")
    second = make().text
    assert second != first and [f"{path}\n" for path in (tmp_path / "state").glob("*.tar")] == [second]
    (tmp_path / "state/minimal-other-0123456789ab.tar").touch()  # of another release
    released.unlink()
    unreachable = make()
    assert unreachable.text == second and "the package mirror does not answer" in unreachable.error_text
    assert make("other").exit_status == 1 and (tmp_path / "calls").read_text().count("called") == 2


def test_a_kernel_without_zfs_modules_is_no_part_of_the_roll(tmp_path: Path) -> None:
    """The mirrors have a newer one than the root archive, whose modules were compiled."""
    for name in (
        "linux-image-6.1.0-56-amd64_6.1.192-2",
        "rocks-zfs-modules-6.1.0-56-amd64_2.1",
        "linux-image-amd64_6.1",
    ):
        (tmp_path / f"{name}_amd64.deb").touch()
    assert program("roll/os/check-kernels", tmp_path).exit_status == 0
    (tmp_path / "linux-image-6.1.0-57-amd64_6.1.195-1_amd64.deb").touch()
    done = program("roll/os/check-kernels", tmp_path)
    assert done.exit_status == 1
    assert "the mirrors have the kernel 6.1.0-57-amd64" in done.error_text
    assert "run make installer, then make os-roll again" in done.error_text


def test_zfs_modules_are_compiled_once_for_lab_and_os_roll(tmp_path: Path) -> None:
    """A compilation with the same kernel, source and program is copied; for any other the build root is made."""
    if os.geteuid() != 0:
        pytest.skip("a build root is made by root")
    mmdebstrap = tmp_path / "bin/mmdebstrap"
    mmdebstrap.parent.mkdir()
    mmdebstrap.write_text("#!/bin/sh\necho no mirror answers\nexit 1\n")
    mmdebstrap.chmod(0o755)
    source = make_deb(tmp_path, "zfs-dkms", "2.1.11-1")
    status, lab, into = tmp_path / "status", tmp_path / "lab-cache", tmp_path / "into"
    (tmp_path / "sources.list").touch()
    lab.mkdir()
    (lab / "zfs.ko").write_text("compiled")
    made_by = (CHECKOUT / "roll/os/compile-zfs").read_bytes() + (CHECKOUT / "roll/os/compilers").read_bytes()

    def compile_for(version: str, *kernels: str) -> Finished:
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir()
        status.write_text(
            "".join(
                f"Package: linux-image-{kernel}\nStatus: install ok installed\nVersion: {version}\n\n"
                for kernel in kernels
            )
        )
        places = (status, source, tmp_path / "sources.list", into, tmp_path / "absent", lab)
        return program("roll/os/compile-zfs", *places, PATH=f"{mmdebstrap.parent}:{_PATH}")

    (lab / "inputs").write_text(
        "kernel 6.1.0-56-amd64\nkernel-version 6.1.192-2\nzfs-version 2.1.11-1\n"
        f"program {hashlib.sha256(made_by).hexdigest()[:16]}\n"
    )
    done = compile_for("6.1.192-2", "6.1.0-56-amd64", "amd64")
    assert done.exit_status == 0, done.error_text
    assert f"are compiled already: {lab}" in done.text
    assert {path.name: path.read_text() for path in into.iterdir()} == {
        name: (lab / name).read_text() for name in ("zfs.ko", "inputs")
    }
    for version, kernels, message in (
        ("6.1.192-3", ["6.1.0-56-amd64"], "no build root could be made"),
        ("6.1.192-2", ["6.1.0-57-amd64"], "no linux-headers-6.1.0-57-amd64 any more, run make installer"),
        ("6.1.192-2", ["6.1.0-56-amd64", "6.1.0-57-amd64"], "has not exactly one kernel"),
    ):
        done = compile_for(version, *kernels)
        assert done.exit_status == 1 and message in done.error_text
        assert list(into.iterdir()) == [] and not list(tmp_path.glob("into.*"))


@pytest.mark.parametrize(
    ("made", "problem"),
    [("spl zfs", ""), ("spl", "the source of ZFS made no module zfs"), ("", "names no modules in dkms.conf")],
)
def test_the_modules_are_those_that_the_package_of_zfs_names(tmp_path: Path, made: str, problem: str) -> None:
    """ZFS 2.3 has two, ZFS 2.1 nine. chroot is a stub, in which the compiler makes these."""
    if os.geteuid() != 0:
        pytest.skip("a build root is entered by root")
    names = "\n".join(f'BUILT_MODULE_NAME[{number}]="{name}"' for number, name in enumerate(("spl", "zfs")))
    files = {
        "usr/src/zfs-2.3.2/dkms.conf": f"{names if made else 'AUTOINSTALL=yes'}\n",
        "usr/share/doc/zfs-dkms/copyright": "CDDL\n",
    }
    source = make_deb(tmp_path, "zfs-dkms", "2.3.2-2", files=files)
    chroot = tmp_path / "bin/chroot"
    chroot.parent.mkdir()
    modules = " ".join(f'"$1/usr/src/zfs/module/{name}.ko"' for name in made.split())
    compiler = f'mkdir "$1/usr/src/zfs/module"; touch /dev/null {modules}'
    chroot.write_text(f'#!/bin/sh\ncase "$*" in *configure*) {compiler} ;; esac\n')
    chroot.chmod(0o755)
    status, place, into = tmp_path / "status", tmp_path / "place", tmp_path / "into"
    status.write_text("Package: linux-image-6.12.1-amd64\nStatus: install ok installed\nVersion: 6.12.1-1\n")
    (place / "usr/src").mkdir(parents=True)
    into.mkdir()
    done = program("roll/os/compile-zfs", status, source, place, into, PATH=f"{chroot.parent}:{_PATH}")
    assert problem in done.error_text and (done.exit_status == 0) == (not problem), done.error_text
    there = {path.name for path in into.iterdir()}
    assert (there == {"spl.ko", "zfs.ko", "inputs"}) if not problem else ("inputs" not in there)
    assert list((place / "usr/src").iterdir()) == []


def test_a_root_archive_of_another_release_makes_no_os_roll(tmp_path: Path) -> None:
    """As after a build with DEBIAN_RELEASE in the same folder."""
    if os.geteuid() != 0:
        pytest.skip("a build root is made by root")
    tree, dist = tmp_path / "tree", tmp_path / "dist"
    for name, text in (("var/lib/dpkg/status", "\n"), ("etc/debian_version", "12.9\n")):
        (tree / name).parent.mkdir(parents=True)
        (tree / name).write_text(text)
    dist.mkdir()
    run_checked(
        ["tar", "--zstd", "-C", str(tree), "-cf", str(dist / "root.tar.zst"), "./var", "./etc"],
        deadline_seconds=60,
    )
    digest = hashlib.sha256((dist / "root.tar.zst").read_bytes()).hexdigest()
    (dist / "root.sha256").write_text(f"{digest}  root.tar.zst\n")
    for name in ("vmlinuz", "installer.img"):
        (dist / name).write_text(name)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in (
        "apt-ftparchive",
        "mmdebstrap",
        "xorriso",
    ):  # of later steps; tools/setup test does not install all
        (programs / name).symlink_to("/bin/false")
    done = program(
        "roll/os/build",
        dist,
        SOURCE_DATE_EPOCH="1700000000",
        DEBIAN_RELEASE="trixie",
        PATH=f"{programs}:{_PATH}",
    )
    assert done.exit_status == 1
    assert (
        f"{dist}/root.tar.zst is of Debian 12.9, and the release to build for is Debian 13" in done.error_text
    )
    assert len(list(dist.iterdir())) == 4


def test_an_image_is_not_made_of_the_packages_of_another_release(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("an image is made by root")
    sources = tmp_path / "sources.list"
    sources.write_text("deb [signed-by=/x] http://one.example/debian bookworm main\n")
    done = program("tools/guest-image", sources, tmp_path / "into", DEBIAN_RELEASE="trixie")
    assert done.exit_status == 1 and not (tmp_path / "into").exists()
    assert done.error_text == f"Error: {sources} has no source of trixie (Debian 13)"


def _program_below(process: int) -> str:
    """The name of the program that this shell waits for; empty while there is none."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return Path(f"/proc/{children[0]}/comm").read_text().strip() if children else ""


def test_a_build_that_is_ended_leaves_no_compiler(tmp_path: Path) -> None:
    """As `make os-roll` runs it: shells, of which each waits for the next, and below them what compiles."""
    traps = f"trap 'touch {tmp_path}/tidied' EXIT; trap 'exit 143' TERM"
    (tmp_path / "Makefile").write_text(
        f"build:\n\t@export TIME=1 && exec {shlex.quote(str(CHECKOUT))}/tools/end-together nice sh {tmp_path}/outer\n"
    )
    (tmp_path / "inner").write_text(
        f"{traps}\necho $$ >{tmp_path}/process.new; mv {tmp_path}/process.new {tmp_path}/process\nsleep 600\ntrue\n"
    )
    (tmp_path / "outer").write_text(f"trap 'exit 143' TERM\nsh {tmp_path}/inner\ntrue\n")
    make = start_with_pipes(["make", "-C", str(tmp_path), "build"])
    wait_until((tmp_path / "process").exists)
    inner_process = int((tmp_path / "process").read_text())
    # A shell's child has the shell's traps until it becomes its program: a signal in between would end nothing.
    wait_until(lambda: _program_below(inner_process) == "sleep")
    make.terminate()
    make.communicate(timeout=60)
    assert (tmp_path / "tidied").exists()
    assert not Path(f"/proc/{inner_process}").exists()


@pytest.mark.parametrize("name", ["debian-12", "debian-13"])
def test_the_iso_of_the_guest_image_has_it_for_the_library(tmp_path: Path, name: str) -> None:
    image = tmp_path / f"{name}-0.img"
    image.write_bytes(os.urandom(1 << 16) + bytes(1 << 20))
    done = program("tools/guest-iso", image, tmp_path / "dist", SOURCE_DATE_EPOCH="1700000000")
    assert done.exit_status == 0, done.error_text
    (iso,) = (tmp_path / "dist").iterdir()
    run_checked(
        ["xorriso", "-osirrox", "on", "-indev", str(iso), "-extract", "/", str(tmp_path / "medium")],
        deadline_seconds=60,
    )
    run_checked(
        ["env", "-C", str(tmp_path / "medium"), "sha256sum", "--check", "SHA256SUMS"], deadline_seconds=60
    )
    packed = tmp_path / f"medium/{name}.img.zst"
    unpacked = run_checked(["zstd", "-dc", str(packed)], deadline_seconds=60)
    assert unpacked.output == image.read_bytes()
