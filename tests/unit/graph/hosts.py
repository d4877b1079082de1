"""Contexts of hosts to try the graph with."""

from __future__ import annotations

from rocks.graph.records import HostContext


def context(missing: dict[str, str] | None = None, **attributes: str) -> HostContext:
    """A Linux host of x86_64 with attributes that are its entities as well."""
    found = {"os": "linux", "arch": "x86_64", "hostname": "h1", **attributes}
    return HostContext(found, found, missing or {})
