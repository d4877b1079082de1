"""Nucleus's client for the owners of virtual clusters: the program `comet`, and the same things for Python programs.

    from comet import Client
    with Client() as client:
        started = client.start("vc1", nodes="vm-vc1-[0-3]", walltime="6h")
        client.wait(started, timeout=3600)

Standard library only, Python 3.9 or later. Nothing of `rocks` or `nucleus` is imported: the wheel stands alone.
"""

from __future__ import annotations

import importlib

__version__ = "1.0.0"

_HOMES = {
    "Client": "comet.client.client",
    "Comet": "comet.client.old_names",
    "Cluster": "comet.client.old_names",
    "expand_hostlist": "comet.client.hostlists",
    "collect_hostlist": "comet.client.hostlists",
    "walltime_to_minutes": "comet.client.durations",
    "format_duration": "comet.client.durations",
    "CometError": "comet.client.errors",
    "UsageError": "comet.client.errors",
    "AuthenticationError": "comet.client.errors",
    "NotFoundError": "comet.client.errors",
    "RefusedError": "comet.client.errors",
    "UnreachableError": "comet.client.errors",
    "WaitTimeoutError": "comet.client.errors",
    "OperationFailedError": "comet.client.errors",
    "SomeNodesFailedError": "comet.client.errors",
}

__all__ = [  # noqa: F822  (loaded at their first use: the program's start and completion need none of them)
    "AuthenticationError",
    "Client",
    "Cluster",
    "Comet",
    "CometError",
    "NotFoundError",
    "OperationFailedError",
    "RefusedError",
    "SomeNodesFailedError",
    "UnreachableError",
    "UsageError",
    "WaitTimeoutError",
    "collect_hostlist",
    "expand_hostlist",
    "format_duration",
    "walltime_to_minutes",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'comet' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)
