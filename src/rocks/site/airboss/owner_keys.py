"""Add and remove public keys of hosts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.core.values import TRUE_VALUES, check_text
from rocks.inventory.attributes.records import resolve_attribute
from rocks.inventory.host_records import lock_inventory
from rocks.site.airboss import owner_key_records as host_keys
from rocks.site.airboss.rules import OLD_RSA_ATTRIBUTE, check_stored_rsa

if TYPE_CHECKING:
    from rocks.database.connection import Database

_LONGEST = 4096
"""Characters of a key and of its description: the columns' size."""
_LONGEST_FILE_BYTES = 64 << 10


def add_key(database: Database, host: str, given: str, description: str | None) -> str | None:
    """Add a public key, given as its text or as the path of a file, to a host; returns a warning for a weak one.

    UserError, and no change, for a text that is no key, a file that cannot be read, a key that is too weak, and one
    that the host has.
    """
    from rocks.site.airboss.keys import rsa_bits, to_pem  # their libraries take 0.1 s to load

    key = to_pem(_text(given))
    if len(key) > _LONGEST:
        raise UserError(f"the public key has {len(key)} characters, at most {_LONGEST} are stored")
    check_text("description", description or "", _LONGEST)
    bits = rsa_bits(key)
    warning = None if bits is None else check_stored_rsa(host, bits, allows_old_rsa(database, host))
    lock_inventory(database)
    if any(one.key.strip() == key.strip() for one in host_keys.list_keys(database, [host])):
        raise UserError(f"the public key already exists for host {host}; rocks list host key {host} shows it")
    host_keys.insert_key(database, host, key, description or None)
    return warning


def allows_old_rsa(database: Database, host: str) -> bool:
    """Whether the owner of the virtual frontend may have an RSA key that is short by today's measure."""
    value = resolve_attribute(database, OLD_RSA_ATTRIBUTE, [host]).get(host, "")
    return value.lower() in TRUE_VALUES


def remove_key(database: Database, host: str, number: int) -> None:
    """Remove the key of that ID. UserError when the host has none of that ID."""
    if not host_keys.delete_key(database, host, number):
        raise UserError(
            f"public key with id {number} doesn't exist for host {host}; rocks list host key {host} shows all"
        )


def _text(given: str) -> str:
    """The text itself when it looks like a key, else the content of the file."""
    if given.lstrip().startswith(("-----BEGIN", "ssh-", "ecdsa-")):
        return given
    path = Path(given)
    try:
        if not path.is_file():
            raise UserError(
                f"there is no file {printable(given)}; key= is a public key or the path of a file with one"
            )
        with path.open("rb") as file:
            return file.read(_LONGEST_FILE_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {printable(given)}: {reason}") from None
