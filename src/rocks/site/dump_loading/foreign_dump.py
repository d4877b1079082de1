"""The dump of another frontend: its file, and its lines about boots, which are stored before a boot file is written."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rocks.core.errors import UserError
from rocks.core.files import open_plain
from rocks.core.names import printable
from rocks.install.boot.actions import store_boot_action
from rocks.install.boot.next_boots import INSTALL_RECIPE, RUN_RECIPE, set_next_boot, store_recipe
from rocks.install.boot.pxelinux import write_boot_files
from rocks.inventory.host_records import find_local_host
from rocks.network.dns.changes import names_after_commit
from rocks.site.dump_loading.foreign_lines import LOCAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.site.dump_loading.foreign_lines import Planned

_LARGEST_BYTES = 256 << 20


def read_dump_file(file: str) -> str:
    """The text of a dump. UserError, without waiting, for what is no file or no text."""
    try:
        with open_plain(file) as opened:
            data = opened.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise UserError(
            f"cannot read the dump {printable(file)}: {error.strerror}; give the output of rocks dump in a file"
        ) from None
    if len(data) > _LARGEST_BYTES:
        raise UserError(f"{printable(file)} has more than {_LARGEST_BYTES >> 20} MiB, which no dump has")
    if data and not data.endswith(b"\n"):  # half of a value would be taken for the whole
        raise UserError(
            f"the last line of {printable(file)} has no end: the file is cut off; copy it again. If it is whole, "
            f"add the end: echo >>{shlex.quote(printable(file))}"
        )
    if b"\0" in data:
        raise UserError(f"{printable(file)} is not a text: it has a byte 0, which no dump has")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{printable(file)} is not UTF-8 text (byte {error.start + 1}): iconv -t UTF-8 converts it"
        ) from None


def store_boot_line(database: Database, planned: Planned) -> bool:
    """Store a line about boots in the database alone; False for any other line. UserError as of its command.

    The commands themselves write boot files before their transaction ends.
    """
    given = dict(planned.parameters)
    if planned.path == ("add", "bootaction"):
        _check_known(given, ("action", "kernel", "ramdisk", "args"))
        store_boot_action(
            database, given.get("action", ""), given.get("kernel"), given.get("ramdisk"), given.get("args")
        )
        return True
    if planned.path[:2] != ("set", "host") or planned.path[2:] not in (
        ("runaction",),
        ("installaction",),
        ("boot",),
    ):
        return False
    _check_known(given, ("action",))
    name = planned.arguments[0]
    hosts = [(find_local_host(database) or name) if name.lower() == LOCAL else name]
    if planned.path[-1] == "boot":
        set_next_boot(database, hosts, given["action"])
    else:
        column = RUN_RECIPE if planned.path[-1] == "runaction" else INSTALL_RECIPE
        store_recipe(database, hosts, column, given["action"])
    return True


def write_files_of(database: Database, hosts: Sequence[str]) -> None:
    """Write the boot files of the hosts, and the names when the transaction is committed."""
    write_boot_files(database, hosts)
    names_after_commit(database)


def _check_known(given: dict[str, str], names: Sequence[str]) -> None:
    for name in given:
        if name not in names:
            raise UserError(f'it has no parameter "{printable(name)}"')
