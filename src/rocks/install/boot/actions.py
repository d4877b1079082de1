"""What hosts do at their next boot, the boot actions of the site, and the kernel's boot flags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.clock import utc_now
from rocks.core.errors import UserError
from rocks.core.names import check_boot_action_name, printable
from rocks.core.values import check_text
from rocks.install.boot.files import sync_after_commit, write_boot_files
from rocks.install.installation.plan import check_arguments
from rocks.install.installation.states import INSTALL, begin_installations, forget_waiting
from rocks.inventory import boot_records as boots
from rocks.inventory.host_records import find_local_host, list_hosts
from rocks.inventory.hosts import remove_dependents, set_column
from rocks.trust.secrets import forget_handed_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


# What hosts do at their next boot: it runs or installs them, and by which boot action.


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


# Boot actions of the site.


KERNEL_LONGEST = 256
ARGUMENTS_LONGEST = 1024


def add_boot_action(
    database: Database, action: str, kernel: str | None, ramdisk: str | None, arguments: str | None
) -> None:
    """As `store_boot_action`; the boot files of all hosts are written anew."""
    store_boot_action(database, action, kernel, ramdisk, arguments)
    write_boot_files(database, [str(row[0]) for row in list_hosts(database, None)])


def store_boot_action(
    database: Database, action: str, kernel: str | None, ramdisk: str | None, arguments: str | None
) -> None:
    """Add the boot action, or replace the values of an existing one; empty values clear a column."""
    check_boot_action_name(action)
    check_text("kernel", kernel or "", KERNEL_LONGEST)
    check_text("ramdisk", ramdisk or "", KERNEL_LONGEST)
    check_text("args", arguments or "", ARGUMENTS_LONGEST)
    boots.put_boot_action(database, action, kernel or None, ramdisk or None, arguments or None)


def remove_boot_actions(database: Database, actions: Sequence[str]) -> None:
    """Remove the boot actions. UserError, and no change, for one that does not exist or that a host has."""
    stored = [boots.existing_boot_action(database, action) for action in actions]
    used = boots.first_host_with(database, stored)
    if used is not None:
        raise UserError(
            f'cannot remove action "{used[0]}": host {used[1]} has it as its run or install action; rocks set host '
            "runaction and rocks set host installaction give hosts others"
        )
    boots.delete_boot_actions(database, stored)
    sync_after_commit(database)


# The kernel's boot flags; the roll's installer and kickstart write them into boot loaders.
#
# They are rows of `bootflags`, for hosts and (node 0) for all hosts without their own.


_ALL_HOSTS = 0
_LONGEST = 256


def read_boot_flags(database: Database) -> tuple[str, dict[str, str]]:
    """(flags for all hosts, host in lower case → its own flags); '' when there are none."""
    rows = database.rows(
        "SELECT f.Node, n.Name, COALESCE(f.Flags, '') FROM bootflags f LEFT JOIN nodes n ON n.ID = f.Node"
    )
    default = next((str(flags) for node, _, flags in rows if node == _ALL_HOSTS), "")
    return default, {str(name).lower(): str(flags) for _, name, flags in rows if name is not None and flags}


def set_boot_flags(database: Database, names: Sequence[str] | None, flags: str) -> None:
    """Set the flags of the named hosts, or those for all hosts (None). UserError for flags that cannot be set."""
    check_text("flags", flags, _LONGEST)
    try:
        flags = check_arguments(flags)
    except UserError as error:
        raise UserError(f'flags "{printable(flags)}" is not valid: {error}') from None
    update = " ON DUPLICATE KEY UPDATE Flags = %s"
    if names is None:
        database.execute(
            f"INSERT INTO bootflags (Node, Flags) VALUES (%s, %s){update}", (_ALL_HOSTS, flags, flags)
        )
    else:
        database.execute(
            f"INSERT INTO bootflags (Node, Flags) SELECT n.ID, %s FROM nodes n WHERE n.Name IN %s{update}",
            [flags, names, flags],
        )


def delete_boot_flags(database: Database, names: Sequence[str] | None) -> None:
    """Remove the flags of the named hosts, or those for all hosts (None); missing ones are not an error."""
    if names is None:
        database.execute("DELETE FROM bootflags WHERE Node = %s", (_ALL_HOSTS,))
    else:
        database.execute(
            "DELETE f FROM bootflags f JOIN nodes n ON n.ID = f.Node WHERE n.Name IN %s",
            [names],
        )
