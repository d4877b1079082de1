"""Commands that select rolls, of the site or for a frontend: a host, then rolls."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rocks.commands._framework.base import Command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rocks.database.connection import Database


class HostRollCommand(Command):
    """Base of `add`, `set` and `remove host roll`; `apply` gets the host, the rolls, version and architecture."""

    apply: ClassVar[Callable[[Database, str, Sequence[str], str, str], None]]
    needs_rolls: ClassVar[bool] = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Change the rolls of the host."""
        if not args:
            self.abort("must supply a host and rolls" if self.needs_rolls else "must supply a host")
        host, *rolls = args
        if self.needs_rolls and not rolls:
            self.abort("must supply at least one roll; rocks list roll shows all")
        chosen = self.getOneHostname([host])
        type(self).apply(
            self.db, chosen, rolls, self.fillText("version") or "%", self.fillText("arch") or "%"
        )


def rolls_of(command: Command, names: Sequence[str]) -> tuple[Sequence[str], str, str]:
    """The names, and the parameters version and arch; `%`, every one, when they are not given."""
    if not names:
        command.abort("must supply at least one roll; rocks list roll lists them")
    return names, command.fillText("version", "%"), command.fillText("arch", "%")
