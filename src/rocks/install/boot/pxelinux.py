"""The pxelinux files that answer the network boots of hosts.

Files are written where the folder of the boot service exists, and nowhere else: on a machine that serves no
boots nothing would read them. One file for each host, by its address: a second one by MAC address could
disagree.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import HostError
from rocks.core.files import PUBLIC, draft, remove_file
from rocks.install.boot.fact_records import boot_facts
from rocks.install.boot.file_rules import BootFile, boot_file, default_file, file_name
from rocks.install.boot.files import sync_after_commit
from rocks.inventory.host_records import find_local_host

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import BootAction

PXELINUX_FOLDER = Path("/tftpboot/pxelinux/pxelinux.cfg")
"""The folder of the boot service on a frontend. A machine without the folder has no boot service."""

_LOCAL = "localboot"


def boot_folder() -> Path:
    """The folder of the boot files; the environment variable ROCKS_PXE_FOLDER overrides the default."""
    return Path(os.environ.get("ROCKS_PXE_FOLDER") or PXELINUX_FOLDER)


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
