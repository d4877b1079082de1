"""Add a boot action: a kernel, a ramdisk and arguments under a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.actions.write_boot_files import boot_folder, write_boot_files
from rocks.cluster.names import check_boot_action_name
from rocks.cluster.values import check_text
from rocks.database import boots
from rocks.database.hosts import list_hosts

if TYPE_CHECKING:
    from rocks.database.connection import Database

KERNEL_LONGEST = 256
ARGUMENTS_LONGEST = 1024


def add_boot_action(
    database: Database, action: str, kernel: str | None, ramdisk: str | None, arguments: str | None
) -> None:
    """Add the boot action, or give an existing one these values; empty ones are none.

    The boots of all hosts are answered by the new values.
    """
    check_boot_action_name(action)
    check_text("kernel", kernel or "", KERNEL_LONGEST)
    check_text("ramdisk", ramdisk or "", KERNEL_LONGEST)
    check_text("args", arguments or "", ARGUMENTS_LONGEST)
    boots.put_boot_action(database, action, kernel or None, ramdisk or None, arguments or None)
    if boot_folder().is_dir():
        write_boot_files(database, [str(row[0]) for row in list_hosts(database, None)])
