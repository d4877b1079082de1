"""The one door to pyroute2: its rtnetlink client alone.

The package's own front page imports all of its parts; a start waits for that (0.12 s of which 0.07 s remain so, with
pyroute2 0.7.2). The package is therefore given a bare front page before its modules are asked for, and where a version
is laid out differently, the whole of it is imported after all.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any


def _import_client() -> Any:
    """The class IPRoute."""
    found = importlib.util.find_spec("pyroute2") if "pyroute2" not in sys.modules else None
    if found is None or not found.submodule_search_locations:
        return importlib.import_module("pyroute2").IPRoute
    front = ModuleType("pyroute2")
    front.__path__ = list(found.submodule_search_locations)
    sys.modules["pyroute2"] = front
    try:
        client = importlib.import_module("pyroute2.iproute.linux").IPRoute
    except (ImportError, AttributeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "pyroute2"]:
            del sys.modules[name]
        return importlib.import_module("pyroute2").IPRoute
    del sys.modules["pyroute2"]  # who asks for the whole package gets it
    return client


IPRoute = _import_client()
_errors = importlib.import_module("pyroute2.netlink.exceptions")
NetlinkError = _errors.NetlinkError
NetlinkDumpInterrupted = _errors.NetlinkDumpInterrupted
_flags = importlib.import_module("pyroute2.netlink.rtnl.ifinfmsg")
IFF_NOARP: int = _flags.IFF_NOARP
IFF_UP: int = _flags.IFF_UP
_messages = importlib.import_module("pyroute2.netlink")
Attribute: Any = _messages.nla
"""Base class of netlink's attributes."""
TrafficMessage: Any = importlib.import_module("pyroute2.netlink.rtnl.tcmsg").tcmsg
"""Base class of messages on traffic control."""
