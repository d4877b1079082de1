"""What hosts do at their next boot: it runs or installs them, and by which boot action."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.clock import utc_now
from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.install.boot.pxelinux import write_boot_files
from rocks.install.installation.records import begin_installations, forget_waiting
from rocks.install.installation.rules import INSTALL
from rocks.inventory import boot_records as boots
from rocks.inventory.host_records import find_local_host
from rocks.inventory.hosts import remove_dependents, set_column
from rocks.trust.secrets import forget_handed_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

BOOT_ACTIONS = ("os", "run", "install")
RUN_RECIPE = "RunAction"
INSTALL_RECIPE = "InstallAction"


def store_recipe(database: Database, names: Sequence[str], column: str, action: str) -> None:
    """Set the boot action that runs or installs the hosts, without writing their boot files; `none` clears it."""
    stored = None if action.lower() == "none" else boots.existing_boot_action(database, action)
    set_column(database, names, column, stored)


def set_run_action(database: Database, names: Sequence[str], action: str) -> None:
    """Set the boot action that runs the hosts, and write their boot files; `none` clears it."""
    store_recipe(database, names, RUN_RECIPE, action)
    write_boot_files(database, names)


def set_install_action(database: Database, names: Sequence[str], action: str) -> None:
    """Set the boot action that installs the hosts, and write their boot files; `none` clears it."""
    store_recipe(database, names, INSTALL_RECIPE, action)
    write_boot_files(database, names)


def set_next_boot(database: Database, names: Sequence[str], action: str) -> None:
    """Set whether the next boot of the hosts runs or installs them; to be installed, they get their secrets anew.

    UserError, and no change, for another action, and for the installation of this machine.
    """
    if action not in BOOT_ACTIONS:
        raise UserError(f'invalid action. action must be "os", "run" or "install", not "{printable(action)}"')
    local = find_local_host(database)
    if action == INSTALL and local in names:
        raise UserError(
            f"{local} is this machine, which installs the others and cannot be installed by itself: name the other "
            "hosts"
        )
    boots.set_boot_action(database, names, action)
    if action != INSTALL:
        forget_waiting(database, names)
    else:
        begin_installations(database, names, utc_now().replace(tzinfo=None))
        database.after_commit(lambda: forget_handed_out(database.settings, names))


def remove_next_boot(database: Database, names: Sequence[str]) -> None:
    """Remove the next boot of the hosts, which then boot what they have; an installation that waits is forgotten."""
    remove_dependents(database, names, "boot")
    forget_waiting(database, names)
    write_boot_files(database, names)
