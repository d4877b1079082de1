"""Image storage: families of commands that list, and the arguments that its commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rocks.commands._framework.arguments import besides
from rocks.commands._framework.base import Command
from rocks.core.errors import UserError
from rocks.storage.volumes.places import check_volume_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rocks.core.errors import RocksError
    from rocks.database.connection import Database
    from rocks.storage.volumes.access import Listing


class HostListing(Command):
    """Base of lists of image storage on hosts: hosts, the last of which may be given as `argument=HOST`."""

    MustBeRoot = 0
    argument: ClassVar[str]
    listing: ClassVar[Listing[Any]]
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
        print_listing(self, self.listing.header, *self.listing.read(self.db, hosts))


class ImageListing(Command):
    """Base of lists of one image: a NAS and a volume."""

    MustBeRoot = 0
    argument: ClassVar[str] = "volume"
    listing: ClassVar[Listing[Any]]

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the rows."""
        nas, volume = storage_arguments(self, ("nas", self.argument))
        check_volume_name(volume)
        print_listing(self, self.listing.header, *self.listing.read(self.db, [nas], volume))


def print_listing(
    command: Command,
    header: Sequence[str],
    found: Mapping[str, Sequence[Sequence[object]]],
    failed: Mapping[str, RocksError],
) -> None:
    """Print the rows, and the errors of hosts that did not answer."""
    command.addTable(header, ((host, *row) for host, rows in found.items() for row in rows))
    command.endOutcomes(failed, len(found) + len(failed))


def storage_arguments(command: Command, names: Sequence[str]) -> list[str]:
    """The values of these arguments, the first a host's; UserError when one is missing."""
    _, values = command.splitArguments(names)
    missing = [name for name, value in zip(names, values, strict=True) if not value]
    if missing:
        raise UserError(
            f"must supply {', '.join(names)}; {', '.join(missing)} missing{besides(command.from_end)}"
        )
    host, *others = [value for value in values if value]
    return [command.getOneHostname([host]), *others]
