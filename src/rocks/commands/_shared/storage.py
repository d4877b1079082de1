"""Image storage: families of commands that list, and the arguments that its commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rocks.commands._framework.base import Command
from rocks.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rocks.database.connection import Database
    from rocks.storage.volumes.listings import Listed


class HostListing(Command):
    """Base of lists of image storage on hosts: hosts, the last of which may be given as `argument=HOST`."""

    MustBeRoot = 0
    argument: ClassVar[str]
    read: ClassVar[Callable[[Database, Sequence[str]], Listed]]
    all_hosts: ClassVar[Callable[[Database], list[str]] | None] = None
    """The hosts of a list without arguments; None where it needs one."""

    def repeatedByName(self) -> Sequence[str]:
        """The last host."""
        return (self.argument,)

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the rows of all hosts."""
        remaining, last = self.fillArgument(self.argument)
        names = [*remaining, *([last] if last else [])]
        of_all = type(self).all_hosts
        hosts = of_all(self.db) if of_all and not names else self.getSomeHostnames(names)
        print_listing(self, type(self).read(self.db, hosts))


class ImageListing(Command):
    """Base of lists of one image: a NAS and a volume."""

    MustBeRoot = 0
    argument: ClassVar[str] = "volume"
    read: ClassVar[Callable[[Database, str, str], Listed]]

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the rows."""
        nas, volume = storage_arguments(self, ("nas", self.argument))
        print_listing(self, type(self).read(self.db, nas, volume))


def print_listing(command: Command, listed: Listed) -> None:
    """Print the rows, and the errors of hosts that did not answer."""
    command.beginOutput()
    for host, rows in listed.rows.items():
        for row in rows:
            command.addOutput(host, row)
    command.endOutput(header=listed.header)
    command.endOutcomes(listed.failed, len(listed.rows) + len(listed.failed))


def storage_arguments(command: Command, names: Sequence[str]) -> list[str]:
    """The values of these arguments, the first a host's; UserError when one is missing."""
    _, values = command.splitArguments(names)
    missing = [name for name, value in zip(names, values, strict=True) if not value]
    if missing:
        raise UserError(f"must supply {', '.join(names)}; {', '.join(missing)} missing")
    host, *others = [value for value in values if value]
    return [command.getOneHostname([host]), *others]
