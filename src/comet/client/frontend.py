"""A cluster's frontend, by OpenSSH's programs: a command runs there that outlasts each connection.

Only the frontend is reached from outside; it reaches its computes by their names. Nothing asks: BatchMode is on, and
each program has a deadline. What is kept there is in one folder for each launch, below the home of the user.
"""

from __future__ import annotations

import ipaddress
import shlex
import shutil
import subprocess  # noqa: TID251 - this program stands alone, without rocks.core
import tempfile
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
# the leader's number counts as long as it is that process, of this boot: numbers come again
_ALIVE = """alive() {
    read -r group begin boot <.comet/pid && [ "$boot" = "$(cat /proc/sys/kernel/random/boot_id)" ] &&
        [ "$begin" = "$(cut -d ' ' -f 22 "/proc/$group/stat" 2>/dev/null)" ]
}"""
# mkdir makes one of all that start it; by setsid it outlasts connections, and leads a group that `_STOP` ends, which is
# known once its number is there; kill ends what it left running
_START = f"""cd "$1" || exit 1
mkdir .comet 2>/dev/null || {{ [ -d .comet ]; exit; }}
setsid nohup sh -c 'echo "$$ $(cut -d " " -f 22 /proc/$$/stat) $(cat /proc/sys/kernel/random/boot_id)" >.comet/new-pid
mv .comet/new-pid .comet/pid
sh -c "$1"; echo $? >.comet/new; mv .comet/new .comet/status; kill 0' launch "$2" >{OUTPUT} 2>&1 </dev/null &
tries=100
while [ ! -e .comet/pid ] && [ $tries -gt 0 ]; do sleep 0.1; tries=$((tries - 1)); done"""
_MARK = b"comet-launch "
"""Before the state: a shell may print when it begins."""
_LOOK = f"""cd "$1" || exit 1
[ -e .comet/pid ] || sleep 2
{_ALIVE}
tries=$(($3 * 2))
while [ $tries -gt 0 ] && [ ! -e .comet/status ] && alive && [ "$(wc -c <{OUTPUT})" -lt "$2" ]; do
    sleep 0.5; tries=$((tries - 1))
done
state=lost; alive && state=running
[ ! -e .comet/status ] || state=$(cat .comet/status)
echo "{_MARK.decode()}$state"; tail -c "+$2" {OUTPUT} | head -c {LARGEST_PART}"""
_STOP = f"""cd "$1" 2>/dev/null && [ -e .comet ] && [ ! -e .comet/status ] || exit 0
[ -e .comet/pid ] || sleep 2
{_ALIVE}
alive || exit 0
for pause in 0.1 0.2 0.5 1 2; do
    kill -s TERM -- "-$group" 2>/dev/null || exit 0
    sleep $pause
done
kill -s KILL -- "-$group" 2>/dev/null || exit 0"""
_SIZES = """cd "$1" && shift && for name; do
    if [ -e "$name" ]; then du -sk --apparent-size "$name"; fi
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
        state, _, text = answer.partition(_MARK)[2].partition(b"\n")
        if not state:
            raise OperationFailedError(
                f"{self.login} does not run what it is asked by SSH, but prints something else"
            )
        return state.decode("ascii", "replace"), text

    def stop(self) -> None:
        """End the command and what it started."""
        self._ask(_STOP)

    def sizes(self, names: Sequence[str]) -> dict[str, int]:
        """Bytes of the files and folders that are there."""
        lines = self._ask(_SIZES, *names).decode("ascii", "replace").splitlines()
        found = (line.partition("\t") for line in lines)
        return {name: int(size) * 1024 for size, _, name in found if size.isdigit() and name in names}

    def fetch(self, names: Sequence[str], part: Path, seconds: float) -> None:
        """Copy files and folders, with links as they are, into a folder, which is made anew."""
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        if not names:
            return
        unpack = ("tar", "-x", "-f", "-", "-C", str(part), "--no-same-owner")
        pack = self._command('cd "$1" && shift && tar -c -f - -- "$@"', *names)
        with tempfile.TemporaryFile() as errors:
            with subprocess.Popen(
                pack, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
            ) as sender:
                try:
                    done = subprocess.run(
                        unpack, stdin=sender.stdout, stderr=errors, timeout=seconds, check=False
                    )
                except subprocess.TimeoutExpired:
                    sender.kill()
                    raise UnreachableError(f"{self.login}: not copied in {seconds:g} s") from None
            errors.seek(0)
            self._demand(f"ssh {self.login}", sender.returncode or done.returncode, errors.read())

    def remove(self) -> None:
        """The folder with all that is in it."""
        self._ask('rm -rf "$1"')

    def _ask(self, script: str, *arguments: str, seconds: float = _DEADLINE_SECONDS) -> bytes:
        return self._run(self._command(script, *arguments), seconds)

    def _command(self, script: str, *arguments: str) -> list[str]:
        """The program that runs a script of the shell there, in no folder, with the launch's as its first argument."""
        line = shlex.join(["sh", "-c", script, "comet", self.folder, *arguments])
        return ["ssh", *_OPTIONS, self.login, line]

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
        self._demand(what, done.returncode, done.stderr)
        return done.stdout

    def _demand(self, what: str, status: int, errors: bytes) -> None:
        """Raise what a program that failed has printed last."""
        if status:
            lines = errors.decode("utf-8", "replace").strip().splitlines() or [f"exit status {status}"]
            kind = UnreachableError if status == 255 else OperationFailedError
            raise kind(f"{what}: {'; '.join(lines[-2:])}")
