"""Nucleus's client for the owners of virtual clusters: the program `comet`, and the same things for Python programs.

    from comet import Client
    with Client() as client:
        started = client.start("vc1", nodes="vm-vc1-[0-3]", walltime="6h")
        client.wait(started, timeout=3600)

Standard library only, Python 3.9 or later. Nothing of `rocks` or `nucleus` is imported: the wheel stands alone.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # as type checkers know it; `typing` would cost completion some milliseconds
if TYPE_CHECKING:
    from comet.client.client import Client as Client
    from comet.client.durations import format_duration as format_duration
    from comet.client.durations import walltime_to_minutes as walltime_to_minutes
    from comet.client.errors import AuthenticationError as AuthenticationError
    from comet.client.errors import CometError as CometError
    from comet.client.errors import NotFoundError as NotFoundError
    from comet.client.errors import OperationFailedError as OperationFailedError
    from comet.client.errors import RefusedError as RefusedError
    from comet.client.errors import SomeNodesFailedError as SomeNodesFailedError
    from comet.client.errors import UnreachableError as UnreachableError
    from comet.client.errors import UsageError as UsageError
    from comet.client.errors import WaitTimeoutError as WaitTimeoutError
    from comet.client.hostlists import collect_hostlist as collect_hostlist
    from comet.client.hostlists import expand_hostlist as expand_hostlist
    from comet.client.old_names import Cluster as Cluster
    from comet.client.old_names import Comet as Comet

__version__ = "1.0.0"

_NAMES = {
    "client": "Client",
    "old_names": "Comet Cluster",
    "hostlists": "expand_hostlist collect_hostlist",
    "durations": "walltime_to_minutes format_duration",
    "errors": "CometError UsageError AuthenticationError NotFoundError RefusedError UnreachableError"
    " WaitTimeoutError OperationFailedError SomeNodesFailedError",
}
_HOMES = {name: f"comet.client.{module}" for module, names in _NAMES.items() for name in names.split()}

__all__ = list(_HOMES)  # loaded at their first use: the program's start and completion need none of them


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'comet' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)
