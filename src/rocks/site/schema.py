"""Migrate the cluster database to the schema of these programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.database.migrate import MigrationReport, bring_up_to_date
from rocks.inventory.attributes.rules import OLD_SUFFIX, SECRETS
from rocks.trust import secret_records as secrets
from rocks.trust.audit_records import repair_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from rocks.database.connection import Database


def update_database(
    database: Database, notify: Callable[[str], None], always_copy: bool = False
) -> MigrationReport:
    """Create or upgrade the schema; `notify` receives a line at each step. Errors as of `bring_up_to_date`.

    With `always_copy`, a database with a schema is copied first even if the schema is current.

    It uses its own connection, because definitions of tables are not part of a transaction. Secret attributes that an
    earlier release stored where all users read them are moved; those of a scope
    without secrets stay in use, and are reported. A damaged audit log is repaired, so that changes are possible again.
    """
    done = bring_up_to_date(database.settings, report=notify, always_copy=always_copy)
    damage = repair_log(database)
    if damage:
        notify(
            f"repaired: {damage}; compare the log with the journal: rocks check audit, journalctl -t rocksaudit"
        )
    for scope, member, name in secrets.move_from_attributes(database, SECRETS, OLD_SUFFIX):
        notify(
            f"the attribute {name} of {scope} {member} is a secret that all users can read; it is used as before, also "
            f"instead of a global one. Set it for the hosts that need it (rocks set host sec_attr HOST {name}), then "
            f"run: rocks remove {scope} attr {member} {name}"
        )
    return done
