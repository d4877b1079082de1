"""The main program of the agent. Without arguments it replies to one request from standard input on standard output.

`--serve` replies to one request a line until the end of the input. `listen` does it for other processes of the
program, which hand it over (`agent.start`), as they do with `hook`, which is libvirt's hook. `links` makes the
network devices of guests again after a boot, and `filters` their packet filters after others have removed all rules of
the kernel. `ended` reports to the frontend which guests have ended. `host-free` is
a hook of Slurm. `probe [again]` prints, as a JSON object, whether guests run under KVM on this host. `receive-image`
stores the image on standard input, `send-disk` writes the disk of a stopped machine to standard output. `move-disk-
from` writes it for another host, of which `move-disk-to` stores it. `live-leave` and `live-arrive` are both ends of a
live migration. `--version` prints the version.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Callable, Sequence

import rocks
from rocks.core.errors import RocksError
from rocks.core.files import file_error
from rocks.fleet.host.state_folder import state_folder

if TYPE_CHECKING:
    from rocks.machine.host.host import Host

_USAGE = (
    "usage: rocks-agent [--serve | listen | --version | links | filters | ended | host-free | probe [again] | "
    "receive-image DIRECTORY DIGEST SIZE | send-disk PATH DIRECTORY MACHINE SIZE | "
    "move-disk-from PATH DIRECTORY MACHINE OFFSET | move-disk-to PATH DIRECTORY MACHINE SIZE new|again | "
    "live-leave | live-arrive | hook NAME OPERATION PART EXTRA]"
)
_FOR_LOGS = ("listen", "links", "filters", "ended", "host-free")
"""Modes that no command of the frontend starts: their errors are in logs of the host."""

_LIBVIRT = Path("/run/libvirt")
_GRACE_SECONDS = 60
_PARENT_SECONDS = 30.0


def main(arguments: Sequence[str]) -> int:
    """Run in the mode of the arguments, which exclude the program's name; returns the exit status."""
    try:
        return _run(arguments)
    except RocksError as error:
        print(f"rocks: {error}" if arguments and arguments[0] in _FOR_LOGS else error, file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:  # nobody reads any more
        return 1


def _run(arguments: Sequence[str]) -> int:
    if list(arguments) in ([], ["--serve"]):
        return _answer(serve=bool(arguments))
    if arguments[0] == "hook":
        return _hook(arguments[1:])
    if arguments[0] == "probe" and list(arguments[1:]) in ([], ["again"]):
        return _probe(again=len(arguments) == 2)
    if arguments[0] == "receive-image" and len(arguments) == 4 and arguments[3].isdigit():
        return _receive_image(arguments[1], arguments[2], int(arguments[3]))
    if arguments[0] == "send-disk" and len(arguments) == 5 and arguments[4].isdigit():
        return _send_disk(arguments[1], arguments[2], arguments[3], int(arguments[4]))
    if arguments[0] == "move-disk-from" and len(arguments) == 5 and arguments[4].isdigit():
        return _move_disk_from(arguments[1:4], int(arguments[4]))
    if arguments[0] == "move-disk-to" and len(arguments) == 6 and arguments[4].isdigit():
        return _move_disk_to(arguments[1:4], int(arguments[4]), arguments[5])
    if list(arguments) in (["live-leave"], ["live-arrive"]):
        return _live(arguments[0].partition("-")[2])
    if list(arguments) == ["listen"]:
        from rocks.agent.listen import listen

        return listen()
    if list(arguments) == ["links"]:
        return _links()
    if list(arguments) == ["filters"]:
        return _filters()
    if list(arguments) == ["ended"]:
        return _ended()
    if list(arguments) == ["host-free"]:
        from rocks.agent import host_free

        return host_free.main(state_folder())
    if list(arguments) == ["--version"]:
        print(rocks.__version__)
        return 0
    print(_USAGE, file=sys.stderr)
    return 2


def program() -> int:
    """`main` with the arguments of this process: the entry point that pyproject.toml names."""
    return main(sys.argv[1:])


def _answer(serve: bool) -> int:
    from rocks.agent.calls import reply_to
    from rocks.fleet.wire.calls import MAXIMUM_LINE_BYTES, RECEIPT
    from rocks.machine.host.host import Host

    replies = _private_standard_output()
    host = Host(state_folder())
    if serve:
        signal.alarm(_GRACE_SECONDS)
        with suppress(Exception):  # nearly every request needs libvirt, and reports the error
            host.domains()
        signal.alarm(0)

    def announce(seconds: float) -> None:
        # the frontend has given up long before; an agent that hangs in libvirt must not stay for ever
        signal.alarm(int(seconds) + _GRACE_SECONDS)
        if serve:
            try:
                replies.write(RECEIPT)
                replies.flush()
            except BrokenPipeError:
                sys.exit(1)  # nobody waits for the reply, so nothing is done

    while line := sys.stdin.buffer.readline(MAXIMUM_LINE_BYTES + 1):
        reply = reply_to(host, line, announce)
        signal.alarm(0)
        replies.write(reply)
        replies.flush()
        if not serve:
            return 0
    return 0


def _private_standard_output() -> IO[bytes]:
    """A copy of standard output for replies only; all other output goes to standard error."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return replies


def _hook(arguments: Sequence[str]) -> int:
    from rocks.machine.host.hook import check_start, note_end, restore_machine_partition

    try:
        xml = sys.stdin.buffer.read().decode("utf-8")
        check_start(arguments, xml, state_folder())
        restore_machine_partition(arguments, state_folder())
        note_end(arguments, xml, state_folder())
    except (RocksError, UnicodeDecodeError, OSError) as error:
        known = file_error(error) if isinstance(error, OSError) else None
        print(f"rocks: {known or error}", file=sys.stderr)
        return 1
    return 0


def _receive_image(directory: str, digest: str, size_bytes: int) -> int:
    from rocks.fleet.wire.requests import BaseImage
    from rocks.machine.host.disks import receive_base
    from rocks.machine.host.files import check_closed, opened_folder

    # the copy has a folder of its own there, but the disk that is made from it is refused in an open one
    with suppress(OSError), opened_folder(directory) as folder:
        check_closed(folder, directory)
    receive_base(BaseImage(directory, digest, size_bytes, 0), sys.stdin.buffer.read)
    return 0


def _send_disk(path: str, directory: str, machine: str, max_bytes: int) -> int:
    from rocks.machine.host.images import send_disk

    return _write_stream(lambda host, send: send_disk(host, path, directory, machine, max_bytes, send))


def _move_disk_from(names: Sequence[str], have: int) -> int:
    from rocks.machine.host.move import send_disk

    return _write_stream(lambda host, send: send_disk(host, names[0], names[1], names[2], have, send))


def _write_stream(write: Callable[[Host, Callable[[bytes], None]], None]) -> int:
    """Have `write` write a stream to standard output; returns the exit status."""
    from rocks.machine.host.host import Host

    output = _private_standard_output()

    def send(data: bytes) -> None:
        output.write(data)

    write(Host(state_folder()), send)
    output.flush()
    return 0


def _move_disk_to(names: Sequence[str], size_bytes: int, way: str) -> int:
    from rocks.machine.host.host import Host
    from rocks.machine.host.move import Incoming, receive_disk

    output = _private_standard_output()

    def report(line: str) -> None:
        output.write(f"{line}\n".encode())
        output.flush()

    disk = Incoming(names[0], names[1], names[2], size_bytes, way == "again")
    receive_disk(Host(state_folder()), disk, sys.stdin.buffer.read, report)
    return 0


def _live(end: str) -> int:
    from rocks.machine.host.host import Host
    from rocks.machine.host.live_move import run

    return run(end, Host(state_folder()))


def _links() -> int:
    from rocks.machine.host.guest_network import restore_links
    from rocks.machine.host.host import Host

    made, errors = restore_links(Host(state_folder()), _PARENT_SECONDS)
    for device in made:
        print(f"made the network device {device}")
    for failure in errors:
        print(f"rocks: {failure}", file=sys.stderr)
    return errors[0].exit_status if errors else 0


def _filters() -> int:
    if not _LIBVIRT.is_dir():  # the host boots: no guest runs yet
        return 0
    from rocks.machine.host.guest_network import restore_filters
    from rocks.machine.host.host import Host

    names, errors = restore_filters(Host(state_folder()))
    for name in names:
        print(f"set the packet filter of {name} again")
    for failure in errors:
        print(f"rocks: {failure}", file=sys.stderr)
    return errors[0].exit_status if errors else 0


def _ended() -> int:
    from rocks.machine.host.end_reports import report_ends

    for line in report_ends(state_folder()):
        print(line)
    return 0


def _probe(again: bool) -> int:
    from rocks.machine.host.libvirt.accelerator import probe_accelerator

    fact = probe_accelerator(state_folder(), again)
    print(json.dumps(vars(fact), indent=1))
    return 0
