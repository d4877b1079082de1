"""A profile as a script of bash: for a machine that runs, and for the first boot after an installation."""

from __future__ import annotations

import base64
import gzip
import re
import shlex
import textwrap
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError
from rocks.core.terminal import one_line
from rocks.install.graph.document import File, FileMode, Section, When
from rocks.install.graph.profile import package_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rocks.install.graph.document import Node
    from rocks.install.graph.profile import Profile


# A profile as a script of bash for a machine that runs: packages, files, sections; run again it changes nothing.
#
# The script does nothing before its last line has arrived, and no program in it reads what follows it.


GENERATOR = "shell"
"""The name of this kind of document in order rules with `gen`."""

_BASH = ("bash", "-euo", "pipefail")
_BASH_NAMES = frozenset(("bash", "/bin/bash", "/usr/bin/bash"))
_SEQUENCE = (When.POST, When.BOOT_POST)
_PACKAGING = {"deb": "rocks_packages_deb", "rpm": "rocks_packages_rpm"}
_MARK = "ROCKS-END"
_EDGES = re.compile(r"\A(?:[ \t]*\n)+")
_CONTINUED = re.compile(r"(?<!\\)(?:\\\\)*\\\n\Z")
"""A text whose last line ends with an odd number of backslashes: an expanded one goes on in the next line."""


def shell_script(
    profile: Profile, functions: str, packaging: str, origin: str = "rocks report host profile"
) -> str:
    """The script. `functions` is the text at the begin of every script; `packaging` is deb or rpm; `origin` is the
    command that prints it.

    StateError for a profile that a running machine cannot apply: groups of packages on Debian, files in sections of
    another interpreter.
    """
    if packaging not in _PACKAGING:
        raise StateError(
            f"host {profile.host} has the attribute packaging {packaging!r}, which is deb or rpm: "
            f"rocks set host attr {profile.host} packaging deb"
        )
    lines = [
        "#!/bin/bash",
        f"# Profile of host {one_line(profile.host)}, printed by {origin}; run it there as root.",
        "# Nodes: " + ", ".join(dict.fromkeys(node.name for node in profile.nodes)),
        # before what another shell does not understand
        "[ -n \"${BASH_VERSION:-}\" ] || { echo 'Error: this script is for bash: type | bash, not | sh' >&2; exit 1; }",
        "set -euo pipefail",
        "umask 022",
        "export LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        f"export ROCKS_HOST={shlex.quote(profile.host)}",
        "",
        functions.rstrip("\n"),
        'for name in $(compgen -A function rocks_); do export -f "${name?}"; done',
        "",
        "rocks_profile() {",
        "rocks_begin",
        *(line for node in profile.nodes for line in _node(node, When.BOOT_PRE)),
        *_packages(profile.nodes, packaging),
        *(line for when in _SEQUENCE for node in profile.nodes for line in _node(node, when)),
        "rocks_end",
        "}",
        "rocks_profile </dev/null",
    ]
    return "".join(f"{line}\n" for line in lines)


def _packages(nodes: Iterable[Node], packaging: str) -> Iterator[str]:
    """One call for all packages of all nodes."""
    names = package_names(nodes, packaging)
    if names:
        yield f"{_PACKAGING[packaging]} {shlex.join(names)}"


def _node(node: Node, when: When) -> Iterator[str]:
    sections = [section for section in node.sections if section.when is when]
    target_sections = [section for section in sections if not section.is_for_installer]
    if when is When.POST:
        left_out = [section.when.value for section in node.sections if section.when is When.PRE]
        left_out += ["main"] * bool(node.directives) + ["--nochroot"] * (len(sections) - len(target_sections))
        if left_out:
            yield f"# node {node.name}: for an installer only: {', '.join(left_out)}"
    if not target_sections:
        return
    yield f"rocks_say {shlex.quote(f'node {node.name} begins ({when.value})')}"
    for section in target_sections:
        yield from _section(node, section)
    yield f"rocks_say {shlex.quote(f'node {node.name} ends ({when.value})')}"


def _section(node: Node, section: Section) -> Iterator[str]:
    is_bash = is_for_bash(section)
    if not is_bash and any(isinstance(part, File) for part in section.parts):
        raise StateError(
            f"{section.place}: a section of the interpreter {section.interpreter[0]} has a file; "
            "put it into a section of its own, without interpreter"
        )
    text = section_text(section)
    arguments = (node.name, section.when.value, *(_BASH if is_bash else section.interpreter))
    yield here_document(f"rocks_section {shlex.join(arguments)}", text)


def is_for_bash(section: Section) -> bool:
    """Whether the section is a text for bash."""
    return not section.interpreter or section.interpreter[0] in _BASH_NAMES


def section_text(section: Section) -> str:
    """The program text of a section; where it has files, calls of the functions of a profile."""
    parts = (part for part in section.parts if isinstance(part, File) or part.strip())
    return "\n".join(_lines_of(part) for part in parts) + "\n"


def _lines_of(part: str | File) -> str:
    """A part of a section without the blanks between it and its neighbours."""
    return _file(part) if isinstance(part, File) else _EDGES.sub("", part).rstrip()


def _file(file: File) -> str:
    """The lines of a section that make the file."""
    arguments = [
        file.path,
        "create",
        file.permissions,
        file.owner,
        "keep" if file.keeps_original else "forget",
    ]
    if file.mode is FileMode.APPEND:
        arguments[1] = "append"
    if file.command:
        lines = [f"{{ {file.command}\n}} | rocks_content"]
    elif file.mode is FileMode.PIPE:
        source = shlex.quote(file.source or file.path)
        reading = f"cat -- {source}" if file.source else f"if [ -e {source} ]; then cat -- {source}; fi"
        lines = [f"{reading} | {{\n{file.text}}} | rocks_content"]
    elif file.text is not None:
        lines = [here_document("rocks_content", file.text, file.is_expanded)]
    else:
        arguments[1] = "touch"
        lines = []
    return "\n".join([*lines, f"rocks_file {shlex.join(arguments)}"])


def files_text(files: Iterable[tuple[str, str, str]]) -> str:
    """Calls of the functions of a profile that make files: path, content, permissions as octal digits. No original is
    kept, and the owner is root.
    """
    return "\n".join(
        f"{here_document('rocks_content', text)}\nrocks_file {shlex.join([path, 'create', permissions, '', 'forget'])}"
        for path, text, permissions in files
    )


def here_document(command: str, text: str, is_expanded: bool = False) -> str:
    """The command with the text on its standard input, closed by a line that the text does not have."""
    lines = set(text.splitlines())
    number = next(n for n in range(1, len(lines) + 2) if f"{_MARK}-{n}" not in lines)
    mark = f"{_MARK}-{number}"
    if is_expanded and _CONTINUED.search(text):
        text += "\n"  # it goes on in this line, and not in the closing one
    # quoted, the shell leaves the text as it is
    return f"{command} <<{mark if is_expanded else repr(mark)}\n{text}{mark}"


# The script of a profile, left by an installer in the installed system, and executed once at its first boot.
#
# The program and its unit are the files `first-boot` and `rocks-first-boot.service` beside this module. The installer
# of this roll leaves them as well, with the address of the profile.
#
# Sections `post` run at the first boot, and not in the installer, under whose kernel no module loads, no service runs
# and no pool can be made. So kickstart, preseed and this roll's installer share one script, which can be repeated; both
# ways, in the installer and later, would run what cannot be repeated twice. A `post` that must act before is
# `--nochroot`, or a line of `main`.
#
# There is one program and one unit for all installers: it fetches the profile where an address was left, else takes the
# one that was left. All else is the same: log, report, repetition, restart. Always fetching was refused, since a
# kickstart host has no certificate of the site; always leaving, since the attributes are not final then.


FOLDER = "/var/lib/rocks/first-boot"
PROGRAM = "/etc/rocks/installation/first-boot"
UNIT = "rocks-first-boot.service"


class FirstBootFiles(NamedTuple):
    """The texts of the program and of its unit."""

    program: str
    unit: str


def first_boot_commands(script: str, files: FirstBootFiles, is_packed: bool = False) -> str:
    """Commands of sh, run inside the installed system, that leave the script, the program and its unit there.

    A script that fails stays, and is executed again at the next boot. `is_packed`: script and program are compressed
    and encoded, for documents in which some of their lines have a meaning.
    """
    wants = "/etc/systemd/system/multi-user.target.wants"
    return "\n".join(
        (
            "set -e",
            "umask 022",
            f"mkdir -p {FOLDER} {PROGRAM.rpartition('/')[0]} {wants}",
            f"chmod 700 {FOLDER}",
            f"rm -f {FOLDER}/complete",
            _written(f"{FOLDER}/profile.new", script, is_packed),
            f"chmod 600 {FOLDER}/profile.new",
            f"mv -f {FOLDER}/profile.new {FOLDER}/profile",
            _written(PROGRAM, files.program, is_packed),
            f"chmod 755 {PROGRAM}",
            here_document(f"cat >/etc/systemd/system/{UNIT}", files.unit),
            f"ln -sfn ../{UNIT} {wants}/{UNIT}",
            "",
        )
    )


def packed(text: str) -> str:
    """The text compressed by gzip, in base64, the same for the same text."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


def _written(path: str, text: str, is_packed: bool) -> str:
    if not is_packed:
        return here_document(f"cat >{path}", text)
    lines = "\n".join(textwrap.wrap(packed(text), 76)) + "\n"
    return here_document(f"{{ base64 -d | gzip -dc; }} >{path}", lines)
