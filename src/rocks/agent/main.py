"""The agent's way in. Started without a word it answers one request from standard input on standard output.

`--serve` answers one request a line until the end of the input; `hook` is libvirt's hook; `links` brings the network
devices of guests back after a boot; `probe [again]` tells an operator, as a JSON object, whether guests run under KVM
here; `--version` prints the version.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import IO, Sequence

import rocks
from rocks.devices.state_folder import state_folder
from rocks.errors import RocksError

_USAGE = "usage: rocks-agent [--serve | --version | links | probe [again] | hook NAME OPERATION PART EXTRA]"
_GRACE_SECONDS = 60
_PARENT_SECONDS = 30.0


def main(arguments: Sequence[str]) -> int:
    """Run in the mode of the arguments, the words after the program's name; returns the exit status."""
    if list(arguments) in ([], ["--serve"]):
        return _answer(serve=bool(arguments))
    if arguments[0] == "hook":
        return _hook(arguments[1:])
    if arguments[0] == "probe" and list(arguments[1:]) in ([], ["again"]):
        return _probe(again=len(arguments) == 2)
    if list(arguments) == ["links"]:
        return _links()
    if list(arguments) == ["--version"]:
        print(rocks.__version__)
        return 0
    print(_USAGE, file=sys.stderr)
    return 2


def _answer(serve: bool) -> int:
    from rocks.agent.host import Host
    from rocks.agent.replies import prefetch, prefetch_domains, reply_to
    from rocks.wire.envelope import MAXIMUM_LINE_BYTES

    replies = _private_standard_output()
    host = Host(state_folder())
    if serve:
        signal.alarm(_GRACE_SECONDS)
        prefetch_domains(host)
        signal.alarm(0)
    while line := sys.stdin.buffer.readline(MAXIMUM_LINE_BYTES + 1):
        # whoever asked has given up long before; a call that hangs in libvirt must not stay for ever
        reply, request = reply_to(host, line, lambda seconds: signal.alarm(int(seconds) + _GRACE_SECONDS))
        signal.alarm(0)
        try:
            replies.write(reply)
            replies.flush()
        except BrokenPipeError:
            return 1
        if not serve:
            return 0
        prefetch(host, request)
    return 0


def _private_standard_output() -> IO[bytes]:
    """Standard output for replies alone; what anything else prints goes to standard error."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return replies


def _hook(arguments: Sequence[str]) -> int:
    from rocks.agent.hook import check_start, give_partition_again, note_end

    try:
        xml = sys.stdin.buffer.read().decode("utf-8")
        check_start(arguments, xml, state_folder())
        give_partition_again(arguments, state_folder())
        note_end(arguments, xml, state_folder())
    except (RocksError, UnicodeDecodeError, OSError) as error:
        print(f"rocks: {error}", file=sys.stderr)
        return 1
    return 0


def _links() -> int:
    from rocks.agent.host import Host
    from rocks.agent.links import restore_links

    try:
        made, errors = restore_links(Host(state_folder()), _PARENT_SECONDS)
    except RocksError as error:
        made, errors = [], [error]
    for device in made:
        print(f"made the network device {device}")
    for wrong in errors:
        print(f"rocks: {wrong}", file=sys.stderr)
    return errors[0].exit_status if errors else 0


def _probe(again: bool) -> int:
    from rocks.devices.libvirt.accelerator import probe_accelerator

    try:
        fact = probe_accelerator(state_folder(), again)
    except RocksError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    print(json.dumps(vars(fact), indent=1))
    return 0
