"""Commands on secret attributes: global ones, and those of hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rocks.commands._framework.base import Command
from rocks.core.errors import UserError
from rocks.inventory.attributes.secret_names import is_secret

if TYPE_CHECKING:
    from collections.abc import Sequence


_NO_VALUE = "a value is not given on the command line, which other users see: give it on standard input or in file=PATH"


class SecretCommand(Command):
    """Base of the commands that change a secret attribute: a name, after hosts where `is_of_hosts`."""

    is_of_hosts: ClassVar[bool]

    def hosts_of(self, names: Sequence[str]) -> list[str] | None:
        """The hosts that the names select; None for a global attribute."""
        if self.is_of_hosts:
            return self.getSomeHostnames(names)
        return None

    def attribute_and_names(self) -> tuple[str, list[str]]:
        """The attribute's name and the arguments before it."""
        names, (attribute,) = self.requireArguments("attr")
        return attribute, names


class SecretSetter(SecretCommand):
    """Base of `set … sec_attr`."""

    AdviceForTooMany = _NO_VALUE

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read the value and store it. Nothing of the database is open while a person types."""
        from rocks.trust.secrets import read_secret, set_secret

        attribute, names = self.attribute_and_names()
        self._check_hosts(names)
        self.db.rollback()
        value = read_secret(self.fillText("file", ""))
        set_secret(self.db, self.hosts_of(names), attribute, value)

    def _check_hosts(self, names: Sequence[str]) -> None:
        """UserError for hosts that do not exist; the last one is the attribute when a value follows it."""
        try:
            self.hosts_of(names)
        except UserError as error:
            if self.is_of_hosts and names and (len(names) > 1 or is_secret(names[-1])):
                raise UserError(f"{_NO_VALUE} ({error})") from None
            raise


class SecretRemoval(SecretCommand):
    """Base of `remove … sec_attr`."""

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the attribute."""
        from rocks.trust.secrets import remove_secret

        attribute, names = self.attribute_and_names()
        remove_secret(self.db, self.hosts_of(names), attribute)
