"""`rocks report databasesql`"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import rocks.commands
from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.database.versions import MIGRATIONS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator


class Command(rocks.commands.Command):
    """
    Report the SQL that makes the tables and views of a component, and its first rows, in an empty database. No database
    is needed. A site's own database is made and kept up to date by rocks update database, not by this text.

    <arg type='string' name='component' values='base,kvm'>
    base: what every cluster has; kvm: what this roll adds to it. Alternative form: component=NAME.
    </arg>
    <param type='bool' name='droptable' default='no'>
    yes: statements that remove the component's tables, with all that is in them, come first.
    </param>

    <example cmd='report databasesql kvm'>
    The tables of this roll.
    </example>
    <example cmd='report databasesql kvm droptable=yes'>
    With statements that remove the tables first.
    </example>

    <related>update database</related>
    <related>report database</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the text."""
        _, component = self.fillArgument("component")
        if not component:
            self.abort("must supply a component")
        self.addText(_component_sql(component, self.fillFlag("droptable")))


BASE, KVM = "base", "kvm"
COMPONENTS = (BASE, KVM)
_LAST_OF_BASE = 3
"""Migrations up to this one make what every Rocks cluster has; the later ones are of this roll."""

_MADE = re.compile(r"^CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?`?(\w+)`?", re.MULTILINE | re.IGNORECASE)


def _component_sql(component: str, drops_tables: bool) -> str:
    """The SQL that makes the tables, views and first rows of a component.

    With `drops_tables` it removes old tables first. `kvm` needs the tables of `base`. UserError for another component.
    """
    if component.lower() not in COMPONENTS:
        raise UserError(
            f'component "{printable(component)}" is not known; there are {" and ".join(COMPONENTS)}, in this order'
        )
    text = "\n".join(_texts(component.lower()))
    dropped = (
        [f"DROP TABLE IF EXISTS {name};" for name in reversed(_MADE.findall(text))] if drops_tables else []
    )
    if dropped:  # whatever refers to the tables
        dropped = ["SET FOREIGN_KEY_CHECKS = 0;", *dropped, "SET FOREIGN_KEY_CHECKS = 1;"]
    return "".join(line + "\n" for line in [*dropped, text.rstrip("\n")])


def _texts(component: str) -> Iterator[str]:
    for path in sorted(Path(MIGRATIONS_FOLDER).glob("[0-9]*.sql")):
        if (int(path.name[:4]) <= _LAST_OF_BASE) is (component == BASE):
            yield path.read_text("utf-8")
