"""The script of a profile, left by an installer in the installed system, and executed once at its first boot."""

from __future__ import annotations

import base64
import gzip
import textwrap

from rocks.graph.shell import here_document

FOLDER = "/var/lib/rocks/first-boot"
UNIT = "rocks-first-boot.service"

_UNIT_TEXT = f"""\
[Unit]
Description=Configuration of this host by the kickstart graph
ConditionPathExists={FOLDER}/profile
Wants=network-online.target
After=network-online.target local-fs.target

[Service]
Type=oneshot
ExecStart=/bin/bash {FOLDER}/profile
ExecStartPost=/bin/rm -f {FOLDER}/profile
StandardOutput=journal+console
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
"""


def first_boot_commands(script: str, is_packed: bool = False) -> str:
    """Commands of sh, run inside the installed system, that leave the script and its unit there.

    A script that fails stays, and is executed again at the next boot. `is_packed`: the script is compressed and
    encoded, for documents in which some lines of a script have a meaning.
    """
    wants = "/etc/systemd/system/multi-user.target.wants"
    return "\n".join(
        (
            "set -e",
            "umask 022",
            f"mkdir -p {FOLDER} {wants}",
            f"chmod 700 {FOLDER}",
            _packed(script) if is_packed else here_document(f"cat >{FOLDER}/profile.new", script),
            f"chmod 600 {FOLDER}/profile.new",
            f"mv -f {FOLDER}/profile.new {FOLDER}/profile",
            here_document(f"cat >/etc/systemd/system/{UNIT}", _UNIT_TEXT),
            f"ln -sfn ../{UNIT} {wants}/{UNIT}",
            "",
        )
    )


def packed(text: str) -> str:
    """The text compressed by gzip, in base64, the same for the same text."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


def _packed(script: str) -> str:
    lines = "\n".join(textwrap.wrap(packed(script), 76)) + "\n"
    return here_document(f"{{ base64 -d | gzip -dc; }} >{FOLDER}/profile.new", lines)
