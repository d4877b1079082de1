"""A profile as a preseed file for the installer of Debian 12.

Lines of `main` are answers to the installer's questions (`debian_directives.py`). Sections `pre` are the early command,
for the installer's own `sh`. All other sections are one script, which the installed system executes at its first boot;
the late command leaves it there. Source: Debian.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rocks.core.errors import StateError
from rocks.install.graph.debian_directives import Answer, preseed_answers
from rocks.install.graph.first_boot import first_boot_commands, packed
from rocks.install.graph.kickstart import check_section_options, order_comment
from rocks.install.graph.packages import package_names
from rocks.install.graph.records import File, When
from rocks.install.graph.shell import section_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rocks.install.graph.first_boot import FirstBootFiles
    from rocks.install.graph.profile import Profile
    from rocks.install.graph.records import Section

LONGEST_COMMAND = 120_000
"""Characters of a command of the installer; it is one argument of a program, of which Linux allows 131072 bytes."""

DISTRIBUTION_NODE = "distribution"
"""The node that writes the site's distribution into the sources of packages."""

_SH = (("sh",), ("/bin/sh",))


def preseed_file(profile: Profile, script: str, files: FirstBootFiles) -> str:
    """The preseed file. `script` is the profile for the installed system, and `files` execute it there.

    StateError, with file and line, for a line of `main` that Debian's installer has no question for, and for a section
    that it cannot execute.
    """
    directives = [one for node in profile.nodes for one in node.directives]
    answers = [
        *preseed_answers(directives),
        Answer("pkgsel/run_tasksel", "boolean", "false"),
        Answer("pkgsel/include", "string", " ".join(_packages(profile))),
        *_early_command([section for node in profile.nodes for section in node.sections]),
        _late_command(script, files, profile.host),
    ]
    lines = [f"# {line}" for line in order_comment(profile)]
    return (
        "\n".join([*lines, *(f"d-i {one.question} {one.type} {one.value}".rstrip() for one in answers)])
        + "\n"
    )


def _packages(profile: Profile) -> list[str]:
    """The packages that the installer installs; none for a host that gets them from the site's distribution, of which
    only its profile knows.
    """
    if any(node.name == DISTRIBUTION_NODE for node in profile.nodes):
        return []
    return package_names(profile.nodes, "deb")


def _early_command(sections: Iterable[Section]) -> list[Answer]:
    commands: list[str] = []
    for section in sections:
        if section.when is When.PRE:
            check_section_options(section)
            if section.interpreter not in _SH or any(isinstance(part, File) for part in section.parts):
                raise StateError(
                    f"{section.place}: Debian's installer has no bash: a section that runs in it has "
                    'interpreter="/bin/sh" and no file; limit others with cond="packaging == \'rpm\'"'
                )
            path = f"/tmp/rocks-pre-{len(commands) + 1}"
            commands.append(f"printf %b {_escaped(section_text(section))} >{path} && sh {path}")
        elif section.is_for_installer:
            raise StateError(
                f"{section.place}: Debian's installer has no sections --nochroot; limit this one with "
                "cond=\"packaging == 'rpm'\""
            )
    return (
        [Answer("preseed/early_command", "string", _bounded(" && ".join(commands), "early"))]
        if commands
        else []
    )


def _late_command(script: str, files: FirstBootFiles, host: str) -> Answer:
    commands = packed(first_boot_commands(script, files))
    unpack = "base64 -d | gzip -dc | /bin/sh"
    command = f"printf %s {commands} | chroot /target /bin/sh -c {shlex.quote(unpack)}"
    return Answer("preseed/late_command", "string", _bounded(command, "late", host))


def _bounded(command: str, name: str, host: str = "") -> str:
    if len(command) > LONGEST_COMMAND:
        raise StateError(
            f"the {name} command{f' of host {host}' if host else ''} has {len(command)} characters, and Debian's "
            f"installer takes {LONGEST_COMMAND}: put long files of node files into a package"
        )
    return command


def _escaped(text: str) -> str:
    """The text in one line, as the argument of `printf %b`."""
    replaced = text.replace("\\", "\\\\").replace("\n", "\\n").replace("'", "\\0047").replace("\r", "\\r")
    return f"'{replaced}'"
