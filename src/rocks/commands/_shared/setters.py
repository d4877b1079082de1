"""Families of commands that set one value of hosts, of their interfaces or of networks.

A command names its last argument in `argument` and the action that stores the value in `apply`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rocks.commands._framework.arguments import besides
from rocks.commands._framework.base import Command
from rocks.core.names import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rocks.database.connection import Database


class HostSetter(Command):
    """Base of `set host X`: hosts and a value, which `apply` stores for all hosts at once; it may return messages."""

    argument: ClassVar[str]
    apply: ClassVar[Callable[[Database, Sequence[str], str], Sequence[str] | None]]

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Store the value."""
        hosts, (value,) = self.requireArguments(self.argument)
        given = f'{self.argument} "{printable(value)}"'
        for line in type(self).apply(self.db, self.getSomeHostnames(hosts, given), value) or ():
            self.notify(line)


class InterfaceSetter(Command):
    """Base of `set host interface X`: hosts, an interface and a value, stored for all hosts at once."""

    argument: ClassVar[str]
    apply: ClassVar[Callable[[Database, Sequence[str], str, str], None]]

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Store the value."""
        hosts, (iface, value) = self.requireArguments("iface", self.argument)
        type(self).apply(self.db, self.getSomeHostnames(hosts), iface, value)


class OneInterfaceSetter(Command):
    """Base of `set host interface X` for one host, since no two interfaces may have the same value."""

    key: ClassVar[str] = "iface"
    """The argument that identifies the interface."""
    argument: ClassVar[str]
    apply: ClassVar[Callable[[Database, str, str, str], None]]

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Store the value."""
        hosts, (interface, value) = self.requireArguments(self.key, self.argument)
        type(self).apply(self.db, self.getOneHostname(hosts), interface, value)


class NetworkSetter(Command):
    """Base of `set network X`: networks and a value, stored for all networks at once."""

    argument: ClassVar[str]
    apply: ClassVar[Callable[[Database, Sequence[str], str], None]]

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Store the value."""
        networks, value = self.fillArgument(self.argument)
        if not networks:
            self.abort(f"must supply at least one network{besides(self.from_end)}")
        type(self).apply(self.db, self.getNetworkNames(networks), value or "")
