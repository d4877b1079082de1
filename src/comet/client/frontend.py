"""A cluster's frontend, by OpenSSH's programs: a command runs there that outlasts each connection.

Only the frontend is reached from outside; it reaches its computes by their names. Nothing asks: BatchMode is on, and
each program has a deadline. What is kept there is in one folder for each launch, below the home of the user.
"""

from __future__ import annotations

import ipaddress
import shlex
import shutil
import subprocess  # noqa: TID251 - this program stands alone, without rocks.core
from collections.abc import Sequence
from pathlib import Path

from comet.client.errors import OperationFailedError, UnreachableError
from comet.client.launchers import NODES, OUTPUT

LOOK_SECONDS = 20
_DEADLINE_SECONDS = 60.0
_OPTIONS = (
    "-o",
    "BatchMode=yes",
    "-o",
    "ConnectTimeout=10",
    "-o",
    "ServerAliveInterval=15",
    "-o",
    "LogLevel=ERROR",
)
LARGEST_PART = 1 << 18
"""Bytes of output that one look gives at most; less is all there is."""

_ANSWERS = f"""cd "$1" && shift && printf '%s\\n' "$@" >{NODES} || exit 1
for node; do
    ssh -o BatchMode=yes -o ConnectTimeout=10 -o LogLevel=ERROR "$node" true </dev/null && continue
    echo "$node does not answer by SSH" >&2
    exit 1
done"""
# mkdir makes one of all that start it; by setsid it outlasts connections, and leads a group that `_STOP` ends, which is
# known once its number is there; kill ends what it left running
_START = f"""cd "$1" || exit 1
mkdir .comet 2>/dev/null || exit 0
setsid nohup sh -c 'echo $$ >.comet/new-pid; mv .comet/new-pid .comet/pid
sh -c "$1"; echo $? >.comet/new; mv .comet/new .comet/status; kill 0' launch "$2" >{OUTPUT} 2>&1 </dev/null &
tries=100
while [ ! -e .comet/pid ] && [ $tries -gt 0 ]; do sleep 0.1; tries=$((tries - 1)); done"""
_LOOK = f"""cd "$1" || exit 1
[ -e .comet/pid ] || sleep 2
alive() {{ kill -0 "$(cat .comet/pid)" 2>/dev/null; }}
tries=$(($3 * 2))
while [ $tries -gt 0 ] && [ ! -e .comet/status ] && alive && [ "$(wc -c <{OUTPUT})" -lt "$2" ]; do
    sleep 0.5; tries=$((tries - 1))
done
state=lost; alive && state=running
[ ! -e .comet/status ] || state=$(cat .comet/status)
echo "$state"; tail -c "+$2" {OUTPUT} | head -c {LARGEST_PART}"""
_STOP = """cd "$1" 2>/dev/null && [ -e .comet ] && [ ! -e .comet/status ] || exit 0
[ -e .comet/pid ] || sleep 2
[ -e .comet/pid ] || exit 0
group=$(cat .comet/pid)
for pause in 0.1 0.2 0.5 1 2; do
    kill -s TERM -- "-$group" 2>/dev/null || exit 0
    sleep $pause
done
kill -s KILL -- "-$group" 2>/dev/null || exit 0"""
_SIZES = """cd "$1" && shift && for name; do
    if [ -e "$name" ]; then du -sk --apparent-size "$name"; else echo "- $name"; fi
done"""


class Frontend:
    """A frontend at an address, for one user and one launch. `folder` is relative to the home of the user.

    UnreachableError where SSH does not get there, OperationFailedError where something fails there.
    """

    def __init__(self, user: str, address: str, folder: str) -> None:
        self.login, self.folder = f"{user}@{address}", folder
        try:
            is_v6 = ipaddress.ip_address(address).version == 6
        except ValueError:
            is_v6 = False
        self.copies = f"{user}@[{address}]:{folder}" if is_v6 else f"{self.login}:{folder}"

    def prepare(self) -> None:
        """Make the folder."""
        self._ask('mkdir -p -m 700 "$1"')

    def wait_for(self, nodes: Sequence[str]) -> None:
        """Whether all nodes answer by SSH from there; their names are in a file beside the copies."""
        self._ask(_ANSWERS, *nodes, seconds=_DEADLINE_SECONDS + 15.0 * len(nodes))

    def send(self, folder: Path, names: Sequence[str], seconds: float) -> None:
        if names:
            self._copy([str(folder / name) for name in names], f"{self.copies}/", seconds)

    def start(self, command: str) -> None:
        """Start a command of the shell, unless it was started before."""
        self._ask(_START, command)

    def look(self, offset: int, seconds: int = LOOK_SECONDS) -> tuple[str, bytes]:
        """(`running`, `lost` or the exit status, what the command printed from the byte `offset` on).

        It is held back until there is something to say, for so many seconds.
        """
        answer = self._ask(_LOOK, str(offset + 1), str(seconds), seconds=_DEADLINE_SECONDS + seconds)
        state, _, text = answer.partition(b"\n")
        return state.decode("ascii", "replace"), text

    def stop(self) -> None:
        """End the command and what it started."""
        self._ask(_STOP)

    def sizes(self, names: Sequence[str]) -> dict[str, int]:
        """Bytes of the files and folders that are there."""
        lines = [
            it.split(None, 1) for it in self._ask(_SIZES, *names).decode("ascii", "replace").splitlines()
        ]
        return {it[1]: int(it[0]) * 1024 for it in lines if it[0].isdigit()}

    def fetch(self, names: Sequence[str], target: Path, seconds: float) -> None:
        """Copy files and folders into a new folder, which is there as a whole or not at all."""
        part = target.with_name(f".{target.name}.comet-part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        self._copy([f"{self.copies}/{name}" for name in names], str(part), seconds)
        part.replace(target)

    def remove(self) -> None:
        """The folder with all that is in it."""
        self._ask('rm -rf "$1"')

    def _ask(self, script: str, *arguments: str, seconds: float = _DEADLINE_SECONDS) -> bytes:
        line = shlex.join(["sh", "-c", script, "comet", self.folder, *arguments])
        return self._run(["ssh", *_OPTIONS, self.login, line], seconds)

    def _copy(self, sources: Sequence[str], target: str, seconds: float) -> None:
        self._run(["scp", "-q", "-r", "-p", *_OPTIONS, *sources, target], seconds)

    def _run(self, command: Sequence[str], seconds: float) -> bytes:
        what = f"{command[0]} {self.login}"
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            raise UnreachableError(f"{what}: no answer in {seconds:g} s") from None
        except OSError as error:
            raise OperationFailedError(
                f"{command[0]} cannot be run: {error}. Install OpenSSH's client"
            ) from error
        if done.returncode == 0:
            return done.stdout
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [
            f"exit status {done.returncode}"
        ]
        kind = UnreachableError if done.returncode == 255 else OperationFailedError
        raise kind(f"{what}: {'; '.join(lines[-2:])}")
