"""Add, enable, disable, remove and run rolls."""

from __future__ import annotations

import platform
import shlex
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import HostError, StateError, ToolError, UserError
from rocks.core.names import is_like, printable
from rocks.core.near_names import did_you_mean
from rocks.core.process import run_interactively
from rocks.core.version import ROLL_NAME, rocks_version_attributes
from rocks.install.graph.profile import Profile, check_orders, read_graph
from rocks.install.graph.shell import shell_script
from rocks.install.graph_files import Library, own_folders, shell_functions
from rocks.install.host_profiles import host_profile, load_sites
from rocks.install.rolls import signatures
from rocks.install.rolls.content import (
    COMMANDS,
    NO_ARCHITECTURE,
    RollContent,
    RollId,
    check_installer,
    read_roll,
)
from rocks.install.rolls.folders import (
    RollRow,
    delete_rolls,
    folders_without_rows,
    insert_rolls,
    load_rolls,
    put_in_place,
    remove_byte_code,
    roll_path,
    rolls_folder,
    staging_folder,
    update_enabled,
    update_files_after_commit,
)
from rocks.install.rolls.iso import extract_roll, find_rolls
from rocks.install.rolls.package_files import debian_key, newest_per_name, read_package
from rocks.install.rolls.signatures import (
    check_manifest,
    same_content,
    take_folder,
    take_over,
    verify_manifest,
)
from rocks.inventory.host_records import find_local_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.install.rolls.content import RollDescription


# Rules for rolls: which may be enabled or disabled, given those that are. Pure.


def select_rolls(
    rows: Sequence[tuple[str, str, str]], names: Sequence[str], version: str, arch: str
) -> list[tuple[str, str, str]]:
    """The (name, version, architecture) that match names, a version and an architecture; `%` stands for any text.

    UserError for a name without a match.
    """
    chosen: dict[tuple[str, str, str], None] = {}
    for name in names:
        found = [
            row
            for row in rows
            if is_like(row[0], name) and is_like(row[1], version) and is_like(row[2], arch)
        ]
        if not found:
            of_name = [" ".join(row[1:3]) for row in rows if is_like(row[0], name)]
            if of_name:
                sought = f'version "{printable(version)}"' if version != "%" else "version"
                sought += f' for "{printable(arch)}"' if arch != "%" else ""
                raise UserError(f'the roll "{printable(name)}" has no {sought}, only {", ".join(of_name)}')
            meant = did_you_mean(name, {row[0] for row in rows})
            raise UserError(f'unknown roll "{printable(name)}"; {meant}rocks list roll lists the known ones')
        chosen.update(dict.fromkeys(found))
    return list(chosen)


def check_one_version(rolls: Iterable[tuple[str, str, str]]) -> None:
    """UserError when a roll is there in several versions or architectures, of which only one can be enabled."""
    first: dict[str, tuple[str, str, str]] = {}
    for roll in rolls:
        other = first.setdefault(roll[0].lower(), roll)
        if other != roll:
            raise UserError(
                f"the roll {roll[0]} is there as {' '.join(other[1:])} and as {' '.join(roll[1:])}, of which one can "
                f"be enabled: add version={roll[1]} or arch={roll[2]}"
            )


def check_disabled(rolls: Iterable[tuple[str, str, str]], enabled: Sequence[tuple[str, str, str]]) -> None:
    """StateError when one of the rolls is enabled."""
    found = [roll for roll in rolls if roll in enabled]
    if found:
        names = " ".join(roll[0] for roll in found)
        are = "is" if len(found) == 1 else "are"
        raise StateError(
            f"{', '.join(' '.join(roll) for roll in found)} {are} enabled, and in use by commands, profiles and "
            f"distributions: rocks disable roll {names}, then repeat the command"
        )


def check_needs(enabled: Iterable[RollDescription], ours: Mapping[str, str]) -> None:
    """StateError unless every enabled roll has the rolls that it needs. `ours`: what is there without one."""
    rolls = {one.roll: one.requirements for one in enabled}
    versions = {**{roll.name: roll.version for roll in rolls}, **ours}
    for roll, requirements in rolls.items():
        for name, lowest in requirements:
            if name not in versions:
                raise StateError(
                    f"the roll {roll.name} needs the roll {name}, which is not enabled: "
                    f"rocks enable roll {name}, or disable {roll.name} first"
                )
            if lowest and debian_key(versions[name]) < debian_key(lowest):
                raise StateError(
                    f"the roll {roll.name} needs version {lowest} or later of the roll {name}, and {versions[name]} is "
                    f"enabled: rocks enable roll {name} version={lowest}"
                )


# Add, enable, disable and remove rolls: rows of the database, and folders of the distribution.
#
# The database states which rolls there are. What is derived from it, the folder of a removed roll and the file of
# /etc/rocks/trees.d that names the commands of an enabled one, is brought to agree with it after each commit, by
# whichever command changes rolls next. So a killed command is finished by its repetition.
#
# Signatures are checked when a roll is enabled, too, by the keys that the site has then, after its files were made
# root's. A record of rolls once accepted without one was refused: it would accept them for ever. So was a check at each
# use: it would stop a site on the day on which a key expires.


LOCK = "rolls"
LOCK_SECONDS = 5.0


def add_rolls(
    database: Database,
    paths: Sequence[Path],
    clean: bool,
    is_unsigned_allowed: bool,
    notify: Callable[[str], None],
) -> None:
    """Add the rolls of ISOs, or of folders of the distribution, disabled; all of them or none.

    A roll that is there with the same content stays as it is; `clean` replaces one with other content. UserError and
    StateError, with nothing added, for what is damaged, no roll, or for another architecture.
    """
    with _changing(database) as root, staging_folder(root) as staging:
        new: dict[RollId, Path] = {}
        signers: dict[RollId, str] = {}
        for path in paths:
            for roll, folder in _read_medium(path, root, staging):
                if roll in new and not same_content(new[roll], folder):
                    raise UserError(f"{path} has the roll {roll}, which another one has with other content")
                signers[roll] = verify_manifest(
                    folder, str(path), signatures.KEYS_FOLDER, is_unsigned_allowed
                )
                read_roll(folder, roll, str(path))
                check_installer(folder, str(path))
                (folder / COMMANDS).mkdir(exist_ok=True)
                new[roll] = folder
        known = {RollId(*row.roll): row for row in load_rolls(database)}
        _check_unused(root, new, known, clean)
        for roll, folder in new.items():
            put_in_place(folder, roll_path(root, roll), staging)
        insert_rolls(database, new)
        update_files_after_commit(database, root)
    for roll in new:
        notify(
            f"added roll {roll} ({signers[roll]}); to use it: rocks enable roll {roll.name} version={roll.version}"
        )


def enable_rolls(
    database: Database,
    names: Sequence[str],
    version: str,
    arch: str,
    is_unsigned_allowed: bool,
    notify: Callable[[str], None],
) -> None:
    """Enable rolls: their commands, nodes and edges are in use from the next command on.

    Another enabled version of the roll is disabled. UserError and StateError, and no change, for a roll that needs
    another one, one whose names are taken, one whose files are missing, damaged or not valid, one whose orders make a
    cycle, and one that no key of the site signed. Signatures are checked as when it was added: keys may have come, gone
    or expired since then.
    """
    with _changing(database) as root:
        rows = load_rolls(database)
        chosen = [RollId(*roll) for roll in select_rolls([row.roll for row in rows], names, version, arch)]
        check_one_version(chosen)
        chosen_names = {roll.name for roll in chosen}
        replaced = [
            row
            for row in rows
            if row.is_enabled and row.name in chosen_names and RollId(*row.roll) not in chosen
        ]
        staying = [RollId(*row.roll) for row in rows if row.is_enabled and row.name not in chosen_names]
        database.end_reading()  # gpgv is run; the lock keeps the rows as they are
        for roll in chosen:
            folder = _folder_of(root, roll)
            _take_over(folder, f"the roll {roll} in {folder}")
            verify_manifest(folder, f"the roll {roll}", signatures.KEYS_FOLDER, is_unsigned_allowed)
        contents = [_content(root, roll, is_in_use=roll in staying) for roll in (*staying, *chosen)]
        check_needs([one.description for one in contents], {ROLL_NAME: rocks_version_attributes()["version"]})
        check_clashes(contents, _nodes_without(root), _our_commands())
        _check_order(root, contents)
        update_enabled(database, [row.roll for row in replaced], False)
        update_enabled(database, chosen, True)
        update_files_after_commit(database, root)
    for row in replaced:
        notify(f"disabled roll {RollId(*row.roll)}: another version is enabled")


def disable_rolls(database: Database, names: Sequence[str], version: str, arch: str) -> None:
    """Disable rolls. StateError, and no change, when an enabled roll needs one of them."""
    with _changing(database) as root:
        rows = load_rolls(database)
        chosen = select_rolls([row.roll for row in rows], names, version, arch)
        _check_rest(root, rows, chosen)
        update_enabled(database, chosen, False)
        update_files_after_commit(database, root)


def remove_rolls(database: Database, names: Sequence[str], version: str, arch: str) -> None:
    """Remove rolls, their files too. StateError, and no change, when one of them is enabled."""
    with _changing(database) as root:
        rows = load_rolls(database)
        there = dict.fromkeys([*(row.roll for row in rows), *folders_without_rows(root)])
        chosen = select_rolls(list(there), names, version, arch)
        check_disabled(chosen, [row.roll for row in rows if row.is_enabled])
        delete_rolls(database, chosen)
        update_files_after_commit(database, root, chosen)


def enabled_rolls(database: Database) -> list[tuple[str, str, str]]:
    """(name, version, architecture) of the enabled rolls."""
    return [row.roll for row in load_rolls(database) if row.is_enabled]


def load_contents(database: Database, names: Sequence[str]) -> list[tuple[Path, RollContent]]:
    """(folder, content) of the enabled rolls of these names. UserError for one that is not enabled."""
    root = rolls_folder(database)
    rows = load_rolls(database)
    enabled = [row.roll for row in rows if row.is_enabled]
    for name in names:
        if not any(is_like(roll[0], name) for roll in enabled):
            select_rolls([row.roll for row in rows], [name], "%", "%")  # an unknown one
            raise UserError(
                f'the roll "{printable(name)}" is not enabled: rocks enable roll {printable(name)}'
            )
    chosen = select_rolls(enabled, names, "%", "%")
    return [(roll_path(root, roll), _content(root, RollId(*roll))) for roll in chosen]


def _read_medium(path: Path, root: Path, staging: Path) -> Iterator[tuple[RollId, Path]]:
    """(roll, folder as its manifest states) of each roll of an ISO, extracted; or of a folder of the distribution."""
    machine = platform.machine()
    if path.is_dir():
        folder = path.resolve()
        rolls = [RollId(*folder.parts[-3:])] if folder.parent.parent.parent == root.resolve() else []
        if not rolls:
            raise UserError(
                f"{path} is a folder: give the ISO of a roll, or a folder {root}/NAME/VERSION/ARCH"
            )
    else:
        rolls = find_rolls(path)
    for roll in rolls:
        if roll.arch not in (machine, NO_ARCHITECTURE):
            raise UserError(
                f"{path} has the roll {roll}, and this frontend is {machine}: get the roll for {machine}"
            )
        if path.is_dir():
            _take_over(folder, str(path))
        else:
            folder = Path(tempfile.mkdtemp(dir=staging)) / "roll"
            extract_roll(path, roll, folder)
            check_manifest(folder, str(path))
        yield roll, folder


def _take_over(folder: Path, place: str) -> None:
    """Make the roll in NAME/VERSION/ARCH this user's. Errors as of `take_over`.

    Another owner, of the roll or of a folder above it, could exchange it after its signature was checked.
    """
    for above in (folder.parent.parent, folder.parent):
        take_folder(above)
    remove_byte_code(folder)
    take_over(folder, place)


def _check_unused(root: Path, new: dict[RollId, Path], known: dict[RollId, RollRow], clean: bool) -> None:
    """UserError for a roll that is there with other content, unless it may be replaced."""
    for roll, folder in new.items():
        there = roll_path(root, roll)
        if roll not in known or not there.is_dir() or same_content(there, folder):
            continue
        if clean and known[roll].is_enabled:
            raise StateError(
                f"the roll {roll} is enabled, and its files in use: rocks disable roll {roll.name} first"
            )
        if not clean:
            raise UserError(
                f"the roll {roll} is there with other content: clean=yes replaces it, or "
                f"rocks remove roll {roll.name} version={roll.version}"
            )


def _content(root: Path, roll: RollId, is_in_use: bool = True) -> RollContent:
    return read_roll(_folder_of(root, roll), roll, f"the roll {roll}", is_in_use=is_in_use)


def _folder_of(root: Path, roll: RollId) -> Path:
    """The folder of a roll. StateError when it is missing."""
    folder = roll_path(root, roll)
    if not folder.is_dir():
        raise StateError(
            f"the files of the roll {roll} are not in {folder}: add it again with rocks add roll and its ISO"
        )
    return folder


def _nodes_without(root: Path) -> dict[str, Path]:
    """The nodes in use that are of no added roll."""
    return {
        name: path
        for name, path in Library().node_names().items()
        if not path.is_relative_to(root.absolute())
    }


def _check_order(root: Path, contents: Sequence[RollContent]) -> None:
    """StateError for orders of nodes that make a cycle, alone or with those in use: no host would have a profile.

    The roll of these programs is left out: its orders are ours, perhaps of another version.
    """
    others = [
        one for one in Library().graph_files("default") if not one.place.startswith(f"{root.absolute()}/")
    ]
    graphs = [read_graph(others), *(one.graph for one in contents if one.description.roll.name != ROLL_NAME)]
    check_orders(order for graph in graphs for order in graph.orders)


def _our_commands() -> frozenset[tuple[str, ...]]:
    """The words of our commands and groups that have a file."""
    tree = Path(__file__).resolve().parents[2] / "commands"
    return frozenset(path.parent.relative_to(tree).parts for path in tree.rglob("__init__.py"))


def _check_rest(root: Path, rows: Sequence[RollRow], gone: Sequence[Sequence[str]]) -> None:
    """StateError when an enabled roll that stays needs one of those that go; these programs stay without a roll."""
    ids = {tuple(roll) for roll in gone}
    names = {roll[0] for roll in rows if roll.is_enabled and roll.roll in ids} - {ROLL_NAME}
    contents = [
        _content(root, RollId(*row.roll))
        for row in rows
        if row.is_enabled and row.roll not in ids and roll_path(root, row.roll).is_dir()
    ]
    for one in contents:
        for need in one.description.requirements:
            if need.name in names:
                raise StateError(
                    f"the roll {one.description.roll.name} needs the roll {need.name}: "
                    f"rocks disable roll {one.description.roll.name} first"
                )


@contextmanager
def _changing(database: Database) -> Iterator[Path]:
    """The rolls' folder, under the lock of all commands that change rolls, which ends with the command.

    HostError for files that cannot be used.
    """
    root = rolls_folder(database)
    database.end_reading()
    database.lock(LOCK, LOCK_SECONDS)
    try:
        yield root
    except OSError as error:
        raise HostError(f"cannot change the rolls in {root}: {error.strerror} ({error.filename})") from None


def check_clashes(
    contents: Sequence[RollContent],
    our_nodes: Mapping[str, Path],
    our_commands: frozenset[tuple[str, ...]],
) -> None:
    """UserError for a node or command that ours or two of these rolls have; StateError for an edge to no node.

    `our_nodes` are those in use without these rolls. The roll of these programs is compared with none: its nodes and
    commands are ours.
    """
    others = [one for one in contents if one.description.roll.name != ROLL_NAME]
    owners: dict[tuple[str, ...], str] = {("node", name): f"{path}" for name, path in our_nodes.items()}
    owners |= {("command", *path): "these programs" for path in our_commands}
    for content in others:
        roll = content.description.roll
        for kind, *path in (
            *(("node", name) for name in sorted(content.nodes)),
            *(("command", *command) for command in sorted(content.commands)),
        ):
            owner = owners.setdefault((kind, *path), f"the roll {roll.name}")
            if owner != f"the roll {roll.name}":
                raise UserError(
                    f'the roll {roll.name} has the {kind} "{" ".join(path)}", and so has {owner}: '
                    "its author must give it another name"
                )
    nodes = {name[1] for name in owners if name[0] == "node"}
    for content in others:
        for edge in content.graph.edges:
            if edge.child not in nodes:
                raise StateError(
                    f'{edge.place} leads from {edge.parent} to the node "{edge.child}", which no enabled roll has: '
                    "enable its roll first, or its author must add the node"
                )


# The script that brings a running host to what some rolls make of it, and its execution on this machine.


_START = "rocks_profile </dev/null\n"
_INSTALL = """
# A package that the roll brings is installed from its file; what it depends on comes from the repositories.
rocks_roll_deb() {
  [[ $(dpkg-query -W -f '${db:Status-Abbrev}' -- "$1" 2>/dev/null) == ?i* ]] ||
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 --no-install-recommends install -- "$2"
}
rocks_roll_rpm() { rpm -q --quiet -- "$1" || dnf -y -q install -- "$2"; }
"""


def roll_script(database: Database, names: Sequence[str], host: str) -> str:
    """The script of those nodes of a host that are of these rolls, in the order of its graph, with their packages.

    UserError for a roll that is not enabled, StateError as of `write_profile` and for a host without a node of them.
    """
    ours = [name for name in names if name.lower() == ROLL_NAME]
    others = [name for name in names if name.lower() != ROLL_NAME]
    contents = load_contents(database, others) if others else []
    folders = [folder for folder, _ in contents] + (own_folders() if ours else [])
    is_local = find_local_host(database) == host
    (site,) = load_sites(database, [host])
    profile, packaging = host_profile(site, Library())
    nodes = [
        node
        for node in profile.nodes
        if any(Path(node.place).absolute().is_relative_to(folder.absolute()) for folder in folders)
    ]
    if not nodes:
        raise StateError(
            f"no node of {', '.join(names)} applies to host {host}: the edges of the rolls lead from other nodes, or "
            f"their conditions do not hold; rocks report host profile {host} names its nodes"
        )
    script = shell_script(Profile(profile.host, tuple(nodes)), shell_functions(), packaging)
    if not is_local:
        return script
    named = {package.name for node in nodes for package in node.packages if not package.is_excluded}
    files = [path for _, content in contents for path in content.packages]
    lines = [
        f"rocks_roll_{one.kind} {shlex.quote(one.name)} {shlex.quote(str(one.path.absolute()))}\n"
        for one in newest_per_name(map(read_package, files))
        if one.kind == packaging and one.name in named
    ]
    return script.removesuffix(_START) + "".join([_INSTALL, *lines] if lines else []) + _START


def run_here(database: Database, names: Sequence[str], host: str) -> None:
    """Run the script of the rolls on this machine, with its output on the terminal.

    UserError when the host is not this machine, ToolError when the script fails.
    """
    if find_local_host(database) != host:
        raise UserError(
            f"dryrun=no is for this machine, and {host} is another one: "
            f"rocks run roll {' '.join(names)} host={host} | ssh root@{host} bash"
        )
    script = roll_script(database, names, host)
    database.end_reading()
    status = run_interactively(["bash"], script.encode())
    if status != 0:
        raise ToolError(
            f"the script of {', '.join(names)} ended with exit status {status}; correct what it reports"
        )
