"""A profile as a kickstart file for the installer of RHEL 8 and 9.

The lines of `main` come first, then the packages, the sections `pre`, and those that run outside the installed system
(`--nochroot`). All other sections are one script, which the installed system executes at its first boot: there its own
kernel and its services run.
"""

from __future__ import annotations

import base64
import shlex
from typing import TYPE_CHECKING

from rocks.core.errors import StateError
from rocks.core.terminal import one_line
from rocks.install.graph.document import File, When
from rocks.install.graph.profile import excluded_names, package_names
from rocks.install.graph.shell import first_boot_commands, here_document, is_for_bash, section_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rocks.install.graph.document import Directive, Node, Section
    from rocks.install.graph.profile import Profile
    from rocks.install.graph.shell import FirstBootFiles

_COMMANDS = """
auth authconfig authselect autopart bootloader cdrom clearpart cmdline driverdisk eula fcoe firewall
firstboot graphical group halt harddrive hmc ignoredisk iscsi iscsiname keyboard lang liveimg
logging logvol mediacheck module mount network nfs nvdimm ostreesetup part partition poweroff raid
realm reboot repo reqpart rescue rhsm rootpw selinux services shutdown skipx snapshot sshkey sshpw
syspurpose text timezone updates url user vnc volgroup xconfig zerombr zfcp zipl
"""
COMMANDS = frozenset(_COMMANDS.split())
"""Commands that the installers of RHEL 8 and of RHEL 9 have."""

IMPLIED = frozenset(("install",))
"""Commands of earlier installers that are now implied; they are left out."""

_SECTION_OPTIONS = ("--nochroot", "--erroronfail")


def kickstart_file(profile: Profile, functions: str, script: str, files: FirstBootFiles) -> str:
    """The kickstart file. `functions` are those of the script, `script` is the profile for the installed
    system, and `files` execute it there.

    StateError, with file and line, for a line of `main` that these installers do not have, and for a section that
    cannot be part of the file.
    """
    lines = [f"# {line}" for line in order_comment(profile)]
    lines += [
        _directive_line(one) for node in profile.nodes for one in node.directives if one.tag not in IMPLIED
    ]
    lines += ["", "%packages --ignoremissing", *package_names(profile.nodes, "rpm")]
    lines += [f"-{name}" for name in sorted(excluded_names(profile.nodes))]
    lines += ["%end"]
    for number, (node, section) in enumerate(_installer_sections(profile.nodes), 1):
        lines += ["", *_section(node, section, functions, profile.host, number)]
    commands = first_boot_commands(script, files, _has_section_lines(f"{script}\n{files.program}"))
    lines += ["", "%post --interpreter=/bin/sh --erroronfail --log=/var/log/rocks-install.log"]
    lines += [commands.rstrip("\n"), "%end"]
    return "\n".join(lines) + "\n"


def order_comment(profile: Profile) -> list[str]:
    """Lines that name the host and the node files, in their order."""
    host = f"host {one_line(profile.host)}" if profile.host else "a host"
    lines = [
        f"Installation of {host}, generated from the kickstart graph by rocks list host profile.",
        "Nodes:",
    ]
    return lines + [f"  {one_line(node.name)} ({one_line(node.place)})" for node in profile.nodes]


def check_section_options(section: Section) -> list[str]:
    """The options of a section for its line; StateError for an unknown one."""
    try:
        options = shlex.split(section.argument)
    except ValueError:
        options = [section.argument]
    for option in options:
        if option not in _SECTION_OPTIONS:
            raise StateError(
                f"{section.place}: arg of a section is {' or '.join(_SECTION_OPTIONS)}, not {option!r}; "
                "its interpreter has an attribute of its own"
            )
    return options


def _directive_line(directive: Directive) -> str:
    if directive.tag not in COMMANDS:
        raise StateError(
            f"{directive.place}: the installers of RHEL 8 and 9 have no command {directive.tag}; remove the tag "
            f"<{directive.tag}>, or limit it with os=, release= or cond="
        )
    text = directive_text(directive)
    return f"{directive.tag} {text}".rstrip()


def directive_text(directive: Directive) -> str:
    """The text of a line of `main`, as one line. StateError for a text with an open quote or control characters."""
    text = " ".join(line.strip() for line in directive.text.splitlines()).strip()
    try:
        shlex.split(text, comments=True)
    except ValueError:
        raise StateError(f"{directive.place}: the text of <{directive.tag}> has an open quote") from None
    if not text.replace("\t", " ").isprintable():
        raise StateError(f"{directive.place}: the text of <{directive.tag}> has a control character")
    return text


def _installer_sections(nodes: Iterable[Node]) -> Iterator[tuple[Node, Section]]:
    """The sections `pre` of all nodes, then those of `post` outside the installed system."""
    nodes = list(nodes)
    for when in (When.PRE, When.POST):
        for node in nodes:
            for section in node.sections:
                if section.when is when and (when is When.PRE or section.is_for_installer):
                    yield node, section


def _section(node: Node, section: Section, functions: str, host: str, number: int) -> Sequence[str]:
    options = " ".join(check_section_options(section))
    title = "%pre" if section.when is When.PRE else "%post"
    log = f"/tmp/rocks-{number:02}-{node.name}.log"
    interpreter, text = _program(section, functions, host)
    return [
        f"{title} --interpreter={interpreter} --log={log} {options}".rstrip(),
        f"# node {node.name}",
        text.rstrip("\n"),
        "%end",
    ]


def _program(section: Section, functions: str, host: str) -> tuple[str, str]:
    """(the interpreter, the text) of a section in the installer's own system."""
    text = section_text(section)
    arguments = section.interpreter or ("/bin/bash",)
    if any(isinstance(part, File) for part in section.parts):
        if not is_for_bash(section):
            raise StateError(
                f"{section.place}: a section of the interpreter {arguments[0]} has a file; it needs its own section"
            )
        text = f"{functions_prelude(functions, host)}{text}"
    if len(arguments) == 1 and arguments[0].startswith("/") and not _has_section_lines(text):
        return arguments[0], text
    return "/bin/bash", _wrapped(arguments, text)


def functions_prelude(functions: str, host: str) -> str:
    """Lines that make the functions of a profile usable in a section of their own."""
    return (
        f"export ROCKS_HOST={shlex.quote(host)}\n"
        "ROCKS_WORK=$(mktemp -d)\n"
        ': >"$ROCKS_WORK/changes" >"$ROCKS_WORK/warnings"\n'
        f"{functions.rstrip(chr(10))}\n"
    )


def _wrapped(arguments: Sequence[str], text: str) -> str:
    """A text that writes the program to a file and runs it: for an interpreter with arguments, or lines with a %."""
    if _has_section_lines(text):
        writing = here_document('base64 -d >"$section"', base64.encodebytes(text.encode()).decode("ascii"))
    else:
        writing = here_document('cat >"$section"', text)
    return f'section=$(mktemp)\n{writing}\n{shlex.join(arguments)} "$section"\n'


def _has_section_lines(text: str) -> bool:
    """Whether a line begins like one of kickstart's own, such as `%end`."""
    return any(line.lstrip().startswith("%") for line in text.splitlines())
