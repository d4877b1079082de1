"""The only module that imports pyroute2: its rtnetlink client. The import takes 0.15 s, so it is imported late."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator

from pyroute2 import IPRoute, NetlinkError
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted
from pyroute2.netlink.rtnl import ifinfmsg

from rocks.core.errors import ToolError

__all__ = ["IPRoute", "NetlinkDumpInterrupted", "NetlinkError"]

IFF_NOARP: int = ifinfmsg.IFF_NOARP
IFF_UP: int = ifinfmsg.IFF_UP


def reason_of(error: Any) -> str:
    """The kernel's text in a NetlinkError."""
    return str(error.args[1] if len(error.args) > 1 else error)


@contextmanager
def netlink(what: str) -> Iterator[Any]:
    """A client, for one operation; ToolError, with what the kernel did not do, for its errors."""
    try:
        with IPRoute() as route:
            yield route
    except NetlinkError as error:
        raise ToolError(f"the kernel of this host did not {what}: {reason_of(error)}") from None
