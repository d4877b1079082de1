"""Programs that stand for OpenSSH's ssh and scp: a host is a folder, its home; a command runs there on this machine."""

import os
from pathlib import Path

_COMMON = r"""#!/bin/sh
root={root}
login() {{
    echo "$program ${{1%%@*}} $2" >>"$root/log"
    if [ -e "$root/away/$2" ]; then
        echo "ssh: connect to host $2 port 22: Connection refused" >&2
        exit 255
    fi
    mkdir -p "$root/$2"
}}
"""
_SSH = r"""program=ssh
while [ "${1#-}" != "$1" ]; do [ "$1" != -o ] || shift; shift; done
host=${1#*@}
login "$1" "$host"; shift
cd "$root/$host" && HOME=$PWD exec sh -c "$*"
"""
_SCP = r"""program=scp
while [ "${1#-}" != "$1" ]; do [ "$1" != -o ] || shift; shift; done
count=$#
for name; do
    case $name in
        *:/*) set -- "$@" "${name#*:}" ;;
        *:*) host=${name#*@}; host=${host%%:*}; login "$name" "$host"; set -- "$@" "$root/$host/${name#*:}" ;;
        *) set -- "$@" "$name" ;;
    esac
done
shift "$count"
exec cp -r -p "$@"
"""


def write_ssh_programs(root: Path) -> Path:
    """`ssh` and `scp` in a new folder, for PATH. A host is `root/NAME`; it is away while `root/away/NAME` exists.

    `root/log` has a line for each login: program, user, host.
    """
    programs = root / "programs"
    programs.mkdir(parents=True)
    (root / "away").mkdir()
    for name, text in (("ssh", _SSH), ("scp", _SCP)):
        (programs / name).write_text(_COMMON.format(root=root) + text)
        (programs / name).chmod(0o755)
    return programs


def path_with(programs: Path) -> str:
    return f"{programs}:{os.environ['PATH']}"
