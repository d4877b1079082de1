"""Boot actions, and the pxelinux files that answer the network boots of hosts.

Files are written where the folder of the boot service exists, and nowhere else: on a machine that serves no
boots nothing would read them. One file for each host, by its address: a second one by MAC address could
disagree.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import HostError, UserError
from rocks.core.files import PUBLIC, draft, remove_file
from rocks.core.names import check_boot_action_name
from rocks.core.values import check_text
from rocks.install.boot.fact_records import boot_facts
from rocks.install.boot.files import sync_after_commit
from rocks.install.boot.plan import BootFile, boot_file, default_file, file_name
from rocks.inventory import boot_records as boots
from rocks.inventory.host_records import find_local_host, list_hosts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import BootAction

KERNEL_LONGEST = 256
ARGUMENTS_LONGEST = 1024
_LOCAL = "localboot"


def add_boot_action(
    database: Database, action: str, kernel: str | None, ramdisk: str | None, arguments: str | None
) -> None:
    """As `store_boot_action`; the boot files of all hosts are written anew."""
    store_boot_action(database, action, kernel, ramdisk, arguments)
    sync_after_commit(database)
    if boot_folder().is_dir():
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


FOLDER = Path("/tftpboot/pxelinux/pxelinux.cfg")
"""The folder of the boot service on a frontend. A machine without the folder has no boot service."""


def boot_folder() -> Path:
    """The folder of the boot files; the environment variable ROCKS_PXE_FOLDER overrides the default."""
    return Path(os.environ.get("ROCKS_PXE_FOLDER") or FOLDER)


def write_boot_files(database: Database, names: Sequence[str]) -> None:
    """Write the boot files of these hosts for their next boot; three statements, whatever their number.

    The boot service of this roll gets those of all hosts, when the transaction is committed. No file
    of pxelinux is written for hosts that it does not serve, or on a machine without it.
    HostError for a file that cannot be written, which is then unchanged.
    """
    sync_after_commit(database)
    folder = boot_folder()
    if not names or not folder.is_dir():
        return
    local = (find_local_host(database) or "").lower()
    for facts in boot_facts(database, names):
        file = default_file(facts) if facts.host.lower() == local else boot_file(facts)
        if file is not None:
            _ensure(folder, file)


def remove_boot_files(database: Database, names: Sequence[str]) -> None:
    """Remove the boot files of hosts that are about to be removed, while their addresses are known."""
    sync_after_commit(database)
    folder = boot_folder()
    if names and folder.is_dir():
        for facts in boot_facts(database, names):
            if facts.address is not None:
                _ensure(folder, BootFile(file_name(facts.address), facts.host, None, ""))


def _ensure(folder: Path, file: BootFile) -> None:
    path = folder / file.name
    try:
        if file.recipe is None:
            remove_file(path)
            return
        text = pxelinux_file(file.host, file.recipe, file.arguments)
        # the boot service runs as another user, and may read the file at any moment
        with draft(path, mode=PUBLIC) as new:
            new.write(text)
    except OSError as error:
        raise HostError(f"the boot file {path} of {file.host} cannot be written: {error.strerror}") from None


def pxelinux_file(host: str, recipe: BootAction, arguments: str) -> str:
    """The file for a boot action, whose kernel may be `localboot N` instead of a file.

    Source: the Syslinux project's documentation of its configuration files.
    """
    kernel = (recipe.kernel or "").strip()
    if kernel.lower().startswith(_LOCAL):
        lines = [f"localboot {kernel[len(_LOCAL) :].strip() or '0'}"]
    else:
        ramdisk = f"initrd={recipe.ramdisk}" if recipe.ramdisk else ""
        append = " ".join(part for part in (arguments, ramdisk) if part)
        lines = [f"kernel {kernel}", *([f"append {append}"] if append else [])]
    return "\n".join(
        [
            f"# {host}: action {recipe.action}. `rocks set host boot` rewrites this file.",
            "default rocks",
            "prompt 0",
            "label rocks",
            *(f"  {line}" for line in lines),
            "",
        ]
    )
