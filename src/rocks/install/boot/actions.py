"""Boot actions of the site."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import UserError
from rocks.core.names import check_boot_action_name
from rocks.core.values import check_text
from rocks.install.boot.files import sync_after_commit
from rocks.install.boot.pxelinux import write_boot_files
from rocks.inventory import boot_records as boots
from rocks.inventory.host_records import list_hosts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

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
