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
import shutil
import signal
import subprocess  # noqa: TID251 - this program stands alone, without rocks.core
import tarfile
import tempfile
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from comet.client.errors import OperationFailedError, UnreachableError
from comet.client.launchers import NODES, OUTPUT

LOOK_SECONDS = 20
_DEADLINE_SECONDS = 60.0
_COPY_SECONDS = 6 * 3600.0
_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=10 -o LogLevel=ERROR"
# blocks of 512 or 1024 bytes: what an answer and its errors can have
_PROGRAM = ("sh", "-c", f'ulimit -f 2048; exec {_SSH} -o ServerAliveInterval=15 "$@"', "sh")
LARGEST_PART = 1 << 18
"""Bytes of output that one look gives at most; less is all there is."""
_LONGEST_NAME = 1 << 16
_BLOCK_BYTES = 4096
"""What each file and folder takes beside its content."""
_RESERVE_BYTES = 64 << 20
_DEEPEST = 100
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_ANSWERS = f"""cd "$1" && shift && printf '%s\\n' "$@" >{NODES} || exit 1
for node; do
    {_SSH} "$node" true </dev/null && continue
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
exec tar -c -f - --format=gnu -T /dev/null -- "$@\""""


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
            assert process.stdin
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
                f"{self.login} does not run what it is asked by SSH, but prints something else"
            )
        return state.decode(), text[:LARGEST_PART]

    def stop(self) -> None:
        """End the command and what it started."""
        self._ask(_STOP)

    def fetch(self, names: Sequence[str], part: Path) -> set[str]:
        """Copy files and folders, with links as they are, into a folder that is made anew: the names that are there.

        OperationFailedError if they do not fit, or are not what was asked for; then the folder is gone.
        """
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            with self._connection(_PACK, *names, stdout=subprocess.PIPE, seconds=_COPY_SECONDS) as process:
                assert process.stdout
                found = _unpack(process.stdout, names, part.resolve())
                process.stdout.close()  # else what comes after it would be waited for
                return found
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
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

    @contextlib.contextmanager
    def _connection(
        self,
        script: str,
        *arguments: str,
        seconds: float,
        stdin: Any = subprocess.DEVNULL,
        stdout: Any = None,
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A script of the shell there, with the folder as its first argument, until its end. Raises why it failed."""
        line = shlex.join(["sh", "-c", script, "comet", self.folder, *arguments])
        command = (*_PROGRAM, self.login, line)
        trouble = None
        with tempfile.TemporaryFile() as errors:
            with subprocess.Popen(
                command, stdin=stdin, stdout=stdout or subprocess.DEVNULL, stderr=errors
            ) as process:
                timer = threading.Timer(seconds, process.kill)
                timer.start()
                try:
                    yield process
                    process.wait()
                except (BrokenPipeError, tarfile.TarError) as error:  # mostly it has ended, and says why
                    trouble = str(error)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(5)
                    process.kill()
                    if process.stdin:
                        with contextlib.suppress(BrokenPipeError):
                            process.stdin.close()
                except BaseException:
                    process.kill()
                    raise
                finally:
                    timer.cancel()
            errors.seek(0)
            self._demand(process.returncode, errors.read(), seconds, trouble)

    def _demand(self, status: int, errors: bytes, seconds: float, trouble: object) -> None:
        """Raise what a program that failed has printed last."""
        lines = errors.decode("utf-8", "replace").strip().splitlines()
        reason = "; ".join(it[:300] for it in lines[-2:]) or str(trouble or f"exit status {status}")
        if status == -signal.SIGKILL and not trouble:
            raise UnreachableError(f"ssh {self.login}: not done in {seconds:g} s")
        if status == -signal.SIGXFSZ:
            raise OperationFailedError(f"ssh {self.login}: it sends more than it was asked for")
        if status or trouble:
            raise (UnreachableError if status == 255 else OperationFailedError)(f"ssh {self.login}: {reason}")


class _Entry(tarfile.TarInfo):
    """A header of GNU tar's format without extensions, which could have any size."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> _Entry:
        found = super().frombuf(buf, encoding, errors)
        is_name = found.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
        if is_name and 0 <= found.size <= _LONGEST_NAME:
            return found
        if found.type not in (
            tarfile.REGTYPE,
            tarfile.AREGTYPE,
            tarfile.DIRTYPE,
            tarfile.SYMTYPE,
            tarfile.LNKTYPE,
        ):
            raise OperationFailedError(
                f"{found.name!r} is neither a file, a folder nor a link: remove it there"
            )
        if found.size < 0:
            raise OperationFailedError(f"{found.name!r} has the size {found.size}")
        return found


def _unpack(stream: IO[bytes], names: Collection[str], part: Path) -> set[str]:
    """What `_PACK` prints into a folder: files, folders and links of these names, as far as the disk has space."""
    free, needed, found = shutil.disk_usage(part).free, 0, set()
    _demand_space(_announced(stream), free, part)
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Entry) as tar:
        while True:
            it = tar.next()
            if it is None:
                break
            tar.members.clear()  # it would keep them all
            needed += it.size + _BLOCK_BYTES
            _demand_space(needed, free, part)
            place = _place(part, it.name, names)
            found.add(place.relative_to(part).parts[0])
            if it.isdir():
                place.mkdir(it.mode & 0o777 | 0o700)
            elif it.issym():
                place.symlink_to(it.linkname)
            elif it.islnk():
                os.link(_place(part, it.linkname, names), place, follow_symlinks=False)
            else:
                _write(tar.extractfile(it), it, place)
    stream.read(_LONGEST_NAME)  # the rest of its last record
    return found


def _announced(stream: IO[bytes]) -> int:
    """The bytes of results, by the line before them."""
    for _ in range(1000):
        size = re.search(_MARK + rb"(\d{1,12})\n", stream.readline(_LONGEST_NAME))
        if size:
            return int(size[1]) * 1024
    raise tarfile.ReadError("it does not run what it is asked, but prints something else")


def _demand_space(needed: int, free: int, part: Path) -> None:
    if needed + _RESERVE_BYTES > free:
        raise OperationFailedError(
            f"they have {needed >> 20} MB or more, and {free >> 20} MB are free in {part.parent}"
        )


def _place(part: Path, name: str, names: Collection[str]) -> Path:
    """Where an entry goes: a link on the way would lead elsewhere."""
    parts = name.rstrip("/").split("/")
    place = part.joinpath(*parts)
    is_inside = parts[0] in names and ".." not in parts and place.parent.resolve() == place.parent
    if not is_inside or len(parts) > _DEEPEST or _CONTROL.search(name):
        raise OperationFailedError(
            f"{name[:300]!r} is outside of what was asked for, too deep, or has control characters: rename it there"
        )
    return place


def _write(content: Any, it: tarfile.TarInfo, place: Path) -> None:
    handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, it.mode & 0o777)
    with os.fdopen(handle, "wb") as file:
        shutil.copyfileobj(content, file)
    os.utime(place, (it.mtime, it.mtime))
