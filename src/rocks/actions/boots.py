"""Boot actions, and the files by which pxelinux answers the network boots of hosts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.cluster.boot_plan import BootFile, boot_file, default_file, file_name
from rocks.cluster.names import check_boot_action_name
from rocks.cluster.values import check_text
from rocks.database import boots
from rocks.database.boot_facts import boot_facts
from rocks.database.hosts import find_local_host, list_hosts
from rocks.errors import HostError
from rocks.files import PUBLIC, draft
from rocks.render.pxelinux import pxelinux_file

if TYPE_CHECKING:
    from collections.abc import Sequence

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


FOLDER = Path("/tftpboot/pxelinux/pxelinux.cfg")
"""Where the boot service of a frontend has them. Without the folder this machine has no boot service."""


def boot_folder() -> Path:
    """The folder of the files; the environment's ROCKS_PXE_FOLDER may name another."""
    return Path(os.environ.get("ROCKS_PXE_FOLDER") or FOLDER)


def write_boot_files(database: Database, names: Sequence[str]) -> None:
    """Have the files of these hosts say what their next boot is; three statements, whatever their number.

    Hosts that this site's boot service does not answer have none, and a machine without the service writes none.
    HostError for a file that cannot be written; it is then as it was.
    """
    folder = boot_folder()
    if not names or not folder.is_dir():
        return
    local = (find_local_host(database) or "").lower()
    for facts in boot_facts(database, names):
        wanted = default_file(facts) if facts.host.lower() == local else boot_file(facts)
        if wanted is not None:
            _ensure(folder, wanted)


def remove_boot_files(database: Database, names: Sequence[str]) -> None:
    """Remove the files of hosts that are about to go, while their addresses are known."""
    folder = boot_folder()
    if names and folder.is_dir():
        for facts in boot_facts(database, names):
            if facts.address is not None:
                _ensure(folder, BootFile(file_name(facts.address), facts.host, None, ""))


def _ensure(folder: Path, wanted: BootFile) -> None:
    path = folder / wanted.name
    try:
        if wanted.recipe is None:
            path.unlink(missing_ok=True)
            return
        text = pxelinux_file(wanted.host, wanted.recipe, wanted.arguments)
        # the boot service runs as another user, and may read the file at any moment
        with draft(path, mode=PUBLIC) as file:
            file.write(text)
    except OSError as error:
        raise HostError(
            f"the boot file {path} of {wanted.host} cannot be written: {error.strerror}"
        ) from None
