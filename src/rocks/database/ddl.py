"""The definitions of the database as SQL, by the roll that they belong to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.database.versions import MIGRATIONS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

BASE, KVM = "base", "kvm"
COMPONENTS = (BASE, KVM)
_LAST_OF_BASE = 3
"""Migrations up to this one make what every Rocks cluster has; the later ones are of this roll."""

_MADE = re.compile(r"^CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?`?(\w+)`?", re.MULTILINE | re.IGNORECASE)


def component_sql(component: str, drops_tables: bool) -> str:
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
    return "".join(line + "\n" for line in [*_guarded(dropped), text.rstrip("\n")])


def _texts(component: str) -> Iterator[str]:
    for path in sorted(Path(MIGRATIONS_FOLDER).glob("[0-9]*.sql")):
        if (int(path.name[:4]) <= _LAST_OF_BASE) is (component == BASE):
            yield path.read_text("utf-8")


def _guarded(statements: list[str]) -> list[str]:
    """Statements that remove tables, whatever refers to them."""
    return ["SET FOREIGN_KEY_CHECKS = 0;", *statements, "SET FOREIGN_KEY_CHECKS = 1;"] if statements else []
