"""The only module that imports pyroute2: its rtnetlink client.

`pyroute2/__init__.py` imports all of the library, which takes 0.12 s of each start; the client alone takes 0.07 s, half
of it for the programs `uname` and `file` and for `unittest.mock` (pyroute2 0.7.2). So an empty package module and a
base class without mocks are installed, and the kernel is asked, before the client is imported. If a version has
another layout, the whole library is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Iterator

from rocks.core.errors import ToolError


def _import_client() -> Any:
    """The class IPRoute."""
    found = importlib.util.find_spec("pyroute2") if "pyroute2" not in sys.modules else None
    if found is None or not found.submodule_search_locations:
        return importlib.import_module("pyroute2").IPRoute
    package, lab = ModuleType("pyroute2"), ModuleType("pyroute2.lab")
    package.__path__ = list(found.submodule_search_locations)
    lab.LAB_API = type("LAB_API", (), {})  # type: ignore[attr-defined]
    sys.modules.update({"pyroute2": package, "pyroute2.lab": lab})
    try:
        with _platform_without_programs():
            client = importlib.import_module("pyroute2.iproute.linux").IPRoute
    except (ImportError, AttributeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "pyroute2"]:
            del sys.modules[name]
        return importlib.import_module("pyroute2").IPRoute
    del sys.modules["pyroute2"], sys.modules["pyroute2.lab"]  # a later import gets the whole package
    return client


@contextmanager
def _platform_without_programs() -> Iterator[None]:
    """`platform` answers from the kernel, as pyroute2 uses it: its own answers start `uname` and `file`."""
    saved = platform.uname, platform.architecture
    bits = "64bit" if sys.maxsize > 2**32 else "32bit"
    vars(platform).update(uname=os.uname, architecture=lambda: (bits, "ELF"))
    try:
        yield
    finally:
        platform.uname, platform.architecture = saved


IPRoute = _import_client()
_errors = importlib.import_module("pyroute2.netlink.exceptions")
NetlinkError = _errors.NetlinkError
NetlinkDumpInterrupted = _errors.NetlinkDumpInterrupted
_flags = importlib.import_module("pyroute2.netlink.rtnl.ifinfmsg")
IFF_NOARP: int = _flags.IFF_NOARP
IFF_UP: int = _flags.IFF_UP
_messages = importlib.import_module("pyroute2.netlink")
Attribute: Any = _messages.nla
"""Base class of netlink attributes."""
TrafficMessage: Any = importlib.import_module("pyroute2.netlink.rtnl.tcmsg").tcmsg
"""Base class of traffic control messages."""


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
