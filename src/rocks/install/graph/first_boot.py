"""The script of a profile, left by an installer in the installed system, and executed once at its first boot.

The program and its unit are the files `first-boot` and `rocks-first-boot.service` beside this module. The installer of
this roll leaves them as well, with the address of the profile.

Sections `post` run at the first boot, and not in the installer, under whose kernel no module loads, no
service runs and no pool can be made. So kickstart, preseed and this roll's installer share one script, which
can be repeated; both ways, in the installer and later, would run what cannot be repeated twice. A `post` that
must act before is `--nochroot`, or a line of `main`.

There is one program and one unit for all installers: it fetches the profile where an address was left, else
takes the one that was left. All else is the same: log, report, repetition, restart. Always fetching was
refused, since a kickstart host has no certificate of the site; always leaving, since the attributes are not
final then.
"""

from __future__ import annotations

import base64
import gzip
import textwrap
from typing import NamedTuple

from rocks.install.graph.shell import here_document

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
