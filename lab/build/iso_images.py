"""The machines' images from the ISOs of rolls, as a site installs its hosts: the root archive, and packages of the
distribution that `rocks create distro` builds of the rolls.

apt has no other source and no network. The packages of a role are those that the graph on the ISOs gives it. The lab's
own tools, which tests use on the machines, are added at the end from Debian's mirrors.

`make lab` takes the mirrors by default, for CI and developers would else build packages, installer and os
roll first. Another target was refused, since every target of tests would need a second form; a roll with the
tools of tests, since its newer packages would win in the distribution.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lab.build import own_packages, trees
from lab.build.cache import key_of
from lab.build.image import write_image
from lab.build.initramfs import write_initramfs
from lab.build.mirrors import sources
from lab.build.packages import TOOLS
from lab.build.settings import apply_settings
from lab.progress import Progress
from rocks.core.errors import ToolError, UserError
from rocks.core.process import run, run_checked

MODULES_RECORD = "modules"
"""The file beside the images that has the key of our modules on the ISOs."""

_CHECKOUT = own_packages.CHECKOUT
_DEADLINE_SECONDS = 1800.0
_DISTRIBUTION = "srv/distribution"
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_NEED = "give the ISO of `make roll` and that of `make os-roll`"


class _Root(NamedTuple):
    """Where the graph begins for a role, and the attributes by which it has all of its packages."""

    node: str
    attributes: Mapping[str, str]


_COMMON = {"packaging": "deb", "os": "linux", "arch": "x86_64", "distribution_url": "https://head/"}
ROOTS = {
    "nas": _Root("nas", {**_COMMON, "img_storage_nas": "yes"}),
    "host": _Root("client", {**_COMMON, "kvm": "yes", "img_storage_vm": "yes", "img_sync": "yes"}),
}
"""Role of a machine → its place in the graph."""

_MODULES_OF_ZFS = "rocks-zfs-modules"
"""A section of the graph's node zfs installs it, where the kernel that runs lacks them; here another kernel runs."""

_WHILE_INSTALLING = {
    "etc/apt/sources.list": f"deb [trusted=yes] file:/{_DISTRIBUTION}/Debian rocks-dist main\n",
    "etc/apt/apt.conf.d/90lab": 'APT::Sandbox::User "root";\nDPkg::Options { "--force-unsafe-io"; };\n',
    # the lab's initramfs is its own
    "etc/initramfs-tools/update-initramfs.conf": "update_initramfs=no\n",
    "usr/sbin/policy-rc.d": "#!/bin/sh\nexit 101\n",
}


def key_of_isos(isos: Sequence[Path]) -> str:
    """A short name for the content of the ISOs. UserError for one that cannot be read."""
    digests = []
    for iso in isos:
        try:
            with iso.open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise UserError(f"the ISO {iso} cannot be read: {error.strerror}; {_NEED}") from None
    return key_of(sorted(digests))


def make_images(into: Path, isos: Sequence[Path], progress: Progress) -> None:
    """Write kernel, initramfs, the image of each role and `MODULES_RECORD` into the folder.

    UserError for ISOs that are damaged or lack what machines need; ToolError when a package cannot be installed.
    """
    work = into / "work"
    with progress.step("the rolls of the ISOs, and the distribution of them"):
        distribution = _make_distribution(isos, work)
    for role in ROOTS:
        with progress.step(f"the image of a {role}: root archive, packages of that distribution"):
            tree = _make_tree(role, distribution, work)
            _write(tree, role, into)
            shutil.rmtree(tree)
    shutil.rmtree(work)


def _make_distribution(isos: Sequence[Path], work: Path) -> Path:
    """The folder of the distribution of all rolls on the ISOs."""
    rolls = work / "rolls"
    rolls.mkdir(parents=True)
    taken = _with_our_python("take", str(rolls), *map(str, isos)).split()
    create = ["create", "distro", f"rolls={' '.join(taken)}", f"root={rolls}"]
    run_checked(["env", "-C", str(work), *_rocks(work), *create], deadline_seconds=_DEADLINE_SECONDS)
    distribution = work / "rocks-dist/x86_64"
    if not (distribution / "installer/root.tar.zst").exists():
        raise UserError(f"no roll on the ISOs ({' '.join(taken)}) has a root archive: {_NEED}")
    if not list(distribution.rglob("rocks-common_*.deb")):
        raise UserError(f"no roll on the ISOs ({' '.join(taken)}) has our packages: {_NEED}")
    return distribution


def _make_tree(role: str, distribution: Path, work: Path) -> Path:
    """The root archive with the packages of the role, in a folder."""
    tree = work / "tree"
    tree.mkdir()
    unpack = ["tar", "--zstd", "-C", str(tree), "--numeric-owner", "--exclude=./dev/*", "-xf"]
    run_checked([*unpack, str(distribution / "installer/root.tar.zst")], deadline_seconds=_DEADLINE_SECONDS)
    before = {name: _read(tree / name) for name in _WHILE_INSTALLING}
    for name, text in _WHILE_INSTALLING.items():
        (tree / name).write_text(text, encoding="ascii")
    (tree / "usr/sbin/policy-rc.d").chmod(0o755)
    links = ["cp", "--archive", "--link", str(distribution), str(tree / _DISTRIBUTION)]
    run_checked(links, deadline_seconds=_DEADLINE_SECONDS)
    _run_inside(tree, "apt-get", "-q", "update")
    names = _packages(role, distribution, work)
    _run_inside(tree, "apt-get", "-q", "-y", "--no-install-recommends", "install", *names)
    shutil.rmtree(tree / _DISTRIBUTION)
    _add_tools(tree, work)
    for name, content in before.items():
        (tree / name).unlink()
        if content is not None:
            (tree / name).write_bytes(content)
    return tree


def _packages(role: str, distribution: Path, work: Path) -> list[str]:
    """The packages that the graph of the distribution gives the role."""
    root = ROOTS[role]
    attributes = repr(dict(root.attributes))
    listing = ["list", "node", "xml", root.node, f"basedir={distribution / 'build'}", "eval=no"]
    document = work / "document.xml"
    done = run_checked([*_rocks(work), *listing, f"attrs={attributes}"], deadline_seconds=_DEADLINE_SECONDS)
    document.write_bytes(done.output)
    return [*_with_our_python("packages", str(document)).split(), _MODULES_OF_ZFS]


def _add_tools(tree: Path, work: Path) -> None:
    """Install the lab's own tools, with what they need and the tree lacks. ToolError when they need newer packages than
    the tree has: then the mirrors are newer than the ISOs.
    """
    there = set(trees.run_inside(tree, "dpkg-query", "--show", "--showformat=${Package}\n").split())
    folder = tree / "srv/tools"
    folder.mkdir()
    mirrors = work / "sources.list"
    mirrors.write_text(sources(), encoding="ascii")
    places = {
        "status": tree / "var/lib/dpkg/status",
        "sources": mirrors,
        "cache": work / "apt",
        "into": folder,
    }
    options = [word for name, place in places.items() for word in (f"--{name}", str(place))]
    collect = [str(_CHECKOUT / "tools/collect-packages"), *options, *TOOLS]
    run_checked(collect, deadline_seconds=_DEADLINE_SECONDS)
    files = sorted(folder.glob("*.deb"))
    newer = sorted(there & {file.name.partition("_")[0] for file in files})
    if newer:
        raise ToolError(
            f"the lab's tools ({' '.join(TOOLS)}) need newer packages than the os ISO has: {' '.join(newer)}; "
            "build it anew: make installer, then make os-roll"
        )
    _run_inside(tree, "dpkg", "--install", *(f"/srv/tools/{file.name}" for file in files))
    shutil.rmtree(folder)


def _write(tree: Path, role: str, into: Path) -> None:
    """The image of a tree, and what all roles have in common, once."""
    kernel = trees.kernel_release(tree)
    # without PAM, sshd rejects root with any key as long as the password is locked, as it is in the root archive
    trees.run_inside(tree, "usermod", "--password", "*", "root")
    if not (into / MODULES_RECORD).exists():
        shutil.copyfile(tree / "boot" / f"vmlinuz-{kernel}", into / "vmlinuz")
        write_initramfs(tree, kernel, into / "initramfs")
        (into / MODULES_RECORD).write_text(own_packages.installed_modules_key(tree), encoding="ascii")
    apply_settings(tree)
    write_image(tree, into / f"{role}.img")


def _run_inside(tree: Path, *arguments: str) -> None:
    """Run a program in the tree, which has /proc, /dev and the like meanwhile, and no network."""
    apart = [
        "unshare",
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--propagation",
        "private",
        "--",
    ]
    surroundings = [
        "env",
        "-i",
        f"PATH={_PATH}",
        "HOME=/root",
        "LC_ALL=C.UTF-8",
        "DEBIAN_FRONTEND=noninteractive",
    ]
    enter = ["sh", str(_CHECKOUT / "tools/fresh-root"), "--inside", str(tree), "/", ""]
    run_checked([*apart, *surroundings, *enter, *arguments], deadline_seconds=_DEADLINE_SECONDS)


def _rocks(work: Path) -> list[str]:
    """`rocks` of the checkout; that folder is no demo's, so it stays outside of a demo that runs."""
    return ["env", f"ROCKS_STATE={work}", str(_CHECKOUT / "bin/rocks")]


def _with_our_python(*arguments: str) -> str:
    command = [
        "env",
        f"PYTHONPATH={_CHECKOUT}:{_CHECKOUT / 'src'}",
        str(_CHECKOUT / ".state/venv/bin/python"),
    ]
    done = run([*command, "-m", "lab.build.rolls", *arguments], deadline_seconds=_DEADLINE_SECONDS)
    if done.exit_status != 0:
        raise UserError(done.error_text.strip().removeprefix("Error: "))
    return done.text


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None
