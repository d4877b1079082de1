"""A cluster's frontend, by OpenSSH's `ssh`: a command runs there that outlasts each connection.

Only the frontend is reached from outside; it reaches its computes by their names. Nothing asks: BatchMode is on, and
each connection has a deadline. What is kept there is in one folder for each launch, below the home of the user. What
the frontend sends is bounded: an answer by its size, and results by the space that is free here.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess  # noqa: TID251 - this program stands alone, without rocks.core
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, ContextManager

from comet.client.errors import OperationFailedError, UnreachableError
from comet.client.launchers import NODES, OUTPUT

LOOK_SECONDS = 20
_DEADLINE_SECONDS = 60.0
_COPY_SECONDS = 6 * 3600.0
# the frontend gets no agent, display or port of the user, though their configuration of ssh forwards them
_SSH = "ssh -a -x -T -o ClearAllForwardings=yes -o BatchMode=yes -o ConnectTimeout=10 -o LogLevel=ERROR"
# blocks of 512 or 1024 bytes: what an answer and its errors can have
_CONNECT = ("sh", "-c", f'ulimit -S -f 2048; exec {_SSH} -o ServerAliveInterval=15 "$@"', "sh")
# names of any length are in memory
_UNPACK = ("sh", "-c", 'ulimit -v 1000000; exec tar -x -o --no-same-permissions -f - -C "$1"', "sh")
LARGEST_PART = 1 << 18
"""Bytes of output that one look gives at most; less is all there is."""
_CHUNK_BYTES = 1 << 20
_RESERVE_BYTES, _RESERVE_FILES = 16 << 20, 5000
"""What results leave free of the disk here: more than a chunk of an archive can make."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_ANSWERS = f"""cd "$1" && shift && printf '%s\\n' "$@" >{NODES} || exit 1
for node; do
    {_SSH} -- "$node" true </dev/null && continue
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
"""Before an answer: a shell may print when it begins."""
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
# /dev/null: tar and du take no names for an error, or for the whole folder
_PACK = f"""cd "$1" && shift || exit 1
for name; do [ ! -e "$name" ] || set -- "$@" "$name"; shift; done
echo "{_MARK.decode()}$(du -sck --apparent-size -- /dev/null "$@" | tail -n 1 | cut -f 1)"
exec tar -c -f - -T /dev/null -- "$@\""""


class Frontend:
    """A frontend at an address, for one user and one launch. `folder` is relative to the home of the user.

    UnreachableError where SSH does not get there, OperationFailedError where something fails there.
    """

    def __init__(self, user: str, address: str, folder: str) -> None:
        self.login, self.folder = f"{user}@{address}", folder

    def prepare(self) -> None:
        """Make the folder."""
        self._ask('mkdir -p -m 700 "$1"')

    def wait_for(self, nodes: Sequence[str]) -> None:
        """Whether all nodes answer by SSH from there; their names are in a file beside the copies."""
        self._ask(_ANSWERS, *nodes, seconds=_DEADLINE_SECONDS + 15.0 * len(nodes))

    def send(self, folder: Path, names: Sequence[str], seconds: float) -> None:
        """Copy files and folders of a folder; a link comes as the file that it leads to."""
        unpack = 'cd "$1" && exec tar -x -o -f -'
        with self._connection(unpack, stdin=subprocess.PIPE, seconds=seconds) as process:
            with tarfile.open(fileobj=process.stdin, mode="w|", dereference=True) as tar:
                for name in names:
                    tar.add(folder / name, name)
            process.stdin.close()

    def start(self, command: str) -> None:
        """Start a command of the shell, unless it was started before."""
        self._ask(_START, command)

    def look(self, offset: int, seconds: int = LOOK_SECONDS) -> tuple[str, bytes]:
        """(`running`, `lost` or the exit status, what the command printed from the byte `offset` on).

        It is held back until there is something to say, for so many seconds.
        """
        answer = self._ask(_LOOK, str(offset + 1), str(seconds), seconds=_DEADLINE_SECONDS + seconds)
        state, _, text = answer.partition(_MARK)[2].partition(b"\n")
        if not re.fullmatch(rb"running|lost|\d{1,3}", state):
            raise OperationFailedError(
                f"{self.login} does not run commands by SSH, but prints other text: correct its shell or ~/.bashrc"
            )
        return state.decode(), text[:LARGEST_PART]

    def stop(self) -> None:
        """End the command and what it started."""
        self._ask(_STOP)

    def fetch(self, names: Sequence[str], part: Path) -> set[str]:
        """Copy files and folders, with links as they are, into a folder that is made anew: the names that are there.

        OperationFailedError if they do not fit, or are not what was asked for; then the folder is gone.
        """
        _remove(part)
        part.mkdir()
        try:
            with self._connection(_PACK, *names, stdout=subprocess.PIPE, seconds=_COPY_SECONDS) as ssh:
                size = _announced(ssh.stdout)
                left = _demand_space(size, part.parent, f"they have {size >> 20} MB")
                # tar itself keeps names and links within the folder
                unpack = (*_UNPACK, str(part))
                with _program("tar", unpack, stdin=subprocess.PIPE, seconds=_COPY_SECONDS) as tar:
                    for chunk in iter(lambda: ssh.stdout.read1(_CHUNK_BYTES), b""):
                        left -= len(chunk)
                        _demand_space(0, part.parent, "they do not fit")
                        if left < 0:
                            raise OperationFailedError("they are larger than the free space on this machine")
                        tar.stdin.write(chunk)
                    tar.stdin.close()
            return _checked(names, part)
        except BaseException:
            _remove(part)
            raise

    def remove(self) -> None:
        """The folder with all that is in it."""
        self._ask('rm -rf "$1"')

    def _ask(self, script: str, *arguments: str, seconds: float = _DEADLINE_SECONDS) -> bytes:
        with tempfile.TemporaryFile() as answer:
            with self._connection(script, *arguments, stdout=answer, seconds=seconds):
                pass
            answer.seek(0)
            return answer.read()

    def _connection(self, script: str, *arguments: str, **more: Any) -> ContextManager[Any]:
        """A script of the shell there, with the folder as its first argument, as `_program`."""
        line = shlex.join(["sh", "-c", script, "comet", self.folder, *arguments])
        return _program(f"ssh {self.login}", (*_CONNECT, self.login, line), **more)


@contextlib.contextmanager
def _program(
    what: str, command: Sequence[str], seconds: float, stdin: Any = subprocess.DEVNULL, stdout: Any = None
) -> Iterator[Any]:
    """A process, until its end. If it fails, what it has printed last is raised."""
    with tempfile.TemporaryFile() as errors:
        trouble = ""
        with subprocess.Popen(command, stdin=stdin, stdout=stdout or errors, stderr=errors) as process:
            timer = threading.Timer(seconds, process.kill)
            timer.start()
            try:
                yield process
                process.wait()
            except (BrokenPipeError, EOFError) as error:  # it has ended, and says why
                trouble = str(error)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)
                process.kill()
                with contextlib.suppress(BrokenPipeError):
                    process.stdin and process.stdin.close()
            except BaseException:
                process.kill()
                raise
            finally:
                timer.cancel()
        errors.seek(0)
        lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    status = process.returncode
    if status == -signal.SIGKILL and not trouble:
        raise UnreachableError(f"{what}: not done in {seconds:g} s")
    if status == -signal.SIGXFSZ:
        raise OperationFailedError(
            f"{what}: the frontend sent more than comet accepts: correct its shell or ~/.bashrc"
        )
    if status or trouble:
        reason = "; ".join(it[:300] for it in lines[-2:]) or trouble or f"exit status {status}"
        raise (UnreachableError if status == 255 else OperationFailedError)(f"{what}: {reason}")


def _remove(folder: Path) -> None:
    """However deep it is."""
    subprocess.run(["rm", "-rf", str(folder)], stderr=subprocess.DEVNULL, check=False)


def _announced(stream: IO[bytes]) -> int:
    """The bytes of results, by the line before them. EOFError where nothing comes."""
    for _ in range(1000):
        line = stream.readline(4096)
        if not line:
            raise EOFError("it does not run commands")
        size = re.search(_MARK + rb"(\d{1,12})\n", line)
        if size:
            return int(size[1]) * 1024
    raise OperationFailedError(
        "the frontend does not run commands by SSH, but prints other text: correct its shell or ~/.bashrc"
    )


def _demand_space(size: int, folder: Path, trouble: str) -> int:
    """Bytes of results fit, and the disk is not filled up to its last byte or file: the bytes that are free."""
    disk = os.statvfs(folder)
    free, has_files = disk.f_bavail * disk.f_frsize, not disk.f_files or disk.f_favail > _RESERVE_FILES
    if size + _RESERVE_BYTES > free or not has_files:
        files = "" if has_files else f", for {disk.f_favail} files"
        usable = max(0, free - _RESERVE_BYTES) >> 20
        raise OperationFailedError(f"{trouble}, and {usable} MB can be used in {folder}{files}")
    return free


def _checked(names: Sequence[str], part: Path) -> set[str]:
    """The names that came: of what was asked for, with nothing in them that is odd."""
    found = {it.name for it in part.iterdir()}
    odd, folders = sorted(part / it for it in found - set(names)), [part]
    while folders:
        for it in folders.pop().iterdir():
            if it.is_dir() and not it.is_symlink():
                folders.append(it)
            if _CONTROL.search(it.name) or not (it.is_symlink() or it.is_dir() or it.is_file()):
                odd.append(it)
    if odd:
        raise OperationFailedError(
            f"{str(odd[0].relative_to(part))[:300]!r} was not asked for, has control characters, or is no file, folder "
            "or link: rename it there"
        )
    return found
