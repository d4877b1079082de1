"""Small files on a host: read, and replaced when they are still what was read. By SSH, through its standard streams.

A host needs a shell, coreutils, flock and tar for it, so that hosts without an agent are reached as well. The scripts
are constant; paths are arguments. No content is in an argument, which other users could see.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from rocks.core import dry_run
from rocks.core.clock import Deadline
from rocks.core.errors import BusyError, HostError
from rocks.fleet.connection import FleetSettings, HostAddress
from rocks.fleet.local import PipeStream
from rocks.fleet.openssh import arguments_on

DEADLINE_SECONDS = 60.0
"""Of one exchange with a host."""

_LARGEST_BYTES = 16 * 1024 * 1024
_MAX_FILES = 10_000
_BUSY = 75
_SSH_FAILED = 255
"""Exit status of ssh(1) when it did not reach the host, or was not let in."""

_ABSENT = "-"

# for the host's sh: paths without the first slash; those that exist go into an archive on standard output
_READ = """\
cd / || exit
for file; do
  shift
  if [ -e "$file" ]; then set -- "$@" "$file"; fi
done
[ $# = 0 ] || exec tar -c -h -f - -- "$@"
"""

# Arguments: the names of locks of shadow-utils, separated by blanks; then PATH DIGEST MODE NUMBER of each change.
# DIGEST is that of the present content or `-`, empty for a file that an earlier change of this list has written. NUMBER
# is the name of the new content in the archive, or `-` for a file to be removed.
_REPLACE = """\
umask 077
exec 9>/run/rocks-files.lock && flock -w 20 9 || { echo "another command changes files there" >&2; exit 75; }
work=$(mktemp -d /run/rocks-files.XXXXXX) || exit
held=
leave() { for one in $held; do rm -f "/etc/$one.lock"; done; rm -rf "$work" /etc/*.rocks-lock; }
trap leave EXIT
trap 'exit 1' HUP INT TERM
tar -x -p -f - -C "$work" || exit
for one in $1; do
  echo $$ >"/etc/$one.rocks-lock" || exit
  if ! ln "/etc/$one.rocks-lock" "/etc/$one.lock" 2>/dev/null; then
    holder=$(tr -cd 0-9 <"/etc/$one.lock")
    if [ -n "$holder" ] && kill -0 "$holder" 2>/dev/null; then
      echo "process $holder has locked /etc/$one" >&2
      exit 75
    fi
    rm -f "/etc/$one.lock"
    ln "/etc/$one.rocks-lock" "/etc/$one.lock" || exit 75
  fi
  held="$held $one"
done
shift
count=$#
digest() { if [ -e "$1" ]; then sha256sum <"$1" | cut -d ' ' -f 1; else echo -; fi; }
place=0
for word; do
  case $((place % 4)) in
    0) path=$word ;;
    1) [ -z "$word" ] || [ "$(digest "$path")" = "$word" ] || { echo "$path has changed meanwhile" >&2; exit 75; } ;;
  esac
  place=$((place + 1))
done
while [ $# -ge 4 ]; do
  path=$1
  if [ "$4" = - ]; then
    rm -f -- "$path" || exit
  else
    path=$(readlink -m -- "$path")
    folder=${path%/*}
    [ -d "$folder" ] || mkdir -p -m "$( [ "$3" = 600 ] && echo 700 || echo 755)" -- "$folder" || exit
    new=$folder/.${path##*/}.rocks-new
    rm -f -- "$new"
    cat -- "$work/$4" >"$new" || { rm -f -- "$new"; exit 1; }
    if [ -e "$path" ]; then
      chown --reference="$path" -- "$new" && chmod --reference="$path" -- "$new"
    else
      chmod "$3" -- "$new"
    fi && sync -- "$new" && mv -f -- "$new" "$path" || { rm -f -- "$new"; exit 1; }
    if command -v restorecon >/dev/null; then restorecon -- "$path"; fi
  fi
  shift 4
done
"""


class FileChange(NamedTuple):
    """The new content of a file, or None to remove it, and the mode of a file that is made.

    An existing file keeps its owner and mode. A folder that is missing is made; for mode 0600 it is root's alone.
    """

    path: str
    content: bytes | None
    mode: int = 0o644


def read_files(host: HostAddress, settings: FleetSettings, paths: Sequence[str]) -> dict[str, bytes]:
    """Path → content of those of the files that exist, and of all files in those of the paths that are folders.

    HostError when they cannot be read, or are larger than 16 MiB together.
    """
    with dry_run.reading():
        output = _run(host, settings, _READ, [path.lstrip("/") for path in paths], b"", "cannot be read")
    found: dict[str, bytes] = {}
    total_bytes = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(output), mode="r:") as archive:
            for number, entry in enumerate(archive):
                total_bytes += entry.size
                if total_bytes > _LARGEST_BYTES or number > _MAX_FILES:
                    raise HostError(f"the files on host {host.name} are larger than {_LARGEST_BYTES} bytes")
                content = archive.extractfile(entry) if entry.isreg() else None
                if content is not None and _is_asked(f"/{entry.name}", paths):
                    found[f"/{entry.name}"] = content.read()
    except (tarfile.TarError, ValueError, OverflowError) as error:
        # the last two for a number that is none
        if output:
            raise HostError(f"host {host.name} sent files that cannot be read: {error}") from None
    return found


def replace_files(
    host: HostAddress,
    settings: FleetSettings,
    found: Mapping[str, bytes],
    changes: Sequence[FileChange],
    locks: Sequence[str] = (),
) -> None:
    """Make the changes in their order, each atomically, if the files are still as `found` by `read_files`.

    `locks` are those of shadow-utils, such as `passwd`. BusyError, and no change, when a file has changed or a lock is
    held there; HostError for all else, after which some of the changes may be made.
    """
    if dry_run.is_on():
        for change in changes:
            verb = "remove" if change.content is None else "change" if change.path in found else "write"
            dry_run.would(host.name, f"{verb} {change.path}")
        return
    arguments = [" ".join(locks)]
    contents: dict[str, bytes] = {}
    seen: set[str] = set()
    for change in changes:
        old = found.get(change.path)
        digest = "" if change.path in seen else _ABSENT if old is None else hashlib.sha256(old).hexdigest()
        number = _ABSENT
        if change.content is not None:
            number = str(len(contents))
            contents[number] = change.content
        seen.add(change.path)
        arguments += [change.path, digest, f"{change.mode:o}", number]
    what = ", ".join(dict.fromkeys(change.path for change in changes[:5]))
    _run(host, settings, _REPLACE, arguments, files_archive(contents), f"cannot be written ({what})")


def _run(
    host: HostAddress,
    settings: FleetSettings,
    script: str,
    arguments: Sequence[str],
    data: bytes,
    failed: str,
) -> bytes:
    deadline = Deadline(DEADLINE_SECONDS)
    stream = PipeStream(arguments_on(host, settings, ["sh", "-c", script, "sh", *arguments]))
    try:
        stream.send(data, deadline)
    except TimeoutError:
        stream.end()
        raise HostError(
            f"files of host {host.name} {failed}: it did not answer in {DEADLINE_SECONDS:g} s"
        ) from None
    except OSError:
        pass  # the program has ended, and says why
    stream.close()
    ended = stream.collect(deadline)
    if ended.exit_status == 0 and not ended.dropped_bytes:
        return ended.output
    printed = ended.error_output.decode("utf-8", "replace").strip().splitlines()
    reason = printed[-1] if printed else f"exit status {ended.exit_status}"
    if ended.exit_status is None:
        reason = f"it did not answer in {DEADLINE_SECONDS:g} s"
    remedy = _remedy(host, reason) if ended.exit_status == _SSH_FAILED else ""
    message = f"files of host {host.name} {failed}: {reason}{remedy}"
    raise BusyError(f"{message}; repeat the command") if ended.exit_status == _BUSY else HostError(message)


def _remedy(host: HostAddress, reason: str) -> str:
    """After the line with which ssh(1) has ended: where no connection came about, no key is at fault."""
    if reason.startswith("ssh: "):
        return "; is it up? Repeat the command when it answers"
    return f"; to repair the way to it: rocks sync host sharedkey {host.name}"


def _is_asked(path: str, paths: Sequence[str]) -> bool:
    pure = PurePosixPath(path)
    return ".." not in pure.parts and any(path == one or PurePosixPath(one) in pure.parents for one in paths)


def files_archive(contents: Mapping[str, bytes], public: Collection[str] = ()) -> bytes:
    """An archive for tar; only root can read a file of it that is not among the `public` ones."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644 if name in public else 0o600
            archive.addfile(entry, io.BytesIO(content))
    return target.getvalue()
