"""A program that stands for OpenSSH's ssh: a host is a folder, its home; a command runs there on this machine."""

import os
from pathlib import Path

_SSH = r"""#!/bin/sh
root={root}
while [ "${{1#-}}" != "$1" ]; do
    if [ "$1" = -- ]; then shift; break; fi
    [ "$1" != -o ] || shift; shift
done
host=${{1#*@}}
echo "ssh ${{1%%@*}} $host" >>"$root/log"
if [ -e "$root/away/$host" ]; then
    echo "ssh: connect to host $host port 22: Connection refused" >&2
    exit 255
fi
mkdir -p "$root/$host"
shift
ulimit -S -f unlimited
cd "$root/$host" && HOME=$PWD exec sh -c "$*"
"""


def write_ssh_programs(root: Path) -> Path:
    """`ssh` in a new folder, for PATH. A host is `root/NAME`; it is away while `root/away/NAME` exists.

    `root/log` has a line for each login: program, user, host.
    """
    programs = root / "programs"
    programs.mkdir(parents=True)
    (root / "away").mkdir()
    (programs / "ssh").write_text(_SSH.format(root=root))
    (programs / "ssh").chmod(0o755)
    return programs


def path_with(programs: Path) -> str:
    return f"{programs}:{os.environ['PATH']}"
