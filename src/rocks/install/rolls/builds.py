"""Build rolls, their packages roll-NAME-kickstart and distributions, and create the sources of rolls."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import HostError, StateError, UserError
from rocks.core.files import PUBLIC, rename_file, write_file
from rocks.core.names import check_plain_name, printable
from rocks.core.reproducible import run_tool, set_modes_and_times
from rocks.core.version import ROLL_NAME
from rocks.install.graph_files import SITE_GRAPHS, SITE_NODES, Library, own_folders
from rocks.install.rolls.content import COMMANDS, NO_ARCHITECTURE, checked_roll, read_roll
from rocks.install.rolls.distribution import DistributionPlan, create_distribution
from rocks.install.rolls.iso import EARLIEST, copy_profile, create_roll, read_sources, work_folder
from rocks.install.rolls.package_files import debian_key, read_package

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.install.rolls.content import RollDescription, RollId
    from rocks.install.rolls.distribution import DistributionReport


# The files of a new roll: path → text, in which @NAME@, @WORD@ (of commands), @VERSION@ and @ARCH@ are replaced.


_DESCRIPTION = """<?xml version="1.0" encoding="UTF-8"?>
<roll name="@NAME@" interface="4.0">
  <!-- the time of all files on the ISO: the same sources give the same ISO -->
  <timestamp date="2026-01-01" time="00:00:00" tz="UTC"/>
  <info version="@VERSION@" release="1" arch="@ARCH@" os="linux"/>
  <!-- the largest ISO in MB; 0: any size -->
  <iso maxsize="0"/>
  <!-- rolls that must be enabled as well, such as "kvm other>=1.2" -->
  <rpm rolls="" bin="1" src="0"/>
</roll>
"""

_VERSION = """# The same as in roll-@NAME@.xml; the build compares them.
ROLLNAME = @NAME@
VERSION  = @VERSION@
RELEASE  = 1
"""

_MAKEFILE = """# Targets of the roll @NAME@. ROCKS is the program `rocks`: make roll ROCKS=/path/to/bin/rocks
# KEY is the secret key with which gpg signs the ISO: make roll KEY=rolls@example.org
include version.mk
ROCKS = rocks
DESCRIPTION = roll-$(ROLLNAME).xml
# Folders with a Makefile of a package of your own, whose targets deb and rpm put it into packages
SOURCES = $(patsubst %/Makefile,%,$(wildcard src/*/Makefile))

.DEFAULT_GOAL := roll
.PHONY: help roll reroll profile deb rpm test clean
help: ## list these targets
\t@sed -n 's/^\\([a-z]*\\):[^#]*## \\(.*\\)/  make \\1\t\\2/p' Makefile

roll: deb reroll ## the packages of src, then the ISO, in this folder

reroll: ## the ISO alone, with the packages that are in packages
\t'$(ROCKS)' create roll $(DESCRIPTION) $(if $(KEY),'key=$(KEY)')

profile: ## the packages roll-$(ROLLNAME)-kickstart: nodes, graphs and commands for apt and dnf
\t'$(ROCKS)' create package $(DESCRIPTION) kind='deb rpm'

deb: ## the deb packages of the folders in src
\t@for folder in $(SOURCES); do $(MAKE) -C "$$folder" deb || exit 1; done

rpm: ## the rpm packages of the folders in src
\t@for folder in $(SOURCES); do $(MAKE) -C "$$folder" rpm || exit 1; done

test: ## the tests in tests; they need neither root nor a database
\tROCKS='$(ROCKS)' python3 -m unittest discover --start-directory tests --verbose

clean: ## remove what was built in this folder
\trm -f $(ROLLNAME)-*.disk1.iso roll-$(ROLLNAME)-kickstart[-_]*.deb roll-$(ROLLNAME)-kickstart[-_]*.rpm
"""

_NODE = """<?xml version="1.0" encoding="UTF-8"?>
<kickstart>
  <description>A file on every compute for which the attribute @WORD@_message is set.</description>
  <post>
    <file name="/etc/@NAME@.conf" perms="0644">
message = &@WORD@_message;
    </file>
  </post>
</kickstart>
"""

_GRAPH = """<?xml version="1.0" encoding="UTF-8"?>
<graph>
  <description>Computes for which the attribute is set have the node.</description>
  <edge from="compute" to="@NAME@" cond="@WORD@_message"/>
  <order head="client" tail="@NAME@"/>
</graph>
"""

_COMMAND = '''"""`rocks list host @WORD@`"""

import rocks.commands
from rocks.database.attributes import resolve_attributes

RollName = "@NAME@"


class Command(rocks.commands.Command):
    """
    List the messages of hosts: their attribute @WORD@_message.

    <arg optional='1' type='string' name='host' repeat='1'>
    Hosts; default: all.
    </arg>

    <example cmd='list host @WORD@ compute'>
    All computes.
    </example>

    <related>set host attr</related>
    """

    MustBeRoot = 0

    def run(self, params, args):
        """Print one row per host."""
        names = self.getHostnames(args)
        attributes = resolve_attributes(self.db, names)
        self.beginOutput()
        for name in names:
            message = attributes[name].get("@WORD@_message")
            self.addOutput(name, message.value if message else None)
        self.endOutput(header=("host", "message"), trimOwner=False)
'''

_PLUGIN = '''"""Hook of `remove host`: names the file that stays on a removed host."""

import rocks.commands


class Plugin(rocks.commands.Plugin):
    """Runs before the row of the host is deleted."""

    def provides(self):
        return "@NAME@"

    def run(self, host):
        self.owner.notify(f"the file /etc/@NAME@.conf stays on {host}, if it has one")
'''

_TEST = '''"""Tests of the roll @NAME@: `make test`. They need neither root nor a database."""

import os
import pathlib
import subprocess
import tempfile
import unittest

ROLL = pathlib.Path(__file__).resolve().parents[1]
ROCKS = os.environ.get("ROCKS", "rocks")


def rocks(*arguments):
    """Run `rocks` with the commands of this folder; returns what it printed."""
    environment = {**os.environ, "ROCKS_TREES": str(ROLL / "commands")}
    done = subprocess.run(
        [ROCKS, *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise AssertionError(f"rocks {arguments} ended with {done.returncode}: {done.stderr}")
    return done.stdout


class RollTest(unittest.TestCase):
    def test_the_command_is_found_and_explains_itself(self):
        self.assertIn("List the messages of hosts", rocks("list", "host", "@WORD@", "help"))

    def test_the_roll_is_built_and_twice_the_same(self):
        description = str(ROLL / "roll-@NAME@.xml")
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            for folder in (one, other):
                rocks("create", "roll", description, f"dir={folder}")
            isos = [path.read_bytes() for folder in (one, other) for path in pathlib.Path(folder).glob("*.iso")]
        self.assertEqual(len(isos), 2)
        self.assertEqual(isos[0], isos[1])


if __name__ == "__main__":
    unittest.main()
'''

FILES = {
    "roll-@NAME@.xml": _DESCRIPTION,
    "version.mk": _VERSION,
    "Makefile": _MAKEFILE,
    "nodes/@NAME@.xml": _NODE,
    "graphs/default/@NAME@.xml": _GRAPH,
    "commands/list/host/@WORD@/__init__.py": _COMMAND,
    "commands/remove/host/plugin_@WORD@.py": _PLUGIN,
    "tests/test_roll.py": _TEST,
}


# The package roll-NAME-kickstart: the nodes, graphs, commands and included files of a roll, for apt and dnf.
#
# A frontend that installs it uses them as those of an enabled roll.


PLACE = "opt/rocks/share/rocks/rolls"
"""Folder of the installed files, without the slash; below it is a folder for each roll."""

_TREES = "etc/rocks/trees.d"
_SUMMARY = "commands, nodes and graphs of the Rocks roll"
_CONTROL = """Package: {package}
Version: {version}-{release}
Architecture: all
Maintainer: {maintainer}
Section: admin
Priority: optional
Depends: rocks-cli
Description: {summary} {name}
 The frontend uses them from the installation of this package on.
"""
_SPEC = """Name: {package}
Version: {version}
Release: {release}
Summary: {summary} {name}
License: Unspecified
BuildArch: noarch
Requires: rocks-cli
%description
The frontend uses them from the installation of this package on.
%install
cp -a {tree}/. %{{buildroot}}
%files
{files}
"""


def create_profile_package(description_path: Path, output: Path, kind: str, epoch: int | None = None) -> Path:
    """Build the package of the roll that roll-NAME.xml describes, as deb or rpm; returns its path.

    `epoch` as of `create_roll`; the same sources and time give the same bytes. Errors as of it, ToolError when
    dpkg-deb or rpmbuild fails.
    """
    description, data = read_sources(description_path)
    source, roll = description_path.absolute().parent, description.roll
    if "_" in roll.version and kind == "deb":
        raise UserError(
            f"{description_path}: the version {roll.version} has a _, and that of a deb cannot have one"
        )
    with work_folder(output.absolute() / f"roll-{roll.name}-kickstart.{kind}") as work:
        tree = work / "tree"
        folder = tree / PLACE / roll.name
        folder.mkdir(parents=True)
        write_file(folder / description_path.name, data)
        copy_profile(source, folder, roll.name)
        read_roll(folder, roll, str(source))
        if roll.name != ROLL_NAME:  # whose commands and nodes come with the programs
            (tree / _TREES).mkdir(parents=True)
            write_file(tree / _TREES / f"package-{roll.name}", f"/{PLACE}/{roll.name}/{COMMANDS}\n")
        made_at = max(epoch if epoch is not None else description.made_at or 0, EARLIEST)
        set_modes_and_times(tree, made_at)
        built = (
            _build_deb(work, description, made_at)
            if kind == "deb"
            else _build_rpm(work, description, made_at)
        )
        package = output.absolute() / read_package(built).file_name
        rename_file(built, package)
    return package


def _fill(text: str, description: RollDescription, **more: str) -> str:
    roll = description.roll
    return text.format(
        package=f"roll-{roll.name}-kickstart",
        name=roll.name,
        version=roll.version,
        release=description.release,
        maintainer="Site operators <operators@example.org>",
        summary=_SUMMARY,
        **more,
    )


def _build_deb(work: Path, description: RollDescription, epoch: int) -> Path:
    built = work / "built.deb"
    (work / "tree/DEBIAN").mkdir()
    write_file(work / "tree/DEBIAN/control", _fill(_CONTROL, description), mode=0o644)
    set_modes_and_times(work / "tree", epoch)
    arguments = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(work / "tree"), str(built)]
    run_tool(arguments, "dpkg", epoch)
    return built


def _build_rpm(work: Path, description: RollDescription, epoch: int) -> Path:
    if any(character in str(work) for character in " %\"'\\$`;&|<>()*?[]#~\n"):
        raise UserError(f"{work} has characters that rpmbuild takes for its own: give dir= a plain path")
    files = [f"/{PLACE}/{description.roll.name}"]
    if (work / "tree/etc").exists():
        files.append(f"/{_TREES}/package-{description.roll.name}")
    write_file(
        work / "package.spec", _fill(_SPEC, description, tree=str(work / "tree"), files="\n".join(files))
    )
    definitions = {
        "_topdir": str(work / "rpm"),
        "_rpmdir": str(work / "built"),
        "_tmppath": str(work),
        "_buildhost": "localhost",
        "use_source_date_epoch_as_buildtime": "1",
        "clamp_mtime_to_source_date_epoch": "1",
        "__os_install_post": "%{nil}",
        "_build_id_links": "none",
    }
    arguments = [part for name, value in definitions.items() for part in ("--define", f"{name} {value}")]
    run_tool(["rpmbuild", "-bb", "--nodeps", *arguments, str(work / "package.spec")], "rpm", epoch)
    (built,) = (work / "built").rglob("*.rpm")
    return built


# Build rolls and distributions, and create the sources of rolls.


_LATEST = 4102444800  # the year 2100


def build_roll(description: Path, output: Path, key: str) -> Path:
    """Build a roll's ISO; its path. The time of its files is SOURCE_DATE_EPOCH, if that is set; '' as key: not signed.

    Errors as of `create_roll`; UserError for an invalid SOURCE_DATE_EPOCH.
    """
    return create_roll(description, output, _stated_epoch(), key)


def build_profile_packages(description: Path, output: Path, kinds: Sequence[str]) -> list[Path]:
    """Build the package of a roll's profile, as each of the kinds; the paths. Errors as of `create_profile_package`."""
    epoch = _stated_epoch()
    return [create_profile_package(description, output, kind, epoch) for kind in kinds]


def _stated_epoch() -> int | None:
    """SOURCE_DATE_EPOCH, if it is set. UserError for an invalid one."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if text and not (text.isdecimal() and int(text[:12]) < _LATEST):
        raise UserError("SOURCE_DATE_EPOCH is a number of seconds since 1970; correct or unset it")
    return int(text) if text else None


def new_roll(name: str, version: str, arch: str, parent: Path, program: str) -> list[str]:
    """Create the sources of a roll; returns lines for its author. UserError for a name that is taken.

    `program` is what the author types: `rocks`, or its path where no folder of PATH has it.
    """
    roll = checked_roll(name, version, arch, "rocks create new roll")
    if name in Library().node_names():
        raise UserError(
            f'the node "{name}" is there already, so an enabled roll of that name could not have it'
        )
    word = command_word(name)
    if (Path(__file__).resolve().parents[2] / "commands" / "list" / "host" / word).exists():
        raise UserError(f'the command "list host {word}" is there already; give the roll another name')
    folder = write_skeleton(roll, parent)
    return [
        f"created {folder}",
        f"to build its ISO: make -C {folder} roll{'' if program == 'rocks' else f' ROCKS={program}'}",
        f"to try its commands: ROCKS_TREES={folder / 'commands'} {program} list host {word}",
    ]


def build_distribution(
    root: Path, rolls: Sequence[tuple[str, str, str]], name: str, arch: str, place: Path
) -> DistributionReport:
    """Build the distribution NAME/ARCH in a folder, from rolls (name, version, architecture) in the folder `root`.

    Rolls of other architectures are left out. UserError when none is for this one, and for a distribution that would
    be among the rolls' files. Errors as of `create_distribution`.
    """
    check_plain_name("dist", name, 64)
    check_plain_name("arch", arch, 32)
    folder, rolls_root = (place / name).resolve(), root.resolve()
    if folder == rolls_root or rolls_root in folder.parents:
        raise UserError(
            f"{folder} belongs to the rolls in {rolls_root}, where a distribution would count as a roll: choose "
            "another dist=, or change to another folder"
        )
    archs = {roll[2] for roll in rolls}
    if arch != platform.machine() and rolls and arch not in archs:
        raise UserError(
            f"no roll is for the architecture {arch}, only for {', '.join(sorted(archs))}; without arch= the "
            f"distribution is for {platform.machine()}"
        )
    folders = [root.joinpath(*roll) for roll in rolls if roll[2] in (arch, NO_ARCHITECTURE)]
    for folder in folders:
        if not folder.is_dir():
            raise StateError(
                f"the files of a roll are not in {folder}: add the roll again with rocks add roll"
            )
    plan = DistributionPlan(name, arch, folders, own_folders(), SITE_NODES, SITE_GRAPHS)
    return create_distribution(plan, place)


def rolls_by_text(root: Path, text: str, arch: str) -> list[tuple[str, str, str]]:
    """The rolls of a text `name,version name …` in the folder `root`; a name alone is its newest version there.

    UserError for a roll that is not there.
    """
    found = []
    for part in text.split():
        name, _, version = part.partition(",")
        there = [
            path.relative_to(root).parts
            for path in sorted(root.glob("[!.]*/*/*"))
            if path.name in (arch, NO_ARCHITECTURE) and path.parent.parent.name == name
        ]
        matching = sorted((debian_key(roll[1]), roll) for roll in there if version in ("", roll[1]))
        if not matching:
            raise UserError(
                f'there is no roll "{printable(part)}" for {arch} in {root}; rocks add roll adds one'
            )
        of_name, of_version, of_arch = matching[-1][1]
        found.append((of_name, of_version, of_arch))
    return found


def command_word(name: str) -> str:
    """The word of commands for a roll: its name, with an underscore for what no identifier has."""
    word = re.sub(r"[^a-z0-9_]", "_", name)
    return word if word[0].isalpha() else f"roll_{word}"


def write_skeleton(roll: RollId, parent: Path) -> Path:
    """Write the sources of a new roll to the folder NAME; returns it.

    UserError for a folder that exists, HostError for one that cannot be written. A killed writer leaves no folder NAME.
    """
    folder = parent.absolute() / roll.name
    values = {
        "@NAME@": roll.name,
        "@WORD@": command_word(roll.name),
        "@VERSION@": roll.version,
        "@ARCH@": roll.arch,
    }
    try:
        if folder.exists() or folder.is_symlink():
            raise UserError(f"{folder} is there already; give another name, or remove it")
        work = Path(tempfile.mkdtemp(prefix=f".{roll.name}.", dir=parent))
        try:
            for path, text in FILES.items():
                target = work / "roll" / _filled(path, values)
                target.parent.mkdir(parents=True, exist_ok=True)
                write_file(target, _filled(text, values), mode=PUBLIC)
            (work / "roll").rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise HostError(f"cannot write {folder}: {error.strerror}") from None
    return folder


def _filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(name, value)
    return text
