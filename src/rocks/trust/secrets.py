"""Set secret attributes. A value comes from a file or standard input, never from a command line."""

from __future__ import annotations

import getpass
import os
import sys
from typing import TYPE_CHECKING

from rocks.core.errors import UserError
from rocks.core.files import open_plain
from rocks.core.names import printable
from rocks.inventory.attributes import secret_records as secrets
from rocks.inventory.attributes.rules import VALUE_LONGEST_BYTES, check_name, check_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def read_secret(file: str) -> str:
    """The value, without its line end: from the file, or else from standard input, where a person types it unseen.

    UserError for a file that is not a regular one, that others than its owner may read, or that is empty; for a value
    that is not UTF-8, and for one that nobody types.
    """
    if file:
        value = _decoded(read_own_file(file, VALUE_LONGEST_BYTES + 2), printable(file))
    elif sys.stdin.isatty():
        try:
            value = getpass.getpass("value: ", sys.stderr)
        except EOFError:
            raise UserError("the input ended; nothing was stored") from None
    else:
        value = _decoded(sys.stdin.buffer.read(VALUE_LONGEST_BYTES + 2), "the value")
    value = value.removesuffix("\n")
    if not value:
        raise UserError("the value is empty; give it on standard input or in file=PATH")
    check_value(value)
    return value


def set_secret(database: Database, hosts: Sequence[str] | None, name: str, value: str) -> None:
    """Store the attribute of the hosts, or the global one (None). UserError for an invalid name."""
    check_name(name)
    secrets.store(database, hosts, name, value)


def read_own_file(path: str, longest_bytes: int) -> bytes:
    """The beginning of a file that its owner alone can read. UserError for another one, and for what is no file."""
    try:
        with open_plain(path) as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise UserError(
                    f"others may read {printable(path)}: chmod 600 {printable(path)}, then repeat"
                )
            return file.read(longest_bytes)
    except OSError as error:
        raise UserError(f"cannot read {printable(path)}: {error.strerror}") from None


def _decoded(data: bytes, source: str) -> str:
    is_cut = len(data) > VALUE_LONGEST_BYTES + 1  # maybe within a character; `check_value` refuses it
    try:
        return data.decode("utf-8", "replace" if is_cut else "strict")
    except UnicodeDecodeError:
        raise UserError(f"{source} is not UTF-8 text") from None
