"""Contexts of hosts to try the graph with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.install.graph.document import HostContext

if TYPE_CHECKING:
    from collections.abc import Mapping


def context(missing: dict[str, str] | None = None, **attributes: str) -> HostContext:
    """A Linux host of x86_64 with attributes that are its entities as well."""
    found = {"os": "linux", "arch": "x86_64", "hostname": "h1", **attributes}
    return HostContext(found, found, missing or {})


class SmallFrontend:
    """A frontend whose files are a dictionary, and whose programs are echoed with the host's name."""

    def __init__(self, **files: str) -> None:
        self.files = files
        self.programs: list[tuple[str, str]] = []

    def evaluate(self, shell: str, text: str, environment: Mapping[str, str]) -> str:
        """The text itself, after the name of the host."""
        self.programs.append((shell, text))
        return f"{environment['hostname']}:{text}"

    def included(self, name: str) -> str | None:
        """The file of that name."""
        return self.files.get(name)

    def copied(self, path: str) -> bytes:
        """The file of that name."""
        return self.files[path].encode()
