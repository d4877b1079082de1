"""Open taps of this network namespace, and become a program that has them as open files: NAME=NUMBER ... -- PROGRAM ...

QEMU 10, given the name of a tap, first tries the file /dev/tapN of its index. That is a macvtap device, of any network
namespace of this machine that has one with the same index: a machine of the lab then has another's network.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys

# TUNSETIFF; IFF_TAP, IFF_NO_PI, IFF_VNET_HDR (linux/if_tun.h)
_SET_INTERFACE = 0x400454CA
_FLAGS = 0x0002 | 0x1000 | 0x4000


def open_tap(descriptor: int, name: str) -> None:
    """Make an open `/dev/net/tun` that tap; OSError when another program has it."""
    fcntl.ioctl(descriptor, _SET_INTERFACE, struct.pack("16sH22x", name.encode(), _FLAGS))


def main(arguments: list[str]) -> None:
    """Does not return; OSError when a tap cannot be opened, or the program not be started."""
    end = arguments.index("--")
    for name, _, number in (argument.partition("=") for argument in arguments[:end]):
        descriptor = os.open("/dev/net/tun", os.O_RDWR)
        open_tap(descriptor, name)
        os.set_blocking(descriptor, False)
        os.dup2(descriptor, int(number))
        os.close(descriptor)
    program = arguments[end + 1 :]
    os.execv(program[0], program)


if __name__ == "__main__":
    main(sys.argv[1:])
