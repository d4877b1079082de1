"""The packages of a profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rocks.install.graph.records import Node


def package_names(nodes: Iterable[Node], packaging: str) -> list[str]:
    """The packages of all nodes, sorted; groups are `@name`. A package that one node excludes is left out for all.

    StateError for a group of packages where `packaging` is deb.
    """
    included: dict[str, None] = {}
    excluded = excluded_names(nodes := list(nodes))
    for node in nodes:
        for package in node.packages:
            if package.is_group and packaging == "deb":
                raise StateError(
                    f"{package.place}: {package.name} is a group of packages, and Debian has no groups: "
                    "name its packages for hosts with packaging == 'deb'"
                )
            if not package.is_excluded:
                included[f"@{package.name}" if package.is_group else package.name] = None
    return sorted(set(included) - excluded)


def excluded_names(nodes: Iterable[Node]) -> set[str]:
    """The packages and groups that a node excludes."""
    return {
        f"@{package.name}" if package.is_group else package.name
        for node in nodes
        for package in node.packages
        if package.is_excluded
    }
