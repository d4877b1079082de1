"""The agent's program: requests and libvirt's hook go to the agent that listens on this host; all else runs here.

A start of Python and the import of the agent take five times as long as handing over. Where no agent listens (no unit
`rocks-agent.socket`, it is just being started, it hangs, a package was changed) the program does the work itself.
"""

import _socket  # what `socket` adds takes half of the time that handing over saves
import os
import signal
import sys
from typing import Optional, Sequence

SOCKET = "/run/rocks-agent.sock"
"""Made by rocks-agent.socket, for root alone. Messages: greeting; arguments, with three streams; begun; exit status."""

GREETING = b"rocks-agent 1"
BEGUN = b"begun"
MAX_MESSAGE_BYTES = 1 << 16
STREAMS = 3
_HANDED_OVER = ("--serve", "hook")
_OTHERS = ("ROCKS_STATE_FOLDER", "ROCKS_LIBVIRT_URI")
"""Variables of another host than that of the agent that listens."""

_GREETING_SECONDS = 0.1


def main(arguments: Sequence[str]) -> int:
    """Run in the mode of the arguments; returns the exit status."""
    if arguments and arguments[0] in _HANDED_OVER and not any(name in os.environ for name in _OTHERS):
        status = _hand_over(arguments)
        if status is not None:
            return status
    from rocks.agent import main as agent

    return agent.main(arguments)


def _hand_over(arguments: Sequence[str]) -> Optional[int]:
    """Have the listening agent do it with our streams; returns its exit status, None when it has not begun.

    It is killed when this program is killed; when it is killed, so is this program.
    """
    try:
        server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        server.settimeout(_GREETING_SECONDS)
        server.connect(SOCKET)
        if server.recv(len(GREETING)) != GREETING:
            return None
        server.settimeout(None)
        streams = b"".join(number.to_bytes(4, sys.byteorder) for number in range(STREAMS))
        message = "\0".join(arguments).encode("utf-8", "surrogateescape")
        server.sendmsg([message], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
        if server.recv(len(BEGUN)) != BEGUN:
            return None
    except OSError:
        return None
    for number in range(STREAMS):
        os.close(number)
    try:
        status = server.recv(1)
    except OSError:
        status = b""
    if not status:
        os.kill(os.getpid(), signal.SIGKILL)
    return status[0]
